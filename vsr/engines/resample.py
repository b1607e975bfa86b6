"""Bicubic resampling of a plane to any size, a = -0.5 (Keys): chroma, opacity, and luma on its way to an exact size.

One definition, computed by Halide or by numpy: float32 products and sums in one order without fused multiply-adds,
vertically, then horizontally; so both give the same codes. `vsr.engines.bicubic` is the faster special case of whole
factors.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vsr.engines import ON_PROCESSORS, engine_choice
from vsr.engines.bicubic import Bicubic
from vsr.engines.contract import check_plane, plane_dtype, processors
from vsr.errors import EngineError
from vsr.models.catalogue import SCALES
from vsr.models.networks import cubic

if TYPE_CHECKING:
    from vsr.engines.halide_plane import Host

BLOCK = 4  # vectors that are summed up at once
ROW_MULTIPLE = 64  # samples: rows that Halide writes are whole blocks of any machine's vectors, without ragged ends

_building = threading.Lock()


class Grid(NamedTuple):
    """Where the output samples of an axis lie: sample j at ``start`` + ``step``·j, in input samples."""

    step: float
    start: float

    @classmethod
    def centred(cls, source: int, target: int) -> Grid:
        """``target`` samples over the extent of ``source`` samples, the outer edges of both aligned."""
        step = source / target
        return cls(step, (step - 1) / 2)


class Resize(NamedTuple):
    """What becomes of a plane: ``source`` = (height, width) turns into ``target``, with samples at ``x`` and ``y``."""

    source: tuple[int, int]
    target: tuple[int, int]
    x: Grid
    y: Grid

    @classmethod
    def centred(cls, source: tuple[int, int], target: tuple[int, int]) -> Resize:
        """The outer edges of both aligned."""
        y, x = (Grid.centred(*axis) for axis in zip(source, target, strict=True))
        return cls(source, target, x, y)


class Taps(NamedTuple):
    """Output sample j of an axis is the sum over k of weights[k, j] · input[first[j] + k], all within the input.

    ``first`` is (N,) int32, ``weights`` is (taps, N) float32.
    """

    first: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, source: int, target: int, grid: Grid) -> Taps:
        # Shrinking widens the kernel by the step, which keeps out what the output cannot show (anti-aliasing). Of a
        # network's picture, Keys' kernel so widened left as much as Lanczos-3 (within 0.05 dB at x1.5, x2.5 and x3.2
        # of Set5 and Set14; 0.6 dB less at x1.125 only) with 2/3 of the overshoot and of the time.
        stretch = max(grid.step, 1.0)
        positions = grid.start + grid.step * np.arange(target)
        lowest = np.floor(positions - 2 * stretch).astype(int) + 1
        index = lowest[:, None] + np.arange(math.ceil(4 * stretch))
        weights = cubic((positions[:, None] - index) / stretch)
        weights /= weights.sum(1, keepdims=True)
        # Beyond an edge its sample is repeated, so that one gets the weights of all that lie there.
        taps = min(index.shape[1], source)
        first = np.clip(lowest, 0, source - taps)
        inside = np.zeros((target, taps))
        np.add.at(inside, (np.arange(target)[:, None], np.clip(index, 0, source - 1) - first[:, None]), weights)
        return cls(first.astype(np.int32), np.ascontiguousarray(inside.T, np.float32))


class Resampler:
    """Makes planes of ``source`` = (height, width) into planes of ``target``: ``bits``-bit codes, rounded and clipped.

    ``x`` and ``y`` say where the output samples lie; the default aligns the planes' outer edges. Edges are replicated.
    ``engine`` is 'cpu' (Halide), 'reference' (numpy) or 'auto'; ``threads`` an upper bound, None for all processors.
    May be called by several threads. Raises UsageError and EngineError as `open_engine`.
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int], bits: int = 8, x: Grid | None = None,
                 y: Grid | None = None, engine: str = "auto", threads: int | None = None) -> None:
        self.source, self.target, self.bits, self.threads = source, target, bits, threads
        self.name = engine_choice(engine, among=ON_PROCESSORS).name
        self._x = Taps.of(source[1], target[1], x or Grid.centred(source[1], target[1]))
        self._y = Taps.of(source[0], target[0], y or Grid.centred(source[0], target[0]))
        if self.name == "cpu":
            from vsr.engines.halide_plane import Host

            lacking = 0, -target[1] % ROW_MULTIPLE
            self._x = Taps(np.pad(self._x.first, lacking, "edge"), np.pad(self._x.weights, ((0, 0), lacking), "edge"))
            with _building:
                self._pipeline = pipeline(8 if bits == 8 else 16, Host.current())
            self(np.zeros(source, plane_dtype(bits)))  # compiles, unless it is compiled

    def __call__(self, plane: np.ndarray) -> np.ndarray:
        """The plane (``source``) as a new array (``target``) of the same dtype; its rows may be padded.

        Raises ValueError for any other array, EngineError where Halide fails.
        """
        check_plane("plane", plane, self.bits)
        if plane.shape != self.source:
            raise ValueError(f"plane must be {self.source}, not {plane.shape}")
        if self.name == "reference":
            return self._in_numpy(plane)
        out = np.empty((self.target[0], len(self._x.first)), plane.dtype)
        self._pipeline(plane, out, (*self._x, *self._y), 2**self.bits - 1, self.threads)
        return out[:, :self.target[1]]

    def _in_numpy(self, plane: np.ndarray) -> np.ndarray:
        def resample(samples: np.ndarray, taps: Taps) -> np.ndarray:
            """One output row for each entry of the taps."""
            total = np.zeros((len(taps.first), samples.shape[1]), np.float32)
            for k, weights in enumerate(taps.weights):
                total += weights[:, None] * samples[taps.first + k]
            return total

        value = resample(resample(plane.astype(np.float32), self._y).T, self._x).T
        return np.clip(np.rint(value), 0, 2**self.bits - 1).astype(plane.dtype)


