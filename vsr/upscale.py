"""One frame made bigger: luma through an engine, chroma bicubically onto the sites where the stream has it."""

from __future__ import annotations

from dataclasses import replace

from vsr.engines import Engine
from vsr.engines.bicubic import Bicubic
from vsr.frame import Frame

# AVCHROMA_LOC_* as the (horizontal, vertical) place in the block of luma samples that share one of chroma:
# 0 is the first of them, 1 the last
_SITES = {1: (0.0, 0.5), 2: (0.5, 0.5), 3: (0.0, 0.0), 4: (0.5, 0.0), 5: (0.0, 1.0), 6: (0.5, 1.0)}
_CENTRED = (0.5, 0.5)


def chroma_shift(scale: int, factor: int, place: float) -> float:
    """How far before j / scale the bicubic sample j of a chroma row or column lies, in chroma samples.

    Luma: pixels are squares, so output sample j lies at j/n - (n - 1)/(2n) of the input (n the scale). Chroma sample
    k, one for ``factor`` = f luma samples, lies at luma position s + f·k, where s = ``place``·(f - 1), in the input
    and in the output alike. So output chroma sample j lies at luma position (s + f·j)/n - (n - 1)/(2n) of the input,
    which is chroma position ((s + f·j)/n - (n - 1)/(2n) - s)/f = j/n - (n - 1)(2s + 1)/(2nf). Centred chroma moves as
    luma does, by (n - 1)/(2n); left-sited 4:2:0 by half of that horizontally.
    """
    site = place * (factor - 1)
    return (scale - 1) * (2 * site + 1) / (2 * scale * factor)


class Upscaler:
    """Makes frames ``engine.scale`` times as big, luma with ``engine``.

    ``chroma`` is the frames' log2 (horizontal, vertical) subsampling, None for grey; ``chroma_location`` where it lies
    (AVCHROMA_LOC_*, 0 is centred); ``threads`` an upper bound for its interpolation, None for all processors.
    Not to be called by two threads at once, as its engine.
    """

    def __init__(
        self, engine: Engine, chroma: tuple[int, int] | None, chroma_location: int, threads: int | None = None
    ) -> None:
        self._engine = engine
        self._factors = tuple(1 << log2 for log2 in chroma or (0, 0))
        places = _SITES.get(chroma_location, _CENTRED)
        x, y = (chroma_shift(engine.scale, f, p) for f, p in zip(self._factors, places, strict=True))
        self._bicubic = Bicubic(engine.scale, engine.bits, shift=(x, y), threads=threads) if chroma else None

    def __call__(self, frame: Frame) -> Frame:
        """A new frame with planes of its own: luma (n·H, n·W), chroma as its subsampling asks; the rest is kept."""
        luma = self._engine.upscale(frame.luma)
        planes = [luma]
        if self._bicubic is not None:
            # An odd side does not fill its last chroma sample: n times as many may be one more than the output has.
            width, height = (-(-side // f) for side, f in zip(luma.shape[::-1], self._factors, strict=True))
            planes += [self._bicubic.upscale(plane)[:height, :width] for plane in frame.planes[1:]]
        return replace(frame, planes=tuple(planes))
