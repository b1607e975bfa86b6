"""A live picture, enlarged with the least latency that the machine allows: what a screen needs, without one.

    source ──▶ [newest] ──▶ what is looked at, enlarged ──▶ [newest] ──▶ screen
                                                      └──▶ a few at most ──▶ file, virtual camera

Nothing queues: what comes while a frame is in work takes the place of what came before it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vsr.engines import Engine, open_engine
from vsr.errors import EngineError, InputError, UsageError
from vsr.events import LiveMeter
from vsr.frame import Frame
from vsr.live.governor import Governor
from vsr.live.ladder import Ladder, Step, enlarged, kind_of
from vsr.live.meter import Measures
from vsr.live.outlets import SIDES, Apart, Outlet, Outlets, Recording, Snapshot, VirtualCamera
from vsr.media.camera import Asked, Source, check_source, open_source, shown_name
from vsr.media.microphone import Microphone, open_microphone
from vsr.media.picture import seen_color
from vsr.media.record import Recorder
from vsr.models.catalogue import find
from vsr.player import Shown
from vsr.prefetch import newest
from vsr.sides import WHOLE, Box, Choice, View

__all__ = ["LEAST_FPS", "Live"]

LEAST_FPS = 24.0  # that are held where the source says no more
_USUAL_FPS, _MOST_FPS = 30.0, 240.0  # of a source that does not say; more is a time base that is taken for a rate
_GLANCE_S = 0.05  # after which the source is looked at again that gives nothing
_STALLED_S = 1.0  # without a frame: then it is told
_MISSED = 3  # so many frames must be missing then, of a source that gives few a second
_FOLLOW = 0.1  # the weight of a frame in what painting is taken to take
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0  # before a lost source is tried again
_PATIENCE_S = 2.0  # for which a source that answers nobody is waited for when it is closed


class Live:
    """A source whose newest frame is enlarged and shown. A context manager; it may be called by any thread.

    ``source``, ``asked`` and ``capture`` are those of `open_source`; ``choice`` is what enlarges, at best: where it
    does not hold ``fps`` (the source's by default, at least 24), cheaper ways do, unless it is ``pinned``. ``notify``
    is called, in another thread, whenever there is something to `take`; ``paint`` there, with each picture, for what a
    screen must make of it beforehand. ``engines`` opens engines, ``microphones`` microphones as `open_microphone`;
    ``now`` is the clock.

    ``name`` is the source's, as it may be shown. ``messages`` collects (code, message) pairs: the source is 'lost',
    gives nothing ('stalled') or is 'back', an 'engine' fails, what enlarges changes ('mode'), the 'region' lies beyond
    the picture; and what becomes of files and the virtual camera: 'recorded', 'saved', 'virtual', 'disk', 'leftover',
    'left-out', 'microphone' or an 'output' error.
    A source that cannot be opened in the first place raises ``InputError`` from `take`; later it is tried again until
    it is there. Raises ``UsageError`` for a source or a choice that there is not.
    """

    def __init__(
        self,
        source: str,
        choice: Choice | None = None,
        *,
        asked: Asked | None = None,
        view: View | None = None,
        region: Box | None = None,
        fps: float | None = None,
        pinned: bool = False,
        notify: Callable[[], object] = lambda: None,
        paint: Callable[[Shown], Any] | None = None,
        engines: Callable[..., Engine] = open_engine,
        capture: Callable[[int], Any] | None = None,
        microphones: Callable[[str, Callable[[], float]], Microphone] = open_microphone,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        check_source(source)
        self.name = shown_name(source)
        self.messages: deque[tuple[str, str]] = deque()
        self.view, self.region = view or View(), region
        self.pinned = pinned
        self._choice = _checked(choice or Choice())
        self._source, self._asked, self._fps = source, asked or Asked(), fps
        self._notify, self._paint, self._engines, self._capture, self._now = notify, paint, engines, capture, now
        self._microphones = microphones
        self._begun = now()
        self._closing, self._ready = threading.Event(), threading.Event()
        self._measures = Measures()
        self._rate: Fraction | None = None  # the source's
        self._trouble: str | None = None  # what is told of the source and is not over
        self._mode = ""
        self._opened_for: tuple[str | None, str | None] = None, None
        self._beyond: tuple[Box, int, int] | None = None  # a region that was told to lie beyond a picture of that size
        with contextlib.ExitStack() as stack:
            self._outlets = stack.enter_context(Outlets(self._say))
            self._captured = stack.enter_context(newest(self._frames(), patience=_PATIENCE_S))
            self._pictures = stack.enter_context(newest(self._enlarged(), notify))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop and release everything; all threads have ended when it returns. What is being compiled is waited for;
        a source that gives no answer for two seconds ends by itself later, when its driver or the network does."""
        self._closing.set()
        self._ready.set()  # nothing waits for it any more
        self._stack.close()

    # ---- what is asked for, and shown --------------------------------------------------------------------------

    @property
    def choice(self) -> Choice:
        """What is to enlarge, at best. Another one is opened beside the showing. Raises ``UsageError`` for one that
        there is not."""
        return self._choice

    @choice.setter
    def choice(self, choice: Choice) -> None:
        self._choice = _checked(choice)

    @property
    def choice_name(self) -> str:
        """The model's that was chosen."""
        return self._choice.model if isinstance(self._choice.model, str) else self._choice.model.name

    @property
    def mode(self) -> str:
        """What enlarges now; empty before there is a picture."""
        return self._mode

    @property
    def ready(self) -> bool:
        """Whether what was chosen enlarges, or cannot; until then bicubic interpolation does, and nothing is
        measured."""
        return self._ready.is_set()

    @property
    def opened(self) -> tuple[str | None, str | None]:
        """The engine that was opened for what was chosen, and its precision, whatever enlarged the last picture."""
        return self._opened_for

    @property
    def ended(self) -> bool:
        """Whether there will be no more, as of a file that was played to its end."""
        return self._pictures.ended

    def kept(self, frame: Frame) -> Box:
        """The region as far as there is a picture; all of that where it lies beyond, which is told."""
        whole, region = Box(0, 0, frame.width, frame.height), self.region
        within = whole.within(region or WHOLE)
        if region is None or (within.width > 0 and within.height > 0):
            return within
        if self._beyond != (region, frame.width, frame.height):
            self._beyond = region, frame.width, frame.height
            said = f"the region lies beyond the picture of {frame.width}x{frame.height}; all of it is shown"
            self._say("region", said)
        return whole

    def take(self, timeout: float | None = 0) -> Shown | None:
        """The newest picture, once; None where there is none (after ``timeout`` seconds; None waits). Its ``time`` is
        when it came, in seconds. Raises, once, what ended it."""
        shown = self._pictures.take(timeout)
        if shown is not None:
            now = self._now()
            self._measures.taken(now, now - self._begun - float(shown.time))
        return shown

    @property
    def _dropped(self) -> int:
        return self._captured.dropped + self._pictures.dropped

    def told(self, show_ms: float) -> None:
        """The screen shows the last picture, which took so long to draw."""
        self._measures.told(self._now(), show_ms)

    def meter(self) -> LiveMeter:
        """How it goes at the moment."""
        return self._measures.meter(self._now(), self._dropped, self._mode, whole=False)

    def summary(self) -> LiveMeter:
        """How it went, all of it; of latency, the last ten thousand frames."""
        return self._measures.meter(self._now(), self._dropped, self._mode, whole=True)

    # ---- where it goes beside the screen -----------------------------------------------------------------------

    def record(self, target: Path, side: str = "sr", overwrite: bool = False, microphone: str | None = None) -> None:
        """Record what is shown from now on, or as soon as it is ready: 'sr', 'bicubic' or 'both' beside each other; all
        of it, or the region (`Recorder`); with the sound of the ``microphone`` of that name. Raises ``UsageError`` and
        ``OutputError`` as that."""
        listen = None if microphone is None else lambda: Apart(self._microphones(microphone, self._now))
        self._outlets.add(Recording(Recorder(target, overwrite=overwrite, listen=listen), side, self._say))

    def stop_recording(self) -> None:
        """Complete the file; a message says when it has its name."""
        self._outlets.remove(Recording)

    @property
    def recording(self) -> bool:
        return any(isinstance(outlet, Recording) and not outlet.done for outlet in self._outlets.open)

    def snapshot(self, target: Path, side: str = "sr", overwrite: bool = False) -> None:
        """Save the next picture as a file."""
        self._outlets.add(Snapshot(target, side, overwrite, self._say))

    def lend(self, side: str = "sr", camera: Callable[..., Any] | None = None) -> None:
        """Show it to other programs as a virtual camera, which ``camera`` opens as ``pyvirtualcam.Camera``. Raises
        ``OutputError`` where pyvirtualcam is missing; a message says where a driver is."""
        self._outlets.add(VirtualCamera(side, self.fps, camera, self._say))

    def stop_lending(self) -> None:
        self._outlets.remove(VirtualCamera)

    @property
    def lending(self) -> bool:
        return any(isinstance(outlet, VirtualCamera) and not outlet.done for outlet in self._outlets.open)

    # ---- beneath -----------------------------------------------------------------------------------------------

    def _frames(self) -> Generator[Frame]:
        """The source's frames, in a thread of their own; a source that was there once is opened again and again."""
        pause, had = _FIRST_PAUSE_S, False
        while not self._closing.is_set():
            try:
                with self._opened() as source:
                    for frame in source.frames():
                        had, pause = True, _FIRST_PAUSE_S
                        self._rate = source.rate
                        self._came(source.work_ms)
                        yield frame
                        del frame
                        if source.ends and not self._ready.is_set():
                            self._ready.wait()
                            source.resume()
                return
            except InputError as error:
                if self._closing.is_set():
                    return
                if not had:
                    raise
                self._tell("lost", f"{error}; it is tried again until it is back")
            self._closing.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _opened(self) -> Source:
        return open_source(
            self._source, self._asked, now=self._now, wait=self._wait, capture=self._capture
        )

    def _wait(self, seconds: float) -> bool:
        return self._closing.wait(seconds) if seconds > 0 else self._closing.is_set()

    def _came(self, work_ms: float) -> None:
        self._measures.came(self._now(), work_ms)
        if self._trouble is not None:
            self._trouble = None
            self._say("back", f"the picture of {self.name} is back")

    def _tell(self, trouble: str, message: str) -> None:
        """Something is wrong with the source; it is said once, until it is over or something else is."""
        if self._trouble != "lost" and self._trouble != trouble:
            self._trouble = trouble
            self._say(trouble, message)

    def _say(self, code: str, message: str) -> None:
        self.messages.append((code, message))
        self._notify()

    def _enlarged(self) -> Generator[Shown]:
        """What is looked at of the newest frame, in a thread of its own."""
        steps: Ladder | None = None
        ladders = deque[Ladder]()  # this one, and those left that may still be opening
        governor: Governor | None = None
        painting = 0.0  # seconds, followed
        try:
            while not self._closing.is_set():
                while ladders and ladders[0] is not steps and ladders[0].complete:
                    ladders.popleft().close()
                if steps is not None and (steps.steps or steps.complete) and not self._ready.is_set():
                    engine = steps.best.sides.engine
                    self._opened_for = (engine.name, engine.precision) if engine else (None, None)
                    self._measures = Measures(self._dropped)
                    self._ready.set()
                ended = self._captured.ended
                frame = self._captured.take(_GLANCE_S)
                if frame is None:
                    if ended:
                        return
                    self._look_whether_stalled()
                    continue
                while steps is None or steps.kind != kind_of(frame, self._choice, self.pinned):
                    if steps is not None:
                        steps.leave()
                    kind, governor = kind_of(frame, self._choice, self.pinned), None
                    steps = Ladder(kind, self._engines, self._say)
                    ladders.append(steps)
                    frame = self._captured.take() or frame  # that took its time
                step = self._step(steps, governor)
                ready = self._ready.is_set() and not self._closing.is_set()  # which sets both
                outlets = self._outlets.open if ready else ()
                begun = self._now()
                try:
                    shown = self._shown(frame, step, outlets)
                except EngineError as error:
                    if step.sides is steps.plain.sides:
                        raise
                    self._say("engine", str(error))
                    steps.drop(step.sides)
                    governor = None
                    continue
                cost = self._now() - begun
                if self._paint:
                    shown = replace(shown, painted=self._paint(shown))
                whole = self._now() - begun
                painting += _FOLLOW * (whole - cost - painting)
                self._measures.ms["upscale"].append(1000 * whole)
                if not self._ready.is_set():
                    self._closing.wait(whole)  # half the time is for what is being compiled
                if steps.complete:
                    period = 1 / self.fps
                    if governor is None and steps.steps:
                        governor = Governor(len(steps.steps), period)
                    if governor is not None:  # no cheaper enlarging makes up for slow painting
                        governor.period_s = max(period - painting, period / 2)
                        governor(cost, self._now())
                self._outlets.give(shown, step.name, outlets)
                del frame
                yield shown
                del shown
        finally:
            for ladder in ladders:
                ladder.close()

    def _look_whether_stalled(self) -> None:
        last, period_s = self._measures.last_came, max(self._measures.gap_s, 1 / self._rate if self._rate else 0)
        longest_s = max(_STALLED_S, _MISSED * float(period_s))
        if self._ready.is_set() and last is not None and self._now() - last > longest_s:
            self._tell("stalled", f"{self.name} has given no picture for {longest_s:.3g} s")

    @property
    def fps(self) -> float:
        """How many frames a second are to be held."""
        rate = float(self._rate or 0)
        return self._fps or max(LEAST_FPS, rate if 0 < rate <= _MOST_FPS else _USUAL_FPS)

    def _step(self, steps: Ladder, governor: Governor | None) -> Step:
        """What enlarges the next frame; a change is told."""
        complete, opened = steps.complete, steps.steps  # in this order
        if not self._ready.is_set() or not (opened or complete):
            step = steps.waiting
        else:
            step = opened[governor.rung if governor else 0] if opened else steps.plain
        if step.name != self._mode:
            self._mode = step.name
            if self._ready.is_set() and not self._closing.is_set():
                self._say("mode", step.name if step.stands_for else f"{step.name}, for {self.fps:.3g} frames a second")
        return step

    def _shown(self, frame: Frame, step: Step, outlets: Sequence[Outlet]) -> Shown:
        """What is looked at of a frame; all of it where an outlet takes it."""
        frame = replace(frame, color=seen_color(frame.color, frame.width, frame.height))
        within = self.kept(frame)
        wanted = {side for outlet in outlets for side in SIDES[outlet.side]}
        sides, (left, right) = step.sides, (
            within if side in wanted else box and box.within(within)
            for side, box in zip(("bicubic", "sr"), self.view, strict=True)
        )
        bicubic = None if left is None else sides.bicubic(frame, left)
        sr = None if right is None else enlarged(frame, right, step)
        assert frame.pts is not None  # a source always gives one
        at = frame.pts * frame.time_base - Fraction(self._begun)
        engine = sides.engine
        name, precision = (engine.name, engine.precision) if engine else (None, None)
        return Shown(frame, at, 0, bicubic, sr, sides.choice, name, precision)


def _checked(choice: Choice) -> Choice:
    if isinstance(choice.model, str):
        find(choice.model, choice.scale)
    elif choice.model.scale != choice.scale:
        raise UsageError(f"the weights of '{choice.model.name}' are for scale {choice.model.scale}, not {choice.scale}")
    return choice