@lru_cache(maxsize=16)  # a few for each size that the frames of a stream have
def resizer(resize: Resize, bits: int, engine: str, threads: int | None) -> Callable[[np.ndarray], np.ndarray]:
    """What does ``resize``; the other arguments are `Resampler`'s. All that ask share it: any thread may call it."""
    scale = next((n for n in SCALES if resize.x.step == resize.y.step == 1 / n), None)
    if scale is None:
        return Resampler(resize.source, resize.target, bits, resize.x, resize.y, engine, threads)
    bicubic = Bicubic(scale, bits, (-resize.x.start, -resize.y.start), engine, threads)
    height, width = resize.target
    # An odd side does not fill its last chroma sample: n times as many may be one more than the output has.
    return lambda plane: bicubic.upscale(plane)[:height, :width]


class ResamplePipeline:
    """The Halide pipeline for planes of ``code_bits`` (8 or 16); the taps are its inputs, so it serves every size.

    Its first call compiles, which takes half a second. Calls are serialised, as the inputs are set before it runs.
    """

    def __init__(self, code_bits: int, host: Host) -> None:
        import halide as hl

        from vsr.engines.halide_plane import to_code

        self._lock, self._target = threading.Lock(), hl.Target(host.target)
        x, y, task, xo, xi = (hl.Var(name) for name in ("x", "y", "task", "xo", "xi"))
        plane = hl.ImageParam(hl.UInt(code_bits), 2, "plane")
        first_x, first_y = (hl.ImageParam(hl.Int(32), 1, name) for name in ("first_x", "first_y"))
        weight_x, weight_y = (hl.ImageParam(hl.Float(32), 2, name) for name in ("weight_x", "weight_y"))
        self._plane, self._taps = plane, (first_x, weight_x, first_y, weight_y)
        self._peak, self._rows = hl.Param(hl.Float(32), "peak"), hl.Param(hl.Int(32), "rows")

        # ---- Algorithm ----

        down, vertical, across, out = (hl.Func(name) for name in ("down", "vertical", "across", "out"))
        down_k = hl.RDom([(0, weight_y.dim(1).extent())])
        across_k = hl.RDom([(0, weight_x.dim(1).extent())])
        samples = hl.BoundaryConditions.repeat_edge(plane)
        down[x, y] = hl.f32(0)
        down[x, y] = hl.strict_float(down[x, y] + weight_y[y, down_k] * hl.f32(samples[x, first_y[y] + down_k]))
        vertical[x, y] = down[x, y]
        column = hl.unsafe_promise_clamped(first_x[x] + across_k, 0, plane.width() - 1)
        across[x, y] = hl.f32(0)
        across[x, y] = hl.strict_float(across[x, y] + weight_x[x, across_k] * vertical[column, y])
        out[x, y] = to_code(across[x, y], hl.UInt(code_bits), self._peak)

        # ---- Schedule: each task takes some rows, and each row is interpolated down, then across ----

        for image in (plane, *self._taps, out.output_buffer()):
            for axis in range(image.dimensions()):
                image.dim(axis).set_min(0)
        row = out.output_buffer().dim(0)
        row.set_extent(first_x.width() / ROW_MULTIPLE * ROW_MULTIPLE)
        block = BLOCK * host.lanes
        (out.split(y, task, y, self._rows, hl.TailStrategy.GuardWithIf).parallel(task)
            .split(x, xo, xi, block, hl.TailStrategy.RoundUp).vectorize(xi, host.lanes).unroll(xi)
            .reorder(xi, xo, y, task))
        (vertical.store_at(out, task).compute_at(out, y)
                 .split(x, xo, xi, block, hl.TailStrategy.RoundUp).vectorize(xi, host.lanes).unroll(xi))
        for total, k, level in ((down, down_k, vertical), (across, across_k, out)):
            total.compute_at(level, xo).vectorize(x, host.lanes).unroll(x)
            total.update(0).reorder(x, k, y).vectorize(x, host.lanes).unroll(x)
        self._out = out

    def __call__(self, plane: np.ndarray, out: np.ndarray, taps: tuple[np.ndarray, ...], peak: int,
                 threads: int | None) -> None:
        """Fill ``out``, whose rows are a multiple of ROW_MULTIPLE, by the ``taps`` (x, then y). Raises EngineError."""
        import halide as hl

        from vsr.engines.halide_plane import usable

        # A pipeline does not keep its buffers alive, nor a buffer its array: these names do, until realize returns.
        source, target = hl.Buffer(plane if usable(plane) else plane.copy()), hl.Buffer(out)
        tables = [hl.Buffer(table) for table in taps]
        # As many tasks as threads keep it to its number; where it may use all, smaller ones balance better.
        most = processors()
        tasks = threads if threads is not None and threads < most else 4 * most
        with self._lock:
            self._plane.set(source)
            for image, table in zip(self._taps, tables, strict=True):
                image.set(table)
            self._peak.set(peak)
            self._rows.set(-(-out.shape[0] // tasks))
            try:
                self._out.realize(target, self._target)
            except hl.HalideError as error:
                raise EngineError(f"Halide failed on a plane of {plane.shape}: {error}") from error


@cache
def pipeline(code_bits: int, host: Host) -> ResamplePipeline:
    return ResamplePipeline(code_bits, host)
