"""Encoders: which one a source gets, how quality is said to each, and what becomes of depth, colours, HDR and alpha."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import Clip

from vsr.errors import OutputError, UsageError
from vsr.frame import Color, Frame, Mastering, VideoInfo
from vsr.media.codecs import CONTAINERS, EncoderSettings, choose_codec, choose_format, fits
from vsr.media.coder import Coder, trial
from vsr.media.copy import Copies
from vsr.media.decode import Decoder
from vsr.media.encode import Encoder, Written
from vsr.media.pixels import Layout, views
from vsr.media.probe import probe
from vsr.media.verify import Check, verify
from vsr.pipeline import Job, run
from vsr.size import Resolution

SDR = Color(range=1, space=1, primaries=1, transfer=1, chroma_location=1)
PQ = Color(range=1, space=9, primaries=9, transfer=16, chroma_location=3)
INFO = VideoInfo(
    index=0, codec="rawvideo", width=64, height=48, pix_fmt="yuv420p", time_base=Fraction(1, 25), rate=Fraction(25),
    frames=None, start=0, duration=None, sample_aspect=None, rotation_degrees=0, color=SDR, interlaced=False,
)  # fmt: skip
FAST = {"h264": "ultrafast", "hevc": "ultrafast", "av1": "ultrafast", "vp9": "ultrafast", "libvpx": "ultrafast"}
YUV420, YUV422, YUV444, YUV411, YUV440 = (1, 1), (1, 0), (0, 0), (2, 0), (0, 1)


def settings(codec: str, **more: Any) -> EncoderSettings:
    return EncoderSettings(codec, preset=FAST.get(codec), **more)


def frame(layout: Layout, number: int = 0, size: tuple[int, int] = (64, 48), pts: int | None = None) -> Frame:
    """Gentle gradients, which no encoder changes much; alpha grows from the left to the right."""
    width, height = size
    shapes = [(height, width)]
    if layout.chroma is not None:
        shapes += [layout.chroma_size(width, height)[::-1]] * 2
    peak = (1 << layout.bits) - 1
    dtype = np.uint8 if layout.bits == 8 else np.uint16
    planes = []
    for index, (rows, columns) in enumerate(shapes):
        y, x = np.mgrid[0:rows, 0:columns]
        values = (0.3 + 0.1 * index + 0.3 * x / columns + 0.1 * y / rows + 0.01 * number) * peak
        planes.append(values.astype(dtype))
    alpha = None
    if layout.alpha:
        alpha = np.broadcast_to(np.linspace(0, peak, width), (height, width)).astype(dtype)
    return Frame(tuple(planes), layout.bits, number if pts is None else pts, INFO.time_base, alpha=alpha)


def encode(path: Path, coder: Coder, layout: Layout, count: int = 3, pts: list[int] | None = None) -> Written:
    written = Written(coder.width, coder.height, INFO.time_base, coder.promised, coder.container or "")
    written.pts.extend(pts or range(count))
    with av.open(str(path), "w", format=coder.container) as output:
        stream = coder.add_stream(output)
        for number, when in enumerate(written.pts):
            picture = frame(layout, number, (coder.width, coder.height), when)
            output.mux(coder.encode(stream, picture))
        output.mux(coder.encode(stream, None))
    return written


def ffprobe(path: Path) -> dict[str, Any]:
    tool = shutil.which("ffprobe")
    if tool is None:
        pytest.skip("no ffprobe")
    command = [tool, "-v", "error", "-show_streams", "-show_frames", "-read_intervals", "%+#1", "-of", "json"]
    found = json.loads(subprocess.run([*command, str(path)], capture_output=True, check=True, text=True).stdout)
    return {**found["streams"][0], "side_data": found["frames"][0].get("side_data_list", [])}


# ---- the choice --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "container", "codec"),
    [
        (Layout(YUV420, 8), None, "h264"), (Layout(YUV422, 10), None, "h264"), (Layout(YUV444, 9), None, "h264"),
        (Layout(None, 8), None, "h264"), (Layout(None, 10), None, "h264"), (Layout(None, 12), None, "hevc"),
        (Layout(YUV420, 12), None, "hevc"), (Layout(YUV444, 14), None, "ffv1"), (Layout(None, 16), None, "ffv1"),
        (Layout(YUV411, 8), None, "ffv1"), (Layout((2, 2), 8), None, "ffv1"), (Layout(YUV440, 8), None, "ffv1"),
        (Layout(YUV420, 8, alpha=True), None, "ffv1"), (Layout(YUV444, 16, alpha=True), "matroska", "ffv1"),
        (Layout(YUV420, 8), "webm", "vp9"), (Layout(YUV420, 10), "webm", "av1"),
        (Layout(YUV444, 8), "webm", "vp9"), (Layout(YUV420, 8, alpha=True), "webm", "vp9"),
        (Layout(YUV420, 8, alpha=True), "mp4", "h264"), (Layout(YUV444, 16), "mp4", "hevc"),
        (Layout(YUV411, 8), "mp4", "h264"), (Layout(YUV444, 12, alpha=True), "mov", "prores"),
        (Layout(YUV422, 12), "mov", "hevc"), (Layout(YUV422, 12), "avi", "ffv1"),
    ],
)  # fmt: skip
def test_the_first_codec_that_holds_the_source_is_chosen(layout: Layout, container: str | None, codec: str) -> None:
    assert choose_codec(layout, INFO, container) == codec


def test_hdr_and_rgb_get_hevc() -> None:
    hlg = replace(INFO, color=replace(PQ, transfer=18))
    for info in (replace(INFO, color=PQ), hlg, replace(INFO, pix_fmt="gbrp")):
        assert choose_codec(Layout(YUV420, 10), info, None) == "hevc"
        assert choose_codec(Layout(YUV420, 10), info, "mp4") == "hevc"
    assert choose_codec(Layout(YUV420, 10), hlg, "webm") == "av1"


@pytest.mark.parametrize("container", sorted(set(CONTAINERS.values())))
def test_a_container_alone_has_a_codec_that_opens(container: str) -> None:
    EncoderSettings(choose_codec(None, None, container)).check(container)


@pytest.mark.parametrize("container", sorted(set(CONTAINERS.values())))
@pytest.mark.parametrize("codec", [*FAST, "ffv1", "prores", "mpeg4", "mjpeg", "png", "qtrle"])
def test_each_codec_opens_in_a_container_or_is_refused_there(tmp_path: Path, codec: str, container: str) -> None:
    try:
        settings(codec).check(container)
    except UsageError as error:
        said = [f"{container} cannot hold {codec}"] + ["takes no planar YUV"] * (codec in ("png", "qtrle"))
        assert any(what in str(error) for what in said)
        return
    assert fits(EncoderSettings(codec).encoder(), container)
    coder = Coder(INFO, Layout(YUV420, 8), settings(codec), 64, 48, container)
    path = tmp_path / "a"
    written = encode(path, coder, Layout(YUV420, 8), 5)
    assert not [check for check in verify(path, written, coder.promised) if not check.ok]


# ---- quality and speed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "key", "values"),
    [
        ("h264", "crf", {0: "0", 18: "18", 23.5: "23.5", 51: "51"}), ("hevc", "crf", {9: "10", 18: "20", 51: "51"}),
        ("av1", "crf", {0: "1", 12: "12", 18: "24", 30: "48", 51: "63"}),
        ("vp9", "crf", {0: "0", 18: "24", 24: "36", 51: "63"}), ("libvpx", "crf", {0: "4", 18: "24", 51: "63"}),
        ("hevc_nvenc", "cq", {0: "1", 18: "20", 51: "51"}), ("h264_qsv", "global_quality", {0: "1", 18: "20"}),
        ("h264_amf", "qp_p", {18: "20", 51: "51"}), ("av1_amf", "qp_p", {18: "100", 51: "255"}),
    ],
)  # fmt: skip
def test_crf_has_x264s_scale_for_all(codec: str, key: str, values: dict[float, str]) -> None:
    try:
        default = EncoderSettings(codec).encoder_options()[key]
    except UsageError:
        pytest.skip(f"this FFmpeg has no {codec}")
    assert default == values[18]
    assert {crf: EncoderSettings(codec, crf).encoder_options()[key] for crf in values} == values


@pytest.mark.parametrize("crf", [-1, 51.5, 63, float("nan")])
@pytest.mark.parametrize("codec", ["h264", "av1", "ffv1"])
def test_a_crf_that_x264_has_not_is_refused(codec: str, crf: float) -> None:
    with pytest.raises(UsageError, match="crf is from 0"):
        EncoderSettings(codec, crf).check("matroska")


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_crf_0_is_lossless(tmp_path: Path, codec: str) -> None:
    layout = Layout(YUV420, 8)
    encode(tmp_path / "a.mkv", Coder(INFO, layout, settings(codec, crf=0), 64, 48, "matroska"), layout, 4)
    with av.open(str(tmp_path / "a.mkv")) as container:
        for number, picture in enumerate(container.decode(video=0)):
            np.testing.assert_array_equal(views(picture)[0], frame(layout, number).luma)


@pytest.mark.parametrize(
    ("codec", "option", "says"),
    [("h264", ("x264-params", "keyint=4:bogus=3"), "bogus"), ("hevc", ("x265-params", "bogus=2"), "bogus"),
     ("h264", ("x264-params", "keyint=often"), "often"), ("av1", ("svtav1-params", "bogus=2"), "bogus"),
     ("h264", ("time_base", "1/10"), "time_base"), ("ffv1", ("pix_fmt", "gray"), "pix_fmt"),
     ("hevc", ("video_size", "64x64"), "leave it out")],
)  # fmt: skip
def test_what_an_encoder_does_not_take_is_refused(codec: str, option: tuple[str, str], says: str) -> None:
    for _ in range(2):  # FFmpeg's log leaves out what it repeats
        with pytest.raises(UsageError, match=says):
            settings(codec, options=(option,)).check("matroska")
    settings("h264", options=(("x264-params", "keyint=4:scenecut=0"),)).check("matroska")


def test_quicktime_with_raw_pictures_is_refused() -> None:
    with pytest.raises(UsageError, match="mov cannot hold rawvideo"):
        settings("rawvideo").check("mov")


def test_options_of_the_user_join_those_of_the_picture() -> None:
    asked = settings("hevc", options=(("x265-params", "keyint=7"), ("g", "9")))
    options = asked.encoder_options([("x265-params", "max-cll=1,2")])
    assert options["x265-params"] == "log-level=error:max-cll=1,2:keyint=7" and options["g"] == "9"


@pytest.mark.parametrize("codec", ["h264_nvenc", "hevc_nvenc", "av1_nvenc", "hevc_qsv", "av1_qsv", "h264_amf"])
def test_hardware_that_is_not_there_is_named(codec: str) -> None:
    try:
        EncoderSettings(codec).check("mp4")
    except UsageError as error:
        assert any(what in str(error) for what in ("it needs an", "not in this FFmpeg"))


# ---- pixel formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "layout", "says"),
    [
        ("h264", Layout(YUV420, 12), "10 bits instead of 12"), ("h264", Layout(YUV420, 8, alpha=True), "no alpha"),
        ("hevc", Layout(YUV444, 10, alpha=True), "no alpha"), ("vp9", Layout(YUV420, 10), "8 bits instead of 10"),
        ("av1", Layout(YUV444, 12), "10 bits instead of 12, 4:2:0 instead of 4:4:4"),
        ("prores", Layout(YUV444, 16), "10 bits instead of 16"),
        ("vp9", Layout(YUV444, 8, alpha=True), "4:2:0 instead of 4:4:4"),
    ],
)
def test_what_is_reduced_is_said_in_words(codec: str, layout: Layout, says: str) -> None:
    coder = Coder(INFO, layout, settings(codec), 64, 48, None)
    assert coder.warnings == [("format", f"{codec} has {says}")]


@pytest.mark.parametrize(
    ("codec", "layout"),
    [
        ("h264", Layout(YUV411, 8)), ("prores", Layout(YUV420, 8)), ("vp9", Layout(None, 8)), ("hevc", Layout(None, 9)),
        ("ffv1", Layout(YUV444, 14)), ("prores", Layout(YUV444, 10, alpha=True)), ("av1", Layout(YUV420, 9)),
    ],
)  # fmt: skip
def test_more_than_the_source_has_is_no_loss(codec: str, layout: Layout) -> None:
    assert not Coder(INFO, layout, settings(codec), 64, 48, None).warnings


def test_an_odd_side_becomes_444_where_the_codec_cannot_subsample_it() -> None:
    coder = Coder(INFO, Layout(YUV420, 8), settings("h264"), 63, 48, "mp4")
    assert coder.pix_fmt == "yuv444p"
    assert [code for code, _ in coder.warnings] == ["format"] and "no odd side (63x48)" in coder.warnings[0][1]
    for codec in ("vp9", "av1", "ffv1"):
        encoder = EncoderSettings(codec).encoder()
        assert choose_format(encoder, Layout(YUV420, 8), 63, 47)[1].chroma == YUV420


@pytest.mark.parametrize("source", [YUV420, YUV422])
@pytest.mark.parametrize("location", [1, 2, 3])
def test_chroma_is_converted_from_where_it_lies(source: tuple[int, int], location: int) -> None:
    """A ramp of chroma keeps its place among the luma samples (4:4:4 has chroma on each of them)."""
    if source == YUV422 and location == 3:
        pytest.skip("4:2:2 has no vertical place")
    color = replace(SDR, chroma_location=location)
    coder = Coder(replace(INFO, color=color), Layout(source, 8), settings("h264"), 63, 48, None)
    columns, rows = 32, 24 * 2 // (1 << source[1])
    site = 0.5 if location == 2 else 0.0
    ramp = np.broadcast_to(40 + 4 * np.arange(columns), (rows, columns)).astype(np.uint8)
    picture = coder.picture(
        Frame((np.full((48, 63), 100, np.uint8), ramp, ramp), 8, 0, INFO.time_base, color=color)
    )
    assert picture.format.name == "yuv444p"
    got = np.frombuffer(picture.planes[1], np.uint8).reshape(48, -1)[24, 4:59]
    np.testing.assert_allclose(got, 40 + 2.0 * (np.arange(4, 59) - site), atol=0.75)


@pytest.mark.parametrize(
    ("codec", "name", "layout"),
    [
        ("ffv1", "a.mkv", Layout(YUV420, 8, alpha=True)), ("ffv1", "a.mkv", Layout(YUV444, 16, alpha=True)),
        ("vp9", "a.webm", Layout(YUV420, 8, alpha=True)), ("libvpx", "a.webm", Layout(YUV420, 8, alpha=True)),
        ("prores", "a.mov", Layout(YUV444, 10, alpha=True)), ("prores", "a.mov", Layout(YUV420, 8, alpha=True)),
    ],
)  # fmt: skip
def test_alpha_comes_back(tmp_path: Path, codec: str, name: str, layout: Layout) -> None:
    path = tmp_path / name
    best = None if codec in ("ffv1", "prores") else 4
    coder = Coder(INFO, layout, settings(codec, crf=best), 62, 46, CONTAINERS[path.suffix])
    assert coder.layout.alpha and "format" not in dict(coder.warnings)
    written = encode(path, coder, layout, 12)
    assert Check("alpha", True, True, True) in verify(path, written, coder.promised)
    with Decoder(path) as source:
        frames = [item for item in source if isinstance(item, Frame)]
    assert len(frames) == 12
    for number, got in enumerate(frames):
        given = frame(layout, number, (62, 46)).alpha
        assert given is not None and got.alpha is not None
        error = np.abs(got.alpha / ((1 << got.bits) - 1) - given / ((1 << layout.bits) - 1))
        assert error.max() < {"ffv1": 1e-9, "prores": 0.001}.get(codec, 0.02)


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize(
    ("layout", "pix_fmt"),
    [(Layout(YUV444, 12, alpha=True), "yuva444p16le"), (Layout(YUV422, 12, alpha=True), "yuva422p16le"),
     (Layout(YUV420, 16, alpha=True), "yuva420p16le"), (Layout(YUV440, 10), "yuv440p10le")],
)  # fmt: skip
def test_ffv1_has_formats_that_older_decoders_know(
    tmp_path: Path, layout: Layout, pix_fmt: str, color_range: int
) -> None:
    color = replace(SDR, range=color_range)
    coder = Coder(replace(INFO, color=color), layout, settings("ffv1"), 64, 48, "matroska")
    assert coder.pix_fmt == pix_fmt and not coder.warnings
    path = tmp_path / "a.mkv"
    encode(path, coder, layout)
    given = frame(layout)
    with av.open(str(path)) as container:
        luma, blue, _, *alpha = views(next(container.decode(video=0)))
    more = coder.layout.bits - layout.bits
    np.testing.assert_array_equal(luma >> more, given.luma)
    np.testing.assert_array_equal(blue >> more, given.planes[1])
    if layout.alpha:
        assert (alpha[0].min(), alpha[0].max()) == (0, (1 << coder.layout.bits) - 1)
        np.testing.assert_array_equal(alpha[0] >> more, given.alpha)
    tool = shutil.which("ffmpeg")
    if tool:
        said = subprocess.run([tool, "-v", "error", "-i", path, "-f", "framecrc", "-"], capture_output=True, text=True)
        assert said.stderr == "" and len([line for line in said.stdout.splitlines() if line[0] != "#"]) == 3


def test_alpha_is_dropped_where_the_container_has_no_place_for_it() -> None:
    coder = Coder(INFO, Layout(YUV420, 8, alpha=True), settings("vp9"), 64, 48, "mp4")
    assert coder.warnings == [("format", "vp9 has no alpha")] and coder.pix_fmt == "yuv420p"


# ---- colours -----------------------------------------------------------------------------------------------------

RARE = [
    Color(1, 8, 4, 8, 1), Color(1, 9, 10, 17, 3), Color(1, 10, 9, 14, 1), Color(1, 14, 9, 16, 3), Color(1, 7, 7, 7, 2),
    Color(2, 5, 5, 6, 2), Color(1, 6, 8, 12, 1), Color(1, 2, 2, 2, 1), Color(2, 2, 2, 2, 3), Color(1, 1, 22, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("color", RARE, ids=str)
@pytest.mark.parametrize(
    ("codec", "name"),
    [("h264", "a.mp4"), ("hevc", "a.mkv"), ("hevc", "a.mp4"), ("av1", "a.mp4"), ("vp9", "a.webm"), ("ffv1", "a.mkv"),
     ("prores", "a.mov"), ("ffv1", "a.avi")],
)  # fmt: skip
def test_colour_tags_pass_or_are_warned_of(tmp_path: Path, codec: str, name: str, color: Color) -> None:
    path, layout = tmp_path / name, Layout(YUV420, 8)
    coder = Coder(replace(INFO, color=color), layout, settings(codec), 64, 48, CONTAINERS[path.suffix])
    written = encode(path, coder, layout)
    failed = [check for check in verify(path, written, coder.promised) if not check.ok]
    assert not failed
    said = " ".join(message for code, message in coder.warnings if code == "color")
    subsampled_alike = coder.layout.chroma == YUV420
    for field in ("range", "space", "primaries", "transfer", "chroma_location"):
        kept = getattr(coder.promised.color, field) == getattr(color, field)
        if kept or (field == "chroma_location" and not subsampled_alike):
            continue
        assert field in said


@pytest.mark.parametrize(("codec", "name"), [("h264", "a.mp4"), ("hevc", "a.mp4"), ("ffv1", "a.mkv")])
def test_ffprobe_reads_the_same_tags(tmp_path: Path, codec: str, name: str) -> None:
    path, layout = tmp_path / name, Layout(YUV420, 10)
    for color in (PQ, Color(1, 2, 2, 2, 1), Color(2, 5, 5, 6, 2)):
        coder = Coder(replace(INFO, color=color), layout, settings(codec), 64, 48, CONTAINERS[path.suffix])
        encode(path, coder, layout)
        assert not coder.warnings
        found, ours = ffprobe(path), probe(path).to_json()["video"]
        for key in ("color_range", "color_space", "color_primaries", "color_transfer"):
            assert found.get(key) == ours[key]
        assert found["color_range"] == ("pc" if color.range == 2 else "tv")


def test_full_range_is_converted_where_it_could_not_be_said(tmp_path: Path) -> None:
    color = replace(SDR, range=2)
    coder = Coder(replace(INFO, color=color), Layout(YUV422, 8), settings("prores"), 64, 48, "mov")
    assert coder.promised.color.range == 1
    planes = np.full((48, 64), 255, np.uint8), *[np.full((48, 32), 128, np.uint8)] * 2
    picture = coder.picture(Frame(planes, 8, 0, INFO.time_base, color=color))
    assert picture.color_range == 1
    luma = np.frombuffer(picture.planes[0], "<u2")[:64]
    assert set(luma.tolist()) <= set(range(936, 941))


# ---- HDR ---------------------------------------------------------------------------------------------------------

MASTERING = Mastering(
    primaries=(
        (Fraction(34000, 50000), Fraction(16000, 50000)),
        (Fraction(13250, 50000), Fraction(34500, 50000)),
        (Fraction(7500, 50000), Fraction(3000, 50000)),
    ),
    white_point=(Fraction(15635, 50000), Fraction(16450, 50000)),
    luminance=(Fraction(50, 10000), Fraction(1000)),
)
HDR10 = replace(INFO, color=PQ, mastering=MASTERING, light=(1000, 400))


@pytest.mark.parametrize(
    ("codec", "name"),
    [("hevc", "a.mp4"), ("hevc", "a.mkv"), ("av1", "a.mp4"), ("av1", "a.webm"), ("h264", "a.mkv"), ("h264", "a.mp4")],
)
def test_hdr_metadata_arrive(tmp_path: Path, codec: str, name: str) -> None:
    path, layout = tmp_path / name, Layout(YUV420, 10)
    coder = Coder(HDR10, layout, settings(codec), 64, 48, CONTAINERS[path.suffix])
    assert not coder.warnings and coder.promised.mastering == MASTERING
    checks = {check.name: check for check in verify(path, encode(path, coder, layout), coder.promised)}
    assert checks["mastering_display"].ok and checks["content_light"].ok
    if codec == "h264":
        return  # older decoders of FFmpeg do not look for it
    found = {data["side_data_type"]: data for data in ffprobe(path)["side_data"]}
    display, light = found["Mastering display metadata"], found["Content light level metadata"]
    assert (light["max_content"], light["max_average"]) == (1000, 400)
    steps = Fraction(1, 50000) if codec == "hevc" else Fraction(1, 65536)
    for colour, (x, y) in zip(("red", "green", "blue"), MASTERING.primaries or (), strict=True):
        assert abs(Fraction(display[f"{colour}_x"]) - x) < steps and abs(Fraction(display[f"{colour}_y"]) - y) < steps
    assert Fraction(display["max_luminance"]) == 1000
    assert abs(Fraction(display["min_luminance"]) - Fraction(50, 10000)) < Fraction(1, 16384)


@pytest.mark.parametrize(("codec", "container"), [("vp9", "webm"), ("ffv1", "matroska"), ("prores", "mov")])
def test_a_loss_of_hdr_metadata_is_warned_of(codec: str, container: str) -> None:
    coder = Coder(HDR10, Layout(YUV420, 10), settings(codec), 64, 48, container)
    said = [message for code, message in coder.warnings if code == "hdr"]
    assert len(said) == 2 and "mastering display" in said[0] and "content light level" in said[1]
    assert coder.promised.mastering is None and coder.promised.light is None


@pytest.mark.parametrize(("codec", "name"), [("hevc", "a.mp4"), ("h264", "a.mkv")])
@pytest.mark.parametrize("half", [{"luminance": None}, {"primaries": None, "white_point": None}])
def test_half_a_mastering_display_arrives(tmp_path: Path, codec: str, name: str, half: dict[str, None]) -> None:
    path, layout = tmp_path / name, Layout(YUV420, 10)
    info = replace(HDR10, mastering=replace(MASTERING, **half))
    coder = Coder(info, layout, settings(codec), 64, 48, CONTAINERS[path.suffix])
    checks = {check.name: check for check in verify(path, encode(path, coder, layout), coder.promised)}
    assert not coder.warnings and checks["mastering_display"].ok
    assert len(checks["mastering_display"].expected) == (8 if "luminance" in half else 2)


@pytest.mark.parametrize(
    ("codec", "name", "kept"),
    [("h264", "a.mkv", True), ("hevc", "a.mp4", True), ("vp9", "a.mp4", True), ("prores", "a.mov", True),
     ("av1", "a.mp4", True), ("vp9", "a.webm", False), ("ffv1", "a.mkv", False)],
)  # fmt: skip
def test_the_shape_of_pixels_is_kept_or_warned_of(tmp_path: Path, codec: str, name: str, kept: bool) -> None:
    path, layout = tmp_path / name, Layout(YUV420, 8)
    coder = Coder(replace(INFO, sample_aspect=Fraction(64, 45)), layout, settings(codec), 64, 48,
                  CONTAINERS[path.suffix])  # fmt: skip
    assert [code for code, _ in coder.warnings] == ([] if kept else ["aspect"])
    assert not [check for check in verify(path, encode(path, coder, layout), coder.promised) if not check.ok]


# ---- time --------------------------------------------------------------------------------------------------------

UNEVEN = [0, 1, 2, 7, 8, 30, 31, 32, 33, 34, 60, 61, 100, 101, 102, 103, 150, 151, 152, 153, 170, 171, 200]


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize(
    ("codec", "name"),
    [("h264", "a.mp4"), ("h264", "a.mov"), ("hevc", "a.mp4"), ("hevc", "a.mkv"), ("av1", "a.webm"), ("av1", "a.mp4"),
     ("vp9", "a.webm"), ("vp9", "a.mp4"), ("libvpx", "a.mkv"), ("ffv1", "a.mkv"), ("prores", "a.mov")],
)  # fmt: skip
def test_uneven_times_stay_as_they_are(tmp_path: Path, codec: str, name: str, start: int) -> None:
    preset = None if codec in ("ffv1", "prores") else "medium"  # with B-frames and pictures that are never shown
    path, layout = tmp_path / name, Layout(YUV420, 8)
    coder = Coder(INFO, layout, EncoderSettings(codec, preset=preset), 64, 48, CONTAINERS[path.suffix])
    written = encode(path, coder, layout, pts=[start + pts for pts in UNEVEN])
    checks = {check.name: check for check in verify(path, written, coder.promised)}
    assert checks["frames"].ok and checks["timestamps"].got == "all equal"


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("options", [(), (("bf", "2"),)])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize(("codec", "ticks"), [("mpeg2video", 12800), ("mpeg4", 90000)])
def test_an_encoder_that_counts_frames_has_any_times(
    tmp_path: Path, codec: str, ticks: int, name: str, options: tuple[tuple[str, str], ...], start: int
) -> None:
    path, layout = tmp_path / name, Layout(YUV420, 8)
    unit = ticks // 100
    coder = Coder(replace(INFO, time_base=Fraction(1, ticks)), layout, settings(codec, options=options), 64, 48,
                  CONTAINERS[path.suffix])  # fmt: skip
    written = Written(64, 48, coder.promised.time_base, coder.promised, coder.container or "")
    written.pts.extend(unit * (start + pts) for pts in UNEVEN)
    with av.open(str(path), "w", format=coder.container, options={"avoid_negative_ts": "disabled"}) as output:
        stream = coder.add_stream(output)
        for number, pts in enumerate(written.pts):
            picture = replace(frame(layout, number, pts=pts), time_base=coder.promised.time_base)
            output.mux(coder.encode(stream, picture))
        output.mux(coder.encode(stream, None))
    assert not [check for check in verify(path, written, coder.promised) if not check.ok]


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
def test_a_rate_that_a_codec_cannot_say_is_named(clip: Clip, tmp_path: Path, codec: str) -> None:
    path = clip("a.mp4", time_base=Fraction(1, 17), pts=range(20))
    with pytest.raises(OutputError, match=r"at 17[.\d]* a second: .*; choose another codec"):
        run(Job(path, tmp_path / "b.mkv", model="bicubic", codec=codec))
    assert not (tmp_path / "b.mkv").exists()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "ffv1"])
def test_one_or_two_frames_are_a_video_too(tmp_path: Path, codec: str, count: int) -> None:
    container = "matroska" if codec == "ffv1" else "mp4"
    path, layout = tmp_path / "a", Layout(YUV420, 8)
    preset = None if codec == "ffv1" else "veryfast"
    coder = Coder(INFO, layout, EncoderSettings(codec, preset=preset), 64, 48, container)
    written = encode(path, coder, layout, count)
    assert not [check for check in verify(path, written, coder.promised) if not check.ok]


@pytest.mark.parametrize(
    ("codec", "name"),
    [("h264", "a.mkv"), ("hevc", "a.mkv"), ("av1", "a.mkv"), ("av1", "a.mp4"), ("vp9", "a.webm"), ("vp9", "a.mp4"),
     ("ffv1", "a.mkv"), ("prores", "a.mov")],
)  # fmt: skip
def test_the_last_frame_is_shown_for_as_long_as_in_the_source(tmp_path: Path, codec: str, name: str) -> None:
    path, layout = tmp_path / name, Layout(YUV420, 8)
    preset = None if codec in ("ffv1", "prores") else "medium"
    coder = Coder(INFO, layout, EncoderSettings(codec, preset=preset), 64, 48, CONTAINERS[path.suffix])
    with av.open(str(path), "w", format=coder.container) as output:
        stream = coder.add_stream(output)
        for number, (pts, duration) in enumerate([(0, 1), (1, 4), (5, 1), (6, 1), (7, 13), (20, 30)]):
            output.mux(coder.encode(stream, replace(frame(layout, number, pts=pts), duration=duration)))
        output.mux(coder.encode(stream, None))
    with av.open(str(path)) as container:
        assert container.duration == 2_000_000


# ---- a trial -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "ffv1", "prores"])
def test_a_trial_encodes_as_the_job_would(clip: Clip, tmp_path: Path, codec: str) -> None:
    layout = Layout(YUV420, 8)
    with Decoder(clip("a.mp4")) as source:
        frames = [frame(layout, number, (96, 64)) for number in range(5)]
        seconds, key, others = trial(frames, source, settings(codec), Resolution(2, 96, 64, None))
        assert seconds > 0 and key > 0 and others > 0
        coder = Coder(source.info, source.layout, settings(codec), 96, 64, "matroska")
        with av.open(str(tmp_path / "b.mkv"), "w") as output:
            stream = coder.add_stream(output)
            sizes = [packet.size for item in (*frames, None) for packet in coder.encode(stream, item)]
    assert (key, others) == (sizes[0], sum(sizes[1:]))


def test_an_encoder_that_fails_in_the_trial_is_an_output_error(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise av.error.ExternalError(1, "no session left")

    with Decoder(clip("a.mp4")) as source:
        monkeypatch.setattr(Coder, "open", fail)
        with pytest.raises(OutputError, match=r"h264 cannot encode pictures of 96x64 .*: no session left"):
            trial([frame(source.layout)], source, settings("h264"), Resolution(2, 96, 64, None))


def test_a_container_that_takes_no_stream_is_an_output_error(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise av.error.ArgumentError(22, "no such stream")

    monkeypatch.setattr(Copies, "add", fail)
    with (
        Decoder(clip("a.mp4", audio=1)) as source,
        pytest.raises(OutputError, match=r"b\.mkv cannot be written: no such stream"),
    ):
        Encoder(tmp_path / "b.mkv", "matroska", source, Resolution(2, 96, 64, None), settings("h264"))
