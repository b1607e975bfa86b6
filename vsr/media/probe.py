"""What a file contains, before anything is done with it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vsr.errors import InputError, UsageError
from vsr.frame import Color, Mastering, VideoInfo
from vsr.media.cut import parse_time
from vsr.media.pixels import FULL_RANGE, Layout, alpha_of, has_alpha, layout_for

# Codecs whose chroma lies in the middle of its luma samples where the stream does not say; the others have it left.
_CENTRED_CHROMA = {"mpeg1video", "mjpeg", "h261", "h263", "theora"}
_UNSPECIFIED, _VP8_SPACE = 2, 5  # AVCOL_SPC_*: VP8 knows BT.601 only
_LEFT, _CENTRE = 1, 2  # AVCHROMA_LOC_*
_TEXT_ART = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg draws texts as terminals where their names say .txt
_GENERATE_PTS = 1  # AVFMT_FLAG_GENPTS, which PyAV sets
_PROBE_PACKETS = 500  # how far a decodable picture is looked for
_PATTERN = re.compile(r"((?:[^%]|%%)*)%(?:0?(\d+))?d((?:[^%]|%%)*)")  # as FFmpeg's image2 takes it
# Codecs whose pictures' side data must not be looked at: a PNG's colour profile comes with a name, which PyAV frees
# although the picture owns it, and the interpreter crashes.
UNSAFE_SIDE_DATA = {"png", "apng"}
_TRANSPARENT_PALETTES = {"png", "apng", "tiff"}

IMAGE_RATE = Fraction(25)  # of image sequences that nothing is said of: FFmpeg's own

# FFmpeg's names of its AVCOL_* and AVCHROMA_LOC_* numbers; what is not named here is reported as its number.
_RANGES = {1: "tv", 2: "pc"}
_SPACES = {0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"}
_SPACES |= {9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 14: "ictcp"}
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film"}
_PRIMARIES |= {9: "bt2020", 10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213"}
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100"}
_TRANSFERS |= {10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10"}
_TRANSFERS |= {15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"}
CHROMA_LOCATIONS = {1: "left", 2: "center", 3: "topleft", 4: "top", 5: "bottomleft", 6: "bottom"}


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of a container; ``codec`` is None where FFmpeg does not know it."""

    index: int
    type: str
    codec: str | None
    language: str | None
    title: str | None
    disposition: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A container and its streams; ``video`` describes the main video, None where there is none."""

    path: Path
    container: str
    duration_s: float | None
    streams: tuple[StreamInfo, ...]
    video: VideoInfo | None

    def to_json(self) -> dict[str, Any]:
        """The object that ``vsr probe --json`` prints."""
        return {
            "v": 1,
            "path": str(self.path),
            "container": self.container,
            "duration_s": self.duration_s,
            "streams": [
                {
                    "index": s.index,
                    "type": s.type,
                    "codec": s.codec,
                    "language": s.language,
                    "title": s.title,
                    "disposition": list(s.disposition),
                }
                for s in self.streams
            ],
            "video": _video_json(self.video) if self.video else None,
        }


def color_names(color: Color) -> dict[str, str | None]:
    """The tags under FFmpeg's names, None where a tag is unspecified."""
    return {
        "color_range": _RANGES.get(color.range),
        "color_space": None if color.space == 2 else _SPACES.get(color.space, str(color.space)),
        "color_primaries": None if color.primaries == 2 else _PRIMARIES.get(color.primaries, str(color.primaries)),
        "color_transfer": None if color.transfer == 2 else _TRANSFERS.get(color.transfer, str(color.transfer)),
        "chroma_location": CHROMA_LOCATIONS.get(color.chroma_location),
    }


def _video_json(video: VideoInfo) -> dict[str, Any]:
    return {
        "index": video.index,
        "codec": video.codec,
        "width": video.width,
        "height": video.height,
        "pix_fmt": video.pix_fmt,
        "frames": video.frames,
        "rate": _ratio(video.rate, "/"),
        "time_base": _ratio(video.time_base, "/"),
        "rotation_degrees": video.rotation_degrees,
        "sample_aspect": _ratio(video.sample_aspect, ":"),
        **color_names(video.color),
        "interlaced": video.interlaced,
        "alpha": video.alpha,
        "mastering_display": _mastering_json(video.mastering),
        "content_light_level": {"max_cll": video.light[0], "max_fall": video.light[1]} if video.light else None,
    }


