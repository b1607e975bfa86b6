"""The CPU engine: FSRCNN as one fused Halide pipeline, integer codes in, integer codes out.

Layer by layer, the maps of a frame are far larger than any cache. Here each tile goes through all layers row by row:
every layer computes one more row of its maps, which stay in the cache, and only codes are read and written.

The first and the last layer, five sixths of the work, compute in the numbers of a precision: what they read lies in
packs, whose members one instruction multiplies and adds up. The small layers between them always compute in float32:
in bfloat16 they would cost more quality than time (0.01 dB against 0.003 dB on Set14).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache

import halide as hl
import numpy as np

from vsr.engines.contract import Engine, code_range, plane_dtype
from vsr.engines.halide_plane import Host, PlanePipeline, input_array, to_code
from vsr.engines.reuse import Reuse
from vsr.models.catalogue import DECONVOLUTION, Weights

TILE = 320, 54  # input pixels: the rows in work fit the second-level cache, and little is computed twice at the seams
FEATURES = 4  # features (and expanded maps) computed at a time
CHANNELS = 6  # at most so many channels of a 3x3 layer are computed at a time
CENTRE = 128  # subtracted from 8-bit codes before they meet weights in bfloat16, whose rounding errors are multiplied
MAGIC = 1 << 23  # a float32 from here to twice this is a whole number, whose lowest bits are its code


@dataclass(frozen=True)
class Blocks:
    """How many vectors of pixels are summed up at once, in the trunk and in the output layer."""

    trunk: int
    output: int


BLOCKS = {16: Blocks(2, 3), 32: Blocks(3, 4)}  # by the number of vector registers, of which sums may take about half


@dataclass(frozen=True)
class Numbers:
    """Numbers to multiply: ``pack`` products are added up by one instruction; arrays hold them as ``dtype``."""

    pack: int
    dtype: str


FP32, BF16, INT8 = Numbers(1, "float32"), Numbers(2, "uint16"), Numbers(4, "int8")  # BF16: upper halves of float32

_building = threading.Lock()


def precisions(host: Host) -> tuple[str, ...]:
    """What the engine offers on a processor, the fastest first; int8 needs weights that are trained for it."""
    if host.has("AVX512_SapphireRapids", "AVX512_Zen4"):
        return "int8", "bf16", "fp32"
    return ("int8", "fp32") if host.has("AVXVNNI") else ("fp32",)


class CpuEngine(Engine):
    """FSRCNN(d, s, m) on the CPU: fp32 within 1 level of the reference, bf16 and int8 within 0.03 dB on Set14.

    ``threads`` is an upper bound, within the pool that Halide starts once for the process: as many as there are
    processors, or as HL_NUM_THREADS said at that time. Rows that depend on nothing that changed since the plane before
    are not computed again; no byte differs by that.
    """

    def __init__(self, weights: Weights, bits: int, full_range: bool, precision: str,
                 threads: int | None) -> None:
        super().__init__("cpu", weights.name, weights.scale, bits, precision, threads)
        host = Host.current()
        self._shape, self._full_range = Shape.of(weights, bits, precision, host), full_range
        with _building:  # two threads that open the same network share one pipeline
            self._pipeline = fused(self._shape, 8 if bits == 8 else 16, host)
        self.use(weights)
        self.upscale(np.zeros((1, 1), plane_dtype(bits)))  # compiles, unless it is compiled

    def use(self, weights: Weights) -> None:
        shape = Shape.of(weights, self.bits, self.precision, Host.current())
        if shape != self._shape:
            raise ValueError(f"weights of {shape} cannot take the place of those of {self._shape}")
        self._arrays = weight_arrays(shape, weights, self.bits, self._full_range)  # the buffers do not keep them alive
        self._inputs = {"peak": 2**self.bits - 1} | {name: hl.Buffer(array) for name, array in self._arrays.items()}
        self._reuse = Reuse(weights.scale, shape.reach)

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        with self._reuse.rows_to_compute(luma, out) as runs:
            for rows in runs:
                self._pipeline(luma, out, self._inputs, self.threads, rows)
        self.reused = 1 - sum(end - first for first, end in runs) / len(luma)


@dataclass(frozen=True)
class Shape:
    """What a compiled pipeline depends on: FSRCNN(d, s, m) with d and s filled up to whole blocks of channels, the
    scale, the window of the equivalent pixel shuffle (``taps`` input pixels from offset ``first`` on), the numbers that
    the feature layer and the output layer multiply."""

    d: int
    s: int
    m: int
    scale: int
    padding: int
    taps: int
    first: int
    source: Numbers
    output: Numbers

    @classmethod
    def of(cls, weights: Weights, bits: int, precision: str, host: Host) -> Shape:
        shuffle, first = weights.pixel_shuffle()
        fast = precision != "fp32" and "bf16" in precisions(host) and bits == 8  # larger codes are none of bfloat16's
        return cls(round_up(weights.d, FEATURES), round_up(weights.s, channel_block(weights.s)), weights.m,
                   weights.scale, weights.padding, shuffle.shape[-1], first, BF16 if fast else FP32,
                   {"fp32": FP32, "bf16": BF16, "int8": INT8}[precision])

    @property
    def reach(self) -> int:
        """How many rows above and below it an output row depends on, in input rows."""
        return 2 + self.m + max(-self.first, self.first + self.taps - 1)

    def layers(self) -> dict[str, tuple[Numbers, tuple[int, int, int, int]]]:
        """The numbers that each layer multiplies and its (out, in, k, k)."""
        d, s, k = self.d, self.s, self.taps
        mapping = {f"mapping{i}": (FP32, (s, s, 3, 3)) for i in range(self.m)}
        return {"feature": (self.source, (d, 1, 5, 5)), "shrink": (FP32, (s, d, 1, 1)), **mapping,
                "expand": (FP32, (d, s, 1, 1)), "output": (self.output, (self.scale**2, d, k, k))}

    def sizes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """The weight arrays' shapes, innermost last, and dtypes: (out, in, k, k, pack) and (out,).

        Packs are of neighbouring input channels; in the feature layer, which has one, of neighbouring columns.
        """
        sizes: dict[str, tuple[tuple[int, ...], str]] = {}
        for name, (numbers, (out, into, rows, columns)) in self.layers().items():
            pack = numbers.pack
            packed = (into, rows, -(-columns // pack)) if name == "feature" else (into // pack, rows, columns)
            sizes[f"{name}.weight"] = (out, *packed, pack), numbers.dtype
            sizes |= {f"{name}.{part}": ((out,), FP32.dtype) for part in PARTS.get(name, ("bias", "slope"))}
        return sizes

    def has_tap(self, tap: hl.Expr, phase: hl.Expr) -> hl.Expr:
        """Whether a tap of the window, in rows or columns, lies within the deconvolution's kernel for that phase."""
        place = phase + self.padding - self.scale * (tap + self.first)
        return (place >= 0) & (place < DECONVOLUTION)


