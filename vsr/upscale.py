"""One frame made bigger: luma through an engine, chroma bicubically onto the sites where the stream has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from vsr.engines import Engine
from vsr.engines.resample import Grid, Resize, resizer
from vsr.frame import Frame
from vsr.models.catalogue import Weights
from vsr.models.family import Choice

# AVCHROMA_LOC_* as the (horizontal, vertical) place in the block of luma samples that share one of chroma:
# 0 is the first of them, 1 the last
_SITES = {1: (0.0, 0.5), 2: (0.5, 0.5), 3: (0.0, 0.0), 4: (0.5, 0.0), 5: (0.0, 1.0), 6: (0.5, 1.0)}
_CENTRED = (0.5, 0.5)

Size = tuple[int, int]


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


def resize_of(size: Size, target: Size, chroma: tuple[int, int] = (0, 0), chroma_location: int = 0) -> Resize:
    """What a plane needs when its picture goes from ``size`` to ``target``, both (width, height).

    ``chroma`` is the log2 (horizontal, vertical) subsampling of the plane, ``chroma_location`` where its samples lie
    (AVCHROMA_LOC_*, 0 is centred).
    """
    factors, places = (1 << chroma[0], 1 << chroma[1]), _SITES.get(chroma_location, _CENTRED)
    x, y = (chroma_grid(*axis) for axis in zip(size, target, factors, places, strict=True))
    small, big = ((-(-height // factors[1]), -(-width // factors[0])) for width, height in (size, target))
    return Resize(small, big, x, y)


class Upscaler:
    """Makes frames ``width`` x ``height`` large: luma by ``engine`` and, where that is another size, resampled.

    ``chroma`` is the log2 (horizontal, vertical) subsampling of the frames that come and go, None for grey;
    ``chroma_location`` where it lies (AVCHROMA_LOC_*, 0 is centred). Of ``members``, weights of the engine's network
    from clean to coarse, each frame gets those that suit it. Not to be called by two threads at once, as its engine.
    """

    def __init__(
        self,
        engine: Engine,
        chroma: tuple[int, int] | None,
        chroma_location: int,
        width: int,
        height: int,
        members: Sequence[Weights] = (),
    ) -> None:
        self._engine, self._size = engine, (width, height)
        self._members, self._choice, self._member = members, Choice(), 0
        self._used = {member.name: 0 for member in members}
        self._chroma = chroma or (0, 0), chroma_location

    @property
    def shares(self) -> dict[str, float] | None:
        """Of the frames so far, the share that each of the members made, where there are members; may be asked for by
        another thread."""
        total = max(1, sum(self._used.values()))
        return {name: count / total for name, count in self._used.items()} if self._members else None

    def __call__(self, frame: Frame) -> Frame:
        """A new frame with planes of its own, whatever size this one has: luma and opacity (height, width), chroma as
        its subsampling asks; the rest is kept."""
        return self.begin(frame)()

    def begin(self, frame: Frame) -> Callable[[], Frame]:
        """The same in two steps, as `Engine.begin`: what is returned waits for the new frame."""
        planes = self._begin(frame, [])
        return lambda: _made(frame, planes())

    def begin_both(self, frame: Frame) -> Callable[[], tuple[Frame, Frame]]:
        """As `begin`, for two frames: bicubic, then by the engine. All planes but luma are the same arrays in both."""
        size = frame.width, frame.height
        planes = self._begin(frame, [(frame.luma, resize_of(size, self._size))])

        def finished() -> tuple[Frame, Frame]:
            *made, bicubic = planes()
            upscaled = _made(frame, made)
            return replace(upscaled, planes=(bicubic, *upscaled.planes[1:])), upscaled

        return finished

    def _begin(self, frame: Frame, more: list[tuple[np.ndarray, Resize]]) -> Callable[[], list[np.ndarray]]:
        """All planes, alpha the last of the frame's own, then ``more``."""
        if self._members:
            self._choose(frame)
        size = frame.width, frame.height
        others = [(plane, resize_of(size, self._size, *self._chroma)) for plane in frame.planes[1:]]
        if frame.alpha is not None:
            others.append((frame.alpha, resize_of(size, self._size)))
        return self._engine.begin(frame.luma, self._size[::-1], others + more)

    def _choose(self, frame: Frame) -> None:
        member = self._choice(frame.luma, frame.bits, frame.quantizer, frame.key)
        if member != self._member:
            self._engine.use(self._members[member])
            self._member = member
        self._used[self._members[member].name] += 1


def _made(frame: Frame, planes: list[np.ndarray]) -> Frame:
    """``frame`` with other ``planes``, alpha the last."""
    alpha = None if frame.alpha is None else planes[-1]
    return replace(frame, planes=tuple(planes[: len(frame.planes)]), alpha=alpha)


def whole_chroma(frame: Frame) -> Frame:
    """``frame`` in 4:4:4: chroma bicubically from the sites of its ``color`` to those of luma."""
    if len(frame.planes) == 1 or frame.planes[1].shape == frame.luma.shape:
        return frame
    small, big = frame.planes[1].shape, frame.luma.shape
    factors = [next(f for f in (1, 2, 4) if -(-b // f) == s) for b, s in zip(big, small, strict=True)]
    places = _SITES.get(frame.color.chroma_location, _CENTRED)[::-1]
    y, x = (Grid(1 / f, -place * (f - 1) / f) for f, place in zip(factors, places, strict=True))
    enlarge = resizer(Resize(small, big, x, y), frame.bits, "auto", None)
    return replace(frame, planes=(frame.luma, *map(enlarge, frame.planes[1:])))
