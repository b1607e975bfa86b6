"""Comparisons: each side is what its engine made, labels and line lie where they should, and files keep theirs."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from conftest import Clip, Nearest
from PIL import Image, ImageOps

from vsr.cli import main
from vsr.compare import LAYOUTS, Composer, composed_size
from vsr.engines import open_engine
from vsr.engines.bicubic import Bicubic
from vsr.errors import Cancelled, OutputError, UsageError
from vsr.events import Done, Progress, Started
from vsr.frame import Color, Frame, turned
from vsr.job import Job
from vsr.media.cut import Cut
from vsr.media.decode import Decoder
from vsr.media.picture import read_picture, to_pixels
from vsr.media.probe import probe
from vsr.pipeline import run
from vsr.still import picture_of, save_picture
from vsr.upscale import whole_chroma

LABELS = "Bicubic", "FSRCNN-s x2 · int8"
CHROMAS = [None, (0, 0), (1, 0), (1, 1), (2, 0)]
Chroma = tuple[int, int] | None


def noise(size: tuple[int, int], chroma: Chroma, bits: int, seed: int, color: Color | None = None) -> Frame:
    random = np.random.default_rng(seed)
    width, height = size
    sizes = [(height, width)] + ([(-(-height >> chroma[1]), -(-width >> chroma[0]))] * 2 if chroma else [])
    planes = tuple(random.integers(0, 2**bits, s).astype(np.uint8 if bits == 8 else np.uint16) for s in sizes)
    return Frame(planes, bits, 3, Fraction(1, 25), color=color or Color())


def pair(size: tuple[int, int], chroma: Chroma, bits: int) -> tuple[Frame, Frame]:
    """Two frames that differ in luma alone."""
    first, second = (noise(size, chroma, bits, seed) for seed in (1, 2))
    return first, Frame((second.luma, *first.planes[1:]), bits, 3, Fraction(1, 25))


def untouched(composer: Composer, size: tuple[int, int], chroma: Chroma, bits: int) -> list[np.ndarray]:
    """Where the composition lets both black and white through, for each plane."""
    same = None
    for value in (0, 2**bits - 1):
        flat = noise(size, chroma, bits, 0)
        flat = Frame(tuple(np.full_like(plane, value) for plane in flat.planes), bits, 0, Fraction(1, 25))
        seen = [plane == value for plane in composer(flat, flat).planes]
        same = seen if same is None else [a & b for a, b in zip(same, seen, strict=True)]
    assert same is not None
    return same


def joined(layout: str, first: Frame, second: Frame, chroma: Chroma) -> list[np.ndarray]:
    """What a composition without labels is, of upright frames: said in another way than vsr does."""
    planes = []
    block = 1 << (chroma or (0, 0))[0]
    width = -(-first.width // block) * block
    for index, (left, right) in enumerate(zip(first.planes, second.planes, strict=True)):
        if layout == "split":
            middle = first.width // 2 if index == 0 else 0
            planes.append(np.hstack([left[:, :middle], right[:, middle:]]))
        else:
            side = width if index == 0 else width // block
            planes.append(np.hstack([plane[:, np.minimum(np.arange(side), plane.shape[1] - 1)]
                                     for plane in (left, right)]))
    return planes


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chroma", CHROMAS)
@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("size", [(320, 180), (333, 201)])
def test_every_pixel_outside_of_labels_and_line_is_that_of_its_side(
    layout: str, chroma: Chroma, bits: int, size: tuple[int, int]
) -> None:
    composer = Composer(layout, size, chroma, bits, Color(), LABELS)
    frames = pair(size, chroma, bits)
    before = [plane.copy() for frame in frames for plane in frame.planes]
    made = composer(*frames)
    assert composer.size == composed_size(layout, size, chroma, 1) == (made.width, made.height)
    assert (made.pts, made.bits) == (3, bits)
    assert all(np.array_equal(a, b) for a, b in zip(before, [p for f in frames for p in f.planes], strict=True))
    apart = joined(layout, *frames, chroma)
    for plane, wanted, free in zip(made.planes, apart, untouched(composer, size, chroma, bits), strict=True):
        assert plane.shape == wanted.shape and plane.dtype == wanted.dtype
        assert np.array_equal(plane[free], wanted[free]) and 0.7 < free.mean() < 1
        assert free[plane.shape[0] // 2 :].mean() > 0.98  # the labels are above


def test_labels_and_line_are_where_they_should_be() -> None:
    size = 640, 360
    flat = Frame((np.full((360, 640), 126, np.uint8),), 8, 0, Fraction(1, 25))
    for layout, width in (("split", 640), ("side-by-side", 1280)):
        made = Composer(layout, size, None, 8, Color(), LABELS)(flat, flat).luma
        left, right = made[:60, : width // 2 - 2], made[:60, width // 2 + 2 :]
        for side in (left, right):
            assert side.max() > 215 and side.min() < 70  # white on a dark ground
        rows, columns = np.nonzero(left != 126)
        assert rows.min() >= 4 and columns.min() >= 4 and columns.max() < 110
        rows, columns = np.nonzero(right != 126)
        assert columns.min() > width // 2 - 250 and columns.max() <= width // 2 - 7
        changed = np.flatnonzero(made[-1] != 126)
        assert changed.tolist() == ([320] if layout == "split" else [])


@pytest.mark.parametrize(("size", "bits", "color", "white"), [
    ((640, 360), 10, Color(range=1), (16 + 0.95 * 219) * 4), ((640, 360), 8, Color(range=2), 0.95 * 255),
    ((640, 360), 10, Color(transfer=16), (16 + 0.58 * 219) * 4), ((3840, 2160), 8, Color(), 16 + 0.95 * 219),
])
def test_letters_are_as_white_as_paper(size: tuple[int, int], bits: int, color: Color, white: float) -> None:
    chroma = (1, 1)
    flat = noise(size, chroma, bits, 0, color)
    flat = Frame(tuple(np.zeros_like(plane) for plane in flat.planes), bits, 0, Fraction(1, 25), color=color)
    made = Composer("side-by-side", size, chroma, bits, color, LABELS)(flat, flat)
    assert 0.85 * white < made.luma.max() <= round(white)  # thin letters do not cover a pixel
    assert 0.85 * (1 << (bits - 1)) < made.planes[1].max() <= 1 << (bits - 1)  # letters have no colour


@pytest.mark.parametrize("size", [(64, 36), (160, 90), (320, 180), (180, 320), (1280, 720), (3840, 2160)])
def test_labels_grow_with_the_picture_and_are_left_out_where_nobody_could_read_them(size: tuple[int, int]) -> None:
    flat = Frame((np.zeros(size[::-1], np.uint8),), 8, 0, Fraction(1, 25))
    made = Composer("side-by-side", size, None, 8, Color(), LABELS)(flat, flat).luma
    left = np.nonzero((made[:, : size[0]] > 100).any(1))[0]
    if size[0] < 100:
        assert not made.any()
    else:
        assert max(5, min(size) // 60) <= np.ptp(left) + 1 <= max(12, min(size) // 25)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chroma", [(0, 0), (1, 1), (1, 0)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_are_compared_upright(layout: str, chroma: Chroma, orientation: int) -> None:
    """Composed as stored and then turned, they are what they are when they are turned first and then composed."""
    stored = 320, 200
    frames = pair(stored, chroma, 8)
    tag = {0x0112: orientation}

    def seen(plane: np.ndarray) -> np.ndarray:
        image = Image.fromarray(plane)
        image.getexif().update(tag)
        return np.asarray(ImageOps.exif_transpose(image))

    upright = [Frame(tuple(seen(plane) for plane in f.planes), 8, 3, Fraction(1, 25)) for f in frames]
    size = stored if orientation <= 4 else stored[::-1]
    their = chroma if orientation <= 4 else chroma[::-1]
    wanted = Composer(layout, size, their, 8, Color(), LABELS)(*upright)
    made = Composer(layout, stored, chroma, 8, Color(), LABELS, orientation)(*frames)
    for plane, other in zip(made.planes, wanted.planes, strict=True):
        assert np.array_equal(seen(plane), other) and np.array_equal(turned(plane, orientation), other)


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_odd_sides_that_are_turned_keep_chroma_below_its_luma(orientation: int) -> None:
    size, chroma = (333, 201), (1, 1)
    frames = pair(size, chroma, 8)
    for layout in LAYOUTS:
        composer = Composer(layout, size, chroma, 8, Color(), LABELS, orientation)
        luma, blue, _ = untouched(composer, size, chroma, 8)
        below = np.zeros((2 * blue.shape[0], 2 * blue.shape[1]), bool)
        below[: luma.shape[0], : luma.shape[1]] = ~luma
        whole = below.reshape(blue.shape[0], 2, -1, 2).any((1, 3))
        assert np.array_equal(whole, ~blue)
        assert composer(*frames).planes[1].shape == blue.shape


@pytest.mark.parametrize("position", [0, 0.1, 0.5, 0.77, 1])
def test_a_split_is_where_it_is_asked_for(position: float) -> None:
    size = 640, 360
    first, second = pair(size, (1, 1), 8)
    composer = Composer("split", size, (1, 1), 8, Color(), LABELS, position=position)
    made = composer(first, second).luma
    cut = round(position * 639)
    below = np.s_[100:]
    assert np.array_equal(made[below][:, :cut], first.luma[below][:, :cut])
    assert np.array_equal(made[below][:, cut + 1 :], second.luma[below][:, cut + 1 :])
    changed = ~untouched(composer, size, (1, 1), 8)[0]
    assert changed[:, cut].all()
    assert changed[:30, :cut].any() == (cut > 10) and changed[:30, cut + 1 :].any() == (cut < 630)


def test_opacity_is_composed_and_labels_are_opaque() -> None:
    size = 320, 180
    clear = np.zeros(size[::-1], np.uint8)
    first, second = (Frame(f.planes, 8, 3, Fraction(1, 25), alpha=clear) for f in pair(size, (1, 1), 8))
    composer = Composer("split", size, (1, 1), 8, Color(), LABELS)
    made = composer(first, second)
    assert made.alpha is not None and not made.alpha[untouched(composer, size, (1, 1), 8)[0]].any()
    assert made.alpha.max() > 245 and not clear.any()


# ---- files -------------------------------------------------------------------------------------------------------


def frames_of(path: Path) -> list[Frame]:
    with Decoder(path) as source:
        return [Frame(tuple(plane.copy() for plane in item.planes), item.bits, item.pts, item.time_base,
                      color=item.color) for item in source if isinstance(item, Frame)]


def compared(path: Path, output: Path, **options: Any) -> Done:
    events = options.pop("on_event", None)
    control = {key: options.pop(key) for key in ("cancel", "engines", "depth") if key in options}
    done = run(Job(path, output, **{"compare": "split", **options}), events, **{"engines": Nearest, **control})
    assert done is not None
    return done


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("pix_fmt", "chroma", "bits"), [
    ("yuv420p", (1, 1), 8), ("yuv420p10le", (1, 1), 10), ("yuv422p10le", (1, 0), 10), ("yuv444p", (0, 0), 8),
    ("gray", None, 8), ("yuv411p", (2, 0), 8),
])
@pytest.mark.parametrize(("size", "scale"), [((160, 96), 2), ((111, 67), 3)])
def test_a_video_holds_what_the_engines_made(
    clip: Clip, tmp_path: Path, layout: str, pix_fmt: str, chroma: Chroma, bits: int, size: tuple[int, int], scale: int
) -> None:
    path = clip("a.mkv", size=size, codec="ffv1", pix_fmt=pix_fmt, pts=range(0, 3 * 512, 512))
    done = compared(path, tmp_path / "b.mkv", compare=layout, scale=scale, codec="ffv1")
    assert all(check.ok for check in done.checks) and done.frames == 3
    big = size[0] * scale, size[1] * scale
    wanted_size = composed_size(layout, big, chroma, 1)
    assert next(c.got for c in done.checks if c.name == "size") == "{}x{}".format(*wanted_size)
    name = f"FSRCNN-s-video x{scale} · fp32"
    free = untouched(Composer(layout, big, chroma, bits, Color(), ("Bicubic", name)), big, chroma, bits)
    for small, frame in zip(frames_of(path), frames_of(tmp_path / "b.mkv"), strict=True):
        assert (frame.width, frame.height) == wanted_size and len(frame.planes) == len(small.planes)
        left = Bicubic(scale, bits).upscale(small.luma)
        right = np.repeat(np.repeat(small.luma, scale, 0), scale, 1)
        both = (Frame((plane,), bits, 0, Fraction(1)) for plane in (left, right))
        luma = joined(layout, *both, chroma)[0]
        assert np.array_equal(frame.luma[free[0]], luma[free[0]])
        assert not np.array_equal(left, right)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sound_times_and_turns_are_kept(clip: Clip, tmp_path: Path, layout: str) -> None:
    path = clip("a.mp4", size=(160, 96), pts=[0, 512, 700, 2000, 9000], audio=2, rotation=-90, chapters=1)
    events: list[Any] = []
    done = compared(path, tmp_path / "b.mp4", compare=layout, on_event=events.append)
    started = next(event for event in events if isinstance(event, Started))
    size = (320, 192) if layout == "split" else (320, 384)  # on end as it is seen, so one below the other as stored
    assert (started.width, started.height, started.scale) == (*size, 2)
    before, after = probe(path), probe(done.output)
    assert (after.video.width, after.video.height) == size
    assert after.video.rotation_degrees == before.video.rotation_degrees == -90
    sound = []
    for name in (path, done.output):
        with av.open(str(name)) as container:
            sound.append([(p.stream.index, p.pts, bytes(p)) for p in container.demux(audio=[0, 1]) if p.size])
    assert sound[0] == sound[1] != []
    assert [f.pts * f.time_base for f in frames_of(path)] == [f.pts * f.time_base for f in frames_of(done.output)]


def test_the_command_compares_with_the_model(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mkv", size=(96, 64), codec="ffv1", pts=range(0, 1024, 512))
    out = tmp_path / "new" / "b.mkv"
    assert main(["compare", str(path), "-o", str(out), "--codec", "ffv1", "--engine", "reference"]) == 0
    with open_engine("fsrcnn-s", 2, engine="reference") as engine:
        for small, frame in zip(frames_of(path), frames_of(out), strict=True):
            assert (frame.width, frame.height) == (384, 128)
            assert np.array_equal(frame.luma[40:, :192], Bicubic(2).upscale(small.luma)[40:])
            assert np.array_equal(frame.luma[40:, 192:], engine.upscale(small.luma)[40:])


def test_threads_change_no_byte(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mkv", size=(96, 64), codec="ffv1")
    for depth in (0, 3):
        compared(path, tmp_path / f"{depth}.mkv", codec="ffv1", depth=depth)
    for one, other in zip(*(frames_of(tmp_path / f"{depth}.mkv") for depth in (0, 3)), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


# ---- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("color", "pix_fmt"), [
    ((1, 1, 1, 1), "yuv444p"), ((2, 1, 1, 1), "yuv444p"), ((1, 6, 6, 6), "yuv420p"), ((1, 9, 9, 1), "yuv444p10le"),
    ((0, 2, 2, 2), "yuv422p"), ((0, 2, 2, 2), "gray"),
])
def test_a_picture_of_a_frame_is_that_frame_as_players_show_it(
    clip: Clip, tmp_path: Path, color: tuple[int, int, int, int], pix_fmt: str
) -> None:
    """Beside swscale's conversion of the same frame of the comparison as a video."""
    path = clip("a.mkv", size=(160, 96), codec="ffv1", pix_fmt=pix_fmt, color=color, pts=range(0, 5 * 512, 512))
    compared(path, tmp_path / "b.mkv", codec="ffv1")
    done = compared(path, tmp_path / "b.png", cut=Cut(Fraction(3 * 512 - 1, 12800)))
    assert all(check.ok for check in done.checks) and done.frames == 1
    made = cv2.imread(str(done.output), cv2.IMREAD_UNCHANGED)
    assert made.dtype == (np.uint16 if "10" in pix_fmt else np.uint8) and made.shape[:2] == (192, 320)
    with av.open(str(tmp_path / "b.mkv")) as container:
        frame = list(container.decode(video=0))[3]
    if pix_fmt == "gray":
        luma = frame.to_ndarray()[..., 0] if frame.to_ndarray().ndim == 3 else frame.to_ndarray()
        wanted = np.clip(np.rint((luma.astype(float) - 16) * 255 / 219), 0, 255)
        assert np.abs(made - wanted).max() <= 1
        return
    space = {1: "ITU709", 6: "ITU601", 2: "ITU601", 9: "BT2020"}[color[1]]
    exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    deep = made.dtype == np.uint16
    kind = "bgr48le" if deep else "bgr24"
    wanted = frame.reformat(format=kind, src_colorspace=space, interpolation=exact).to_ndarray()
    difference = np.abs(made.astype(int) - wanted) / (257 if deep else 1)
    if pix_fmt.startswith("yuv444"):
        assert difference.max() <= 2
    else:  # swscale interpolates chroma in another way
        assert difference[8:-8, 8:-8].mean() < 2.5


