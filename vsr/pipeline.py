"""A file job: decode ▶ prefetch ▶ upscale ▶ prefetch ▶ encode, then a look at what was made."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from vsr.engines import Engine, engine_choice, open_engine
from vsr.errors import Cancelled, CheckError, InputError, OutputError, UsageError, VsrError
from vsr.frame import Frame, VideoInfo
from vsr.media.codecs import CONTAINERS, DEFAULT_CODEC, EncoderSettings, fits
from vsr.media.decode import Decoder
from vsr.media.encode import Encoder
from vsr.media.partfile import PartFile
from vsr.media.picture import PICTURES
from vsr.media.pixels import FULL_RANGE
from vsr.media.verify import Check, verify
from vsr.models.catalogue import find, load_file
from vsr.prefetch import prefetch
from vsr.upscale import Upscaler

DEPTH = 8  # frames and packets that decode and upscale may each be ahead: enough to even out a slow frame
_AHEAD_BYTES = 1 << 30  # of upscaled frames: very large ones are made less far ahead
_PROGRESS_S = 0.25  # least time between two progress events
_PAUSE_S = 0.1  # how long a paused job takes, at most, to notice that it goes on

_STAGES = ("decode", "upscale", "encode")

@dataclass(frozen=True, slots=True)
class Job:
    """What to upscale, where to, and how. ``output`` may be a file or a folder; None is beside the input.

    ``weights`` is a file to use in the model's place; ``threads`` is for the engine, None its own choice;
    ``codec``, ``crf``, ``preset`` and ``encoder_options`` are those of ``EncoderSettings``.
    """

    input: Path
    output: Path | None = None
    scale: int = 2
    model: str = "fsrcnn-s"
    weights: Path | None = None
    engine: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    encoder_options: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False

    @property
    def settings(self) -> EncoderSettings:
        return EncoderSettings(self.codec or DEFAULT_CODEC, self.crf, self.preset, self.encoder_options)


@dataclass(frozen=True, slots=True)
class Started:
    """The job is about to read its first frame; ``frames`` is the container's count, for an estimate only."""

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
            "estimate": None,
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """``frame`` frames are encoded. ``stage_ms`` is what each stage works on a frame, its waiting not counted."""

    input: Path
    frame: int
    frames: int | None
    fps: float
    eta_s: float | None
    stage_ms: dict[str, float]
    bottleneck: str
    reused: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            **_head("progress", self.input),
            "frame": self.frame,
            "frames": self.frames,
            "fps": round(self.fps, 2),
            "eta_s": None if self.eta_s is None else round(self.eta_s, 1),
            "stage_ms": {stage: round(ms, 3) for stage, ms in self.stage_ms.items()},
            "bottleneck": self.bottleneck,
            "reused": self.reused,
        }


