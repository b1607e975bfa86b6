"""Decoding: one input as frames of its main video, and the packets of its other streams, in the file's order."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.stream import Disposition, Stream

from vsr.errors import InputError
from vsr.frame import Frame, VideoInfo
from vsr.media.cut import Cut, Trimmer
from vsr.media.pixels import Layout, Planar, has_alpha, layout_for, views
from vsr.media.probe import main_video, open_input, video_info

_HOPELESS = 500  # packets without a single picture after which a file is given up
_DEMUX_RETRIES = 16  # damaged places in a row, without a packet between them, after which the file counts as ended


class Decoder:
    """An open input; iterate once over its decoded frames and the packets of the ``copied`` streams. Of a ``cut`` only
    these are given, the first frame at time 0.

    ``info`` describes the main video, ``layout`` the planes of its frames (formats that are not planar YUV are
    converted). ``copied`` is a set of input streams to choose before iterating: their packets are yielded between the
    frames, in the order of the file. Every decoded frame comes exactly once, in presentation order, with its own pts,
    to the very last one. ``warnings`` collects (code, message) pairs; ``damaged`` counts what could not be decoded,
    ``unshown`` the pictures that an edit list leaves out.

    Raises ``InputError`` where the file cannot be read or holds no picture (in the cut) that can be decoded, and, while
    iterating, where the picture changes its size or format midway.
    """

    def __init__(self, path: str | os.PathLike[str], cut: Cut | None = None) -> None:
        self.path = Path(path)
        self.copied: set[Stream] = set()
        self.warnings: deque[tuple[str, str]] = deque()
        self.damaged = 0
        self.unshown = 0
        self._last_pts: int | None = None
        self._clock = 0  # pts for the next frame where the source has none
        with contextlib.ExitStack() as stack:
            self.container = stack.enter_context(open_input(self.path))
            stream = main_video(self.container)
            if stream is None:
                raise InputError(f"{self.path} holds no video; give a file with a picture")
            self.stream = stream
            # Frame threads would lose the pictures in flight where one near the end is damaged.
            stream.thread_type = "SLICE"
            self._trimmer = Trimmer(cut, self.container, stream) if cut else None
            self._covers: dict[Stream, bytes] = {}
            self._items = self._decoded()
            # The first picture tells what the container may not: size, format, rotation.
            self._pending: deque[av.Packet | av.VideoFrame] = deque()
            picture = self._first_picture()
            self.layout: Layout = layout_for(picture.format.name)
            self._planar = Planar(self.layout)
            self.info: VideoInfo = video_info(stream, picture)
            if self.container.format.name == "avi":
                self.info = replace(self.info, frames=None)  # a count of ticks: it includes those without a frame
            converted = self._planar(picture)
            if converted is not picture:
                color = replace(self.info.color, range=int(converted.color_range), space=int(converted.colorspace))
                self.info = replace(self.info, color=color)
            self.display_matrix = _display_matrix(picture)
            if has_alpha(self.info.pix_fmt):
                self.warnings.append(("alpha", f"{self.path}: the transparency ({self.info.pix_fmt}) is dropped"))
            self._finished: Iterator[Frame | av.Packet] = self._finish()
            if cut:
                self._begin(cut)
            self._close = stack.pop_all().close

    def _begin(self, cut: Cut) -> None:
        """Go on to the first frame of the cut."""
        assert self._trimmer is not None
        length_s = self.container.duration and self.container.duration / av.time_base
        trimmed = self._trimmer.items(self._finished)
        first = next(trimmed, None)
        if first is None:
            lasts = f"; it lasts {length_s:.3f} s" if length_s else ""
            raise InputError(f"{self.path} has no picture {cut}{lasts}")
        self._finished = itertools.chain([first], trimmed)
        ends = [t for t in (cut.end, length_s and Fraction(length_s)) if t]
        ticks = round((min(ends) - cut.start) / self.info.time_base) if ends else None
        self.info = replace(self.info, frames=None, start=0, duration=ticks)

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pending.clear()
        self._finished = iter(())
        self._items.close()
        self._close()

    def attached_picture(self, stream: Stream) -> bytes | None:
        """The file of a cover (an input stream with that disposition); to be asked before iterating."""
        return self._covers.get(stream)

    def chapters(self) -> list[Any]:
        """The container's chapters, as PyAV has them, at the times of the frames."""
        chapters: list[Any] = self.container.chapters()
        return self._trimmer.chapters(chapters) if self._trimmer else chapters

    def __iter__(self) -> Generator[Frame | av.Packet]:
        for item in self._finished:
            if isinstance(item, Frame) or item.stream in self.copied:
                yield item

    def _finish(self) -> Generator[Frame | av.Packet]:
        while self._pending:
            yield self._finished_item(self._pending.popleft())
        for item in self._items:
            yield self._finished_item(item)

    def _finished_item(self, item: av.Packet | av.VideoFrame) -> Frame | av.Packet:
        return self._frame(item) if isinstance(item, av.VideoFrame) else item

    def _first_picture(self) -> av.VideoFrame:
        for item in self._items:
            self._pending.append(item)
            if isinstance(item, av.VideoFrame):
                return item
            if self.damaged >= _HOPELESS:
                break
        raise InputError(f"{self.path} holds no picture that can be decoded; the file is damaged")

    def _decoded(self) -> Generator[av.Packet | av.VideoFrame]:
        packets = self._demuxed()
        for packet in self._trimmer.packets(packets, self.copied) if self._trimmer else packets:
            if packet.stream is self.stream:
                yield from self._decode(packet)
            else:
                if packet.stream.disposition & Disposition.attached_pic:
                    self._covers[packet.stream] = bytes(packet)
                yield packet
        yield from self._decode(None)

    def _decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        try:
            return self.stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self.damaged += 1
            return []

    def _demuxed(self) -> Generator[av.Packet]:
        """All packets but the empty ones (which a decoder would take for the end); goes on after damaged places."""
        retries = 0
        while retries < _DEMUX_RETRIES:
            try:
                for packet in self.container.demux():
                    retries = 0
                    if packet.size:
                        self.unshown += packet.stream is self.stream and packet.is_discard
                        yield packet
                return
            except av.error.InvalidDataError:
                self.damaged += 1
                retries += 1
            except av.error.FFmpegError as error:
                raise InputError(f"{self.path} cannot be read further ({error.strerror})") from error

    def _frame(self, picture: av.VideoFrame) -> Frame:
        size = picture.width, picture.height
        if size != (self.info.width, self.info.height) or layout_for(picture.format.name) != self.layout:
            raise InputError(
                f"{self.path} changes from {self.info.width}x{self.info.height} {self.info.pix_fmt} to "
                f"{size[0]}x{size[1]} {picture.format.name} midway; cut it there and upscale the parts"
            )
        return Frame(
            planes=views(self._planar(picture)),
            bits=self.layout.bits,
            pts=self._pts(picture),
            time_base=self.info.time_base,
            duration=picture.duration or None,
            key=picture.key_frame,
            color=self.info.color,
        )

    def _pts(self, picture: av.VideoFrame) -> int:
        """The picture's own pts; where it has none or goes back, its dts, else the next moment after the last one."""
        for pts in (picture.pts, picture.dts, self._clock):
            if pts is not None and (self._last_pts is None or pts > self._last_pts):
                break
        else:
            raise AssertionError("the clock is always ahead")
        rate = self.info.rate
        step = picture.duration or (round(1 / (rate * self.info.time_base)) if rate else 1)
        self._last_pts, self._clock = pts, pts + max(1, step)
        return pts


def _display_matrix(picture: av.VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers of the picture's display matrix (rotation and flips), None without one."""
    try:
        data: Any = picture.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV refuses all side data where there is a kind that it does not know
        if not picture.rotation:
            return None
        angle = math.radians(picture.rotation)
        c, s = round(math.cos(angle) * 65536), round(math.sin(angle) * 65536)
        return c, -s, 0, s, c, 0, 0, 0, 1 << 30
    return None if data is None else tuple(memoryview(data).cast("i"))