def test_a_turned_video_gives_an_upright_picture(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mp4", size=(160, 96), rotation=-90)
    for layout, size in (("split", (192, 320)), ("side-by-side", (384, 320))):
        done = compared(path, tmp_path / f"{layout}.png", compare=layout)
        assert read_picture(done.output).size == size
        assert next(c.expected for c in done.checks if c.name == "size") == "{}x{}".format(*size)
    with Decoder(path) as source:
        assert source.orientation == 6
        first = next(item for item in source if isinstance(item, Frame))
        luma = Bicubic(2).upscale(first.luma)
    seen = cv2.cvtColor(cv2.imread(str(tmp_path / "side-by-side.png")), cv2.COLOR_BGR2GRAY)[:, :192]
    match = np.corrcoef(seen[100:].ravel(), np.rot90(luma, -1)[100:].ravel())[0, 1]
    assert match > 0.98


def test_every_orientation_of_a_display_matrix_is_exif_s() -> None:
    class Turned(Decoder):
        def __init__(self, matrix: tuple[int, ...] | None) -> None:
            self.display_matrix = matrix

    plane = np.arange(6).reshape(2, 3)
    for number in range(1, 9):
        seen = turned(plane, number)
        # Where the first pixel goes, and in which directions the stored axes run from there
        (y, x), (y_right, x_right), (y_down, x_down) = (np.argwhere(seen == code)[0] for code in (0, 1, 3))
        one = 1 << 16
        matrix = ((x_right - x) * one, (y_right - y) * one, 0, (x_down - x) * one, (y_down - y) * one, 0, 0, 0, 1 << 30)
        assert Turned(matrix).orientation == number
    assert Turned(None).orientation == 1


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_pictures_are_compared_too(tmp_path: Path, name: str) -> None:
    pixels = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8), (160, 120))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / name, exif=exif.tobytes())
    done = compared(tmp_path / name, tmp_path / "b.png", compare="side-by-side")
    assert all(check.ok for check in done.checks)
    made = read_picture(done.output)
    assert made.size == (320, 480) and made.metadata.orientation == 6  # side by side as it is seen
    if name == "a.jpg":
        done = compared(tmp_path / name, tmp_path / "b.mkv", codec="ffv1")
        assert done.frames == 1 and all(check.ok for check in done.checks)


