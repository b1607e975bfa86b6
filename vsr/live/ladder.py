"""The ways to enlarge frames of one kind, opened: what is asked for first, and all that is cheaper beforehand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from vsr.compare import label
from vsr.engines import Engine
from vsr.errors import VsrError
from vsr.frame import Frame
from vsr.live.governor import Rung, ladder
from vsr.media.pixels import FULL_RANGE, Layout, layout_of
from vsr.prefetch import beside
from vsr.sides import Box, Choice, Side, Sides


@dataclass(frozen=True, slots=True)
class Step:
    """A rung that is open."""

    rung: Rung
    sides: Sides
    stands_for: str = ""  # what is still being opened

    @property
    def name(self) -> str:
        """What is to be read of it."""
        if self.stands_for:
            return f"Bicubic until {self.stands_for} is ready"
        if self.sides.engine is None or self.rung.choice.model == "bicubic":
            return "Bicubic"
        part = f", the middle {self.rung.part:.0%}" if self.rung.part < 1 else ""
        return f"{label(self.sides.engine)}{part}"


class Kind(NamedTuple):
    """What a ladder is for: frames of that layout, by that choice at best."""

    layout: Layout
    full_range: bool
    chroma_location: int
    choice: Choice
    pinned: bool


class Ladder:
    """The rungs for frames of one ``kind``, opened in their order in a thread of its own: ``steps``, so far, and
    whether it is ``complete``. Bicubic, which costs hardly anything, is there at once: ``plain``, ``waiting`` as long
    as nothing else is. ``engines`` opens engines; what cannot be opened is left out, and told by ``say``. `leave` lets
    the opening end, `close` waits for that."""

    def __init__(self, kind: Kind, engines: Callable[..., Engine], say: Callable[[str, str], None]) -> None:
        self.kind, self.steps, self.complete = kind, list[Step](), False
        self._engines, self._say = engines, say
        self._closing = False
        self._all: Iterable[Sides] = ()
        plain = replace(kind.choice, model="bicubic", precision="auto", engine="auto")
        self.plain = Step(Rung(plain), self._open(plain))
        name = kind.choice.model if isinstance(kind.choice.model, str) else kind.choice.model.name
        self.waiting = self.plain if name == "bicubic" else replace(self.plain, stands_for=name)
        self._opening = contextlib.ExitStack()
        self._opening.enter_context(beside(self._open_all))

    def _open(self, choice: Choice) -> Sides:
        kind = self.kind
        return Sides(choice, kind.layout, kind.full_range, kind.chroma_location, self._engines)

    def _open_all(self) -> None:
        opened: dict[Choice, Sides] = {}
        steps: list[tuple[str, str, float]] = []
        try:
            for rung in ladder(self.kind.choice, self.kind.pinned):
                if self._closing:
                    return
                if rung.choice.model == "bicubic":
                    self.steps.append(self.plain)
                    continue
                sides = opened.get(rung.choice)
                if sides is None:
                    try:
                        sides = self._open(rung.choice)
                    except Exception as error:
                        self._say("engine", str(error) if isinstance(error, VsrError) else
                                  f"{type(error).__name__}: {error}")
                        continue
                    opened[rung.choice] = sides
                assert sides.engine is not None
                step = sides.engine.model, sides.engine.precision, rung.part
                if step not in steps:  # what 'auto' is, too
                    steps.append(step)
                    self.steps.append(Step(rung, sides))
        finally:
            self._all = opened.values()
            self.complete = True

    @property
    def best(self) -> Step:
        """Of those that are open."""
        return self.steps[0] if self.steps else self.plain

    def drop(self, sides: Sides) -> None:
        """Leave out what has failed."""
        for step in [step for step in self.steps if step.sides is sides]:
            self.steps.remove(step)

    def leave(self) -> None:
        """Open no more."""
        self._closing = True

    def close(self) -> None:
        self.leave()
        self._opening.close()
        for sides in (self.plain.sides, *self._all):
            sides.close()


def kind_of(frame: Frame, choice: Choice, pinned: bool) -> Kind:
    full_range = frame.color.range == FULL_RANGE
    return Kind(layout_of(frame), full_range, frame.color.chroma_location, choice, pinned)


def enlarged(frame: Frame, box: Box, step: Step) -> Side | None:
    """What the model makes of the middle of ``box``, around it what bicubic interpolation does."""
    part = step.rung.part
    if part == 1:
        return step.sides.sr(frame, box)
    around = step.sides.bicubic(frame, box)
    middle = step.sides.sr(frame, box.centre(round(part * box.width), round(part * box.height)))
    if around is None or middle is None:
        return around
    n = step.sides.scale
    x, y = n * (middle.box.left - around.box.left), n * (middle.box.top - around.box.top)
    luma = middle.frame.luma  # chroma is bicubic in both
    around.frame.luma[y : y + luma.shape[0], x : x + luma.shape[1]] = luma
    return around
