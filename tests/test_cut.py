"""Cutting: exactly the frames between two times, and the sound and texts of the same moment."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import Clip
from test_copy import events, read_at, remux, with_subtitles

from vsr.errors import InputError, UsageError
from vsr.frame import Frame
from vsr.media.cut import Cut, parse_time
from vsr.media.decode import Decoder


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1:30.5", Fraction(181, 2)), ("00:01:30.500", Fraction(181, 2)), ("0.1", Fraction(1, 10)),
     ("100:00:00", 360000), ("0", 0), ("5:07", 307), (" 2 ", 2)],
)  # fmt: skip
def test_times_are_read_exactly(text: str, seconds: Fraction) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "1:60", "1:75:00", "1:2:3:4", "1,5", "1e3", "nan", ".", "1:", "٣"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no time"):
        parse_time(text)


def test_a_cut_ends_after_its_start() -> None:
    for end in (Fraction(2), Fraction(1)):
        with pytest.raises(UsageError, match="empty"):
            Cut(Fraction(2), end)


def read(path: Path, cut: Cut | None = None) -> tuple[list[Frame], dict[int, list[tuple[Fraction, bytes]]]]:
    """All frames, and (time, bytes) of all packets of the other streams."""
    frames: list[Frame] = []
    packets: dict[int, list[tuple[Fraction, bytes]]] = {}
    with Decoder(path, cut) as source:
        source.copied |= {stream for stream in source.container.streams if stream is not source.stream}
        for item in source:
            if isinstance(item, Frame):
                frames.append(item)
            else:
                packets.setdefault(item.stream.index, []).append((item.pts * item.time_base, bytes(item)))
    return frames, packets


def origin(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return Fraction(container.start_time or 0, av.time_base)


def is_exact(path: Path, start: Fraction, end: Fraction | None) -> int:
    """Compare a cut of ``path`` with the same part of the whole; the number of its frames."""
    frames, packets = read(path)
    zero = origin(path)
    low, high = start + zero, None if end is None else end + zero
    near = Fraction(1, 10**6)  # the resolution of the container's own start

    def inside(time: Fraction) -> bool:
        return time >= low - near and (high is None or time < high - near)

    expected = [frame for frame in frames if inside(frame.pts * frame.time_base)]
    cut_frames, cut_packets = read(path, Cut(start, end))
    first = expected[0].pts * expected[0].time_base
    assert [f.pts for f in cut_frames] == [f.pts - expected[0].pts for f in expected]
    for a, b in zip(expected, cut_frames, strict=True):
        for x, y in zip(a.planes, b.planes, strict=True):
            np.testing.assert_array_equal(x, y)
    with av.open(str(path)) as container:
        sounds = [s.index for s in container.streams.audio]
    for index in sounds:
        kept = [(t - first, data) for t, data in packets.get(index, []) if t >= first and (high is None or t < high)]
        got = cut_packets.get(index, [])
        assert [data for _, data in got] == [data for _, data in kept]
        assert all(abs(a - b) < Fraction(1, 1000) for (a, _), (b, _) in zip(got, kept, strict=True))
    return len(expected)


@pytest.mark.parametrize(
    ("name", "codec", "time_base", "pts", "options"),
    [
        ("b-frames.mp4", "libx264", Fraction(1, 12800), range(0, 90 * 512, 512), {"bf": "3", "g": "12"}),
        ("open-gop.mkv", "libx264", Fraction(1, 1000), range(0, 3600, 40), {"bf": "3", "g": "12", "flags": "-cgop"}),
        ("one-gop.mp4", "libx264", Fraction(1, 12800), range(0, 90 * 512, 512), {"bf": "3", "g": "600"}),
        ("offset.mp4", "libx264", Fraction(1, 90000), range(123457, 123457 + 90 * 3003, 3003), {"bf": "2", "g": "10"}),
        ("vfr.mkv", "libx264", Fraction(1, 1000), [*range(0, 1000, 17), 1400, 1433, *range(2000, 3000, 50)], {}),
        ("late.mkv", "libx264", Fraction(1, 1000), range(7003, 10603, 40), {"g": "8"}),
        ("a.ts", "libx264", Fraction(1, 90000), range(0, 90 * 3600, 3600), {"bf": "2", "g": "12"}),
        ("a.mpg", "mpeg2video", Fraction(1, 25), range(0, 90), {"bf": "2", "g": "12"}),
        ("a.webm", "libvpx-vp9", Fraction(1, 1000), range(0, 3600, 40), {"g": "12", "deadline": "realtime"}),
        ("a.avi", "mpeg4", Fraction(1, 25), range(0, 90), {"bf": "2", "g": "12"}),
        ("h264.avi", "libx264", Fraction(1, 25), range(0, 90), {"bf": "0", "g": "12"}),
        ("a.flv", "libx264", Fraction(1, 1000), range(0, 3600, 40), {"bf": "2", "g": "12"}),
        ("a.gif", "gif", Fraction(1, 100), range(0, 360, 4), {}),
        ("intra.mov", "mjpeg", Fraction(1, 600), range(0, 90 * 24, 24), {}),
    ],
)
def test_a_cut_is_the_same_part_of_the_whole(
    clip: Clip, name: str, codec: str, time_base: Fraction, pts: list[int], options: dict[str, str]
) -> None:
    pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    extra = {} if codec == "gif" else {"audio": 1, "audio_start_s": pts[0] * time_base}
    if name.endswith((".avi", ".mpg", ".webm")):
        extra["audio_codec"] = "libopus" if name.endswith("webm") else "mp2"
    path = clip(name, codec=codec, pix_fmt=pix_fmt, time_base=time_base, pts=pts, options=options, **extra)
    for start, end in ((Fraction(0), None), (Fraction(0), Fraction(1)), (Fraction(7, 5), Fraction(5, 2)),
                       (Fraction(1401, 1000), Fraction(2401, 1000)), (Fraction(2), None)):  # fmt: skip
        assert is_exact(path, start, end)


def test_a_cut_without_a_picture_says_how_long_the_file_is(clip: Clip) -> None:
    path = clip("a.mp4", pts=range(0, 25 * 512, 512))
    for cut in (Cut(Fraction(5)), Cut(Fraction(5), Fraction(6)), Cut(Fraction(1, 1000), Fraction(2, 1000))):
        with pytest.raises(InputError, match=r"a\.mp4 has no picture from .* s; it lasts 1\.0.. s|it lasts 1\.000 s"):
            Decoder(path, cut)


def srt_time(ms: int) -> str:
    return f"00:00:{ms // 1000:02},{ms % 1000:03}"


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_everything_in_a_cut_file_is_at_its_moment(clip: Clip, tmp_path: Path, name: str) -> None:
    lines = [(0, 900), (950, 1300), (1100, 3400), (1500, 1600), (2300, 2700), (2650, 2660), (3000, 3100)]
    text = "".join(f"{i}\n{srt_time(a)} --> {srt_time(b)}\nline {i}\n\n" for i, (a, b) in enumerate(lines))
    path, target = with_subtitles(clip, tmp_path, text, ".srt", audio=1, chapters=4), tmp_path / name
    cut = Cut(Fraction(1203, 1000), Fraction(26, 10))
    failed, warnings = remux(path, target, cut=cut)
    assert not failed[0] and not warnings

    with Decoder(path) as source:
        pts = [f.pts * f.time_base for f in source if isinstance(f, Frame)]
    zero = pts[0]
    first = min(t for t in pts if t - zero >= cut.start)
    offset = round(1000 * first)  # the subtitles' own time is Matroska's
    shown = events(target)
    for ms in range(offset, round(1000 * (cut.end + zero)) if cut.end else 0, 5):
        expected = [f"line {i}" for i, (a, b) in enumerate(lines) if a <= ms < b]
        assert sorted(read_at(shown, ms - offset)) == expected, f"at {ms} ms"
    assert min(begin for begin, _, _ in shown) == 0 and max(end for _, end, _ in shown) <= 1400
    with av.open(str(target)) as container:
        spans = [[float(c[key] * c["time_base"]) for key in ("start", "end")] for c in container.chapters()]
    assert [round(end - begin, 2) for begin, end in spans] == pytest.approx([0.77, 0.61], abs=0.06)
    assert spans[0][0] == 0


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_a_second_video_is_cut_at_its_keyframe(data: Path, tmp_path: Path, name: str) -> None:
    failed, _ = remux(data / "video/torchcodec/nasa_13013.mp4", tmp_path / name, cut=Cut(Fraction(7), Fraction(10)))
    assert not failed[0]
    with av.open(str(tmp_path / name)) as container:
        videos = container.streams.video
        assert len(videos) == 2 and len(container.streams.audio) == 2
        first = next(p for p in container.demux(videos[1]) if p.size)
        assert first.is_keyframe and first.pts >= 0


@pytest.mark.parametrize(
    "name",
    [
        "androidx-media/iibbibb_editlist_videoonly.mp4",
        "torchcodec/discard_first_keyframe.mp4",
        "androidx-media/h265_bframes.mp4",
        "androidx-media/sample_h264_mpeg_audio.ts",
        "androidx-media/sample-with-key-frame-index.flv",
        "androidx-media/water_180_mvhevc_5frames.mov",
        "torchcodec/test_non_zero_start.mp4",
    ],
)
def test_a_cut_of_a_real_clip(data: Path, name: str) -> None:
    path = data / "video" / name
    with av.open(str(path)) as container:
        assert container.duration
        third = Fraction(container.duration, 3 * av.time_base)
    assert is_exact(path, third, None) and is_exact(path, third, 2 * third) and is_exact(path, Fraction(0), third)


def test_a_second_video_that_begins_late_is_told(clip: Clip, tmp_path: Path) -> None:
    """Its keyframes are at 0 and 1 s; the first video's are all."""
    times = {"time_base": Fraction(1, 1000), "pts": range(0, 2000, 40)}
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        sources = [keyed(clip, name, interval, times) for name, interval in (("b.mkv", 1), ("c.mkv", 25))]
        streams = [out.add_stream_from_template(source.streams[0], opaque=True) for source in sources]
        for number, source in enumerate(sources):
            for packet in source.demux():
                if packet.size:
                    packet.stream = streams[number]
                    out.mux(packet)
            source.close()
    told = {}
    for start in (Fraction(0), Fraction(1, 2), Fraction(1), Fraction(3, 2)):
        with Decoder(path, Cut(start)) as source:
            source.copied.add(source.container.streams[1])
            kept = sum(not isinstance(item, Frame) for item in source)
            told[start] = kept, [(code, message.split(": ")[1]) for code, message in source.warnings]
    late = [("late_stream", "video stream #1 is left out of the cut up to its first keyframe there")]
    assert told == {Fraction(0): (50, []), Fraction(1, 2): (25, late), Fraction(1): (25, []), Fraction(3, 2): (0, late)}


def keyed(clip: Clip, name: str, interval: int, times: dict[str, object]) -> av.container.InputContainer:
    """A clip, open, with a keyframe every ``interval`` frames."""
    return av.open(str(clip(name, **times, options={"g": str(interval), "preset": "ultrafast"})))
