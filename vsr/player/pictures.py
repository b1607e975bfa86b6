"""Both sides of a player's frames, each when it is due; what would be too late is left out."""

from __future__ import annotations

import contextlib
import glob
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from vsr.compare import Composer, label
from vsr.engines import Engine
from vsr.errors import EngineError, InputError, OutputError
from vsr.frame import Frame
from vsr.media.picture import seen_color
from vsr.media.reel import Reel
from vsr.player.course import Course
from vsr.player.enlarger import Enlarger
from vsr.player.frames import Decoded, decoded
from vsr.player.meter import Measures
from vsr.prefetch import prefetch
from vsr.sides import WHOLE, Box, Choice, Scores, Side, Sides, View
from vsr.still import picture_of, save_picture

AHEAD = 4  # frames that are decoded before they are asked for
_PATIENCE_S = 0.25  # after so long without a picture one is shown although it is late
_LAG_S = 2.0  # so far behind its clock, playing goes on with a frame further on
_COSTS = 5  # frames whose median tells how long the next one will take
_NAME = 160  # bytes of a video's name in those of its pictures, which file systems give 255
_SCORE_EVERY_S = 1.0
_SCORED_SIDE = 128  # pixels before enlarging: what is scored of a playing video


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame to show, now. ``source`` is as it was enlarged, whole; ``bicubic`` and ``sr`` are the parts of the two
    sides that are seen, None for one of which nothing is, or while the model's engine is not there. While that is being
    opened ``is_early`` is true, and ``sr`` bicubic, too. Where a ``result`` is compared it is what ``sr`` shows.

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
    is_early: bool = False


class _Look(NamedTuple):
    """What a frame looks like; ``whole`` is whether all that is seen of it is scored, ``times`` counts the wishes to
    paint anew."""

    view: View
    restore: bool
    whole: bool
    times: int


