"""A picture job: read ▶ upscale ▶ write, then a look at what was made. Frames of videos as pictures."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from vsr.compare import Comparer
from vsr.engines import Engine
from vsr.errors import InputError, UsageError
from vsr.events import Done, Event, Progress, Started, Warned
from vsr.frame import Color, Frame, VideoInfo, turned
from vsr.job import Control, Job, complete, composition, engine_for, is_free, members_for, picture_target
from vsr.media.codecs import choose_codec
from vsr.media.decode import IMAGE_RATE, Decoder
from vsr.media.partfile import PartFile
from vsr.media.picture import (
    BITS,
    PICTURES,
    Metadata,
    Picture,
    check_writable,
    fitted,
    read_picture,
    seen_color,
    still_format,
    to_frame,
    to_pixels,
    write_picture,
)
from vsr.media.pixels import FULL_RANGE
from vsr.media.reel import Reel
from vsr.media.verify import Check
from vsr.size import Resolution, Shape, resolve
from vsr.upscale import Size, Upscaler, whole_chroma

_HDR, _WIDE, _UNSPECIFIED = (16, 18), (9, 11, 12), 2  # PQ, HLG; BT.2020, P3; as AVCOL_TRC_* and AVCOL_PRI_*
_LOOK_SHARE, _LOOK_S = 10, Fraction(10)  # where a look is taken: first frames are often black


def run_stills(
    jobs: Sequence[Job],
    emit: Callable[[Event], None],
    control: Control,
    taken: Collection[Path],
    engines: Callable[..., Engine],
) -> list[Done]:
    """Upscale one picture, or the first frame of a video, once for each job; what is told, raised and left behind is as
    with a video of one frame."""
    begun = time.monotonic()
    clock = [time.perf_counter()]
    path = jobs[0].input
    source = _read(jobs[0], control)
    frame, chroma, orientation = source.frame, source.chroma, source.orientation
    clock.append(time.perf_counter())
    for code, message in source.warnings:
        emit(Warned(path, code, message))
    made: list[tuple[PartFile, tuple[Check, ...], dict[str, float] | None]] = []
    with contextlib.ExitStack() as stack:
        for job in jobs:
            control.obey()
            upscaled = resolve(source.shape, job.size or job.scale, path, job.factors)
            resolution = composition(job, upscaled, chroma, orientation)
            target = picture_target(job, resolution)
            if not is_free(job, target, [*taken, *(part.target for part, *_ in made)]):
                emit(Warned(path, "skipped", f"{target} exists already; skipped"))
                continue
            width, height = size = source.written(resolution)
            check_writable(target, width, height)
            part = PartFile(target, job.overwrite)
            with engine_for(job, resolution.factor, frame.bits, frame.color.range == FULL_RANGE, engines) as engine:
                form = PICTURES[target.suffix.lower()]
                emit(
                    Started(
                        input=path, output=target, width=width, height=height, scale=resolution.factor,
                        model=engine.model, engine=engine.name, precision=engine.precision, codec=form, frames=1,
                        estimate=None,
                    )
                )
                how = engine, chroma, frame.color.chroma_location, upscaled.width, upscaled.height
                members = members_for(job, engine)
                if job.compare is None:
                    upscaler = Upscaler(*how, members)
                else:
                    upscaler = Comparer(*how, job.compare, frame.color, orientation, members)
                made_frame = upscaler(frame)
                if source.picture is None:
                    picture = picture_of(made_frame, orientation)
                else:
                    picture = replace(source.picture, pixels=to_pixels(made_frame, source.picture.bits))
                picture = fitted(picture, form)
            clock.append(time.perf_counter())
            control.check()
            stack.push(part)
            part.create()
            write_picture(part.path, picture)
            clock.append(time.perf_counter())
            emit(_progress(path, clock))
            for warning in (upscaled.warning, *engine.warnings, *picture.warnings):
                if warning:
                    emit(Warned(path, *warning))
            control.check()
            made.append((part, _checks(part.path, picture, size), upscaler.shares))
        return complete(path, made, 1, lambda: time.monotonic() - begun - control.paused_s, emit)


@dataclass(frozen=True, slots=True)
class _Source:
    """What is to be upscaled, of what ``shape``, subsampling and EXIF orientation; ``picture`` as its file holds it,
    None for a frame of a video, of which an upright picture is made."""

    frame: Frame
    shape: Shape | VideoInfo
    chroma: tuple[int, int] | None
    orientation: int
    picture: Picture | None
    warnings: tuple[tuple[str, str], ...]

    def written(self, resolution: Resolution) -> Size:
        """Width and height of the file."""
        size = resolution.width, resolution.height
        return size[::-1] if self.picture is None and self.orientation > 4 else size


def _read(job: Job, control: Control) -> _Source:
    if still_format(job.input) or not job.compare:
        picture = read_picture(job.input)
        frame, orientation = to_frame(picture.pixels), picture.metadata.orientation
        shape = Shape(*picture.size, picture.metadata.rotation_degrees)
        chroma = (0, 0) if len(frame.planes) == 3 else None
        return _Source(frame, shape, chroma, orientation, picture, picture.warnings)
    rate = job.rate or IMAGE_RATE
    how = partial(Decoder, stream=job.stream, deinterlace=job.deinterlace, rate=rate, check=control.check)
    with how(job.input, job.cut) as video:
        info = video.info
        frame = next(item for item in video if isinstance(item, Frame))
        frame = replace(frame, color=seen_color(frame.color, info.width, info.height))
        return _Source(frame, info, video.layout.chroma, video.orientation, None, tuple(video.warnings))


def picture_of(frame: Frame, orientation: int = 1) -> Picture:
    """A frame of a video as a PNG is to hold it: upright by EXIF's ``orientation``, 8 bits or 16; colours that are not
    a screen's usual ones are said. See `seen_color` for a frame whose ``color`` says no matrix."""
    pixels = to_pixels(whole_chroma(frame), 8 if frame.bits == 8 else BITS)
    color = frame.color
    told: tuple[tuple[bytes, bytes], ...] = ()
    if (color.transfer in _HDR or color.primaries in _WIDE) and _UNSPECIFIED not in (color.transfer, color.primaries):
        told = ((b"cICP", bytes([color.primaries, color.transfer, 0, 1])),)
    return Picture(np.ascontiguousarray(turned(pixels, orientation)), "png", True, Metadata(native=told))


