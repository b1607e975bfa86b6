"""What a job tells while it runs. The same facts go to the command line, to scripts as JSON, and to the window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.errors import VsrError
from vsr.media.verify import Check


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long the whole job will take, all outputs together, and how large this output will be."""

    seconds: float
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return {"seconds": round(self.seconds, 3), "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class Started:
    """The job begins. ``frames`` is the container's count or a guess, for an estimate only; ``estimate`` is from the
    first frames, which were made and encoded once."""

    input: Path
    output: Path
    width: int
    height: int
    scale: int
    model: str
    engine: str
    precision: str
    codec: str
    frames: int | None
    estimate: Estimate | None

    def to_json(self) -> dict[str, Any]:
        return {
            **_head("start", self.input),
            "output": str(self.output),
            "width": self.width,
            "height": self.height,
            "scale": self.scale,
            "model": self.model,
            "engine": self.engine,
            "precision": self.precision,
            "codec": self.codec,
            "frames": self.frames,
            "estimate": self.estimate and self.estimate.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """``frame`` frames are encoded. ``stage_ms`` is what each stage works on a frame, its waiting for the others not
    counted. The stages work at the same time, so that the one that works most, the ``bottleneck``, sets the speed.
    ``reused`` is the share of luma so far, 0 to 1, that did not change and was not computed again; ``members`` the
    share of the frames that each member of the model's family made, None where it is no family."""

    input: Path
    frame: int
    frames: int | None
    fps: float
    eta_s: float | None
    stage_ms: dict[str, float]
    bottleneck: str
    reused: float = 0.0
    members: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **_head("progress", self.input),
            "frame": self.frame,
            "frames": self.frames,
            "fps": round(self.fps, 2),
            "eta_s": None if self.eta_s is None else round(self.eta_s, 1),
            "stage_ms": {stage: round(ms, 3) for stage, ms in self.stage_ms.items()},
            "bottleneck": self.bottleneck,
            "reused": round(self.reused, 4),
            "members": _rounded(self.members),
        }


@dataclass(frozen=True, slots=True)
class Warned:
    """Something is not carried over, or was mended; the job goes on. The input of a live one is its name."""

    input: Path | str
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return {**_head("warning", self.input), "code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class Done:
    """The output is complete, checked, and has its name; ``reused`` and ``members`` as in `Progress`."""

    input: Path
    output: Path
    frames: int
    seconds: float
    checks: tuple[Check, ...]
    reused: float = 0.0
    members: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **_head("done", self.input),
            "output": str(self.output),
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "checks": [check.to_json() for check in self.checks],
            "reused": round(self.reused, 4),
            "members": _rounded(self.members),
        }


@dataclass(frozen=True, slots=True)
class Failed:
    """What a caller of ``run`` reports of the error that it raised."""

    input: Path | str
    error: VsrError

    def to_json(self) -> dict[str, Any]:
        return {**_head("error", self.input), "code": self.error.code, "message": str(self.error)}


@dataclass(frozen=True, slots=True)
class LiveMeter:
    """How well a live picture goes. ``capture_fps`` come a second, ``fps`` of them are shown; ``dropped`` counts those
    that were not since newer ones came. ``latency_ms`` is from when a frame came to when it was shown (without a
    screen: taken): ``median`` and ``p95``. ``stage_ms`` is what each stage works on a frame; the stages overlap, and
    the slowest is the ``bottleneck``. ``mode`` is what enlarges; ``frames`` have been shown since the beginning."""

    capture_fps: float
    fps: float
    dropped: int
    latency_ms: dict[str, float]
    stage_ms: dict[str, float]
    bottleneck: str
    mode: str
    frames: int

    def to_json(self) -> dict[str, Any]:
        return {
            "capture_fps": round(self.capture_fps, 2),
            "fps": round(self.fps, 2),
            "dropped": self.dropped,
            "latency_ms": {name: round(ms, 2) for name, ms in self.latency_ms.items()},
            "stage_ms": {stage: round(ms, 3) for stage, ms in self.stage_ms.items()},
            "bottleneck": self.bottleneck,
            "mode": self.mode,
        }


@dataclass(frozen=True, slots=True)
class LiveStarted:
    """The first picture of a live source is there. ``input`` is its name, ``output`` the file that is recorded."""

    input: str
    output: Path | None
    width: int
    height: int
    scale: int
    model: str
    engine: str | None
    precision: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            **_head("start", self.input),
            "output": self.output and str(self.output),
            "width": self.width,
            "height": self.height,
            "scale": self.scale,
            "model": self.model,
            "engine": self.engine,
            "precision": self.precision,
        }


@dataclass(frozen=True, slots=True)
class LiveProgress:
    """How a live picture goes, now and then."""

    input: str
    meter: LiveMeter

    def to_json(self) -> dict[str, Any]:
        return {**_head("progress", self.input), "frame": self.meter.frames, **self.meter.to_json()}


@dataclass(frozen=True, slots=True)
class LiveDone:
    """A live picture has ended. ``meter`` is of all of it; ``outputs`` are the files that were recorded."""

    input: str
    outputs: tuple[Path, ...]
    seconds: float
    meter: LiveMeter

    def to_json(self) -> dict[str, Any]:
        return {
            **_head("done", self.input),
            "output": str(self.outputs[0]) if self.outputs else None,
            "outputs": [str(path) for path in self.outputs],
            "frames": self.meter.frames,
            "seconds": round(self.seconds, 3),
            **self.meter.to_json(),
        }


Event = Started | Progress | Warned | Done | Failed | LiveStarted | LiveProgress | LiveDone


def _rounded(shares: dict[str, float] | None) -> dict[str, float] | None:
    return shares and {name: round(share, 4) for name, share in shares.items()}


def _head(event: str, path: Path | str) -> dict[str, Any]:
    return {"v": 1, "event": event, "input": str(path)}