def test_image_sequences_are_compared(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"f_{number:02d}.png"), np.full((96, 160, 3), 40 * number, np.uint8))
    done = compared(tmp_path / "f_%02d.png", tmp_path / "b.png", cut=Cut(Fraction(2, 25)))
    assert cv2.imread(str(done.output))[150, 20].tolist() == pytest.approx([80] * 3, abs=1)
    assert compared(tmp_path / "f_%02d.png", tmp_path / "b.mkv").frames == 3


def test_hdr_pictures_say_so(tmp_path: Path) -> None:
    frame = noise((64, 48), (1, 1), 10, 0, Color(1, 9, 9, 16))
    save_picture(picture_of(frame, 8), tmp_path / "a.png")
    made = read_picture(tmp_path / "a.png")
    assert made.metadata.native == ((b"cICP", bytes([9, 16, 0, 1])),) and made.bits == 16 and made.size == (48, 64)
    assert np.array_equal(turned(to_pixels(whole_chroma(frame), 16), 8), made.pixels)
    with pytest.raises(OutputError, match="exists"):
        save_picture(made, tmp_path / "a.png")
    with pytest.raises(UsageError, match="no extension"):
        save_picture(made, tmp_path / "a.mkv")


@pytest.mark.parametrize("location", [1, 2, 3])
@pytest.mark.parametrize("chroma", [(1, 0), (1, 1), (2, 0), (0, 1)])
def test_whole_chroma_lies_where_luma_does(location: int, chroma: tuple[int, int]) -> None:
    """Chroma that grows with the position in the picture: where the samples lie, it is what luma is."""
    place = {1: (0.0, 0.5), 2: (0.5, 0.5), 3: (0.0, 0.0)}[location]
    x, y = np.arange(64), np.arange(48)
    luma = (4000 + 64 * x[None, :] + 96 * y[:, None]).astype(np.uint16)
    axes = zip(chroma, (64, 48), place, strict=True)
    xs, ys = ((1 << c) * np.arange(n >> c) + p * ((1 << c) - 1) for c, n, p in axes)
    small = np.rint(4000 + 64 * xs[None, :] + 96 * ys[:, None]).astype(np.uint16)
    made = whole_chroma(Frame((luma, small, small), 16, 0, Fraction(1), color=Color(chroma_location=location)))
    inside = np.s_[12:-12, 12:-12]
    assert np.abs(made.planes[1][inside].astype(int) - luma[inside]).max() <= 1


