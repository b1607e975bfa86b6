"""Decoding: one input as frames of its main video, and the packets of its other streams, in the file's order."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.codec.context import ThreadType
from av.stream import Disposition, Stream
from av.video.frame import PictureType
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from vsr.errors import InputError
from vsr.frame import Frame, VideoInfo
from vsr.media.cut import Cut, Trimmer, beginning
from vsr.media.deinterlace import Deinterlacer
from vsr.media.pixels import Layout, Planar, layout_for, views
from vsr.media.probe import (
    IMAGE_RATE,
    UNSAFE_SIDE_DATA,
    can_be_transparent,
    decode,
    decoder_of,
    image_sequence,
    main_video,
    open_input,
    side_data,
    video_info,
)
from vsr.media.quantizer import Quantizers
from vsr.media.sound import SoundDecoder

_HOPELESS = 500  # packets without a single picture after which a file is given up
_DEMUX_RETRIES = 16  # damaged places in a row, without a packet between them, after which the file counts as ended
_MOST_CHANGES = 8  # of size or format that are told one by one
_ABSURD_AREA = 16  # times the first picture's: a larger one comes of damage
_PRIMING_S = Fraction(1, 4)  # what a sound's decoder may need before 0
_LEAST_SIDE = 16  # as does a smaller one, unless the first is
# Side data of pictures that no output carries: how each is called
_LOST = {
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
}


class Decoder:
    """An open input; iterate once over its decoded frames and the packets of the ``copied`` streams. Of a ``cut`` only
    these are given, the first frame at time 0.

    ``path`` is a file or, as a printf pattern (``shots/frame_%04d.png``), an image sequence of ``rate`` pictures a
    second. ``stream`` is the index of the video to decode, None for the main one; ``deinterlace`` is "auto" (what says
    that it is interlaced), "on" (all) or "off". ``check`` is called for every packet and may raise, to stop.

    ``info`` describes the video, ``layout`` the planes of its frames (formats that are not planar YUV are converted).
    ``copied`` is a set of input streams to choose before iterating: their packets are yielded between the frames, in
    the order of the file. Every decoded frame comes exactly once, in presentation order, with its own pts, to the very
    last one. Where the size changes midway frames come in their own, where the format does in ``layout``; a size that
    only damage explains is left out. ``warnings`` collects (code, message) pairs; ``damaged`` counts what could not be
    decoded, ``unshown`` the pictures that an edit list leaves out.

    Raises ``UsageError`` for an unknown ``deinterlace``, ``InputError`` where the file cannot be read, has no such
    stream or holds no picture (in the cut) that can be decoded.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        cut: Cut | None = None,
        *,
        stream: int | None = None,
        deinterlace: str = "auto",
        rate: Fraction = IMAGE_RATE,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._check = check
        self.path = Path(path)
        self.copied: set[Stream] = set()
        self.sounds: dict[Stream, SoundDecoder] = {}  # of streams that the outputs encode again
        self.warnings: deque[tuple[str, str]] = deque()
        self.damaged = 0
        self._blind = True  # until there is a picture
        self.unshown = 0
        self._deinterlacer = Deinterlacer(deinterlace)
        self._shrink = VideoReformatter()
        self._told: set[str] = set()  # codes of the warnings that are given once
        self._changes = 0
        self._last_pts: int | None = None
        self._clock = 0  # pts for the next frame where the source has none
        self.untimed = False  # whether a picture came whose time nothing but its place in the file tells
        self._from: int | None = None  # pts of the keyframe that was sought: what is shown before it lacks others
        with contextlib.ExitStack() as stack:
            self._sequence = image_sequence(self.path)
            self._size = self._file_size()
            self.container = stack.enter_context(open_input(self.path, rate))
            video = main_video(self.container, stream)
            if video is None:
                raise InputError(f"{self.path} holds no video; give a file with a picture")
            self.stream = video
            self._codec = decoder_of(video)
            # Frame threads would lose the pictures in flight where one near the end is damaged.
            self._codec.thread_type = ThreadType.SLICE
            self._codec.options = {"export_side_data": "venc_params"}
            self._quantizers = Quantizers(video.codec_context.codec.canonical_name)
            self._trimmer = Trimmer(cut, self.container, video) if cut else None
            self._covers: dict[Stream, bytes] = {}
            self._items = self._decoded()
            # The first picture tells what the container may not: size, format, rotation.
            self._pending: deque[av.Packet | av.VideoFrame] = deque()
            picture = self._first_picture()
            self.info: VideoInfo = video_info(video, picture)
            stamps = (stamp for stamp in (picture.pts, picture.dts, self.info.start) if stamp is not None)
            self.info = replace(self.info, start=next(stamps, None))
            if self.info.alpha and not can_be_transparent(self.path, video):
                self.info = replace(self.info, alpha=False)
            if self.container.format.name == "avi":
                self.info = replace(self.info, frames=None)  # a count of ticks: it includes those without a frame
            if self._sequence:
                self.info = replace(self.info, frames=self._sequence.count)
            self.layout: Layout = replace(layout_for(picture.format.name), alpha=self.info.alpha)
            try:
                converted = Planar(self.layout)(picture)
            except ValueError as error:
                raise InputError(f"{self.path}: {error}; convert it to another with ffmpeg -pix_fmt") from error
            if converted is not picture:
                color = replace(self.info.color, range=int(converted.color_range), space=int(converted.colorspace))
                self.info = replace(self.info, color=color)
            self._planar = Planar(self.layout, self.info.color)
            self._shape = _shape(picture)
            self._tags = self._tags_of(picture)
            self.display_matrix = _display_matrix(picture, self.info.codec not in UNSAFE_SIDE_DATA)
            self._finished: Iterator[Frame | av.Packet] = self._finish()
            self._later = Fraction(0)  # than in the file, in seconds
            if cut:
                self._begin(cut)
            else:
                self._begin_at_0()
            self._close = stack.pop_all().close

    def _begin(self, cut: Cut) -> None:
        """Go on to the first frame of the cut."""
        assert self._trimmer is not None
        length = Fraction(self.container.duration, av.time_base) if self.container.duration else None
        trimmed = self._trimmer.items(self._finished)
        first = next(trimmed, None)
        if first is None:
            lasts = f"; it lasts {float(length):.3f} s" if length else ""
            raise InputError(f"{self.path} has no picture {cut}{lasts}")
        self._finished = itertools.chain([first], trimmed)
        self.damaged = self.unshown = 0  # of what lies before
        ends = [end for end in (cut.end, length) if end is not None]
        ticks = round((min(ends) - cut.start) / self.info.time_base) if ends else None
        self.info = replace(self.info, frames=None, start=0, duration=ticks)

    def _begin_at_0(self) -> None:
        """Move everything together where it begins before 0, as FFmpeg has it of streams whose clock turns over soon:
        hardly a container holds that. What comes before 0 for a decoder to begin with, as of AAC, is left alone."""
        begin = (self.info.start or 0) * self.info.time_base
        if begin >= 0 and beginning(self.container) >= -_PRIMING_S:
            return
        self._later = -min(begin, beginning(self.container))
        self._finished = map(self._moved, self._finished)
        self.info = replace(self.info, start=(self.info.start or 0) + round(self._later / self.info.time_base))
        self._warn("moved", f"it begins {float(self._later):.3f} s before 0, and all of it is moved to begin there")

    def _moved(self, item: Frame | av.Packet) -> Frame | av.Packet:
        ticks = round(self._later / item.time_base)
        if isinstance(item, Frame):
            return replace(item, pts=None if item.pts is None else item.pts + ticks)
        item.pts, item.dts = (None if stamp is None else stamp + ticks for stamp in (item.pts, item.dts))
        return item

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pending.clear()
        self._finished = iter(())
        self._items.close()
        self._close()

    @property
    def orientation(self) -> int:
        """How the picture is to be shown, as EXIF counts it: 1 to 8."""
        a, b, _, c, d, *_ = self.display_matrix or (1, 0, 0, 0, 1)  # shown x is a·x + c·y, shown y is b·x + d·y
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return {(False, False): 1, (True, False): 2, (True, True): 3, (False, True): 4}[a < 0, d < 0]
        return {(False, False): 5, (True, False): 6, (True, True): 7, (False, True): 8}[c < 0, b < 0]

    @property
    def origin(self) -> Fraction:
        """The time that players show as 0, in seconds as the frames have it."""
        return beginning(self.container) + self._later

    @property
    def settles(self) -> int:
        """How many frames behind a keyframe that was sought may differ, in picture or time, from those that come there
        from the beginning: the deinterlacer looks back, and so does whoever mends times."""
        return 2 if {"deinterlaced", "no_pts"} & self._told or self._deinterlacer.mode == "on" else 0

    def seek(self, time: Fraction) -> None:
        """Go on with a keyframe that the container finds at ``time`` (in seconds as the frames have it) or before it;
        it may err. Not for a cut. Raises ``InputError`` where the container cannot be sought in."""
        self._items.close()
        self._pending.clear()
        try:
            self.container.seek(math.floor((time - self._later) / self.info.time_base), stream=self.stream)
        except (av.error.FFmpegError, OverflowError) as error:
            raise InputError(f"{self.path} cannot be sought in ({error})") from error
        self._codec.flush_buffers()
        self._deinterlacer = Deinterlacer(self._deinterlacer.mode)
        self._last_pts, self._clock = None, 0
        # A program stream gives packets wrong times until its parser has found its way.
        self._items = self._decoded(sought=2 if self.container.format.name == "mpeg" else 1)
        self._finished = map(self._moved, self._finish()) if self._later else self._finish()

    def attached_picture(self, stream: Stream) -> bytes | None:
        """The file of a cover (an input stream with that disposition); to be asked before iterating."""
        return self._covers.get(stream)

    def chapters(self) -> list[Any]:
        """The container's chapters, as PyAV has them, at the times of the frames."""
        chapters: list[Any] = self.container.chapters()
        if self._trimmer:
            return self._trimmer.chapters(chapters)
        later = [round(self._later / chapter["time_base"]) for chapter in chapters]
        return [
            {**chapter, "start": chapter["start"] + ticks, "end": chapter["end"] + ticks}
            for chapter, ticks in zip(chapters, later, strict=True)
        ]

    def __iter__(self) -> Generator[Frame | av.Packet]:
        for item in self._finished:
            if isinstance(item, Frame) or item.stream in self.copied:
                yield item
        for stream in self.copied & self._trimmer.late if self._trimmer else ():
            said = f"video stream #{stream.index} is left out of the cut up to its first keyframe there"
            self.warnings.append(("late_stream", f"{self.path}: {said}"))

    def _finish(self) -> Generator[Frame | av.Packet]:
        while self._pending:
            yield from self._finished_items(self._pending.popleft())
        for item in self._items:
            yield from self._finished_items(item)
        for picture in self._deinterlacer.flush():
            yield self._frame(picture)
        if self._last_pts is None:  # no picture could be used
            raise self._nothing()

    def _finished_items(self, item: av.Packet | av.VideoFrame) -> Iterator[Frame | av.Packet]:
        if not isinstance(item, av.VideoFrame):
            yield item
        elif self._plausible(item):
            self._look_at(item)
            try:
                planar = self._planar(item)
            except ValueError:  # a format that cannot be converted
                self.damaged += 1
                return
            for picture in self._deinterlacer(planar):
                yield self._frame(picture)

    def _first_picture(self) -> av.VideoFrame:
        for item in self._items:
            self._pending.append(item)
            if isinstance(item, av.VideoFrame):
                self._blind = False
                return item
        raise self._nothing()

    def _nothing(self) -> InputError:
        return InputError(f"{self.path} holds no picture that can be decoded; the file is damaged")

    def _decoded(self, sought: int = 0) -> Generator[av.Packet | av.VideoFrame]:
        """From the keyframe of that number on, or from the first packet."""
        packets = self._demuxed()
        for packet in self._trimmer.packets(packets, self.copied) if self._trimmer else packets:
            if packet.stream is self.stream:
                if sought:
                    sought -= packet.is_keyframe
                    if sought or not packet.is_keyframe:
                        continue
                    self._from = packet.pts
                yield from self._decode(packet)
            else:
                if packet.stream.disposition & Disposition.attached_pic:
                    self._covers[packet.stream] = bytes(packet)
                yield packet
        yield from self._decode(None)

    def _decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        if packet:
            self._quantizers.packet(packet.size, packet.is_keyframe)
        try:
            pictures = decode(self._codec, self.stream, packet)
            if self._from is None:
                return pictures
            return [picture for picture in pictures if picture.pts is None or picture.pts >= self._from]
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            self.damaged += 1
            if self._blind and self.damaged >= _HOPELESS:
                raise self._nothing() from error
            return []

    def _demuxed(self) -> Generator[av.Packet]:
        """All packets but the empty ones (which a decoder would take for the end); goes on after damaged places."""
        retries = 0
        while retries < _DEMUX_RETRIES:
            try:
                for packet in self.container.demux():
                    self._check()
                    retries = 0
                    if packet.size:
                        self.unshown += packet.stream is self.stream and packet.is_discard
                        yield packet
                break
            except av.error.InvalidDataError:
                self.damaged += 1
                retries += 1
            except IndexError:  # PyAV's own, at the end, where a stream appeared midway
                self._warn("dropped_stream", "a stream that appears midway is left out")
                break
            except av.error.FFmpegError as error:
                if self._sequence and self._sequence.missing is not None and isinstance(error, FileNotFoundError):
                    break
                raise InputError(f"{self.path} cannot be read further ({error.strerror})") from error
        self._say_what_lies_behind()

    def _say_what_lies_behind(self) -> None:
        """Warn, at the end, of what could not be read beyond it."""
        if self._sequence and self._sequence.missing is not None:
            read = f"{self._sequence.count} pictures from number {self._sequence.first} on are read"
            self._warn("gap", f"number {self._sequence.missing} is missing; {read}, those after it are not")
        if self._file_size() != self._size:
            self._warn("growing", "the file changed while it was read; what came after its end is missing")

    def _plausible(self, picture: av.VideoFrame) -> bool:
        """Whether a picture may be one of this video, as large as it is; a change is told."""
        shape = _shape(picture)
        if shape == self._shape:
            return True
        width, height = shape[:2]
        first = self.info.width, self.info.height
        if width * height > _ABSURD_AREA * first[0] * first[1] or min(width, height) < min(_LEAST_SIDE, *first):
            self.damaged += 1
            return False
        before, self._shape = self._shape, shape
        self._changes += 1
        if self._changes <= _MOST_CHANGES:
            told = f"changes from {_name(before)} to {_name(shape)} at {self._time(picture)}"
            self.warnings.append(("changed", f"{self.path} {told}; it is brought to the first size and format"))
        elif self._changes == _MOST_CHANGES + 1:
            self.warnings.append(("changed", f"{self.path} changes more often than that; no more is said of it"))
        return True

    def _look_at(self, picture: av.VideoFrame) -> None:
        """Warn, once each, of what the output will not have as this picture has it."""
        if self._tags_of(picture) != self._tags:
            since = self._time(picture)
            self._warn("changed_tags", f"colour tags, aspect or rotation change at {since}; the first ones are kept")
        if picture.interlaced_frame:
            if self._deinterlacer.mode == "off":
                self._warn("interlaced", "the picture is interlaced, and its fields are left as they are")
            elif self._deinterlacer.mode == "auto":
                since = self._time(picture)
                self._warn("deinterlaced", f"the picture is interlaced from {since} on and deinterlaced (bwdif)")

    def _warn(self, code: str, text: str) -> None:
        """The first warning of its code."""
        if code not in self._told:
            self._told.add(code)
            self.warnings.append((code, f"{self.path}: {text}"))

    def _time(self, picture: av.VideoFrame) -> str:
        return "an unknown time" if picture.pts is None else f"{float(picture.pts * self.info.time_base):.3f} s"

    def _tags_of(self, picture: av.VideoFrame) -> tuple[object, ...]:
        colors = picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc
        return *colors, picture.rotation, self._codec.sample_aspect_ratio

    def _file_size(self) -> int | None:
        if self._sequence:
            return None
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return None

    def _frame(self, picture: av.VideoFrame) -> Frame:
        planes = views(picture)
        captions, parameters = self._beside(picture)
        between = picture.pict_type == PictureType.B
        return Frame(
            planes=planes[:3],
            bits=self.layout.bits,
            pts=self._pts(picture),
            time_base=self.info.time_base,
            duration=picture.duration or None,
            key=picture.key_frame,
            color=self.info.color,
            alpha=planes[3] if self.layout.alpha else None,
            captions=captions,
            quantizer=self._quantizers(planes[0], self.layout.bits, between, parameters),
        )

    def _beside(self, picture: av.VideoFrame) -> tuple[av.VideoFrame | None, memoryview | None]:
        """A tiny picture with the side data of this one where closed captions are among them, and what is told of the
        quantisers; what is lost is told.

        PyAV attaches no side data, but those of a picture go with it through a conversion. A picture whose side data
        were looked at is freed by the garbage collector only, so it must be the tiny one.
        """
        if self.info.codec in UNSAFE_SIDE_DATA:
            return None, None
        matrix = Colorspace.ITU709  # of no effect, but swscale refuses those that damage makes up
        tiny = self._shrink.reformat(
            picture, 16, 16, "gray", matrix, matrix, interpolation=Interpolation.POINT, threads=1
        )
        for kind, name in _LOST.items():
            if side_data(tiny, kind) is not None:
                self._warn("dynamic_hdr", f"the {name} metadata of the pictures are lost, the rest is kept")
        captions = None if side_data(tiny, "A53_CC") is None else tiny
        return captions, side_data(tiny, "VIDEO_ENC_PARAMS")

    def _pts(self, picture: av.VideoFrame) -> int:
        """The picture's own pts; where it has none or goes back, its dts, else the next moment after the last one."""
        if picture.pts is None:
            self._told.add("no_pts")
            self.untimed |= picture.dts is None
        for pts in (picture.pts, picture.dts, self._clock):
            if pts is not None and (self._last_pts is None or pts > self._last_pts):
                break
        else:
            raise AssertionError("the clock is always ahead")
        rate = self.info.rate
        step = picture.duration or (round(1 / (rate * self.info.time_base)) if rate else 1)
        self._last_pts, self._clock = pts, pts + max(1, step)
        return pts


def _shape(picture: av.VideoFrame) -> tuple[int, int, str]:
    return picture.width, picture.height, picture.format.name


def _name(shape: tuple[int, int, str]) -> str:
    return f"{shape[0]}x{shape[1]} {shape[2]}"


def _display_matrix(picture: av.VideoFrame, safe: bool) -> tuple[int, ...] | None:
    """The nine numbers of the picture's display matrix (rotation and flips), None without one.

    Of the rotation alone where its side data are not ``safe`` to look at.
    """
    with contextlib.suppress(ValueError):  # PyAV refuses all side data where there is a kind that it does not know
        if safe:
            data: Any = picture.side_data.get("DISPLAYMATRIX")
            return None if data is None else tuple(memoryview(data).cast("i"))
    if not picture.rotation:
        return None
    angle = math.radians(picture.rotation)
    c, s = round(math.cos(angle) * 65536), round(math.sin(angle) * 65536)
    return c, -s, 0, s, c, 0, 0, 0, 1 << 30
