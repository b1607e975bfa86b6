"""What a media file holds, read in two ways that know nothing of VSR: by PyAV, and by the ffprobe of the machine.

``by_pyav`` is always there. ``by_ffprobe`` is a second opinion by another version of FFmpeg; ``FFPROBE`` says whether
there is one. Both demux the whole file and decode every picture of the main video.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import struct
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from av.stream import Disposition

FFPROBE = shutil.which("ffprobe")
THUMBNAIL = 16  # pixels each way
FFPROBE_S = 600  # the longest that one look at a file may take

_NO_PICTURES = ("attached_pic", "timed_thumbnails", "still_image")
# Written by muxers and encoders: about the file, not about what is in it.
_TECHNICAL = {"major_brand", "minor_version", "compatible_brands", "encoder", "software", "duration"}
_NEVER = "1970-01-01T00:00:00"  # a date that is not set
_GENERATE_PTS = 1  # AVFMT_FLAG_GENPTS: PyAV would have FFmpeg make timestamps up
_RANGES = {1: "tv", 2: "pc"}
_UNSPECIFIED = {"unknown", "unspecified", "reserved", "N/A", ""}


class Packet(NamedTuple):
    """``time`` is its pts in seconds, None without one; ``duration`` is 0 where it is unknown."""

    time: Fraction | None
    duration: Fraction
    size: int
    md5: str


@dataclass(slots=True)
class Stream:
    """``data`` is the file of an attachment, as its MD5."""

    index: int
    type: str
    codec: str | None
    language: str | None
    title: str | None
    dispositions: frozenset[str]
    time_base: Fraction
    packets: list[Packet] = field(default_factory=list)
    filename: str | None = None
    data: str | None = None


@dataclass(slots=True)
class Facts:
    """A file; what is known of pictures is that of the main video's first one.

    ``times`` are the moments of the decoded frames in seconds, in decoding order, None without a timestamp; ``sizes``
    all sizes that occur. ``matrix`` is the display matrix (nine numbers). Colour tags are numbers or names, whichever
    the reader has, None where unspecified. ``hdr`` holds mastering display and light level. ``alpha``: something is
    transparent (which only PyAV is asked). ``thumbnails`` is (N, THUMBNAIL, THUMBNAIL), 0 to
    255, or empty. ``errors`` are the reader's complaints.
    """

    container: str
    duration: Fraction | None
    tags: dict[str, str]
    chapters: list[tuple[float, float, str]]
    streams: list[Stream]
    main: int | None = None
    codec: str | None = None
    times: list[Fraction | None] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pix_fmt: str | None = None
    aspect: Fraction = Fraction(1)
    matrix: tuple[int, ...] | None = None
    range: str | None = None
    space: Any = None
    primaries: Any = None
    transfer: Any = None
    siting: str | None = None
    hdr: dict[str, tuple[float, ...]] = field(default_factory=dict)
    stereo: str | None = None
    interlaced: int = 0
    alpha: bool = False
    thumbnails: np.ndarray = field(default_factory=lambda: np.zeros((0, THUMBNAIL, THUMBNAIL)))
    errors: list[str] = field(default_factory=list)
    titled: bool = True  # whether the reader sees the titles of streams in such a file

    @property
    def size(self) -> tuple[int, int] | None:
        return next(iter(self.sizes), None)

    @property
    def video(self) -> Stream | None:
        return next((s for s in self.streams if s.index == self.main), None)

    def of(self, kind: str) -> list[Stream]:
        """The streams of a type but the main video."""
        return [s for s in self.streams if s.type == kind and s.index != self.main]


def content(tags: dict[str, str]) -> dict[str, str]:
    """The tags about the content, with names in small letters."""
    said = {k.lower(): v for k, v in tags.items() if not k.startswith("_STATISTICS") and not v.startswith(_NEVER)}
    return {k: v for k, v in said.items() if k.partition("-")[0] not in _TECHNICAL}


def has_alpha(pix_fmt: str) -> bool:
    pixels = av.VideoFormat(pix_fmt)
    return pixels.has_palette or any(component.is_alpha for component in pixels.components)


def _main(streams: list[Stream], pictures: set[int]) -> int | None:
    """The first video that is no still; ``pictures`` are the indices of those with a known codec."""
    videos = [s for s in streams if s.type == "video" and s.index in pictures]
    moving = [s for s in videos if not s.dispositions & set(_NO_PICTURES)]
    return next((s.index for s in moving), None)


# ---- PyAV ----------------------------------------------------------------------------------------------------------


def by_pyav(path: Path, stream: int | None = None) -> Facts:
    """The facts of ``path``; ``stream`` is the main video's index where it is not the first one.

    Raises ``av.error.FFmpegError`` where it cannot be opened.
    """
    with av.open(f"file:{path}", metadata_errors="surrogateescape") as container:
        container.flags &= ~_GENERATE_PTS
        streams = [_pyav_stream(s) for s in container.streams]
        decodable = {s.index for s in container.streams.video if s.codec_context is not None}
        facts = Facts(
            container.format.name,
            None if container.duration is None else Fraction(container.duration, av.time_base),
            content(container.metadata),
            [(float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"].get("title", ""))
             for c in container.chapters()],
            streams,
            main=_main(streams, decodable) if stream is None else stream,
        )  # fmt: skip
        main: Any = None if facts.main is None else container.streams[facts.main]
        if main is not None:
            main.thread_type = "SLICE"
            facts.codec = main.codec_context.codec.canonical_name
            facts.aspect = main.sample_aspect_ratio or Fraction(1)
            decoder = main.codec_context
            if main.metadata.get("alpha_mode") == "1":  # which FFmpeg's own decoders leave out
                decoder = av.CodecContext.create({"vp8": "libvpx", "vp9": "libvpx-vp9"}[facts.codec], "r")
        thumbnails: list[np.ndarray] = []
        demuxed = container.demux()
        while True:
            try:
                packet = next(demuxed, None)
            except av.error.FFmpegError as error:
                facts.errors.append(str(error))
                if len(facts.errors) < 500:
                    continue
                packet = None
            if packet is not None and packet.size:
                time = None if packet.pts is None else packet.pts * packet.time_base
                read = Packet(time, (packet.duration or 0) * packet.time_base, packet.size, _md5(packet))
                facts.streams[packet.stream.index].packets.append(read)
            if main is not None and (packet is None or (packet.stream is main and packet.size)):
                try:
                    frames = decoder.decode(packet)
                except av.error.FFmpegError as error:
                    facts.errors += [str(error)] * (packet is not None)
                    frames = []
                for frame in frames:
                    _pyav_frame(facts, frame, main)
                    thumbnails.append(_thumbnail(frame))
            if packet is None:
                break
        if thumbnails:
            facts.thumbnails = np.stack(thumbnails)
    return facts


def _md5(data: Any) -> str:
    return hashlib.md5(bytes(data), usedforsecurity=False).hexdigest()


def _pyav_stream(stream: Any) -> Stream:
    context = stream.codec_context
    attached = stream.type == "attachment"
    return Stream(
        stream.index,
        stream.type,
        context.codec.canonical_name if context is not None else getattr(stream, "name", None),
        _language(stream.metadata),
        stream.metadata.get("title") or stream.metadata.get("name"),  # the latter in MP4
        frozenset(flag.name for flag in Disposition(stream.disposition) if flag.name),
        stream.time_base or Fraction(1, av.time_base),
        filename=stream.metadata.get("filename"),
        data=_md5(stream.data) if attached else None,
    )


def _language(tags: dict[str, str]) -> str | None:
    language = tags.get("language")
    return None if language == "und" else language


def _pyav_frame(facts: Facts, frame: av.VideoFrame, main: Any) -> None:
    facts.times.append(None if frame.pts is None else frame.pts * (frame.time_base or main.time_base))
    facts.interlaced += bool(frame.interlaced_frame)
    facts.sizes[frame.width, frame.height] += 1
    if not facts.alpha and has_alpha(frame.format.name):
        facts.alpha = bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)
    if len(facts.times) > 1:
        return
    facts.pix_fmt = frame.format.name
    transparent = main.metadata.get("alpha_mode") == "1"  # libvpx does not tell the tags
    said = main.codec_context if transparent else frame
    facts.range = _RANGES.get(int(said.color_range))
    space = 5 if transparent and facts.codec == "vp8" and said.colorspace == 2 else said.colorspace  # its only one
    tags = (int(v) for v in (space, said.color_primaries, said.color_trc))
    facts.space, facts.primaries, facts.transfer = (None if v in (2, 3) else v for v in tags)
    try:
        side: Any = frame.side_data
    except ValueError:  # a kind that PyAV does not know hides the others
        if frame.rotation:
            facts.matrix = _turned(frame.rotation)
        return
    if (data := side.get("DISPLAYMATRIX")) is not None:
        facts.matrix = _matrix(memoryview(data).cast("i").tolist())
    if (data := side.get("STEREO3D")) is not None:
        facts.stereo = str(memoryview(data).cast("i")[0])
    if (data := side.get("MASTERING_DISPLAY_METADATA")) is not None:
        numbers = struct.unpack("22i", bytes(data)[:88])
        values = tuple(n / d if d else 0.0 for n, d in zip(numbers[0:20:2], numbers[1:20:2], strict=True))
        facts.hdr["mastering display"] = _mastering(values)
    if (data := side.get("CONTENT_LIGHT_LEVEL")) is not None:
        facts.hdr["light level"] = tuple(map(float, struct.unpack("2I", bytes(data)[:8])))


def _mastering(values: tuple[float, ...]) -> tuple[float, ...]:
    """Without luminances that are none: by H.265 D.3.28 the greatest is 5 cd/m2 or more."""
    return values[:8] if values[-1] < 5 else values


def _matrix(numbers: list[int]) -> tuple[int, ...] | None:
    """A display matrix without its translation, which says nothing of a turn; None where it changes nothing."""
    a, b, _, c, d, *_ = numbers
    return None if (a, b, c, d) == (1 << 16, 0, 0, 1 << 16) else (a, b, c, d)


def _turned(degrees: int) -> tuple[int, ...] | None:
    c, s = (round(f(math.radians(degrees)) * 65536) for f in (math.cos, math.sin))
    return c, -s, s, c


def _thumbnail(frame: av.VideoFrame) -> np.ndarray:
    """The picture's brightness on black, small; by OpenCV, since swscale blurs little where it shrinks much."""
    grey = frame.reformat(format="gray", threads=1)
    plane = np.frombuffer(grey.planes[0], np.uint8).reshape(grey.height, -1)[:, : grey.width].astype(np.float32)
    if has_alpha(frame.format.name):
        plane = plane * (frame.to_ndarray(format="rgba")[..., 3] / np.float32(255))
    return cv2.resize(plane, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)


