"""What the Halide pipelines share: the host's vectors, the output cut into tiles, numpy planes in and out."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import halide as hl
import numpy as np

from vsr.errors import EngineError


@dataclass(frozen=True)
class Host:
    """A machine that pipelines are compiled for, by Halide's name; ``registers`` vectors of ``lanes`` float32 each."""

    target: str
    lanes: int
    registers: int

    @classmethod
    def current(cls) -> Host:
        """This machine, or the one that HL_JIT_TARGET names. Raises EngineError for a name unknown to Halide."""
        try:
            target = hl.get_jit_target_from_environment()
        except hl.HalideError as error:
            raise EngineError(f"HL_JIT_TARGET: {error}") from error
        narrow = target.arch == hl.TargetArch.X86 and not target.has_feature(hl.TargetFeature.AVX512)
        return cls(str(target), target.natural_vector_size(hl.Float(32)), 16 if narrow else 32)


class PlanePipeline:
    """A Halide pipeline from a plane (H, W) to one n times as large.

    The algorithm defines ``out`` over (x, sub, y): pixel x of output row n·y + sub. So y counts input rows, and Halide
    sees that each stage needs few new rows for the next y (through a division by n it does not, and computes several
    times too much).

    The constructor schedules ``out`` as tiles that threads take one by one, each from its top row to its bottom. The
    caller then schedules the stages before it, at the loop levels `tile` and `row`.

    The first call compiles, which takes about a second. Calls are serialised, since the inputs of a pipeline are set
    before it runs; both compiling and running leave the GIL to other threads (Halide's `compile_jit` and `Callable`
    do not).
    """

    def __init__(self, host: Host, plane: hl.ImageParam, out: hl.Func, inputs: Mapping[str, Any], scale: int,
                 largest_tile: tuple[int, int], narrowest_tile: int) -> None:
        self._plane, self._out, self._inputs, self._scale = plane, out, inputs, scale
        self._target, self._lanes = hl.Target(host.target), host.lanes
        # In input pixels, widths being multiples of the lanes. Tiles are never narrower than what a stage computes at
        # once: it would run on into memory that nobody wrote, where denormal numbers make it many times slower.
        self._largest_tile, self._narrowest_tile = largest_tile, narrowest_tile
        # The tiles' layout is an input too: one compilation serves every size and number of threads.
        self._columns, self._rows, self._share = (hl.Param(hl.Int(32), name) for name in ("columns", "rows", "share"))
        self._lock = threading.Lock()

        self.tile, self.row = hl.Var("tile"), hl.Var("row")
        x, sub, y = out.args()
        xo, yo, xi, task = (hl.Var(name) for name in ("xo", "yo", "xi", "task"))
        width, height = plane.dim(0), plane.dim(1)
        for axis, extent in enumerate((width.extent() * scale, scale, height.extent())):
            out.output_buffer().dim(axis).set_bounds(0, extent)
        width.set_min(0)
        height.set_min(0)
        (out.bound(sub, 0, scale)
            .tile(x, y, xo, yo, xi, self.row, self._columns * (host.lanes * scale), self._rows,
                  hl.TailStrategy.ShiftInwards)
            .fuse(xo, yo, self.tile).split(self.tile, task, self.tile, self._share, hl.TailStrategy.GuardWithIf)
            .reorder(xi, sub, self.row, self.tile, task)
            .vectorize(xi, host.lanes * scale).unroll(sub).parallel(task)
            .never_partition_all())  # three copies of the whole tile would save little and compile for long

    def __call__(self, plane: np.ndarray, out: np.ndarray, values: Mapping[str, Any], threads: int | None) -> None:
        """Fill ``out`` from ``plane`` with ``values`` (buffers and numbers) for the inputs, on ``threads`` at most.

        Raises EngineError.
        """
        lacking = max(self._narrowest_tile - plane.shape[1], 0)
        if not lacking and usable(plane) and usable(out):
            self._realize(plane, out, values, threads)
            return
        # Repeating the last column changes nothing: what lies beyond the border is its copy anyway.
        plane = np.pad(plane, ((0, 0), (0, lacking)), mode="edge")
        enlarged = np.empty([side * self._scale for side in plane.shape], plane.dtype)
        self._realize(plane, enlarged, values, threads)
        out[...] = enlarged[:, :out.shape[1]]

    def _realize(self, plane: np.ndarray, out: np.ndarray, values: Mapping[str, Any], threads: int | None) -> None:
        columns, rows, tiles = self._tiling(*plane.shape)
        # Halide's thread pool has one size for the process, so as many tasks as threads keep an engine to its number;
        # where it may use the whole pool, a task is one tile, which balances best.
        share = 1 if threads is None or threads >= (os.cpu_count() or 1) else -(-tiles // threads)
        # A pipeline does not keep its buffers alive, nor a buffer its array: these names do, until realize returns.
        source, target = hl.Buffer(plane), hl.Buffer(out.reshape(plane.shape[0], self._scale, -1))
        with self._lock:
            self._plane.set(source)
            for parameter, value in ((self._columns, columns), (self._rows, rows), (self._share, share)):
                parameter.set(value)
            for name, value in values.items():
                self._inputs[name].set(value)
            try:
                self._out.realize(target, self._target)
            except hl.HalideError as error:
                raise EngineError(f"Halide failed on a plane of {plane.shape}: {error}") from error

    def _tiling(self, height: int, width: int) -> tuple[int, int, int]:
        """(vectors across a tile, rows of a tile, number of tiles): as equal as can be, and none beyond the plane."""
        largest_width, largest_height = self._largest_tile
        narrowest = self._narrowest_tile // self._lanes
        across = -(-width // largest_width)
        while (columns := max(-(-width // (across * self._lanes)), narrowest)) * self._lanes > width:
            across += 1
        down = -(-height // largest_height)
        return columns, -(-height // down), -(-width // (columns * self._lanes)) * down


def usable(array: np.ndarray) -> bool:
    """Whether Halide can work on the array's memory as it is; it asks for writable memory even where it only reads."""
    row, pixel = array.strides
    return array.flags.writeable and array.flags.aligned and row % array.itemsize == 0 and pixel == array.itemsize


def input_array(name: str, shape: tuple[int, ...]) -> hl.ImageParam:
    """A float32 input for C-contiguous arrays of this shape; its elements then lie at known distances."""
    image = hl.ImageParam(hl.Float(32), len(shape), name)
    stride = 1
    for axis, extent in enumerate(reversed(shape)):
        image.dim(axis).set_bounds(0, extent)
        image.dim(axis).set_stride(stride)
        stride *= extent
    return image


def to_code(value: hl.Expr, kind: hl.Type, peak: hl.Expr) -> hl.Expr:
    """A float rounded (half to even) and clipped to 0..peak, as an integer of ``kind``."""
    return hl.cast(kind, hl.clamp(hl.round(value), hl.f32(0), peak))
