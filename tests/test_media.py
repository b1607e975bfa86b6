"""Reading and writing: what comes out of the decoder, what the encoders and containers take, and half-made files."""

from __future__ import annotations

import contextlib
import gc
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import Clip, paint

from vsr.errors import InputError, OutputError, UsageError
from vsr.frame import Frame
from vsr.media.codecs import EncoderSettings, choose_format, fits
from vsr.media.decode import Decoder
from vsr.media.encode import Encoder
from vsr.media.partfile import PartFile
from vsr.media.pixels import Layout, Planar, has_alpha, layout_for, views
from vsr.media.probe import open_input, probe, video_info
from vsr.pipeline import Event, Job, Warned, run
from vsr.size import Resolution

GREY = None


# ---- pixel formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pix_fmt", "chroma", "bits"),
    [
        ("yuv420p", (1, 1), 8), ("yuvj420p", (1, 1), 8), ("yuv422p10le", (1, 0), 10), ("yuv444p12le", (0, 0), 12),
        ("yuv411p", (2, 0), 8), ("yuv410p", (2, 2), 8), ("yuv440p", (0, 1), 8), ("gray", GREY, 8),
        ("gray16le", GREY, 16), ("yuv420p16le", (1, 1), 16),
    ],
)  # fmt: skip
def test_planar_formats_are_used_as_they_are(pix_fmt: str, chroma: tuple[int, int] | None, bits: int) -> None:
    assert Layout.of(pix_fmt) == layout_for(pix_fmt) == Layout(chroma, bits)
    assert Layout.of(Layout(chroma, bits).pix_fmt) == Layout(chroma, bits)


@pytest.mark.parametrize(
    ("pix_fmt", "planar"),
    [
        ("nv12", "yuv420p"), ("p010le", "yuv420p10le"), ("yuv420p10be", "yuv420p10le"), ("gray10be", "gray10le"),
        ("yuyv422", "yuv422p"), ("uyyvyy411", "yuv411p"), ("yuva420p10be", "yuva420p10le"), ("ya8", "yuva420p"),
        ("monow", "gray"),
        ("rgb24", "yuv444p"), ("bgra", "yuva444p"), ("pal8", "yuva444p"), ("gbrp10le", "yuv444p10le"),
        ("gbrap14le", "yuva444p16le"),
        ("rgb48le", "yuv444p16le"), ("gbrpf32le", "yuv444p16le"), ("yuv444p10msble", "yuv444p10le"),
    ],
)  # fmt: skip
def test_all_other_formats_have_a_planar_twin(pix_fmt: str, planar: str) -> None:
    assert Layout.of(pix_fmt) is None
    assert layout_for(pix_fmt).pix_fmt == planar
    assert has_alpha(pix_fmt) == (pix_fmt in ("yuva420p10be", "ya8", "bgra", "pal8", "gbrap14le"))


@pytest.mark.parametrize(("pix_fmt", "color_range"), [("nv12", 1), ("nv12", 2), ("p010le", 1), ("yuyv422", 2)])
def test_yuv_survives_the_conversion_exactly(pix_fmt: str, color_range: int) -> None:
    planar = av.VideoFrame(34, 20, layout_for(pix_fmt).pix_fmt)
    paint(planar, 1)
    planar.color_range = color_range
    packed = planar.reformat(format=pix_fmt, src_color_range=color_range, dst_color_range=color_range, threads=1)
    packed.color_range = color_range
    back = Planar(layout_for(pix_fmt))(packed)
    assert back.color_range == color_range
    for a, b in zip(views(planar), views(back), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [((255, 255, 255), (235, 128, 128)), ((0, 0, 0), (16, 128, 128)), ((255, 0, 0), (63, 102, 240)),
     ((0, 255, 0), (173, 42, 26)), ((0, 0, 255), (32, 240, 118))],
)  # fmt: skip
def test_rgb_becomes_bt709_in_limited_range_and_says_so(rgb: tuple[int, ...], yuv: tuple[int, ...]) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), rgb, np.uint8), "rgb24")
    planar = Planar(layout_for("rgb24"))(frame)
    assert (planar.colorspace, planar.color_range) == (1, 1)
    assert [int(plane[8, 8]) for plane in views(planar)] == list(yuv)


# ---- probe -------------------------------------------------------------------------------------------------------


