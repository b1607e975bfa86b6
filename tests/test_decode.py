"""What the decoder makes of odd and rich sources: alpha, fields, changes midway, image sequences, HDR, captions."""

from __future__ import annotations

import gc
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph
from av.video.frame import PictureType
from conftest import Clip, Nearest, paint

import vsr.media.decode
from vsr.errors import InputError, UsageError
from vsr.frame import Color, Frame
from vsr.media.decode import Decoder
from vsr.media.deinterlace import Deinterlacer
from vsr.media.pixels import Layout, Planar, layout_for, views
from vsr.media.probe import probe
from vsr.media.quantizer import as_h264, qp_of_index, qp_of_step
from vsr.pipeline import Event, Job, Warned, run


def decoded(path: Path, **options: Any) -> tuple[list[Frame], list[tuple[str, str]]]:
    """All frames of a file, and the warnings."""
    with Decoder(path, **options) as source:
        return [item for item in source if isinstance(item, Frame)], list(source.warnings)


# ---- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
@pytest.mark.parametrize("sound_s", [Fraction(1, 10), Fraction(0)])
def test_a_clock_that_turns_over_soon_begins_at_0(clip: Clip, tmp_path: Path, name: str, sound_s: Fraction) -> None:
    """FFmpeg counts backwards from the moment at which the 33 bits of a transport stream overflow."""
    pts = range(9000, 9000 + 25 * 3600, 3600)
    plain = {"time_base": Fraction(1, 90000), "pts": pts, "audio": 1, "audio_start_s": sound_s}
    path = clip("a.ts", **plain, muxer_options={"output_ts_offset": "95441"})
    with av.open(str(path)) as container:
        stamps = [p.pts * p.time_base for p in container.demux() if p.pts is not None]
    assert min(stamps) < 0
    with Decoder(path) as source:
        source.copied.update(source.container.streams.audio)
        items = list(source)
    times = [item.pts * item.time_base for item in items if item.pts is not None]
    assert sorted(times) == [time - min(stamps) for time in sorted(stamps)]
    heard: list[Event] = []
    run(Job(path, tmp_path / name, model="bicubic", preset="ultrafast"), heard.append)
    assert [event.code for event in heard if isinstance(event, Warned)] == ["moved"]


@pytest.mark.parametrize("mode", ["left_right", "top_bottom"])
@pytest.mark.parametrize("size", [(48, 32), (160, 120), (240, 180)])
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(1), Fraction(64, 45)])
def test_two_views_in_a_picture_keep_the_shape_of_their_pixels(
    clip: Clip, tmp_path: Path, mode: str, size: tuple[int, int], aspect: Fraction
) -> None:
    plain = clip("a.mp4", size=size, pts=range(0, 3 * 512, 512), aspect=aspect)
    path = tmp_path / "b.mkv"
    run(Job(_as_stereo(plain, tmp_path / "stereo.mkv", mode), path, model="bicubic", preset="ultrafast"))
    source = probe(tmp_path / "stereo.mkv").video
    made = probe(path).video
    assert source and made and source.sample_aspect == made.sample_aspect
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata["stereo_mode"] == mode


def _as_stereo(plain: Path, path: Path, mode: str) -> Path:
    """A copy that says that it has two views; its display size is that of the whole picture, as mkvmerge writes it."""
    tool = shutil.which("mkvmerge")
    if tool is None:
        pytest.skip("no mkvmerge")
    number = {"left_right": 1, "top_bottom": 3}[mode]
    subprocess.run([tool, "-q", "-o", path, "--stereo-mode", f"0:{number}", plain], check=True)
    return path


