"""What enlarges a live picture: ways from the best to the cheapest, and which of them holds the frame rate."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from vsr.engines import ENGINES
from vsr.models.catalogue import catalogue, find
from vsr.sides import Choice

_PARTS = 0.75, 0.5  # of each side: what the model enlarges before it gives way to bicubic

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
        network = find(choice.model, choice.scale).network
        cost = network.multiplications(choice.scale) if network else 0
        costs = {entry.name: entry.network.multiplications(choice.scale) for entry in catalogue().values()
                 if entry.network and choice.scale in entry.files}
        for name in sorted(costs, key=costs.__getitem__, reverse=True):
            if costs[name] < cost:  # of those that cost the same the first, which is made for all pictures
                cost = costs[name]
                choices.append(replace(choice, model=name))
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