def on_screen(frame: Frame, shrink: int = 1) -> np.ndarray:
    """What `picture_of` makes of a frame, for a screen: (H, W, 4) uint8 BGRA, opaque and as it is stored. With
    ``shrink`` its sides are so many times smaller (rounded down), by means, for screens that show no more."""
    import cv2

    pixels = to_pixels(replace(whole_chroma(frame), alpha=None), 8)
    if shrink > 1:
        size = max(1, frame.width // shrink), max(1, frame.height // shrink)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGRA if pixels.ndim == 2 else cv2.COLOR_BGR2BGRA)


def difference(one: Frame, other: Frame, times: int = 8) -> Frame:
    """How far two frames of one depth differ in luma, as many ``times`` larger: full-range grey, of the size that both
    have."""
    import cv2

    height, width = np.minimum(one.luma.shape, other.luma.shape)
    apart = cv2.absdiff(one.luma[:height, :width], other.luma[:height, :width])
    plane = np.minimum(apart.astype(np.uint32) * times, 2**one.bits - 1).astype(apart.dtype)
    return replace(one, planes=(plane,), color=Color(range=FULL_RANGE), alpha=None)


@dataclass(frozen=True, slots=True)
class Look:
    """What a list shows of a file: ``thumbnail`` (h, w, 3), RGB uint8, upright; ``shape`` for `vsr.size.resolve`.
    ``at`` is its time in seconds, None of a still picture, as are ``frames`` and ``duration_s`` where they are not
    known; ``codec`` is what a job takes for it that names none."""

    thumbnail: np.ndarray
    shape: Shape | VideoInfo
    codec: str
    at: Fraction | None = None
    frames: int | None = None
    duration_s: Fraction | None = None


def look(path: Path, side: int, at: Fraction | None = None, check: Callable[[], None] = lambda: None) -> Look:
    """A look at the video or picture in ``path``, its frame at ``at`` (None: a tenth of its way, where that is short)
    no longer than ``side`` pixels. ``check`` may raise, to stop. Raises ``InputError``."""
    if form := still_format(path):
        picture = read_picture(path)
        orientation = picture.metadata.orientation
        pixels = np.atleast_3d(_shrunk(picture.pixels, *_fitting(*picture.size, side)))
        if picture.bits > 8:
            pixels = (pixels >> 8).astype(np.uint8)
        if picture.channels == 4:
            pixels = (pixels[..., :3].astype(np.uint16) * pixels[..., 3:] // 255).astype(np.uint8)
        return Look(_rgb(pixels, orientation), Shape(*picture.size, picture.metadata.rotation_degrees), form)
    with Reel(path, 0, check=check) as reel:
        info = reel.info
        if at is None:
            at = min((reel.duration_s or Fraction(0)) / _LOOK_SHARE, _LOOK_S) if reel.can_seek else Fraction(0)
        frame = reel.at(at)
        width, height = _fitting(frame.width * (info.sample_aspect or 1), frame.height, side)
        planes = tuple(_shrunk(plane, width, height) for plane in frame.planes)
        color = seen_color(frame.color, info.width, info.height)
        pixels = to_pixels(replace(frame, planes=planes, alpha=None, color=color), 8)
        codec = choose_codec(reel.layout, info, None)
        frames = info.frames or (round(reel.duration_s * info.rate) if reel.duration_s and info.rate else None)
        return Look(_rgb(pixels, reel.orientation), info, codec, at, frames, reel.duration_s)


def _fitting(width: float | Fraction, height: int, side: int) -> tuple[int, int]:
    ratio = min(1, side / max(width, height))
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _shrunk(plane: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)


def _rgb(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """From grey or BGR (h, w, c)."""
    color = pixels[..., ::-1] if pixels.shape[2] == 3 else np.repeat(pixels, 3, 2)
    return np.ascontiguousarray(turned(color, orientation))


def save_picture(picture: Picture, target: Path, overwrite: bool = False) -> None:
    """Write ``picture`` as the format that ``target``'s extension names; there is a file when it is complete.

    Raises ``UsageError`` for an extension of no picture, ``OutputError``.
    """
    form = PICTURES.get(target.suffix.lower())
    if form is None:
        raise UsageError(f"{target} has no extension of a picture; use one of {', '.join(PICTURES)}")
    check_writable(target, *picture.size)
    with PartFile(target, overwrite) as part:
        write_picture(part.path, fitted(picture, form))
        part.commit()


def _progress(path: Path, clock: list[float]) -> Progress:
    """Of the output that was written last."""
    ms = [1000 * (end - begin) for begin, end in itertools.pairwise([*clock[:2], *clock[-2:]])]
    stage_ms = dict(zip(("decode", "upscale", "encode"), ms, strict=True))
    return Progress(path, 1, 1, 1000 / max(sum(ms), 1e-3), 0.0, stage_ms, max(stage_ms, key=stage_ms.__getitem__))


def _checks(path: Path, made: Picture, size: Size) -> tuple[Check, ...]:
    """The finished file, decoded again, beside what was to be written."""
    try:
        got = read_picture(path)
    except InputError as error:
        return (Check("readable", False, True, str(error)),)
    pairs = {
        "size": (f"{size[0]}x{size[1]}", f"{got.size[0]}x{got.size[1]}"),
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
