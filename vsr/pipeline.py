"""A file job: decode ▶ prefetch ▶ upscale ▶ prefetch ▶ encode, then a look at what was made."""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from vsr.engines import Engine, open_engine
from vsr.errors import Cancelled, CheckError, InputError
from vsr.events import Done, Estimate, Event, Progress, Started, Warned
from vsr.frame import Frame
from vsr.job import Job, Plan, check_job, is_free, makes_picture, plan
from vsr.media.coder import trial
from vsr.media.decode import IMAGE_RATE, Decoder
from vsr.media.encode import Encoder
from vsr.media.partfile import PartFile
from vsr.media.pixels import FULL_RANGE
from vsr.media.verify import Check, verify
from vsr.models.catalogue import load_file
from vsr.prefetch import prefetch
from vsr.upscale import Upscaler

DEPTH = 8  # frames and packets that decode and upscale may each be ahead: enough to even out a slow frame
_AHEAD_BYTES = 1 << 30  # of upscaled frames: very large ones are made less far ahead
_PROGRESS_S = 0.25  # least time between two progress events
_PAUSE_S = 0.1  # how long a paused job takes, at most, to notice that it goes on
_TRIAL_SHARE = 16  # an estimate may cost this part of a job, and takes at most DEPTH frames
_KEY_INTERVAL = 250  # frames: about how often encoders make a key frame

_STAGES = ("decode", "upscale", "encode")
_Upscaled = tuple[Frame, ...]  # one frame, once for each output


def run(
    job: Job,
    on_event: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
    pause: threading.Event | None = None,
    *,
    taken: Collection[Path] = (),
    engines: Callable[..., Engine] = open_engine,
    depth: int = DEPTH,
) -> Done | None:
    """Upscale one file and return what was made, None where ``skip_existing`` found it made.

    Blocks; ``on_event`` is called in the calling thread. ``cancel`` ends the job between two frames: ``Cancelled`` is
    raised and nothing is left behind; so it is with any other error and with a KeyboardInterrupt. While ``pause`` is
    set the job stands still. ``taken`` are files that must not become the output, even where it may be replaced.
    ``engines`` opens the engine; ``depth`` is how many items each stage may be ahead, 0 runs all stages in this
    thread, with equal bytes.

    Raises ``UsageError`` before a file is opened, ``InputError``, ``OutputError``, ``EngineError``, and ``CheckError``
    where the finished file is not what was written; it is then kept as ``NAME_x2.failed-check.EXT``.
    """
    made = run_together([job], on_event, cancel, pause, taken=taken, engines=engines, depth=depth)
    return made[0] if made else None


