"""The CPU engine: FSRCNN as one fused Halide pipeline, integer codes in, integer codes out.

Layer by layer, the maps of a frame are far larger than any cache. Here each tile goes through all layers row by row:
every layer computes one more row of its maps, which stay in the cache, and only codes are read and written.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache

import halide as hl
import numpy as np

from vsr.engines.contract import Engine, code_range, plane_dtype
from vsr.engines.halide_plane import Host, PlanePipeline, input_array, to_code
from vsr.models.catalogue import FsrcnnWeights

TILE = 320, 54  # input pixels: the rows in work fit the second-level cache, and little is computed twice at the seams
FEATURES = 4  # features (and expanded maps) computed at a time
CHANNELS = 6  # at most so many channels of a 3x3 layer are computed at a time


@dataclass(frozen=True)
class Blocks:
    """What is summed up at once, in vectors of pixels x channels: nearly as many sums as there are registers.

    ``trunk`` vectors in every layer but the last; (vectors, channels) of the ``output`` layer by scale.
    """

    trunk: int
    output: dict[int, tuple[int, int]]


BLOCKS = {16: Blocks(2, {2: (3, 4), 3: (4, 3), 4: (3, 4)}),  # by the number of vector registers
          32: Blocks(3, {2: (5, 4), 3: (3, 9), 4: (3, 8)})}

_building = threading.Lock()


class CpuEngine(Engine):
    """FSRCNN(d, s, m) in fp32 on the CPU, within 1 level of the reference.

    ``threads`` is an upper bound, within the pool that Halide starts once for the process: as many as there are
    processors, or as HL_NUM_THREADS said at that time.
    """

    def __init__(self, weights: FsrcnnWeights, bits: int, full_range: bool, threads: int | None) -> None:
        super().__init__("cpu", weights.name, weights.scale, bits, threads=threads)
        shape = Shape.of(weights)
        with _building:  # two threads that open the same network share one pipeline
            self._pipeline = fused(shape, 8 if bits == 8 else 16, Host.current())
        self._arrays = weight_arrays(shape, weights, bits, full_range)  # the buffers do not keep them alive
        self._inputs = {"peak": 2**bits - 1} | {name: hl.Buffer(array) for name, array in self._arrays.items()}
        self.upscale(np.zeros((1, 1), plane_dtype(bits)))  # compiles, unless it is compiled

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        self._pipeline(luma, out, self._inputs, self.threads)


@dataclass(frozen=True)
class Shape:
    """What a compiled pipeline depends on: FSRCNN(d, s, m) with d and s filled up to whole blocks of channels,
    the scale, and the window of the equivalent pixel shuffle: ``taps`` input pixels from offset ``first`` on."""

    d: int
    s: int
    m: int
    scale: int
    taps: int
    first: int

    @classmethod
    def of(cls, weights: FsrcnnWeights) -> Shape:
        shuffle, first = weights.pixel_shuffle()
        d = round_up(weights.d, FEATURES)
        s = round_up(weights.s, channel_block(weights.s))
        return cls(d, s, weights.m, weights.scale, shuffle.shape[-1], first)

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """The weight arrays' shapes: (out, in, k, k) or (out,), innermost last."""
        d, s, k = self.d, self.s, self.taps
        layers = {"feature": (d, 1, 5, 5), "shrink": (s, d, 1, 1), "expand": (d, s, 1, 1)}
        layers |= {f"mapping{i}": (s, s, 3, 3) for i in range(self.m)}
        sizes: dict[str, tuple[int, ...]] = {"output.weight": (self.scale**2, d, k, k), "output.bias": (1,)}
        for name, size in layers.items():
            sizes |= {f"{name}.weight": size, f"{name}.bias": size[:1], f"{name}.slope": size[:1]}
        return sizes


def weight_arrays(shape: Shape, weights: FsrcnnWeights, bits: int, full_range: bool) -> dict[str, np.ndarray]:
    """The arrays of `Shape.sizes`: the range of the codes folded into the first and last layer, zeros in channels
    that only fill up a block."""
    gain, offset = code_range(bits, full_range)
    layers = {"feature": weights.feature, "shrink": weights.shrink, "expand": weights.expand}
    layers |= {f"mapping{i}": layer for i, layer in enumerate(weights.mapping)}
    arrays = {"output.weight": weights.pixel_shuffle()[0] / gain,
              "output.bias": np.array([weights.bias - offset]) / gain}
    for name, layer in layers.items():
        arrays |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias, f"{name}.slope": layer.slope}
    first = weights.feature.weight.astype(np.float64)
    # The border is replicated, never zero: each feature sees all of its taps, so the offset is one more bias.
    arrays |= {"feature.weight": first * gain, "feature.bias": weights.feature.bias + offset * first.sum((1, 2, 3))}
    return {name: np.pad(arrays[name], [(0, size - have) for size, have in zip(full, arrays[name].shape, strict=True)])
            .astype(np.float32, order="C") for name, full in shape.sizes().items()}


