"""Reading a finished file again, to see that it holds what was written."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.stream import Stream
from av.video.stream import VideoStream

from vsr.frame import Mastering, VideoInfo
from vsr.media.copy import Track, disposition_names, kind_of, omits
from vsr.media.encode import Written
from vsr.media.probe import color_names, decode, decoder_of, open_input, video_info
from vsr.media.tags import stream_tags

_PCM_S = Fraction(1, 5)  # the longest piece into which a container cuts PCM
_KINDS = ("video", "audio", "subtitle", "attachment", "cover")


@dataclass(frozen=True, slots=True)
class Check:
    """One property of a finished file: what it should be, and what it is."""

    name: str
    ok: bool
    expected: Any
    got: Any

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "expected": self.expected, "got": self.got}


@dataclass(slots=True)
class _Found:
    """What demuxing found of one stream; pts in ``time_base`` units."""

    type: str
    time_base: Fraction
    labels: dict[str, str]
    pts: array[int] = field(default_factory=lambda: array("q"))
    packets: int = 0
    bytes: int = 0


def verify(
    path: Path, written: Written, source: VideoInfo, check: Callable[[], None] = lambda: None
) -> list[Check]:
    """Compare the file at ``path`` with what was ``written`` to it and with the shape of its ``source``.

    The file is demuxed whole, but only its first picture is decoded; ``check`` is called for every packet and may
    raise, to stop. Raises ``InputError`` where it cannot be read.
    """
    with open_input(path) as container:
        index = _place(written, written.index)
        main = container.streams[index] if index < len(container.streams) else None
        if not isinstance(main, VideoStream):
            return [Check("video", False, 1, 0)]
        found = {
            s.index: _Found(kind_of(s), s.time_base or Fraction(1, av.time_base), _labels(written.container, s))
            for s in container.streams
        }
        kinds = Counter(kind_of(s) for s in container.streams if s is not main)
        chapters = len(container.chapters())
        picture, decoder = None, decoder_of(main)
        for packet in container.demux():
            check()
            if not packet.size:
                continue
            stream = found[packet.stream.index]
            stream.packets += 1
            stream.bytes += packet.size
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None:
                stream.pts.append(stamp)
            if packet.stream is main and picture is None:
                picture = next(iter(decode(decoder, main, packet)), None)
        if picture is None:
            picture = next(iter(decode(decoder, main, None)), None)
        result = video_info(main, picture)
        video = found.pop(main.index)
    return [
        Check("frames", video.packets == len(written.pts), len(written.pts), video.packets),
        _size(written, result),
        _timestamps(written, video),
        _duration(written, [video, *found.values()]),
        _streams(written, kinds),
        *_told("video", written.labels, video.labels),
        *_tracks(written, video, found),
        Check("chapters", chapters == written.chapters, written.chapters, chapters),
        *_tags(source, written.promised, result),
        *_hdr(written.promised, result),
    ]


def _omitted(written: Written) -> list[Track]:
    return [track for track in written.tracks if omits(written.container, track)]


def _place(written: Written, index: int) -> int:
    """The index in the file of the stream that was to have ``index``."""
    return index - sum(track.index is not None and track.index < index for track in _omitted(written))


def _size(written: Written, result: VideoInfo) -> Check:
    expected, got = (f"{v.width}x{v.height}" for v in (written, result))
    return Check("size", got == expected, expected, got)


def _timestamps(written: Written, video: _Found) -> Check:
    """Every pts, to the resolution of the container: the nearest of its ticks, either one where two are as near."""
    got = sorted(video.pts)
    ticks = written.time_base / video.time_base
    wrong = [i for i, (a, b) in enumerate(zip(written.pts, got, strict=False)) if abs(a * ticks - b) * 2 > 1]
    missing = abs(len(got) - len(written.pts))
    if not wrong:
        return Check("timestamps", missing == 0, "all equal", "all equal" if missing == 0 else f"{missing} missing")
    first = wrong[0]
    times = float(got[first] * video.time_base), float(written.pts[first] * written.time_base)
    said = f"{len(wrong)} differ, the first at frame {first}: {times[0]:.4f} s instead of {times[1]:.4f} s"
    return Check("timestamps", False, "all equal", said)


def _duration(written: Written, found: list[_Found]) -> Check:
    """From the first frame or sound to the beginning of the last one, in seconds."""
    wanted = [(written.pts[0] * written.time_base, written.pts[-1] * written.time_base)]
    for track in written.tracks:
        if track.type in ("video", "audio") and track.first is not None and track.shown:
            wanted.append((track.first * track.time_base, track.last * track.time_base))
    sounding = [f for f in found if f.type in ("video", "audio") and f.pts]
    read = [(min(f.pts) * f.time_base, max(f.pts) * f.time_base) for f in sounding] or [(Fraction(0), Fraction(0))]
    expected, got = (max(end for _, end in s) - min(begin for begin, _ in s) for s in (wanted, read))
    tolerance = Fraction(1, 1000) + 2 * max(f.time_base for f in found)
    counts = {f.packets for f in found}
    if any(track.type == "audio" and track.packets not in counts for track in written.tracks):
        tolerance += _PCM_S  # it is cut anew: the last piece begins elsewhere
    return Check("duration_s", abs(expected - got) <= tolerance, round(float(expected), 4), round(float(got), 4))


def _streams(written: Written, kinds: Counter[str]) -> Check:
    """How many streams there are beside the upscaled one; the data that FFmpeg adds for itself are not counted."""
    wanted = written.kinds - Counter(track.type for track in _omitted(written))
    expected, got = (", ".join(f"{n[kind]} {kind}" for kind in _KINDS if n[kind]) or "none" for n in (wanted, kinds))
    return Check("streams", expected == got, expected, got)


def _labels(container: str, stream: Stream) -> dict[str, str]:
    """What is said of a stream, under the names that ``vsr.media.copy.carry_labels`` gives them."""
    tags = {key.lower(): value for key, value in stream_tags(stream.metadata).items()}
    told = {key: tags[key] for key in ("language", "title") if key in tags}
    return told | {"disposition": disposition_names(container, stream)}


def _told(name: str, expected: dict[str, str], got: dict[str, str]) -> list[Check]:
    return [Check(f"{name} {key}", got.get(key) == value, value, got.get(key)) for key, value in expected.items()]


def _tracks(written: Written, video: _Found, others: dict[int, _Found]) -> list[Check]:
    checks = []
    for number, track in enumerate(written.tracks, start=1):
        name = f"{track.type} {number}"
        index = -1
        if track.index is None:  # a cover: the last of its kind
            index = max((i for i, f in others.items() if f.type == track.type), default=-1)
        elif track not in _omitted(written):
            index = _place(written, track.index)
        match = others.pop(index, None)
        if match is None or match.type != track.type:
            checks.append(Check(name, track.packets == 0, f"{track.packets} packets", "no such stream"))
            continue
        # PCM is cut anew by some muxers, and gaps between subtitles may become empty packets.
        whole = match.packets == track.packets or match.bytes == track.bytes
        whole |= track.type == "subtitle" and match.packets > track.packets
        checks.append(Check(name, whole, f"{track.packets} packets", f"{match.packets} packets"))
        checks += _told(name, track.labels, match.labels)
        heard = track.type == "audio" and track.shown
        if heard and track.first is not None and match.pts and written.pts and video.pts:
            checks.append(_offset(name, written, track, video, match))
    return checks


def _offset(name: str, written: Written, track: Track, video: _Found, match: _Found) -> Check:
    """The moment at which a track begins, counted from the first frame, in milliseconds."""
    assert track.first is not None
    expected = 1000 * (track.first * track.time_base - written.pts[0] * written.time_base)
    got = 1000 * (min(match.pts) * match.time_base - min(video.pts) * video.time_base)
    tolerance = 1 + 1000 * max(match.time_base, video.time_base)
    return Check(f"{name} offset_ms", abs(got - expected) <= tolerance, round(float(expected), 3), round(float(got), 3))


def _tags(source: VideoInfo, promised: VideoInfo, result: VideoInfo) -> list[Check]:
    """Rotation, sample aspect, alpha and the colour tags that were promised; untagged YUV is limited range."""
    wanted: dict[str, Any] = {key: value for key, value in color_names(promised.color).items() if value is not None}
    got: dict[str, Any] = color_names(result.color)
    got["color_range"] = got["color_range"] or "tv"
    wanted["rotation_degrees"], got["rotation_degrees"] = source.rotation_degrees, result.rotation_degrees
    wanted["sample_aspect"], got["sample_aspect"] = (str(v.sample_aspect or 1) for v in (promised, result))
    if promised.alpha:
        wanted["alpha"], got["alpha"] = True, result.alpha
    if got["chroma_location"] is None:  # it has no subsampled chroma
        wanted.pop("chroma_location", None)
    return [Check(key, got[key] == value, value, got[key]) for key, value in wanted.items()]


def _hdr(promised: VideoInfo, result: VideoInfo) -> list[Check]:
    """The HDR metadata that were promised; each codec counts mastering displays in fractions of its own."""
    checks = []
    if promised.mastering:
        expected, got = (_numbers(v.mastering, promised.mastering) for v in (promised, result))
        near = len(expected) == len(got) and all(
            math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-4) for a, b in zip(expected, got, strict=True)
        )
        checks.append(Check("mastering_display", near, expected, got))
    if promised.light:
        checks.append(Check("content_light", result.light == promised.light, promised.light, result.light))
    return checks


def _numbers(mastering: Mastering | None, said: Mastering) -> list[float]:
    """Red, green, blue and white as x, y; least and greatest luminance: those of them that ``said`` has."""
    if mastering is None:
        return []
    pairs = [*((mastering.primaries or ()) if said.primaries else ())]
    pairs += [mastering.white_point] if said.white_point and mastering.white_point else []
    pairs += [mastering.luminance] if said.luminance and mastering.luminance else []
    return [round(float(value), 4) for pair in pairs for value in pair]
