"""Where a player is to go, where it is, and what time it is there: what all its threads look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from vsr.prefetch import Changes

_GLANCE_S = 0.1  # after which the clock is looked at again, whatever it is: the sound's device may have set it

Loop = tuple[Fraction, Fraction]


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
class Order:
    """Where to go: to the frame at ``time`` and so many ``steps`` on, and then on within ``loop``. One that ``hurries``
    only leaves out what is too late: the clock goes on, ``turn`` ahead of the frames' times."""

    ticket: int
    time: Fraction
    steps: int = 0
    loop: Loop | None = None
    hurries: bool = False
    turn: Fraction = Fraction(0)


class Course:
    """The orders, the clock, and how far both have come. What is here changes within ``changes.telling()`` alone.

    ``order`` is the last one; ``landed`` the one that is carried out, and at whose frames the clock is; ``position``
    the time of the frame that is shown, or that the order led to. ``runs`` counts when the clock began to run or to
    stand: for each time the sound begins anew.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.changes = Changes()
        self.clock = Clock(now)
        self.order = Order(0, Fraction(0))
        self.landed: Order | None = None
        self.position = Fraction(0)
        self.playing = self.ended = self.closing = False
        self.speed = 1.0
        self.runs = 0

    @property
    def pending(self) -> bool:
        """Whether the order is not carried out yet."""
        return self.landed is not self.order

    @property
    def goal(self) -> tuple[Fraction, int]:
        """Where it stands, or will: so many steps from the frame at that time."""
        if self.pending and not self.order.hurries:
            return self.order.time, self.order.steps
        return self.position, 0

    def is_outside(self, time: Fraction) -> bool:
        """Of the loop, where there is one."""
        loop = self.order.loop
        return loop is not None and not loop[0] <= time < loop[1]

    def go(self, time: Fraction, steps: int = 0) -> int:
        """Order to go to ``time``; the clock stands until the frame is there. The order's ticket."""
        self.order, self.ended = Order(self.order.ticket + 1, time, steps, self.order.loop), False
        self.run()
        return self.order.ticket

    def run(self) -> None:
        """Let the clock run or stand, as it must."""
        landed = self.landed is not None and (not self.pending or self.order.hurries)
        self.clock.run(self.speed if self.playing and landed else 0)
        self.runs += 1

    # ---- what comes of an order --------------------------------------------------------------------------------

    def come_to(self, order: Order, time: Fraction) -> None:
        with self.changes:
            if self.order is order:
                self.position = time

    def land(self, order: Order, due: Fraction) -> None:
        """The frame that was ordered is there, ``due`` now: from here on the clock runs, if it may."""
        with self.changes.telling():
            if self.order is order:
                self.landed = order
                if not order.hurries:
                    self.clock.set(float(due))
                    self.run()

    def end(self, order: Order) -> None:
        """There are no more frames, and it is time for the next."""
        with self.changes.telling():
            if self.order is order:
                self.ended, self.playing = True, False
                self.run()

    def hurry(self, order: Order, turn: Fraction) -> Fraction | None:
        """Leave out everything up to where the clock is. The running time that it goes on at, if it does."""
        with self.changes.telling():
            if self.order is not order or not self.playing:
                return None
            time, loop = Fraction(self.clock.time) - turn, order.loop
            if loop is not None and time >= loop[1]:
                turns = (time - loop[0]) // (loop[1] - loop[0]) * (loop[1] - loop[0])
                time, turn = time - turns, turn + turns
            self.order = replace(order, time=time, steps=0, hurries=True, turn=turn)
            return time + turn

    def wait(self, order: Order, due: Fraction, unless: Callable[[], bool]) -> bool:
        """Until the clock has come to ``due``; False where something else is wanted before."""
        with self.changes:
            while not self.closing and self.order is order and self.playing:
                left = float(due) - self.clock.time
                if left <= 0:
                    return True
                if unless():
                    break
                self.changes.wait(min(left / self.speed, _GLANCE_S))
        return False