def _mastering_json(mastering: Mastering | None) -> dict[str, Any] | None:
    if mastering is None:
        return None
    primaries, white, luminance = mastering.primaries, mastering.white_point, mastering.luminance
    return {
        "primaries": primaries and [[_ratio(x, "/"), _ratio(y, "/")] for x, y in primaries],
        "white_point": white and [_ratio(value, "/") for value in white],
        "luminance": luminance and [_ratio(value, "/") for value in luminance],
    }


def _ratio(value: Fraction | None, sign: str) -> str | None:
    return None if value is None else f"{value.numerator}{sign}{value.denominator}"


def probe(path: str | os.PathLike[str], stream: int | None = None) -> MediaInfo:
    """Read what ``path`` contains; the main video's first picture is decoded, for what only pictures know.

    ``stream`` is the index of the video to describe, None for the main one. Raises ``InputError`` where there is no
    such file or stream, it cannot be read, or it is not media.
    """
    with open_input(path) as container:
        streams = tuple(_stream_info(stream) for stream in container.streams)
        duration_s = None if container.duration is None else container.duration / av.time_base
        main = main_video(container, stream)
        video = None
        if main is not None:
            video = video_info(main, _first_picture(container, main))
            video = replace(video, alpha=video.alpha and can_be_transparent(path, main))
        return MediaInfo(Path(path), container.format.name, duration_s, streams, video)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Pictures whose names are numbered: ``pattern`` as FFmpeg takes it, ``count`` of them from number ``first`` on
    without a gap; ``missing`` is the first number that is not there while later ones are."""

    pattern: str
    first: int
    count: int
    missing: int | None


def image_sequence(path: Path) -> Sequence | None:
    """The pictures that ``path`` names as a printf pattern (``shots/frame_%04d.png``); None where it is none, or the
    name of a file. Raises ``InputError`` where no picture matches."""
    match = _PATTERN.fullmatch(path.name)
    if match is None or path.exists():
        return None
    before, width, after = match[1].replace("%%", "%"), int(match[2] or 0), match[3].replace("%%", "%")
    number = re.compile(rf"{re.escape(before)}(\d{{{width or 1},}}){re.escape(after)}")
    try:
        names = [m[1] for entry in os.scandir(path.parent) if (m := number.fullmatch(entry.name))]
    except OSError as error:
        raise InputError(f"{path}: {path.parent} cannot be read ({error.strerror})") from error
    found = sorted(int(name) for name in names if name == f"{int(name):0{width}}")
    if not found:
        raise InputError(f"{path} matches no file; %d stands for the number in the names, %04d for four digits of it")
    count = next((i for i, n in enumerate(found) if n != found[0] + i), len(found))
    missing = found[0] + count if count < len(found) else None
    folder = str(path.parent).replace("%", "%%")
    return Sequence(os.path.join(folder, path.name), found[0], count, missing)


@contextlib.contextmanager
def open_input(path: str | os.PathLike[str], rate: Fraction = IMAGE_RATE) -> Iterator[av.container.InputContainer]:
    """Open ``path`` for demuxing and close it for certain (containers hold reference cycles).

    It may be a printf pattern: an image sequence, of ``rate`` pictures a second. Raises ``InputError`` with one line
    that says what is wrong with the file.
    """
    path = Path(path)
    container = _open(path, rate)
    try:
        yield container
    finally:
        container.close()


def _open(path: Path, rate: Fraction) -> av.container.InputContainer:
    try:
        sequence = image_sequence(path)
        if sequence is not None:
            numbers = {"start_number": str(sequence.first), "framerate": str(rate)}
            return av.open(f"file:{sequence.pattern}", format="image2", options=numbers)
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a video file")
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is not a file")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty")
        # "file:" keeps a name like "a:b.mp4" from being taken for a protocol. Text in odd encodings survives a copy.
        options = {"pattern_type": "none"} if "%" in str(path) else {}  # a picture of that name is no pattern
        container = av.open(f"file:{path}", options=options, metadata_errors="surrogateescape")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the name") from None
    except PermissionError:
        raise InputError(f"{path} cannot be read: permission denied") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a video that FFmpeg can read ({_reason(error)})") from error
    if container.format.name in _TEXT_ART:
        container.close()
        raise InputError(f"{path} is not a video but text")
    if container.format.name == "avi":
        # AVI has an order but no pts; those that FFmpeg would make up for H.264 lie late by its reordering delay.
        container.flags &= ~_GENERATE_PTS
    if not container.streams:
        container.close()
        raise InputError(f"{path} holds no stream")
    return container


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def main_video(container: av.container.InputContainer, index: int | None = None) -> VideoStream | None:
    """The first video stream that is neither cover art nor a still nor beyond FFmpeg's decoders; None without one.

    With ``index`` it is that stream of the container. Raises ``InputError`` where that is no video to decode.
    """
    if index is not None:
        videos = {s.index: s for s in container.streams.video if s.codec_context is not None}
        if index in videos:
            return videos[index]
        name = container.name.removeprefix("file:")
        known = f"of its streams, these are: {', '.join(map(str, videos))}" if videos else "it has none"
        raise InputError(f"{name} has no video that can be decoded as stream {index}; {known}")
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    for stream in container.streams.video:
        if not stream.disposition & still and stream.codec_context is not None:
            return stream
    return None


def _stream_info(stream: Stream) -> StreamInfo:
    text = {key: value.encode("utf-8", "replace").decode() for key, value in stream.metadata.items()}
    language = text.get("language")
    return StreamInfo(
        stream.index,
        stream.type,
        codec_name(stream),
        None if language == "und" else language,
        text.get("title"),
        tuple(flag.name for flag in stream.disposition if flag.name),
    )


def codec_name(stream: Stream) -> str | None:
    """FFmpeg's name of what ``stream`` is coded in (not of the decoder)."""
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    return getattr(stream, "name", None) if stream.type == "data" else None