# ---- ffprobe -------------------------------------------------------------------------------------------------------


def by_ffprobe(path: Path, stream: int | None = None) -> Facts:
    """The same by the ffprobe program, but without thumbnails. Raises ``OSError`` where it cannot read the file."""
    shown = _ffprobe(path, "-show_format", "-show_streams", "-show_chapters", "-show_packets", "-show_data_hash", "MD5")
    if not shown.get("streams"):
        raise OSError(f"ffprobe finds no stream in {path}: {shown['errors'][:1]}")
    streams = [_ffprobe_stream(s) for s in shown["streams"]]
    known = {s["index"] for s in shown["streams"] if s.get("codec_name", "unknown") != "unknown"}
    duration = shown["format"].get("duration")
    facts = Facts(
        shown["format"]["format_name"],
        None if duration is None else Fraction(duration),
        content(shown["format"].get("tags", {})),
        [(float(c["start_time"]), float(c["end_time"]), c.get("tags", {}).get("title", "")) for c in shown["chapters"]],
        streams,
        main=_main(streams, known) if stream is None else stream,
        errors=shown["errors"],
        titled=not shown["format"]["format_name"].startswith("mov"),
    )
    by_index = {s.index: s for s in streams}
    for packet in shown.get("packets", []):
        owner = by_index.get(packet["stream_index"])
        if owner is not None and int(packet["size"]):
            time = packet["pts"] * owner.time_base if "pts" in packet else None
            md5 = packet.get("data_hash", "").removeprefix("MD5:")
            length = packet.get("duration", 0) * owner.time_base
            owner.packets.append(Packet(time, length, int(packet["size"]), md5))
    if facts.video is not None:
        said = next(s for s in shown["streams"] if s["index"] == facts.main)
        facts.codec = said["codec_name"]
        _ffprobe_frames(facts, path, said)
    return facts


