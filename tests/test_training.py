"""Training on small made-up pictures: resumable to the bit, honest about its data, and written down in a card."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vsr.cli import main
from vsr.errors import InputError, OutputError, UsageError
from vsr.models.catalogue import Weights, load_file, random_weights
from vsr.models.fsrcnn import Net
from vsr.models.networks import Network, fsrcnn, srcnn
from vsr.quality.evaluate import network
from vsr.quality.protocol import crop_to_multiple, imresize
from vsr.training import run
from vsr.training.data import FOLDERS, Patches, split, twin, twins
from vsr.training.drawn import PANEL, dithered, page
from vsr.training.quantize import calibrate, quantized, rounded
from vsr.training.recipes import RECIPES, Recipe, find
from vsr.training.soap import SOAP
from vsr.training.train import GradientClip, train
from vsr.training.transfer import solve_deconvolution

RECIPE = Recipe("tiny_x2", "tiny", 2, str(fsrcnn(8, 4, 1)), iterations=24, rate=1e-2, sets=("t91", "bsds500test"),
                shrinks=(1.0,), patch=8, batch=16)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the real one's shape: 4 + 40 pictures (4 of them for validation), a test set of 2."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for folder, count in (("train/T91", 4), ("train/BSDS500test", 40), ("test/Set5", 2)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            noise = cv2.GaussianBlur(rng.uniform(0, 1, (64, 60)), (0, 0), 2)
            luma = cv2.GaussianBlur(30 + 180.0 * (noise > noise.mean()), (0, 0), 0.8)
            cv2.imwrite(str(root / folder / f"{number:02}.png"), luma.astype(np.uint8))
    return root


@pytest.mark.parametrize("start", [None, RECIPE])
def test_a_killed_run_goes_on_to_the_same_bits(start: Recipe | None, pictures: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE
    if start:  # from float weights to those of precision int8
        recipe = replace(RECIPE, name="tiny_x2_int8", start=start.name, quantized=True)
        for folder in ("a", "b"):
            train(start, pictures, tmp_path / folder, "cpu", say=lambda line: None)
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(run, "REPORT_STEPS", 8)

    class Killed(BaseException):
        pass

    def killer(line: str) -> None:
        if " 16/24 " in line:
            raise Killed

    straight = load_file(train(recipe, pictures, tmp_path / "a", "cpu"))
    with pytest.raises(Killed):
        train(recipe, pictures, tmp_path / "b", "cpu", say=killer)
    assert not (tmp_path / "b" / f"{recipe.name}.safetensors").exists()
    said: list[str] = []
    resumed = load_file(train(recipe, pictures, tmp_path / "b", "cpu", say=said.append))
    assert "continues at iteration 15" in said[0]
    assert (straight.quantization is None) == (start is None)
    if straight.quantization and resumed.quantization:
        for key, value in vars(straight.quantization).items():
            assert np.array_equal(value, getattr(resumed.quantization, key))
    assert np.array_equal(straight.deconvolution, resumed.deconvolution)
    assert np.array_equal(straight.feature.weight, resumed.feature.weight)


@pytest.mark.parametrize(("network", "scale", "patch", "quantized"), [
    (fsrcnn(32, 5, 1), 3, 8, False), (fsrcnn(32, 5, 1), 2, 9, True), (fsrcnn(7, 3, 0), 4, 5, False),
    (fsrcnn(24, 12, 2), 2, 6, False), (srcnn(9, 1, 5, widths=(20, 12)), 3, 4, False),
    (srcnn(5, 3, 3, widths=(6, 4)), 2, 5, False)], ids=str)
def test_the_fused_gradients_are_those_of_pytorch(network: Network, scale: int, patch: int, quantized: bool) -> None:
    pytest.importorskip("halide")
    from vsr.training.fused import FusedGradients

    torch.manual_seed(scale)
    rng = np.random.default_rng(patch)
    net = Net(network, scale)
    with torch.no_grad():
        for parameter in net.parameters():  # what begins at (nearly) zero says little
            if parameter.abs().max() < 0.01:
                parameter.normal_(std=0.1)
        for activation in net.activations:
            for slopes in activation.parameters():
                slopes[0], slopes[-1] = -0.1, 0.0  # slopes may become negative, or zero
    side = patch + 2 * net.margin
    low = rng.random((32, side, side), np.float32)
    high = rng.random((32, scale * patch, scale * patch), np.float32)
    if quantized:
        calibrate(net, torch.from_numpy(low[:4] * 0.7)[:, None])  # so that some maps are clipped
    loss = FusedGradients(net, patch)(low, high)
    found = [cast(torch.Tensor, parameter.grad).clone() for parameter in net.parameters()]
    net.zero_grad()
    wanted = F.mse_loss(net.double().valid(torch.from_numpy(low)[:, None].double()),
                        torch.from_numpy(high)[:, None].double())
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-5)
    for gradient, parameter in zip(found, net.parameters(), strict=True):
        assert parameter.grad is not None
        # A map that float32 and float64 round to two integers moves a sum by a step.
        near = 1e-3 if quantized else 2e-5
        assert (gradient - parameter.grad).abs().max() <= near * parameter.grad.abs().max()


@pytest.mark.parametrize("quantized", [False, True])
def test_the_gradients_of_many_patches_are_those_of_each_sixteen(quantized: bool) -> None:
    pytest.importorskip("halide")
    from vsr.training.fused import FusedGradients

    rng = np.random.default_rng(0)
    net = Net.from_weights(random_weights(8, 4, 1, 2)).train()
    side = 6 + 2 * net.margin
    low, high = rng.random((48, side, side), np.float32), rng.random((48, 12, 12), np.float32)
    if quantized:
        calibrate(net, torch.from_numpy(low[:4])[:, None])
    gradients = FusedGradients(net, 6)
    loss = gradients(low, high)
    whole = [cast(torch.Tensor, parameter.grad) for parameter in net.parameters()]
    parts = []
    for first in (0, 16, 32):
        parts.append((gradients(low[first:first + 16], high[first:first + 16]),
                      [cast(torch.Tensor, parameter.grad) for parameter in net.parameters()]))
    assert loss == pytest.approx(sum(part for part, _ in parts) / 3, rel=1e-6)
    for gradient, *three in zip(whole, *(each for _, each in parts), strict=True):
        assert torch.allclose(gradient, sum(three) / 3, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="47 patches"):
        gradients(low[1:], high[1:])


def test_training_learns_and_says_so_in_its_card(pictures: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, iterations=300)
    path = train(recipe, pictures, tmp_path, "cpu")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["recipe"] == json.loads(json.dumps(asdict(recipe)))
    assert card["iterations"] == 300 and card["pictures"] == 4 + 36 and card["parameters"] == load_file(path).parameters
    assert card["scores"]["Set5"]["psnr"] > card["scores"]["Set5"]["bicubic_psnr"]
    assert "Set14" not in card["scores"]  # there is none: nothing is invented


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_no_other_deconvolution_fits_a_trunk_better(scale: int) -> None:
    rng = np.random.default_rng(scale)
    net = Net.from_weights(random_weights(8, 4, 1, scale, seed=1)).double()
    low = torch.from_numpy(rng.random((20, 1, 12 + 2 * net.margin, 12 + 2 * net.margin)))
    high = torch.from_numpy(rng.random((20, 1, 12 * scale, 12 * scale)))
    before = F.mse_loss(net.valid(low), high).item()
    solve_deconvolution(net, low, high)
    after = F.mse_loss(net.valid(low), high)
    after.backward()
    assert after.item() < before
    for parameter in net.deconvolution.parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() < 1e-6


def test_another_scale_goes_on_from_the_trunk(pictures: Path, tmp_path: Path) -> None:
    train(replace(RECIPE, name="tiny_x3", scale=3, iterations=300), pictures, tmp_path, "cpu")
    onwards = load_file(train(replace(RECIPE, start="tiny_x3", rate=1e-9), pictures, tmp_path, "cpu"))
    first = load_file(tmp_path / "tiny_x3.safetensors")
    for ours, theirs in zip(first.layers, onwards.layers, strict=True):
        assert np.allclose(ours.weight, theirs.weight, atol=1e-6)
    cards = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("tiny_x3", "tiny_x2")}
    assert cards["tiny_x2"]["before"] == [cards["tiny_x3"]["recipe"]] and cards["tiny_x3"]["before"] == []
    scores = cards["tiny_x2"]["scores"]["Set5"]  # by the deconvolution that was solved for alone
    assert scores["psnr"] > scores["bicubic_psnr"]


def test_refusals_are_one_line(pictures: Path, tmp_path: Path) -> None:
    train(RECIPE, pictures, tmp_path, "cpu")
    with pytest.raises(UsageError, match="another version of the recipe"):
        train(replace(RECIPE, rate=1.0), pictures, tmp_path, "cpu")
    with pytest.raises(UsageError, match="train 'other_x3' first"):
        train(replace(RECIPE, name="x", start="other_x3"), pictures, tmp_path, "cpu")
    with pytest.raises(InputError, match="folder"):
        train(replace(RECIPE, name="y"), tmp_path / "nowhere", tmp_path, "cpu")
    with pytest.raises(UsageError, match="vsr train list"):
        find("nonesuch")


def test_damage_and_full_disks_are_one_line(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(RECIPE, pictures, tmp_path, "cpu")
    checkpoint = tmp_path / f"{RECIPE.name}.checkpoint"
    for content in (b"", checkpoint.read_bytes()[:2000]):
        checkpoint.write_bytes(content)
        with pytest.raises(UsageError, match="remove it to start again"):
            train(RECIPE, pictures, tmp_path, "cpu")
    checkpoint.unlink()
    before = sorted(tmp_path.iterdir())

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context, pytest.raises(OutputError, match="No space left"):
        context.setattr(Path, "write_bytes", full)
        train(RECIPE, pictures, tmp_path, "cpu")
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "file").touch()
    monkeypatch.setattr("vsr.training.train.material", None)  # it is said before pictures are read
    with pytest.raises(OutputError, match="cannot write to"):
        train(RECIPE, pictures, tmp_path / "file", "cpu")


def test_two_trainings_of_a_recipe_do_not_spoil_each_other(pictures: Path, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    write, first = Path.write_bytes, [True]

    def slow(path: Path, content: bytes) -> None:
        write(path, content)
        if first:  # while one writes its checkpoint, the other does all of its training
            first.clear()
            train(RECIPE, pictures, tmp_path, "cpu", say=lambda line: None)

    monkeypatch.setattr(Path, "write_bytes", slow)
    weights = load_file(train(RECIPE, pictures, tmp_path, "cpu", say=lambda line: None))
    assert torch.load(tmp_path / f"{RECIPE.name}.checkpoint", weights_only=True)["iteration"] == RECIPE.iterations
    assert weights.scale == 2 and len(list(tmp_path.iterdir())) == 3


def test_a_card_without_scores_is_not_compared_with(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny_x2_theirs.json").write_text('{"model": "theirs"}')  # as of 'vsr convert'
    path = train(RECIPE, pictures, tmp_path, "cpu", say=lambda line: None)
    assert json.loads(path.with_suffix(".json").read_text())["others"] == {}


def test_validation_and_test_pictures_never_train(pictures: Path) -> None:
    chosen, held_out = split(pictures, tuple(name for name in FOLDERS if name in ("t91", "bsds500test")))
    assert len(held_out) == 4 and len(chosen) == 40 and not set(chosen) & set(held_out)
    for recipe in RECIPES.values():
        assert set(recipe.sets) <= set(FOLDERS)
    assert all(folder.startswith("train/") for folder in FOLDERS.values())


@pytest.mark.parametrize("amplified", [0, 0.25, 1])
def test_patches_are_pieces_of_the_pictures(amplified: float, tmp_path: Path) -> None:
    luma = np.random.default_rng(1).integers(16, 236, (45, 60), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), luma)
    pairs = list(twins([tmp_path / "a.png"], 3, (1.0, 0.8)))
    assert np.array_equal(pairs[0][1], crop_to_multiple(luma, 3))
    assert np.allclose(pairs[0][0], imresize(luma, 1 / 3), atol=1e-4)
    assert pairs[1][1].shape == (36, 48)
    patches = Patches(pairs[:1], 3, 4, 2)
    low, high = patches.draw(64, np.random.default_rng(0), choose=2, amplified=amplified)
    assert low.shape == (64, 8, 8) and high.shape == (64, 12, 12)
    windows = np.lib.stride_tricks.sliding_window_view(pairs[0][1], (12, 12))[6::3, 6::3] / 255 - 125.5 / 255
    lows = np.lib.stride_tricks.sliding_window_view(pairs[0][0], (8, 8)) / 255 - 125.5 / 255
    gains = []
    turns = [(k, flip) for k in range(4) for flip in (False, True)]
    for a, b in zip(low, high, strict=True):
        found = []
        for k, flip in turns:
            undone, same = (np.rot90(p[:, ::-1] if flip else p, -k) for p in (b, a))
            gain = (undone.std() / windows.std((2, 3)))[:, :, None, None]
            places = np.argwhere((np.abs(windows * gain + 0.5 - undone) < 1e-5).all((2, 3)))
            found += [gain[y, x] for y, x in places if np.allclose(lows[y, x] * gain[y, x] + 0.5, same, atol=1e-5)]
        assert len(found) == 1
        gains += found
    assert 0.8 <= min(gains) < 0.85 and 1.12 < max(gains) <= (2 if amplified else 255 / 219) + 1e-5
    beyond = sum(gain > 255 / 219 + 1e-5 for gain in gains) / 64
    assert beyond == pytest.approx(amplified * (2 - 255 / 219) / 1.2, abs=0.12)


def test_drawn_pages_are_sharp_and_keep_to_the_range() -> None:
    pages = [page(np.random.default_rng(seed), 200) for seed in (0, 0, 1)]
    assert np.array_equal(pages[0], pages[1]) and not np.array_equal(pages[0], pages[2])
    for each in pages:
        assert each.shape == (200, 200) and each.dtype == np.uint8 and each.min() >= 16 and each.max() <= 235
        assert np.abs(np.diff(each.astype(int))).max() > 100


@pytest.mark.parametrize("dot", [1, 2, 3])
def test_dithered_pages_alternate_from_dot_to_dot(dot: int) -> None:
    pages = [dithered(np.random.default_rng(seed), dot, 201) for seed in (0, 0, 1)]
    assert np.array_equal(pages[0], pages[1]) and not np.array_equal(pages[0], pages[2])
    for each in pages:
        assert each.shape == (201, 201) and each.dtype == np.uint8 and each.min() >= 16 and each.max() <= 235
        dots = each[::dot, ::dot].astype(int)
        assert np.array_equal(np.kron(dots, np.ones((dot, dot), int))[:201, :201], each)
        assert (np.abs(np.diff(dots, axis=1)) > 30).mean() > 0.15
        for panel in (dots[top:top + PANEL, left:left + PANEL] for top in (0, 32) for left in (0, 32)):
            assert len(np.unique(panel)) <= 2


def test_a_share_of_the_patches_is_dithered(pictures: Path, tmp_path: Path) -> None:
    """All of them here, or none: what has seen dots keeps them apart."""
    low, high = twin(dithered(np.random.default_rng(9), 2, 200), 2)
    wrong = []
    for share in (0.0, 1.0):
        path = train(replace(RECIPE, iterations=150, dithered=share), pictures, tmp_path / str(share), "cpu", 1)
        wrong.append(np.square(network(load_file(path))(low) - high).mean())
    assert wrong[1] < 0.5 * wrong[0]


def test_a_gradient_far_longer_than_usual_is_cut() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(1))]
    clip = GradientClip()
    for steps, size in enumerate([*[1.0] * 200, 1000.0, 1.0]):
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, size / 2)
        clip(parameters)
        found = math.hypot(*(parameter.grad.norm().item() for parameter in parameters))  # type: ignore[union-attr]
        assert found == pytest.approx(2 if size > 1 else 1, rel=1e-4)
        assert clip.length == pytest.approx(1 if steps < 200 else 1.01, abs=1e-3)


def test_soap_turns_a_badly_conditioned_problem_straight() -> None:
    """Where the axes of the problem are not the parameters' own, Adam crawls."""
    torch.manual_seed(0)

    def turned(n: int) -> torch.Tensor:
        left, right = (torch.linalg.qr(torch.randn(n, n))[0] for _ in range(2))
        return left * torch.logspace(0, -1.5, n) @ right

    left, right, wanted = turned(12), turned(20), torch.randn(12, 20)
    weight = {name: torch.nn.Parameter(torch.zeros(12, 20)) for name in ("soap", "adam")}
    optimizers = {"soap": SOAP([[weight["soap"]]], 2e-2), "adam": torch.optim.Adam([weight["adam"]], 2e-2)}
    losses = {}
    for name, optimizer in optimizers.items():
        for _ in range(400):
            optimizer.zero_grad()
            loss = (left @ (weight[name] - wanted) @ right.T).square().sum()
            loss.backward()
            optimizer.step()
        losses[name] = loss.item()
    assert losses["soap"] < 0.2 * losses["adam"], losses


