"""The papers' training protocol: sub-images, rates, losses and degradations are those that they describe."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vsr.errors import EngineError, UsageError
from vsr.models.catalogue import load_file
from vsr.models.fsrcnn import Net
from vsr.models.networks import NETWORKS, Network
from vsr.quality.evaluate import evaluate, network
from vsr.quality.protocol import list_images, load_luma, load_rgb, rgb_to_ycbcr
from vsr.training import paper, run
from vsr.training.data import FOLDERS, SHRINKS, split
from vsr.training.paper import (
    SubImages,
    degraded,
    groups,
    load_planes,
    pairs,
    starting_net,
    train_paper,
)
from vsr.training.recipes import PAPER_RECIPES, RECIPES, PaperRecipe, find

TINY = replace(PAPER_RECIPES["paper-fsrcnn-s-91_x3"], name="tiny_x3", model="tiny", iterations=24, batch=8,
               network=str(replace(NETWORKS["fsrcnn-s"], border="zero")))
TINY_SRCNN = replace(PAPER_RECIPES["paper-srcnn-91_x3"], name="tinier_x3", model="tinier", iterations=24, batch=8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of coloured pictures: 4 + 20 (2 of them for validation), a test set of 2."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for folder, count in (("train/T91", 4), ("train/BSDS500test", 20), ("test/Set5", 2)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            noise = cv2.GaussianBlur(rng.uniform(0, 1, (64, 60, 3)), (0, 0), 2)
            colours = cv2.GaussianBlur(30 + 180.0 * (noise > noise.mean()), (0, 0), 0.8)
            cv2.imwrite(str(root / folder / f"{number:02}.png"), colours.astype(np.uint8))
    return root


def sub_images(recipe: PaperRecipe, paths: list[Path]) -> tuple[SubImages, Net]:
    net = starting_net(recipe, Path())
    return SubImages(recipe, net, (pair for path in paths for pair in pairs(path, recipe, recipe.shrinks))), net


def test_recipes_are_the_papers() -> None:
    for recipe in PAPER_RECIPES.values():
        network = Network.parse(recipe.network)
        srcnn = network.growth == "bicubic first"
        assert recipe.iterations * recipe.batch == 800_000_000
        assert set(recipe.sets) <= set(FOLDERS) and recipe.loss_channels == tuple(sorted(recipe.loss_channels))
        assert recipe.start is None or recipe.start in PAPER_RECIPES
        if srcnn:
            assert (recipe.side, recipe.stride) == (33 if recipe.scale == 3 else 32, 14)
            assert (recipe.rate, recipe.last_rate) == (1e-4, 1e-5) and network.border == "normalised"
        else:
            assert recipe.side == {2: 10, 3: 7, 4: 6}[recipe.scale] and network.border == "zero"
            assert recipe.rate == pytest.approx(10 * recipe.last_rate) and recipe.shrinks == SHRINKS and recipe.turned
            assert recipe.rate == (5e-4 if "general100" in recipe.name else 1e-3)
        assert recipe.freeze_trunk == (not srcnn and recipe.scale != 3 and "scratch" not in recipe.name)
    assert not PAPER_RECIPES.keys() & RECIPES.keys()
    assert find("paper-srcnn-rgb_x3").network == str(replace(NETWORKS["srcnn-colour"], border="normalised"))


@pytest.mark.parametrize(("name", "made"), [
    ("paper-srcnn-91_x2", 20), ("paper-srcnn-91_x3", 21), ("paper-srcnn-ex-91_x3", 17),
    ("paper-fsrcnn-91-scratch_x2", 19), ("paper-fsrcnn-91_x3", 19), ("paper-fsrcnn-91_x4", 21),
    ("paper-fsrcnn-bicubic-91_x3", 19)])
def test_sub_images_are_as_large_as_the_papers(name: str, made: int, pictures: Path) -> None:
    """[E14, section 4]: 20x20 of SRCNN; [F16, section 4.1]: 19x19, 19x19 and 21x21 of FSRCNN."""
    recipe = replace(PAPER_RECIPES[name], start=None)
    images, _ = sub_images(recipe, list_images(pictures / "train/T91")[:1])
    low, high = images.draw(3, np.random.default_rng(0))
    assert low.shape == (3, 1, recipe.side, recipe.side) and high.shape == (3, 1, made, made)
    assert images.made(torch.from_numpy(low)).shape == high.shape


def test_the_91_images_are_as_many_sub_images_as_the_paper_says(data: Path) -> None:
    recipe = PAPER_RECIPES["paper-srcnn-91_x2"]
    folder = data / FOLDERS["t91"]
    if not folder.is_dir():
        pytest.skip(f"no 91 images in {data}")
    images, _ = sub_images(recipe, list_images(folder))
    assert 20_000 < len(images) < 26_000  # "roughly 24,800"


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("turned", [False, True])
def test_fsrcnns_sub_images_lie_where_its_output_does(scale: int, turned: bool, pictures: Path) -> None:
    """A network that only interpolates makes of each sub-image about what it is compared with."""
    recipe = replace(PAPER_RECIPES["paper-fsrcnn-bicubic-91_x3"], scale=scale, side=12, stride=7, turned=turned,
                     network="Conv(1,1,1), Mean, Bicubic; zero border")
    images, net = sub_images(recipe, list_images(pictures / "train/T91"))
    with torch.no_grad():
        net.layers()[0][0].weight.fill_(1)
    low, high = images.draw(64, np.random.default_rng(0))
    with torch.inference_mode():
        made = images.made(torch.from_numpy(low)).numpy()
    inner = np.s_[..., 2 * scale:-2 * scale, 2 * scale:-2 * scale]
    error = np.square(made[inner] - high[inner]).mean()
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        assert error < 0.85 * np.square(np.roll(made, (dy, dx), (2, 3))[inner] - high[inner]).mean()


def test_the_layer_that_makes_the_picture_learns_more_slowly() -> None:
    def rates(name: str) -> list[float]:
        recipe = replace(PAPER_RECIPES[name], start=None)
        net = starting_net(recipe, Path())
        found = {id(p): group["lr"] for group in groups(net, recipe) for p in group["params"]}
        assert set(found) == {id(p) for p in net.parameters() if p.requires_grad}
        weights = [convolution.weight for convolution, _ in net.layers()]
        weights += [net.deconvolution.weight] if net.deconvolution else []
        return [found.get(id(weight), 0) for weight in weights]

    assert rates("paper-srcnn-91_x3") == [1e-4, 1e-4, 1e-5]
    assert rates("paper-srcnn-9-1-1-5-91_x3") == [1e-4, 1e-4, 1e-4, 1e-5]
    assert rates("paper-fsrcnn-s-91_x3") == [1e-3] * 4 + [1e-4]
    assert rates("paper-fsrcnn-s-91-general100_x3") == [5e-4] * 4 + [5e-5]
    assert rates("paper-fsrcnn-s-91_x2") == [0] * 4 + [1e-4]
    assert rates("paper-fsrcnn-bicubic-91_x3") == [1e-3] * 7


def test_first_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    srcnn, fsrcnn = (starting_net(PAPER_RECIPES[f"paper-{name}-91_x3"], Path()) for name in ("srcnn", "fsrcnn"))
    for convolution, _ in srcnn.layers():
        assert 0.0009 < convolution.weight.std() < 0.0011 and not convolution.bias.any()
    for convolution, _ in fsrcnn.layers():  # He's for PReLUs that begin at 0.25
        into = convolution.weight[0].numel()
        assert convolution.weight.std().item() == pytest.approx((2 / (1 + 0.25**2) / into) ** 0.5, rel=0.1)
    assert 0.0009 < fsrcnn.deconvolution.weight.std() < 0.0011


@pytest.mark.parametrize("recipe", [TINY, TINY_SRCNN], ids=lambda recipe: recipe.model)
def test_a_killed_run_goes_on_to_the_same_bits(recipe: PaperRecipe, pictures: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(run, "REPORT_STEPS", 8)

    class Killed(BaseException):
        pass

    def killer(line: str) -> None:
        if " 16/24 " in line:
            raise Killed

    straight = load_file(train_paper(recipe, pictures, tmp_path / "a", "cpu", say=lambda line: None))
    with pytest.raises(Killed):
        train_paper(recipe, pictures, tmp_path / "b", "cpu", say=killer)
    said: list[str] = []
    resumed = load_file(train_paper(recipe, pictures, tmp_path / "b", "cpu", say=said.append))
    assert "continues at iteration 15" in said[0]
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(straight.layers, resumed.layers, strict=True))
    card = json.loads((tmp_path / "a" / f"{recipe.name}.json").read_text())
    assert card["recipe"] == json.loads(json.dumps(asdict(recipe))) and card["parameters"] == straight.parameters
    assert [entry["iteration"] for entry in card["log"]] == [8, 16, 24]
    assert {"psnr", "bicubic_psnr", "ssim"} <= card["scores"]["Set5"].keys() and "Set14" not in card["scores"]
    with pytest.raises(UsageError, match="another version of the recipe"):
        train_paper(replace(recipe, rate=1.0), pictures, tmp_path / "a", "cpu")


def test_training_learns(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "REPORT_STEPS", 200)
    path = train_paper(replace(TINY, iterations=400), pictures, tmp_path, "cpu", say=lambda line: None)
    log = json.loads(path.with_suffix(".json").read_text())["log"]
    assert log[1]["loss"] < 0.7 * log[0]["loss"] and log[1]["psnr"] > log[0]["psnr"] + 1


def test_a_transfer_moves_the_deconvolution_alone(pictures: Path, tmp_path: Path) -> None:
    first = load_file(train_paper(TINY, pictures, tmp_path, "cpu", say=lambda line: None))
    two = replace(TINY, name="tiny_x2", scale=2, side=10, stride=5, start="tiny_x3", freeze_trunk=True)
    second = load_file(train_paper(two, pictures, tmp_path, "cpu", say=lambda line: None))
    assert all(np.array_equal(a.weight, b.weight) and np.array_equal(a.slope, b.slope)
               for a, b in zip(first.layers, second.layers, strict=True))
    assert not np.array_equal(first.kernel, second.kernel)
    cards = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("tiny_x3", "tiny_x2")}
    assert cards["tiny_x2"]["before"] == [cards["tiny_x3"]["recipe"]]
    with pytest.raises(UsageError, match="train 'nonesuch' first"):
        train_paper(replace(two, name="x", start="nonesuch"), pictures, tmp_path, "cpu")


def test_only_the_named_channels_are_learned(pictures: Path, tmp_path: Path) -> None:
    recipe = replace(PAPER_RECIPES["paper-srcnn-cbcr-pretrain-first_x3"], name="colour_x3", iterations=2, batch=4)
    weights = load_file(train_paper(recipe, pictures, tmp_path, "cpu", say=lambda line: None))
    torch.manual_seed(0)
    fresh = starting_net(recipe, tmp_path).to_weights("", "YCbCr")
    moved = weights.layers[-1].weight != fresh.layers[-1].weight
    assert moved.any((1, 2, 3)).tolist() == [False, True, True]
    card = json.loads((tmp_path / "colour_x3.json").read_text())
    assert weights.colours == "YCbCr"
    assert card["scores"]["Set5"] == evaluate(pictures / "test/Set5", "x", 3, network(weights), True).average.to_json()
    assert {"psnr", "cb", "cr", "rgb", "bicubic_rgb"} <= card["scores"]["Set5"].keys()


def test_the_gaussian_of_dnc(data: Path) -> None:
    """[P16, figure 11]: bicubic has 30.29 dB on Set5. Which pixels are taken is not said; the middle ones come near."""
    recipe = PAPER_RECIPES["paper-srcnn-ex-91-blur_x3"]
    folder = data / "test" / "Set5"
    if not folder.is_dir():
        pytest.skip(f"no test set Set5 in {data}")
    net = Net(Network.parse("Bicubic, Conv(1,1,1)"), 3)
    with torch.no_grad():
        net.layers()[0][0].weight.fill_(1)
    found = paper.blurred_scores(net, folder, recipe)
    assert found["psnr"] == pytest.approx(found["bicubic_psnr"], abs=0.01) and abs(found["psnr"] - 30.29) < 0.15
    plane = np.zeros((1, 9, 9), np.uint8)
    plane[0, 4, 4] = 255
    low = degraded(plane, recipe)
    assert low.shape == (1, 3, 3) and low[0, 1, 1] == low.max() and low[0, 0, 0] == 0


@pytest.mark.parametrize(("colours", "channels"), [("Y", 1), ("YCbCr", 3), ("RGB", 3)])
def test_planes_are_those_that_are_scored(colours: str, channels: int, pictures: Path) -> None:
    path = list_images(pictures / "test/Set5")[0]
    planes = load_planes(path, colours)
    rgb, _ = load_rgb(path)
    expected = {"Y": load_luma(path)[None], "YCbCr": rgb_to_ycbcr(rgb), "RGB": rgb}[colours]
    assert len(planes) == channels and np.array_equal(planes, expected)


def test_validation_pictures_never_train(pictures: Path) -> None:
    chosen, held_out = split(pictures, ("t91", "bsds500test"))
    assert len(held_out) == 2 and not set(chosen) & set(held_out)


@pytest.mark.parametrize("name", ["transition-1", "transition-2", "fsrcnn", "fsrcnn-no-expanding", "fsrcnn-bicubic",
                                  "fsrcnn-relu"])
def test_no_ablation_diverges_at_its_rates(name: str, pictures: Path, tmp_path: Path) -> None:
    recipe = replace(PAPER_RECIPES[f"paper-{name}-91_x3"], iterations=30, batch=16)
    assert load_file(train_paper(recipe, pictures, tmp_path, "cpu", say=lambda line: None))


def test_a_training_that_diverges_ends_with_a_line(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"diverged: after \d+ iterations its loss is (inf|nan)"):
        train_paper(replace(TINY, name="wild", rate=1e6, last_rate=1e6, iterations=50), pictures, tmp_path, "cpu")
    assert not list(tmp_path.glob("wild.safetensors"))