# ---- alpha -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pix_fmt", "channels", "bits"),
    [
        ("rgba", 3, 8), ("bgra", 3, 8), ("argb", 0, 8), ("abgr", 0, 8), ("rgba64le", 3, 16), ("rgba64be", 3, 16),
        ("bgra64le", 3, 16), ("gbrap", 3, 8), ("gbrap10le", 3, 10), ("gbrap12be", 3, 12), ("gbrap16be", 3, 16),
    ],
)  # fmt: skip
def test_alpha_beside_rgb_comes_exactly(pix_fmt: str, channels: int, bits: int) -> None:
    peak = (1 << bits) - 1
    ramp = np.tile(np.linspace(0, peak, 64).round(), (8, 1))
    pixels = np.full((8, 64, 4), peak // 2, np.uint8 if bits == 8 else np.uint16)
    pixels[..., channels] = ramp
    planar = Planar(layout_for(pix_fmt))(av.VideoFrame.from_ndarray(pixels, pix_fmt))
    assert planar.format.name == Layout((0, 0), bits, alpha=True).pix_fmt
    *planes, alpha = views(planar)
    np.testing.assert_array_equal(alpha, ramp)
    assert all(plane.min() == plane.max() for plane in planes)  # the colours know nothing of it


def test_a_depth_that_yuva_has_not_fills_the_next_one() -> None:
    pixels = np.zeros((4, 16, 4), np.uint16)
    pixels[..., 3] = np.linspace(0, (1 << 14) - 1, 16).round()
    alpha = views(Planar(layout_for("gbrap14le"))(av.VideoFrame.from_ndarray(pixels, "gbrap14le")))[3]
    assert (alpha[0, 0], alpha[0, -1]) == (0, (1 << 16) - 1)
    assert np.abs(alpha[0] / 65535 - pixels[0, :, 3] / 16383).max() < 1e-4


@pytest.mark.parametrize("color_range", [1, 2])
def test_grey_with_alpha_keeps_both_exactly(color_range: int) -> None:
    frame = av.VideoFrame(64, 16, "ya8")
    stride = frame.planes[0].line_size
    memory = np.zeros((16, stride), np.uint8)
    memory[:, 0:128:2], memory[:, 1:128:2] = np.arange(64) * 4, np.arange(64)[::-1] * 4
    frame.planes[0].update(memory.tobytes())
    frame.color_range = color_range
    planar = Planar(layout_for("ya8"))(frame)
    luma, blue, red, alpha = views(planar)
    np.testing.assert_array_equal(luma[3], np.arange(64) * 4)
    np.testing.assert_array_equal(alpha[3], np.arange(64)[::-1] * 4)
    assert (blue == 128).all() and (red == 128).all() and planar.color_range == color_range


def test_colours_of_a_palette_may_be_transparent() -> None:
    frame = av.VideoFrame(16, 4, "pal8")
    frame.planes[0].update(np.resize(np.arange(16, dtype=np.uint8), (4, frame.planes[0].line_size)).tobytes())
    colours = np.arange(256, dtype=np.uint32) * 16 << 24 | 0x808080
    frame.planes[1].update(colours.astype(np.uint32).tobytes())
    np.testing.assert_array_equal(views(Planar(layout_for("pal8"))(frame))[3][0], np.arange(16) * 16)


@pytest.mark.parametrize(
    ("name", "place"), [("", "center"), (" C420jpeg", "center"), (" C420mpeg2", "left"), (" C420paldv", "topleft"),
                        (" C422", "left"), (" C420p10", "left"), (" C444", None)],
)  # fmt: skip
def test_chroma_of_yuv4mpeg_lies_where_its_first_line_says(name: str, place: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.y4m"
    path.write_bytes(f"YUV4MPEG2 W16 H16 F25:1{name}\nFRAME\n".encode() + bytes(16 * 16 * 3))
    assert probe(path).to_json()["video"]["chroma_location"] == place


def test_what_has_no_alpha_is_opaque_beside_what_has() -> None:
    for pix_fmt, layout in (("rgb24", Layout((0, 0), 10, True)), ("yuv420p", Layout((1, 1), 8, True))):
        planar = Planar(layout)(av.VideoFrame(16, 16, pix_fmt))
        assert (views(planar)[3] == (1 << layout.bits) - 1).all()


@pytest.mark.parametrize(("codec", "pix_fmt"), [("ffv1", "yuva420p"), ("ffv1", "yuva444p10le"), ("ffv1", "bgra")])
def test_frames_of_a_file_have_its_alpha(clip: Clip, codec: str, pix_fmt: str) -> None:
    path = clip("a.mkv", codec=codec, pix_fmt=pix_fmt, time_base=Fraction(1, 25), pts=range(3))
    frames, warnings = decoded(path)
    assert not warnings and probe(path).to_json()["video"]["alpha"] is True
    if pix_fmt == "bgra":  # the fixture paints RGB without alpha
        assert all(frame.alpha is not None and (frame.alpha == 255).all() for frame in frames)
        return
    for number, frame in enumerate(frames):
        expected = av.VideoFrame(48, 32, pix_fmt)
        paint(expected, number)
        assert frame.alpha is not None
        for plane, want in zip((*frame.planes, frame.alpha), views(expected), strict=True):
            np.testing.assert_array_equal(plane, want)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_vp8_and_vp9_have_alpha_too(clip: Clip, codec: str) -> None:
    options = {"auto-alt-ref": "0", "crf": "4", "b": "4M"}
    timing = {"time_base": Fraction(1, 1000), "pts": range(0, 320, 40)}
    path = clip("a.webm", codec=codec, pix_fmt="yuva420p", options=options, **timing)
    assert probe(path).to_json()["video"]["pix_fmt"] == "yuva420p"
    frames, _ = decoded(path)
    assert [frame.pts for frame in frames] == list(range(0, 320, 40))
    for number, frame in enumerate(frames):
        expected = av.VideoFrame(48, 32, "yuva420p")
        paint(expected, number)
        assert frame.alpha is not None and frame.alpha.shape == (32, 48)
        assert np.mean(np.abs(frame.alpha.astype(int) - views(expected)[3])) < 8


@pytest.mark.parametrize(("codec", "color"), [("libvpx", (2, 1, 1, 1)), ("libvpx", (1, 5, 2, 2)),
                                              ("libvpx-vp9", (2, 6, 6, 6))])  # fmt: skip
def test_the_colour_tags_beside_transparency_are_those_of_the_container(
    clip: Clip, codec: str, color: tuple[int, int, int, int]
) -> None:
    options = {"auto-alt-ref": "0", "crf": "4", "b": "4M"}
    timing = {"time_base": Fraction(1, 1000), "pts": range(0, 160, 40)}
    path = clip("a.webm", codec=codec, pix_fmt="yuva420p", options=options, color=color, **timing)
    frames, _ = decoded(path)
    primaries, transfer = color[2:]
    assert frames[0].color == Color(color[0], color[1], primaries, transfer, 1) == probe(path).video.color
    with av.open(str(path)) as container:  # of the same values, whatever range they are in
        plain = next(container.decode(video=0))
        assert plain.format.name == "yuv420p"
        np.testing.assert_array_equal(frames[0].luma, views(plain)[0])


def test_a_real_transparent_webm(data: Path) -> None:
    frames, warnings = decoded(data / "video/moviepy/transparent.webm")
    assert len(frames) == 150 and not warnings
    assert frames[0].color == Color(range=1, space=5, primaries=1, transfer=1, chroma_location=1)
    alpha = frames[75].alpha
    assert alpha is not None and (alpha.min(), alpha.max()) == (0, 255)


@pytest.mark.parametrize(
    ("name", "transparent"),
    [("imageio/newtonscradle.gif", False), ("moviepy/pigs_in_a_polka.gif", True), ("torchcodec/transparent.gif", True)],
)
def test_a_gif_has_alpha_where_a_pixel_of_it_is_transparent(data: Path, name: str, transparent: bool) -> None:
    path = data / "video" / name
    with Decoder(path) as source:
        assert source.layout == Layout((0, 0), 8, transparent)
        assert source.info.alpha == transparent
        assert all((item.alpha is not None) == transparent for item in source if isinstance(item, Frame))
    assert probe(path).to_json()["video"]["alpha"] == transparent


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [("a.gif", "gif", "rgb8"), ("a.apng", "apng", "rgba")])
def test_animated_pictures_are_video_with_their_own_times(clip: Clip, name: str, codec: str, pix_fmt: str) -> None:
    frames, _ = decoded(clip(name, codec=codec, pix_fmt=pix_fmt, time_base=Fraction(1, 100), pts=[0, 10, 40, 45]))
    times = [frame.pts * frame.time_base for frame in frames]
    assert [float(time - times[0]) for time in times] == pytest.approx([0, 0.1, 0.4, 0.45])
    assert (frames[0].alpha is None) == (codec == "gif")


# ---- interlaced --------------------------------------------------------------------------------------------------

STILL, MOVING = np.s_[:, :44], np.s_[:, 56:]  # columns of the scene


def scene(moment: int) -> np.ndarray:
    """Fine detail that stands still, and a bar that moves by three pixels from field to field."""
    rows, columns = np.indices((96, 128))
    picture = np.where(columns < 48, 80 + 60 * ((rows // 3 + columns // 3) % 2), 60)
    bar = (columns >= 56) & (np.abs(columns - 60 - 3 * moment % 60) < 6)
    return np.where(bar, 220, picture).astype(np.uint8)


def fields(number: int, order: str, label: str, pix_fmt: str = "yuv420p") -> av.VideoFrame:
    """A frame of moments 2n and 2n + 1, the first in the field that ``order`` names, with ``label`` as its own."""
    first, second = scene(2 * number), scene(2 * number + 1)
    top, bottom = (first, second) if order == "tff" else (second, first)
    frame = av.VideoFrame(128, 96, "yuv420p")
    luma, *chroma = views(frame)
    luma[0::2], luma[1::2] = top[0::2], bottom[1::2]
    for plane in chroma:
        plane.fill(128)
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(width=128, height=96, format="yuv420p", time_base=Fraction(1, 25)),
        graph.add("setfield", label),
        graph.add("format", pix_fmt),
        graph.add("buffersink"),
    ).configure()
    graph.push(frame)
    labelled = graph.vpull()
    labelled.pts, labelled.time_base = number, Fraction(1, 25)
    return labelled


def interlaced(path: Path, codec: str, order: str, label: str | None = None) -> Path:
    """20 such frames, encoded."""
    options = {"libx264": {"crf": "4"}, "mpeg2video": {"b": "20M"}}[codec]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 128, 96
        stream.pix_fmt = "yuv422p10le" if codec == "libx264" else "yuv420p"
        stream.codec_context.flags |= 1 << 18 | 1 << 29  # AV_CODEC_FLAG_INTERLACED_DCT, AV_CODEC_FLAG_INTERLACED_ME
        for number in range(20):
            container.mux(stream.encode(fields(number, order, label or order, str(stream.pix_fmt))))
        container.mux(stream.encode(None))
    return path


def luma8(frame: Frame) -> np.ndarray:
    return (frame.luma >> (frame.bits - 8)).astype(int)


def comb(frame: Frame) -> float:
    """How much rows differ from the mean of those above and below, where something moves."""
    rows = luma8(frame)[MOVING]
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())


def error(frame: Frame, moment: int, part: tuple[slice, slice]) -> float:
    return float(np.abs(luma8(frame)[part] - scene(moment)[part]).mean())


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_interlaced_frames_become_whole_pictures_of_their_first_field(tmp_path: Path, codec: str, order: str) -> None:
    path = interlaced(tmp_path / "a.mkv", codec, order)
    assert probe(path).to_json()["video"]["interlaced"] is True
    before, told = decoded(path, deinterlace="off")
    after, warned = decoded(path)
    assert [code for code, _ in told] == ["interlaced"] and [code for code, _ in warned] == ["deinterlaced"]
    known = [(frame.pts, frame.duration, frame.key) for frame in before]
    assert len(known) == 20 and [(frame.pts, frame.duration, frame.key) for frame in after] == known
    assert {(frame.bits, *(plane.shape for plane in frame.planes)) for frame in after} == {
        (frame.bits, *(plane.shape for plane in frame.planes)) for frame in before
    }
    for number, (mixed, whole) in enumerate(zip(before, after, strict=True)):
        assert comb(mixed) > 20 and comb(whole) < 1
        assert error(whole, 2 * number, MOVING) < 1 and error(whole, 2 * number + 1, MOVING) > 5
        assert error(whole, 0, STILL) < error(mixed, 0, STILL) + 2  # what stands still keeps its detail


def test_the_wrong_order_would_show_the_wrong_moment(tmp_path: Path) -> None:
    frames, _ = decoded(interlaced(tmp_path / "a.mkv", "mpeg2video", "tff", label="bff"))
    assert all(error(frame, 2 * number + 1, MOVING) < error(frame, 2 * number, MOVING)
               for number, frame in enumerate(frames[1:-1], 1))  # fmt: skip


@pytest.mark.parametrize("mode", ["auto", "on", "off"])
def test_only_frames_that_say_so_are_deinterlaced(mode: str) -> None:
    labels = ["prog"] * 8 + ["tff"] * 6 + ["prog"] * 6
    before = [fields(number, "tff", label) for number, label in enumerate(labels)]
    deinterlacer, after, held = Deinterlacer(mode), [], []
    for frame in before:
        after += deinterlacer(frame)
        held.append(frame.pts + 1 - len(after))
    after += deinterlacer.flush()
    assert [frame.pts for frame in after] == list(range(20))
    changed = [not np.array_equal(views(a)[0], views(b)[0]) for a, b in zip(before, after, strict=True)]
    assert changed == [{"auto": label == "tff", "on": True, "off": False}[mode] for label in labels]
    # No filter runs before it must.
    assert held == [{"auto": int(number >= 8), "on": 1, "off": 0}[mode] for number in range(20)]


def test_another_size_goes_through_another_filter() -> None:
    deinterlacer = Deinterlacer("on")
    small, large = av.VideoFrame(64, 48, "yuv420p"), av.VideoFrame(96, 64, "yuv420p10le")
    after = [frame for shape in (small, small, large, large) for frame in deinterlacer(shape)] + deinterlacer.flush()
    assert [(frame.width, frame.format.name) for frame in after] == [(64, "yuv420p")] * 2 + [(96, "yuv420p10le")] * 2


def test_progressive_video_is_left_alone(clip: Clip) -> None:
    path = clip("a.mp4", size=(64, 48))
    (before, _), (after, warned) = (decoded(path, deinterlace=mode) for mode in ("off", "auto"))
    assert not warned
    assert all(np.array_equal(a.luma, b.luma) for a, b in zip(before, after, strict=True))


def test_a_single_interlaced_frame_and_a_tiny_one_come_through(clip: Clip) -> None:
    timing = {"codec": "ffv1", "time_base": Fraction(1, 25)}
    assert len(decoded(clip("a.mkv", pts=[0], **timing), deinterlace="on")[0]) == 1
    assert len(decoded(clip("b.mkv", pts=range(3), size=(4, 2), **timing), deinterlace="on")[0]) == 3


def test_an_unknown_way_to_deinterlace_is_refused(clip: Clip) -> None:
    with pytest.raises(UsageError, match="'often'; use one of auto, on, off"):
        Decoder(clip("a.mp4"), deinterlace="often")


@pytest.mark.parametrize("name", ["interlaced_bff.mkv", "telecined_hard.ts"])
def test_real_fields_lose_their_comb(data: Path, name: str) -> None:
    path = data / f"video/interlace-patterns/bt601-525_480_{name}"

    def teeth(frames: list[Frame]) -> float:
        """How far rows stick out of both their neighbours, to the same side."""
        sizes = []
        for frame in frames[:60]:
            luma = frame.luma.astype(np.int16)
            up, down = luma[1:-1] - luma[:-2], luma[1:-1] - luma[2:]
            sizes.append(np.where(up * down.astype(int) > 0, np.minimum(np.abs(up), np.abs(down)), 0).mean())
        return float(np.mean(sizes))

    (before, _), (after, warned) = (decoded(path, deinterlace=mode) for mode in ("off", "auto"))
    assert [code for code, _ in warned] == ["deinterlaced"]
    assert [frame.pts for frame in before] == [frame.pts for frame in after] and len(after) == 300
    assert teeth(after) < teeth(before) / 5


# ---- which stream ------------------------------------------------------------------------------------------------


def test_another_video_of_the_file_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("ffv1", rate=25), container.add_stream("ffv1", rate=25)]
        for number, stream in enumerate(streams):
            stream.width, stream.height, stream.pix_fmt = 32 + 16 * number, 32, "yuv420p"
        for tick in range(4):
            for stream in streams:
                frame = av.VideoFrame(stream.width, 32, "yuv420p")
                paint(frame, tick)
                frame.pts, frame.time_base = tick, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    assert [decoded(path, stream=index)[0][0].width for index in (None, 0, 1)] == [32, 32, 48]
    described = probe(path, stream=1).video
    assert described is not None and (described.index, described.width) == (1, 48)
    for look in (lambda: Decoder(path, stream=2), lambda: probe(path, stream=2)):
        with pytest.raises(InputError, match=r"two\.mkv has no video .* as stream 2; of its streams, these are: 0, 1"):
            look()


# ---- changes midway ----------------------------------------------------------------------------------------------


def save(frame: av.VideoFrame, path: Path) -> None:
    """A PNG in the frame's own pixel format."""
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, frame.format.name
    encoder.time_base = frame.time_base = Fraction(1, 25)
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


def pictures(folder: Path, *formats: tuple[int, int, str]) -> Path:
    """A numbered PNG of one even colour for each (width, height, pixel format)."""
    for number, (width, height, pix_fmt) in enumerate(formats, 1):
        frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), (200, 100, 50), np.uint8), "rgb24")
        save(frame.reformat(format=pix_fmt, dst_color_range=2), folder / f"{number:03d}.png")
    return folder / "%03d.png"


