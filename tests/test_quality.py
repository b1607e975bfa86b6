"""The papers' test protocol, proven by bicubic's published scores, and the scores themselves."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Nearest

from vsr.errors import InputError
from vsr.models.catalogue import random_weights
from vsr.quality.evaluate import evaluate, network, psnr, ssim, through_engine
from vsr.quality.protocol import crop_to_multiple, imresize, list_images, load_luma, rgb_to_luma


@pytest.mark.parametrize(("folder", "scale", "published"), [
    ("Set5", 2, 33.66), ("Set5", 3, 30.39), ("Set5", 4, 28.42),
    ("Set14", 2, 30.23), ("Set14", 3, 27.54), ("Set14", 4, 26.00)])
def test_bicubic_has_its_published_score(folder: str, scale: int, published: float, data: Path) -> None:
    images = data / "test" / folder
    if not images.is_dir():
        pytest.skip(f"no test set {folder} in {data}")
    average = evaluate(images, "bicubic", scale, lambda low: imresize(low, scale)).average
    assert round(average.psnr, 2) == published
    assert average.psnr == average.bicubic_psnr and average.ssim == average.bicubic_ssim


def test_luma_is_matlabs() -> None:
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert rgb_to_luma(colours).tolist() == [[235, 16, 81, 145, 41]]


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


def test_scores_of_known_pictures() -> None:
    truth = np.random.default_rng(0).integers(0, 250, (32, 32), dtype=np.uint8)
    assert psnr(truth, truth) == float("inf") and ssim(truth, truth) == pytest.approx(1)
    assert psnr(truth + np.uint8(5), truth) == pytest.approx(10 * np.log10(255**2 / 25))
    assert ssim(np.full_like(truth, 128), truth) < 0.1


def test_grey_and_colour_files(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "one.png"), grey)
    cv2.imwrite(str(tmp_path / "three.png"), np.repeat(grey[..., None], 3, 2))
    assert np.array_equal(load_luma(tmp_path / "one.png"), grey)
    assert np.array_equal(load_luma(tmp_path / "three.png"), rgb_to_luma(np.repeat(grey[..., None], 3, 2)))
    assert crop_to_multiple(grey, 3).shape == (6, 6)


def test_evaluation_of_a_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("b", "a"):
        smooth = cv2.GaussianBlur(rng.uniform(0, 255, (40, 50)), (0, 0), 2)
        cv2.imwrite(str(tmp_path / f"{name}.png"), smooth.astype(np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    made = evaluate(tmp_path, "bicubic", 2, lambda low: imresize(low, 2)).to_json(timed=True)
    assert [image["name"] for image in made["images"]] == ["a.png", "b.png"]
    assert made["average"]["psnr"] == pytest.approx(np.mean([image["psnr"] for image in made["images"]]), abs=1e-3)
    assert set(made["average"]) == {"psnr", "ssim", "bicubic_psnr", "bicubic_ssim", "seconds"}
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((40, 40), 100, np.uint8))
    json.dumps(evaluate(tmp_path, "bicubic", 2, lambda low: imresize(low, 2)).to_json(), allow_nan=False)


def test_an_engine_measures_as_its_float_network(tmp_path: Path) -> None:
    from vsr.engines import open_engine

    smooth = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (60, 50)), (0, 0), 2)
    cv2.imwrite(str(tmp_path / "a.png"), smooth.astype(np.uint8))
    weights = random_weights(8, 4, 1, 2)
    with open_engine(weights, 2, bits=16, engine="reference") as engine:
        measured = evaluate(tmp_path, "engine", 2, through_engine(engine)).average
    exact = evaluate(tmp_path, "network", 2, network(weights)).average
    assert measured.psnr == pytest.approx(exact.psnr, abs=0.01)


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
    with pytest.raises(InputError, match=r"broken\.png"):
        evaluate(tmp_path, "bicubic", 2, lambda low: low)
    cv2.imwrite(str(tmp_path / "broken.png"), np.zeros((12, 12), np.uint8))
    with pytest.raises(InputError, match="too small"):
        evaluate(tmp_path, "bicubic", 2, lambda low: imresize(low, 2))
