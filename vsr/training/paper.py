"""`vsr train paper-…`: the papers' own protocol, to the letter: sub-images on a grid, SGD with momentum, fixed rates.

[P16, section 3.4], [E14, section 4] and [F16, section 4.1]; what they leave open is said where it is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from vsr.errors import InputError
from vsr.models.catalogue import Weights
from vsr.models.fsrcnn import Net, bias_of
from vsr.models.networks import DECONVOLUTION, Network
from vsr.quality.evaluate import evaluate, network
from vsr.quality.metrics import psnr, to_bytes
from vsr.quality.protocol import crop_to_multiple, imresize, list_images, load_luma, load_rgb, rgb_to_ycbcr
from vsr.training.data import split
from vsr.training.recipes import PaperRecipe
from vsr.training.run import Run, go_on_from, make_folder

MOMENTUM = 0.9

Pair = tuple[np.ndarray, np.ndarray]


def train_paper(recipe: PaperRecipe, data: Path, out: Path, device: str = "auto", threads: int | None = None,
                say: Callable[[str], None] = print) -> Path:
    """Run a recipe to its end, from its checkpoint where ``out`` holds one; returns the weight file.

    Writes and raises what `vsr.training.train.train` does. The validation pictures are those of [F16]; the card's log
    is the convergence curve.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    net = starting_net(recipe, out)
    training, held_out = split(data, recipe.sets)
    make_folder(out)
    images = SubImages(recipe, net, (pair for path in training for pair in pairs(path, recipe, recipe.shrinks)))
    net.to(device)
    optimizer = torch.optim.SGD(groups(net, recipe), momentum=MOMENTUM)
    validation = [pair for path in held_out for pair in pairs(path, recipe, (1.0,))]
    run = Run(recipe, out, {"net": net, "optimizer": optimizer}, rng, device, say)
    say(f"{recipe.name}: {len(training)} pictures, {len(images)} sub-images, on {device}")
    while run.iteration < recipe.iterations:
        low, high = (torch.from_numpy(array).to(device) for array in images.draw(recipe.batch, rng))
        optimizer.zero_grad()
        errors = (images.made(low) - high)[:, list(recipe.loss_channels)]
        loss = errors.square().sum((1, 2, 3)).mean()  # [E14, equation 4]
        mean = run.check(loss.item()) / errors[0].numel()
        (recipe.loss_weight * loss).backward()
        optimizer.step()
        run.step(mean, lambda: float(np.mean([psnr(*compared(net, pair, recipe)) for pair in validation])))

    weights = net.cpu().to_weights(recipe.model, recipe.colours)
    return run.finish(weights, pictures=len(training), sub_images=len(images), scores=scores(weights, recipe, data))


# ---- the network -------------------------------------------------------------------------------------------------


def starting_net(recipe: PaperRecipe, out: Path) -> Net:
    """A fresh network, or that of the recipe that this one starts from, its deconvolution where the scale is the same.

    SRCNN: N(0, 0.001²) [P16, section 3.4]; FSRCNN: as `Net` has it [F16, section 4.1].
    """
    net = Net(Network.parse(recipe.network), recipe.scale)
    if recipe.start is None:
        if net.network.growth == "bicubic first":
            for convolution, _ in net.layers():
                nn.init.normal_(convolution.weight, std=0.001)
        return net
    go_on_from(net, out / f"{recipe.start}.safetensors")
    return net


def groups(net: Net, recipe: PaperRecipe) -> list[dict[str, Any]]:
    """The parameters that learn, with their rates: all layers but the last at one, the last at another."""
    layers = [[*convolution.parameters(), *(act.parameters() if act else ())] for convolution, act in net.layers()]
    if net.deconvolution is not None:
        layers.append([*net.deconvolution.parameters()])
    rates = [recipe.rate] * (len(layers) - 1) + [recipe.last_rate]
    if net.network.growth == "bicubic last":  # its last layer is not the one that makes the picture
        rates[-1] = recipe.rate
    chosen = list(zip(layers, rates, strict=True))[-1 if recipe.freeze_trunk else 0:]
    net.requires_grad_(False)
    for layer, _ in chosen:
        for parameter in layer:
            parameter.requires_grad_(True)
    return [{"params": layer, "lr": rate} for layer, rate in chosen]


# ---- pictures ----------------------------------------------------------------------------------------------------


