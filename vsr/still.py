"""A picture job: read ▶ upscale ▶ write, then a look at what was made."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from vsr.engines import Engine
from vsr.errors import Cancelled, CheckError, InputError
from vsr.events import Done, Event, Progress, Started, Warned
from vsr.job import Job, is_free, picture_target
from vsr.media.partfile import PartFile
from vsr.media.picture import (
    BITS,
    PICTURES,
    Picture,
    check_writable,
    fitted,
    read_picture,
    to_frame,
    to_pixels,
    write_picture,
)
from vsr.media.verify import Check
from vsr.models.catalogue import load_file
from vsr.size import Shape, resolve
from vsr.upscale import Upscaler


def run_still(
    job: Job,
    emit: Callable[[Event], None],
    cancel: threading.Event,
    taken: Collection[Path],
    engines: Callable[..., Engine],
) -> list[Done]:
    """Upscale one picture; what is told, raised and left behind is as with a video of one frame. Nothing is done where
    its output exists and is to be kept."""
    begun = time.monotonic()
    clock = [time.perf_counter()]
    source = read_picture(job.input)
    shape = Shape(*source.size, source.metadata.rotation_degrees)
    resolution = resolve(shape, job.size or job.scale, job.input)
    target = picture_target(job, resolution)
    if not is_free(job, target, taken):
        emit(Warned(job.input, "skipped", f"{target} exists already; skipped"))
        return []
    width, height = resolution.width, resolution.height
    check_writable(target, width, height)
    part = PartFile(target, job.overwrite)
    frame = to_frame(source.pixels)
    clock.append(time.perf_counter())
    model = load_file(job.weights, resolution.factor) if job.weights else job.model
    with (
        engines(model, resolution.factor, bits=BITS, full_range=True, precision=job.precision, engine=job.engine,
                threads=job.threads) as engine,
        part,
    ):
        form = PICTURES[target.suffix.lower()]
        named = engine.model, engine.name, engine.precision, form
        emit(Started(job.input, target, width, height, resolution.factor, *named, 1, None))
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
        warnings = [resolution.warning] if resolution.warning else []
        for code, message in (*warnings, *source.warnings, *made.warnings):
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
    return [done]


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