def _ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    command = [FFPROBE or "ffprobe", "-v", "error", "-threads", "1", "-of", "json", *arguments, "-i", f"file:{path}"]
    run = subprocess.run(command, capture_output=True, timeout=FFPROBE_S)
    shown = json.loads(run.stdout.decode("utf-8", "replace") or "{}", strict=False)
    return shown | {"errors": run.stderr.decode("utf-8", "replace").splitlines()}


def _ffprobe_stream(said: dict[str, Any]) -> Stream:
    tags = said.get("tags", {})
    codec = said.get("codec_name")
    return Stream(
        said["index"],
        said.get("codec_type", "unknown"),
        None if codec in ("unknown", "none") else codec,
        _language(tags),
        tags.get("title"),
        frozenset(flag for flag, is_set in said.get("disposition", {}).items() if is_set),
        Fraction(said["time_base"]),
        filename=tags.get("filename"),
        data=said.get("extradata_hash") if said.get("codec_type") == "attachment" else None,
    )


def _ffprobe_frames(facts: Facts, path: Path, stream: dict[str, Any]) -> None:
    assert facts.video is not None
    entries = "pts,best_effort_timestamp,interlaced_frame,width,height,pix_fmt,chroma_location,color_range,color_space"
    shown = _ffprobe(path, "-select_streams", str(facts.main), "-show_frames", "-show_entries",
                     f"frame={entries},color_primaries,color_transfer")  # fmt: skip
    facts.errors += shown["errors"]
    frames = [f for f in shown.get("frames", []) if "pix_fmt" in f]
    for frame in frames:
        stamp = frame.get("best_effort_timestamp", frame.get("pts"))
        facts.times.append(None if stamp is None else stamp * facts.video.time_base)
        facts.sizes[frame["width"], frame["height"]] += 1
        facts.interlaced += frame.get("interlaced_frame", 0)
    if not frames:
        return
    first = frames[0]

    def tag(name: str) -> str | None:
        values = (first.get(name), stream.get(name))  # a decoder that does not pass it on leaves it to the container
        return next((v for v in values if v is not None and v not in _UNSPECIFIED), None)

    facts.pix_fmt, facts.range, facts.space = first["pix_fmt"], tag("color_range"), tag("color_space")
    facts.primaries, facts.transfer = tag("color_primaries"), tag("color_transfer")
    facts.siting = tag("chroma_location")
    if re.fullmatch(r"[1-9]\d*:[1-9]\d*", aspect := stream.get("sample_aspect_ratio", "")):
        facts.aspect = Fraction(aspect.replace(":", "/"))
    head = _ffprobe(path, "-select_streams", str(facts.main), "-show_frames", "-read_intervals", "%+#1")
    side = [*stream.get("side_data_list", []), *(head.get("frames") or [{}])[0].get("side_data_list", [])]
    for data in side:
        kind = data["side_data_type"]
        if "displaymatrix" in data:
            facts.matrix = _matrix([int(n) for line in data["displaymatrix"].split("\n") for n in line.split()[1:]])
        elif kind == "Stereo 3D":
            facts.stereo = data.get("type")
        elif kind == "Mastering display metadata" and "max_luminance" in data:  # a PNG's primaries are none
            values = (float(Fraction(v)) for v in data.values() if re.fullmatch(r"-?\d+/[1-9]\d*", str(v)))
            facts.hdr["mastering display"] = _mastering(tuple(values))
        elif kind == "Content light level metadata":
            facts.hdr["light level"] = float(data["max_content"]), float(data["max_average"])