def decoder_of(stream: VideoStream) -> VideoCodecContext:
    """What decodes ``stream``: its own context; VP8 and VP9 with alpha need libvpx, FFmpeg's decoders leave it out."""
    context = stream.codec_context
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return context
    libvpx = av.CodecContext.create(name, "r")
    assert isinstance(libvpx, VideoCodecContext)
    if context.extradata:
        libvpx.extradata = context.extradata
    return libvpx


def decode(decoder: VideoCodecContext, stream: VideoStream, packet: av.Packet | None) -> list[av.VideoFrame]:
    """The pictures that ``decoder_of(stream)`` makes of a packet, the last ones of None; they have the stream's colour
    tags where libvpx knows none (of VP8 it knows nothing, and says that the range is limited)."""
    pictures = decoder.decode(packet)
    said = stream.codec_context
    if decoder is not said:
        for picture in pictures:
            picture.color_primaries, picture.color_trc = said.color_primaries, said.color_trc
            if decoder.codec.name == "libvpx":
                space = _VP8_SPACE if said.colorspace == _UNSPECIFIED else said.colorspace
                picture.color_range, picture.colorspace = said.color_range, space
    return pictures


def can_be_transparent(path: str | os.PathLike[str], stream: VideoStream) -> bool:
    """Whether a video whose format has alpha makes use of it. GIF is always decoded with alpha, so all its pictures
    are looked at; of palettes, only those of still-picture codecs have colours that are transparent."""
    codec = stream.codec_context.codec.canonical_name
    if codec != "gif":
        return stream.codec_context.pix_fmt != "pal8" or codec in _TRANSPARENT_PALETTES
    with open_input(path) as container:
        video = container.streams[stream.index]
        assert isinstance(video, VideoStream)
        return any(alpha is not None and alpha[0].min() < 255 for alpha in map(alpha_of, _pictures(container, video)))


def _first_picture(container: av.container.InputContainer, stream: VideoStream) -> av.VideoFrame | None:
    return next(_pictures(container, stream, _PROBE_PACKETS), None)


def _pictures(
    container: av.container.InputContainer, stream: VideoStream, packets: int | None = None
) -> Iterator[av.VideoFrame]:
    """What can be decoded of ``stream``, of its first ``packets`` only."""
    decoder = decoder_of(stream)
    with contextlib.suppress(av.error.FFmpegError):
        for packet in itertools.islice(container.demux(stream), packets):
            with contextlib.suppress(av.error.FFmpegError):
                if packet.size:  # an empty one would be taken for the end
                    yield from decode(decoder, stream, packet)
        yield from decode(decoder, stream, None)


