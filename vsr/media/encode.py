"""Encoding: frames and copied packets into one container, with everything that belongs to them."""

from __future__ import annotations

import contextlib
import errno
import io
import re
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.video.stream import VideoStream

from vsr.errors import OutputError, VsrError
from vsr.frame import Frame, VideoInfo
from vsr.media.codecs import EncoderSettings
from vsr.media.coder import Coder
from vsr.media.copy import Copies, Track, carry_labels, track_index
from vsr.media.decode import Decoder
from vsr.media.tags import content_tags, lost_tags, muxer_options
from vsr.size import Resolution

# StereoMode, DisplayWidth and DisplayHeight in Matroska's header
_NUMBER = rb"(?:(?<=\x81).|(?<=\x82)..)"  # behind its length
_STEREO = re.compile(
    rb"\x53\xb8\x81.(?P<size>\x54\xb0[\x81\x82](?P<width>%b)\x54\xba[\x81\x82](?P<height>%b))" % (_NUMBER, _NUMBER),
    re.DOTALL,
)
_HEADER_BYTES = 1 << 20
_TIMECODE_RATE = 240  # frames a second that FFmpeg can count in a timecode, at least


@dataclass(slots=True)
class Written:
    """All that a complete file must hold: ``pts`` of the frames in ``time_base`` units, the copied tracks, and the
    colours, HDR metadata and sample aspect ratio of ``promised``.

    ``index`` is that of the frames' stream in the finished file, ``labels`` what ``container`` says of it; ``kinds``
    counts the other streams by their kind.
    """

    width: int
    height: int
    time_base: Fraction
    promised: VideoInfo
    container: str
    index: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    pts: array[int] = field(default_factory=lambda: array("q"))
    tracks: list[Track] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    chapters: int = 0


