"""The streams that are not upscaled: copied as they are where the container of the output holds them."""

from __future__ import annotations

import contextlib
import io
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import OutputContainer
from av.stream import Disposition, Stream

from vsr.media.decode import Decoder
from vsr.media.probe import codec_name

_COVERS = {"mjpeg": "jpg", "png": "png"}
# What belongs to the source's container or its coding, not to its content.
_STALE_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "rotate", "vendor_id"}
_STALE_PREFIXES = ("BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_")


@dataclass(slots=True)
class Track:
    """What was written to one stream: packets, their bytes, the first and last pts in ``time_base`` units.

    ``index`` is the stream's own in the finished file, None for a cover (they come after all others).
    """

    index: int | None
    type: str
    time_base: Fraction
    packets: int = 0
    bytes: int = 0
    first: int | None = None
    last: int = 0
    last_dts: int | None = None


class Copies:
    """Copies streams of ``source`` into ``container``, whose header is not written yet.

    ``tracks`` counts what was written, one for each stream but attachments; ``warnings`` gets (code, message) pairs.
    """

    def __init__(self, source: Decoder, container: OutputContainer, warnings: deque[tuple[str, str]]) -> None:
        self.tracks: list[Track] = []
        self.warnings = warnings
        self._source = source
        self._container = container
        self._outputs: dict[int, tuple[Stream, Track]] = {}

    def add(self, stream: Stream) -> None:
        """A stream for a copy of ``stream``, or a warning where the container cannot hold one."""
        codec = codec_name(stream)
        if stream.type == "data" and codec == "bin_data" and self._source.container.chapters():
            return  # QuickTime keeps its chapters' titles in a track of their own; they are copied as chapters
        copied = stream.type in ("audio", "subtitle", "attachment")
        if stream.type == "video" and stream.disposition & Disposition.attached_pic:
            cover = self._source.attached_picture(stream)
            if cover is not None and codec in _COVERS and self._container.format.name == "matroska":
                # Matroska keeps covers as attachments, and knows them by this name.
                extension = _COVERS[codec]
                self._container.add_attachment(f"cover.{extension}", f"image/{codec.removeprefix('m')}", cover)
                return
            copied = True
        if not copied or not _holds(self._container.format.name, stream):
            what = f"{stream.type} stream #{stream.index} ({codec or 'unknown'})"
            self.warnings.append(("dropped_stream", f"{self._source.path}: {what} is left out"))
            return
        out = self._container.add_stream_from_template(stream, opaque=True)
        out.metadata.update(content_tags(stream.metadata))
        out.disposition = stream.disposition
        if stream.type != "attachment":
            track = Track(track_index(self._container), stream.type, stream.time_base or Fraction(1, av.time_base))
            self._outputs[stream.index] = out, track
            self.tracks.append(track)
            self._source.copied.add(stream)

    def write(self, packet: av.Packet) -> None:
        """Copy a packet of the source; nothing happens where its stream was not added. It is unchanged afterwards."""
        if packet.stream.index not in self._outputs:
            return
        out, track = self._outputs[packet.stream.index]
        # Muxing changes these, and other outputs of the same source get the packet too.
        before = packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration
        if packet.dts is None:
            packet.dts = packet.pts if packet.pts is not None else track.last
        # Muxers insist on the order, and but for subtitles on time that moves on.
        step = track.type != "subtitle"
        if track.last_dts is not None and packet.dts < track.last_dts + step:
            packet.dts = track.last_dts + step
        if packet.pts is None or packet.pts < packet.dts:
            packet.pts = packet.dts
        track.time_base = packet.time_base
        track.packets += 1
        track.bytes += packet.size
        track.first = packet.pts if track.first is None else min(track.first, packet.pts)
        track.last = max(track.last, packet.pts)
        track.last_dts = packet.dts
        packet.stream = out
        try:
            self._container.mux(packet)
        finally:
            packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = before


def track_index(container: OutputContainer) -> int | None:
    """The index that the stream added last will have when the file is read; None for covers and attachments, which
    come after all others."""
    last = [s.type != "attachment" and not s.disposition & Disposition.attached_pic for s in container.streams]
    return sum(last) - 1 if last[-1] else None


def content_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags to carry over; Matroska and WebM have the names in capitals."""
    stale = {k for k in tags if k.lower() in _STALE_TAGS or k.upper().startswith(_STALE_PREFIXES)}
    return {k: v for k, v in tags.items() if k not in stale}


def _holds(container: str, stream: Stream) -> bool:
    """Whether ``container`` can hold a copy of ``stream``: the muxer itself is asked, with a header in memory."""
    trial = av.open(io.BytesIO(), "w", format=container)
    try:
        trial.add_stream_from_template(stream, opaque=True)
        trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    finally:
        with contextlib.suppress(av.error.FFmpegError):
            trial.close()
    return True
