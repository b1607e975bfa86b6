"""Playing a video with both sides of a comparison: what a screen needs, without one.

    decode ──▶ [prefetch] ──▶ both sides, each frame when it is due ──▶ [newest] ──▶ screen
    sound ──▶ [prefetch] ──▶ device, whose position is the clock

What comes too late is dropped before it is enlarged, never after.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from vsr.engines import Engine, open_engine
from vsr.errors import Cancelled, EngineError, InputError, UsageError
from vsr.media.reel import Reel, Track
from vsr.models.catalogue import SCALES, find
from vsr.player.course import Course
from vsr.player.meter import Measures, Meter
from vsr.player.pictures import Pictures, Shown
from vsr.player.sound import Sound
from vsr.prefetch import newest
from vsr.sides import WHOLE, Choice, View

__all__ = ["Meter", "Player", "Playing", "Shown", "measure_playing"]

SPEEDS = (0.25, 4.0)

Seconds = Fraction | float | int


class Player:
    """An open video, standing at its first frame. A context manager; it may be called by any thread.

    ``path``, ``stream`` and ``deinterlace`` are those of `Decoder`; ``audio_stream`` is the index of a sound, None for
    the main one; ``cache_mb`` bounds the decoded frames that are kept (`Reel`). ``choice`` says what enlarges.
    With ``restore`` the frames are first shrunk, so that what is enlarged can be compared with what it was; with
    ``reference``, a file of the same video in the larger size, with that. With ``result``, a file that was made of the
    video in 2, 3 or 4 times its size, that is compared with bicubic, in place of what ``choice`` says. With ``early``
    there are pictures while the engine is being opened, too (`Shown`). ``notify`` is called, in another thread,
    whenever there is something to `take`; ``paint`` there, with each frame before it is due, for what a screen must
    make of it beforehand. ``engines`` opens engines, ``now`` is the wall's clock.

    ``info``, ``duration_s`` (None where the file does not say), ``origin`` (the frames' pts, in seconds, of time 0),
    ``orientation`` (EXIF's, as the frames are to be seen) and ``has_sound`` describe the file. ``messages`` collects
    (code, message) pairs of what its user should know; an error that ends nothing is among them: a file that breaks off
    ('broken', 'damaged'), an engine that cannot be opened or fails ('engine'; then that side is missing until another
    is chosen), a reference of another size ('reference'), a picture that was ('saved') or could not be saved ('save').
    Raises ``InputError`` for a file that cannot be read, ``UsageError`` for a choice that there is not.
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
        result: str | os.PathLike[str] | None = None,
        early: bool = False,
        view: View | None = None,
        notify: Callable[[], object] = lambda: None,
        paint: Callable[[Shown], object] = lambda shown: None,
        engines: Callable[..., Engine] = open_engine,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if restore and reference is not None:
            raise UsageError("a video is compared with itself or with a reference, not both")
        if result is not None and (restore or reference is not None):
            raise UsageError("a result is compared with bicubic alone")
        choice = choice or Choice()
        self.path = Path(path)
        self.messages: deque[tuple[str, str]] = deque()
        self._course, self._measures = Course(now), Measures(now)
        self._changes = self._course.changes
        kind = {"deinterlace": deinterlace, "check": self._check}
        with contextlib.ExitStack() as stack:
            reel = stack.enter_context(Reel(path, cache_mb, stream=stream, **kind))  # type: ignore[arg-type]
            truth = None
            if reference is not None:
                truth = stack.enter_context(Reel(reference, 0, **kind))  # type: ignore[arg-type]
            made = None
            if result is not None:
                made = stack.enter_context(Reel(result, 0, **kind))  # type: ignore[arg-type]
                choice = Choice("bicubic", _times(reel, made, Path(result)))
            _check(choice)
            self.info, self.layout = reel.info, reel.layout
            self.duration_s, self.origin, self.orientation = reel.duration_s, reel.origin, reel.orientation
            track = Track(path, audio_rate, audio_stream)
            self.has_sound = track.stream is not None
            self._sound = Sound(self._course, track, self.messages)
            self._pictures = Pictures(self.path, self._course, reel, truth, view or View(), restore, choice, engines,
                                      self._measures, self.messages, notify, paint, made, early)
            self._newest = stack.enter_context(newest(self._pictures, notify))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop and release everything; all threads have ended when it returns. What is being compiled is waited for."""
        with self._changes.telling():
            self._course.closing = True
        self._stack.close()
        self._sound.close()

    def _check(self) -> None:
        if self._course.closing:
            raise Cancelled(f"{self.path}: closed")

    # ---- what is asked for -------------------------------------------------------------------------------------

    def play(self) -> None:
        """Go on; from the beginning, or that of the loop, where it has ended or stands outside of that."""
        course = self._course
        with self._changes.telling():
            if course.ended or course.is_outside(course.goal[0]):
                course.go(course.order.loop[0] if course.order.loop else Fraction(0))
            course.playing = True
            course.run()

    def pause(self) -> None:
        """Stand still at the frame that is shown."""
        with self._changes.telling():
            self._course.playing = False
            self._course.run()

    def seek(self, time: Seconds) -> int:
        """Go to the frame that is shown at ``time``, in seconds from the beginning of the file (a `Shown`'s is exact);
        the first or last one beyond, and the first of a loop that plays. What is shown from there on has at least the
        ticket that is returned."""
        course = self._course
        with self._changes.telling():
            time = Fraction(time)
            if course.playing and course.order.loop and course.is_outside(time):
                time = course.order.loop[0]
            return course.go(time)

    def step(self, frames: int = 1) -> int:
        """Pause and go so many frames on, or back where negative; as far as there are any. A ticket, as `seek`."""
        with self._changes.telling():
            self._course.playing = False
            time, steps = self._course.goal
            return self._course.go(time, steps + frames)

    def set_loop(self, loop: tuple[Seconds, Seconds] | None) -> None:
        """Play from the first time to just before the second, over and over; None ends that.

        Raises ``UsageError`` where nothing lies between them.
        """
        course, kept = self._course, None
        if loop is not None:
            kept = Fraction(loop[0]), Fraction(loop[1])
            if not 0 <= kept[0] < kept[1]:
                raise UsageError(f"a loop from {float(kept[0]):g} s to {float(kept[1]):g} s is empty")
        with self._changes.telling():
            time, steps = course.goal
            course.order = replace(course.order, loop=kept)
            if kept and course.is_outside(time):
                time, steps = kept[0], 0
            course.go(time, steps)

    @property
    def speed(self) -> float:
        """How fast it plays: 0.25 to 4. At others than 1 there is no sound. Raises ``UsageError`` for any other."""
        return self._course.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise UsageError(f"speed must be {SPEEDS[0]:g} to {SPEEDS[1]:g}, not {speed:g}")
        with self._changes.telling():
            self._course.speed = speed
            self._course.run()

    @property
    def view(self) -> View:
        """What is looked at; nothing else is enlarged."""
        return self._pictures.view

    @view.setter
    def view(self, view: View) -> None:
        with self._changes.telling():
            self._pictures.view = view

    def redraw(self) -> None:
        """Make what is shown at a pause anew, since ``paint`` makes something else of it."""
        with self._changes.telling():
            self._pictures.times += 1

    @property
    def restore(self) -> bool:
        return self._pictures.restore

    @restore.setter
    def restore(self, restore: bool) -> None:
        with self._changes.telling():
            self._pictures.restore = restore

    @property
    def choice(self) -> Choice:
        """What is to enlarge. Another one is opened beside the playing, and takes over when it is ready. Raises
        ``UsageError`` for one that there is not."""
        return self._pictures.choice

    @choice.setter
    def choice(self, choice: Choice) -> None:
        _check(choice)
        with self._changes.telling():
            self._pictures.choice = choice

    def save_frame(self, target: str | os.PathLike[str]) -> None:
        """Write both sides of the frame that is shown, whole and upright, as PNGs: NAME-bicubic.png, NAME-MODEL.png and
        both beside each other, NAME-compared.png. ``target`` is the path of NAME, or a folder in which NAME is the
        video's with the time, and a number where there are such files. Messages say how it ended."""
        with self._changes.telling():
            self._pictures.saves.append(Path(target))

    # ---- what is shown and heard -------------------------------------------------------------------------------

    def take(self, timeout: float | None = 0) -> Shown | None:
        """The newest frame to show, once; None where there is none (after ``timeout`` seconds; None waits). Raises what
        should not have happened, once."""
        shown = self._newest.take(timeout)
        if shown is not None:
            self._measures.taken()
        return shown

    def told(self, show_ms: float) -> None:
        """The screen took so long to show a frame."""
        self._measures.ms["show"].append(show_ms)

    @property
    def playing(self) -> bool:
        return self._course.playing

    @property
    def ended(self) -> bool:
        """Whether it stands at the end of the file, having come there by playing, or at a place that cannot be read."""
        return self._course.ended

    @property
    def position(self) -> Fraction:
        """The time of the frame that is shown, in seconds."""
        return self._course.position

    def sound(self, samples: int, latency_s: float = 0.0) -> np.ndarray:
        """The next ``samples`` for the device, (samples, 2) float32, the first of them heard in ``latency_s``; silent
        at a pause and where there is nothing to hear. The picture follows what is heard."""
        return self._sound.next(samples, latency_s)

    def meter(self) -> Meter:
        return self._measures.meter(self.info.rate, self._newest.dropped)


def _times(source: Reel, result: Reel, path: Path) -> int:
    """How many times as wide and high the result is, pixel for pixel. Raises InputError where it is not so."""
    (a, b), same = (source.info, result.info), source.layout == result.layout
    for scale in SCALES:
        if same and (b.width, b.height) == (scale * a.width, scale * a.height):
            return scale
    raise InputError(f"{path.name} ({b.width}x{b.height}, {b.pix_fmt}) is not 2, 3 or 4 times its source "
                     f"({a.width}x{a.height}, {a.pix_fmt}), so the two cannot be laid over each other")


def _check(choice: Choice) -> None:
    if isinstance(choice.model, str):
        find(choice.model, choice.scale)
    if choice.scale not in SCALES:
        raise UsageError(f"scale must be one of {', '.join(map(str, SCALES))}, not {choice.scale}")


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
