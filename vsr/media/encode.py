"""Encoding: frames and copied packets into one container, with everything that belongs to them."""

from __future__ import annotations

import contextlib
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.codec import Codec
from av.video.reformatter import ColorRange, VideoReformatter

from vsr.errors import OutputError
from vsr.frame import Frame
from vsr.media.codecs import EncoderSettings, choose_format, open_context
from vsr.media.copy import Copies, Track, content_tags, track_index
from vsr.media.decode import Decoder
from vsr.media.pixels import EXACT, FULL_RANGE, Layout, views
from vsr.media.probe import CHROMA_LOCATIONS

_FRAME_DURATION = 1 << 8  # AV_CODEC_FLAG_FRAME_DURATION: the last frame of a VFR stream keeps its own


@dataclass(slots=True)
class Written:
    """All that a complete file must hold: ``pts`` of the frames in ``time_base`` units, and the copied tracks.
    ``index`` is that of the frames' stream in the finished file."""

    width: int
    height: int
    time_base: Fraction
    index: int = 0
    pts: array[int] = field(default_factory=lambda: array("q"))
    tracks: list[Track] = field(default_factory=list)


class Encoder:
    """Writes ``source``, upscaled to ``width`` x ``height``, to ``path`` as ``container`` (FFmpeg's muxer name).
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
        width: int,
        height: int,
        settings: EncoderSettings,
        target: Path | None = None,
    ) -> None:
        info = source.info
        self.target = target or path
        self.warnings: deque[tuple[str, str]] = deque()
        self.written = Written(width, height, info.time_base)
        encoder = settings.encoder()
        pix_fmt, layout = choose_format(encoder, source.layout, width, height)
        lossless = layout.chroma == source.layout.chroma or source.layout.chroma is None
        if not lossless or layout.bits != source.layout.bits:
            self.warnings.append(("format", f"{settings.codec} takes {layout.pix_fmt}, not {source.layout.pix_fmt}"))
        # Grey goes into an encoder without grey as planes of neutral chroma.
        self._layout = Layout(layout.chroma, source.layout.bits) if source.layout.chroma is None else source.layout
        self._pix_fmt = pix_fmt
        same_sites = layout.chroma == source.layout.chroma
        self._sites = CHROMA_LOCATIONS.get(info.color.chroma_location) if same_sites else None
        self._reformatter = VideoReformatter()

        options = {"avoid_negative_ts": "disabled"}
        if container in ("mp4", "mov"):
            # In this unit a start later than zero is kept; exactly for the picture, to 10 us for the others.
            unit = info.time_base.denominator
            options["movie_timescale"] = str(unit * max(1, 100_000 // unit))
        self._container = av.open(
            f"file:{path}", "w", format=container, container_options=options, metadata_errors="surrogateescape"
        )
        self._copies = Copies(source, self._container, self.warnings)
        self.written.tracks = self._copies.tracks
        try:
            for stream in source.container.streams:
                if stream is source.stream:
                    self._stream = self._add_video(source, encoder, settings)
                else:
                    self._copies.add(stream)
            self._container.metadata.update(content_tags(source.container.metadata))
            self._container.set_chapters(source.chapters())
        except BaseException:
            self._container.close()
            raise

    def _add_video(self, source: Decoder, encoder: Codec, settings: EncoderSettings) -> Any:
        """The stream for the upscaled frames, its encoder open, with all that the source says of its own."""
        info, container = source.info, self._container.format.name
        stream: Any = self._container.add_stream(encoder.name, rate=info.rate or Fraction(25))
        context = stream.codec_context
        # AVI counts frames: one tick each, and no B-frames.
        stream.time_base = context.time_base = 1 / info.rate if container == "avi" and info.rate else info.time_base
        if container == "avi":
            context.max_b_frames = 0
        if encoder.canonical_name == "hevc" and container in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # what Apple's players ask for
        context.width, context.height, context.pix_fmt = self.written.width, self.written.height, self._pix_fmt
        context.flags |= _FRAME_DURATION
        context.sample_aspect_ratio = info.sample_aspect or 0
        context.color_range, context.colorspace = info.color.range, info.color.space
        context.color_primaries, context.color_trc = info.color.primaries, info.color.transfer
        try:
            open_context(context, settings, {"chroma_sample_location": self._sites} if self._sites else {})
        except av.error.FFmpegError as error:
            picture = f"a picture of {context.width}x{context.height} ({self._pix_fmt})"
            raise OutputError(f"{self.target}: {settings.codec} cannot encode {picture}") from error
        stream.set_display_matrix(source.display_matrix)
        stream.metadata.update(content_tags(source.stream.metadata))
        stream.disposition = source.stream.disposition
        self.written.index = track_index(self._container) or 0
        return stream

    def __enter__(self) -> Encoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing writes a trailer, which is of no use after a failure and may fail for the same reason.
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._container.close()

    def write(self, item: Frame | av.Packet) -> None:
        """Encode a frame, or copy a packet that the source gave."""
        with self._errors():
            if isinstance(item, Frame):
                self._container.mux(self._stream.encode(self._picture(item)))
                assert item.pts is not None  # a decoder always gives one
                self.written.pts.append(item.pts)
            else:
                self._copies.write(item)

    def finish(self) -> None:
        """Drain the encoder and complete the file."""
        with self._errors():
            self._container.mux(self._stream.encode(None))
            self._container.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{self.target} cannot be written: {reason}") from error

    def _picture(self, frame: Frame) -> av.VideoFrame:
        picture = av.VideoFrame(frame.width, frame.height, self._layout.pix_fmt)
        planes = views(picture)
        for plane, values in zip(planes, frame.planes, strict=False):
            plane[...] = values
        for plane in planes[len(frame.planes) :]:
            plane.fill(1 << (frame.bits - 1))
        if self._layout.pix_fmt != self._pix_fmt:
            color_range = ColorRange.JPEG if frame.color.range == FULL_RANGE else ColorRange.MPEG
            picture = self._reformatter.reformat(
                picture,
                format=self._pix_fmt,
                src_color_range=color_range,
                dst_color_range=color_range,
                interpolation=EXACT,
                threads=1,  # see Planar
            )
        picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration or 0
        picture.color_range, picture.colorspace = frame.color.range, frame.color.space
        picture.color_primaries, picture.color_trc = frame.color.primaries, frame.color.transfer
        return picture
