"""The frames that are ordered, decoded one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction

from vsr.errors import Cancelled, VsrError
from vsr.frame import Frame
from vsr.media.reel import Reel
from vsr.player.course import Course, Order
from vsr.player.meter import Measures


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame, None at the end, on its way by ``order``, whose first it may be (``lands``). It is ``due`` at that
    running time: that of the file, with the turns of a loop laid behind each other."""

    order: Order
    frame: Frame | None
    time: Fraction
    due: Fraction
    lands: bool


def decoded(course: Course, reel: Reel, measures: Measures, messages: deque[tuple[str, str]]) -> Generator[Decoded]:
    """For a thread of its own, which waits where there is nothing to do."""
    order: Order | None = None
    frame: Frame | None = None
    turn = Fraction(0)
    while True:
        with course.changes:
            course.changes.wait_for(lambda: course.closing or course.order is not order or frame is not None)  # noqa: B023
            if course.closing:
                return
            lands, order = course.order is not order, course.order
        try:
            with measures.work("decode"):
                if lands:
                    frame, turn = _landing(reel, order), order.turn
                elif frame is not None:
                    frame, turn = _following(reel, order, frame, turn)
        except Cancelled:
            return
        except VsrError as error:
            messages.append(("broken", str(error)))
            frame = None
        messages.extend(reel.warnings)
        reel.warnings.clear()
        time = order.time if frame is None else reel.time(frame)
        if lands:
            course.come_to(order, time)
        due = max(time, order.loop[0]) if order.loop and turn else time
        yield Decoded(order, frame, time, due + turn, lands)


def _landing(reel: Reel, order: Order) -> Frame:
    frame = reel.at(order.time)
    for _ in range(abs(order.steps)):
        further = reel.after(frame) if order.steps > 0 else reel.before(frame)
        if further is None:
            break
        frame = further
    return frame


def _following(reel: Reel, order: Order, frame: Frame, turn: Fraction) -> tuple[Frame | None, Fraction]:
    after, loop = reel.after(frame), order.loop
    if loop is None or (after is not None and reel.time(after) < loop[1]):
        return after, turn
    return reel.at(loop[0]), turn + loop[1] - loop[0]