def test_another_size_or_format_midway_is_passed_on_and_told(tmp_path: Path) -> None:
    shapes = [(32, 24, "rgb24"), (48, 24, "rgb24"), (48, 24, "gray"), (48, 24, "rgba"), (32, 24, "rgb24")]
    path = pictures(tmp_path, *shapes)
    frames, warnings = decoded(path)
    assert [(frame.width, frame.height) for frame in frames] == [(32, 24), *[(48, 24)] * 3, (32, 24)]
    assert {(len(frame.planes), frame.bits, frame.alpha is None) for frame in frames} == {(3, 8, True)}
    expected = [int(plane[0, 0]) for plane in frames[0].planes]
    for number in (1, 3, 4):
        assert [int(plane[0, 0]) for plane in frames[number].planes] == expected
    assert [int(plane[0, 0]) for plane in frames[2].planes[1:]] == [128, 128]
    told = [message for code, message in warnings if code == "changed"]
    assert len(told) == 4 and "changes from 32x24 rgb24 to 48x24 rgb24 at 0.040 s" in told[0]


def test_another_range_midway_becomes_that_of_the_first(clip: Clip) -> None:
    limited, full = av.VideoFrame(16, 16, "yuv420p"), av.VideoFrame(16, 16, "yuvj420p")
    for frame, white in ((limited, 235), (full, 255)):
        for plane, value in zip(views(frame), (white, 128, 128), strict=True):
            plane.fill(value)
    limited.color_range, full.color_range = 1, 2
    with Decoder(clip("a.mp4", color=(1, 1, 1, 1))) as source:
        planar = Planar(source.layout, source.info.color)
    for frame in (limited, full):
        assert (views(planar(frame))[0] == 235).all() and planar(frame).color_range == 1


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12"])
def test_a_matrix_that_damage_makes_up_stops_nothing(pix_fmt: str) -> None:
    frame = av.VideoFrame(32, 24, pix_fmt)
    frame.colorspace = 3  # reserved
    planar = Planar(layout_for(pix_fmt))(frame)
    deinterlacer = Deinterlacer("on")
    after = deinterlacer(planar) + deinterlacer.flush()
    assert [int(picture.colorspace) for picture in (planar, *after)] == [3, 3]