# ---- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "words"), [
    ({"compare": "diagonal"}, "side-by-side, split"), ({"output": None}, "name it with -o"),
    ({"codec": "ffv1"}, "b.png is a picture: it has no codec"), ({"crf": 20.0}, "no crf"),
    ({"cut": Cut(Fraction(0), Fraction(1))}, "no end"), ({"output": Path("b.xyz")}, "no extension"),
])
def test_jobs_that_cannot_be(clip: Clip, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run(Job(clip("a.mp4"), **{"output": tmp_path / "b.png", "compare": "split", **options}), engines=Nearest)


@pytest.mark.parametrize("name", ["b.mkv", "b.png"])
def test_a_cancelled_comparison_leaves_nothing(clip: Clip, tmp_path: Path, name: str) -> None:
    path = clip("a.mp4", size=(160, 96), audio=1)
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        compared(path, tmp_path / name, cancel=cancel,
                 on_event=lambda event: cancel.set() if isinstance(event, Started | Progress) else None)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("clip_name", [
    "mdn-shared-assets/friday.mp4", "bitvue-foreman/foreman_h264.mp4", "decord/video_90.mov",
])
def test_real_clips(data: Path, tmp_path: Path, clip_name: str) -> None:
    source = data / "video" / clip_name
    before = probe(source).video
    for layout in LAYOUTS:
        cut = Cut(Fraction(0), Fraction(1, 5))
        done = compared(source, tmp_path / f"{layout}.mkv", compare=layout, cut=cut, preset="ultrafast")
        assert all(check.ok for check in done.checks) and done.frames > 1
        after = probe(done.output).video
        assert after.color == before.color and after.rotation_degrees == before.rotation_degrees
