"""Bicubic interpolation by an integer factor, a = -0.5 (Keys): chroma planes, and the baseline of comparisons.

One definition, computed by Halide or by numpy: float32 products and sums in one order without fused multiply-adds,
vertically, then horizontally; so both give the same codes.
"""

from __future__ import annotations

import math
import threading
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from vsr.engines import ON_PROCESSORS, engine_choice
from vsr.engines.contract import Engine, plane_dtype
from vsr.models.networks import cubic

if TYPE_CHECKING:
    from vsr.engines.halide_plane import Host, PlanePipeline

TAPS = 5  # input samples that the n output samples of one input sample need; four at a time weigh something
TILE = 1024, 32  # input samples
LARGEST_SHIFT = 1024

_building = threading.Lock()


class Bicubic(Engine):
    """Bicubic enlargement of any plane, replicated at its edges, rounded and clipped.

    Its ``name`` is 'cpu' (Halide) or 'reference' (numpy). ``shift`` = (x, y) says where samples lie: output sample j at
    j/n - shift of the input. The default, (n - 1)/(2n), aligns the planes' centres; chroma sited at the left wants
    (n - 1)/(4n) for x. It holds no state between calls, so several threads may use one. Raises UsageError
    and EngineError as `open_engine`, ValueError for an absurd shift.
    """

    def __init__(self, scale: int, bits: int = 8, shift: tuple[float, float] | None = None, engine: str = "auto",
                 threads: int | None = None) -> None:
        name = engine_choice(engine, among=ON_PROCESSORS).name
        super().__init__(name, "bicubic", scale, bits, threads=threads)
        centred = (scale - 1) / (2 * scale)
        shift_x, shift_y = shift or (centred, centred)
        self._x, self._y = window(scale, shift_x), window(scale, shift_y)
        if name == "cpu":
            import halide as hl

            from vsr.engines.halide_plane import Host

            with _building:
                self._pipeline = separable(scale, 8 if bits == 8 else 16, Host.current())
            self._inputs = {"peak": 2**bits - 1, "first_x": self._x[0], "first_y": self._y[0],
                            "weight_x": hl.Buffer(self._x[1]), "weight_y": hl.Buffer(self._y[1])}
            self.upscale(np.zeros((1, 1), plane_dtype(bits)))  # compiles, unless it is compiled

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        if self.name == "cpu":
            self._pipeline(luma, out, self._inputs, self.threads)
        else:
            self._in_numpy(luma, out)

    def _in_numpy(self, luma: np.ndarray, out: np.ndarray) -> None:
        n = self.scale

        def interpolate(samples: np.ndarray, first: int, weights: np.ndarray) -> np.ndarray:
            """One output sample for each row of the samples."""
            rows = np.arange(len(samples)) + first
            total = np.zeros_like(samples)
            for k in range(TAPS):
                total += weights[k] * samples[np.clip(rows + k, 0, len(samples) - 1)]
            return total

        for a in range(n):
            vertical = interpolate(luma.astype(np.float32), self._y[0], self._y[1][a]).T
            for b in range(n):
                value = interpolate(vertical, self._x[0], self._x[1][b]).T
                out[a::n, b::n] = np.clip(np.rint(value), 0, 2**self.bits - 1)


def window(scale: int, shift: float) -> tuple[int, np.ndarray]:
    """(first, weights): output sample n·i + p is the sum over k of weights[p, k] · input[i + first + k].

    ``weights`` is (n, TAPS) float32. Raises ValueError for a shift that cannot be meant.
    """
    if not abs(shift) <= LARGEST_SHIFT:
        raise ValueError(f"shift must be between -{LARGEST_SHIFT} and {LARGEST_SHIFT} samples, not {shift}")
    first = math.floor(-shift) - 1
    positions = np.arange(scale) / scale - shift
    return first, cubic(positions[:, None] - (first + np.arange(TAPS))).astype(np.float32)


@cache
def separable(n: int, code_bits: int, host: Host) -> PlanePipeline:
    """The pipeline for planes of ``code_bits`` (8 or 16); windows, weights and ``peak`` are its inputs."""
    import halide as hl

    from vsr.engines.halide_plane import PlanePipeline, input_array, to_code

    x, sub, y = (hl.Var(name) for name in ("x", "sub", "y"))
    plane = hl.ImageParam(hl.UInt(code_bits), 2, "plane")
    weight_x, weight_y = (input_array(name, (n, TAPS)) for name in ("weight_x", "weight_y"))
    first_x, first_y = hl.Param(hl.Int(32), "first_x"), hl.Param(hl.Int(32), "first_y")
    peak = hl.Param(hl.Float(32), "peak")

    # ---- Algorithm ----

    samples, vertical, out = (hl.Func(name) for name in ("samples", "vertical", "out"))
    samples[x, y] = hl.f32(hl.BoundaryConditions.repeat_edge(plane)[x, y])

    def weighted(terms: list[hl.Expr]) -> hl.Expr:
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return hl.strict_float(total)  # no fused multiply-adds

    vertical[x, sub, y] = weighted([weight_y[k, sub] * samples[x, y + first_y + k] for k in range(TAPS)])
    out[x, sub, y] = hl.mux(x % n, [
        to_code(weighted([weight_x[k, b] * vertical[x // n + first_x + k, sub, y] for k in range(TAPS)]),
                hl.UInt(code_bits), peak) for b in range(n)])

    # ---- Schedule ----

    pipeline = PlanePipeline(host, plane, out, {"peak": peak, "first_x": first_x, "first_y": first_y,
                                                "weight_x": weight_x, "weight_y": weight_y}, n, TILE,
                             host.lanes)
    (vertical.compute_at(out, pipeline.row).bound(sub, 0, n).reorder(sub, x, y).unroll(sub)
             .vectorize(x, host.lanes, hl.TailStrategy.RoundUp))
    return pipeline