def test_a_size_that_only_damage_explains_is_left_out(tmp_path: Path) -> None:
    path = pictures(tmp_path, (40, 40, "gray"), (8, 40, "gray"), (400, 400, "gray"), (40, 40, "gray"))
    with Decoder(path) as source:
        assert [item.pts for item in source if isinstance(item, Frame)] == [0, 3]
        assert source.damaged == 2 and not source.warnings


def test_many_changes_are_not_told_one_by_one(tmp_path: Path) -> None:
    path = pictures(tmp_path, *[(32 + 8 * (number % 2), 32, "gray") for number in range(40)])
    frames, warnings = decoded(path)
    assert len(frames) == 40 and 2 < len(warnings) < 12
    assert "no more is said" in warnings[-1][1]


# ---- image sequences ---------------------------------------------------------------------------------------------


def numbered(folder: Path, pattern: str, *numbers: int) -> Path:
    for number in numbers:
        frame = av.VideoFrame.from_ndarray(np.full((16, 16), number, np.uint8), "gray")
        save(frame, folder / (pattern % number))
    return folder / pattern


@pytest.mark.parametrize(("pattern", "first"), [("f_%04d.png", 1), ("f_%d.png", 97), ("%03d-b.png", 0)])
def test_numbered_pictures_are_a_video(tmp_path: Path, pattern: str, first: int) -> None:
    folder = tmp_path / "100%d"  # is no pattern: only the name is one
    folder.mkdir()
    path = numbered(folder, pattern, *range(first, first + 5))
    numbered(folder, "other_" + pattern, 1)
    frames, warnings = decoded(path, rate=Fraction(24000, 1001))
    assert [int(frame.luma[0, 0]) for frame in frames] == list(range(first, first + 5)) and not warnings
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(1001, 24000) * n for n in range(5)]
    with Decoder(path) as source:
        assert source.info.rate == 25 and source.info.frames == 5
    assert probe(path).video is not None


