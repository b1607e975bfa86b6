"""The papers' test protocol, proven by bicubic's published scores, and the scores themselves."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Clip, Nearest
from PIL import Image
from skimage.metrics import structural_similarity
from test_networks import random_net

from vsr.cli import main, parser
from vsr.errors import EngineError, InputError, UsageError
from vsr.frame import Color, Frame
from vsr.media.pixels import views
from vsr.models.catalogue import load_file, random_weights, save_file
from vsr.models.fsrcnn import Net
from vsr.models.networks import BORDERS, NETWORKS, Convolution, Network
from vsr.quality.evaluate import Score, colours_of, evaluate, model_upscale, network, scores, through_engine
from vsr.quality.metrics import SCALE_WEIGHTS, Metrics, average, flicker, psnr, score, ssim
from vsr.quality.protocol import (
    crop_to_multiple,
    frame_luma,
    imresize,
    list_images,
    load_luma,
    load_rgb,
    rgb_to_ycbcr,
    ycbcr_to_rgb,
)
from vsr.quality.vmaf import Vmaf, has_vmaf


def bicubic(scale: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda low: imresize(low, scale)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width))
    return cv2.GaussianBlur(noise, (0, 0), 2).astype(np.uint8)


# ---- the protocol ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "scale", "published"), [  # PSNR, SSIM [F16, tables 4 and 5]
    ("Set5", 2, (33.66, 0.9299)), ("Set5", 3, (30.39, None)), ("Set5", 4, (28.42, 0.8104)),
    ("Set14", 2, (30.23, 0.8687)), ("Set14", 3, (27.54, 0.7736)), ("Set14", 4, (26.00, 0.7019))])
def test_bicubic_has_its_published_score(folder: str, scale: int, published: tuple[float, float | None],
                                         data: Path) -> None:
    images = data / "test" / folder
    if not images.is_dir():
        pytest.skip(f"no test set {folder} in {data}")
    found = evaluate(images, "bicubic", scale, bicubic(scale)).average
    assert round(found.psnr, 2) == published[0]
    assert published[1] is None or round(found.ssim, 4) == published[1]  # what is printed for Set5 x3 is that of x2
    assert found.bicubic == Metrics(found.psnr, found.ssim, found.ms_ssim)


def test_colours_are_matlabs() -> None:
    rgb = np.array([[0, 255, 255, 0, 0], [0, 255, 0, 255, 0], [0, 255, 0, 0, 255]], np.uint8)[:, None]
    ycbcr = rgb_to_ycbcr(rgb)
    assert ycbcr[:, 0].T.tolist() == [[16, 128, 128], [235, 128, 128], [81, 90, 240], [145, 54, 34], [41, 240, 110]]
    assert np.abs(ycbcr_to_rgb(ycbcr).astype(int) - rgb).max() <= 2
    any_colours = np.random.default_rng(0).integers(0, 256, (3, 40, 40), dtype=np.uint8)
    assert np.abs(ycbcr_to_rgb(rgb_to_ycbcr(any_colours)).astype(int) - any_colours).max() <= 2


def test_grey_is_used_as_it_is() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    ycbcr = rgb_to_ycbcr(np.stack([codes] * 3), grey=True)
    assert np.array_equal(ycbcr[0], codes) and (ycbcr[1:] == 128).all()
    assert all(np.array_equal(plane, codes) for plane in ycbcr_to_rgb(ycbcr, grey=True))


@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 2, 3, 4])
def test_imresize_agrees_with_another_implementation(factor: float) -> None:
    """PyTorch's antialiased bicubic has a = -0.5 too; on a reflected border the two are the same function."""
    image = np.random.default_rng(0).uniform(0, 255, (48, 36))
    border = 24
    padded = np.pad(image, border, mode="symmetric")
    theirs = F.interpolate(torch.from_numpy(padded)[None, None], scale_factor=factor, mode="bicubic",
                           antialias=True)[0, 0].numpy()
    cut = round(border * factor)
    assert np.abs(imresize(image, factor) - theirs[cut:-cut, cut:-cut]).max() < 1e-3


def test_imresize_keeps_flat_and_linear_pictures() -> None:
    assert np.allclose(imresize(np.full((9, 7), 77.0), 3), 77)
    ramp = np.tile(np.arange(40.0), (8, 1))
    assert np.allclose(imresize(ramp, 2)[:, 8:-8], ((np.arange(80) + 0.5) / 2 - 0.5)[8:-8])