@cache
def fused(shape: Shape, code_bits: int, host: Host) -> PlanePipeline:
    """The pipeline from luma of ``code_bits`` (8 or 16) to luma; its inputs are ``peak`` and the weights."""
    d, s, n, k = shape.d, shape.s, shape.scale, shape.taps
    x, y, c, sub = (hl.Var(name) for name in ("x", "y", "c", "sub"))
    luma, peak = hl.ImageParam(hl.UInt(code_bits), 2, "luma"), hl.Param(hl.Float(32), "peak")
    weights = {name: input_array(name.replace(".", "_"), size) for name, size in shape.sizes().items()}

    # ---- Algorithm ----

    def layer(name: str, maps: hl.Func) -> tuple[hl.Func, hl.RDom, hl.Func]:
        """A centred convolution of the maps, its reduction over (x, y, channels), and its PReLU."""
        _, channels, side, _ = shape.sizes()[f"{name}.weight"]
        weight, bias, slope = (weights[f"{name}.{part}"] for part in ("weight", "bias", "slope"))
        total, active = hl.Func(name), hl.Func(f"{name}_prelu")
        r = hl.RDom([(0, side), (0, side), (0, channels)])
        total[x, y, c] = bias[c]
        total[x, y, c] += maps[x + r.x - side // 2, y + r.y - side // 2, r.z] * weight[r.x, r.y, r.z, c]
        active[x, y, c] = hl.select(total[x, y, c] > 0, total[x, y, c], total[x, y, c] * slope[c])
        return total, r, active

    source = hl.Func("source")
    source[x, y, c] = hl.f32(hl.BoundaryConditions.repeat_edge(luma)[x, y])
    feature, feature_r, features = layer("feature", source)
    shrink, shrink_r, shrunk = layer("shrink", features)
    mapping, mapped = [], shrunk
    for i in range(shape.m):
        mapping.append(layer(f"mapping{i}", mapped))
        mapped = mapping[-1][2]
    expand, expand_r, expanded = layer("expand", mapped)
    phases, codes, out = hl.Func("phases"), hl.Func("codes"), hl.Func("out")
    phases_r = hl.RDom([(0, k), (0, k), (0, d)])
    phases[x, y, c] = weights["output.bias"][0]
    phases[x, y, c] += (expanded[x + phases_r.x + shape.first, y + phases_r.y + shape.first, phases_r.z]
                        * weights["output.weight"][phases_r.x, phases_r.y, phases_r.z, c])
    codes[x, y, c] = to_code(phases[x, y, c], hl.UInt(code_bits), peak)
    out[x, sub, y] = hl.mux(x % n, [codes[x // n, y, n * sub + b] for b in range(n)])

    # ---- Schedule: from the output back to the source ----

    blocks = BLOCKS[host.registers]
    widest = max(blocks.trunk, blocks.output[n][0]) * host.lanes
    pipeline = PlanePipeline(host, luma, out, {"peak": peak} | weights, n, TILE, widest)
    xo, xi, co, ci = (hl.Var(name) for name in ("xo", "xi", "co", "ci"))

    def in_blocks(maps: hl.Func, vectors: int, channels: int) -> None:
        """Compute maps in blocks that are summed up in registers."""
        # The last block is shifted inwards: rounded up, it would read what nobody wrote (see PlanePipeline).
        (maps.split(x, xo, xi, vectors * host.lanes, hl.TailStrategy.ShiftInwards).split(c, co, ci, channels)
             .reorder(xi, ci, co, xo, y).vectorize(xi, host.lanes).unroll(xi).unroll(ci))

    def row_by_row(maps: hl.Func, channels: int) -> None:
        """Compute only the rows that are new, and keep those that are still read."""
        maps.store_at(out, pipeline.tile).compute_at(out, pipeline.row).bound(c, 0, channels)

    def in_registers(total: hl.Func, r: hl.RDom, maps: hl.Func, level: hl.Var | hl.RVar) -> None:
        """Sum up a block of maps; what is unrolled needs no loop counter and shares its loads."""
        total.compute_at(maps, level).vectorize(x, host.lanes).unroll(x).unroll(c)
        (total.update(0).reorder(x, c, r.x, r.y, r.z, y).vectorize(x, host.lanes).unroll(x).unroll(c)
              .unroll(r.x))

    codes.compute_at(out, pipeline.row).bound(c, 0, n * n)
    in_blocks(codes, *blocks.output[n])
    in_registers(phases, phases_r, codes, co)
    row_by_row(expanded, d)
    in_blocks(expanded, blocks.trunk, FEATURES)
    in_registers(expand, expand_r, expanded, co)
    expand.update(0).unroll(expand_r.z)
    for total, r, maps in reversed(mapping):
        row_by_row(maps, s)
        in_blocks(maps, blocks.trunk, channel_block(s))
        in_registers(total, r, maps, co)
        total.update(0).unroll(r.y)
    row_by_row(shrunk, s)
    in_blocks(shrunk, blocks.trunk, s)
    # A few features at a time are computed and added to the shrunk maps: the many of them are never stored.
    group, feature_of_group = hl.RVar("group"), hl.RVar("feature_of_group")
    shrink.compute_at(shrunk, xo).vectorize(x, host.lanes).unroll(x).unroll(c)
    (shrink.update(0).split(shrink_r.z, group, feature_of_group, FEATURES)
           .reorder(x, c, shrink_r.x, shrink_r.y, feature_of_group, group, y)
           .vectorize(x, host.lanes).unroll(x).unroll(c).unroll(feature_of_group))
    in_registers(feature, feature_r, shrink, group)
    row_by_row(source, 1)
    source.vectorize(x, host.lanes, hl.TailStrategy.RoundUp)
    return pipeline


def channel_block(channels: int) -> int:
    """How many channels to compute at a time: as equal shares as can be, of at most CHANNELS."""
    return -(-channels // -(-channels // CHANNELS))


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