def run_together(
    jobs: Sequence[Job],
    on_event: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
    pause: threading.Event | None = None,
    *,
    taken: Collection[Path] = (),
    engines: Callable[..., Engine] = open_engine,
    depth: int = DEPTH,
) -> list[Done]:
    """As ``run``, for several outputs of one input, which is decoded once. They succeed or fail together; only a failed
    self-check leaves the others as they are.

    Raises ``ValueError`` for jobs that do not read the same frames.
    """
    emit = on_event or (lambda event: None)
    cancel = cancel or threading.Event()
    first = jobs[0]
    reading = [(job.input, job.cut, job.stream, job.deinterlace, job.rate) for job in jobs]
    if len(set(reading)) > 1:
        raise ValueError("jobs that run together read the same frames of the same input")
    for job in jobs:
        check_job(job)
    if makes_picture(first):
        from vsr.still import run_still

        return [done for job in jobs for done in run_still(job, emit, cancel, taken, engines)]
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        rate = first.rate or IMAGE_RATE
        opened = Decoder(first.input, first.cut, stream=first.stream, deinterlace=first.deinterlace, rate=rate)
        source = stack.enter_context(opened)
        meter = _Meter(first.input, source.info.frames or _estimated_frames(source, first.cut is not None))
        outputs = []
        for output in [_Output(job, plan(job, source)) for job in jobs]:
            target = output.plan.target
            if is_free(output.job, target, taken):
                outputs.append(output)
            else:
                emit(Warned(first.input, "skipped", f"{target} exists already; skipped"))
        for output in outputs:
            output.open(source, engines, stack)
        if not outputs:
            return []

        depth = min(depth, max(1, _AHEAD_BYTES // sum(output.frame_bytes for output in outputs)))
        items = prefetch(meter.decoded(source), depth)
        upscaled = prefetch(_upscaled(items, outputs, meter), depth)
        with contextlib.closing(upscaled):
            begin: list[_Upscaled | av.Packet] = []
            estimates = _estimates(begin, upscaled, outputs, source, meter)
            for output, estimate in zip(outputs, estimates, strict=True):
                emit(output.started(meter.total, estimate))
                if estimate and estimate.bytes > (free := shutil.disk_usage(output.part.path.parent).free):
                    mib = estimate.bytes >> 20, free >> 20
                    said = f"{output.plan.target} may take {mib[0]} MiB, and {mib[1]} MiB are free there"
                    emit(Warned(first.input, "space", said))
            meter.restart()
            for item in itertools.chain(begin, upscaled):
                _obey(first, cancel, pause, meter)
                with meter.work("encode"):
                    for number, output in enumerate(outputs):
                        output.encoder.write(item[number] if isinstance(item, tuple) else item)
                meter.frames += isinstance(item, tuple)
                _pass_on(source, outputs, emit)
                if meter.due():
                    emit(meter.progress())
        with meter.work("encode"):
            for output in outputs:
                output.encoder.finish()
        _pass_on(source, outputs, emit)
        emit(meter.progress())
        expected = source.info.frames or 0
        if source.damaged or meter.frames + source.unshown < expected:
            of_all = f" of {expected}" if expected else ""
            said = f"damaged or cut short: {meter.frames}{of_all} frames could be decoded"
            emit(Warned(first.input, "damaged", f"{first.input} is {said}, {source.damaged} packets could not"))
        _obey(first, cancel, pause, meter)
        return _completed(outputs, source, meter.frames, time.monotonic() - begun, emit)


@dataclass(slots=True)
class _Output:
    """One job of those that run together: what it is to become, and all that is open for it."""

    job: Job
    plan: Plan
    engine: Engine = field(init=False)
    part: PartFile = field(init=False)
    encoder: Encoder = field(init=False)
    upscaler: Upscaler = field(init=False)

    @property
    def frame_bytes(self) -> int:
        """What an upscaled frame takes, about."""
        return 3 * self.plan.resolution.width * self.plan.resolution.height

    def open(self, source: Decoder, engines: Callable[..., Engine], stack: contextlib.ExitStack) -> None:
        """Everything that the job needs; ``stack`` closes it again."""
        job, made, info = self.job, self.plan.resolution, source.info
        self.part = PartFile(self.plan.target, job.overwrite)
        self.engine = stack.enter_context(
            engines(
                load_file(job.weights, made.factor) if job.weights else job.model,
                made.factor,
                bits=source.layout.bits,
                full_range=info.color.range == FULL_RANGE,
                precision=job.precision,
                engine=job.engine,
                threads=job.threads,
            )
        )
        size = made.width, made.height
        self.upscaler = Upscaler(self.engine, source.layout.chroma, info.color.chroma_location, *size, job.threads)
        stack.push(self.part)  # before there is a file: an interrupt may come between any two steps
        self.part.create()
        self.encoder = stack.enter_context(
            Encoder(self.part.path, self.plan.container, source, made, self.plan.settings, self.plan.target)
        )
        self.encoder.warnings.extendleft(reversed(self.plan.warnings))

    def started(self, frames: int | None, estimate: Estimate | None) -> Started:
        size = self.plan.resolution.width, self.plan.resolution.height
        named = self.engine.model, self.engine.name, self.engine.precision, self.plan.settings.codec
        return Started(self.job.input, self.plan.target, *size, self.engine.scale, *named, frames, estimate)


def _upscaled(
    items: Generator[Frame | av.Packet], outputs: list[_Output], meter: _Meter
) -> Generator[_Upscaled | av.Packet]:
    with contextlib.closing(items):
        for item in items:
            if isinstance(item, Frame):
                with meter.work("upscale"):
                    made = tuple(output.upscaler(item) for output in outputs)
                yield made
            else:
                yield item


def _estimates(
    begin: list[_Upscaled | av.Packet],
    upscaled: Iterable[_Upscaled | av.Packet],
    outputs: list[_Output],
    source: Decoder,
    meter: _Meter,
) -> list[Estimate | None]:
    """Encode the first frames once, for each output's estimate; ``begin`` receives what was read for it."""
    if meter.total is None:
        return [None] * len(outputs)
    wanted = max(2, min(DEPTH, meter.total // _TRIAL_SHARE))
    frames: list[_Upscaled] = []
    for item in upscaled:
        begin.append(item)
        if isinstance(item, tuple):
            frames.append(item)
            if len(frames) == wanted:
                break
    if not frames:
        return [None] * len(outputs)
    trials = [
        trial(made, source, output.plan.settings, output.plan.resolution)
        for output, made in zip(outputs, zip(*frames, strict=True), strict=True)
    ]
    decoded_and_encoded = meter.worked("decode") + sum(seconds for seconds, _, _ in trials)
    # Its first frame takes an engine longer: something may have to be compiled.
    a_frame = meter.least("upscale") + decoded_and_encoded / len(frames)
    keys = -(-meter.total // _KEY_INTERVAL)
    copied = _copied_bytes(source)
    return [
        Estimate(
            a_frame * meter.total,
            copied + keys * key + (meter.total - keys) * others // max(1, len(frames) - 1),
        )
        for _, key, others in trials
    ]


def _copied_bytes(source: Decoder) -> int:
    """What the sound takes, where its rate is known; other streams are small."""
    rates = (s.codec_context.bit_rate or 0 for s in source.copied if s.type == "audio")
    return int(sum(rates) * (source.container.duration or 0) / av.time_base / 8)


def _obey(job: Job, cancel: threading.Event, pause: threading.Event | None, meter: _Meter) -> None:
    """Stand still while a pause is asked for; raise ``Cancelled`` where that is."""
    arrived = time.monotonic()
    while pause is not None and pause.is_set() and not cancel.wait(_PAUSE_S):
        pass
    if cancel.is_set():
        raise Cancelled(f"{job.input}: cancelled; nothing is left behind")
    meter.begun += time.monotonic() - arrived


def _pass_on(source: Decoder, outputs: list[_Output], emit: Callable[[Event], None]) -> None:
    for warnings in (source.warnings, *(output.encoder.warnings for output in outputs)):
        while warnings:
            emit(Warned(outputs[0].job.input, *warnings.popleft()))


def _completed(
    outputs: list[_Output], source: Decoder, frames: int, seconds: float, emit: Callable[[Event], None]
) -> list[Done]:
    """Check every output and give it its name; then fail where one is not what was written."""
    done, wrong = [], []
    for output in outputs:
        checks = _checked(output, source)
        if failed := [check for check in checks if not check.ok]:
            target = output.plan.target
            kept = target.with_name(f"{target.stem}.failed-check{target.suffix}")
            output.part.keep_as(kept)
            what = "; ".join(f"{check.name} is {check.got}, not {check.expected}" for check in failed)
            wrong.append(f"{kept} failed the self-check: {what}")
        else:
            output.part.commit()
            done.append(Done(output.job.input, output.plan.target, frames, seconds, checks))
            emit(done[-1])
    if wrong:
        raise CheckError("; ".join(wrong))
    return done


def _checked(output: _Output, source: Decoder) -> tuple[Check, ...]:
    try:
        return tuple(verify(output.part.path, output.encoder.written, source.info))
    except (InputError, av.error.FFmpegError) as error:
        return (Check("readable", False, True, str(error)),)


def _estimated_frames(source: Decoder, cut: bool) -> int | None:
    """How many frames there are, about, where the container does not count them."""
    info = source.info
    counted = source.stream.metadata.get("NUMBER_OF_FRAMES", "")  # Matroska's tag, of the whole file
    if counted.isdecimal() and not cut:
        return int(counted)
    duration = source.container.duration and Fraction(source.container.duration, av.time_base)
    if info.duration is not None:
        duration = info.duration * info.time_base
    return round(duration * info.rate) if duration and info.rate else None


class _Meter:
    """Counts frames and the time that each stage works; every stage adds to its own number only."""

    def __init__(self, path: Path, total: int | None) -> None:
        self.path = path
        self.total = total
        self.frames = 0
        self._worked = dict.fromkeys(_STAGES, 0.0)
        self._least = dict.fromkeys(_STAGES, math.inf)
        self.restart()

    def restart(self) -> None:
        """Speed is counted from here on."""
        self.begun = self._told = time.monotonic()

    def worked(self, stage: str) -> float:
        """Seconds that ``stage`` has worked."""
        return self._worked[stage]

    def least(self, stage: str) -> float:
        """Seconds that ``stage`` worked at least on something."""
        return self._least[stage]

    @contextlib.contextmanager
    def work(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            worked = time.perf_counter() - begun
            self._worked[stage] += worked
            self._least[stage] = min(self._least[stage], worked)

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