@pytest.mark.parametrize("numbers", [(3, 4, 6, 7), (3, 4, 5, 7, 8, 9, 10, 11), (3, 9)])
def test_a_sequence_ends_at_its_first_gap_and_says_so(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    frames, warnings = decoded(numbered(tmp_path, "f_%04d.png", *numbers))
    missing = next(n for n in range(3, 99) if n not in numbers)
    assert [int(frame.luma[0, 0]) for frame in frames] == list(range(3, missing))
    assert [code for code, _ in warnings] == ["gap"] and f"number {missing} is missing" in warnings[0][1]


def test_a_pattern_without_pictures_is_refused(tmp_path: Path) -> None:
    numbered(tmp_path, "f_%04d.png", 1)
    for name in ("g_%04d.png", "f_%d.png", "f_%05d.png"):
        with pytest.raises(InputError, match="matches no file"):
            Decoder(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        probe(tmp_path / "nowhere" / "f_%04d.png")


def test_a_file_with_a_percent_sign_is_a_file(clip: Clip, tmp_path: Path) -> None:
    numbered(tmp_path, "f_%04d.png", 1, 2, 3)
    (tmp_path / "f_0002.png").rename(tmp_path / "f_%04d.png")
    frames, _ = decoded(tmp_path / "f_%04d.png")
    assert [int(frame.luma[0, 0]) for frame in frames] == [2]
    assert len(decoded(clip("100%d.mp4"))[0]) == 12


# ---- files that grow ---------------------------------------------------------------------------------------------


def test_a_file_that_grows_meanwhile_is_told(clip: Clip) -> None:
    path = clip("a.mkv", time_base=Fraction(1, 1000), pts=range(0, 480, 40))
    with Decoder(path) as source:
        with path.open("ab") as file:
            file.write(bytes(100))
        assert sum(isinstance(item, Frame) for item in source) == 12
        assert [code for code, _ in source.warnings] == ["growing"]


# ---- what comes with pictures ------------------------------------------------------------------------------------


def quantizers(path: Path) -> list[float | None]:
    with Decoder(path) as source:
        return [item.quantizer for item in source if isinstance(item, Frame)]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options", "wanted"),
    [
        ("a.mp4", "libx264", "yuv420p", {"qp": "30", "x264-params": "ipratio=1"}, 30),
        ("a.mp4", "libx264", "yuv420p10le", {"qp": "42", "x264-params": "ipratio=1"}, 30),  # x264 counts from -12 on
        ("a.webm", "libvpx-vp9", "yuv420p", dict.fromkeys(("crf", "qmin", "qmax"), "40") | {"b": "0"},
         as_h264("vp9", qp_of_index(160))),
        ("a.mpg", "mpeg2video", "yuv420p", {"qmin": "8", "qmax": "8"}, as_h264("mpeg", qp_of_step(16))),
        ("a.avi", "mpeg4", "yuv420p", {"qmin": "8", "qmax": "8"}, as_h264("mpeg", qp_of_step(16))),
    ],
)
def test_frames_say_how_coarse_they_are(
    clip: Clip, name: str, codec: str, pix_fmt: str, options: dict[str, str], wanted: float
) -> None:
    found = quantizers(clip(name, codec=codec, pix_fmt=pix_fmt, time_base=Fraction(1, 25), pts=range(12),
                            options=options))  # fmt: skip
    assert len(found) == 12 and found == pytest.approx([wanted] * 12, abs=0.8)


def test_frames_between_others_count_as_those(clip: Clip) -> None:
    options = {"qp": "30", "x264-params": "ipratio=1:pbratio=4:bframes=3"}
    path = clip("a.mp4", pts=range(0, 30 * 512, 512), options=options)
    with av.open(str(path)) as container:
        kinds = {PictureType(frame.pict_type).name for frame in container.decode(video=0)}
    assert "B" in kinds and set(quantizers(path)) == {30.0}


@pytest.mark.parametrize(("name", "codec", "coarse"), [
    ("a.mkv", "libx265", {"x265-params": "log-level=none:crf=44:cutree=0"}),
    ("a.mkv", "libsvtav1", {"crf": "60", "preset": "10"}),
])  # fmt: skip
def test_codecs_that_do_not_tell_are_estimated(clip: Clip, name: str, codec: str, coarse: dict[str, str]) -> None:
    fine = {key: value.replace("crf=44", "crf=12") if "crf=" in value else {"crf": "12"}.get(key, value)
            for key, value in coarse.items()}
    found = {}
    for kind, options in (("fine", fine), ("coarse", coarse)):
        found[kind] = quantizers(clip(f"{kind}.mkv", codec=codec, size=(160, 128), pts=range(0, 40 * 512, 512),
                                      options=options))  # fmt: skip
        assert all(qp is not None and 0 <= qp <= 51 for qp in found[kind])
    assert np.mean(found["coarse"][8:]) > np.mean(found["fine"][8:]) + 6


def test_what_is_not_known_of_a_codec_is_left_open(clip: Clip) -> None:
    assert quantizers(clip("a.mkv", codec="ffv1")) == [None] * 12


def captions(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        shown = [(frame.time, frame.side_data.get("A53_CC")) for frame in container.decode(video=0)]
    return [(time, bytes(data)) for time, data in shown if data is not None]


@pytest.mark.parametrize(("codec", "carried"), [("h264", True), ("hevc", True), ("ffv1", False)])
def test_closed_captions_stay_with_their_pictures(
    data: Path, tmp_path: Path, nearest: type[Nearest], codec: str, carried: bool
) -> None:
    path = data / "video/androidx-media/fragmented_captions_h265.mp4"
    events: list[Event] = []
    preset = None if codec == "ffv1" else "ultrafast"
    done = run(
        Job(path, tmp_path / "b.mkv", codec=codec, preset=preset),
        events.append,
        engines=lambda model, scale, bits=8, **options: nearest(str(model), scale, bits),
    )
    before, after = captions(path), captions(done.output)
    assert len(before) == 2
    assert [text for _, text in after] == ([text for _, text in before] if carried else [])
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before][: len(after)], abs=1e-3)
    told = [event.code for event in events if isinstance(event, Warned)]
    assert told == ([] if carried else ["captions"])