def test_probe_tells_what_is_in_a_file(clip: Clip) -> None:
    path = clip("a.mp4", audio=2, color=(1, 1, 1, 1), aspect=Fraction(4, 3), rotation=90)
    info = probe(path).to_json()
    assert info["v"] == 1 and info["path"] == str(path) and "mp4" in info["container"]
    assert info["duration_s"] == pytest.approx(12 / 25, abs=0.05)
    assert [(s["type"], s["codec"], s["language"]) for s in info["streams"]] == [
        ("video", "h264", None), ("audio", "aac", "eng"), ("audio", "aac", "spa")]  # fmt: skip
    assert info["streams"][0]["disposition"] == ["default"]
    video = info["video"]
    assert video.pop("rate") == "25/1"
    assert video == {
        "index": 0, "codec": "h264", "width": 48, "height": 32, "pix_fmt": "yuv420p", "frames": 12,
        "time_base": "1/12800", "rotation_degrees": 90, "sample_aspect": "4:3", "color_range": "tv",
        "color_space": "bt709", "color_primaries": "bt709", "color_transfer": "bt709", "chroma_location": "left",
        "interlaced": False, "alpha": False, "mastering_display": None, "content_light_level": None,
    }  # fmt: skip
    json.dumps(info)


@pytest.mark.parametrize(
    ("codec", "name", "place"),
    [("mpeg1video", "a.mpg", "center"), ("mpeg2video", "a.mkv", "left"), ("mjpeg", "a.mkv", "center")],
)
def test_chroma_lies_where_the_codec_has_it(clip: Clip, codec: str, name: str, place: str) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = clip(name, codec=codec, pix_fmt=pix_fmt, time_base=Fraction(1, 25), pts=range(5))
    assert probe(path).to_json()["video"]["chroma_location"] == place


@pytest.mark.parametrize("place", ["left", "center", "topleft", "top", "bottomleft", "bottom"])
@pytest.mark.parametrize(
    ("codec", "name"), [("libx264", "a.mp4"), ("rawvideo", "a.mkv"), ("ffv1", "a.mkv")]
)
def test_a_declared_chroma_location_is_believed(clip: Clip, codec: str, name: str, place: str) -> None:
    if name == "a.mkv" and place.startswith("bottom"):
        pytest.skip("Matroska has no such place")
    path = clip(name, codec=codec, options={"chroma_sample_location": place})
    assert probe(path).to_json()["video"]["chroma_location"] == place


@pytest.mark.parametrize("place", ["bottom", "bottomleft"])
def test_a_rare_chroma_location_arrives(clip: Clip, place: str) -> None:
    path = clip("a.mp4", options={"chroma_sample_location": place})
    warned: list[Event] = []
    made = run(Job(path, model="bicubic", preset="ultrafast"), warned.append)
    assert made and not [event for event in warned if isinstance(event, Warned)]
    assert probe(made.output).to_json()["video"]["chroma_location"] == place


def test_looking_for_the_chroma_location_leaves_pictures_as_they_are(clip: Clip) -> None:
    with open_input(clip("a.avi", time_base=Fraction(1, 25), pts=range(5))) as container:
        stream = container.streams.video[0]
        picture = next(iter(container.decode(stream)))
        before = picture.pts, picture.dts, picture.pict_type
        video_info(stream, picture)
        assert (picture.pts, picture.dts, picture.pict_type) == before and before[0] is None


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format="s16", layout="stereo")
        sound.sample_rate = 8000
        container.mux(track.encode(sound))
        container.mux(track.encode(None))
    return path


def test_probe_takes_audio_alone_but_decoding_does_not(tmp_path: Path) -> None:
    path = audio_only(tmp_path / "a.wav")
    info = probe(path).to_json()
    assert info["video"] is None and info["streams"][0]["type"] == "audio"
    with pytest.raises(InputError, match=r"a\.wav holds no video"):
        Decoder(path)


