"""What the Halide pipelines share: the host's vectors, the output cut into tiles, numpy planes in and out."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import halide as hl
import numpy as np

from vsr.engines.contract import processors
from vsr.errors import EngineError

if processors() < (os.cpu_count() or 1):  # for all of which Halide's pool, which starts later, would have threads
    os.environ.setdefault("HL_NUM_THREADS", str(processors()))

TILES_PER_THREAD = 4  # at least, where that does not need tiles of fewer than SHORTEST_TILE rows
SHORTEST_TILE = 16


@dataclass(frozen=True)
class Host:
    """A machine that pipelines are compiled for, by Halide's name; ``registers`` vectors of ``lanes`` float32 each."""

    target: str
    lanes: int
    registers: int

    def has(self, *features: str) -> bool:
        """Whether it has one of the processor features, by their names in `hl.TargetFeature`."""
        target = hl.Target(self.target)
        return any(target.has_feature(getattr(hl.TargetFeature, feature)) for feature in features)

    @classmethod
    def current(cls) -> Host:
        """This machine, or the one that HL_JIT_TARGET names. Raises EngineError for a name unknown to Halide."""
        try:
            target = hl.get_jit_target_from_environment()
        except hl.HalideError as error:
            said = str(error).strip().partition("\n")[0]
            raise EngineError(f"HL_JIT_TARGET={os.environ.get('HL_JIT_TARGET')}: {said:.150}") from error
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
        for axis, extent in enumerate((width.extent() * scale, scale)):
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

    def __call__(self, plane: np.ndarray, out: np.ndarray, values: Mapping[str, Any], threads: int | None,
                 rows: tuple[int, int] | None = None) -> None:
        """Fill ``out`` from ``plane`` with ``values`` (buffers and numbers) for the inputs, on ``threads`` at most.

        ``rows`` (first, end) of the plane, where not all, are those whose output is wanted. Raises EngineError.
        """
        first, end = rows or (0, len(plane))
        out = out[self._scale * first:self._scale * end]
        lacking = max(self._narrowest_tile - plane.shape[1], 0)
        if not lacking and usable(plane) and usable(out):
            self._realize(plane, out, values, threads, first)
            return
        # Repeating the last column changes nothing: what lies beyond the border is its copy anyway.
        plane = np.pad(plane, ((0, 0), (0, lacking)), mode="edge")
        enlarged = np.empty((len(out), plane.shape[1] * self._scale), plane.dtype)
        self._realize(plane, enlarged, values, threads, first)
        out[...] = enlarged[:, :out.shape[1]]

    def compile_to_assembly(self, path: Path) -> None:
        """Write the machine code for the host that it was built for, which need not be this one."""
        layout = self._columns, self._rows, self._share
        self._out.compile_to_assembly(str(path), [self._plane, *self._inputs.values(), *layout], "f", self._target)

    def _realize(self, plane: np.ndarray, out: np.ndarray, values: Mapping[str, Any], threads: int | None,
                 first: int) -> None:
        height = len(out) // self._scale
        columns, rows, tiles = self._tiling(height, plane.shape[1], threads)
        # Halide's thread pool has one size for the process, so as many tasks as threads keep an engine to its number;
        # where it may use the whole pool, a task is one tile, which balances best.
        share = 1 if threads is None or threads >= processors() else -(-tiles // threads)
        # A pipeline does not keep its buffers alive, nor a buffer its array: these names do, until realize returns.
        source, target = hl.Buffer(plane), hl.Buffer(out.reshape(height, self._scale, -1))
        target.set_min([0, 0, first])
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

    def _tiling(self, height: int, width: int, threads: int | None) -> tuple[int, int, int]:
        """(vectors across a tile, rows of a tile, number of tiles): as equal as can be, and none beyond the plane."""
        largest_width, largest_height = self._largest_tile
        narrowest = self._narrowest_tile // self._lanes
        across = -(-width // largest_width)
        while (columns := max(-(-width // (across * self._lanes)), narrowest)) * self._lanes > width:
            across += 1
        across = -(-width // (columns * self._lanes))
        # Few rows are cut further, so that no thread waits long for the last tile of another.
        wanted = TILES_PER_THREAD * min(threads or processors(), processors())
        down = max(-(-height // largest_height), min(-(-wanted // across), height // SHORTEST_TILE))
        return columns, -(-height // down), across * down


def usable(array: np.ndarray) -> bool:
    """Whether Halide can work on the array's memory as it is; it asks for writable memory even where it only reads."""
    row, pixel = array.strides
    return array.flags.writeable and array.flags.aligned and row % array.itemsize == 0 and pixel == array.itemsize


def input_array(name: str, shape: tuple[int, ...], dtype: str = "float32") -> hl.ImageParam:
    """An input for C-contiguous arrays of this shape; its elements then lie at known distances."""
    kind = {"float32": hl.Float(32), "uint16": hl.UInt(16), "int8": hl.Int(8)}[dtype]
    image = hl.ImageParam(kind, len(shape), name)
    stride = 1
    for axis, extent in enumerate(reversed(shape)):
        image.dim(axis).set_bounds(0, extent)
        image.dim(axis).set_stride(stride)
        stride *= extent
    return image


def to_code(value: hl.Expr, kind: hl.Type, peak: hl.Expr) -> hl.Expr:
    """A float rounded (half to even) and clipped to 0..peak, as an integer of ``kind``."""
    return hl.cast(kind, hl.clamp(hl.round(value), hl.f32(0), peak))
