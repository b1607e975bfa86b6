"""Playing a video with both sides of a comparison: what a screen needs, without one.

    decode ──▶ [prefetch] ──▶ both sides, each frame when it is due ──▶ [newest] ──▶ screen
    sound ──▶ [prefetch] ──▶ device, whose position is the clock

What comes too late is dropped before it is enlarged, never after.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

import numpy as np

from vsr.compare import Composer, label
from vsr.engines import Engine, open_engine
from vsr.errors import Cancelled, EngineError, InputError, OutputError, UsageError, VsrError
from vsr.frame import Frame
from vsr.media.picture import seen_color
from vsr.media.pixels import FULL_RANGE
from vsr.media.reel import Block, Reel, Track
from vsr.models.catalogue import SCALES, find
from vsr.prefetch import beside, newest, prefetch
from vsr.sides import WHOLE, Box, Choice, Scores, Side, Sides, View
from vsr.still import picture_of, save_picture

AHEAD = 4  # frames that are decoded before they are asked for
SOUND_AHEAD = 16  # blocks of sound
SPEEDS = (0.25, 4.0)
_GLANCE_S = 0.1  # after which the clock is looked at again, whatever it is
_PATIENCE_S = 0.25  # after so long without a picture one is shown although it is late
_LAG_S = 2.0  # so far behind its clock, playing goes on with a frame further on
_COSTS = 5  # frames whose median tells how long the next one will take
_METER_S = 2.0  # over which frames a second are counted
_METER_FRAMES = 48  # over which a stage's time is averaged
_SCORE_EVERY_S = 1.0
_SCORED_SIDE = 128  # pixels before enlarging: what is scored of a playing video
_CHANNELS = 2

Seconds = Fraction | float | int


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame to show, now. ``source`` is as it was enlarged, whole; ``bicubic`` and ``sr`` are the parts of the two
    sides that are seen, None for one of which nothing is, or while the model's engine is not there.

    ``time`` is when it is shown, in seconds from the beginning of the file; ``ticket`` that of the call which led
    there. ``choice`` is what enlarged it, ``engine`` and ``precision`` what that came down to. ``scores`` compare with
    the truth where there is one; they are made of a part now and then while playing, of all that is seen at a pause.
    ``painted`` is what the player's ``paint`` made of all this. The frames' colours are those of `seen_color`.
    """

    source: Frame
    time: Fraction
    ticket: int
    bicubic: Side | None
    sr: Side | None
    choice: Choice
    engine: str | None
    precision: str | None
    scores: Scores | None = None
    painted: Any = None


@dataclass(frozen=True, slots=True)
class Meter:
    """How well it goes. ``stage_ms`` is what decode, upscale and show each take for a frame; the stages overlap, and
    the slowest is the ``bottleneck``. ``fps`` are frames taken by the screen in the last seconds, of ``video_fps``
    (None where the file does not say). ``late`` counts frames that were never enlarged since they could not be shown
    in time, ``missed`` those that were and that the screen did not take."""

    stage_ms: dict[str, float]
    bottleneck: str
    fps: float
    video_fps: float | None
    shown: int
    late: int
    missed: int

    @property
    def dropped(self) -> int:
        return self.late + self.missed