# ``expand.zero``: what is added to an expanded map before it is stored; ``output.step``: what a sum of products counts.
PARTS = {"expand": ("bias", "slope", "zero"), "output": ("bias", "step")}


def weight_arrays(shape: Shape, weights: Weights, bits: int, full_range: bool) -> dict[str, np.ndarray]:
    """The arrays of `Shape.sizes`: the range of the codes folded into the first and last layer, the steps of int8 into
    the last two, zeros in channels that only fill up a block."""
    gain, offset = code_range(bits, full_range)
    layers = {"feature": weights.feature, "shrink": weights.shrink, "expand": weights.expand}
    layers |= {f"mapping{i}": layer for i, layer in enumerate(weights.mapping)}
    arrays: dict[str, np.ndarray] = {}
    for name, layer in layers.items():
        arrays |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias, f"{name}.slope": layer.slope}
    first = weights.feature.weight.astype(np.float64)
    centre = CENTRE if shape.source is BF16 else 0
    # The border is replicated, never zero: each feature sees all of its taps, so an offset is one more bias.
    arrays |= {"feature.weight": first * gain,
               "feature.bias": weights.feature.bias + (offset + gain * centre) * first.sum((1, 2, 3))}
    bias = np.full(weights.scale**2, weights.bias - offset)
    if shape.output is INT8 and (to := weights.quantization):
        kernel, _ = weights.int8_pixel_shuffle()
        arrays |= {"expand.weight": weights.expand.weight / to.step[:, None, None, None],
                   "expand.bias": weights.expand.bias / to.step, "expand.zero": MAGIC + to.zero.astype(np.float64),
                   "output.weight": kernel, "output.step": to.weight_step / gain}
        # Every sum sees all of its taps here too, so the zero points are one more bias.
        bias = bias - to.weight_step * (kernel.astype(np.float64).sum((2, 3)) @ to.zero)
    else:
        arrays |= {"expand.zero": np.zeros(weights.d), "output.step": np.full(weights.scale**2, 1 / gain),
                   "output.weight": weights.pixel_shuffle()[0]}
    arrays["output.bias"] = bias / gain
    layers_of, sizes = shape.layers(), shape.sizes()
    return {key: packed(arrays[key], size, *layers_of[key.split(".")[0]]) for key, (size, _) in sizes.items()}


