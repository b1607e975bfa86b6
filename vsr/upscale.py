"""One frame made bigger: luma through an engine, chroma bicubically onto the sites where the stream has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from vsr.engines import Engine
from vsr.engines.bicubic import Bicubic
from vsr.engines.resample import Grid, Resampler
from vsr.frame import Frame
from vsr.models.catalogue import SCALES

# AVCHROMA_LOC_* as the (horizontal, vertical) place in the block of luma samples that share one of chroma:
# 0 is the first of them, 1 the last
_SITES = {1: (0.0, 0.5), 2: (0.5, 0.5), 3: (0.0, 0.0), 4: (0.5, 0.0), 5: (0.0, 1.0), 6: (0.5, 1.0)}
_CENTRED = (0.5, 0.5)


def chroma_grid(source: int, target: int, factor: int, place: float) -> Grid:
    """Where the chroma samples of an axis lie whose luma goes from ``source`` to ``target`` samples.

    Luma: pixels are squares, so output sample j lies at r·(j + 1/2) - 1/2 of the input, r = source/target. Chroma
    sample k, one for ``factor`` = f luma samples, lies at luma position s + f·k, where s = ``place``·(f - 1), in the
    input and in the output alike. So output chroma sample j lies at luma position r·(s + f·j + 1/2) - 1/2 of the
    input, which is chroma position (r·(s + f·j + 1/2) - 1/2 - s)/f = r·j + (s + 1/2)·(r - 1)/f. Centred chroma moves
    as luma does; left-sited 4:2:0 half as far horizontally.
    """
    step = source / target
    site = place * (factor - 1)
    return Grid(step, (site + 0.5) * (step - 1) / factor)


class Upscaler:
    """Makes frames ``width`` x ``height`` large: luma by ``engine`` and, where that is another size, resampled.

    ``chroma`` is the log2 (horizontal, vertical) subsampling of the frames that come and go, None for grey;
    ``chroma_location`` where it lies (AVCHROMA_LOC_*, 0 is centred); ``threads`` an upper bound for the resampling,
    None for all processors. Not to be called by two threads at once, as its engine.
    """

    def __init__(
        self,
        engine: Engine,
        chroma: tuple[int, int] | None,
        chroma_location: int,
        width: int,
        height: int,
        threads: int | None = None,
    ) -> None:
        self._engine = engine
        across, down = chroma or (0, 0)
        self._factors = 1 << across, 1 << down
        self._places = _SITES.get(chroma_location, _CENTRED)
        self._size = width, height
        self._threads = threads

    def __call__(self, frame: Frame) -> Frame:
        """A new frame with planes of its own, whatever size this one has: luma and opacity (height, width), chroma as
        its subsampling asks; the rest is kept."""
        size = frame.width, frame.height
        luma = self._engine.upscale(frame.luma)
        if luma.shape[::-1] != self._size:
            luma = self._resizer(luma.shape[::-1])(luma)
        chroma = (self._resizer(size, self._factors, self._places)(plane) for plane in frame.planes[1:])
        alpha = None if frame.alpha is None else self._resizer(size)(frame.alpha)
        return replace(frame, planes=(luma, *chroma), alpha=alpha)

    def _resizer(
        self, size: tuple[int, int], factors: tuple[int, int] = (1, 1), places: tuple[float, float] = _CENTRED
    ) -> Callable[[np.ndarray], np.ndarray]:
        kind = "reference" if self._engine.name == "reference" else "auto"
        return _resizer(size, self._size, factors, places, self._engine.bits, kind, self._threads)


@lru_cache(maxsize=16)  # a few for each size that the frames of a stream have
def _resizer(
    source: tuple[int, int],
    target: tuple[int, int],
    factors: tuple[int, int],
    places: tuple[float, float],
    bits: int,
    engine: str,
    threads: int | None,
) -> Callable[[np.ndarray], np.ndarray]:
    """What makes planes of ``source`` pictures (width, height), one sample for ``factors``, planes of ``target`` ones.

    All pairs are (horizontal, vertical). It is shared by all upscalers: unlike engines, both kinds of resizer may be
    called by several threads.
    """
    x, y = (chroma_grid(*axis) for axis in zip(source, target, factors, places, strict=True))
    small, big = ((-(-height // factors[1]), -(-width // factors[0])) for width, height in (source, target))
    scale = target[0] // source[0]
    if scale not in SCALES or target != (source[0] * scale, source[1] * scale):
        return Resampler(small, big, bits, x, y, engine, threads)
    bicubic = Bicubic(scale, bits, (-x.start, -y.start), engine, threads)
    # An odd side does not fill its last chroma sample: n times as many may be one more than the output has.
    return lambda plane: bicubic.upscale(plane)[: big[0], : big[1]]