def bad_input(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("Licensed under the Apache License, Version 2.0 (the License);\n" * 40)
    elif kind == "ANSI art":
        path = path.with_suffix(".txt")
        path.write_text("A text, which FFmpeg would draw as a video of a terminal.\n" * 9)
    elif kind == "cut header":
        path.write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41\0\0")
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [("missing", "does not exist"), ("folder", "is a folder"), ("empty", "is empty"), ("text", "is not a video"),
     ("ANSI art", "is not a video"), ("cut header", "is not a video")],
)  # fmt: skip
def test_what_is_no_video_is_said_in_one_line(tmp_path: Path, kind: str, says: str) -> None:
    path = bad_input(kind, tmp_path)
    for look in (probe, Decoder):
        with pytest.raises(InputError, match=says) as caught:
            look(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_an_unreadable_file_is_said_to_be_so(clip: Clip) -> None:
    path = clip("a.mp4")
    path.chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        probe(path)


# ---- decode ------------------------------------------------------------------------------------------------------


def frames_of(path: Path) -> list[Frame]:
    with Decoder(path) as source:
        return [item for item in source if isinstance(item, Frame)]


@pytest.mark.parametrize(
    ("name", "time_base", "pts"),
    [
        ("b-frames.mp4", Fraction(1, 12800), range(0, 30 * 512, 512)),
        ("offset.mp4", Fraction(1, 90000), range(123457, 123457 + 20 * 3003, 3003)),
        ("vfr.mkv", Fraction(1, 1000), [0, 17, 50, 51, 400, 433, 1200, 1201, 1300, 2000]),
    ],
)
def test_every_frame_comes_once_with_its_own_pts(clip: Clip, name: str, time_base: Fraction, pts: list[int]) -> None:
    frames = frames_of(clip(name, time_base=time_base, pts=pts, options={"bf": "3", "preset": "medium"}))
    assert [f.pts * f.time_base for f in frames] == [p * time_base for p in pts]
    assert frames[0].key


def test_planes_are_views_that_outlive_the_decoder(clip: Clip) -> None:
    path = clip("a.mkv", codec="ffv1", size=(50, 34), time_base=Fraction(1, 1000), pts=range(0, 400, 40))
    frames = frames_of(path)
    gc.collect()
    for number, frame in enumerate(frames):
        expected = av.VideoFrame(50, 34, "yuv420p")
        paint(expected, number)
        assert [p.shape for p in frame.planes] == [(34, 50), (17, 25), (17, 25)]
        for plane, want in zip(frame.planes, views(expected), strict=True):
            assert plane.base is not None and not plane.flags.owndata
            np.testing.assert_array_equal(plane, want)


@pytest.mark.parametrize(
    ("pix_fmt", "planes", "bits"),
    [
        ("gray", 1, 8), ("gray16le", 1, 16), ("yuv411p", 3, 8), ("yuv444p12le", 3, 12), ("bgra", 3, 8),
        ("gbrp10le", 3, 10),
    ],
)  # fmt: skip
def test_depth_and_subsampling_are_those_of_the_source(clip: Clip, pix_fmt: str, planes: int, bits: int) -> None:
    path = clip("a.mkv", codec="ffv1", pix_fmt=pix_fmt, time_base=Fraction(1, 1000), pts=range(0, 120, 40))
    with Decoder(path) as source:
        frame = next(iter(source))
        assert isinstance(frame, Frame)
        assert (len(frame.planes), frame.bits) == (planes, bits)
        assert source.info.pix_fmt == pix_fmt
        assert (frame.alpha is not None) == source.info.alpha == (pix_fmt == "bgra")
        assert not source.warnings


def test_damaged_packets_are_skipped_and_counted(clip: Clip) -> None:
    path = clip("a.mkv", pts=range(0, 40 * 40, 40), time_base=Fraction(1, 1000), options={"g": "5", "bf": "0"})
    broken = path.with_name("broken.mkv")
    with av.open(str(path)) as source, av.open(str(broken), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                copy = av.Packet(b"\xff" * 30 if number in (7, 8) else bytes(packet))
                copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
                copy.is_keyframe = packet.is_keyframe
                out.mux(copy)
    with Decoder(broken) as source:
        pts = [item.pts for item in source if isinstance(item, Frame)]
        assert pts == [40 * number for number in range(40) if number not in (7, 8)]
        assert source.damaged == 2


def test_a_file_without_a_picture_is_refused(clip: Clip) -> None:
    path = clip("a.mkv", codec="ffv1", time_base=Fraction(1, 1000), pts=range(0, 400, 40))
    hollow = path.with_name("hollow.mkv")
    with av.open(str(path)) as source, av.open(str(hollow), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                copy = av.Packet(b"\x55" * 40)
                copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
                out.mux(copy)
    with pytest.raises(InputError, match="no picture that can be decoded"):
        Decoder(hollow)


# ---- codecs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "container", "says"),
    [
        (EncoderSettings("h26x"), "mp4", "unknown codec 'h26x'"),
        (EncoderSettings("aac"), "mp4", "unknown codec 'aac'"),
        (EncoderSettings(preset="warp"), "mp4", "unknown preset 'warp'"),
        (EncoderSettings("ffv1", preset="slow"), "matroska", "ffv1 has no presets"),
        (EncoderSettings("ffv1", crf=20), "matroska", "ffv1 has no constant quality"),
        (EncoderSettings(), "webm", "webm cannot hold h264"),
        (EncoderSettings("prores"), "mp4", "mp4 cannot hold prores"),
        (EncoderSettings(options=(("no-such", "1"),)), "mp4", "h264 has no option no-such"),
        (EncoderSettings(options=(("tune", "chess"),)), "mp4", "h264 cannot be opened with tune=chess"),
    ],
)
def test_wrong_settings_are_found_before_there_is_a_file(settings: EncoderSettings, container: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        settings.check(container)


@pytest.mark.parametrize("preset", ["ultrafast", "medium", "placebo"])
@pytest.mark.parametrize(("codec", "container"), [("h264", "mp4"), ("hevc", "mov"), ("av1", "mp4"), ("vp9", "webm")])
def test_presets_have_x264s_names_for_all(codec: str, container: str, preset: str | None) -> None:
    EncoderSettings(codec, 30, preset).check(container)


@pytest.mark.parametrize(("codec", "container"), [("ffv1", "matroska"), ("prores", "mov"), ("mpeg4", "avi")])
def test_encoders_without_presets(codec: str, container: str) -> None:
    EncoderSettings(codec).check(container)


@pytest.mark.parametrize(
    ("codec", "source", "size", "chosen"),
    [
        ("h264", Layout((1, 1), 8), (98, 64), "yuv420p"), ("h264", Layout((1, 1), 8), (99, 64), "yuv444p"),
        ("h264", Layout((1, 0), 8), (98, 63), "yuv422p"), ("h264", Layout((2, 0), 8), (96, 64), "yuv422p"),
        ("h264", Layout((1, 1), 12), (98, 64), "yuv420p10le"), ("h264", Layout(GREY, 8), (99, 63), "gray"),
        ("hevc", Layout((1, 1), 12), (98, 64), "yuv420p12le"), ("av1", Layout((0, 0), 10), (99, 63), "yuv420p10le"),
        ("vp9", Layout((1, 1), 8), (99, 63), "yuv420p"), ("vp9", Layout(GREY, 8), (98, 64), "yuv420p"),
        ("prores", Layout((1, 1), 8), (98, 64), "yuv422p10le"), ("ffv1", Layout((2, 2), 8), (98, 64), "yuv410p"),
        ("h264_nvenc", Layout((1, 1), 10), (98, 64), "p010le"),
    ],
)  # fmt: skip
def test_the_nearest_pixel_format_is_chosen(codec: str, source: Layout, size: tuple[int, int], chosen: str) -> None:
    try:
        encoder = EncoderSettings(codec).encoder()
    except UsageError:
        pytest.skip(f"this FFmpeg has no {codec}")
    assert choose_format(encoder, source, *size)[0] == chosen


def test_containers_hold_what_they_hold() -> None:
    held = {codec: [c for c in ("mp4", "mov", "matroska", "webm", "avi") if fits(EncoderSettings(codec).encoder(), c)]
            for codec in ("h264", "vp9", "ffv1")}  # fmt: skip
    assert held["h264"] == ["mp4", "mov", "matroska", "avi"]
    assert "webm" in held["vp9"] and "matroska" in held["ffv1"] and "webm" not in held["ffv1"]


# ---- encode ------------------------------------------------------------------------------------------------------


def copy_clip(source: Path, target: Path, codec: str, **settings: object) -> Encoder:
    """Re-encode without enlarging."""
    container = {".mp4": "mp4", ".mkv": "matroska", ".webm": "webm", ".mov": "mov", ".avi": "avi"}[target.suffix]
    with Decoder(source) as decoder:
        size = decoder.info.width, decoder.info.height
        resolution = Resolution(2, *size, decoder.info.sample_aspect)
        with Encoder(target, container, decoder, resolution, EncoderSettings(codec, **settings)) as encoder:  # type: ignore[arg-type]
            for item in decoder:
                encoder.write(item)
            encoder.finish()
    return encoder


@pytest.mark.parametrize(
    ("pix_fmt", "size"), [("yuv420p", (49, 33)), ("yuv422p10le", (48, 32)), ("gray", (47, 31)), ("yuv444p12le", (9, 7))]
)
def test_a_lossless_codec_gives_the_planes_back(
    clip: Clip, tmp_path: Path, pix_fmt: str, size: tuple[int, int]
) -> None:
    path = clip("a.mkv", codec="ffv1", pix_fmt=pix_fmt, size=size, time_base=Fraction(1, 1000), pts=range(0, 200, 40))
    encoder = copy_clip(path, tmp_path / "b.mkv", "ffv1")
    assert not encoder.warnings
    before, after = frames_of(path), frames_of(tmp_path / "b.mkv")
    assert [f.pts for f in before] == [f.pts for f in after]
    for a, b in zip(before, after, strict=True):
        for x, y in zip(a.planes, b.planes, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("codec", "name"),
    [("h264", "b.mp4"), ("h264", "b.avi"), ("hevc", "b.mp4"), ("av1", "b.mkv"), ("vp9", "b.webm"), ("prores", "b.mov")],
)
def test_every_encoder_gives_back_the_picture_it_was_given(clip: Clip, tmp_path: Path, codec: str, name: str) -> None:
    path = clip("a.mkv", codec="ffv1", size=(64, 48), time_base=Fraction(1, 25), pts=range(8), color=(1, 1, 1, 1))
    crf = None if codec == "prores" else 8
    copy_clip(path, tmp_path / name, codec, crf=crf)
    before, after = frames_of(path), frames_of(tmp_path / name)
    assert len(after) == 8
    for a, b in zip(before, after, strict=True):
        error = np.mean(np.abs(a.luma.astype(float) - b.luma / 2 ** (b.bits - a.bits)))
        assert error < (9 if codec == "av1" else 4)  # SVT-AV1 filters key frames over time, and the clip flickers
    assert before[0].pts * before[0].time_base == after[0].pts * after[0].time_base


def test_grey_becomes_neutral_chroma_where_the_codec_has_no_grey(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mkv", codec="ffv1", pix_fmt="gray", time_base=Fraction(1, 25), pts=range(3))
    encoder = copy_clip(path, tmp_path / "b.webm", "vp9", crf=4)
    assert not encoder.warnings
    for a, b in zip(frames_of(path), frames_of(tmp_path / "b.webm"), strict=True):
        assert np.mean(np.abs(a.luma.astype(float) - b.luma)) < 3
        assert all(np.abs(plane.astype(int) - 128).max() <= 1 for plane in b.planes[1:])


def test_a_loss_of_depth_or_chroma_is_warned_of(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mkv", codec="ffv1", pix_fmt="yuv422p12le", time_base=Fraction(1, 25), pts=range(3))
    encoder = copy_clip(path, tmp_path / "b.mp4", "h264")
    assert [code for code, _ in encoder.warnings] == ["format"]
    assert frames_of(tmp_path / "b.mp4")[0].bits == 10


def test_sound_that_the_container_cannot_hold_is_encoded_again_with_a_warning(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mp4", audio=1)
    encoder = copy_clip(path, tmp_path / "b.webm", "vp9")
    assert [code for code, _ in encoder.warnings] == ["converted_stream"]
    assert "audio stream #1 (aac)" in encoder.warnings[0][1]


# ---- files that appear only when complete ------------------------------------------------------------------------


def test_a_part_file_takes_its_name_on_commit(tmp_path: Path) -> None:
    with PartFile(tmp_path / "a.mp4", overwrite=False) as part:
        assert part.path.suffix == ".mp4" and part.path.parent == tmp_path
        part.path.write_text("new")
        part.commit()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "new"


def test_a_part_file_without_a_commit_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), PartFile(tmp_path / "a.mp4", overwrite=True) as part:
        part.path.write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("owner", "step"), [(Path, "touch"), (os, "replace"), (Path, "unlink")])
@pytest.mark.parametrize("acts", [False, True])
def test_a_part_file_that_is_interrupted_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, acts: bool
) -> None:
    original = getattr(owner, step)

    def interrupted(*args: Any, **options: Any) -> None:
        monkeypatch.undo()  # once only
        if acts:
            original(*args, **options)
        raise KeyboardInterrupt

    part = PartFile(tmp_path / "a.mp4", overwrite=False)
    monkeypatch.setattr(owner, step, interrupted)
    with pytest.raises(KeyboardInterrupt), contextlib.ExitStack() as stack:
        stack.push(part)
        part.create()
        if step == "replace":
            part.commit()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("late", [False, True])
def test_an_existing_file_is_never_touched_unless_asked(tmp_path: Path, late: bool) -> None:
    target = tmp_path / "a.mp4"
    if not late:
        target.write_text("old")
    with pytest.raises(OutputError, match="exists already"), PartFile(target, overwrite=False) as part:
        part.path.write_text("new")
        target.write_text("old")  # somebody else was faster
        part.commit()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"] and target.read_text() == "old"
    with PartFile(target, overwrite=True) as part:
        part.path.write_text("new")
        part.commit()
    assert target.read_text() == "new"


def test_a_very_long_name_has_a_part_file_too(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 120 + ".mkv")
    with PartFile(target, overwrite=False) as part:
        part.commit()
    assert target.exists()


def test_a_name_that_is_too_long_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="too long; give another with -o"):
        PartFile(tmp_path / ("x" * 300 + ".mkv"), overwrite=True)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("file", "missing"):
        with pytest.raises(OutputError, match=folder), PartFile(tmp_path / folder / "a.mp4", overwrite=True):
            pass
