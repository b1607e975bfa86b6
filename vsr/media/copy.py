"""The streams that are not upscaled: copied as they are where the container of the output holds them."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any

import av
from av.container import OutputContainer
from av.format import Flags
from av.stream import Disposition, Stream

from vsr.media.decode import Decoder
from vsr.media.probe import codec_name
from vsr.media.sound import SoundConverter, SoundDecoder, encoder_for
from vsr.media.subtitles import TextConverter
from vsr.media.tags import fit_stream_tags, stream_tags

_COVERS = {"mjpeg": "jpg", "png": "png"}
_TEXTS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
_MATROSKA = (
    Disposition.default | Disposition.forced | Disposition.original | Disposition.comment
    | Disposition.hearing_impaired | Disposition.visual_impaired
)  # fmt: skip
_WEBM = Disposition.default | Disposition.forced
_DISPOSITIONS = {"mp4": Disposition.default, "mov": Disposition.default, "matroska": _MATROSKA, "webm": _WEBM}
_AVI_SOUND = {"mp2", "mp3", "gsm_ms"}
_HOPELESS = 500  # packets without one that the muxer takes after which no more are tried
_ELSEWHERE = "as something else in the container"
_ATTACHED = "as an attachment"


@dataclass(slots=True)
class Track:
    """What was written to one stream: packets, their bytes, the first and last pts in ``time_base`` units, as the
    source has them where it is in order; ``last_dts`` is in the output's unit.

    ``index`` is the stream's own in the finished file, None for a cover (they come after all others); ``labels`` are
    what the container says of it. ``shown`` says whether there is more than packets that no player shows, as a start
    that an edit list leaves out.
    """

    index: int | None
    type: str
    time_base: Fraction
    packets: int = 0
    bytes: int = 0
    first: int | None = None
    last: int = 0
    last_dts: int | None = None
    shown: bool = False
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Output:
    """Where the packets of ``source`` go, and what makes others of them on the way or tries them first."""

    source: Stream
    stream: Stream
    track: Track
    convert: TextConverter | SoundConverter | None = None
    rehearsal: _Rehearsal | None = None
    damaged: bool = False
    latest: int | None = None  # dts that the source gave, in the output's unit


class Copies:
    """Copies streams of ``source`` into ``container``, whose header is not written yet.

    ``tracks`` counts what was written, one for each stream but attachments; ``kinds`` is how many streams of each kind
    the file has from here; ``warnings`` gets (code, message) pairs.
    """

    def __init__(self, source: Decoder, container: OutputContainer, warnings: deque[tuple[str, str]]) -> None:
        self.tracks: list[Track] = []
        self.kinds: Counter[str] = Counter()
        self.warnings = warnings
        self._source = source
        self._container = container
        flags: Any = container.format.flags
        self._strict = not flags & Flags.ts_nonstrict.value
        self._outputs: dict[int, _Output] = {}

    def add(self, stream: Stream) -> None:
        """A stream for a copy of ``stream``, in another form where the container needs it; or a warning."""
        form = _form(self._container.format.name, stream, self._source)
        if form == _ELSEWHERE:
            return
        if form is None:
            self.warnings.append(("dropped_stream", f"{self._source.path}: {describe(stream)} is left out"))
            return
        if form == _ATTACHED:
            self._attach(stream)
            return
        convert: TextConverter | SoundConverter | None = None
        warn = partial(self._warn_of_loss, stream, form)
        out: Any
        if form == (codec_name(stream) or stream.type):
            out = self._container.add_stream_from_template(stream, opaque=True)
        else:
            out = self._container.add_stream(form)
            if stream.type == "audio":
                decode = self._source.sounds.setdefault(stream, SoundDecoder(stream))
                convert = SoundConverter(stream, decode, out, warn)
                warn("is encoded again")
            else:
                convert = TextConverter(stream, out, warn)
        told = carry_labels(self._container, stream, out, self._source, self.warnings)
        self.kinds[kind_of(stream)] += 1
        if stream.type != "attachment":
            unit = stream.time_base or Fraction(1, av.time_base)
            track = Track(track_index(self._container), kind_of(stream), unit, labels=told)
            rehearsal = None if convert else _Rehearsal(self._container.format.name, stream)
            self._outputs[stream.index] = _Output(stream, out, track, convert, rehearsal)
            self.tracks.append(track)
            self._source.copied.add(stream)

    def _attach(self, stream: Stream) -> None:
        """Matroska keeps covers as attachments, and knows them by their name."""
        codec = codec_name(stream) or ""
        picture = self._source.attached_picture(stream)
        if picture is None:
            self.warnings.append(("dropped_stream", f"{self._source.path}: {describe(stream)} is empty, and left out"))
            return
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        name = tags.get("filename") or f"cover.{_COVERS[codec]}"
        self._container.add_attachment(name, f"image/{codec.removeprefix('m')}", picture)
        self.kinds["cover"] += 1

    def _warn_of_loss(self, stream: Stream, form: str, what: str) -> None:
        self.warnings.append(("converted_stream", f"{self._source.path}: {describe(stream)} {what} as {form}"))

    def write(self, packet: av.Packet) -> None:
        """Copy a packet of the source; nothing happens where its stream was not added. It is unchanged afterwards."""
        output = self._outputs.get(packet.stream.index)
        if output is None:
            return
        if output.convert is not None:
            for made in output.convert(packet):
                self._mux(output, made)
            return
        with _unchanged(packet):  # other outputs of the same source get it too
            self._mux(output, packet)

    def finish(self) -> None:
        """Write what is held back, when the source has ended."""
        for output in self._outputs.values():
            if output.convert is not None:
                for made in output.convert.flush():
                    self._mux(output, made)
            if omits(self._container.format.name, output.track) or (output.damaged and not output.track.packets):
                why = "none of its packets can be copied" if output.damaged else "it has no packets"
                said = f"{self._source.path}: {describe(output.source)} is left out: {why}"
                self.warnings.append(("dropped_stream", said))

    def close(self) -> None:
        """Close what is open beside the container."""
        for output in self._outputs.values():
            if output.rehearsal is not None:
                output.rehearsal.close()

    def _mux(self, output: _Output, packet: av.Packet) -> None:
        track = output.track
        if packet.dts is None:
            packet.dts = packet.pts if packet.pts is not None else track.last
        if packet.pts is None:
            packet.pts = packet.dts
        # Muxers insist on the order; some, and but for subtitles, on time that moves on in their own unit, which they
        # have when the header is written.
        self._container.start_encoding()
        heard, unit = packet.pts, packet.time_base
        packet.time_base = output.stream.time_base or unit
        scale = unit / packet.time_base
        given, packet.duration = round(packet.dts * scale), round((packet.duration or 0) * scale)
        packet.dts = given
        if track.last_dts is not None:
            packet.dts = max(given, track.last_dts + (self._strict and track.type != "subtitle"))
        packet.pts = max(round(heard * scale), packet.dts)
        if output.latest is not None and given < output.latest:  # the source's own time goes back
            heard = round(packet.pts / scale)
        if output.rehearsal is not None and not output.rehearsal.takes(packet):
            if not output.damaged:
                output.damaged = True
                at = f"{float(heard * unit):.3f} s"
                said = f"{describe(output.source)} is damaged at {at}; packets that cannot be copied are left out"
                self.warnings.append(("damaged", f"{self._source.path}: {said}"))
            return
        track.shown |= not packet.is_discard
        track.time_base = unit
        track.packets += 1
        track.bytes += packet.size
        track.first = heard if track.first is None else min(track.first, heard)
        track.last = max(track.last, heard)
        track.last_dts = packet.dts
        output.latest = given if output.latest is None else max(output.latest, given)
        packet.stream = output.stream
        self._container.mux(packet)


class _Rehearsal:
    """Writes the packets of ``stream`` to nowhere, as ``container`` (FFmpeg's name of the muxer), before they go into
    the file: there, one that is refused would be the end, and queues hide which one it is."""

    def __init__(self, container: str, stream: Stream) -> None:
        self._container, self._stream = container, stream
        self._muxer: OutputContainer | None = None
        self._tried = 0  # until one was taken

    def takes(self, packet: av.Packet) -> bool:
        """Whether the muxer takes ``packet``, which is unchanged afterwards."""
        with _unchanged(packet):
            try:
                if self._muxer is None:
                    if self._tried > _HOPELESS:
                        return False
                    self._tried += 1
                    if not self._is_read_again(packet):
                        return False
                    self._muxer = self._open(os.devnull)
                self._mux(self._muxer, packet)
            except (av.error.FFmpegError, ValueError):
                return False
        return True

    def _is_read_again(self, packet: av.Packet) -> bool:
        """A codec's header may turn out to be bad only when a file is complete, or read."""
        written = io.BytesIO()
        with self._open(written) as muxer:
            self._mux(muxer, packet)
        with av.open(io.BytesIO(written.getvalue()), "r") as made:
            return any(read.size for read in made.demux())

    def close(self) -> None:
        if self._muxer is not None:
            with contextlib.suppress(av.error.FFmpegError, ValueError):
                self._muxer.close()

    def _open(self, file: Any) -> OutputContainer:
        muxer = av.open(file, "w", format=self._container, container_options={"avoid_negative_ts": "disabled"})
        muxer.add_stream_from_template(self._stream, opaque=True)
        return muxer

    def _mux(self, muxer: OutputContainer, packet: av.Packet) -> None:
        packet.stream = muxer.streams[0]
        muxer.mux(packet)


@contextlib.contextmanager
def _unchanged(packet: av.Packet) -> Iterator[None]:
    """Muxing changes these; afterwards they are what they were."""
    before = packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration
    try:
        yield
    finally:
        packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = before


def omits(container: str, track: Track) -> bool:
    """Whether ``container`` leaves ``track`` out: MPEG-4 does so without a packet, but for subtitles."""
    return container in ("mp4", "mov") and not track.packets and track.type != "subtitle"


def unheld(container: str, source: Decoder) -> list[Stream]:
    """The streams of ``source`` that ``container`` (FFmpeg's name of the muxer) holds in no form that is as good."""
    others = [stream for stream in source.container.streams if stream is not source.stream]
    forms = [_form(container, stream, source) for stream in others]
    return [s for s, form in zip(others, forms, strict=True) if form is None or _is_recoded(s, form)]


def only_in_matroska(container: str, source: Decoder) -> list[Stream]:
    """The streams of ``source`` that ``container`` holds in no form but Matroska does: what speaks for writing that."""
    lost = unheld("matroska", source)
    return [stream for stream in unheld(container, source) if stream not in lost]


def _is_recoded(stream: Stream, form: str) -> bool:
    return stream.type == "audio" and form != codec_name(stream)


def describe(stream: Stream) -> str:
    """What a message calls a stream: ``audio stream #1 (aac)``, ``attachment #2 (font.ttf)``."""
    if stream.type == "attachment":
        name = {key.lower(): value for key, value in stream.metadata.items()}.get("filename")
        return f"attachment #{stream.index} ({name or codec_name(stream) or 'unknown'})"
    return f"{kind_of(stream)} stream #{stream.index} ({codec_name(stream) or 'unknown'})"


def kind_of(stream: Stream) -> str:
    """FFmpeg's type of a stream, or "cover"."""
    return "cover" if stream.type == "video" and stream.disposition & Disposition.attached_pic else stream.type


def carry_labels(
    container: OutputContainer, stream: Stream, out: Stream, source: Decoder, warnings: deque[tuple[str, str]]
) -> dict[str, str]:
    """Give ``out`` the tags and the disposition of ``stream``; ``warnings`` gets a pair for tags without a place.

    Returns what ``container`` then tells of it apart from its content: ``language``, ``title``, ``disposition``.
    """
    name = container.format.name
    tags, lost = fit_stream_tags(name, stream.metadata)
    if lost:
        said = f"{name} has no place for these metadata of {describe(stream)}, which are dropped: {', '.join(lost)}"
        warnings.append(("metadata", f"{source.path}: {said}"))
    out.metadata.update(tags)
    out.disposition = stream.disposition
    told: dict[str, str] = {}
    if name not in _DISPOSITIONS or out.type not in ("audio", "subtitle", "video"):
        return told
    tags = {key.lower(): value for key, value in stream_tags(tags).items()}
    told |= {key: tags[key] for key in ("language", "title") if tags.get(key, "und") != "und"}
    said = disposition_names(name, out)
    if said != "none" or name not in ("mp4", "mov"):  # where none of a kind is the default, MPEG-4's first one is
        told["disposition"] = said
    return told


def disposition_names(container: str, stream: Stream) -> str:
    """The dispositions of a stream that ``container`` (FFmpeg's name of the muxer) has a place for, in words."""
    flags = stream.disposition & _DISPOSITIONS.get(container, Disposition(0))
    return " ".join(flag.name or "" for flag in Disposition if flag & flags) or "none"


def track_index(container: OutputContainer) -> int | None:
    """The index that the stream added last will have when the file is read; None for covers and attachments, which
    come after all others."""
    last = [s.type != "attachment" and not s.disposition & Disposition.attached_pic for s in container.streams]
    return sum(last) - 1 if last[-1] else None


def _form(container: str, stream: Stream, source: Decoder) -> str | None:
    """The codec in which ``container`` holds ``stream``, None where it does in none; or one of the other ways."""
    codec, kind = codec_name(stream), kind_of(stream)
    if kind == "data":
        if "timecode" in stream.metadata and "timecode" in source.stream.metadata:
            return _ELSEWHERE  # the picture's own tag says it; FFmpeg makes QuickTime's track of it again
        held = codec is not None and container in ("mp4", "mov") and _holds(container, stream)
        if not held and codec == "bin_data" and source.container.chapters():
            return _ELSEWHERE  # QuickTime keeps its chapters' titles in a track of their own; they go as chapters
        return codec if held else None
    if kind == "cover":
        if container == "matroska":
            return _ATTACHED if codec in _COVERS else None
        return codec if container == "mp4" and _holds(container, stream) else None
    if container == "avi" and kind == "video":
        return None  # it would play at another rate: AVI counts frames
    if not (kind == "audio" and _is_misread(container, stream)) and _holds(container, stream):
        return codec or stream.type
    if kind == "audio":
        return encoder_for(container, stream)
    text: Any = stream.codec_context.codec if kind == "subtitle" and stream.codec_context is not None else None
    return _TEXTS.get(container) if text is not None and text.text_sub else None


def _is_misread(container: str, stream: Stream) -> bool:
    """Whether a copy of such sound would be heard otherwise, or not at all, although the muxer takes it.

    Many players know no PCM in MP4, whose muxer fails in the end where the channels are not named. AVI counts blocks or
    bytes, of which FFmpeg tells the right length for few codecs, for some not if they come from AVI.
    """
    codec, from_avi = codec_name(stream) or "", stream.container.format.name == "avi"
    if container == "avi":
        known = _AVI_SOUND if from_avi else _AVI_SOUND | {"aac", "ac3"}
        return codec not in known and not codec.startswith("pcm_")
    return container == "mp4" and codec.startswith("pcm_")


def _holds(container: str, stream: Stream) -> bool:
    """Whether ``container`` can hold a copy of ``stream``: the muxer itself is asked, with a header in memory."""
    trial = av.open(io.BytesIO(), "w", format=container)
    try:
        copy = trial.add_stream_from_template(stream, opaque=True)
        trial.start_encoding()
        if container == "avi" and stream.container.format.name == "avi" and stream.type == "audio":
            return copy.time_base == stream.time_base  # else it would be faster or slower
    except (av.error.FFmpegError, ValueError):
        return False
    finally:
        with contextlib.suppress(av.error.FFmpegError):
            trial.close()
    return True