def test_frames_are_freed_without_the_garbage_collector(clip: Clip) -> None:
    path = clip("a.mp4", pts=range(0, 40 * 512, 512))
    gc.collect()
    gc.disable()
    try:
        assert len(decoded(path)[0]) == 40
        assert sum(isinstance(thing, av.VideoFrame) and thing.width == 48 for thing in gc.get_objects()) < 4
    finally:
        gc.enable()


def test_dynamic_hdr_that_is_lost_is_told_once(data: Path) -> None:
    _, warnings = decoded(data / "video/androidx-media/hdr10-video-with-sdr-container.mp4")
    assert [code for code, _ in warnings] == ["dynamic_hdr"] and "HDR10+" in warnings[0][1]


# ---- HDR ---------------------------------------------------------------------------------------------------------


def test_hdr_metadata_is_read_exactly(data: Path) -> None:
    video = probe(data / "video/androidx-media/sample_with_colr_mdcv_and_clli.mp4").video
    assert video is not None and video.light == (1100, 180) and video.mastering is not None
    red, green, blue = video.mastering.primaries or ()
    assert red == (Fraction(33899, 50000), Fraction(16099, 50000))
    assert green == (Fraction(49, 200), Fraction(703, 1000)) and blue == (Fraction(6899, 50000), Fraction(13, 250))
    assert video.mastering.white_point == (Fraction(7817, 25000), Fraction(16449, 50000))
    assert video.mastering.luminance == (0, 1000)


