"""Both sides of a comparison: the parts of a frame that are looked at, enlarged by bicubic interpolation and a model.

Only what is asked for is computed. It is the same, byte for byte, as if the whole frame were: a part is enlarged with
as much around it as its pixels depend on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from vsr.engines import Engine, open_engine
from vsr.engines.bicubic import TAPS, Bicubic
from vsr.engines.resample import resizer
from vsr.frame import Frame
from vsr.media.pixels import Layout
from vsr.models import DEFAULT_MODEL
from vsr.models.catalogue import Weights, find, load, load_members
from vsr.models.family import Choice as Suiting
from vsr.upscale import Upscaler, resize_of

if TYPE_CHECKING:
    from vsr.quality.metrics import Metrics

_FAR = 1 << 30
_NO_FRAME: tuple[int | None, tuple[int, ...]] = (None, ())


class Box(NamedTuple):
    """A rectangle of pixels, ``right`` and ``bottom`` just outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def within(self, other: Box) -> Box:
        """What lies in both; of no or negative width or height where that is nothing."""
        return Box(max(self.left, other.left), max(self.top, other.top),
                   min(self.right, other.right), min(self.bottom, other.bottom))

    def grown(self, by: int, step: tuple[int, int]) -> Box:
        """``by`` pixels larger to every side, from there on to multiples of ``step`` (x, y)."""
        x, y = step
        return Box((self.left - by) // x * x, (self.top - by) // y * y,
                   -(-(self.right + by) // x) * x, -(-(self.bottom + by) // y) * y)

    def times(self, n: int) -> Box:
        return Box(*(n * edge for edge in self))

    def centre(self, width: int, height: int) -> Box:
        """The part in the middle, at most so large."""
        left, top = max(0, self.width - width) // 2 + self.left, max(0, self.height - height) // 2 + self.top
        return Box(left, top, min(self.right, left + width), min(self.bottom, top + height))


WHOLE = Box(0, 0, _FAR, _FAR)


class View(NamedTuple):
    """What is looked at of either side, in pixels of the frame that is enlarged; None of a side that is not seen.
    What lies outside of the frame is left out."""

    bicubic: Box | None = WHOLE
    sr: Box | None = WHOLE

    @classmethod
    def split(cls, visible: Box, column: int) -> Self:
        """The side of bicubic left of ``column``, the model's from there on."""
        left, right = visible.within(Box(0, 0, column, _FAR)), visible.within(Box(column, 0, _FAR, _FAR))
        return cls(left if left.width > 0 else None, right if right.width > 0 else None)


@dataclass(frozen=True, slots=True)
class Side:
    """A part of an enlarged frame: ``box`` says of what, in pixels before it was enlarged; at the left and top it
    begins with a whole sample of chroma, so that it may be a little more than was asked for. ``frame`` has its planes.
    """

    box: Box
    frame: Frame


@dataclass(frozen=True, slots=True)
class Scores:
    """How near both sides come to the truth, in luma, within ``box`` less as many pixels at its rim as the scale."""

    bicubic: Metrics
    sr: Metrics | None
    box: Box


@dataclass(frozen=True, slots=True)
class Choice:
    """What enlarges, as `open_engine` takes it."""

    model: str | Weights = DEFAULT_MODEL
    scale: int = 2
    engine: str = "auto"
    precision: str = "auto"
    threads: int | None = None


class Sides:
    """Makes both sides of frames of ``layout``, whose chroma lies at ``chroma_location``, as ``choice`` says.

    ``engines`` opens the model's engine; without it there is no such side. Not to be called by two threads at once. A
    context manager. Raises as `open_engine`.
    """

    def __init__(self, choice: Choice, layout: Layout, full_range: bool, chroma_location: int,
                 engines: Callable[..., Engine] | None = open_engine) -> None:
        self.choice, self.scale = choice, choice.scale
        self._layout, self._location = layout, chroma_location
        self._step = (1 << layout.chroma[0], 1 << layout.chroma[1]) if layout.chroma else (1, 1)
        self._bicubic = Bicubic(choice.scale, layout.bits, threads=choice.threads)
        self.engine: Engine | None = None
        self._margin = TAPS // 2 * max(self._step)
        if engines is not None:
            self.engine = engines(choice.model, choice.scale, bits=layout.bits, full_range=full_range,
                                  precision=choice.precision, engine=choice.engine, threads=choice.threads)
            self._margin = max(self._margin, _margin(choice, self.engine.precision))
        self._members: tuple[Weights, ...] = ()
        if self.engine is not None and isinstance(choice.model, str):
            self._members = load_members(choice.model, choice.scale, self.engine.precision)
        self._suiting, self._member, self._suited = Suiting(), 0, _NO_FRAME

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """From here on there is no side of the model."""
        if self.engine is not None:
            self.engine.close()
        self.engine = None

    @property
    def name(self) -> str:
        """The model's."""
        return self.choice.model if isinstance(self.choice.model, str) else self.choice.model.name

    def bicubic(self, frame: Frame, box: Box = WHOLE) -> Side | None:
        """The part of ``frame``, None where nothing of it lies in ``box``."""
        return self._side(frame, box, self._bicubic)

    def sr(self, frame: Frame, box: Box = WHOLE) -> Side | None:
        """As `bicubic`, by the model, of a family by the member that suits the whole frame; None without an engine."""
        if self.engine is None:
            return None
        if self._members and self._suited != (frame.pts, frame.luma.shape):
            self._suited = frame.pts, frame.luma.shape
            member = self._suiting(frame.luma, frame.bits, frame.quantizer, frame.key)
            if member != self._member:
                self.engine.use(self._members[member])
                self._member = member
        return self._side(frame, box, self.engine)

    def of(self, made: Frame, box: Box = WHOLE) -> Side | None:
        """The part of a frame that was ``made``, in another file, of one with sides as many times smaller."""
        box = box.within(Box(0, 0, made.width // self.scale, made.height // self.scale))
        if box.width <= 0 or box.height <= 0:
            return None
        box = box.grown(0, self._step).within(Box(0, 0, made.width // self.scale, made.height // self.scale))
        return Side(box, self._cut(made, box.times(self.scale)))

    def _side(self, frame: Frame, box: Box, engine: Engine) -> Side | None:
        whole = Box(0, 0, frame.width, frame.height)
        box = box.within(whole)
        if box.width <= 0 or box.height <= 0:
            return None
        box = box.grown(0, self._step).within(whole)
        outer = box.grown(self._margin, self._step).within(whole)
        n = self.scale
        upscale = Upscaler(engine, self._layout.chroma, self._location, n * outer.width, n * outer.height)
        made = upscale(self._cut(frame, outer))
        inner = Box(box.left - outer.left, box.top - outer.top, box.right - outer.left, box.bottom - outer.top)
        return Side(box, self._cut(made, inner.times(n)))

    def _cut(self, frame: Frame, box: Box) -> Frame:
        """A view of a part of a frame that begins with a whole sample of chroma."""
        x, y = self._step

        def cut(plane: np.ndarray, x: int = 1, y: int = 1) -> np.ndarray:
            return plane[box.top // y : -(-box.bottom // y), box.left // x : -(-box.right // x)]

        luma, *chroma = frame.planes
        planes = (cut(luma), *(cut(plane, x, y) for plane in chroma))
        return replace(frame, planes=planes, alpha=None if frame.alpha is None else cut(frame.alpha))

    def shrunk(self, frame: Frame) -> Frame:
        """A new frame with sides n times smaller, by bicubic interpolation with a kernel widened by n, as the papers
        shrink [F16, section 4.1]; beyond its edges the frame is repeated. What is no multiple of n at the right and at
        the bottom is left out."""
        n = self.scale
        small = max(1, frame.width // n), max(1, frame.height // n)
        big = n * small[0], n * small[1]
        if min(frame.width, frame.height) < n:
            big = small = frame.width, frame.height
        frame = self._cut(frame, Box(0, 0, *big))
        chroma, bits = self._layout.chroma or (0, 0), self._layout.bits

        def resized(plane: np.ndarray, chroma: tuple[int, int] = (0, 0)) -> np.ndarray:
            return resizer(resize_of(big, small, chroma, self._location), bits, "auto", self.choice.threads)(plane)

        luma, *others = frame.planes
        planes = (resized(luma), *(resized(plane, chroma) for plane in others))
        return replace(frame, planes=planes, alpha=None if frame.alpha is None else resized(frame.alpha))

    def scores(self, frame: Frame, truth: Frame, box: Box = WHOLE) -> Scores | None:
        """Both sides of ``frame`` within ``box`` against the ``truth``, a frame n times as large (what it has more at
        the right and at the bottom is left out); None where there is too little to compare."""
        from vsr.quality.metrics import WINDOW, score
        from vsr.quality.protocol import frame_luma

        n = self.scale
        box = box.within(Box(0, 0, min(frame.width, truth.width // n), min(frame.height, truth.height // n)))
        if min(box.width, box.height) * n < WINDOW + 2 * n:
            return None
        box = box.grown(0, self._step).within(box)
        inner = np.s_[n:-n, n:-n]
        wanted = frame_luma(self._luma(truth, box.times(n)))[inner]

        def against(side: Side | None) -> Metrics | None:
            if side is None:
                return None
            at = Box(box.left - side.box.left, box.top - side.box.top, box.right - side.box.left,
                     box.bottom - side.box.top)
            return score(np.ascontiguousarray(frame_luma(self._luma(side.frame, at.times(n)))[inner]),
                         np.ascontiguousarray(wanted))

        bicubic = against(self.bicubic(frame, box))
        assert bicubic is not None  # the box is not empty
        return Scores(bicubic, against(self.sr(frame, box)), box)

    @staticmethod
    def _luma(frame: Frame, box: Box) -> Frame:
        """The luma of a part alone."""
        return replace(frame, planes=(frame.luma[box.top : box.bottom, box.left : box.right],), alpha=None)


def _margin(choice: Choice, precision: str) -> int:
    """How many pixels around a pixel the model looks at."""
    weights: Weights
    if isinstance(choice.model, str):
        if not find(choice.model, choice.scale).files:
            return TAPS // 2
        weights = load(choice.model, choice.scale, precision)
    else:
        weights = choice.model
    return weights.network.margin(choice.scale, weights.padding)

