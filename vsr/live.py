"""A live picture, enlarged with the least latency that the machine allows: what a screen needs, without one.

    source ──▶ [newest] ──▶ what is looked at, enlarged ──▶ [newest] ──▶ screen
                                                      └──▶ a few at most ──▶ file, virtual camera

Nothing queues: what comes while a frame is in work takes the place of what came before it.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median
from types import TracebackType
from typing import Any, NamedTuple, Self

from vsr.compare import label
from vsr.engines import ENGINES, Engine, open_engine
from vsr.errors import EngineError, InputError, UsageError, VsrError
from vsr.events import LiveMeter
from vsr.frame import Frame
from vsr.media.camera import Asked, Source, check_source, open_source, shown_name
from vsr.media.pixels import FULL_RANGE, Layout
from vsr.models.catalogue import catalogue, find
from vsr.player import Shown
from vsr.prefetch import beside, newest
from vsr.sides import WHOLE, Box, Choice, Side, Sides, View

LEAST_FPS = 24.0  # that are held where the source says no more
_USUAL_FPS = 30.0  # of a source that does not say
_GLANCE_S = 0.05  # after which the source is looked at again that gives nothing
_STALLED_S = 1.0  # without a frame: then it is told
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0  # before a lost source is tried again
_METER_S = 2.0  # over which frames a second and latency are measured
_METER_FRAMES = 48  # over which a stage's time is averaged
_REMEMBERED = 10_000  # latencies that the end's are made of
_PARTS = 0.75, 0.5  # of each side: what the model enlarges before it gives way to bicubic

# The governor
_JUDGED = 12  # frames whose median is judged
_FULL, _ROOM = 0.92, 0.75  # of the time for a frame: from there on less is done; as long as more would take at most
_UNKNOWN_ROOM = 0.4  # the same of what was never tried
_PATIENCE_S, _MOST_PATIENCE_S = 3.0, 60.0  # for which there must be room before more is done


class Rung(NamedTuple):
    """A way to enlarge: by ``choice``, the middle ``part`` (of width and of height) of what is seen, the rest
    bicubically."""

    choice: Choice
    part: float = 1.0


def ladder(choice: Choice, pinned: bool = False) -> list[Rung]:
    """The ways to enlarge from ``choice`` down, each cheaper than the one before; the choice alone where ``pinned``.

    Smaller networks come first, then faster arithmetic, then a smaller part, then bicubic. What an engine does not
    offer is left out when it is opened.
    """
    if pinned or choice.model == "bicubic":
        return [Rung(choice)]
    choices = [choice]
    if isinstance(choice.model, str):
        size = find(choice.model, choice.scale).parameters
        smaller = [
            entry for entry in catalogue().values()
            if 0 < entry.parameters < size and choice.scale in entry.files and not entry.members
        ]
        smaller.sort(key=lambda entry: -entry.parameters)
        choices += [replace(choice, model=entry.name) for entry in smaller]
    if choice.precision != "auto":
        names = ENGINES if choice.engine == "auto" else [choice.engine]
        faster = next((ENGINES[name] for name in names if choice.precision in ENGINES[name]), ())
        if faster and choice.engine != "reference":
            place = faster.index(choice.precision)
            choices += [replace(choices[-1], precision=each) for each in reversed(faster[:place])]
    last = choices[-1]
    return [*map(Rung, choices), *(Rung(last, part) for part in _PARTS), Rung(replace(last, model="bicubic"))]


class Governor:
    """Chooses the best of so many ``rungs``, 0 the best, on which a frame takes no longer than ``period_s``.

    One step at a time: down as soon as frames take too long, up when there has been room for some time. A step up that
    had to be taken back makes it wait twice as long for the next. It has no clock of its own.
    """

    def __init__(self, rungs: int, period_s: float) -> None:
        self.period_s, self.rung = period_s, 0
        self._last = rungs - 1
        self._costs: deque[float] = deque(maxlen=_JUDGED)
        self._known: dict[int, float] = {}  # what a frame took on each rung
        self._patience = _PATIENCE_S
        self._room_since: float | None = None
        self._up_at = -math.inf

    def __call__(self, cost_s: float, now: float) -> int:
        """The rung for the next frame, when the last one took ``cost_s`` and it is ``now``."""
        self._costs.append(cost_s)
        if len(self._costs) < _JUDGED:
            return self.rung
        cost = median(self._costs)
        if cost > _FULL * self.period_s and self.rung < self._last:
            if now - self._up_at < 2 * self._patience:
                self._patience = min(2 * self._patience, _MOST_PATIENCE_S)
            self._step(1, cost)
        elif self.rung and self._has_room(cost):
            if self._room_since is None:
                self._room_since = now
            elif now - self._room_since >= self._patience:
                if now - self._up_at > 2 * _MOST_PATIENCE_S:
                    self._patience = _PATIENCE_S
                self._up_at = now
                self._step(-1, cost)
        else:
            self._room_since = None
            self._known.setdefault(self.rung, cost)
        return self.rung

    def _has_room(self, cost: float) -> bool:
        """Whether a better frame would be made in time: it costs as much more than one of this rung as it did."""
        above, here = self._known.get(self.rung - 1), self._known.setdefault(self.rung, cost)
        if above is None:
            return cost < _UNKNOWN_ROOM * self.period_s
        return cost * max(1.0, above / here) < _ROOM * self.period_s

    def _step(self, by: int, cost: float) -> None:
        self._known[self.rung] = cost
        self.rung += by
        self._known.pop(self.rung, None) if by > 0 else None
        self._costs.clear()
        self._room_since = None


@dataclass(frozen=True, slots=True)
class _Step:
    """A rung that is open."""

    rung: Rung
    sides: Sides

    @property
    def name(self) -> str:
        """What is to be read of it."""
        if self.sides.engine is None or self.rung.choice.model == "bicubic":
            return "Bicubic"
        part = f", the middle {self.rung.part:.0%}" if self.rung.part < 1 else ""
        return f"{label(self.sides.engine)}{part}"


class _Ladder:
    """Rungs for frames of one kind, opened in their order in a thread of its own; bicubic, which costs hardly
    anything, is there at once. ``complete`` is whether all are. A context manager."""

    def __init__(
        self, rungs: Sequence[Rung], open: Callable[[Choice], Sides], say: Callable[[str, str], None]
    ) -> None:
        self.steps: list[_Step] = []
        self.complete = False
        self._rungs, self._open, self._say = rungs, open, say
        self._closing = False
        plain = replace(rungs[0].choice, model="bicubic", precision="auto", engine="auto")
        self.plain = _Step(Rung(plain), open(plain))
        self._opening = contextlib.ExitStack()
        self._opening.enter_context(beside(self._open_all))

    def _open_all(self) -> None:
        opened: dict[Choice, Sides] = {}
        steps: list[tuple[str, str, float]] = []
        try:
            for rung in self._rungs:
                if self._closing:
                    return
                if rung.choice.model == "bicubic":
                    self.steps.append(self.plain)
                    continue
                sides = opened.get(rung.choice)
                if sides is None:
                    try:
                        sides = self._open(rung.choice)
                    except VsrError as error:
                        self._say("engine", str(error))
                        continue
                    opened[rung.choice] = sides
                assert sides.engine is not None
                step = sides.engine.model, sides.engine.precision, rung.part
                if step not in steps:  # what 'auto' is, too
                    steps.append(step)
                    self.steps.append(_Step(rung, sides))
        finally:
            self._all = opened.values()
            self.complete = True

    def drop(self, sides: Sides) -> None:
        """Leave out what has failed."""
        self.steps = [step for step in self.steps if step.sides is not sides]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._opening.close()
        for sides in (self.plain.sides, *self._all):
            sides.close()


class _Kind(NamedTuple):
    """What a ladder is made for."""

    layout: Layout
    full_range: bool
    chroma_location: int
    choice: Choice
    pinned: bool


class _Measures:
    """What the meter is made of, from a moment on; each ``deque`` is filled by one thread and read by another."""

    def __init__(self, dropped: int = 0) -> None:
        self.came: deque[float] = deque(maxlen=4096)
        self.taken: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)  # when, and the latency
        self.ms: dict[str, deque[float]] = {
            stage: deque(maxlen=_METER_FRAMES) for stage in ("capture", "upscale", "show")
        }
        self.captured = self.shown = 0
        self.dropped = dropped  # before
        self.first_came: float | None = None
        self.first_taken: float | None = None


class Live:
    """A source whose newest frame is enlarged and shown. A context manager; it may be called by any thread.

    ``source``, ``asked`` and ``capture`` are those of `open_source`; ``choice`` is what enlarges, at best: where it
    does not hold ``fps`` (the source's by default, at least 24), cheaper ways do, unless it is ``pinned``. ``notify``
    is called, in another thread, whenever there is something to `take`. ``engines`` opens engines, ``now`` is the
    clock.

    ``name`` is the source's, as it may be shown. ``messages`` collects (code, message) pairs: the source is 'lost',
    gives nothing ('stalled') or is 'back', an 'engine' fails, what enlarges changes ('mode'). A source that cannot be
    opened in the first place raises ``InputError`` from `take`; later it is tried again until it is there. Raises
    ``UsageError`` for a source or a choice that there is not.
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
        engines: Callable[..., Engine] = open_engine,
        capture: Callable[[int], Any] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        check_source(source)
        self.name = shown_name(source)
        self.messages: deque[tuple[str, str]] = deque()
        self.view, self.region = view or View(), region
        self.pinned = pinned
        self._choice = _checked(choice or Choice())
        self._source, self._asked, self._fps = source, asked or Asked(), fps
        self._notify, self._engines, self._capture, self._now = notify, engines, capture, now
        self._begun = now()
        self._closing, self._ready = threading.Event(), threading.Event()
        self._measures = _Measures()
        self._rate: Fraction | None = None  # the source's
        self._trouble: str | None = None  # what is told of the source and is not over
        self._mode = ""
        with contextlib.ExitStack() as stack:
            self._captured = stack.enter_context(newest(self._frames()))
            self._pictures = stack.enter_context(newest(self._enlarged(), notify))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop and release everything; all threads have ended when it returns. What is being compiled, and a source
        that is being read, is waited for."""
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
    def ended(self) -> bool:
        """Whether there will be no more, as of a file that was played to its end."""
        return self._pictures.ended

    def take(self, timeout: float | None = 0) -> Shown | None:
        """The newest picture, once; None where there is none (after ``timeout`` seconds; None waits). Its ``time`` is
        when it came, in seconds. Raises, once, what ended it."""
        shown = self._pictures.take(timeout)
        if shown is not None:
            now = self._now()
            if self._measures.first_taken is None:
                self._measures.first_taken = now
            self._measures.shown += 1
            self._measures.taken.append((now, now - self._begun - float(shown.time)))
        return shown

    @property
    def _dropped(self) -> int:
        return self._captured.dropped + self._pictures.dropped

    def told(self, show_ms: float) -> None:
        """The screen took so long to show the last picture."""
        self._measures.ms["show"].append(show_ms)
        if self._measures.taken:
            now, latency = self._measures.taken[-1]
            self._measures.taken[-1] = now, latency + show_ms / 1000

    def meter(self) -> LiveMeter:
        """How it goes at the moment."""
        since = self._now() - _METER_S
        came = [at for at in list(self._measures.came) if at >= since]
        taken = [(at, latency) for at, latency in list(self._measures.taken)[-_METER_FRAMES * 10 :] if at >= since]
        return self._metered(_per_second(came), _per_second([at for at, _ in taken]), [each for _, each in taken])

    def summary(self) -> LiveMeter:
        """How it went, all of it; of latency, the last ten thousand frames."""
        measures, now = self._measures, self._now()
        rates = [
            count / (now - first) if first is not None and now > first else 0.0
            for count, first in ((measures.captured, measures.first_came), (measures.shown, measures.first_taken))
        ]
        return self._metered(rates[0], rates[1], [latency for _, latency in list(measures.taken)])

    def _metered(self, capture_fps: float, fps: float, latencies: list[float]) -> LiveMeter:
        lasts = {stage: list(ms) for stage, ms in self._measures.ms.items()}
        stage_ms = {stage: sum(ms) / len(ms) if ms else 0.0 for stage, ms in lasts.items()}
        latencies.sort()
        return LiveMeter(
            capture_fps=capture_fps,
            fps=fps,
            dropped=self._dropped - self._measures.dropped,
            latency_ms={"median": _share(latencies, 0.5), "p95": _share(latencies, 0.95)},
            stage_ms=stage_ms,
            bottleneck=max(stage_ms, key=stage_ms.__getitem__),
            mode=self._mode,
            frames=self._measures.shown,
        )

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
        measures, now = self._measures, self._now()
        if measures.first_came is None:
            measures.first_came = now
        measures.captured += 1
        measures.came.append(now)
        measures.ms["capture"].append(work_ms)
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
        with contextlib.ExitStack() as stack:
            kind: _Kind | None = None
            steps: _Ladder | None = None
            governor: Governor | None = None
            while not self._closing.is_set():
                if steps is not None and (steps.steps or steps.complete) and not self._ready.is_set():
                    self._measures = _Measures(self._dropped)
                    self._ready.set()
                ended = self._captured.ended
                frame = self._captured.take(_GLANCE_S)
                if frame is None:
                    if ended:
                        return
                    came = self._measures.came
                    if self._ready.is_set() and came and self._now() - came[-1] > _STALLED_S:
                        self._tell("stalled", f"{self.name} has given no picture for {_STALLED_S:g} s")
                    continue
                wanted = _kind(frame, self._choice, self.pinned)
                if steps is None or wanted != kind:
                    stack.close()
                    kind, governor = wanted, None
                    open_sides = _Opener(wanted, self._engines)
                    steps = stack.enter_context(_Ladder(ladder(self._choice, self.pinned), open_sides, self._say))
                step = self._step(steps, governor)
                begun = self._now()
                try:
                    shown = self._shown(frame, step)
                except EngineError as error:
                    if step is steps.plain:
                        raise
                    self._say("engine", str(error))
                    steps.drop(step.sides)
                    governor = None
                    continue
                cost = self._now() - begun
                self._measures.ms["upscale"].append(1000 * cost)
                if steps.complete:
                    if governor is None and steps.steps:
                        governor = Governor(len(steps.steps), 1 / self.fps)
                    if governor is not None:
                        governor.period_s = 1 / self.fps
                        governor(cost, self._now())
                del frame
                yield shown
                del shown

    @property
    def fps(self) -> float:
        """How many frames a second are to be held."""
        return self._fps or max(LEAST_FPS, float(self._rate or _USUAL_FPS))

    def _step(self, steps: _Ladder, governor: Governor | None) -> _Step:
        """What enlarges the next frame; a change is told."""
        opened = steps.steps
        step = opened[governor.rung if governor else 0] if opened else steps.plain
        if step.name != self._mode:
            self._mode = step.name
            if self._ready.is_set():
                self._say("mode", f"{step.name}, for {self.fps:.3g} frames a second")
        return step

    def _shown(self, frame: Frame, step: _Step) -> Shown:
        whole = Box(0, 0, frame.width, frame.height)
        seen = [None if box is None else box.within(self.region or WHOLE).within(whole) for box in self.view]
        sides = step.sides
        bicubic = None if seen[0] is None else sides.bicubic(frame, seen[0])
        sr = None if seen[1] is None else _sr(frame, seen[1], step)
        assert frame.pts is not None  # a source always gives one
        at = frame.pts * frame.time_base - Fraction(self._begun)
        engine = sides.engine
        name, precision = (engine.name, engine.precision) if engine else (None, None)
        return Shown(frame, at, 0, bicubic, sr, sides.choice, name, precision)


def _sr(frame: Frame, box: Box, step: _Step) -> Side | None:
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


@dataclass(frozen=True, slots=True)
class _Opener:
    """Opens sides for one kind of frames."""

    kind: _Kind
    engines: Callable[..., Engine]

    def __call__(self, choice: Choice) -> Sides:
        return Sides(choice, self.kind.layout, self.kind.full_range, self.kind.chroma_location, self.engines)


def _kind(frame: Frame, choice: Choice, pinned: bool) -> _Kind:
    chroma = None
    if len(frame.planes) == 3:
        # Subsampling is by 1, 2 or 4; sides that do not divide evenly are rounded up.
        ratios = [next(k for k in (0, 1, 2) if -(-big >> k) == small)
                  for big, small in zip(frame.luma.shape, frame.planes[1].shape, strict=True)]
        chroma = ratios[1], ratios[0]
    full_range = frame.color.range == FULL_RANGE
    return _Kind(Layout(chroma, frame.bits), full_range, frame.color.chroma_location, choice, pinned)


def _checked(choice: Choice) -> Choice:
    if isinstance(choice.model, str):
        find(choice.model, choice.scale)
    elif choice.model.scale != choice.scale:
        raise UsageError(f"the weights of '{choice.model.name}' are for scale {choice.model.scale}, not {choice.scale}")
    return choice


def _per_second(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0


def _share(ordered: list[float], share: float) -> float:
    """The value below which so many of the ``ordered`` seconds lie, in milliseconds."""
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
