"""A job: what is asked of one output, the plan that it becomes once its source is known, and what every kind of job
does alike."""

from __future__ import annotations

import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vsr.compare import check_layout, composed_size
from vsr.engines import Engine, engine_choice
from vsr.errors import Cancelled, CheckError, OutputError, UsageError
from vsr.events import Done, Event
from vsr.media.codecs import CONTAINERS, EncoderSettings, choose_codec, fits
from vsr.media.copy import describe, only_in_matroska
from vsr.media.cut import Cut
from vsr.media.decode import Decoder
from vsr.media.deinterlace import Deinterlacer
from vsr.media.folder import check_name
from vsr.media.partfile import PartFile
from vsr.media.picture import PICTURES, still_format
from vsr.media.probe import image_sequence
from vsr.media.verify import Check
from vsr.models import DEFAULT_MODEL
from vsr.models.catalogue import Weights, find, load_file, load_members
from vsr.size import FACTORS, Resolution, Size, resolve

_PAUSE_S = 0.1  # how long a paused job takes, at most, to notice that it goes on


@dataclass(frozen=True, slots=True)
class Job:
    """What to upscale, where to, and how. ``output`` may be a file or a folder; None is beside the input.

    ``size`` is a size to reach instead of ``scale``; ``weights`` is a file to use in the model's place; ``threads`` is
    for the engine, None its own choice. ``cut``, ``stream``, ``deinterlace`` and ``rate`` are those of ``Decoder``.
    ``compare``, one of `vsr.compare.LAYOUTS`, asks for bicubic and the model's picture in one; such an output is named,
    and a video's may be a picture, of its first frame (in the cut).
    ``codec`` None is the first encoder that holds all that the source has; it, ``crf``, ``preset`` and
    ``encoder_options`` are those of ``EncoderSettings``. An existing output is an error, unless it is to be replaced
    (``overwrite``) or kept (``skip_existing``), or the new one gets a number behind its name (``keep_both``).
    ``name`` is what an output that is not named is called, without its extension; what stands in braces is one of
    `vsr.media.folder.NAMES`.
    """

    input: Path
    output: Path | None = None
    scale: int = 2
    size: Size | None = None
    model: str = DEFAULT_MODEL
    weights: Path | None = None
    engine: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    cut: Cut | None = None
    stream: int | None = None
    deinterlace: str = "auto"
    rate: Fraction | None = None
    compare: str | None = None
    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    encoder_options: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    skip_existing: bool = False
    keep_both: bool = False
    name: str = "{name}_{tag}"

    @property
    def factors(self) -> tuple[int, ...]:
        """What there is for a size: that of the weight file, or all."""
        return (load_file(self.weights).scale,) if self.weights else FACTORS

    @property
    def named_output(self) -> Path | None:
        """``output`` where it names a file."""
        return None if self.output is None or os.path.isdir(self.output) else self.output

    def settings(self, codec: str) -> EncoderSettings:
        """The encoder's, with ``codec`` where the job names none."""
        if self.codec is None and codec == "ffv1":
            return EncoderSettings(codec, options=self.encoder_options)  # lossless, whatever crf and preset say
        return EncoderSettings(self.codec or codec, self.crf, self.preset, self.encoder_options)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a job's output goes, as what, and how large; ``container`` is FFmpeg's name of the muxer. ``upscaled`` is
    what the source becomes, ``resolution`` what is written, which is larger where two are compared side by side."""

    target: Path
    container: str
    settings: EncoderSettings
    upscaled: Resolution
    resolution: Resolution
    warnings: tuple[tuple[str, str], ...]


def check_job(job: Job) -> bool:
    """Whether ``job`` makes a still picture. Of its input no more than the first bytes are looked at.

    Raises ``UsageError`` for anything that is wrong with ``job`` itself, ``EngineError`` where its engine cannot run
    here.
    """
    if job.overwrite + job.skip_existing + job.keep_both > 1:
        raise UsageError("an existing output is replaced, skipped or kept beside the new one; choose one")
    check_name(job.name)
    if job.compare is not None:
        check_layout(job.compare)
        if job.named_output is None:
            raise UsageError("a comparison is written to a file of its own; name it with -o")
    Deinterlacer(job.deinterlace)  # raises for a mode that there is not
    if job.size is None:
        _check_model(job, job.scale)
    engine_choice(job.engine, job.precision)
    if job.rate is not None and "%" not in job.input.name:
        raise UsageError(f"{job.input} is no image sequence, which alone needs a frame rate; leave it out")
    if _makes_picture(job):
        return True
    container = None
    if job.named_output is not None:
        container = CONTAINERS.get(job.named_output.suffix.lower())
        if container is None:
            known = ", ".join(CONTAINERS)
            raise UsageError(f"{job.named_output} has no extension that VSR writes; use one of {known}")
    job.settings(choose_codec(None, None, container)).check(container or "matroska")
    return False


def _check_model(job: Job, scale: int) -> None:
    if job.weights is None:
        network = find(job.model, scale, job.precision).network
    else:
        weights = load_file(job.weights, scale)
        if job.precision == "int8":
            weights.int8_pixel_shuffle()  # raises where there is none
        network = weights.network
    engine_choice(job.engine, job.precision, network=network)


def _makes_picture(job: Job) -> bool:
    """Whether the output is a still picture: where ``-o`` names one, or names nothing and the input is one.

    Raises ``UsageError`` for a picture of a video that is not compared, and for options that pictures have not.
    """
    form = still_format(job.input)
    target = job.named_output
    if target is None:
        if form is None:
            return False
    elif target.suffix.lower() not in PICTURES:
        return False
    elif form is None and not job.compare and os.path.exists(job.input):
        raise UsageError(f"{target} is a picture's name, and {job.input} is no picture; name a video, as .mkv")
    options: dict[str, object] = {
        "codec": job.codec, "crf": job.crf, "preset": job.preset, "encoder option": job.encoder_options or None,
    }
    if form is None:
        picture = target
        options["end"] = job.cut and job.cut.end
    else:
        picture = job.input
        options |= {"stream": job.stream, "cut": job.cut, "frame rate": job.rate}
    if given := [name for name, value in options.items() if value is not None]:
        raise UsageError(f"{picture} is a picture: it has no {' or '.join(given)}")
    return True


def composition(job: Job, upscaled: Resolution, chroma: tuple[int, int] | None, orientation: int) -> Resolution:
    """What is written of what the source becomes; ``chroma`` and ``orientation`` are those of `vsr.compare`."""
    if job.compare is None:
        return upscaled
    width, height = composed_size(job.compare, (upscaled.width, upscaled.height), chroma, orientation)
    return replace(upscaled, width=width, height=height)


def picture_target(job: Job, resolution: Resolution) -> Path:
    """Where a picture goes: ``-o`` where it names a file, else as ``plan`` says, with the input's extension where it is
    its format's, else the format's own."""
    if job.named_output is not None:
        return job.named_output
    form, suffix = still_format(job.input), job.input.suffix
    if PICTURES.get(suffix.lower()) != form:
        suffix = next(own for own, which in PICTURES.items() if which == form)
    return _beside(job, resolution, suffix)


def is_free(job: Job, target: Path, taken: Collection[Path]) -> bool:
    """Whether ``target`` may be made; False where it is made and ``skip_existing`` says to keep it.

    Raises ``OutputError`` where it is the input or one of ``taken``.
    """
    if os.path.exists(job.input) and os.path.exists(target) and job.input.samefile(target):
        raise OutputError(f"{target} is the input; give another output")
    place = os.path.realpath(target)
    if any(os.path.realpath(other) == place for other in taken):
        raise OutputError(f"{target} is another input or output of this run; give another output")
    return not (job.skip_existing and os.path.lexists(target))


def _beside(job: Job, resolution: Resolution, suffix: str) -> Path:
    tag = f"x{job.scale}" if job.size is None else f"{resolution.width}x{resolution.height}"
    folder = job.input.parent if job.output is None else job.output
    stem = job.input.stem
    if image_sequence(job.input):
        stem = re.sub(r"[ _.-]*%\d*d", "", stem) or folder.resolve().name
    facts = {"name": stem, "tag": tag, "scale": resolution.factor, "width": resolution.width,
             "height": resolution.height, "model": job.weights.stem if job.weights else job.model}
    name = re.sub(r"\{(\w+)\}", lambda match: str(facts[match[1]]), job.name)
    numbered = (f"{name} ({number}){suffix}" for number in itertools.count(2))
    target = folder / f"{name}{suffix}"
    while job.keep_both and os.path.lexists(target):
        target = folder / next(numbered)
    return target


def plan(job: Job, source: Decoder) -> Plan:
    """What ``job`` becomes with ``source``.

    Its output is ``-o`` where that names a file, else as ``job.name`` says, in its folder or beside the input. The
    extension is the input's where that container holds the codec and every stream of the source, else ``.mkv``. Raises
    ``InputError`` for a size that the source has already, ``UsageError`` for options that do not fit the encoder that
    the source asks for.
    """
    resolution = resolve(source.info, job.size or job.scale, job.input, job.factors)
    if job.size is not None:
        _check_model(job, resolution.factor)
    warnings = [resolution.warning] if resolution.warning else []
    target = job.named_output
    if target is not None:
        container = CONTAINERS[target.suffix.lower()]
        settings = job.settings(choose_codec(source.layout, source.info, container))
    else:
        settings = job.settings(choose_codec(source.layout, source.info, None))
        suffix = job.input.suffix
        container = CONTAINERS.get(suffix.lower(), "")
        if not container or not fits(settings.encoder(), container):
            suffix, container = ".mkv", "matroska"
        elif kept := [*map(describe, only_in_matroska(container, source)), *_not_in_avi(container, source)]:
            what = ", ".join(kept)
            warnings.append(("container", f"{job.input}: {suffix} cannot hold {what}; written as Matroska"))
            suffix, container = ".mkv", "matroska"
        target = _beside(job, resolution, suffix)
    settings.check(container)
    written = composition(job, resolution, source.layout.chroma, source.orientation)
    return Plan(target, container, settings, resolution, written, tuple(warnings))


def _not_in_avi(container: str, source: Decoder) -> list[str]:
    """In words, what of ``source`` is not as AVI has it, which counts frames from 0 on; where that is the container."""
    if container != "avi":
        return []
    if source.container.format.name != "avi":
        return ["frames at times of their own"]
    return ["a first frame later than 0"] if source.info.start else []


class Control:
    """Whether a job goes on. ``paused_s`` is how long it stood still, in seconds."""

    def __init__(self, path: Path, cancel: threading.Event | None, pause: threading.Event | None) -> None:
        self.paused_s = 0.0
        self._path = path
        self._cancel = cancel or threading.Event()
        self._pause = pause

    def check(self) -> None:
        """Raise ``Cancelled`` where that is asked for."""
        if self._cancel.is_set():
            raise Cancelled(f"{self._path}: cancelled; nothing is left behind")

    def obey(self) -> None:
        """Stand still while a pause is asked for, then ``check``."""
        arrived = time.monotonic()
        while self._pause is not None and self._pause.is_set() and not self._cancel.wait(_PAUSE_S):
            pass
        self.paused_s += time.monotonic() - arrived
        self.check()


def engine_for(job: Job, factor: int, bits: int, full_range: bool, engines: Callable[..., Engine]) -> Engine:
    """The engine of ``job``; ``engines`` opens it."""
    model = load_file(job.weights, factor) if job.weights else job.model
    kind = {"precision": job.precision, "engine": job.engine, "threads": job.threads}
    return engines(model, factor, bits=bits, full_range=full_range, **kind)


def members_for(job: Job, engine: Engine) -> tuple[Weights, ...]:
    """The weights among which ``engine``'s change from frame to frame, where the model of ``job`` is a family."""
    return () if job.weights else load_members(job.model, engine.scale, engine.precision)


def complete(
    path: Path,
    made: Iterable[tuple[PartFile, tuple[Check, ...], dict[str, float] | None]],
    frames: int,
    seconds: Callable[[], float],
    emit: Callable[[Event], None],
    reused: float = 0.0,
) -> list[Done]:
    """Give every file that passed its checks its name, and the others one that says that they did not. ``made`` are the
    files, their checks, and the shares of the members that made them; the rest is as in `Done`.

    Raises ``CheckError`` for those in the end.
    """
    done, wrong = [], []
    for part, checks, members in made:
        target = part.target
        if failed := [check for check in checks if not check.ok]:
            kept = target.with_name(f"{target.stem}.failed-check{target.suffix}")
            part.keep_as(kept)
            said = "; ".join(f"{check.name} is {check.got}, not {check.expected}" for check in failed)
            wrong.append(f"{kept} failed the self-check: {said}")
        else:
            part.commit()
            done.append(Done(path, target, frames, seconds(), checks, reused, members))
            emit(done[-1])
    if wrong:
        raise CheckError("; ".join(wrong))
    return done