def test_hdr_metadata_that_makes_no_sense_is_left_out(data: Path) -> None:
    info = probe(data / "video/androidx-media/hdr10-video-with-sdr-container.mp4").to_json()["video"]
    assert info["content_light_level"] == {"max_cll": 1000, "max_fall": 200}
    assert info["mastering_display"]["white_point"] == ["3127/10000", "329/1000"]
    assert info["mastering_display"]["luminance"] is None  # a greatest of 0.1 cd/m² in the stream


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "planar"),
    [("a.avi", "rawvideo", "yuyv422", "yuv422p"), ("a.avi", "rawvideo", "nv12", "yuv420p"),
     ("a.mov", "rawvideo", "uyvy422", "yuv422p"), ("a.mov", "v210", "yuv422p10le", "yuv422p10le"),
     ("a.avi", "y41p", "yuv411p", "yuv411p"), ("a.mov", "v410", "yuv444p10le", "yuv444p10le")],
)  # fmt: skip
def test_uncompressed_pictures_have_their_planes(name: str, codec: str, pix_fmt: str, planar: str, clip: Clip) -> None:
    path = clip(name, codec=codec, pix_fmt=pix_fmt, time_base=Fraction(1, 25), pts=range(3))
    frames, _ = decoded(path)
    assert len(frames) == 3
    for number, frame in enumerate(frames):
        expected = av.VideoFrame(48, 32, planar if pix_fmt == planar else "yuv444p")
        paint(expected, number)
        for plane, want in zip(frame.planes, views(expected.reformat(format=planar)), strict=True):
            # The clip's own conversion of chroma rounds in another place.
            np.testing.assert_allclose(plane.astype(int), want.astype(int), atol=pix_fmt != planar)


