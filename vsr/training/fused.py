"""A network's loss and gradients on a CPU, as one Halide pipeline: about ten times as fast as PyTorch's convolutions.

Each lane of a vector holds a patch of its own. So no layer needs another layout than the one before it, every number of
channels and every stride is as good as another, and a kernel's weight is one number that all lanes share.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import halide as hl
import numpy as np
import torch
import torch.nn.functional as F

from vsr.models.fsrcnn import Net, bias_of
from vsr.models.networks import Network

LANES = 16
SUMS = 27  # vectors that are summed up at a time, of 32 registers
MANY = 16  # maps of more channels than this are made on their own memory, which is kept from call to call


class FusedGradients:
    """The squared error of ``net`` (float32, on the CPU) on patches of ``patch`` output pixels a side, in input pixels.

    With a quantizer, as `Quantizer` in training: the maps before the output layer are rounded, straight-through.
    The first call compiles, which takes some seconds. Runs on the threads of Halide's pool (HL_NUM_THREADS).
    """

    def __init__(self, net: Net, patch: int) -> None:
        # SRCNN's picture is enlarged first; its last layer is a deconvolution with stride 1 whose kernel is turned.
        self._net, self._enlarged = net, net.deconvolution is None
        self._scale = 1 if self._enlarged else net.scale
        self._patch = patch * net.scale // self._scale
        self._side = self._patch + 2 * (net.network.context if self._enlarged else net.margin)
        self._outputs: list[tuple[hl.Func, np.ndarray]] = []
        self._inputs: list[tuple[hl.ImageParam, Callable[[], torch.Tensor]]] = []
        self._gradients: list[tuple[torch.Tensor, np.ndarray]] = []
        self._low = _image("low", (1, self._side, self._side, LANES))
        self._high = _image("high", (net.scale * patch, net.scale * patch, LANES))
        self._build()
        self._pipeline = hl.Pipeline([func for func, _ in self._outputs])
        self._target = hl.get_jit_target_from_environment()

    @staticmethod
    def fits(network: Network) -> bool:
        """Whether the pipeline can be a network of this description."""
        return network.channels == 1 and network.growth != "bicubic last"

    def __call__(self, low: np.ndarray, high: np.ndarray) -> float:
        """The mean squared error, its gradient in each parameter's ``grad``.

        low (B, patch + 2·margin, same), high (B, n·patch, same), float32 codes / 255; B is a multiple of LANES.
        """
        if len(low) % LANES:
            raise ValueError(f"{len(low)} patches are not a multiple of {LANES}")
        if self._enlarged:
            with torch.no_grad():
                surplus = -self._net.network.context % self._net.scale
                low = F.pad(self._net.enlarge(torch.from_numpy(low)[:, None]), (-surplus,) * 4)[:, 0].numpy()
        arrays = [(image, value().detach().contiguous().numpy()) for image, value in self._inputs]
        outputs = [hl.Buffer(array) for _, array in self._outputs]
        loss, totals = 0.0, [np.zeros_like(made) for _, made in self._gradients]
        for first in range(0, len(low), LANES):
            some = slice(first, first + LANES)
            inputs = [(self._low, _lanes_last(low[some])[None]), (self._high, _lanes_last(high[some])), *arrays]
            buffers = [(image, hl.Buffer(array)) for image, array in inputs]  # must live until realize returns
            for image, buffer in buffers:
                image.set(buffer)
            self._pipeline.realize(outputs, self._target)
            loss += float(self._loss[0].sum())
            for total, (_, made) in zip(totals, self._gradients, strict=True):
                total += made
        for (parameter, _), total in zip(self._gradients, totals, strict=True):
            whole = total.reshape(parameter.numel(), -1).sum(1) * np.float32(2 / high.size)  # lanes that are left
            parameter.grad = torch.from_numpy(whole.reshape(parameter.shape))
        return loss / high.size

    # ---- the pipeline ----

    def _build(self) -> None:
        net, size = self._net, self._side
        b, x, y, c = (hl.Var(name) for name in "bxyc")
        source: hl.ImageParam | hl.Func = self._low
        convolutions = net.layers()[:-1] if self._enlarged else net.layers()
        layers = []
        for number, (convolution, act) in enumerate(convolutions):
            channels, into, side, _ = convolution.weight.shape
            size -= side - 1
            slopes = act.weight if isinstance(act, torch.nn.PReLU) else torch.full((channels,), float(act is None))
            parameters = convolution.weight, bias_of(convolution), slopes
            weight, bias, slope = (self._input(f"{what}{number}", parameter.detach) for what, parameter in
                                   zip(("weight", "bias", "slope"), parameters, strict=True))
            z, active = hl.Func(f"z{number}"), hl.Func(f"active{number}")
            r = hl.RDom([(0, side), (0, side), (0, into)])
            product = weight[r.x, r.y, r.z, c] * source[b, x + r.x, y + r.y, r.z]
            self._in_blocks(z, bias[c], product, r, channels, size)
            active[b, x, y, c] = hl.select(z[b, x, y, c] > 0, z[b, x, y, c], z[b, x, y, c] * slope[c])
            layers.append((parameters, weight, slope, z, source, size))
            source = active
            if number + 1 < len(convolutions) and convolutions[number + 1][0].kernel_size[0] > 1:
                active.compute_root().vectorize(b).parallel(c)  # else the next layer reads it once

        gradient = self._output_layer(source, size)
        for number, (parameters, weight, slope, z, source, size) in reversed(list(enumerate(layers))):
            channels, into, side, _ = parameters[0].shape
            of_z = hl.Func(f"gradient_z{number}")
            # What reads it for the layer below runs over its edges, where it is zero.
            padded = side > 1 and number > 0
            at = (b, hl.clamp(x, 0, size - 1), hl.clamp(y, 0, size - 1), c) if padded else (b, x, y, c)
            value = gradient[at] * hl.select(z[at] > 0, hl.f32(1), slope[c])
            within = (x >= 0) & (x < size) & (y >= 0) & (y < size)
            of_z[b, x, y, c] = hl.select(within, value, hl.f32(0)) if padded else value
            if padded or (number and channels <= MANY):
                of_z.compute_root().vectorize(b).parallel(c)
            self._layer_gradients(number, parameters, of_z, gradient, z, source, size)
            if number:
                below = hl.Func(f"gradient{number - 1}")
                r = hl.RDom([(0, side), (0, side), (0, channels)])
                product = weight[r.x, r.y, c, r.z] * of_z[b, x - r.x, y - r.y, r.z]
                self._in_blocks(below, hl.f32(0), product, r, into, layers[number - 1][-1])
                gradient = below

    def _output_layer(self, maps: hl.Func, size: int) -> hl.Func:
        """The deconvolution, its error and its gradients; returns the gradient of ``maps``."""
        net, n, patch = self._net, self._scale, self._patch
        layer = net.deconvolution or net.layers()[-1][0]
        channels, side, turned = layer.weight.numel() // layer.kernel_size[0] ** 2, layer.kernel_size[0], self._enlarged
        padding, reach = (side // 2, side // 2) if turned else (net.padding, net.reach)
        taps = 2 * reach + 1

        def kernel_of() -> torch.Tensor:
            whole = layer.weight.reshape(channels, side, side)
            return whole.flip(1, 2) if turned else whole

        kernel, bias = self._input("kernel", kernel_of), self._input("output_bias", lambda: bias_of(layer))
        b, x, y, c, px, py, xi = (hl.Var(name) for name in ("b", "x", "y", "c", "px", "py", "xi"))
        multiplied, passes = maps, None
        if net.quantizer:
            quantizer = net.quantizer
            step, zero = (self._input(name, getattr(quantizer, name).flatten) for name in ("step", "zero"))
            multiplied, passes = hl.Func("rounded"), hl.Func("passes")
            wanted, lowest = maps[b, x, y, c] / step[c], -zero[c]
            multiplied[b, x, y, c] = hl.round(hl.clamp(wanted, lowest, lowest + 255)) * step[c]
            passes[b, x, y, c] = hl.select((wanted >= lowest) & (wanted <= lowest + 255), hl.f32(1), hl.f32(0))
            multiplied.compute_root().vectorize(b).parallel(c)

        # Output pixel (n·x + px, n·y + py) takes kernel row py + padding - n·t from map row y + reach + t.
        total, error = hl.Func("total"), hl.Func("error")
        r = hl.RDom([(0, taps), (0, taps), (0, channels), (0, n), (0, n)])
        kx, ky = r[3] + padding - n * (r[0] - reach), r[4] + padding - n * (r[1] - reach)
        r.where((kx >= 0) & (kx < side) & (ky >= 0) & (ky < side))
        total[b, px, py, x, y] = bias[0]
        tap = kernel[hl.clamp(kx, 0, side - 1), hl.clamp(ky, 0, side - 1), r[2]]
        total[b, r[3], r[4], x, y] += tap * multiplied[b, x + r[0], y + r[1], r[2]]
        error[b, px, py, x, y] = total[b, px, py, x, y] - self._high[b, n * x + px, n * y + py]
        (error.compute_root().bound(px, 0, n).bound(py, 0, n).bound(x, 0, patch).bound(y, 0, patch)
            .split(x, x, xi, min(max(SUMS // (n * n), 1), 8, patch), hl.TailStrategy.ShiftInwards)
            .reorder(b, px, py, xi, x, y).vectorize(b).unroll(px).unroll(py).unroll(xi).parallel(y))
        total.compute_at(error, x).vectorize(b).unroll(px).unroll(py).unroll(x)
        (total.update(0).reorder(b, x, r[3], r[4], r[0], r[1], r[2], y).vectorize(b).unroll(x)
            .unroll(r[3]).unroll(r[4]).unroll(r[0]).unroll(r[1]))  # unrolled, a phase's missing taps are gone

        loss = hl.Func("loss")
        everything = hl.RDom([(0, n), (0, n), (0, patch), (0, patch)])
        each = error[b, everything[0], everything[1], everything[2], everything[3]]
        loss[b, c] = hl.f32(0)
        loss[b, c] += hl.select(c == 0, each * each, each)
        loss.compute_root().bound(c, 0, 2).vectorize(b).unroll(c)
        loss.update(0).reorder(b, c, *(everything[axis] for axis in range(4))).vectorize(b).unroll(c)
        self._loss = self._output(loss, (2, LANES))

        picture = hl.Func("error_picture")  # zero around it
        end = n * patch - 1
        within = (x >= 0) & (x <= end) & (y >= 0) & (y <= end)
        cx, cy = hl.clamp(x, 0, end), hl.clamp(y, 0, end)
        picture[b, x, y] = hl.select(within, error[b, cx % n, cy % n, cx // n, cy // n], hl.f32(0))
        picture.compute_root().vectorize(b).parallel(y)

        def beside(x: hl.Expr, y: hl.Expr, kx: hl.Expr, ky: hl.Expr) -> hl.Expr:
            return picture[b, n * (x - reach) + kx - padding, n * (y - reach) + ky - padding]

        summed = self._sums("gradient_kernel", (side, side, channels), (side, _divisor(side, SUMS // side), 1), size,
                            lambda kx, ky, c, x, y: multiplied[b, x, y, c] * beside(x, y, kx, ky))
        back = summed[:, ::-1, ::-1] if turned else summed
        self._gradients += [(layer.weight, back), (bias_of(layer), self._loss[1])]
        gradient = hl.Func("gradient_maps")
        r = hl.RDom([(0, side), (0, side)])
        self._in_blocks(gradient, hl.f32(0), kernel[r.x, r.y, c] * beside(x, y, r.x, r.y), r, channels, size,
                        lambda sum: sum * passes[b, x, y, c] if passes else sum)
        return gradient

    def _layer_gradients(self, number: int, parameters: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
                         of_z: hl.Func, gradient: hl.Func, z: hl.Func, source: hl.ImageParam | hl.Func,
                         size: int) -> None:
        """The gradients of a layer's weight, bias and slopes."""
        channels, into, side, _ = parameters[0].shape
        b = hl.Var("b")
        taps = side * side * into

        def of_bias(j: hl.Expr, c: hl.Expr, x: hl.Expr, y: hl.Expr) -> hl.Expr:
            return hl.select(j == 0, of_z[b, x, y, c], gradient[b, x, y, c] * hl.min(z[b, x, y, c], hl.f32(0)))

        if taps + 2 <= SUMS:  # a channel's whole row at once: its taps, its bias, its slope
            def of_row(j: hl.Expr, c: hl.Expr, _: hl.Expr, x: hl.Expr, y: hl.Expr) -> hl.Expr:
                tap = hl.min(j, taps - 1)
                read = source[b, x + tap % side, y + tap // side % side, tap // (side * side)]
                return hl.select(j < taps, of_z[b, x, y, c] * read, of_bias(j - taps, c, x, y))

            rows = self._sums(f"gradient_row{number}", (taps + 2, channels, 1),
                              (taps + 2, _divisor(channels, SUMS // (taps + 2)), 1), size, of_row)[0]
            parts = rows[:, :taps], rows[:, taps], rows[:, taps + 1]
        else:
            block = _divisor(into, SUMS // side)
            of_taps = self._sums(
                f"gradient_weight{number}", (side, side * into, channels),
                (side, block, _divisor(channels, SUMS // (side * block))), size,
                lambda kx, row, c, x, y: of_z[b, x, y, c] * source[b, x + kx, y + row // into, row % into])
            rest = self._sums(f"gradient_bias{number}", (2, channels, 1), (2, _divisor(channels, SUMS // 2), 1), size,
                              lambda j, c, _, x, y: of_bias(j, c, x, y))[0]
            weights = of_taps.reshape(channels, side, into, side).transpose(0, 2, 1, 3)
            parts = weights, rest[:, 0], rest[:, 1]
        self._gradients += list(zip(parameters, parts, strict=True))

    def _in_blocks(self, maps: hl.Func, start: hl.Expr, product: hl.Expr, r: hl.RDom, channels: int, size: int,
                   after: Callable[[hl.Expr], hl.Expr] = lambda sum: sum) -> None:
        """Define maps[b, x, y, c] as ``start`` and the sum of ``product`` over ``r``, summed up in registers."""
        b, x, y, c, xi, ci = (hl.Var(name) for name in ("b", "x", "y", "c", "xi", "ci"))
        total = hl.Func(f"{maps.name()}_sum")
        total[b, x, y, c] = start
        total[b, x, y, c] += product
        maps[b, x, y, c] = after(total[b, x, y, c])
        block = _divisor(channels, 8)
        (maps.compute_root().bound(b, 0, LANES).bound(c, 0, channels)
            .split(x, x, xi, min(24 // block, size, 8), hl.TailStrategy.ShiftInwards).split(c, c, ci, block)
            .reorder(b, xi, ci, c, x, y).vectorize(b).unroll(xi).unroll(ci).parallel(y))
        total.compute_at(maps, c).vectorize(b).unroll(x).unroll(c)
        (total.update(0).reorder(b, x, c, *(r[axis] for axis in range(r.dimensions())), y)
            .vectorize(b).unroll(x).unroll(c).unroll(r.x))
        if channels > MANY:
            self._output(maps, (channels, size, size, LANES))

    def _sums(self, name: str, shape: tuple[int, int, int], block: tuple[int, int, int], size: int,
              term: Callable[..., hl.Expr]) -> np.ndarray:
        """The sum of ``term(i, j, k, x, y)`` over size · size pixels and all lanes, for each of ``shape`` (i, j, k);
        ``block`` of them at a time. Returns where: (k, j, i)."""
        b, i, j, k, ji, ki = (hl.Var(each) for each in ("b", "i", "j", "k", "ji", "ki"))
        total, out = hl.Func(f"{name}_lanes"), hl.Func(name)
        r = hl.RDom([(0, size), (0, size)])
        total[b, i, j, k] = hl.f32(0)
        total[b, i, j, k] += term(i, j, k, r.x, r.y)
        out[i, j, k] = hl.sum(total[hl.RDom([(0, LANES)]), i, j, k])
        (out.compute_root().split(j, j, ji, block[1]).split(k, k, ki, block[2]).reorder(i, ji, ki, j, k))
        if shape[2] > 1:
            out.parallel(k)
        else:
            out.parallel(j)
        total.compute_at(out, j).vectorize(b).unroll(i).unroll(j).unroll(k)
        total.update(0).reorder(b, i, j, k, r.x, r.y).vectorize(b).unroll(i).unroll(j).unroll(k)
        return self._output(out, (shape[2], shape[1], shape[0]))

    def _input(self, name: str, value: Callable[[], torch.Tensor]) -> hl.ImageParam:
        image = _image(name, tuple(value().shape))
        self._inputs.append((image, value))
        return image

    def _output(self, func: hl.Func, shape: tuple[int, ...]) -> np.ndarray:
        """Let the pipeline write ``func`` into an array, which is returned."""
        for axis, extent in zip(func.args(), reversed(shape), strict=True):
            func.bound(axis, 0, extent)
        # Vectors are stored as to memory of Halide's own, which begins at whole ones.
        memory = np.zeros(math.prod(shape) + LANES, np.float32)
        first = -memory.ctypes.data % (4 * LANES) // 4
        array = memory[first:first + math.prod(shape)].reshape(shape)
        self._outputs.append((func, array))
        return array


def _image(name: str, shape: tuple[int, ...]) -> hl.ImageParam:
    image = hl.ImageParam(hl.Float(32), len(shape), name)
    stride = 1
    for axis, extent in enumerate(reversed(shape)):
        image.dim(axis).set_bounds(0, extent)
        image.dim(axis).set_stride(stride)
        stride *= extent
    return image


def _lanes_last(patches: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(patches.transpose(1, 2, 0))


def _divisor(number: int, most: int) -> int:
    """The largest divisor of ``number`` that is not above ``most``."""
    return next(each for each in range(max(most, 1), 0, -1) if number % each == 0)