def video_info(stream: VideoStream, picture: av.VideoFrame | None) -> VideoInfo:
    """Describe ``stream``; its first decoded ``picture`` is believed over the container where the two differ."""
    context = stream.codec_context
    source: Any = picture or context
    pix_fmt = picture.format.name if picture else context.pix_fmt
    color_range = source.color_range
    if pix_fmt and pix_fmt.startswith("yuvj"):
        color_range = FULL_RANGE
    safe = context.codec.canonical_name not in UNSAFE_SIDE_DATA
    return VideoInfo(
        index=stream.index,
        codec=context.codec.canonical_name,
        width=source.width,
        height=source.height,
        pix_fmt=pix_fmt or "unknown",
        time_base=stream.time_base or Fraction(1, av.time_base),
        rate=stream.average_rate or stream.guessed_rate or None,
        frames=stream.frames or None,
        start=stream.start_time,
        duration=_duration(stream),
        sample_aspect=stream.sample_aspect_ratio or None,
        rotation_degrees=picture.rotation if picture else 0,
        color=Color(
            range=int(color_range),
            space=int(source.colorspace),
            primaries=int(source.color_primaries),
            transfer=int(source.color_trc),
            chroma_location=_chroma_location(stream, picture, pix_fmt),
        ),
        interlaced=bool(picture and picture.interlaced_frame),
        alpha=bool(pix_fmt and has_alpha(pix_fmt)),
        mastering=_mastering(picture) if picture and safe else None,
        light=_light(picture) if picture and safe else None,
    )


def side_data(picture: av.VideoFrame, kind: str) -> memoryview | None:
    """The bytes of a picture's side data (FFmpeg's AV_FRAME_DATA_*), None where it has none of that kind."""
    try:
        data: Any = picture.side_data.get(kind)
    except ValueError:  # PyAV refuses all side data where there is a kind that it does not know
        return None
    return None if data is None else memoryview(data)


def _mastering(picture: av.VideoFrame) -> Mastering | None:
    data = side_data(picture, "MASTERING_DISPLAY_METADATA")
    if data is None:
        return None
    # AVMasteringDisplayMetadata: ten AVRationals, then whether the colours and the luminances are set.
    *numbers, has_primaries, has_luminance = struct.unpack("22i", data)
    values = [Fraction(a, b) if b else Fraction(0) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    red, green, blue, white = zip(values[:8:2], values[1:8:2], strict=True)
    return Mastering(
        primaries=(red, green, blue) if has_primaries else None,
        white_point=white if has_primaries else None,
        luminance=(values[8], values[9]) if has_luminance else None,
    )


def _light(picture: av.VideoFrame) -> tuple[int, int] | None:
    data = side_data(picture, "CONTENT_LIGHT_LEVEL")
    return None if data is None else struct.unpack("2I", data)


def _duration(stream: VideoStream) -> int | None:
    """In time base units; Matroska says it of a stream in a tag, in hours, minutes and seconds."""
    if stream.duration is None and stream.time_base and (said := stream.metadata.get("DURATION")):
        with contextlib.suppress(UsageError):
            return round(parse_time(said) / stream.time_base)
    return stream.duration


def _chroma_location(stream: VideoStream, picture: av.VideoFrame | None, pix_fmt: str | None) -> int:
    """Where chroma lies (AVCHROMA_LOC_*): as the picture or its container declares it, else the codec's default; 0
    unless subsampled. What a container says beside VP8 or VP9 with alpha is not seen: libvpx hands it on to nobody."""
    layout = layout_for(pix_fmt) if pix_fmt else Layout(None, 8)
    if layout.chroma in (None, (0, 0)):
        return 0
    declared = 0 if picture is None else struct.unpack_from("i", _av_frame(picture), _place_of_chroma_location())[0]
    centred = stream.codec_context.codec.canonical_name in _CENTRED_CHROMA
    centred |= stream.container.format.name == "yuv4mpegpipe" and pix_fmt == "yuv420p"  # its name for that is C420jpeg
    return declared or (_CENTRE if centred else _LEFT)


def _av_frame(picture: av.VideoFrame) -> bytes:
    """FFmpeg's own AVFrame of ``picture``, for what PyAV does not expose: "wrapped_avframe" makes packets of them."""
    wrapper: Any = av.CodecContext.create("wrapped_avframe", "w")
    wrapper.width, wrapper.height, wrapper.pix_fmt = picture.width, picture.height, picture.format.name
    wrapper.time_base = picture.time_base or Fraction(1, 25)
    pts = picture.pts
    (packet,) = wrapper.encode(picture)
    picture.pts = pts  # encoding makes one up
    return bytes(packet)


@functools.cache
def _place_of_chroma_location() -> int:
    """Where it is in an AVFrame: behind the four other colour tags, which are looked for."""
    picture = av.VideoFrame(16, 16, "yuv420p")
    tags = 2, 22, 18, 14  # none of them a default, nor likely elsewhere
    picture.color_range, picture.color_primaries, picture.color_trc, picture.colorspace = tags
    return _av_frame(picture).index(struct.pack("4i", *tags)) + struct.calcsize("4i")
