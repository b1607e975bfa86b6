"""A file job: decode ▶ prefetch ▶ upscale ▶ prefetch ▶ encode, then a look at what was made."""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeVar

import av

from vsr.compare import Comparer
from vsr.engines import ON_PROCESSORS, Engine, engine_choice, open_engine
from vsr.engines.resample import resizer
from vsr.errors import InputError
from vsr.events import Done, Estimate, Event, Progress, Started, Warned
from vsr.frame import Frame
from vsr.job import Control, Job, Plan, check_job, complete, engine_for, is_free, members_for, plan
from vsr.media.coder import trial
from vsr.media.decode import IMAGE_RATE, Decoder
from vsr.media.encode import Encoder
from vsr.media.partfile import PartFile
from vsr.media.pixels import FULL_RANGE, Layout
from vsr.media.verify import Check, verify
from vsr.prefetch import beside, prefetch
from vsr.upscale import Upscaler, resize_of

DEPTH = 8  # frames and packets that decode and upscale may each be ahead: enough to even out a slow frame
_AHEAD_BYTES = 1 << 30  # of upscaled frames: very large ones are made less far ahead
_PROGRESS_S = 0.25  # least time between two progress events
_TRIAL_SHARE = 16  # an estimate may cost this part of a job, and takes at most DEPTH frames
_KEY_INTERVAL = 250  # frames: about how often encoders make a key frame

T = TypeVar("T")

