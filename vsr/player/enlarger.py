"""What enlarges a player's frames, and what is opened beside to take its place."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from vsr.engines import Engine
from vsr.errors import EngineError, VsrError
from vsr.frame import VideoInfo
from vsr.media.pixels import FULL_RANGE, Layout
from vsr.prefetch import Changes, beside
from vsr.sides import Choice, Sides


class Enlarger:
    """Both sides of frames of a video, by what was chosen last and could be opened: ``sides``, None in the beginning.
    With ``early`` they are bicubic alone then, until the first that was chosen is ready.

    ``changes`` guards what is ready, and tells. ``messages`` say what failed; then there is bicubic alone. Opening is
    done in a thread of its own. A context manager, of one thread.
    """

    def __init__(self, info: VideoInfo, layout: Layout, engines: Callable[..., Engine], changes: Changes,
                 messages: deque[tuple[str, str]], early: bool = False) -> None:
        self.sides: Sides | None = None
        color = info.color
        self._kind = layout, color.range == FULL_RANGE, color.chroma_location
        self._engines, self._changes, self._messages, self._early = engines, changes, messages, early
        self._choice: Choice | None = None  # the last that was begun
        self._ready: Sides | BaseException | None = None
        self._opening = contextlib.ExitStack()
        self._is_opening = False
        self.is_early = False  # whether ``sides`` stand in for the first that was chosen

    def is_due(self, choice: Choice) -> bool:
        """Whether there is something for `follow` to do."""
        return self._ready is not None or (not self._is_opening and choice != self._choice)

    def follow(self, choice: Choice) -> bool:
        """Begin to open what is chosen (False), or let what is ready take over (True). Raises what opening raised."""
        if self._ready is None:
            self._choice, self._is_opening = choice, True
            if self._early and self.sides is None:
                self.sides, self.is_early = Sides(choice, *self._kind, None), True
            self._opening.enter_context(beside(partial(self._work, choice)))
            return False
        ready, self._ready, self._is_opening = self._ready, None, False
        self._opening.close()
        if isinstance(ready, BaseException):
            raise ready
        if self.sides is not None:
            self.sides.close()
        self.sides, self.is_early = ready, False
        return True

    def without_model(self, error: EngineError) -> None:
        """Its engine has failed: from here on, until something else is chosen, there is bicubic alone."""
        assert self.sides is not None
        self._messages.append(("engine", str(error)))
        self.sides.close()

    def _work(self, choice: Choice) -> None:
        ready: Sides | BaseException
        try:
            ready = self._open(choice)
        except BaseException as error:
            ready = error
        with self._changes.telling():
            self._ready = ready

    def _open(self, choice: Choice) -> Sides:
        """What is chosen; bicubic alone where its engine cannot run here."""
        try:
            sides = Sides(choice, *self._kind, self._engines)
        except VsrError as error:
            self._messages.append(("engine", str(error)))
            return Sides(choice, *self._kind, None)
        assert sides.engine is not None
        self._messages.extend(sides.engine.warnings)
        return sides

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opening.close()
        for sides in (self.sides, self._ready):
            if isinstance(sides, Sides):
                sides.close()