def test_rounding_makes_good_what_it_does_wrong() -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((4, 1000)).T @ rng.standard_normal((4, 60)) + 0.3 * rng.standard_normal((1000, 60)) + 2
    values = rng.standard_normal(60) * 4
    values[7] = 300
    moments = maps.T @ maps
    integers = rounded(values, moments)
    assert np.array_equal(integers, np.rint(integers)) and np.abs(integers).max() == integers[7] == 127
    values[7] = 126.7

    def error(integers: np.ndarray) -> float:
        return float(np.square(maps @ (integers - values)).sum())

    assert error(rounded(values, moments)) < 0.1 * error(np.rint(values))


def test_quantized_weights_make_the_pictures_of_the_network_they_come_from(pictures: Path, tmp_path: Path) -> None:
    path = train(replace(RECIPE, iterations=100), pictures, tmp_path, "cpu", say=lambda line: None)
    weights = load_file(path)
    net = Net.from_weights(weights)
    patches = Patches(list(twins(split(pictures, ("t91",))[0], 2, (1.0,))), 2, 8, net.margin)
    luma, other = (torch.from_numpy(patches.draw(256, np.random.default_rng(seed))[0])[:, None] for seed in (0, 1))
    calibrate(net, luma)
    made = quantized(net, luma, "tiny")
    assert made.name == "tiny" and made.quantization is not None
    nearest = weights.quantized(made.quantization)
    assert not np.array_equal(nearest.deconvolution, made.deconvolution)

    def error(weights_: Weights) -> float:
        with torch.inference_mode():
            return float((Net.from_weights(weights_).eval().valid(other) - wanted).square().mean().sqrt())

    with torch.inference_mode():
        wanted = Net.from_weights(weights).valid(other)
    assert error(made) < min(0.7 / 255, 0.9 * error(nearest))


def test_training_form_has_no_border(pictures: Path) -> None:
    net = Net(fsrcnn(8, 4, 1), 2)
    assert net.valid(torch.zeros(1, 1, 20, 30)).shape == (1, 1, 2 * (20 - 2 * net.margin), 2 * (30 - 2 * net.margin))


def test_cuda_is_not_begun_with_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("vsr.doctor.cuda", lambda: None)
    for recipe in ("fsrcnn-s_x3-first", "paper-srcnn-91_x3"):
        assert main(["train", recipe, "--device", "cuda", "--out", str(tmp_path / "runs")]) == 5
        error = capsys.readouterr().err
        assert "NVIDIA" in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
