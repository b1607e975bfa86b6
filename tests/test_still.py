"""Pictures: what counts as one, what of it comes back, and the job that makes it bigger."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import threading
import zlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Nearest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from vsr import still
from vsr.cli import main
from vsr.errors import Cancelled, CheckError, InputError, OutputError, UsageError
from vsr.events import Done, Progress, Started, Warned
from vsr.job import Job, check_job, picture_target
from vsr.media.picture import Metadata, Picture, fitted, read_picture, still_format, to_frame, to_pixels, write_picture
from vsr.pipeline import run
from vsr.size import Resolution

FORMATS = ("png", "jpg", "webp")
ORIENTATION, MAKER = 0x0112, 0x010F
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">a picture</x:xmpmeta>'


def painted(size: tuple[int, int] = (40, 30), channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Smooth colours, BGR(A), the alpha with fully transparent and opaque parts."""
    seed = np.random.default_rng(1).random((5, 6, channels)).astype(np.float32)
    smooth = np.clip(cv2.resize(seed, size, interpolation=cv2.INTER_CUBIC).reshape(size[1], size[0], channels), 0, 1)
    if channels == 4:
        smooth[..., 3] = np.clip(2 * smooth[..., 3] - 0.5, 0, 1)
    pixels = np.rint(smooth * np.iinfo(dtype).max).astype(dtype)
    return pixels[..., 0] if channels == 1 else pixels