# ---- what cannot be decoded --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pix_fmt", ["rgb4", "gray32le", "rgbaf32le", "x2rgb10be", "yaf32le"])
def test_a_format_that_cannot_be_converted_is_named(
    pix_fmt: str, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=f"pixel format {pix_fmt} cannot be converted"):
        Planar(layout_for(pix_fmt))(av.VideoFrame(16, 16, pix_fmt))
    path = clip("a.mp4")
    monkeypatch.setattr(Decoder, "_decode", lambda *_: [av.VideoFrame(16, 16, pix_fmt)])
    with pytest.raises(InputError, match=f"^{path}: .* {pix_fmt} cannot be converted"):
        Decoder(path)


def test_a_hopeless_file_is_given_up_early(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip("a.mkv", time_base=Fraction(1, 1000), pts=range(0, 28000, 40), codec="mjpeg", pix_fmt="yuvj420p")
    tried: list[av.Packet | None] = []

    def fail(decoder: Any, stream: Any, packet: av.Packet | None) -> list[av.VideoFrame]:
        tried.append(packet)
        raise av.error.InvalidDataError(1, "broken")

    monkeypatch.setattr(vsr.media.decode, "decode", fail)
    with pytest.raises(InputError, match="no picture that can be decoded"):
        Decoder(path)
    assert len(tried) == 500


def test_a_file_of_which_no_picture_can_be_used_is_an_input_error(
    clip: Clip, tmp_path: Path, nearest: type[Nearest], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip("a.mkv")
    monkeypatch.setattr(Decoder, "_plausible", lambda *_: False)
    with pytest.raises(InputError, match="no picture that can be decoded"):
        run(Job(path, tmp_path / "b.mkv", preset="ultrafast"), engines=nearest)
    assert list(tmp_path.iterdir()) == [path]


def test_a_stream_that_appears_midway_is_told(clip: Clip, tmp_path: Path) -> None:
    """A transport stream in which sound comes and goes, farther from both ends than FFmpeg looks for streams."""
    silent = clip("a.ts", size=(320, 240), pts=range(0, 40 * 512, 512), options={"qp": "0"}).read_bytes()
    heard = clip("b.ts", size=(320, 240), audio=1).read_bytes()
    around = silent * (6_000_000 // len(silent) + 1)
    path = tmp_path / "c.ts"
    path.write_bytes(around + heard + around)
    with Decoder(path) as source:
        assert len(source.container.streams) == 1
        frames = sum(1 for _ in source)
    assert frames > 40
    assert ("dropped_stream", f"{path}: a stream that appears midway is left out") in source.warnings
