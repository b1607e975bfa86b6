"""What a live picture's meter is made of."""

from __future__ import annotations

import itertools
from collections import deque
from statistics import median

from vsr.events import LiveMeter

_METER_S = 2.0  # over which frames a second and latency are measured
_METER_FRAMES = 48  # over which a stage's time is averaged
_REMEMBERED = 10_000  # frames whose latencies the end's are made of
STAGES = "capture", "upscale", "show"


class Measures:
    """What is measured from a moment on, when so many frames had been ``dropped``; each ``deque`` is filled by one
    thread and read by another."""

    def __init__(self, dropped: int = 0) -> None:
        self.dropped = dropped
        self.frames = self.captured = 0
        self.ms: dict[str, deque[float]] = {stage: deque(maxlen=_METER_FRAMES) for stage in STAGES}
        self._came: deque[float] = deque(maxlen=_REMEMBERED)
        self._taken: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)  # when, and the latency in seconds
        self._first_came: float | None = None
        self._first_taken: float | None = None
        self._is_shown = False  # what was taken last

    @property
    def last_came(self) -> float | None:
        return self._came[-1] if self._came else None

    @property
    def gap_s(self) -> float:
        """Between two of the last frames that came, as a rule."""
        lasts = list(itertools.islice(reversed(self._came), _METER_FRAMES))
        return median(later - earlier for later, earlier in itertools.pairwise(lasts)) if len(lasts) > 1 else 0.0

    def came(self, now: float, work_ms: float) -> None:
        """A frame was captured."""
        if self._first_came is None:
            self._first_came = now
        self.captured += 1
        self._came.append(now)
        self.ms["capture"].append(work_ms)

    def taken(self, now: float, latency_s: float) -> None:
        """A frame was taken to be shown."""
        if self._first_taken is None:
            self._first_taken = now
        self.frames += 1
        self._taken.append((now, latency_s))
        self._is_shown = False

    def told(self, now: float, show_ms: float) -> None:
        """What was taken last has been drawn, in so long; what waited to be drawn was late by that, too."""
        self.ms["show"].append(show_ms)
        if self._taken and not self._is_shown:
            at, latency_s = self._taken[-1]
            self._taken[-1] = at, latency_s + now - at
            self._is_shown = True

    def meter(self, now: float, dropped: int, mode: str, whole: bool) -> LiveMeter:
        """How it goes at the moment, or how it went on the whole."""
        came, taken = list(self._came), list(self._taken)
        if whole:
            rates = [
                count / (now - first) if first is not None and now > first else 0.0
                for count, first in ((self.captured, self._first_came), (self.frames, self._first_taken))
            ]
        else:
            came = [at for at in came if at >= now - _METER_S]
            taken = [(at, latency) for at, latency in taken if at >= now - _METER_S]
            rates = [_per_second(came), _per_second([at for at, _ in taken])]
        lasts = {stage: list(ms) for stage, ms in self.ms.items()}
        stage_ms = {stage: sum(ms) / len(ms) if ms else 0.0 for stage, ms in lasts.items()}
        latencies = sorted(latency for _, latency in taken)
        return LiveMeter(
            capture_fps=rates[0],
            fps=rates[1],
            dropped=dropped - self.dropped,
            latency_ms={"median": _share(latencies, 0.5), "p95": _share(latencies, 0.95)},
            stage_ms=stage_ms,
            bottleneck=max(stage_ms, key=stage_ms.__getitem__),
            mode=mode,
            frames=self.frames,
        )


def _per_second(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0


def _share(ordered: list[float], share: float) -> float:
    """The value below which so many of the ``ordered`` seconds lie, in milliseconds."""
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