@dataclass(frozen=True, slots=True)
class Warned:
    """Something is not carried over, or was mended; the job goes on."""

    input: Path
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return {**_head("warning", self.input), "code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class Done:
    """The output is complete, checked, and has its name."""

    input: Path
    output: Path
    frames: int
    seconds: float
    checks: tuple[Check, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            **_head("done", self.input),
            "output": str(self.output),
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "checks": [check.to_json() for check in self.checks],
        }


@dataclass(frozen=True, slots=True)
class Failed:
    """What a caller of ``run`` reports of the error that it raised."""

    input: Path
    error: VsrError

    def to_json(self) -> dict[str, Any]:
        return {**_head("error", self.input), "code": self.error.code, "message": str(self.error)}


Event = Started | Progress | Warned | Done | Failed


def _head(event: str, path: Path) -> dict[str, Any]:
    return {"v": 1, "event": event, "input": str(path)}


def output_path(job: Job) -> Path:
    """Where ``job`` writes: ``-o`` where it names a file, else ``NAME_x2.EXT`` in its folder or beside the input.

    The extension is the input's where that container holds the codec, else ``.mkv``. Raises ``UsageError`` for an
    extension or codec that VSR does not know.
    """
    from vsr.still import still_target  # which uses the events above

    if (picture := still_target(job)) is not None:
        return picture
    if job.output is not None and not os.path.isdir(job.output):
        if job.output.suffix.lower() not in CONTAINERS:
            raise UsageError(f"{job.output} has no extension that VSR writes; use one of {', '.join(CONTAINERS)}")
        return job.output
    suffix = job.input.suffix
    container = CONTAINERS.get(suffix.lower())
    if container is None or not fits(job.settings.encoder(), container):
        suffix = ".mkv"
    folder = job.input.parent if job.output is None else job.output
    return folder / f"{job.input.stem}_x{job.scale}{suffix}"


def check_job(job: Job) -> None:
    """Raise ``UsageError`` for anything that is wrong with ``job`` before an input is opened; ``EngineError`` where its
    engine cannot run here."""
    if job.weights is not None:
        load_file(job.weights, job.scale)
    else:
        find(job.model, job.scale)
    engine_choice(job.engine, job.precision)
    target = output_path(job)
    if target.suffix.lower() not in PICTURES:
        job.settings.check(CONTAINERS[target.suffix.lower()])


def run(
    job: Job,
    on_event: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
    pause: threading.Event | None = None,
    *,
    engines: Callable[..., Engine] = open_engine,
    depth: int = DEPTH,
) -> Done:
    """Upscale one file and return what was made. Blocks; ``on_event`` is called in the calling thread.

    ``cancel`` ends the job between two frames: ``Cancelled`` is raised and nothing is left behind; so it is with any
    other error and with a KeyboardInterrupt. While ``pause`` is set the job stands still. ``engines`` opens the
    engine; ``depth`` is how many items each stage may be ahead, 0 runs all stages in this thread, with equal bytes.

    Raises ``UsageError`` before a file is opened, ``InputError``, ``OutputError``, ``EngineError``, and ``CheckError``
    where the finished file is not what was written; it is then kept as ``NAME_x2.failed-check.EXT``.
    """
    emit = on_event or (lambda event: None)
    cancel = cancel or threading.Event()
    check_job(job)
    target = output_path(job)
    if target.suffix.lower() in PICTURES:
        from vsr.still import run_still

        return run_still(job, target, emit, cancel, engines)
    if _same_file(job.input, target):
        raise OutputError(f"{target} is the input; give another output")
    part = PartFile(target, job.overwrite)
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(Decoder(job.input))
        info = source.info
        engine = stack.enter_context(
            engines(
                load_file(job.weights, job.scale) if job.weights else job.model,
                job.scale,
                bits=source.layout.bits,
                full_range=info.color.range == FULL_RANGE,
                precision=job.precision,
                engine=job.engine,
                threads=job.threads,
            )
        )
        stack.push(part)  # before there is a file: an interrupt may come between any two steps
        part.create()
        size = info.width * job.scale, info.height * job.scale
        container = CONTAINERS[target.suffix.lower()]
        encoder = stack.enter_context(Encoder(part.path, container, source, *size, job.settings, target))
        meter = _Meter(job.input, info.frames or _estimated_frames(source))
        named = engine.model, engine.name, engine.precision, job.settings.codec
        emit(Started(job.input, target, *size, job.scale, *named, meter.total))

        upscaler = Upscaler(engine, source.layout.chroma, info.color.chroma_location, *size, job.threads)
        depth = min(depth, max(1, _AHEAD_BYTES // (3 * size[0] * size[1])))
        items = prefetch(meter.decoded(source), depth)
        items = prefetch(_upscaled(items, upscaler, meter), depth)
        with contextlib.closing(items):
            for item in items:
                _obey(job, cancel, pause, meter)
                with meter.work("encode"):
                    encoder.write(item)
                meter.frames += isinstance(item, Frame)
                _pass_on(job, source, encoder, emit)
                if meter.due():
                    emit(meter.progress())
        with meter.work("encode"):
            encoder.finish()
        emit(meter.progress())
        if source.damaged or meter.frames + source.unshown < (info.frames or 0):
            of_all = f" of {info.frames}" if info.frames else ""
            said = f"damaged or cut short: {meter.frames}{of_all} frames could be decoded"
            emit(Warned(job.input, "damaged", f"{job.input} is {said}, {source.damaged} packets could not"))
        _obey(job, cancel, pause, meter)
        checks = _checked(part, encoder, info)
        part.commit()
    done = Done(job.input, target, meter.frames, time.monotonic() - begun, checks)
    emit(done)
    return done


def _upscaled(
    items: Generator[Frame | av.Packet], upscaler: Upscaler, meter: _Meter
) -> Generator[Frame | av.Packet]:
    with contextlib.closing(items):
        for item in items:
            if isinstance(item, Frame):
                with meter.work("upscale"):
                    item = upscaler(item)
            yield item


def _obey(job: Job, cancel: threading.Event, pause: threading.Event | None, meter: _Meter) -> None:
    """Stand still while a pause is asked for; raise ``Cancelled`` where that is."""
    arrived = time.monotonic()
    while pause is not None and pause.is_set() and not cancel.wait(_PAUSE_S):
        pass
    if cancel.is_set():
        raise Cancelled(f"{job.input}: cancelled; nothing is left behind")
    meter.begun += time.monotonic() - arrived


def _pass_on(job: Job, source: Decoder, encoder: Encoder, emit: Callable[[Event], None]) -> None:
    for warnings in (source.warnings, encoder.warnings):
        while warnings:
            emit(Warned(job.input, *warnings.popleft()))


def _checked(part: PartFile, encoder: Encoder, info: VideoInfo) -> tuple[Check, ...]:
    try:
        checks = tuple(verify(part.path, encoder.written, info))
    except (InputError, av.error.FFmpegError) as error:
        checks = (Check("readable", False, True, str(error)),)
    if failed := [c for c in checks if not c.ok]:
        kept = part.target.with_name(f"{part.target.stem}.failed-check{part.target.suffix}")
        part.keep_as(kept)
        wrong = "; ".join(f"{c.name} is {c.got}, not {c.expected}" for c in failed)
        raise CheckError(f"{kept} failed the self-check: {wrong}")
    return checks


def _same_file(a: Path, b: Path) -> bool:
    return os.path.exists(a) and os.path.exists(b) and a.samefile(b)


def _estimated_frames(source: Decoder) -> int | None:
    duration, rate = source.container.duration, source.info.rate
    return round(duration * rate / av.time_base) if duration and rate else None


class _Meter:
    """Counts frames and the time that each stage works; every stage adds to its own number only."""

    def __init__(self, path: Path, total: int | None) -> None:
        self.path = path
        self.total = total
        self.frames = 0
        self.begun = self._told = time.monotonic()
        self._worked = dict.fromkeys(_STAGES, 0.0)

    @contextlib.contextmanager
    def work(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._worked[stage] += time.perf_counter() - begun

    def decoded(self, source: Decoder) -> Generator[Frame | av.Packet]:
        """What ``source`` yields, with the time that each item takes counted as work of decoding."""
        with contextlib.closing(iter(source)) as items:
            while True:
                with self.work("decode"):
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                yield item

    def due(self) -> bool:
        now = time.monotonic()
        if not self.frames or now - self._told < _PROGRESS_S:
            return False
        self._told = now
        return True

    def progress(self) -> Progress:
        seconds = max(time.monotonic() - self.begun, 1e-9)
        fps = self.frames / seconds
        left = None if self.total is None else max(0, self.total - self.frames)
        stage_ms = {stage: 1000 * worked / max(1, self.frames) for stage, worked in self._worked.items()}
        eta_s = left / fps if left is not None and fps else None
        slowest = max(stage_ms, key=stage_ms.__getitem__)
        return Progress(self.path, self.frames, self.total, fps, eta_s, stage_ms, slowest)