def save(path: Path, pixels: np.ndarray | None = None, **options: object) -> Path:
    """A file written by Pillow, with EXIF (turned), a colour profile, and XMP."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if path.suffix == ".png":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
        texts.add_text("Title", "a title")
        options = {"pnginfo": texts, "dpi": (300, 300), **options}
    else:
        options = {"xmp": XMP, "quality": 95, **options}
    if path.suffix == ".jpg":
        options = {"dpi": (300, 300), "comment": b"a comment", **options}
    image = Image.fromarray(cv2.cvtColor(painted() if pixels is None else pixels, cv2.COLOR_BGR2RGB))
    image.save(path, exif=exif.tobytes(), icc_profile=profile, **options)
    return path


def save_pixels(path: Path, pixels: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def upscaled(path: Path, nearest: type[Nearest], **options: object) -> np.ndarray:
    """What the job makes of ``path`` with an engine that repeats pixels, read by OpenCV."""
    return cv2.imread(str(run(Job(path, **options), engines=nearest).output), cv2.IMREAD_UNCHANGED)


# ---- what counts as a picture ------------------------------------------------------------------------------------


def test_a_picture_is_told_by_its_content(tmp_path: Path) -> None:
    for name, form in (("a.png", "png"), ("a.jpg", "jpeg"), ("a.webp", "webp")):
        path = save(tmp_path / name)
        assert still_format(path.rename(tmp_path / f"{form}.mkv")) == form
    frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 99, 200)]
    for name in ("a.gif", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert still_format(tmp_path / name) is None
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    assert [still_format(tmp_path / name) for name in ("text.png", "empty.png", "none.png", ".")] == [None] * 4


def test_a_stream_of_jpegs_is_a_video_and_a_photo_with_a_preview_is_not(tmp_path: Path) -> None:
    one = save(tmp_path / "one.jpg").read_bytes()
    (tmp_path / "stream.mjpeg").write_bytes(one * 3)
    (tmp_path / "trailed.jpg").write_bytes(one + b"whatever a camera puts behind")
    preview = one[:2] + b"\xff\xe2" + struct.pack(">H", 8) + b"MPF\0II" + one[2:] + one
    (tmp_path / "photo.jpg").write_bytes(preview)
    assert [still_format(tmp_path / name) for name in ("stream.mjpeg", "trailed.jpg", "photo.jpg")] == [
        None, "jpeg", "jpeg"]


@pytest.mark.parametrize(("name", "output", "made"), [
    ("a.png", None, "a_x2.png"), ("a.jpeg", None, "a_x2.jpeg"), ("A.JPG", None, "A_x2.JPG"),
    ("a.webp", None, "a_x2.webp"), ("a.mkv", None, "a_x2.png"), ("a.png", "b.webp", "b.webp"),
    ("a.png", "b.mkv", "b.mkv"),
])
def test_the_output_is_named_after_the_input(tmp_path: Path, name: str, output: str | None, made: str) -> None:
    kind = {".jpeg": ".jpg", ".jpg": ".jpg", ".webp": ".webp"}.get(Path(name).suffix.lower(), ".png")
    source = save(tmp_path / f"x{kind}").rename(tmp_path / name)
    job = Job(source, output and tmp_path / output)
    assert picture_target(job, Resolution(2, 64, 64, None)) == tmp_path / made
    assert check_job(job) == (Path(made).suffix != ".mkv")


def test_options_of_videos_are_refused(tmp_path: Path, clip) -> None:
    source = save(tmp_path / "photo.png")
    for options in ({"codec": "hevc"}, {"preset": "fast"}, {"crf": 20.0}, {"encoder_options": (("a", "b"),)}):
        with pytest.raises(UsageError, match=r"photo\.png is a picture: it has no"):
            check_job(Job(source, **options))
    check_job(Job(source, tmp_path / "video.mkv", codec="ffv1"))
    with pytest.raises(UsageError, match="is no picture"):
        check_job(Job(clip("a.mkv"), tmp_path / "frame.png"))


# ---- pixels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_come_back_from_luma_and_chroma(dtype: type) -> None:
    most = np.iinfo(dtype).max
    pixels = np.random.default_rng(2).integers(0, most + 1, (300, 300, 3)).astype(dtype)
    corners = np.array(np.meshgrid([0, most], [0, most], [0, most])).T.reshape(-1, 3)
    pixels[0, :8] = corners
    back = to_pixels(to_frame(pixels), 8 * pixels.itemsize)
    assert back.dtype == dtype
    assert np.abs(back.astype(int) - pixels).max() <= (dtype == np.uint16)
    luma = to_frame(pixels).luma[0, :8] / 65535
    assert luma == pytest.approx(corners @ [0.114, 0.587, 0.299] / most, abs=1e-5)


@pytest.mark.parametrize("bgr", [(0, 0, 0), (255, 255, 255), (0, 0, 255), (255, 0, 0), (0, 255, 0), (17, 130, 201)])
def test_flat_colours_stay(tmp_path: Path, bgr: tuple[int, int, int]) -> None:
    source = save_pixels(tmp_path / "flat.png", np.full((20, 30, 3), bgr, np.uint8))
    made = cv2.imread(str(run(Job(source)).output))
    assert made.shape == (40, 60, 3)
    assert np.abs(made.astype(int) - bgr).max() <= 1


@pytest.mark.parametrize("pixels", [
    painted(channels=1), painted(channels=1, dtype=np.uint16), painted(), painted(dtype=np.uint16),
    painted(channels=4), painted(channels=4, dtype=np.uint16),
], ids=["grey", "grey 16", "rgb", "rgb 16", "rgba", "rgba 16"])
def test_channels_and_depth_are_kept(tmp_path: Path, nearest: type[Nearest], pixels: np.ndarray) -> None:
    made = upscaled(save_pixels(tmp_path / "a.png", pixels), nearest)
    assert made.dtype == pixels.dtype
    assert made.shape == (2 * pixels.shape[0], 2 * pixels.shape[1], *pixels.shape[2:])
    if pixels.ndim == 2:
        assert np.array_equal(made, np.repeat(np.repeat(pixels, 2, 0), 2, 1))


def test_few_bits_palettes_and_transparent_greys_are_read(tmp_path: Path) -> None:
    grey = Image.fromarray(painted(channels=1))
    grey.save(tmp_path / "key.png", transparency=int(painted(channels=1)[3, 3]))
    grey.convert("1").save(tmp_path / "one.png")
    grey.convert("LA").save(tmp_path / "la.png")
    colors = Image.fromarray(painted()).convert("P", palette=Image.Palette.ADAPTIVE)
    colors.save(tmp_path / "palette.png", transparency=3)
    header, row = struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0), zlib.compress(b"\0\x1b")  # four greys, one is clear
    parts = [(b"IHDR", header), (b"tRNS", b"\0\2"), (b"IDAT", row), (b"IEND", b"")]
    (tmp_path / "two.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts))
    greys = read_picture(tmp_path / "two.png").pixels[0]
    assert greys[:, 0].tolist() == [0, 85, 170, 255] and greys[:, 3].tolist() == [255, 255, 0, 255]
    for name, mode in (("key", "RGBA"), ("one", "L"), ("la", "RGBA"), ("palette", "RGBA")):
        pixels = read_picture(tmp_path / f"{name}.png").pixels
        expected = np.asarray(Image.open(tmp_path / f"{name}.png").convert(mode))
        seen = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
        assert np.array_equal(seen, expected), name


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".avif"])
def test_other_formats_become_png(tmp_path: Path, nearest: type[Nearest], suffix: str) -> None:
    if suffix == ".avif" and not cv2.haveImageWriter("a.avif"):
        pytest.skip("this OpenCV reads no AVIF")
    source = tmp_path / f"a{suffix}"
    Image.fromarray(painted()).save(source, quality=100, subsampling="4:4:4")
    assert np.abs(read_picture(source).pixels[..., ::-1].astype(int) - painted()).mean() <= 3 * (suffix == ".avif")
    done = run(Job(source), engines=nearest)
    assert done.output == tmp_path / "a_x2.png" and all(check.ok for check in done.checks)


@pytest.mark.parametrize("suffix", [".tif", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_and_avif_are_turned_and_keep_their_profile(tmp_path: Path, suffix: str, orientation: int) -> None:
    source = tmp_path / f"a{suffix}"
    if suffix == ".avif" and not cv2.haveImageWriter("a.avif"):
        pytest.skip("this OpenCV reads no AVIF")
    image = Image.fromarray(painted())
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(source, exif=exif.tobytes(), icc_profile=profile, quality=100, subsampling="4:4:4")
    image.getexif()[ORIENTATION] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    read = read_picture(source)
    assert read.metadata.icc == profile and read.metadata.exif is None
    assert read.pixels.shape == expected.shape and np.abs(read.pixels[..., ::-1] - expected).mean() < 3


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_fills_16_bits(tmp_path: Path, bits: int) -> None:
    if not cv2.haveImageWriter("a.avif"):
        pytest.skip("this OpenCV writes no AVIF")
    codes = painted(dtype=np.uint16) >> (16 - bits)
    options = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 100]
    assert cv2.imwrite(str(tmp_path / "a.avif"), codes, options)
    assert cv2.PSNR(read_picture(tmp_path / "a.avif").pixels, painted(dtype=np.uint16), 65535) > 45


def test_tiffs_that_are_not_plain_pictures(tmp_path: Path) -> None:
    image = Image.fromarray(painted())
    image.save(tmp_path / "pages.tif", save_all=True, append_images=[image])
    assert [code for code, _ in read_picture(tmp_path / "pages.tif").warnings] == ["pages"]
    image.convert("LA").save(tmp_path / "la.tif")
    assert read_picture(tmp_path / "la.tif").channels == 4
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    assert np.abs(read_picture(tmp_path / "cmyk.tif").pixels[..., ::-1].astype(int) - painted()).max() <= 1
    image.convert("F").save(tmp_path / "float.tif")
    image.save(tmp_path / "raw.tif", tiffinfo={254: 1})
    for name, why in (("float", "float32"), ("raw", "raw file")):
        with pytest.raises(InputError, match=why):
            read_picture(tmp_path / f"{name}.tif")


def test_a_cmyk_jpeg_becomes_rgb(tmp_path: Path, nearest: type[Nearest]) -> None:
    Image.new("CMYK", (20, 10), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=100)
    made = upscaled(tmp_path / "red.jpg", nearest)
    assert np.abs(made.astype(int) - (0, 0, 255)).max() < 12


def test_better_than_bicubic_in_rgb(tmp_path: Path, data: Path) -> None:
    truth = cv2.imread(str(data / "test" / "Set5" / "butterfly_GT.bmp"))[:128, :128]
    small = cv2.resize(truth, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    made = cv2.imread(str(run(Job(save_pixels(tmp_path / "small.png", small))).output))
    bicubic = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert cv2.PSNR(made, truth) > cv2.PSNR(bicubic, truth) + 0.5


def test_what_lies_under_transparency_does_not_shine_through(tmp_path: Path) -> None:
    """A white disc whose surroundings are transparent, and black underneath: laid on white nothing is seen of it."""
    disc = np.zeros((48, 48, 4), np.uint8)
    mask = np.zeros((48, 48), np.uint8)
    cv2.circle(mask, (24, 24), 15, 255, -1, cv2.LINE_AA)
    disc[..., 3] = mask
    disc[mask > 0, :3] = 255
    made = cv2.imread(str(run(Job(save_pixels(tmp_path / "disc.png", disc))).output), cv2.IMREAD_UNCHANGED)
    opacity = made[..., 3:] / 255
    assert opacity.min() == 0 and opacity.max() == 1
    assert (made[..., :3] * opacity + 255 * (1 - opacity)).min() > 253


# ---- what else a file holds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_metadata_goes_from_each_format_to_each(
    tmp_path: Path, nearest: type[Nearest], source: str, target: str
) -> None:
    path = save(tmp_path / f"a.{source}")
    done = run(Job(path, tmp_path / f"b.{target}"), engines=nearest)
    assert all(check.ok for check in done.checks) and {"exif", "icc", "xmp"} <= {check.name for check in done.checks}
    with Image.open(path) as before, Image.open(done.output) as after:
        assert after.size == (80, 60)  # not turned
        assert dict(after.getexif()) == {ORIENTATION: 6, MAKER: "maker"}
        assert after.info["icc_profile"] == before.info["icc_profile"]
        xmp = after.info.get("xmp") or after.info["XML:com.adobe.xmp"].encode()
        assert xmp.rstrip(b"\0") == XMP
        if "webp" not in (source, target):
            assert after.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        if source == target:
            assert after.info.get("Title") == before.info.get("Title")
            assert after.info.get("comment") == before.info.get("comment")


def test_texts_of_any_name_are_texts(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    for name in ("transparency", "dpi", "icc_profile", "xmp"):
        texts.add_text(name, "a text")
    Image.fromarray(painted()).save(tmp_path / "a.png", pnginfo=texts)
    read = read_picture(tmp_path / "a.png")
    assert read.channels == 3 and len(read.metadata.native) == 4
    assert (read.metadata.icc, read.metadata.xmp, read.metadata.dpi) == (None, None, None)


def test_metadata_of_16_bits_and_of_large_size(tmp_path: Path) -> None:
    profile = bytearray(np.random.default_rng(3).bytes(200_000))
    profile[16:20] = b"RGB "
    held = Metadata(exif=b"MM\0*" + bytes(50_001), icc=bytes(profile), xmp=XMP)
    for dtype, form in ((np.uint16, "png"), (np.uint8, "png"), (np.uint8, "jpeg"), (np.uint8, "webp")):
        made = fitted(Picture(painted(dtype=dtype), "png", True, held), form)
        write_picture(tmp_path / "a", made)
        assert not made.warnings and read_picture(tmp_path / "a").metadata == held
        assert cv2.imread(str(tmp_path / "a"), cv2.IMREAD_UNCHANGED).dtype == dtype


def test_a_profile_for_other_colours_is_left_out(tmp_path: Path) -> None:
    profile = bytes(16) + b"CMYK" + bytes(108)
    made = fitted(Picture(painted(), "jpeg", False, Metadata(icc=profile)), "jpeg")
    assert made.metadata.icc is None and [code for code, _ in made.warnings] == ["profile"]


def test_png_colour_chunks_are_kept_by_png_alone(tmp_path: Path, nearest: type[Nearest]) -> None:
    data = save_pixels(tmp_path / "a.png", painted()).read_bytes()
    gamma = png_chunk(b"gAMA", struct.pack(">I", 100000))
    (tmp_path / "a.png").write_bytes(data[:33] + gamma + data[33:])
    assert gamma in run(Job(tmp_path / "a.png"), engines=nearest).output.read_bytes()
    events: list[object] = []
    run(Job(tmp_path / "a.png", tmp_path / "a.webp"), events.append, engines=nearest)
    assert [event.code for event in events if isinstance(event, Warned)] == ["color"]


def test_what_a_format_cannot_hold_is_said(tmp_path: Path, nearest: type[Nearest]) -> None:
    source = save_pixels(tmp_path / "a.png", painted(channels=4, dtype=np.uint16))
    events: list[object] = []
    made = run(Job(source, tmp_path / "a.jpg"), events.append, engines=nearest).output
    assert [event.code for event in events if isinstance(event, Warned)] == ["depth", "alpha"]
    clear = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)[..., 3] == 0
    clear = cv2.erode(np.repeat(np.repeat(clear.astype(np.uint8), 2, 0), 2, 1), np.ones((15, 15))) > 0
    assert clear.any() and cv2.imread(str(made))[clear].min() > 250


def test_noise_of_more_than_two_bytes_a_pixel_becomes_a_jpeg(tmp_path: Path) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (500, 500, 3)).astype(np.uint8)
    write_picture(tmp_path / "a.jpg", Picture(noise, "jpeg", False))
    assert (tmp_path / "a.jpg").stat().st_size > 2 * 500 * 500
    assert cv2.PSNR(read_picture(tmp_path / "a.jpg").pixels, noise) > 30


def test_quality_of_what_is_written(tmp_path: Path, nearest: type[Nearest]) -> None:
    lossy, lossless = save(tmp_path / "a.webp"), save(tmp_path / "b.webp", lossless=True)
    assert b"VP8 " in run(Job(lossy), engines=nearest).output.read_bytes()
    assert b"VP8L" in run(Job(lossless), engines=nearest).output.read_bytes()
    with Image.open(run(Job(save(tmp_path / "c.jpg")), engines=nearest).output) as image:
        assert [sampling[1:3] for sampling in image.layer] == [(1, 1)] * 3


# ---- the job -----------------------------------------------------------------------------------------------------


def test_events_and_checks(tmp_path: Path, nearest: type[Nearest]) -> None:
    events: list[object] = []
    done = run(Job(save(tmp_path / "a.png"), scale=3), events.append, engines=nearest)
    assert [type(event) for event in events] == [Started, Progress, Done] and events[-1] is done
    assert (events[0].width, events[0].height, events[0].codec, events[0].frames) == (120, 90, "png", 1)
    assert done.output == tmp_path / "a_x3.png" and done.frames == 1
    assert {check.name for check in done.checks} >= {"readable", "size", "channels", "bits", "pixels"}


def test_the_command_line_takes_pictures_and_folders_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.jpg", "c.webp"):
        save(tmp_path / name)
    assert main(["upscale", str(tmp_path), "-o", f"{tmp_path / 'out'}/", "--progress", "json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    done = [event for event in events if event["event"] == "done"]
    assert [Path(event["output"]).name for event in done] == ["a_x2.png", "b_x2.jpg", "c_x2.webp"]
    assert [event["codec"] for event in events if event["event"] == "start"] == ["png", "jpeg", "webp"]
    assert all(check["ok"] for event in done for check in event["checks"])


def test_originals_and_existing_files_are_not_touched(tmp_path: Path, nearest: type[Nearest]) -> None:
    source = save(tmp_path / "a.png")
    with pytest.raises(OutputError, match="is the input"):
        run(Job(source, source, overwrite=True), engines=nearest)
    (tmp_path / "a_x2.png").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        run(Job(source), engines=nearest)
    run(Job(source, overwrite=True), engines=nearest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_x2.png"]


def test_cancel_leaves_nothing(tmp_path: Path, nearest: type[Nearest]) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        run(Job(save(tmp_path / "a.png")), cancel=cancel, engines=nearest)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_failed_check_keeps_the_file_aside(
    tmp_path: Path, nearest: type[Nearest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(path: Path, made: Picture) -> None:
        write_picture(path, made)
        path.write_bytes(path.read_bytes()[:-200])

    monkeypatch.setattr(still, "write_picture", cut_short)
    with pytest.raises(CheckError, match="readable"):
        run(Job(save(tmp_path / "a.png")), engines=nearest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_x2.failed-check.png"]


def test_a_jpeg_cut_short_is_upscaled_as_far_as_it_goes(tmp_path: Path, nearest: type[Nearest]) -> None:
    source = save_pixels(tmp_path / "a.jpg", painted((200, 160)))
    whole = cv2.imread(str(source))
    source.write_bytes(source.read_bytes()[:-1500])
    events: list[object] = []
    made = cv2.imread(str(run(Job(source), events.append, engines=nearest).output))
    assert [event.code for event in events if isinstance(event, Warned)] == ["damaged"]
    assert cv2.PSNR(made[0:40:2, ::2], whole[:20]) > 30


@pytest.mark.parametrize("name", ["a.png", "a.webp", "headless.jpg", "flipped.png", "huge.png", "zero.png",
                                  "anim.webp"])
def test_damage_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = tmp_path / name
    if name == "anim.webp":
        frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 99)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif name in ("huge.png", "zero.png"):
        header = struct.pack(">IIBBBBB", 100_000 if name == "huge.png" else 0, 100_000, 8, 2, 0, 0, 0)
        parts = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(99))) + png_chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    else:
        data = bytearray(save(path).read_bytes())
        if name == "flipped.png":
            data[-100] ^= 0xFF
            path.write_bytes(data)
        else:
            path.write_bytes(data[: 700 if name == "headless.jpg" else len(data) // 2])
    assert main(["upscale", str(path)]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and name in said
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_sizes_that_a_format_cannot_hold(tmp_path: Path, nearest: type[Nearest]) -> None:
    source = save_pixels(tmp_path / "long.png", np.zeros((1, 9000, 3), np.uint8))
    with pytest.raises(OutputError, match=r"16383.*\.png"):
        run(Job(source, tmp_path / "long.webp"), engines=nearest)
    assert run(Job(source), engines=nearest).output.exists()


def test_no_picture_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(io.BytesIO(b"GIF89a").getvalue())
    with pytest.raises(InputError, match="not a still picture"):
        read_picture(tmp_path / "a.png")


def test_pictures_with_a_profile_as_video(tmp_path: Path) -> None:
    """Their side data once brought the interpreter down, which a child process survives."""
    for number in range(3):
        save(tmp_path / f"f{number}.png")
    code = ("import sys; from vsr.cli import main; folder = sys.argv[1]; "
            "assert main(['probe', folder + '/f0.png']) == 0; "
            "assert main(['upscale', folder + '/f0.png', '-o', folder + '/one.mkv', '--model', 'bicubic']) == 0; "
            "assert main(['upscale', folder + '/f%d.png', '-o', folder + '/all.mkv', '--model', 'bicubic']) == 0")
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


# ---- looks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_look_at_a_picture_is_upright_and_small(tmp_path: Path, suffix: str, channels: int) -> None:
    if channels == 4 and suffix == "jpg":
        pytest.skip("JPEG has no opacity")
    path = save_pixels(tmp_path / f"a.{suffix}", painted((400, 300), channels))
    seen = still.look(path, 100)
    assert seen.thumbnail.shape == (75, 100, 3) and seen.thumbnail.dtype == np.uint8 and seen.at is None
    if channels == 3:
        expected = cv2.resize(painted((400, 300)), (100, 75), interpolation=cv2.INTER_AREA)[..., ::-1]
        assert np.abs(seen.thumbnail.astype(int) - expected).mean() < 3
    turned = still.look(save(tmp_path / f"b.{'png' if channels == 4 else suffix}"), 100)
    assert turned.thumbnail.shape == (40, 30, 3) and turned.shape.rotation_degrees == 90


def test_a_look_at_a_video_is_upright_and_at_its_time(tmp_path: Path, clip) -> None:
    path = clip("a.mp4", size=(64, 32), rotation=90, aspect=Fraction(2), pts=range(0, 50 * 512, 512))
    seen = still.look(path, 64)
    assert seen.thumbnail.shape == (64, 16, 3) and seen.codec == "h264" and seen.frames == 50
    assert seen.at is not None and 0.15 < seen.at < 0.25
    assert np.array_equal(seen.thumbnail, still.look(path, 64, seen.at).thumbnail)
    assert not np.array_equal(seen.thumbnail, still.look(path, 64, Fraction(0)).thumbnail)

    def stop() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        still.look(path, 64, check=stop)
    with pytest.raises(InputError):
        still.look(tmp_path / "none.mp4", 64)
