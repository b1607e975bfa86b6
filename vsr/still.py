"""A picture job: read ▶ upscale ▶ write, then a look at what was made."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vsr.engines import Engine
from vsr.errors import InputError
from vsr.events import Done, Event, Progress, Started, Warned
from vsr.job import Control, Job, complete, engine_for, is_free, picture_target
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
from vsr.size import Shape, resolve
from vsr.upscale import Upscaler


def run_stills(
    jobs: Sequence[Job],
    emit: Callable[[Event], None],
    control: Control,
    taken: Collection[Path],
    engines: Callable[..., Engine],
) -> list[Done]:
    """Upscale one picture, once for each job; what is told, raised and left behind is as with a video of one frame."""
    begun = time.monotonic()
    clock = [time.perf_counter()]
    path = jobs[0].input
    source = read_picture(path)
    shape = Shape(*source.size, source.metadata.rotation_degrees)
    frame = to_frame(source.pixels)
    clock.append(time.perf_counter())
    for code, message in source.warnings:
        emit(Warned(path, code, message))
    made: list[tuple[PartFile, tuple[Check, ...]]] = []
    with contextlib.ExitStack() as stack:
        for job in jobs:
            control.obey()
            resolution = resolve(shape, job.size or job.scale, path)
            target = picture_target(job, resolution)
            if not is_free(job, target, [*taken, *(part.target for part, _ in made)]):
                emit(Warned(path, "skipped", f"{target} exists already; skipped"))
                continue
            width, height = resolution.width, resolution.height
            check_writable(target, width, height)
            part = PartFile(target, job.overwrite)
            with engine_for(job, resolution.factor, BITS, True, engines) as engine:
                form = PICTURES[target.suffix.lower()]
                emit(
                    Started(
                        input=path, output=target, width=width, height=height, scale=resolution.factor,
                        model=engine.model, engine=engine.name, precision=engine.precision, codec=form, frames=1,
                        estimate=None,
                    )
                )
                upscaler = Upscaler(engine, (0, 0) if len(frame.planes) == 3 else None, 0, width, height)
                pixels = to_pixels(upscaler(frame), source.bits)
            clock.append(time.perf_counter())
            control.check()
            stack.push(part)
            part.create()
            picture = fitted(replace(source, pixels=pixels), form)
            write_picture(part.path, picture)
            clock.append(time.perf_counter())
            emit(_progress(path, clock))
            for warning in (resolution.warning, *engine.warnings, *picture.warnings):
                if warning:
                    emit(Warned(path, *warning))
            control.check()
            made.append((part, _checks(part.path, picture, width, height)))
        return complete(path, made, 1, lambda: time.monotonic() - begun - control.paused_s, emit)


def _progress(path: Path, clock: list[float]) -> Progress:
    """Of the output that was written last."""
    ms = [1000 * (end - begin) for begin, end in itertools.pairwise([*clock[:2], *clock[-2:]])]
    stage_ms = dict(zip(("decode", "upscale", "encode"), ms, strict=True))
    return Progress(path, 1, 1, 1000 / max(sum(ms), 1e-3), 0.0, stage_ms, max(stage_ms, key=stage_ms.__getitem__))


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