_STAGES = ("decode", "upscale", "encode")
_Upscaled = tuple[Frame, ...]  # one frame, once for each output
_Begun = tuple[list[Callable[[], Frame]], list[av.Packet]]  # what waits for one, and the packets behind it


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

    Raises ``UsageError`` for a job that cannot be, ``InputError``, ``OutputError``, ``EngineError``, and ``CheckError``
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
    """As ``run``, for several outputs of one input, which is decoded once. Each is checked before any gets its name;
    one that fails its check leaves the others as they are.

    Raises ``ValueError`` for jobs that do not read the same frames, or of which some make a picture and some a video.
    """
    reading = {(job.input, job.cut, job.stream, job.deinterlace, job.rate) for job in jobs}
    kinds = {check_job(job) for job in jobs}
    if len(reading) != 1 or len(kinds) != 1:
        raise ValueError("jobs that run together read the same frames of one input and make the same kind of output")
    emit = on_event or (lambda event: None)
    first = jobs[0]
    control = Control(first.input, cancel, pause)
    if kinds == {True}:
        from vsr.still import run_stills

        return run_stills(jobs, emit, control, taken, engines)
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        rate = first.rate or IMAGE_RATE
        source = stack.enter_context(
            Decoder(
                first.input,
                first.cut,
                stream=first.stream,
                deinterlace=first.deinterlace,
                rate=rate,
                check=control.check,
            )
        )
        meter = _Meter(first.input, control, source.info.frames or _estimated_frames(source, first.cut is not None))
        outputs: list[_Output] = []
        for output in [_Output(job, plan(job, source)) for job in jobs]:
            target = output.plan.target
            if is_free(output.job, target, [*taken, *(other.plan.target for other in outputs)]):
                outputs.append(output)
            else:
                emit(Warned(first.input, "skipped", f"{target} exists already; skipped"))
        for output in outputs:
            output.open(source, engines, stack)
        if not outputs:
            return []

        depth = min(depth, max(1, _AHEAD_BYTES // sum(output.frame_bytes(source.layout) for output in outputs)))
        meter.start()
        items = prefetch(meter.decoded(source), depth)
        upscaled = prefetch(_upscaled(items, outputs, meter), depth)
        with contextlib.closing(upscaled):
            begin = _begin(upscaled, min(max(2, (meter.total or 0) // _TRIAL_SHARE), depth), control)
            with meter.left_out():
                estimates = _estimates(begin, outputs, source, meter)
            for output, estimate in zip(outputs, estimates, strict=True):
                control.obey()
                emit(output.started(meter.total, estimate))
                if estimate and estimate.bytes > (free := shutil.disk_usage(output.part.path.parent).free):
                    mib = estimate.bytes >> 20, free >> 20
                    said = f"{output.plan.target} may take {mib[0]} MiB, and {mib[1]} MiB are free there"
                    emit(Warned(first.input, "space", said))
            for item in itertools.chain(_popped(begin), upscaled):
                control.obey()
                with meter.work("encode"):
                    for number, output in enumerate(outputs):
                        output.encoder.write(item[number] if isinstance(item, tuple) else item)
                meter.count("encode", item)
                _pass_on(source, outputs, emit)
                if meter.due():
                    emit(meter.progress(outputs[0].upscaler.shares))
        with meter.work("encode"):
            for output in outputs:
                output.encoder.finish()
        _pass_on(source, outputs, emit)
        emit(meter.progress(outputs[0].upscaler.shares))
        expected = source.info.frames or 0
        if source.damaged or meter.frames + source.unshown < expected:
            of_all = f" of {expected}" if expected else ""
            said = f"damaged or cut short: {meter.frames}{of_all} frames could be decoded"
            if source.damaged:
                said += f", {source.damaged} packets or places could not"
            emit(Warned(first.input, "damaged", f"{first.input} is {said}"))
        made = [(output.part, _checked(output, source, control), output.upscaler.shares) for output in outputs]
        control.obey()
        return complete(first.input, made, meter.frames, lambda: time.monotonic() - begun - control.paused_s, emit,
                        meter.reused)


@dataclass(slots=True)
class _Output:
    """One job of those that run together: what it is to become, and all that is open for it."""

    job: Job
    plan: Plan
    engine: Engine = field(init=False)
    part: PartFile = field(init=False)
    encoder: Encoder = field(init=False)
    upscaler: Upscaler = field(init=False)

    def frame_bytes(self, layout: Layout) -> int:
        """What an upscaled frame of ``layout`` takes."""
        width, height = self.plan.resolution.width, self.plan.resolution.height
        chroma = 2 * math.prod(layout.chroma_size(width, height)) if layout.chroma else 0
        return (width * height * (1 + layout.alpha) + chroma) * (1 if layout.bits == 8 else 2)

    def open(self, source: Decoder, engines: Callable[..., Engine], stack: contextlib.ExitStack) -> None:
        """Everything that the job needs; ``stack`` closes it again."""
        job, made, info = self.job, self.plan.upscaled, source.info
        self.part = PartFile(self.plan.target, job.overwrite)
        full_range, layout, size = info.color.range == FULL_RANGE, source.layout, (made.width, made.height)
        with beside(partial(self._compile_chroma, source)):  # compiling is what the first frame waits for
            self.engine = stack.enter_context(engine_for(job, made.factor, layout.bits, full_range, engines))
        how = self.engine, layout.chroma, info.color.chroma_location, *size
        members = members_for(job, self.engine)
        if job.compare is None:
            self.upscaler = Upscaler(*how, members)
        else:
            self.upscaler = Comparer(*how, job.compare, info.color, source.orientation, members)
        stack.push(self.part)  # before there is a file: an interrupt may come between any two steps
        self.part.create()
        self.encoder = stack.enter_context(
            Encoder(
                self.part.path, self.plan.container, source, self.plan.resolution, self.plan.settings, self.plan.target
            )
        )
        self.encoder.warnings.extendleft(reversed(self.plan.warnings))

    def _compile_chroma(self, source: Decoder) -> None:
        """What the first frame would wait for otherwise, where chroma goes through the processor."""
        kind = engine_choice(self.job.engine, self.job.precision).name
        if source.layout.chroma and kind in ON_PROCESSORS:
            sizes = (source.info.width, source.info.height), (self.plan.upscaled.width, self.plan.upscaled.height)
            resize = resize_of(*sizes, source.layout.chroma, source.info.color.chroma_location)
            resizer(resize, source.layout.bits, kind, self.job.threads)

    def started(self, frames: int | None, estimate: Estimate | None) -> Started:
        return Started(
            input=self.job.input,
            output=self.plan.target,
            width=self.plan.resolution.width,
            height=self.plan.resolution.height,
            scale=self.engine.scale,
            model=self.engine.model,
            engine=self.engine.name,
            precision=self.engine.precision,
            codec=self.plan.settings.codec,
            frames=frames,
            estimate=estimate,
        )


def _upscaled(
    items: Generator[Frame | av.Packet], outputs: list[_Output], meter: _Meter
) -> Generator[_Upscaled | av.Packet]:
    """Frames upscaled and packets as they are, in their order, with frames begun as far ahead as the engines like."""
    ahead = max(output.engine.ahead for output in outputs)
    waiting: deque[_Begun] = deque()
    with contextlib.closing(items):
        for item in items:
            if isinstance(item, Frame):
                with meter.work("upscale"):
                    waiting.append(([output.upscaler.begin(item) for output in outputs], []))
                    meter.spared += sum(output.engine.reused for output in outputs) / len(outputs)
                    done = _finished(waiting.popleft(), meter) if len(waiting) > ahead else []
                yield from done
            elif waiting:
                waiting[-1][1].append(item)
            else:
                yield item
        while waiting:
            with meter.work("upscale"):
                done = _finished(waiting.popleft(), meter)
            yield from done


def _finished(begun: _Begun, meter: _Meter) -> list[_Upscaled | av.Packet]:
    frame, packets = begun
    made = tuple(finish() for finish in frame)
    meter.count("upscale", made)
    return [made, *packets]


def _begin(
    upscaled: Iterable[_Upscaled | av.Packet], frames: int, control: Control
) -> deque[_Upscaled | av.Packet]:
    """The first items, with so many frames."""
    begin: deque[_Upscaled | av.Packet] = deque()
    for item in upscaled:
        control.obey()
        begin.append(item)
        frames -= isinstance(item, tuple)
        if frames <= 0:
            break
    return begin


def _popped(items: deque[T]) -> Iterator[T]:
    """The ``items``, kept no longer."""
    while items:
        yield items.popleft()


def _estimates(
    begin: Iterable[_Upscaled | av.Packet], outputs: list[_Output], source: Decoder, meter: _Meter
) -> list[Estimate | None]:
    """Each output's estimate, from encoding the frames of ``begin`` once."""
    frames = [item for item in begin if isinstance(item, tuple)]
    if meter.total is None or not frames:
        return [None] * len(outputs)
    trials = [
        trial(made, source, output.plan.settings, output.plan.resolution)
        for output, made in zip(outputs, zip(*frames, strict=True), strict=True)
    ]
    # The stages share the processors. An engine's first frame takes longer: something may have to be compiled.
    a_frame = meter.a_frame_s("decode") + meter.upscale_s + sum(seconds for seconds, _, _ in trials) / len(frames)
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
    return int(sum(rates) * (_duration(source) or 0) / 8)


def _duration(source: Decoder) -> Fraction | None:
    """Of the picture, in seconds, or else of the file."""
    if source.info.duration is not None:
        return source.info.duration * source.info.time_base
    return Fraction(source.container.duration, av.time_base) if source.container.duration else None


def _pass_on(source: Decoder, outputs: list[_Output], emit: Callable[[Event], None]) -> None:
    made = (warnings for output in outputs for warnings in (output.engine.warnings, output.encoder.warnings))
    for warnings in (source.warnings, *made):
        while warnings:
            emit(Warned(outputs[0].job.input, *warnings.popleft()))


def _checked(output: _Output, source: Decoder, control: Control) -> tuple[Check, ...]:
    try:
        return tuple(verify(output.part.path, output.encoder.written, source.info, control.check))
    except (InputError, av.error.FFmpegError) as error:
        return (Check("readable", False, True, str(error)),)


def _estimated_frames(source: Decoder, cut: bool) -> int | None:
    """How many frames there are, about, where the container does not count them."""
    counted = source.stream.metadata.get("NUMBER_OF_FRAMES", "")  # Matroska's tag, of the whole file
    if counted.isdecimal() and not cut:
        return int(counted)
    duration, rate = _duration(source), source.info.rate
    return round(duration * rate) if duration and rate else None


class _Meter:
    """Counts each stage's frames and the time that it works; every stage adds to its own numbers only.

    A stage works from being asked for its next frame to having it, less its waiting for the stage before it: what the
    threads of its codec or engine do meanwhile counts once, and so does what it waits for a processor.
    """

    def __init__(self, path: Path, control: Control, total: int | None) -> None:
        self.path = path
        self.total = total
        self.upscale_s = math.inf  # a frame, at least
        self.spared = 0.0  # the sum of the shares of each frame that were not computed again
        self._control = control
        self._frames = dict.fromkeys(_STAGES, 0)
        self._worked = dict.fromkeys(_STAGES, 0.0)
        self._begun = self._told = 0.0
        self._left_out_s = 0.0

    @property
    def frames(self) -> int:
        """How many are encoded."""
        return self._frames["encode"]

    def start(self) -> None:
        """Speed is counted from here on, without pauses."""
        self._begun = self._told = time.monotonic()
        self._left_out_s = -self._control.paused_s

    @contextlib.contextmanager
    def left_out(self) -> Iterator[None]:
        """What takes its time here is no part of the work."""
        begun = time.monotonic()
        yield
        self._left_out_s += time.monotonic() - begun

    @contextlib.contextmanager
    def work(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            worked = time.perf_counter() - begun
            self._worked[stage] += worked
            if stage == "upscale":
                self.upscale_s = min(self.upscale_s, worked)

    def decoded(self, source: Decoder) -> Generator[Frame | av.Packet]:
        """What ``source`` yields, with the time that each item takes counted as work of decoding."""
        with contextlib.closing(iter(source)) as items:
            while True:
                with self.work("decode"):
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                self.count("decode", item)
                yield item

    def count(self, stage: str, item: Frame | _Upscaled | av.Packet) -> None:
        """``stage`` is done with ``item``."""
        self._frames[stage] += not isinstance(item, av.Packet)

    def a_frame_s(self, stage: str) -> float:
        """What ``stage`` works on a frame, on average: its own frames, for it may be ahead of the others."""
        return self._worked[stage] / max(1, self._frames[stage])

    @property
    def reused(self) -> float:
        """As `Progress` has it."""
        return self.spared / max(1, self._frames["upscale"])

    def due(self) -> bool:
        now = time.monotonic()
        if not self.frames or now - self._told < _PROGRESS_S:
            return False
        self._told = now
        return True

    def progress(self, members: dict[str, float] | None = None) -> Progress:
        seconds = max(time.monotonic() - self._begun - self._left_out_s - self._control.paused_s, 1e-9)
        fps = self.frames / seconds
        left = None if self.total is None else max(0, self.total - self.frames)
        stage_ms = {stage: 1000 * self.a_frame_s(stage) for stage in _STAGES}
        eta_s = left / fps if left is not None and fps else None
        slowest = max(stage_ms, key=stage_ms.__getitem__)
        return Progress(self.path, self.frames, self.total, fps, eta_s, stage_ms, slowest, self.reused, members)