def packed(array: np.ndarray, size: tuple[int, ...], numbers: Numbers, layer: tuple[int, ...]) -> np.ndarray:
    """A weight array as `Shape.sizes` has it: filled up with zeros; weights as ``numbers`` of ``layer``, in packs."""
    if array.ndim == 1:
        return np.pad(array, (0, size[0] - len(array))).astype(np.float32)
    axis = 1 if layer[1] > 1 else 3  # what is packed
    full = [*layer[:axis], round_up(layer[axis], numbers.pack), *layer[axis + 1:]]
    array = np.pad(array, [(0, filled - have) for filled, have in zip(full, array.shape, strict=True)])
    array = np.moveaxis(array.reshape(*full[:axis], -1, numbers.pack, *full[axis + 1:]), axis + 1, -1)
    if numbers is BF16:
        array = (array.astype(np.float32).view(np.uint32) + 0x7FFF) >> 16  # to nearest, ties towards zero
    return np.ascontiguousarray(array, numbers.dtype)


@cache
def fused(shape: Shape, code_bits: int, host: Host) -> PlanePipeline:
    """The pipeline from luma of ``code_bits`` (8 or 16) to luma; its inputs are ``peak`` and the weights."""
    d, s, n, k = shape.d, shape.s, shape.scale, shape.taps
    x, y, c, q, sub = (hl.Var(name) for name in ("x", "y", "c", "q", "sub"))  # q: the member of a pack
    luma, peak = hl.ImageParam(hl.UInt(code_bits), 2, "luma"), hl.Param(hl.Float(32), "peak")
    weights = {name: input_array(name.replace(".", "_"), size, dtype)
               for name, (size, dtype) in shape.sizes().items()}

    # ---- Algorithm ----

    def layer(name: str, maps: hl.Func) -> tuple[hl.Func, hl.RDom, hl.Func]:
        """A centred convolution of packed maps, its reduction over (pack, x, y, channels), and its PReLU."""
        numbers, (_, _, side, _) = shape.layers()[name]
        weight, bias, slope = (weights[f"{name}.{part}"] for part in ("weight", "bias", "slope"))
        total, active = hl.Func(name), hl.Func(f"{name}_prelu")
        r = hl.RDom([(0, weight.dim(axis).extent()) for axis in range(4)])
        column = r.y * (numbers.pack if name == "feature" else 1) - side // 2
        total[x, y, c] = bias[c]
        total[x, y, c] += (operand(maps[r.x, x + column, y + r.z - side // 2, r.w], numbers)
                           * operand(weight[r.x, r.y, r.z, r.w, c], numbers))
        active[q, x, y, c] = hl.select(total[x, y, c] > 0, total[x, y, c], total[x, y, c] * slope[c])
        return total, r, active

    source = hl.Func("source")
    code = hl.f32(hl.BoundaryConditions.repeat_edge(luma)[x + q, y])
    source[q, x, y, c] = stored(code - CENTRE, BF16) if shape.source is BF16 else code
    feature, feature_r, features = layer("feature", source)
    shrink, shrink_r, shrunk = layer("shrink", features)
    mapping, mapped = [], shrunk
    for i in range(shape.m):
        mapping.append(layer(f"mapping{i}", mapped))
        mapped = mapping[-1][2]
    expand, expand_r, _ = layer("expand", mapped)
    numbers = shape.output
    planar, expanded = hl.Func("expand_planar"), hl.Func("expanded")
    slope = hl.select(expand[x, y, c] > 0, hl.f32(1), weights["expand.slope"][c])
    planar[x, y, c] = stored(expand[x, y, c] * slope + weights["expand.zero"][c], numbers)
    expanded[q, x, y, c] = hl.mux(q, [planar[x, y, c * numbers.pack + i] for i in range(numbers.pack)])
    together = 2 if n == 2 else 1  # output rows whose phases are summed up in one block
    phases, out = [], hl.Func("out")
    for top in range(0, n, together):
        total, codes = hl.Func(f"phases{top}"), hl.Func(f"codes{top}")
        r = hl.RDom([(0, numbers.pack), (0, k), (0, k), (0, d // numbers.pack), (0, n), (0, together)])
        member, column, row, channel, across, down = (r[axis] for axis in range(6))
        r.where(shape.has_tap(column, across) & shape.has_tap(row, top + down))
        total[x, y, c] = hl.i32(0) if numbers is INT8 else hl.f32(0)
        total[x, y, n * down + across] += (
            operand(expanded[member, x + column + shape.first, y + row + shape.first, channel], numbers)
            * operand(weights["output.weight"][member, column, row, channel, n * (top + down) + across], numbers))
        phase = c + n * top
        value = hl.f32(total[x, y, c]) * weights["output.step"][phase] + weights["output.bias"][phase]
        codes[x, y, c] = to_code(value, hl.UInt(code_bits), peak)
        phases.append((total, r, codes))
    rows = [hl.mux(x % n, [phases[a // together][2][x // n, y, n * (a % together) + b] for b in range(n)])
            for a in range(n)]
    out[x, sub, y] = hl.mux(sub, rows)

    # ---- Schedule: from the output back to the source ----

    blocks = BLOCKS[host.registers]
    widest = max(blocks.trunk, blocks.output) * host.lanes
    pipeline = PlanePipeline(host, luma, out, {"peak": peak} | weights, n, TILE, widest)
    xo, xi, xv, co, ci = (hl.Var(name) for name in ("xo", "xi", "xv", "co", "ci"))

    def in_blocks(maps: hl.Func, vectors: int, channels: int, *pack: hl.Var) -> None:
        """Compute maps in blocks that are summed up in registers."""
        # The last block is shifted inwards: rounded up, it would read what nobody wrote (see PlanePipeline).
        (maps.split(x, xo, xi, vectors * host.lanes, hl.TailStrategy.ShiftInwards).split(xi, xi, xv, host.lanes)
             .split(c, co, ci, channels).reorder(*pack, xv, xi, ci, co, xo, y).vectorize(xv).unroll(xi).unroll(ci))

    def row_by_row(maps: hl.Func, channels: int, pack: int = 1) -> None:
        """Compute only the rows that are new, and keep those that are still read."""
        maps.store_at(out, pipeline.tile).compute_at(out, pipeline.row).bound(c, 0, channels).bound(q, 0, pack)

    def in_registers(total: hl.Func, maps: hl.Func, level: hl.Var | hl.RVar) -> hl.Stage:
        """Hold a block of sums in registers; what is unrolled needs no loop counter and shares its loads."""
        total.compute_at(maps, level).vectorize(x, host.lanes).unroll(x).unroll(c)
        return total.update(0)

    def convolution(update: hl.Stage, r: hl.RDom, numbers: Numbers = FP32) -> hl.Stage:
        """Add up tap by tap, the packs at once."""
        update.reorder(r.x, x, c, r.y, r.z, r.w, y)
        if numbers.pack > 1:
            update.atomic().vectorize(r.x)
        return update.vectorize(x, host.lanes).unroll(x).unroll(c).unroll(r.y)

    for total, r, codes in phases:
        codes.store_at(out, pipeline.tile).compute_at(out, pipeline.row).bound(c, 0, n * together)
        in_blocks(codes, blocks.output, n * together)
        update = in_registers(total, codes, co)
        member, column, row, channel, across, down = (r[axis] for axis in range(6))
        update.reorder(member, x, across, down, column, row, channel, y)
        if numbers.pack > 1:
            update.atomic().vectorize(member)
        # With all taps of a channel unrolled, those that a phase does not have are gone.
        for each in (across, down, column, row):
            update.unroll(each)
        update.vectorize(x, host.lanes).unroll(x)
    row_by_row(expanded, d // numbers.pack, numbers.pack)
    expanded.align_storage(x, host.lanes).vectorize(q)
    in_blocks(expanded, blocks.trunk, FEATURES // numbers.pack, q)
    planar.compute_at(expanded, co).vectorize(x, host.lanes).unroll(x).unroll(c)
    convolution(in_registers(expand, expanded, co), expand_r).unroll(expand_r.w)
    for total, r, maps in reversed(mapping):
        row_by_row(maps, s)
        in_blocks(maps, blocks.trunk, channel_block(s), q)
        convolution(in_registers(total, maps, co), r).unroll(r.z)
    row_by_row(shrunk, s)
    in_blocks(shrunk, blocks.trunk, s, q)
    # A few features at a time are computed and added to the shrunk maps: the many of them are never stored.
    group, feature_of_group = hl.RVar("group"), hl.RVar("feature_of_group")
    (in_registers(shrink, shrunk, xo).split(shrink_r.w, group, feature_of_group, FEATURES)
        .reorder(shrink_r.x, x, c, shrink_r.y, shrink_r.z, feature_of_group, group, y)
        .vectorize(x, host.lanes).unroll(x).unroll(c).unroll(feature_of_group))
    convolution(in_registers(feature, shrink, group), feature_r, shape.source)
    row_by_row(source, 1, shape.source.pack)
    source.reorder(q, x).vectorize(q).vectorize(x, host.lanes, hl.TailStrategy.RoundUp)
    return pipeline


def stored(value: hl.Expr, numbers: Numbers) -> hl.Expr:
    """A float32 as a number of a map, to nearest. For int8 it is from MAGIC on, and clipped to 0..255 of that."""
    if numbers is BF16:
        return hl.u16((hl.reinterpret(hl.UInt(32), value) + hl.u32(0x7FFF)) >> hl.u32(16))
    if numbers is INT8:
        return hl.u8(hl.reinterpret(hl.UInt(32), hl.clamp(value, hl.f32(MAGIC), hl.f32(MAGIC + 255))))
    return value


def operand(number: hl.Expr, numbers: Numbers) -> hl.Expr:
    """A number of a map or a weight array, ready to be multiplied."""
    if numbers is BF16:
        return hl.f32(hl.reinterpret(hl.BFloat(16), number))
    return hl.i32(number) if numbers is INT8 else number


def channel_block(channels: int) -> int:
    """How many channels to compute at a time: as equal shares as can be, of at most CHANNELS."""
    return -(-channels // -(-channels // CHANNELS))


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
