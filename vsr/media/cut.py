"""Cutting: the part of an input that is kept, exact to the frame, and what else is heard and read meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from vsr.errors import UsageError
from vsr.frame import Frame

_INTERLEAVED_S = 10  # how far behind the picture another stream may lie in a file
_HELD_BYTES = 1 << 28  # of pictures before the cut that may turn out to be needed; beyond it, they are decoded
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+)(\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cut:
    """The frames of ``start`` <= time < ``end``, in seconds from the beginning of the file as players show it; None is
    its end. Raises ``UsageError`` where nothing can lie between them."""

    start: Fraction
    end: Fraction | None = None

    def __post_init__(self) -> None:
        if self.end is not None and self.end <= self.start:
            raise UsageError(f"a cut from {_said(self.start)} to {_said(self.end)} is empty; its end comes after")

    def __str__(self) -> str:
        return f"from {_said(self.start)}" + ("" if self.end is None else f" to {_said(self.end)}")


def parse_time(text: str) -> Fraction:
    """Exact seconds of "90", "1:30.5" or "00:01:30.500". Raises ``UsageError`` for anything else."""
    match = _TIME.fullmatch(text.strip())
    hours, minutes, seconds, part = match.groups("0") if match else ("0", "0", "60", "0")
    if match is None or (match[2] and int(seconds) > 59) or (match[1] and int(minutes) > 59):
        raise UsageError(f"{text!r} is no time; give seconds or [hours:]minutes:seconds, as 90 or 1:30.5")
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + Fraction(part)


def _said(seconds: Fraction) -> str:
    return f"{float(seconds):g} s"


class Trimmer:
    """Applies ``cut`` to what is read of ``container``, whose pictures are those of ``video``.

    The first frame that is kept becomes time 0, and all other streams move with it.
    """

    def __init__(self, cut: Cut, container: InputContainer, video: Stream) -> None:
        origin = beginning(container)
        self.start = cut.start + origin
        self.end = None if cut.end is None else cut.end + origin
        self.first: Fraction | None = None  # when the first frame that is kept was shown
        self.late: set[Stream] = set()  # other videos, of which something is missing until their first keyframe
        self._video = video
        self._over = False  # a frame after the end was decoded
        self._begun: set[Stream] = set()  # other videos, and sounds, of which a keyframe came

    def packets(self, packets: Iterable[av.Packet], copied: set[Stream]) -> Generator[av.Packet]:
        """What is to be decoded or copied of ``packets``: of the picture nothing from before the second-last keyframe
        that the cut needs, and nothing more when all ``copied`` streams have passed its end."""
        groups: list[list[av.Packet]] | None = []  # what may be needed, from one keyframe to the next; None: all is
        size = 0
        passed: set[Stream] = set()
        for packet in packets:
            time = _time(packet.dts if packet.dts is not None else packet.pts, packet)
            if self.end is not None and time is not None and time >= self.end:
                passed.add(packet.stream)
                lasting = {s for s in copied if s.type in ("audio", "video") and not _is_cover(s)}
                if self._over and (passed >= lasting or time >= self.end + _INTERLEAVED_S):
                    break
            if packet.stream is not self._video:
                yield packet
            elif self._over:
                continue
            elif groups is None:
                yield packet
            else:
                shown = _time(packet.pts, packet)
                if not groups or (packet.is_keyframe and shown is not None and shown <= self.start):
                    groups = [*groups[-1:], []]
                    size = sum(p.size for group in groups for p in group)
                groups[-1].append(packet)
                size += packet.size
                # A time of decoding is never after that of showing.
                if time is None or time > self.start or shown is None or size > _HELD_BYTES:
                    yield from (p for group in groups for p in group)
                    groups = None
        for group in groups or []:
            yield from group

    def items(self, items: Iterable[Frame | av.Packet]) -> Generator[Frame | av.Packet]:
        """The frames and packets that are kept, at their new times; the first comes when the first frame is known."""
        early: list[av.Packet] = []
        for item in items:
            if isinstance(item, av.Packet):
                if self.first is None:
                    early.append(item)
                    early = self._needed(early)
                else:
                    yield from self._moved(item)
                continue
            assert item.pts is not None  # a decoder always gives one
            time = item.pts * item.time_base
            if time < self.start:
                continue
            if self.end is not None and time >= self.end:
                self._over = True
                continue
            if self.first is None:
                self.first = time
                for packet in self._needed(early):
                    yield from self._moved(packet)
            pts, duration = item.pts - round(self.first / item.time_base), item.duration
            if self.end is not None and duration is not None:
                duration = max(1, min(duration, int((self.end - time) / item.time_base)))
            yield replace(item, pts=pts, duration=duration)

    def chapters(self, chapters: Iterable[Any]) -> list[Any]:
        """The chapters of the part that is kept, which is known when ``items`` gave its first."""
        kept = []
        for chapter in chapters:
            unit = chapter["time_base"]
            begin, end = (self._ticks(chapter[key] * unit, unit) for key in ("start", "end"))
            last = None if self.end is None else self._ticks(self.end, unit)
            begin, end = max(0, begin), end if last is None else min(end, last)
            if begin < end:
                kept.append({**chapter, "start": begin, "end": end})
        return kept

    def _ticks(self, time: Fraction, unit: Fraction) -> int:
        assert self.first is not None
        return round(time / unit) - round(self.first / unit)

    def _needed(self, packets: list[av.Packet]) -> list[av.Packet]:
        """Those of the packets before the first frame that may still be kept."""
        begin = self.start if self.first is None else self.first
        later: dict[Stream, Fraction] = {}  # the next packet of each stream
        kept = []
        for packet in reversed(packets):
            time, stream = _time(packet.pts, packet), packet.stream
            if time is None or time >= begin or _is_cover(stream):
                kept.append(packet)
            elif stream.type == "subtitle":
                # Where nothing says how long it is shown, it is so until the next one.
                end = time + packet.duration * packet.time_base if packet.duration else later.get(stream)
                if end is None or end > begin:
                    kept.append(packet)
            if time is not None:
                later[stream] = time
        return kept[::-1]

    def _moved(self, packet: av.Packet) -> Iterator[av.Packet]:
        """The packet at its new time, cut to the part that is kept; nothing where it lies outside."""
        assert self.first is not None
        _refine(packet)
        unit = packet.time_base
        shift = round(self.first / unit)
        time = _time(packet.pts if packet.pts is not None else packet.dts, packet)
        if time is None or _is_cover(packet.stream):
            packet.pts = packet.dts = 0
            yield packet
            return
        video = packet.stream.type == "video"
        # Some sound too is understood from certain packets on only: demuxers would drop what comes before them.
        depends = packet.stream.type in ("video", "audio")
        if depends and time >= self.first and packet.is_keyframe:
            self._begun.add(packet.stream)
        # Pictures that are shown after the end may be needed by others, until one is decoded after it.
        last = packet.dts * unit if video and packet.dts is not None else time
        if self.end is not None and last >= self.end:
            return
        begin = max(0, -(round(time / unit) - shift))  # how much of it lies before the first frame, in ticks
        if packet.stream.type == "subtitle":
            left = (packet.duration or 0) - begin
            if begin and packet.duration and left <= 0:
                return
            if packet.duration:
                longest = left if self.end is None else int((self.end - max(time, self.first)) / unit)
                packet.duration = max(1, min(left, longest))
            packet.pts = packet.dts = round(time / unit) - shift + begin
        elif time < self.first:
            return
        elif depends and packet.stream not in self._begun:
            if video:
                self.late.add(packet.stream)
            return
        else:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        yield packet


def _time(ticks: int | None, packet: av.Packet) -> Fraction | None:
    return None if ticks is None else ticks * packet.time_base


def _refine(packet: av.Packet) -> None:
    """Count in parts of a millisecond, where the unit is so large that moving by whole ones would be heard."""
    if packet.time_base > Fraction(1, 1000):
        parts = 1000
        packet.pts, packet.dts, packet.duration = (
            None if ticks is None else ticks * parts for ticks in (packet.pts, packet.dts, packet.duration)
        )
        packet.time_base /= parts


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def beginning(container: InputContainer) -> Fraction:
    """The time that players show as 0: the container's, which is rounded, or the exact one of a stream beside it."""
    rounded = Fraction(container.start_time or 0, av.time_base)
    starts = [s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base]
    near: Callable[[Fraction], Fraction] = lambda start: abs(start - rounded)  # noqa: E731
    exact = min(starts, key=near, default=rounded)
    return exact if near(exact) * av.time_base < 2 else rounded
