"""A picture job: read ▶ upscale ▶ write, then a look at what was made."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from vsr.engines import Engine
from vsr.errors import Cancelled, CheckError, InputError, OutputError, UsageError
from vsr.media.partfile import PartFile
from vsr.media.picture import (
    BITS,
    PICTURES,
    Picture,
    check_writable,
    fitted,
    read_picture,
    still_format,
    to_frame,
    to_pixels,
    write_picture,
)
from vsr.media.verify import Check
from vsr.models.catalogue import load_file
from vsr.pipeline import Done, Event, Job, Progress, Started, Warned
from vsr.upscale import Upscaler


def still_target(job: Job) -> Path | None:
    """Where ``job`` writes a picture; None where what it makes is a video.

    ``-o`` where it names a picture, else ``NAME_x2.EXT`` in its folder or beside the input, with the input's extension
    where it is its format's, else the format's own. Raises ``UsageError`` for a picture of a video, and for options
    that pictures have not.
    """
    form = still_format(job.input)
    named = None if job.output is None or os.path.isdir(job.output) else job.output
    if named is not None:
        if named.suffix.lower() not in PICTURES:
            return None
        if form is None and os.path.exists(job.input):
            raise UsageError(f"{named} is a picture's name, and {job.input} is no picture; name a video, as .mkv")
        target = named
    else:
        if form is None:
            return None
        suffix = job.input.suffix
        if PICTURES.get(suffix.lower()) != form:
            suffix = next(own for own, which in PICTURES.items() if which == form)
        folder = job.input.parent if job.output is None else job.output
        target = folder / f"{job.input.stem}_x{job.scale}{suffix}"
    options = {"codec": job.codec, "crf": job.crf, "preset": job.preset, "encoder option": job.encoder_options or None}
    if given := [name for name, value in options.items() if value is not None]:
        raise UsageError(f"{job.input} is a picture: it has no {' or '.join(given)}")
    return target


def run_still(
    job: Job,
    target: Path,
    emit: Callable[[Event], None],
    cancel: threading.Event,
    engines: Callable[..., Engine],
) -> Done:
    """Upscale one picture into ``target``; what is told, raised and left behind is as with a video of one frame."""
    if os.path.exists(job.input) and os.path.exists(target) and job.input.samefile(target):
        raise OutputError(f"{target} is the input; give another output")
    part = PartFile(target, job.overwrite)
    begun = time.monotonic()
    clock = [time.perf_counter()]
    source = read_picture(job.input)
    width, height = (side * job.scale for side in source.size)
    check_writable(target, width, height)
    frame = to_frame(source.pixels)
    clock.append(time.perf_counter())
    model = load_file(job.weights, job.scale) if job.weights else job.model
    with (
        engines(model, job.scale, bits=BITS, full_range=True, precision=job.precision, engine=job.engine,
                threads=job.threads) as engine,
        part,
    ):
        form = PICTURES[target.suffix.lower()]
        named = engine.model, engine.name, engine.precision, form
        emit(Started(job.input, target, width, height, job.scale, *named, 1))
        _obey(job, cancel)
        upscaler = Upscaler(engine, (0, 0) if len(frame.planes) == 3 else None, 0, width, height, job.threads)
        pixels = to_pixels(upscaler(frame), source.bits)
        del frame
        clock.append(time.perf_counter())
        _obey(job, cancel)
        made = fitted(replace(source, pixels=pixels), form)
        write_picture(part.path, made)
        clock.append(time.perf_counter())
        emit(_progress(job, clock))
        for code, message in (*source.warnings, *made.warnings):
            emit(Warned(job.input, code, message))
        _obey(job, cancel)
        checks = _checks(part.path, made, width, height)
        if failed := [check for check in checks if not check.ok]:
            kept = target.with_name(f"{target.stem}.failed-check{target.suffix}")
            part.keep_as(kept)
            wrong = "; ".join(f"{check.name} is {check.got}, not {check.expected}" for check in failed)
            raise CheckError(f"{kept} failed the self-check: {wrong}")
        part.commit()
    done = Done(job.input, target, 1, time.monotonic() - begun, checks)
    emit(done)
    return done


def _obey(job: Job, cancel: threading.Event) -> None:
    if cancel.is_set():
        raise Cancelled(f"{job.input}: cancelled; nothing is left behind")


def _progress(job: Job, clock: list[float]) -> Progress:
    ms = [1000 * (end - begin) for begin, end in itertools.pairwise(clock)]
    stage_ms = dict(zip(("decode", "upscale", "encode"), ms, strict=True))
    return Progress(job.input, 1, 1, 1000 / max(sum(ms), 1e-3), 0.0, stage_ms, max(stage_ms, key=stage_ms.__getitem__))


def _checks(path: Path, made: Picture, width: int, height: int) -> tuple[Check, ...]:
    """The finished file, decoded again, beside what was to be written."""
    try:
        got = read_picture(path)
    except InputError as error:
        return (Check("readable", False, True, str(error)),)
    pairs = {
        "size": (f"{width}x{height}", f"{got.size[0]}x{got.size[1]}"),
        "format": (made.format, got.format),
        "channels": (made.channels, got.channels),
        "bits": (made.bits, got.bits),
    }
    checks = [Check("readable", True, True, True)]
    checks += [Check(name, expected == found, expected, found) for name, (expected, found) in pairs.items()]
    for name in ("exif", "icc", "xmp"):
        expected, found = (getattr(picture.metadata, name) for picture in (made, got))
        if expected:
            said = [f"{len(data or b'')} bytes" for data in (expected, found)]
            checks.append(Check(name, expected == found, *said))
    if made.lossless:
        same = np.array_equal(made.pixels, got.pixels)
        checks.append(Check("pixels", same, "all equal", "all equal" if same else "others"))
    return tuple(checks)