class Encoder:
    """Writes ``source``, upscaled to ``resolution``, to ``path`` as ``container`` (FFmpeg's muxer name).
    ``target`` is the name that the file will have, for messages.

    Open it before the source is iterated: it chooses which of the source's streams are copied. ``write()`` takes the
    upscaled frames and the packets in the order of the source, ``finish()`` drains encoder and muxer; without it the
    file is incomplete. ``written`` counts what went in, ``warnings`` collects (code, message) pairs.

    ``settings`` must have passed their check. Raises ``OutputError`` where the file cannot be written or the encoder
    takes no picture of that size.
    """

    def __init__(
        self,
        path: Path,
        container: str,
        source: Decoder,
        resolution: Resolution,
        settings: EncoderSettings,
        target: Path | None = None,
    ) -> None:
        info = replace(source.info, sample_aspect=resolution.sample_aspect)
        self._tick: Fraction | None = None  # of AVI, which counts frames
        self._last_tick = -1
        if container == "avi":
            counted = source.container.format.name == "avi"
            rate = 1 / info.time_base if counted else source.stream.guessed_rate or info.rate or Fraction(25)
            info, self._tick = replace(info, rate=rate), 1 / rate
        width, height = resolution.width, resolution.height
        self.target, self._path = target or path, path
        if container == "avi" and source.display_matrix is not None:
            raise OutputError(f"{self.target}: avi cannot say that a picture is turned; use .mkv")
        self.warnings: deque[tuple[str, str]] = deque()
        self._coder = Coder(info, source.layout, settings, width, height, container)
        self.warnings.extend(self._coder.warnings)
        self.written = Written(width, height, info.time_base, self._coder.promised, container)
        self._captions_lost = False
        self._moved = False  # whether it was told that AVI moves frames

        options = {"avoid_negative_ts": "disabled"}
        if container in ("mp4", "mov"):
            # In this unit a start later than zero is kept; exactly for the picture, to 10 us for the others.
            unit = info.time_base.denominator
            options["movie_timescale"] = str(unit * max(1, 100_000 // unit))
            if info.rate and info.rate > _TIMECODE_RATE:
                options["write_tmcd"] = "0"
        if container in ("matroska", "webm"):
            options["default_mode"] = "passthrough"  # of the disposition: no track is made the default one
        with self._errors():
            self._container = av.open(
                f"file:{path}", "w", format=container, container_options=options, metadata_errors="surrogateescape"
            )
            try:
                self._fill(source)
            except BaseException:
                self._container.close()
                raise

    def _fill(self, source: Decoder) -> None:
        """Give the empty container its streams, and all that belongs to the file as a whole."""
        self._copies = Copies(source, self._container, self.warnings)
        self.written.tracks, self.written.kinds = self._copies.tracks, self._copies.kinds
        for stream in source.container.streams:
            if stream is source.stream:
                self._stream = self._add_video(source)
            else:
                self._copies.add(stream)
        self._tell(source)
        chapters = source.chapters()
        if chapters and self.written.container == "avi":
            self.warnings.append(("dropped_chapters", f"{source.path}: avi holds no chapters; they are left out"))
        else:
            self._container.set_chapters(chapters)
            self.written.chapters = len(chapters)

    def _tell(self, source: Decoder) -> None:
        """Give the file the source's metadata; what it has no place for is said."""
        tags = content_tags(source.container.metadata)
        options = {} if self._copies.kinds["cover"] else muxer_options(self.written.container, tags)
        self._container.container_options.update(options)
        self._container.metadata.update(tags)
        if lost := lost_tags(self.written.container, tags, options):
            said = f"{self.written.container} has no place for these metadata, which are dropped: {', '.join(lost)}"
            self.warnings.append(("metadata", f"{source.path}: {said}"))

    def _add_video(self, source: Decoder) -> Any:
        """The stream for the upscaled frames, its encoder open, with all that the source says of its own."""
        try:
            stream = self._coder.add_stream(self._container)
        except av.error.FFmpegError as error:
            raise OutputError(f"{self.target}: {self._coder.refusal(error)}") from error
        stream.set_display_matrix(source.display_matrix)
        told = carry_labels(self._container, source.stream, stream, source, self.warnings)
        stream.metadata.pop("alpha_mode", None)  # the muxer says it of what has alpha
        if _is_cropped(source.stream):
            said = "players are to crop the picture, and will not crop that of the output"
            self.warnings.append(("metadata", f"{source.path}: {said}"))
        self.written.index = track_index(self._container) or 0
        self.written.labels = told
        return stream

    def __enter__(self) -> Encoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing writes a trailer, which is of no use after a failure and may fail for the same reason.
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._container.close()
        self._copies.close()

    def write(self, item: Frame | av.Packet) -> None:
        """Encode a frame, or copy a packet that the source gave."""
        with self._errors():
            if isinstance(item, Frame):
                if item.captions is not None and not self._coder.takes_captions and not self._captions_lost:
                    self._captions_lost = True
                    lost = f"{self._coder.settings.codec} cannot carry the closed captions; they are dropped"
                    self.warnings.append(("captions", lost))
                assert item.pts is not None  # a decoder always gives one
                self._container.mux(self._coder.encode(self._stream, self._on_a_tick(item) if self._tick else item))
                self.written.pts.append(item.pts)
            else:
                self._copies.write(item)

    def _on_a_tick(self, frame: Frame) -> Frame:
        """``frame`` at the nearest moment that AVI has; ticks without a frame are written as empty ones."""
        assert self._tick is not None and frame.pts is not None
        time = frame.pts * frame.time_base
        tick = round(time / self._tick)
        first = self._last_tick < 0
        if tick != 0 if first else tick <= self._last_tick:
            what = f"avi counts frames from 0 on at one rate, here {float(1 / self._tick):.3f} a second"
            which = "the first one" if first else "one"
            raise OutputError(f"{self.target}: {what}, and {which} is at {float(time):.3f} s; use .mkv")
        off = abs(time - tick * self._tick)
        if off > frame.time_base and not self._moved:
            self._moved = True
            rounded = f"avi counts frames at {float(1 / self._tick):.3f} a second: their times are rounded to that"
            self.warnings.append(("times", f"{self.target}: {rounded}; .mkv keeps them"))
        self._last_tick = tick
        return replace(frame, pts=tick, time_base=self._tick, duration=None)

    def finish(self) -> None:
        """Drain the encoder and complete the file."""
        with self._errors():
            self._container.mux(self._coder.encode(self._stream, None))
            self._copies.finish()
            self._container.close()
            if self.written.container == "matroska" and "stereo_mode" in self._stream.metadata:
                _mend_stereo_aspect(self._path, self.written.promised.sample_aspect or Fraction(1))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except VsrError:
            raise
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            remedy = "; free some, or write elsewhere with -o" if error.errno == errno.ENOSPC else ""
            raise OutputError(f"{self.target} cannot be written: {reason}{remedy}") from error


def _mend_stereo_aspect(path: Path, aspect: Fraction) -> None:
    """State the shape of pixels in a Matroska file of two views, as FFmpeg reads it there: from a display size that it
    counts for one view. The muxer writes that of one view for square pixels, and PyAV tells it of no others."""
    with open(path, "r+b") as file:
        found = _STEREO.search(file.read(_HEADER_BYTES))
        if found is None:
            return
        width, height = (int.from_bytes(found[name]) for name in ("width", "height"))
        shape = width * aspect / height
        bytes_of_both = len(found["width"]) + len(found["height"])
        for wide in sorted(range(1, bytes_of_both), key=lambda wide: abs(wide - len(found["width"]))):
            high = bytes_of_both - wide
            most = min(((1 << 8 * wide) - 1) // shape.numerator, ((1 << 8 * high) - 1) // shape.denominator)
            if most:
                times = min(most, max(1, height // shape.denominator))
                file.seek(found.start("size"))
                file.write(b"\x54\xb0" + bytes([0x80 + wide]) + (shape.numerator * times).to_bytes(wide))
                file.write(b"\x54\xba" + bytes([0x80 + high]) + (shape.denominator * times).to_bytes(high))
                return


def _is_cropped(stream: VideoStream) -> bool:
    """Whether the container says that players leave out the edges of the picture. PyAV does not expose it, but a header
    of Matroska in memory spells it out, as PixelCropBottom, ...Top, ...Left or ...Right."""
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska", options={"fflags": "bitexact"}) as container:  # no random numbers
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.error.FFmpegError, ValueError):  # it takes no uncompressed video
        return False
    told = header.getvalue().replace(stream.codec_context.extradata or b"-", b"")
    return re.search(rb"\x54[\xaa\xbb\xcc\xdd][\x81\x82]", told) is not None