class SubImages:
    """Sub-images of pictures on a grid, in the network's form.

    SRCNN's are cut from enlarged pictures, and the network's valid part is compared [P16, section 3.4]. FSRCNN's are
    cut from small pictures, with zero padding in every layer; Caffe's deconvolution makes n·f - n + 1 pixels of f
    [F16, section 4.1], those that lie as our geometry has them.
    """

    def __init__(self, recipe: PaperRecipe, net: Net, pictures: Iterator[Pair]) -> None:
        self._net, self._turned, self._side = net, recipe.turned, (side := recipe.side)
        self._enlarged = net.network.growth == "bicubic first"
        self._factor = n = 1 if self._enlarged else net.scale
        first = net.network.context if self._enlarged else DECONVOLUTION // 2 - net.padding
        self._crop = slice(first, side - first if self._enlarged else first + n * side - n + 1)
        self._pictures = list(pictures)
        self._places = np.array([(number, y, x) for number, (low, _) in enumerate(self._pictures)
                                 for y in range(0, low.shape[1] - side + 1, recipe.stride)
                                 for x in range(0, low.shape[2] - side + 1, recipe.stride)], np.int32)
        if not len(self._places):
            raise InputError(f"no training picture has {side * n} x {side * n} pixels")

    def __len__(self) -> int:
        return len(self._places)

    def draw(self, count: int, rng: np.random.Generator) -> Pair:
        """``count`` of them at random, where the recipe says so turned by a multiple of 90 degrees.

        Returns low (count, c, f, f) and high (count, c, …), float32 codes / 255; high is what `made` makes of low.
        """
        turns = rng.integers(0, 4, count) if self._turned else np.zeros(count, int)
        chosen = self._places[rng.integers(0, len(self), count)]

        def cut(which: int, factor: int) -> np.ndarray:
            return np.stack([
                np.rot90(self._pictures[number][which][:, factor * y:factor * (y + self._side),
                                                       factor * x:factor * (x + self._side)], turn, (1, 2))
                for (number, y, x), turn in zip(chosen, turns, strict=True)]).astype(np.float32) / np.float32(255)

        return cut(0, 1), cut(1, self._factor)[..., self._crop, self._crop]

    def made(self, low: torch.Tensor) -> torch.Tensor:
        """What the network makes of sub-images, where they are compared."""
        return self._net.trunk(low) if self._enlarged else self._net(low)[..., self._crop, self._crop]


def pairs(path: Path, recipe: PaperRecipe, shrinks: tuple[float, ...]) -> Iterator[Pair]:
    """(low, high) for each copy of a picture: high (c, H, W) uint8; low float32 codes, for SRCNN enlarged as high."""
    planes = load_planes(path, recipe.colours)
    for shrink in shrinks:
        copy = planes if shrink == 1 else to_bytes(np.stack([imresize(plane, shrink) for plane in planes]))
        high = np.stack([crop_to_multiple(plane, recipe.scale) for plane in copy])
        low = degraded(high, recipe)
        if recipe.network.startswith("Bicubic"):
            low = np.stack([imresize(plane, recipe.scale) for plane in low]).astype(np.float32)
        yield low, high


def degraded(high: np.ndarray, recipe: PaperRecipe) -> np.ndarray:
    """Planes (c, H, W) at 1/n: as MATLAB's imresize, or blurred by a Gaussian and every n-th pixel taken.

    [P16] gives a Gaussian for one experiment only (section 4.4.1); elsewhere the test pictures' own kernel is taken.
    """
    n = recipe.scale
    if recipe.blur is None:
        return np.stack([imresize(plane, 1 / n) for plane in high]).astype(np.float32)
    blurred = [cv2.GaussianBlur(plane.astype(np.float32), (0, 0), recipe.blur, borderType=cv2.BORDER_REPLICATE)
               for plane in high]
    return np.stack(blurred)[:, (n - 1) // 2::n, (n - 1) // 2::n]


def load_planes(path: Path, colours: str) -> np.ndarray:
    """An image file's planes (c, H, W) uint8: 'Y' as `load_luma`, 'YCbCr' or 'RGB'; grey is of three equal colours."""
    if colours == "Y":
        return load_luma(path)[None]
    rgb, _ = load_rgb(path)
    return rgb if colours == "RGB" else rgb_to_ycbcr(rgb)


# ---- scores ------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def enlarged(net: Net, low: np.ndarray) -> np.ndarray:
    """Planes (c, H, W) float32 codes at the network's size, float32 codes."""
    device = bias_of(net.layers()[0][0]).device
    return net(torch.from_numpy(low / np.float32(255))[None].to(device))[0].cpu().numpy() * 255


def compared(net: Net, pair: Pair, recipe: PaperRecipe) -> Pair:
    """What the network makes of a pair's low picture and the high one, uint8, shaved, the channels that are learned."""
    low, high = pair
    channels, n = list(recipe.loss_channels), recipe.scale
    shave = np.s_[channels, n:-n, n:-n]
    if net.network.growth == "bicubic first":
        low = degraded(high, recipe)
    return to_bytes(enlarged(net, low))[shave], high[shave]


def scores(weights: Weights, recipe: PaperRecipe, data: Path) -> dict[str, Any]:
    """The scores of weights on the test sets that ``data`` has, in the form of the recipe's own experiment."""
    found: dict[str, Any] = {}
    for name in ("Set5", "Set14"):
        folder = data / "test" / name
        if not folder.is_dir():
            continue
        if recipe.blur is not None:
            found[name] = blurred_scores(Net.from_weights(weights).eval(), folder, recipe)
            continue
        found[name] = evaluate(folder, recipe.model, recipe.scale, network(weights), colours=True).average.to_json()
    return found


def blurred_scores(net: Net, folder: Path, recipe: PaperRecipe) -> dict[str, float]:
    """PSNR of luma, and bicubic's, where the low pictures are made as the recipe says."""
    n, results = recipe.scale, []
    for path in list_images(folder):
        high = crop_to_multiple(load_luma(path), n)
        low = degraded(high[None], recipe)
        inner = np.s_[n:-n, n:-n]
        results.append([psnr(to_bytes(made)[inner], high[inner])
                        for made in (enlarged(net, low)[0], imresize(low[0], n))])
    ours, bicubic = np.mean(results, 0)
    return {"psnr": round(float(ours), 4), "bicubic_psnr": round(float(bicubic), 4)}
