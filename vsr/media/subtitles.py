"""Text subtitles from one form to another: FFmpeg's decoders and encoders, with every event at its own time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.stream import Stream
from av.subtitles.subtitle import SubtitleSet

_OPEN_END_S = 5  # how long a last event is shown of which nothing says so
_OVERRIDE = re.compile(rb"(\{\\[^}]*\})")  # in ASS, the common form of all texts
_PLAIN = re.compile(rb"\{(\\[bius][01]?|\\r)*\}")  # bold, italic, underlined, struck out: every form has these
_RESET = rb"{\b0\i0\u0}"


@dataclass(slots=True)
class _Event:
    """A text in ASS, its begin and end in ticks; an end of None is the begin of the next event."""

    head: bytes
    text: bytes
    begin: int
    end: int | None


class TextConverter:
    """Makes packets for ``out``, a new stream of text subtitles, from those of ``source``; both count in its time base.

    MPEG-4 shows one sample at a time: there, events that overlap become samples with all that is to be read. What
    becomes of positions, colours and fonts is said to ``warn``, once; so is an event that cannot be read.
    """

    def __init__(self, source: Stream, out: Stream, warn: Callable[[str], None]) -> None:
        self._decoder: Any
        self._encoder: Any
        self._decoder, self._encoder = source.codec_context, out.codec_context
        self._warn = warn
        self._warned: set[str] = set()
        self._shown: list[_Event] = []
        self._now = 0
        self._unit = source.time_base or Fraction(1, 1000)
        self._decoder.open(strict=False)
        self._encoder.subtitle_header = self._decoder.subtitle_header
        self._encoder.time_base = out.time_base = self._unit
        self._encoder.open()
        if self._decoder.codec.canonical_name in ("ass", "ssa"):
            self._say("loses its styles")

    def __call__(self, packet: av.Packet) -> Iterator[av.Packet]:
        try:
            event = self._event(packet)
        except (av.error.FFmpegError, ValueError):
            self._say("has events that cannot be read; they are left out")
            return
        if self._encoder.name != "mov_text":
            if event.text:
                yield from self._packet([event], event.begin, packet.duration or 0)
            return
        yield from self._samples(event.begin)
        if event.text and (event.end is None or event.end > self._now):
            self._shown.append(event)

    def flush(self) -> Iterator[av.Packet]:
        """What is still to be shown when the source has ended."""
        for event in self._shown:
            if event.end is None:
                event.end = self._now + round(_OPEN_END_S / self._unit)
        yield from self._samples(None)

    def _event(self, packet: av.Packet) -> _Event:
        decoded = self._decoder.decode2(packet)
        lines = [rect.ass.rstrip(b"\r\n").split(b",", 8) for rect in decoded or ()]
        texts = [line[8] for line in lines if len(line) == 9 and line[8]]
        text = b"\\N".join(texts).replace(rb"\{{}", b"{")  # how FFmpeg's WebVTT quotes a brace
        if b"{\\" in _PLAIN.sub(b"", text) and self._encoder.name != "subrip":
            self._say("loses positions and colours")
        if self._encoder.name == "webvtt":
            text = _escaped(text)
        begin = packet.pts if packet.pts is not None else packet.dts or 0
        head = b",".join(lines[0][:8]) if texts else b""
        return _Event(head, text, begin, begin + packet.duration if packet.duration else None)

    def _samples(self, moment: int | None) -> Iterator[av.Packet]:
        """What is shown from now to ``moment``, or to the end of all events."""
        while self._shown and (moment is None or self._now < moment):
            changes = [moment, *(event.end for event in self._shown)]
            until = min(change for change in changes if change is not None)
            yield from self._packet(self._shown, self._now, until - self._now)
            self._shown = [e for e in self._shown if (until != moment if e.end is None else e.end > until)]
            self._now = until
        self._now = max(self._now, moment or 0)

    def _packet(self, events: list[_Event], begin: int, duration: int) -> Iterator[av.Packet]:
        text = (b"\\N" + _RESET).join(event.text for event in events)
        try:
            packet = self._encoder.encode_subtitle(SubtitleSet.create(events[0].head + b"," + text, 0, 1))
        except av.error.FFmpegError:
            self._say("has events that cannot be written; they are left out")
            return
        packet.pts = packet.dts = begin
        packet.duration, packet.time_base = duration, self._unit
        yield packet

    def _say(self, what: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            self._warn(what)


def _escaped(text: bytes) -> bytes:
    """WebVTT's own signs as entities, which FFmpeg's encoder leaves to others."""
    parts = _OVERRIDE.split(text)
    parts[::2] = [part.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;") for part in parts[::2]]
    return b"".join(parts)
