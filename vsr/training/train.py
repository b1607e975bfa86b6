"""`vsr train`: one flat loop from pictures to a weight file and its card."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vsr.models.catalogue import Weights
from vsr.models.fsrcnn import Net
from vsr.models.networks import Network
from vsr.quality.evaluate import evaluate, network
from vsr.quality.metrics import psnr, to_bytes
from vsr.training.compressed import material
from vsr.training.data import Patches, split, twin
from vsr.training.drawn import dithered
from vsr.training.quantize import calibrate, quantized
from vsr.training.recipes import Recipe
from vsr.training.run import Run, go_on_from, make_folder
from vsr.training.soap import SOAP
from vsr.training.transfer import solve_deconvolution

WARM_UP = 100
LARGEST_GRADIENT = 2.0  # times the usual length; some patches' are hundreds of times that, and would undo the training
DITHERED_CONTRAST = (0.5, 2.0)  # beyond black and white, as making a dot's picture small makes it grey
CALIBRATION = 1024  # patches
SOLVING = 512  # patches


def train(recipe: Recipe, data: Path, out: Path, device: str = "auto", threads: int | None = None,
          say: Callable[[str], None] = print) -> Path:
    """Run a recipe to its end, from its checkpoint where ``out`` holds one; returns the weight file.

    On a CPU, where Halide is, the gradients are `FusedGradients`'; else PyTorch's.
    Writes ``out``/RECIPE.checkpoint while it runs, then ``out``/RECIPE.safetensors and RECIPE.json (the card).
    Raises InputError for missing pictures, OutputError for an unwritable folder, UsageError for a checkpoint of
    another recipe or a start that has not been trained, EngineError where the loss is no longer finite.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    net = Net(Network.parse(recipe.network), recipe.scale)
    complete = not recipe.start or go_on_from(net, out / f"{recipe.start}.safetensors")
    training, held_out = split(data, recipe.sets)
    make_folder(out)
    pairs, validation = material(recipe, training, held_out, data, out)
    patches = Patches(pairs, recipe.scale, recipe.patch, net.margin)
    dots = Patches([twin(dithered(rng, dot), recipe.scale) for dot in (2, 3, 4, 5, *(recipe.scale,) * 8)],
                   recipe.scale, recipe.patch, net.margin) if recipe.dithered else None
    if not complete:
        low, high = patches.draw(SOLVING, rng)
        solve_deconvolution(net, torch.from_numpy(low)[:, None], torch.from_numpy(high)[:, None])
    if recipe.quantized:
        as_they_are = patches.draw(CALIBRATION, rng, recipe.best_of, (1.0, 1.0))  # larger maps take larger steps
        sample = torch.from_numpy(as_they_are[0])[:, None]
        calibrate(net, sample)
    net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(net).requires_grad_(False)
    optimizer = SOAP(_matrices(net), recipe.rate)
    gradients, clip = _gradients(net, recipe.patch, device), GradientClip()
    run = Run(recipe, out, {"net": net, "average": average, "optimizer": optimizer, "clip": clip}, rng, device, say)
    say(f"{recipe.name}: {len(training)} pictures, {patches.high.size / 1e6:.0f} million pixels, on {device}")
    while run.iteration < recipe.iterations:
        decay = 0.5 * (1 + math.cos(math.pi * run.iteration / recipe.iterations))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * decay * min(1.0, (run.iteration + 1) / WARM_UP)
        choose = recipe.best_of if rng.random() < recipe.best_of_share else 1
        low, high = patches.draw(recipe.batch, rng, choose, amplified=recipe.amplified)
        if dots and (count := rng.binomial(recipe.batch, recipe.dithered)):
            low[:count], high[:count] = dots.draw(count, rng, contrast=DITHERED_CONTRAST)
        loss = run.check(gradients(low, high))
        clip(net.parameters())
        optimizer.step()
        weight = max(recipe.average, 10 / (run.iteration + 11))  # forgets the first steps sooner
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), weight)
        run.step(loss, lambda: _validate(average, validation, recipe.scale, device))

    weights = average.cpu().to_weights(recipe.model)
    if recipe.quantized:
        weights = quantized(average, sample, recipe.model)
        run.log[-1]["psnr"] = _validate(Net.from_weights(weights).eval(), validation, recipe.scale, "cpu")
    return run.finish(weights, pictures=len(training), scores=_scores(weights, recipe, data),
                      others=_others(out, recipe))


class GradientClip:
    """Cuts gradients, together, to LARGEST_GRADIENT times their usual length, a mean over the last 100 calls.

    At the first call nothing is usual, and nothing is cut."""

    def __init__(self) -> None:
        self.length, self._calls = math.inf, 0

    def __call__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        most = LARGEST_GRADIENT * self.length
        found = min(most, torch.nn.utils.clip_grad_norm_(parameters, most).item())
        self._calls += 1
        self.length = found if self._calls == 1 else self.length + (found - self.length) / min(self._calls, 100)

    def state_dict(self) -> dict[str, Any]:
        return {"length": self.length, "calls": self._calls}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.length, self._calls = state["length"], state["calls"]


def _gradients(net: Net, patch: int, device: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """What takes (low, high) patches, leaves the gradients in the parameters and returns the mean squared error."""
    if device == "cpu" and importlib.util.find_spec("halide"):
        from vsr.training.fused import FusedGradients

        if FusedGradients.fits(net.network):
            return FusedGradients(net, patch)

    def gradients(low: np.ndarray, high: np.ndarray) -> float:
        net.zero_grad()
        made = net.valid(torch.from_numpy(low)[:, None].to(device, memory_format=torch.channels_last))
        loss = F.mse_loss(made, torch.from_numpy(high)[:, None].to(device))
        loss.backward()
        return loss.item()

    return gradients


def _matrices(net: Net) -> list[list[torch.nn.Parameter]]:
    """The parameters as SOAP's matrices: a layer's weight, bias and slopes, one row a channel."""
    last = [[parameter] for parameter in net.deconvolution.parameters()] if net.deconvolution else []
    return [*([*convolution.parameters(), *(activation.parameters() if activation else ())]
              for convolution, activation in net.layers()), *last]


@torch.inference_mode()
def _validate(net: Net, pairs: list[tuple[np.ndarray, np.ndarray]], scale: int, device: str) -> float:
    """Mean PSNR in dB over (low, high) pairs, ``scale`` pixels shaved."""
    inner = np.s_[scale:-scale, scale:-scale]
    results = []
    for low, high in pairs:
        made = net(torch.from_numpy(low / np.float32(255))[None, None].to(device))[0, 0].cpu().numpy() * 255
        results.append(psnr(to_bytes(made)[inner], high[inner]))
    return float(np.mean(results))


def _scores(weights: Weights, recipe: Recipe, data: Path) -> dict[str, Any]:
    """Those on the test sets that ``data`` has."""
    folders = [data / "test" / name for name in ("Set5", "Set14")]
    return {folder.name: evaluate(folder, recipe.model, recipe.scale, network(weights)).average.to_json(timed=False)
            for folder in folders if folder.is_dir()}


def _others(out: Path, recipe: Recipe) -> dict[str, Any]:
    """The scores of the same model and scale by other recipes whose cards are in ``out``."""
    paths = sorted(set(out.glob(f"{recipe.model}_x{recipe.scale}*.json")) - {out / f"{recipe.name}.json"})
    cards = {path.stem: json.loads(path.read_text("utf-8")) for path in paths}
    return {name: card["scores"] for name, card in cards.items() if "scores" in card}  # converted ones have none