def test_grey_colour_deep_and_transparent_files(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    colour = np.dstack([grey, grey.T, grey[::-1]])
    files = {"grey": grey, "grey16": grey.astype(np.uint16) * 257, "three": np.dstack([grey] * 3),
             "colour": colour, "colour16": colour.astype(np.uint16) * 257, "clear": np.dstack([colour, grey])}
    for name, pixels in files.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    read = {name: load_luma(tmp_path / f"{name}.png") for name in files}
    rgb = np.moveaxis(colour[..., ::-1], 2, 0)
    luma = rgb_to_ycbcr(rgb)[0]
    expected = {"grey": grey, "grey16": grey, "three": rgb_to_ycbcr(np.stack([grey] * 3))[0], "colour": luma,
                "colour16": luma, "clear": luma}
    for name, pixels in expected.items():
        assert read[name].dtype == np.uint8 and np.array_equal(read[name], pixels), name
    for name in files:
        planes, single = load_rgb(tmp_path / f"{name}.png")
        assert single == name.startswith("grey") and planes.dtype == np.uint8
        assert np.array_equal(planes, rgb if name.startswith("c") else np.stack([grey] * 3)), name
    assert crop_to_multiple(grey, 3).shape == (6, 6) and crop_to_multiple(rgb, 3).shape == (3, 6, 6)


@pytest.mark.parametrize(("codes", "bits", "full", "expected"), [
    ([16, 128, 235, 255], 8, False, [16, 128, 235, 255]),
    ([64, 514, 940, 1023], 10, False, [16, 128, 235, 255]),  # 514 lies between 128 and 129
    ([0, 255], 8, True, [16, 235]), ([0, 65535], 16, True, [16, 235])])
def test_luma_of_frames_is_in_the_protocols_codes(codes: list[int], bits: int, full: bool,
                                                  expected: list[int]) -> None:
    plane = np.array([codes], np.uint8 if bits == 8 else np.uint16)
    made = frame_luma(Frame((plane,), bits, 0, Fraction(1, 25), color=Color(range=2 if full else 1)))
    assert made.dtype == np.uint8 and made.tolist() == [expected]


# ---- the scores --------------------------------------------------------------------------------------------------


def test_scores_of_known_pictures() -> None:
    truth = np.random.default_rng(0).integers(0, 250, (32, 32), dtype=np.uint8)
    same = score(truth, truth)
    assert same.psnr == math.inf and same.ssim == pytest.approx(1) and same.ms_ssim is None
    assert psnr(truth + np.uint8(5), truth) == pytest.approx(10 * np.log10(255**2 / 25))
    assert ssim(np.full_like(truth, 128), truth) < 0.1
    flat = np.full((161, 200), 77, np.uint8)
    assert score(flat, flat) == Metrics(math.inf, 1, 1)
    assert score(255 - smooth(161, 161), smooth(161, 161)).ms_ssim == 0  # a negative has negative structure


@pytest.mark.parametrize("shape", [(11, 40), (64, 48), (50, 40, 3)])
def test_ssim_is_scikit_images(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 256, shape, dtype=np.uint8)
    picture = np.clip(truth + rng.normal(0, 20, shape), 0, 255).astype(np.uint8)
    theirs = structural_similarity(picture, truth, data_range=255, gaussian_weights=True, sigma=1.5,
                                   use_sample_covariance=False, channel_axis=2 if len(shape) == 3 else None)
    assert ssim(picture, truth) == score(picture, truth).ssim == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("shape", [(176, 192), (161, 199), (203, 250)])
def test_ms_ssim_agrees_with_another_implementation(shape: tuple[int, int]) -> None:
    """Written anew from Wang, Simoncelli and Bovik 2003 in PyTorch: one dense window, luminance and the rest apart."""
    truth = smooth(*shape)
    picture = np.clip(truth + np.random.default_rng(2).normal(0, 12, shape), 0, 255).astype(np.uint8)
    axis = torch.arange(-5.0, 6, dtype=torch.float64)
    window = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    window = (window / window.sum())[None, None]
    x, y = (torch.from_numpy(plane.astype(np.float64))[None, None] for plane in (picture, truth))
    product = 1.0
    for level, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        mean_x, mean_y = F.conv2d(x, window), F.conv2d(y, window)
        deviation_x, deviation_y = x.unfold(2, 11, 1).unfold(3, 11, 1), y.unfold(2, 11, 1).unfold(3, 11, 1)
        deviation_x, deviation_y = deviation_x - mean_x[..., None, None], deviation_y - mean_y[..., None, None]
        variances = ((deviation_x**2 + deviation_y**2) * window[0, 0]).sum((-1, -2))
        covariance = (deviation_x * deviation_y * window[0, 0]).sum((-1, -2))
        factor = (2 * covariance + (0.03 * 255) ** 2) / (variances + (0.03 * 255) ** 2)
        if level == 4:
            factor = factor * ((2 * mean_x * mean_y + 2.55**2) / (mean_x**2 + mean_y**2 + 2.55**2))
        product *= factor.mean().item() ** weight
        x, y = (F.avg_pool2d(F.pad(z, (0, z.shape[3] % 2, 0, z.shape[2] % 2), mode="replicate"), 2) for z in (x, y))
    assert score(picture, truth).ms_ssim == pytest.approx(product, abs=1e-9)
    assert sum(SCALE_WEIGHTS) == pytest.approx(1, abs=2e-4)


def test_pictures_that_cannot_be_compared() -> None:
    plane = np.zeros((20, 20), np.uint8)
    for other in (plane[:19], plane.astype(np.float32), np.zeros((20, 20, 3), np.uint8)):
        with pytest.raises(ValueError, match="cannot be compared"):
            score(other, plane)
        with pytest.raises(ValueError, match="cannot be compared"):
            psnr(other, plane)
    with pytest.raises(ValueError, match="11 pixels"):
        score(plane[:10], plane[:10])


def test_averages_leave_out_what_is_equal_and_not_what_is_unknown() -> None:
    some = [Metrics(30, 0.8, 0.9, 70), Metrics(math.inf, 1, 1, 90), Metrics(40, 0.9, None)]
    assert average(some[:2]) == Metrics(30, 0.9, 0.95, 80)
    found = average(some)
    assert (found.psnr, found.ms_ssim, found.vmaf) == (35, None, None) and found.ssim == pytest.approx(0.9)
    assert average([some[1]] * 2).psnr == math.inf


def test_flicker_counts_what_changes_while_the_truth_stands_still() -> None:
    still = np.zeros((4, 4), np.uint8)
    up, down = np.full((4, 4), 200, np.uint8), np.full((4, 4), 190, np.uint8)
    assert flicker(iter([up, down, up]), repeat(still)) == 10  # 10 up, 10 down
    assert flicker([up, up, up], repeat(still)) == 0
    half = still.copy()
    half[:2] = 1  # the upper half of the scene moves: what happens to it is no flicker
    made = up.copy()
    made[2:] = 196
    assert flicker([up, made], [still, half]) == 4
    assert flicker([up, down], [still, still + np.uint8(1)]) is None and flicker([up], [still]) is None


# ---- VMAF --------------------------------------------------------------------------------------------------------


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that puts an ``ffmpeg`` command in the way, made of some lines of Python."""
    if os.name == "nt":
        pytest.skip("a command of Python's needs a shebang")
    folder = tmp_path / "commands"
    folder.mkdir()

    def make(body: str) -> None:
        command = folder / "ffmpeg"
        command.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        has_vmaf.cache_clear()

    monkeypatch.setenv("PATH", str(folder))
    has_vmaf.cache_clear()
    yield make
    has_vmaf.cache_clear()


FILTERS = "if '-filters' in sys.argv: print(' .. libvmaf    VV->V    Calculate the VMAF'); sys.exit()\n"


def test_vmaf_is_there_where_ffmpeg_has_it(ffmpeg: Callable[[str], None]) -> None:
    assert not has_vmaf()
    ffmpeg("print(' .. vmafmotion   V->V    Calculate the VMAF Motion score.')")
    assert not has_vmaf()
    ffmpeg(FILTERS)
    assert has_vmaf()


def test_vmaf_sends_both_pictures_and_reads_the_score(ffmpeg: Callable[[str], None]) -> None:
    ffmpeg(FILTERS + "sent = sys.stdin.buffer.read()\nassert '5x8' in sys.argv, sys.argv\n"
           "assert len(sent) == 2 * 3 * 40 and sent[:20] == b'p' * 20 and sent[20:40] == b't' * 20, sent\n"
           "assert sent[40:120] == bytes([128]) * 80 and sent[120:160] == sent[:40]\n"
           "print('[libvmaf @ 0x1] VMAF score: 87.500000', file=sys.stderr)")
    picture, truth = (np.full((4, 5), ord(letter), np.uint8) for letter in "pt")
    with Vmaf(4, 5) as meter:
        meter.add(picture, truth)
        meter.add(picture, truth)
        assert meter.score() == 87.5
    with Vmaf(4, 5) as meter:
        meter.add(picture, truth)
        meter.add(picture[:3], truth[:3])
        assert meter.score() is None
    ffmpeg(FILTERS + "sys.exit('VMAF score: 50')")  # fails, whatever it says, and does not read
    with Vmaf(400, 500) as meter:
        for _ in range(3):
            meter.add(np.zeros((400, 500), np.uint8), np.zeros((400, 500), np.uint8))
        assert meter.score() is None


def test_vmaf_of_real_pictures() -> None:
    if not has_vmaf():
        pytest.skip("no ffmpeg command with libvmaf")
    truth = smooth(243, 321)
    found = []
    for strength in (0, 3, 20):
        picture = np.clip(truth + np.random.default_rng(0).normal(0, strength, truth.shape), 0, 255).astype(np.uint8)
        with Vmaf(*truth.shape) as meter:
            meter.add(picture, truth)
            found.append(meter.score())
    assert found[0] > 95 and found[0] > found[1] > found[2]


# ---- evaluation --------------------------------------------------------------------------------------------------


def test_evaluation_of_a_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "a")):
        cv2.imwrite(str(tmp_path / f"{name}.png"), smooth(40, 50 + 7 * number))  # of several sizes
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    made = evaluate(tmp_path, "bicubic", 2, bicubic(2)).to_json(timed=True)
    assert [image["name"] for image in made["images"]] == ["a.png", "b.png"]
    assert made["average"]["psnr"] == pytest.approx(np.mean([image["psnr"] for image in made["images"]]), abs=1e-3)
    assert set(made["average"]) == {"psnr", "ssim", "ms_ssim", "bicubic_psnr", "bicubic_ssim", "bicubic_ms_ssim",
                                    "seconds"}
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((40, 40), 100, np.uint8))
    text = json.dumps(evaluate(tmp_path, "bicubic", 2, bicubic(2)).to_json(), allow_nan=False)
    flat = json.loads(text)["images"][2]
    assert flat["name"] == "flat.png" and flat["psnr"] is None and flat["ssim"] == 1
    assert json.loads(text)["average"]["psnr"] == made["average"]["psnr"]


def test_models_side_by_side_score_as_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), smooth(180, 190, ord(name)))
    models = {"bicubic": bicubic(2), "nearest": lambda low: low.repeat(2, 0).repeat(2, 1)}
    together = list(scores(tmp_path, 2, models))
    for name, upscale in models.items():
        alone = evaluate(tmp_path, name, 2, upscale).images
        assert [replace(row[name], seconds=0) for row in together] == [replace(score, seconds=0) for score in alone]
    assert together[0]["nearest"].bicubic.psnr == together[0]["bicubic"].psnr > together[0]["nearest"].psnr
    assert together[0]["nearest"].ms_ssim and together[0]["nearest"].frames is None


@pytest.mark.parametrize(("size", "pix_fmt", "codec"), [
    ((64, 48), "yuv420p", "libx264"), ((65, 49), "yuv444p", "ffv1"), ((65, 49), "yuv420p10le", "ffv1"),
    ((64, 48), "gray", "ffv1")])
def test_a_video_scores_as_its_frames(size: tuple[int, int], pix_fmt: str, codec: str, tmp_path: Path,
                                      clip: Clip) -> None:
    path = clip("a.mkv", size=size, pix_fmt=pix_fmt, codec=codec)
    folder = tmp_path / "frames"
    folder.mkdir()
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            luma = views(frame)[0]
            picture = luma if luma.dtype == np.uint8 else np.minimum(np.round(luma / 4), 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{number:02}.png"), picture)
    video, frames = evaluate(path, "bicubic", 2, bicubic(2)), evaluate(folder, "bicubic", 2, bicubic(2))
    [found] = video.images
    assert (found.name, found.frames) == ("a.mkv", 12) and len(frames.images) == 12
    assert found.psnr == pytest.approx(frames.average.psnr, abs=1e-9)
    assert found.ssim == pytest.approx(frames.average.ssim, abs=1e-9)
    [first] = scores(path, 2, {"bicubic": bicubic(2)}, frames=3)
    assert first["bicubic"].frames == 3
    assert first["bicubic"].psnr == pytest.approx(np.mean([image.psnr for image in frames.images[:3]]), abs=1e-9)


def test_a_picture_alone_scores_as_in_its_folder(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), smooth(40, 50))
    alone, inside = (evaluate(path, "bicubic", 2, bicubic(2)) for path in (tmp_path / "a.png", tmp_path))
    assert replace(alone.images[0], seconds=0) == replace(inside.images[0], seconds=0)


def test_a_damaged_video_is_scored_and_told(tmp_path: Path, clip: Clip) -> None:
    path = clip("a.mov", size=(64, 48), codec="png", pix_fmt="rgb24")
    whole, *pictures = path.read_bytes().split(b"\x89PNG")
    marks = [b"\x89PNG"] * 4 + [b"gone"] * 3 + [b"\x89PNG"] * 5
    path.write_bytes(whole + b"".join(mark + picture for mark, picture in zip(marks, pictures, strict=True)))
    heard: list[str] = []
    [found] = scores(path, 2, {"bicubic": bicubic(2)}, warn=heard.append)
    assert found["bicubic"].frames == 9 and heard == [f"{path}: 3 packets or places could not be decoded"]


def test_an_engine_measures_as_its_float_network(tmp_path: Path) -> None:
    from vsr.engines import open_engine

    smooth = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (60, 50)), (0, 0), 2)
    cv2.imwrite(str(tmp_path / "a.png"), smooth.astype(np.uint8))
    weights = random_weights(8, 4, 1, 2)
    with open_engine(weights, 2, bits=16, engine="reference") as engine:
        measured = evaluate(tmp_path, "engine", 2, through_engine(engine)).average
    exact = evaluate(tmp_path, "network", 2, network(weights)).average
    assert measured.psnr == pytest.approx(exact.psnr, abs=0.01)


@pytest.mark.parametrize("name", ["srcnn-9-1-5", "fsrcnn-s"])
def test_the_border_is_chosen_at_test_time_and_changes_nothing_else(name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(path, random_net(NETWORKS[name], 3).to_weights(name))
    low = smooth(24, 20).astype(np.float32)
    made = {border: model_upscale(path, 3, border=border)[1](low) for border in (None, *BORDERS)}
    reach = 3 * NETWORKS[name].margin(3)
    inner = np.s_[reach:-reach, reach:-reach]
    assert np.array_equal(made[None], made["replicated"]) and made[None][inner].std() > 1
    for one, other in pairwise(BORDERS):
        apart = np.abs(made[one] - made[other])
        assert apart[inner].max() < 0.01 and min(apart[0].max(), apart[-1].max(), apart[:, 0].max()) > 1


def test_weights_that_make_no_numbers_have_no_score() -> None:
    weights = random_weights(8, 4, 1, 2)
    huge = replace(weights, deconvolution=weights.kernel * np.float32(1e37))
    with pytest.raises(EngineError, match="beyond all bounds"):
        network(replace(huge, layers=(replace(huge.feature, weight=huge.feature.weight * np.float32(1e30)),
                                      *huge.layers[1:])))(np.full((16, 16), 128, np.float32))


def test_a_border_is_for_float_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), smooth(40, 50))

    def made(*more: str) -> dict[str, dict[str, float]]:
        models = ["--model", "bicubic", "--model", "fsrcnn-s"]
        assert main(["evaluate", "--data", str(tmp_path), "--json", *models, *more]) == 0
        return {each["model"]: each["average"] for each in map(json.loads, capsys.readouterr().out.splitlines())}

    own, zero = made(), made("--border", "zero")
    assert own == made("--border", "replicated") and own["bicubic"] == zero["bicubic"]
    assert zero["fsrcnn-s"]["psnr"] < own["fsrcnn-s"]["psnr"]
    assert main(["evaluate", "--data", str(tmp_path), "--border", "zero", "--engine", "reference"]) == 2
    assert "--engine" in (said := capsys.readouterr().err) and said.count("\n") == 1
    with pytest.raises(UsageError):  # the command line has all that there are
        parser().parse_args(["evaluate", "--data", "a", "--border", "none"])
    assert all(parser().parse_args(["evaluate", "--data", "a", "--border", border]) for border in BORDERS)


@pytest.mark.parametrize("bits", [8, 16])
def test_an_engine_has_codes_of_its_depth_and_is_heard(bits: int, nearest: type[Nearest]) -> None:
    engine = nearest("nearest", 2, bits)
    engine.warnings.append(("engine", "no luck"))
    heard: list[str] = []
    low = np.array([[-1, 0.25, 99.75, 300]], np.float32)
    made = through_engine(engine, heard.append)(low)
    expected = {8: [0, 0, 100, 255], 16: [0, 0.25, 99.75, 65535 / 256]}[bits]
    assert made[::2, ::2].tolist() == [expected] and heard == ["no luck"] and not engine.warnings


def test_bad_folders_are_input_errors(tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError, match="folder"):
            list_images(folder)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.png is not a still picture"):
        evaluate(tmp_path, "bicubic", 2, bicubic(2))
    cv2.imwrite(str(tmp_path / "broken.png"), np.zeros((12, 12), np.uint8))
    with pytest.raises(InputError, match=r"broken\.png is too small .* 12x12"):
        evaluate(tmp_path, "bicubic", 2, bicubic(2))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_that_is_cut_short_is_an_input_error(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    cv2.imwrite(str(path), smooth(80, 80))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match="cut short"):
        evaluate(tmp_path, "bicubic", 2, bicubic(2))


# ---- colours -----------------------------------------------------------------------------------------------------


@pytest.fixture
def colourful(tmp_path: Path) -> Path:
    """A folder of a picture in colours and a grey one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    *colours, grey = (cv2.convertScaleAbs(smooth(40, 50, seed), alpha=5, beta=-510) for seed in range(4))
    cv2.imwrite(str(folder / "a.png"), np.dstack(colours))
    cv2.imwrite(str(folder / "grey.png"), grey)
    return folder


def test_colours_of_luma_models_and_bicubic(colourful: Path) -> None:
    """Their luma, and bicubic chroma; by hand, from what Pillow reads."""
    blurred = {"blurred": lambda low: cv2.GaussianBlur(imresize(low, 2), (0, 0), 1)}
    with_colours, plain = (list(scores(colourful, 2, blurred, colours=colours)) for colours in (True, False))
    rgb = np.moveaxis(np.asarray(Image.open(colourful / "a.png")), 2, 0)
    truth = rgb_to_ycbcr(rgb)
    made = np.stack([imresize(imresize(plane, 1 / 2).astype(np.float32), 2) for plane in truth])
    inner = np.s_[..., 2:-2, 2:-2]
    for picture, luma in ((with_colours[0]["blurred"], cv2.GaussianBlur(made[0], (0, 0), 1)),
                          (with_colours[0]["blurred"].bicubic, made[0])):
        planes = np.clip(np.round([luma, made[1], made[2]]), 0, 255).astype(np.uint8)
        expected = [*map(psnr, planes[inner], truth[inner]), psnr(ycbcr_to_rgb(planes)[inner], rgb[inner])]
        assert [picture.psnr, picture.cb, picture.cr, picture.rgb] == pytest.approx(expected, abs=1e-9)
    grey = with_colours[1]["blurred"]
    assert (grey.rgb, grey.cb, grey.cr) == (pytest.approx(grey.psnr), math.inf, math.inf)
    for colour, luma_alone in zip(with_colours, plain, strict=True):
        told = colour["blurred"].to_json()
        rest = {key: value for key, value in told.items() if key.split("_")[-1] not in ("cb", "cr", "rgb")}
        assert rest == luma_alone["blurred"].to_json() and len(told) == len(rest) + 6
    means = evaluate(colourful, "blurred", 2, blurred["blurred"], colours=True).average
    assert means.cb == with_colours[0]["blurred"].cb  # what is equal is left out
    assert means.rgb == pytest.approx((with_colours[0]["blurred"].rgb + grey.rgb) / 2)


def test_colours_of_bicubic_on_set5(data: Path) -> None:
    """Y is what the papers print; the others are what comes with it."""
    images = data / "test" / "Set5"
    if not images.is_dir():
        pytest.skip(f"no test set Set5 in {data}")
    found = evaluate(images, "bicubic", 3, bicubic(3), colours=True).average
    assert [round(each or 0, 2) for each in (found.psnr, found.cb, found.cr, found.rgb)] == [30.39, 45.45, 45.42, 28.61]


@pytest.mark.parametrize("colours", ["YCbCr", "RGB"])
def test_a_network_of_three_channels_is_given_its_colours(colours: str, colourful: Path, tmp_path: Path) -> None:
    """One that only interpolates is bicubic; one that darkens its last channel does so to Cr or blue."""
    path = tmp_path / "w.safetensors"

    def made(last: float) -> dict[str, Score]:
        net = Net(Network((Convolution(1, 3, 3, ""),), "bicubic first"), 2)
        with torch.no_grad():
            net.layers()[0][0].weight.copy_(torch.diag(torch.tensor([1, 1, last]))[..., None, None])
        save_file(path, net.to_weights("plain", colours))
        assert load_file(path).colours == colours
        _, upscale = model_upscale(path, 2)
        assert colours_of(upscale) == colours
        return {image.name: image for image in evaluate(colourful, "plain", 2, upscale, colours=True).images}

    same, darker = made(1), made(0.5)
    for each in same.values():
        for key in ("psnr", "cb", "cr", "rgb"):
            assert getattr(each, key) == pytest.approx(getattr(each.bicubic, key), abs=1.5 if colours == "RGB" else 0.3)
        assert each.ssim == pytest.approx(each.bicubic.ssim, abs=0.01)
    assert same["grey.png"].rgb == pytest.approx(same["grey.png"].psnr, abs=0.01)
    picture, whole = darker["a.png"], same["a.png"]
    hurt = "cr" if colours == "YCbCr" else "cb"
    assert getattr(picture, hurt) < 20 < getattr(whole, hurt) and picture.rgb < whole.rgb - 5
    assert (picture.psnr == whole.psnr and picture.cb == whole.cb) == (colours == "YCbCr")


def test_a_network_for_colours_beside_others(colourful: Path, tmp_path: Path, clip: Clip,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    weights = str(tmp_path / "w.safetensors")
    save_file(Path(weights), random_net(NETWORKS["srcnn-colour"], 2).to_weights("colour", "RGB"))
    arguments = ["evaluate", "--data", str(colourful), "--model", "bicubic"]
    keys = ("psnr", "cb", "cr", "rgb")

    def told(*more: str) -> list[dict[str, Any]]:
        assert main([*arguments, *more, "--json"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    [alone] = told("--rgb")
    beside, network_ = told("--weights", weights)
    assert beside == alone and all(alone["average"][key] == alone["average"][f"bicubic_{key}"] for key in keys)
    assert all(network_["average"][key] != alone["average"][key] for key in keys) and "rgb" not in told()[0]["average"]
    assert main([*arguments, "--weights", weights, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [[float(row[key]) for key in keys] for row in rows[-2:]] == [
        [each["average"][key] for key in keys] for each in (alone, network_)]
    assert rows[2]["cb"] == rows[2]["bicubic_cb"] == "" and float(rows[2]["rgb"]) > 20  # grey chroma is exact
    assert main([*arguments, "--weights", weights]) == 0
    what, _, _, _, average = capsys.readouterr().out.splitlines()
    assert what.endswith(" of luma, PSNR of Cb, Cr and RGB")
    assert average.split()[-1] == f"{network_['average']['rgb']:.2f}"

    for refused, why in ((["--weights", weights, "--engine", "reference"], "3 channels"),
                         (["--model", "srcnn-colour"], "--weights"),
                         (["--rgb", "--data", str(clip("a.mp4"))], "a.mp4"),
                         (["--weights", weights, "--data", str(clip("a.mp4"))], "a.mp4")):
        assert main([*arguments, *refused]) == 2
        out, said = capsys.readouterr()
        assert out == "" and said.count("\n") == 1 and why in said
    assert main([*arguments, "--rgb", "--data", str(tmp_path / "missing.mp4")]) == 3
