"""How well a video plays: what its stages take, what comes to the screen, and what does not."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

_SPAN_S = 2.0  # over which frames a second are counted
_FRAMES = 48  # over which a stage's time is averaged
_TAKEN = 1024  # frames that are remembered for the rate


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


def _stages() -> dict[str, deque[float]]:
    return {stage: deque(maxlen=_FRAMES) for stage in ("decode", "upscale", "show")}


@dataclass(slots=True)
class Measures:
    """What the meter is made of; ``deque``s since each is filled by one thread and read by another."""

    now: Callable[[], float]
    ms: dict[str, deque[float]] = field(default_factory=_stages)
    late: int = 0
    _shown: int = 0
    _taken: deque[float] = field(default_factory=lambda: deque(maxlen=_TAKEN))  # when the last frames were

    @contextlib.contextmanager
    def work(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.ms[stage].append(1000 * (time.perf_counter() - begun))

    def taken(self) -> None:
        """The screen has a frame."""
        self._shown += 1
        self._taken.append(self.now())

    def meter(self, video_fps: Fraction | None, missed: int) -> Meter:
        stage_ms = {stage: sum(ms) / len(ms) if (ms := list(last)) else 0.0 for stage, last in self.ms.items()}
        since = self.now() - _SPAN_S
        taken = [at for at in list(self._taken) if at >= since]
        fps = (len(taken) - 1) / (taken[-1] - taken[0]) if len(taken) > 1 and taken[-1] > taken[0] else 0.0
        slowest = max(stage_ms, key=stage_ms.__getitem__)
        return Meter(stage_ms, slowest, fps, float(video_fps) if video_fps else None, self._shown, self.late, missed)