class Pictures:
    """The pictures of the frames of ``reel`` on ``course``, whose ``changes`` guard ``view``, ``restore``, ``choice``
    and ``saves``, the paths of pictures that are still to be written, and ``times``, how often to paint anew. ``path``
    is the video's, ``truth`` of another one to compare with, ``result`` of what was made of it; the others are the
    player's. They are made in threads."""

    def __init__(self, path: Path, course: Course, reel: Reel, truth: Reel | None, view: View, restore: bool,
                 choice: Choice, engines: Callable[..., Engine], measures: Measures,
                 messages: deque[tuple[str, str]], notify: Callable[[], object],
                 paint: Callable[[Shown], object], result: Reel | None = None, early: bool = False) -> None:
        self.view, self.restore, self.choice = view, restore, choice
        self.saves: deque[Path] = deque()
        self.times = 0
        self._path, self._course, self._reel, self._truth, self._result = path, course, reel, truth, result
        self._measures, self._messages = measures, messages
        self._notify, self._paint = notify, paint
        self._enlarger = Enlarger(reel.info, reel.layout, engines, course.changes, messages, early)
        self._costs: deque[float] = deque(maxlen=_COSTS)  # seconds on the clock, for both sides
        self._scored_at = -math.inf
        self._told = ""  # what was said of the other file last

    def __iter__(self) -> Generator[Shown]:
        course, clock, enlarger = self._course, self._course.clock, self._enlarger
        frames = decoded(course, self._reel, self._measures, self._messages)
        with contextlib.closing(prefetch(frames, AHEAD)) as items, enlarger:
            ahead: deque[Decoded] = deque()  # what was taken and is not shown yet
            last: Decoded | None = None  # what is shown
            drawn: _Look | None = None  # as which
            length = Fraction(0)  # of a frame
            shown_at = -math.inf

            def due() -> bool:
                if course.closing or enlarger.is_due(self.choice):
                    return True
                asked = course.pending or course.playing or drawn != self._look() or (
                    self.saves and not enlarger.is_early)
                return enlarger.sides is not None and bool(asked)

            while True:
                with course.changes:
                    course.changes.wait_for(due)
                    if course.closing:
                        return
                    pending, playing, choice = course.pending, course.playing, self.choice
                if enlarger.is_due(choice):
                    if enlarger.follow(choice):
                        self._costs.clear()
                        drawn = None
                    continue
                assert enlarger.sides is not None  # it is waited for
                sides = enlarger.sides
                if last is not None and not pending and self.saves and not enlarger.is_early:
                    self._save(sides, last, self.saves.popleft())
                    continue
                if not pending and not playing:
                    drawn = self._look()
                    if last is not None:
                        yield self._drawn(sides, last, drawn)
                    continue
                item = ahead.popleft() if ahead else next(items, None)
                if item is None:
                    return
                if item.order is not course.order and not item.lands:
                    continue
                if item.frame is None:
                    if not self._end(item, last.due + length if last else Fraction(0)):
                        ahead.appendleft(item)
                    continue
                if not item.lands:
                    cost = median(self._costs or [0])
                    ready = clock.time + cost * clock.rate
                    if ready > item.due and not ahead:
                        ahead.extend(itertools.islice(items, 1))
                    better = ahead and ahead[0].order is item.order and ahead[0].frame and ahead[0].due <= ready
                    if better and clock.now() - shown_at < _PATIENCE_S + cost:
                        self._measures.late += 1
                        continue
                    if clock.time - item.due > _LAG_S:
                        self._hurry(item)
                look = self._look()
                picture = self._drawn(sides, item, look)
                if item.lands:
                    course.land(item.order, item.due)
                elif self._wait(item, item.due):
                    course.come_to(item.order, item.time)
                else:
                    ahead.appendleft(item)
                    continue
                if last is not None and last.order is item.order:
                    length = item.due - last.due
                elif item.frame.duration:
                    length = item.frame.duration * item.frame.time_base
                last, drawn, shown_at = item, look, clock.now()
                yield picture

    def _look(self) -> _Look:
        whole = not self._course.playing and (self.restore or self._truth is not None)
        return _Look(self.view, self.restore, whole, self.times)

    def _wait(self, item: Decoded, due: Fraction) -> bool:
        return self._course.wait(item.order, due, lambda: self._enlarger.is_due(self.choice))

    def _end(self, item: Decoded, due: Fraction) -> bool:
        """There are no more frames, and the last one is shown until ``due``. False where that is not waited for."""
        if item.lands:
            self._course.land(item.order, item.due)
        elif not self._wait(item, due):
            return False
        self._course.end(item.order)
        self._notify()
        return True

    def _hurry(self, item: Decoded) -> None:
        further = self._course.hurry(item.order, item.due - item.time)
        if further is not None:
            self._measures.late += int((further - item.due) * (self._reel.info.rate or 0))

    def _drawn(self, sides: Sides, item: Decoded, look: _Look) -> Shown:
        """Both sides of a frame, as far as they are looked at."""
        assert item.frame is not None
        view, begun = look.view, self._course.clock.now()
        with self._measures.work("upscale"):
            source = self._source(sides, item.frame, look.restore)
            bicubic = None if view.bicubic is None else sides.bicubic(source, view.bicubic)
            sr = None
            try:
                sr = None if view.sr is None else self._sr(sides, source, item, view.sr)
            except EngineError as error:
                self._enlarger.without_model(error)
        engine = sides.engine
        name, precision = (engine.name, engine.precision) if engine else (None, None)
        shown = Shown(source, item.time, item.order.ticket, bicubic, sr, sides.choice, name, precision,
                      is_early=self._enlarger.is_early)
        painted = self._paint(shown)
        self._costs.append(self._course.clock.now() - begun)
        scores = self._scores(sides, source, item, look) if look.restore or self._truth else None
        return replace(shown, painted=painted, scores=scores)

    def _source(self, sides: Sides, frame: Frame, restore: bool) -> Frame:
        """What is enlarged of a decoded frame."""
        info = self._reel.info
        frame = replace(frame, color=seen_color(frame.color, info.width, info.height))
        return sides.shrunk(frame) if restore else frame

    def _sr(self, sides: Sides, source: Frame, item: Decoded, box: Box = WHOLE) -> Side | None:
        """What is shown beside bicubic."""
        if self._result is not None:
            try:
                made = _at(self._result, item)
            except InputError as error:
                self._tell(error)
                return None
            return sides.of(replace(made, color=seen_color(made.color, made.width, made.height)), box)
        return sides.bicubic(source, box) if self._enlarger.is_early else sides.sr(source, box)

    def _scores(self, sides: Sides, source: Frame, item: Decoded, look: _Look) -> Scores | None:
        assert item.frame is not None
        seen = [box for box in look.view if box is not None] or [WHOLE]
        lefts, tops, rights, bottoms = zip(*seen, strict=True)
        box = Box(min(lefts), min(tops), max(rights), max(bottoms))
        clock = self._course.clock
        if not look.whole:
            if clock.now() - self._scored_at < _SCORE_EVERY_S:
                return None
            box = box.within(Box(0, 0, source.width, source.height)).centre(_SCORED_SIDE, _SCORED_SIDE)
        try:
            truth = _at(self._truth, item) if self._truth else item.frame
            n = sides.scale
            if self._truth and (truth.width // n, truth.height // n) != (source.width, source.height):
                raise InputError(f"a reference of {truth.width}x{truth.height} is not {n} times as large as the video")
            scores = sides.scores(source, truth, box)
        except EngineError as error:
            self._enlarger.without_model(error)
            return None
        except InputError as error:
            self._tell(error)
            return None
        self._scored_at = clock.now()
        return scores

    def _tell(self, error: InputError) -> None:
        """What is wrong with the other file; once."""
        if self._told != str(error):
            self._told = str(error)
            self._messages.append(("reference", self._told))

    def _save(self, sides: Sides, item: Decoded, target: Path) -> None:
        assert item.frame is not None
        name = target.with_suffix("") if target.suffix.lower() == ".png" else target
        if target.is_dir():
            named = os.fsencode(self._path.stem)[:_NAME].decode("utf-8", "ignore")
            stem = f"{named}-{float(item.time):.3f}s"
            stems = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
            name = next(target / free for free in stems if not any(target.glob(f"{glob.escape(free)}-*.png")))
        source = self._source(sides, item.frame, self.restore)
        chroma, seen = self._reel.layout.chroma, self._reel.orientation
        saved: list[tuple[str, str]] = []  # told together
        try:
            name_of, title = sides.name, sides.engine and label(sides.engine)
            if self._result is not None:
                name_of, title = "result", "Result"
            made = {"bicubic": sides.bicubic(source), name_of: self._sr(sides, source, item)}
            frames = {of: side.frame for of, side in made.items() if side is not None}
            if title and len(frames) > 1:
                first, second = frames.values()
                size, labels = (first.width, first.height), ("Bicubic", title)
                compose = Composer("side-by-side", size, chroma, first.bits, source.color, labels, seen)
                frames["compared"] = compose(first, second)
            for of, frame in frames.items():
                path = name.with_name(f"{name.name}-{of}.png")
                save_picture(picture_of(frame, seen), path)
                saved.append(("saved", str(path)))
        except EngineError as error:
            self._enlarger.without_model(error)
        except OutputError as error:
            self._messages.append(("save", str(error)))
        self._messages.extend(saved)
        self._notify()


def _at(reel: Reel, item: Decoded) -> Frame:
    """The frame of another file that is shown while ``item`` is: in its middle, since containers round times."""
    assert item.frame is not None
    frame = item.frame
    return reel.at(item.time + Fraction(frame.duration or 0) * frame.time_base / 2)