class Clock:
    """Seconds of a video that go with those of ``now``, ``rate`` times as fast; 0 stands still."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._since, self._time, self._rate = now(), 0.0, 0.0

    @property
    def time(self) -> float:
        return self._time + (self.now() - self._since) * self._rate

    @property
    def rate(self) -> float:
        return self._rate

    def run(self, rate: float) -> None:
        self._time, self._since, self._rate = self.time, self.now(), rate

    def set(self, time: float, now: float | None = None) -> None:
        """It is or was ``time`` at ``now``."""
        self._time, self._since = time, self.now() if now is None else now


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """Where to go: to the frame at ``time`` and so many ``steps`` on, and then on within ``loop``. One that ``hurries``
    only leaves out what is too late: the clock goes on, ``turn`` ahead of the frames' times."""

    ticket: int
    time: Fraction
    steps: int = 0
    loop: tuple[Fraction, Fraction] | None = None
    hurries: bool = False
    turn: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A frame, None at the end, on its way by ``order``, whose first it may be (``lands``). It is ``due`` at that
    running time: that of the file, with the turns of a loop laid behind each other."""

    order: _Order
    frame: Frame | None
    time: Fraction
    due: Fraction
    lands: bool


@dataclass(slots=True)
class _Measures:
    """What the meter is made of; ``deque``s since each is filled by one thread and read by another."""

    ms: dict[str, deque[float]] = field(
        default_factory=lambda: {stage: deque(maxlen=_METER_FRAMES) for stage in ("decode", "upscale", "show")}
    )
    costs: deque[float] = field(default_factory=lambda: deque(maxlen=_COSTS))  # seconds on the clock, for both sides
    taken: deque[float] = field(default_factory=deque)  # when the last frames were
    shown: int = 0
    late: int = 0

    @contextlib.contextmanager
    def work(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.ms[stage].append(1000 * (time.perf_counter() - begun))


class Player:
    """An open video, standing at its first frame. A context manager; it may be called by any thread.

    ``path``, ``stream`` and ``deinterlace`` are those of `Decoder`; ``audio_stream`` is the index of a sound, None for
    the main one; ``cache_mb`` bounds the decoded frames that are kept (`Reel`). ``choice`` says what enlarges.
    With ``restore`` the frames are first shrunk, so that what is enlarged can be compared with what it was; with
    ``reference``, a file of the same video in the larger size, with that. ``notify`` is called, in another thread,
    whenever there is something to `take`; ``paint`` there, with each frame before it is due, for what a screen must
    make of it beforehand. ``engines`` opens engines, ``now`` is the wall's clock.

    ``info``, ``duration_s`` (None where the file does not say), ``origin`` (the frames' pts, in seconds, of time 0),
    ``orientation`` (EXIF's, as the frames are to be seen) and ``has_sound`` describe the file. ``messages`` collects
    (code, message) pairs of what its user should know; an error that ends nothing is among them: a file that breaks off
    ('broken', 'damaged'), an engine that cannot be opened or fails ('engine'; then that side is missing until another
    is chosen), a picture that was ('saved') or could not be saved ('save'). Raises ``InputError`` for a file that
    cannot be read, ``UsageError`` for a choice that there is not.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        choice: Choice | None = None,
        *,
        stream: int | None = None,
        audio_stream: int | None = None,
        audio_rate: int = 48000,
        deinterlace: str = "auto",
        cache_mb: float = 256,
        restore: bool = False,
        reference: str | os.PathLike[str] | None = None,
        view: View | None = None,
        notify: Callable[[], object] = lambda: None,
        paint: Callable[[Shown], object] = lambda shown: None,
        engines: Callable[..., Engine] = open_engine,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if restore and reference is not None:
            raise UsageError("a video is compared with itself or with a reference, not both")
        self.path = Path(path)
        self.messages: deque[tuple[str, str]] = deque()
        self._engines, self._notify, self._paint = engines, notify, paint
        self._scored_at = -math.inf
        self._changed = threading.Condition()
        self._closing = False
        self._clock = Clock(now)
        self._playing, self._speed, self._ended = False, 1.0, False
        self._view, self._restore, self._version = view or View(), restore, 0  # the version of what a frame looks like
        self._order = _Order(0, Fraction(0))
        self._position = Fraction(0)  # of the frame that is shown, or that steps were made to
        self._landed: _Order | None = None  # the order that is carried out, and at whose frames the clock is
        self._choice = choice or Choice()
        _check(self._choice)
        self._saves: deque[Path] = deque()
        self._measures = _Measures()
        self._sound: Generator[Block] | None = None
        self._sound_left = np.empty((0, _CHANNELS), np.float32)
        self._sound_epoch = self._sound_heard = 0  # which running of the clock there is, and the sound belongs to
        self._sound_lock = threading.Lock()
        with contextlib.ExitStack() as stack:
            kind = {"deinterlace": deinterlace, "check": self._check}
            self._reel = stack.enter_context(Reel(path, cache_mb, stream=stream, **kind))  # type: ignore[arg-type]
            self._truth: Reel | None = None
            if reference is not None:
                self._truth = stack.enter_context(Reel(reference, 0, **kind))  # type: ignore[arg-type]
            self._track = Track(path, audio_rate, audio_stream)
            self.info, self.layout = self._reel.info, self._reel.layout
            self.duration_s, self.origin = self._reel.duration_s, self._reel.origin
            self.orientation = self._reel.orientation
            self._newest = stack.enter_context(newest(self._pictures(), notify))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop and release everything; all threads have ended when it returns. What is being compiled is waited for."""
        with self._telling():
            self._closing = True
        self._stack.close()
        with self._sound_lock:
            self._close_sound()

    def _check(self) -> None:
        if self._closing:
            raise Cancelled(f"{self.path}: closed")

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Change what all threads look at."""
        with self._changed:
            yield
            self._changed.notify_all()

    # ---- what is asked for -------------------------------------------------------------------------------------

    def play(self) -> None:
        """Go on; from the beginning, or that of the loop, where it has ended or stands outside of that."""
        with self._telling():
            if self._ended or self._is_outside(self._position):
                self._go(self._order.loop[0] if self._order.loop else Fraction(0))
            self._playing = True
            self._run()

    def pause(self) -> None:
        """Stand still at the frame that is shown."""
        with self._telling():
            self._playing = False
            self._version += self._restore or self._truth is not None  # all that is seen is scored
            self._run()

    def seek(self, time: Seconds) -> int:
        """Go to the frame that is shown at ``time``, in seconds from the beginning of the file (a `Shown`'s is exact);
        the first or last one beyond, and the first of a loop that plays. What is shown from there on has at least the
        ticket that is returned."""
        with self._telling():
            time = Fraction(time)
            if self._playing and self._order.loop and self._is_outside(time):
                time = self._order.loop[0]
            return self._go(time)

    def step(self, frames: int = 1) -> int:
        """Pause and go so many frames on, or back where negative; as far as there are any. A ticket, as `seek`."""
        with self._telling():
            self._playing = False
            pending = self._landed is not self._order and not self._order.hurries
            start = self._order.time if pending else self._position
            return self._go(start, frames + (self._order.steps if pending else 0))

    def set_loop(self, loop: tuple[Seconds, Seconds] | None) -> None:
        """Play from the first time to just before the second, over and over; None ends that.

        Raises ``UsageError`` where nothing lies between them.
        """
        kept = None
        if loop is not None:
            kept = Fraction(loop[0]), Fraction(loop[1])
            if not 0 <= kept[0] < kept[1]:
                raise UsageError(f"a loop from {float(kept[0]):g} s to {float(kept[1]):g} s is empty")
        with self._telling():
            self._order = replace(self._order, loop=kept)
            self._go(kept[0] if kept and self._is_outside(self._position) else self._position)

    @property
    def speed(self) -> float:
        """How fast it plays: 0.25 to 4. At others than 1 there is no sound. Raises ``UsageError`` for any other."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise UsageError(f"speed must be {SPEEDS[0]:g} to {SPEEDS[1]:g}, not {speed:g}")
        with self._telling():
            self._speed = speed
            self._run()

    @property
    def view(self) -> View:
        """What is looked at; nothing else is enlarged."""
        return self._view

    @view.setter
    def view(self, view: View) -> None:
        with self._telling():
            self._version += view != self._view
            self._view = view

    @property
    def restore(self) -> bool:
        return self._restore

    @restore.setter
    def restore(self, restore: bool) -> None:
        with self._telling():
            self._version += restore != self._restore
            self._restore = restore

    @property
    def choice(self) -> Choice:
        """What is to enlarge. Another one is opened beside the playing, and takes over when it is ready. Raises
        ``UsageError`` for one that there is not."""
        return self._choice

    @choice.setter
    def choice(self, choice: Choice) -> None:
        _check(choice)
        with self._telling():
            self._choice = choice

    def save_frame(self, target: str | os.PathLike[str]) -> None:
        """Write both sides of the frame that is shown, whole and upright, as PNGs: NAME-bicubic.png, NAME-MODEL.png and
        both beside each other, NAME-compared.png. ``target`` is the path of NAME, or a folder in which NAME is the
        video's with the time. Messages say how it ended."""
        with self._telling():
            self._saves.append(Path(target))

    # ---- what is shown and heard -------------------------------------------------------------------------------

    def take(self, timeout: float | None = 0) -> Shown | None:
        """The newest frame to show, once; None where there is none (after ``timeout`` seconds; None waits). Raises what
        should not have happened, once."""
        shown = self._newest.take(timeout)
        if shown is not None:
            self._measures.shown += 1
            self._measures.taken.append(self._clock.now())
        return shown

    def told(self, show_ms: float) -> None:
        """The screen took so long to show a frame."""
        self._measures.ms["show"].append(show_ms)

    @property
    def playing(self) -> bool:
        return self._playing

    @property
    def ended(self) -> bool:
        """Whether it stands at the end of the file, having come there by playing."""
        return self._ended

    @property
    def position(self) -> Fraction:
        """The time of the frame that is shown, in seconds."""
        return self._position

    @property
    def has_sound(self) -> bool:
        return self._track.stream is not None

    def sound(self, samples: int, latency_s: float = 0.0) -> np.ndarray:
        """The next ``samples`` for the device, (samples, 2) float32, the first of them heard in ``latency_s``; silent
        at a pause and where there is nothing to hear. The picture follows what is heard."""
        out = np.zeros((samples, _CHANNELS), np.float32)
        with self._sound_lock:
            with self._changed:
                epoch, rate, now = self._sound_epoch, self._clock.rate, self._clock.now()
                begin, loop = self._clock.time + latency_s, self._order.loop
            if rate != 1 or self._track.stream is None or self._closing:
                return out
            if self._sound is None or epoch != self._sound_heard:
                self._close_sound()
                self._sound, self._sound_heard = prefetch(self._blocks(begin, loop), SOUND_AHEAD), epoch
                self._sound_time = begin
            filled = 0
            while filled < samples:
                if not len(self._sound_left):
                    block = self._next_block()
                    if block is None:
                        break
                    self._sound_left = block.samples
                piece = self._sound_left[: samples - filled]
                out[filled : filled + len(piece)] = piece
                self._sound_left = self._sound_left[len(piece) :]
                filled += len(piece)
            with self._telling():
                if epoch == self._sound_epoch:
                    self._clock.set(self._sound_time - latency_s, now)
            self._sound_time += samples / self._track.rate
        return out

    def _blocks(self, begin: float, loop: tuple[Fraction, Fraction] | None) -> Generator[Block]:
        """The sound from running time ``begin`` on, its end silent where something follows."""
        rate = self._track.rate
        start = Fraction(round(begin * rate), rate)
        while True:
            if loop is None:
                yield from self._track.blocks(start)
                return
            start = loop[0] + (start - loop[0]) % (loop[1] - loop[0])
            left = round((loop[1] - start) * rate)
            with contextlib.closing(self._track.blocks(start)) as blocks:
                for block in blocks:
                    yield replace(block, samples=block.samples[:left])
                    left -= len(block.samples)
                    if left <= 0:
                        break
            if left > 0:
                yield Block(loop[1] - Fraction(left, rate), np.zeros((left, _CHANNELS), np.float32))
            start = loop[1]

    def _next_block(self) -> Block | None:
        assert self._sound is not None
        try:
            return next(self._sound, None)
        except VsrError as error:
            self.messages.append(("sound", str(error)))
            return None

    def _close_sound(self) -> None:
        if self._sound is not None:
            self._sound.close()
        self._sound, self._sound_left = None, np.empty((0, _CHANNELS), np.float32)

    def meter(self) -> Meter:
        measures, now = self._measures, self._clock.now()
        while measures.taken and measures.taken[0] < now - _METER_S:
            measures.taken.popleft()
        stage_ms = {stage: sum(ms) / len(ms) if (ms := list(last)) else 0.0 for stage, last in measures.ms.items()}
        taken, rate = list(measures.taken), self.info.rate
        fps = (len(taken) - 1) / (taken[-1] - taken[0]) if len(taken) > 1 and taken[-1] > taken[0] else 0.0
        return Meter(
            stage_ms,
            max(stage_ms, key=stage_ms.__getitem__),
            fps,
            float(rate) if rate else None,
            measures.shown,
            measures.late,
            self._newest.dropped,
        )

    # ---- beneath -----------------------------------------------------------------------------------------------

    def _go(self, time: Fraction, steps: int = 0) -> int:
        """Order to go to ``time``; the clock stands until the frame is there."""
        self._order, self._ended = _Order(self._order.ticket + 1, time, steps, self._order.loop), False
        self._run()
        return self._order.ticket

    def _is_outside(self, time: Fraction) -> bool:
        """Of the loop, where there is one."""
        loop = self._order.loop
        return loop is not None and not loop[0] <= time < loop[1]

    def _run(self) -> None:
        """Let the clock run or stand, as it must; the sound begins anew."""
        landed = self._landed is not None and (self._landed is self._order or self._order.hurries)
        self._clock.run(self._speed if self._playing and landed else 0)
        self._sound_epoch += 1

    def _decoded(self) -> Generator[_Decoded]:
        """The frames that are ordered, one after the other, in a thread of their own."""
        reel, order = self._reel, None
        frame: Frame | None = None
        turn = Fraction(0)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._order is not order or frame is not None)  # noqa: B023
                if self._closing:
                    return
                lands, order = self._order is not order, self._order
            try:
                with self._measures.work("decode"):
                    if lands:
                        frame, turn = self._landing(order), order.turn
                    elif frame is not None:
                        frame, turn = self._following(order, frame, turn)
            except Cancelled:
                return
            except VsrError as error:
                self.messages.append(("broken", str(error)))
                frame = None
            self.messages.extend(reel.warnings)
            reel.warnings.clear()
            time = order.time if frame is None else reel.time(frame)
            if lands:
                with self._changed:
                    if self._order is order:
                        self._position = time
            due = max(time, order.loop[0]) if order.loop and turn else time
            yield _Decoded(order, frame, time, due + turn, lands)

    def _landing(self, order: _Order) -> Frame:
        frame = self._reel.at(order.time)
        for _ in range(abs(order.steps)):
            further = self._reel.after(frame) if order.steps > 0 else self._reel.before(frame)
            if further is None:
                break
            frame = further
        return frame

    def _following(self, order: _Order, frame: Frame, turn: Fraction) -> tuple[Frame | None, Fraction]:
        after, loop = self._reel.after(frame), order.loop
        if loop is None or (after is not None and self._reel.time(after) < loop[1]):
            return after, turn
        return self._reel.at(loop[0]), turn + loop[1] - loop[0]

    def _pictures(self) -> Generator[Shown]:
        """Both sides of the frames, each when it is due, in a thread of their own."""
        with contextlib.ExitStack() as stack:
            decoded = stack.enter_context(contextlib.closing(prefetch(self._decoded(), AHEAD)))
            enlarger = stack.enter_context(_Enlarger(self._changed, self._open))
            ahead: deque[_Decoded] = deque()  # what was taken and is not shown yet
            last: _Decoded | None = None  # what is shown
            drawn = -1  # the version that it was drawn by
            length = Fraction(0)  # of a frame
            shown_at = -math.inf

            def due() -> bool:
                if self._closing or enlarger.is_due(self._choice):
                    return True
                asked = self._landed is not self._order or self._playing or drawn != self._version or self._saves
                return enlarger.sides is not None and bool(asked)

            while True:
                with self._changed:
                    self._changed.wait_for(due)
                    if self._closing:
                        return
                    pending, playing, choice = self._landed is not self._order, self._playing, self._choice
                if enlarger.is_due(choice):
                    if enlarger.follow(choice):
                        self._measures.costs.clear()
                        with self._telling():
                            self._version += 1
                    continue
                assert enlarger.sides is not None  # it is waited for
                sides = enlarger.sides
                if last is not None and not pending and self._saves:
                    self._save(sides, last, self._saves.popleft())
                    continue
                if not pending and not playing:
                    drawn = self._version
                    if last is not None:
                        yield self._drawn(sides, last)
                    continue
                item = ahead.popleft() if ahead else next(decoded, None)
                if item is None:
                    return
                if item.order is not self._order and not item.lands:
                    continue
                if item.frame is None:
                    if not self._end(item, float(last.due + length) if last else 0, enlarger):
                        ahead.appendleft(item)
                    continue
                if not item.lands:
                    cost = median(self._measures.costs or [0])
                    ready = self._clock.time + cost * self._clock.rate
                    if ready > item.due and not ahead:
                        ahead.extend(itertools.islice(decoded, 1))
                    better = ahead and ahead[0].order is item.order and ahead[0].frame and ahead[0].due <= ready
                    if better and self._clock.now() - shown_at < _PATIENCE_S + cost:
                        self._measures.late += 1
                        continue
                    if self._clock.time - item.due > _LAG_S:
                        self._hurry(item)
                version = self._version
                picture = self._drawn(sides, item)
                if item.lands:
                    self._land(item)
                elif not self._wait(item.order, float(item.due), enlarger):
                    ahead.appendleft(item)
                    continue
                else:
                    self._position = item.time
                if last is not None and last.order is item.order:
                    length = item.due - last.due
                elif item.frame.duration:
                    length = item.frame.duration * item.frame.time_base
                last, drawn, shown_at = item, version, self._clock.now()
                yield picture

    def _wait(self, order: _Order, due: float, enlarger: _Enlarger) -> bool:
        """Until the clock has come to ``due``; False where something else is wanted before."""
        with self._changed:
            while not self._closing and self._order is order and self._playing:
                left = due - self._clock.time
                if left <= 0:
                    return True
                if enlarger.is_due(self._choice):
                    break
                self._changed.wait(min(left, _GLANCE_S))
        return False

    def _land(self, item: _Decoded) -> None:
        """The frame that was ordered is there: from here on the clock runs, if it may."""
        with self._telling():
            if self._order is item.order:
                self._landed = item.order
                if not item.order.hurries:
                    self._clock.set(float(item.due))
                    self._run()

    def _end(self, item: _Decoded, due: float, enlarger: _Enlarger) -> bool:
        """There are no more frames, and the last one is shown until ``due``. False where that is not waited for."""
        if item.lands:
            self._land(item)
        elif not self._wait(item.order, due, enlarger):
            return False
        with self._telling():
            if self._order is item.order:
                self._ended, self._playing = self._playing, False
                self._run()
        self._notify()
        return True

    def _hurry(self, item: _Decoded) -> None:
        """Leave out everything up to where the clock is."""
        with self._telling():
            if self._order is item.order and self._playing:
                loop, turn = item.order.loop, item.due - item.time
                time = Fraction(self._clock.time) - turn
                if loop is not None and time >= loop[1]:
                    turns = (time - loop[0]) // (loop[1] - loop[0]) * (loop[1] - loop[0])
                    time, turn = time - turns, turn + turns
                self._measures.late += int((time + turn - item.due) * (self.info.rate or 0))
                self._order = replace(item.order, time=time, steps=0, hurries=True, turn=turn)

    def _open(self, choice: Choice) -> Sides:
        """What is chosen; bicubic alone where its engine cannot run here."""
        full_range, location = self.info.color.range == FULL_RANGE, self.info.color.chroma_location
        try:
            sides = Sides(choice, self.layout, full_range, location, self._engines)
        except VsrError as error:
            self.messages.append(("engine", str(error)))
            return Sides(choice, self.layout, full_range, location, None)
        assert sides.engine is not None
        self.messages.extend(sides.engine.warnings)
        return sides

    def _drawn(self, sides: Sides, item: _Decoded) -> Shown:
        """Both sides of a frame, as far as they are looked at."""
        assert item.frame is not None
        view, restore, begun = self._view, self._restore, self._clock.now()
        with self._measures.work("upscale"):
            source = self._source(sides, item.frame, restore)
            bicubic = None if view.bicubic is None else sides.bicubic(source, view.bicubic)
            sr = None
            try:
                sr = None if view.sr is None else sides.sr(source, view.sr)
            except EngineError as error:
                self._without_model(sides, error)
        engine = sides.engine
        name, precision = (engine.name, engine.precision) if engine else (None, None)
        shown = Shown(source, item.time, item.order.ticket, bicubic, sr, sides.choice, name, precision)
        painted = self._paint(shown)
        self._measures.costs.append(self._clock.now() - begun)
        scores = self._scores(sides, source, item) if restore or self._truth else None
        return replace(shown, painted=painted, scores=scores)

    def _source(self, sides: Sides, frame: Frame, restore: bool) -> Frame:
        """What is enlarged of a decoded frame."""
        frame = replace(frame, color=seen_color(frame.color, self.info.width, self.info.height))
        return sides.shrunk(frame) if restore else frame

    def _without_model(self, sides: Sides, error: EngineError) -> None:
        self.messages.append(("engine", str(error)))
        sides.close()

    def _scores(self, sides: Sides, source: Frame, item: _Decoded) -> Scores | None:
        assert item.frame is not None
        seen = [box for box in self._view if box is not None] or [WHOLE]
        lefts, tops, rights, bottoms = zip(*seen, strict=True)
        box = Box(min(lefts), min(tops), max(rights), max(bottoms))
        if self._playing:
            if self._clock.now() - self._scored_at < _SCORE_EVERY_S:
                return None
            box = box.within(Box(0, 0, source.width, source.height)).centre(_SCORED_SIDE, _SCORED_SIDE)
        try:
            truth = self._truth.at(item.time) if self._truth else item.frame
            scores = sides.scores(source, truth, box)
        except EngineError as error:
            self._without_model(sides, error)
            return None
        except InputError as error:
            self.messages.append(("reference", str(error)))
            return None
        self._scored_at = self._clock.now()
        return scores

    def _save(self, sides: Sides, item: _Decoded, target: Path) -> None:
        assert item.frame is not None
        name = target / f"{self.path.stem}-{float(item.time):.3f}s" if target.is_dir() else target.with_suffix("")
        source = self._source(sides, item.frame, self._restore)
        try:
            made = {"bicubic": sides.bicubic(source), sides.name: sides.sr(source)}
            frames = {of: side.frame for of, side in made.items() if side is not None}
            if sides.engine is not None and len(frames) > 1:
                first, second = frames.values()
                size, labels = (first.width, first.height), ("Bicubic", label(sides.engine))
                chroma, bits, seen = self.layout.chroma, first.bits, self.orientation
                compose = Composer("side-by-side", size, chroma, bits, source.color, labels, seen)
                frames["compared"] = compose(first, second)
            for of, frame in frames.items():
                path = name.with_name(f"{name.name}-{of}.png")
                save_picture(picture_of(frame, self.orientation), path)
                self.messages.append(("saved", str(path)))
        except EngineError as error:
            self._without_model(sides, error)
        except OutputError as error:
            self.messages.append(("save", str(error)))
        self._notify()


def _check(choice: Choice) -> None:
    if isinstance(choice.model, str):
        find(choice.model, choice.scale)
    if choice.scale not in SCALES:
        raise UsageError(f"scale must be one of {', '.join(map(str, SCALES))}, not {choice.scale}")


class _Enlarger:
    """What enlarges, and what is opened beside to take its place. ``changed`` guards it, and tells when that is ready.

    ``open`` is called in a thread of its own. A context manager, of one thread.
    """

    def __init__(self, changed: threading.Condition, open: Callable[[Choice], Sides]) -> None:
        self.sides: Sides | None = None
        self._changed, self._open = changed, open
        self._choice: Choice | None = None  # the last that was begun
        self._ready: Sides | BaseException | None = None
        self._opening = contextlib.ExitStack()
        self._is_opening = False

    def is_due(self, choice: Choice) -> bool:
        """Whether there is something for `follow` to do."""
        return self._ready is not None or (not self._is_opening and choice != self._choice)

    def follow(self, choice: Choice) -> bool:
        """Begin to open what is chosen (False), or let what is ready take over (True). Raises what opening raised."""
        if self._ready is None:
            self._choice, self._is_opening = choice, True
            self._opening.enter_context(beside(partial(self._work, choice)))
            return False
        ready, self._ready, self._is_opening = self._ready, None, False
        self._opening.close()
        if isinstance(ready, BaseException):
            raise ready
        if self.sides is not None:
            self.sides.close()
        self.sides = ready
        return True

    def _work(self, choice: Choice) -> None:
        ready: Sides | BaseException
        try:
            ready = self._open(choice)
        except BaseException as error:
            ready = error
        with self._changed:
            self._ready = ready
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opening.close()
        for sides in (self.sides, self._ready):
            if isinstance(sides, Sides):
                sides.close()


@dataclass(frozen=True, slots=True)
class Playing:
    """How a video played against the wall clock: frames ``shown`` and ``dropped`` a second, the ``longest_stall_s``
    between two that were shown, and the player's ``meter`` in the end."""

    seconds: float
    shown_fps: float
    dropped_fps: float
    video_fps: float | None
    longest_stall_s: float
    engine: str | None
    precision: str | None
    meter: Meter

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def measure_playing(path: str | os.PathLike[str], choice: Choice | None = None, seconds: float = 10) -> Playing:
    """Play ``path`` for so many ``seconds``, over and over where it is shorter, split in the middle and without a
    screen. Raises as `Player`, and ``EngineError`` where the engine cannot be opened or fails."""
    arrived = threading.Event()
    with Player(path, choice, notify=arrived.set) as player:
        player.view = View.split(WHOLE, player.info.width // 2)
        shown = player.take(None)
        player.play()
        begun = last = time.monotonic()
        count, stall = 0, 0.0
        while (now := time.monotonic()) < begun + seconds:
            if player.ended:
                player.play()
            arrived.wait(begun + seconds - now)
            arrived.clear()
            if (taken := player.take()) is not None:
                shown, count, now = taken, count + 1, time.monotonic()
                stall, last = max(stall, now - last), now
            for code, message in player.messages:
                if code == "engine" and (shown is None or shown.engine is None):
                    raise EngineError(message)
        meter = player.meter()
    engine, precision = (shown.engine, shown.precision) if shown else (None, None)
    return Playing(seconds, count / seconds, meter.dropped / seconds, meter.video_fps, stall, engine, precision, meter)
