"""`vsr train`: one flat loop from pictures to a weight file and its card; a kill at any moment loses a minute."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import json
import math
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import vsr
from vsr.errors import EngineError, OutputError, UsageError
from vsr.models.catalogue import load_file, save_file, write_whole
from vsr.models.fsrcnn import Net
from vsr.models.networks import Network
from vsr.quality.evaluate import evaluate, network
from vsr.quality.metrics import psnr, to_bytes
from vsr.training.compressed import material
from vsr.training.data import Patches, split, twin
from vsr.training.drawn import dithered
from vsr.training.quantize import calibrate, quantized
from vsr.training.recipes import Recipe
from vsr.training.soap import SOAP
from vsr.training.transfer import solve_deconvolution

CHECKPOINT_SECONDS = 60.0
REPORT_STEPS = 2000
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
    commit = revision()
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    net = Net(Network.parse(recipe.network), recipe.scale)
    complete = not recipe.start or _go_on_from(net, out / f"{recipe.start}.safetensors")
    training, held_out = split(data, recipe.sets)
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
    gradients = _gradients(net, recipe.patch, device)
    log: list[dict[str, float]] = []
    iteration, seconds, length = 0, 0.0, math.inf

    checkpoint = out / f"{recipe.name}.checkpoint"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["recipe"] != dataclasses.asdict(recipe):
            raise UsageError(f"'{checkpoint}' belongs to another version of the recipe; remove it to start again")
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        rng.bit_generator.state = state["rng"]
        iteration, seconds, length = (state[key] for key in ("iteration", "seconds", "length"))
        log, commit = state["log"], state["commit"]
        say(f"{recipe.name}: continues at iteration {iteration}")

    def save_checkpoint() -> None:
        state = {"recipe": dataclasses.asdict(recipe), "net": net.state_dict(), "average": average.state_dict(),
                 "optimizer": optimizer.state_dict(), "rng": rng.bit_generator.state, "iteration": iteration,
                 "seconds": seconds, "length": length, "log": log, "commit": commit}
        torch.save(state, checkpoint.with_suffix(".writing"))
        os.replace(checkpoint.with_suffix(".writing"), checkpoint)

    say(f"{recipe.name}: {len(training)} pictures, {patches.high.size / 1e6:.0f} million pixels, on {device}")

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to '{out}': {error.strerror}") from None
    mean_loss, saved, begun, first = 0.0, time.monotonic(), time.monotonic() - seconds, iteration
    while iteration < recipe.iterations:
        decay = 0.5 * (1 + math.cos(math.pi * iteration / recipe.iterations))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * decay * min(1.0, (iteration + 1) / WARM_UP)
        choose = recipe.best_of if rng.random() < recipe.best_of_share else 1
        low, high = patches.draw(recipe.batch, rng, choose, amplified=recipe.amplified)
        if dots and (count := rng.binomial(recipe.batch, recipe.dithered)):
            low[:count], high[:count] = dots.draw(count, rng, contrast=DITHERED_CONTRAST)
        loss = gradients(low, high)
        check_finite(loss, recipe.name, iteration)
        length = bounded([*net.parameters()], length, iteration)
        optimizer.step()
        iteration += 1
        weight = max(recipe.average, 10 / (iteration + 10))  # forgets the first steps sooner
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), weight)
        mean_loss += (loss - mean_loss) * max(1 / REPORT_STEPS, 1 / (iteration - first))
        seconds = time.monotonic() - begun
        if iteration % REPORT_STEPS == 0 or iteration == recipe.iterations:
            quality = _validate(average, validation, recipe.scale, device)
            log.append({"iteration": iteration, "seconds": round(seconds), "loss": mean_loss, "psnr": quality})
            eta = (recipe.iterations - iteration) * seconds / iteration
            say(f"{recipe.name}: {iteration}/{recipe.iterations}  loss {mean_loss * 255**2:.2f}  "
                f"validation {quality:.3f} dB  {seconds:.0f} s, {eta:.0f} s to go")
        if time.monotonic() - saved > CHECKPOINT_SECONDS or iteration == recipe.iterations:
            save_checkpoint()
            saved = time.monotonic()

    path = out / f"{recipe.name}.safetensors"
    weights = average.cpu().to_weights(recipe.model)
    if recipe.quantized:
        weights = quantized(average, sample, recipe.model)
        log[-1]["psnr"] = _validate(Net.from_weights(weights).eval(), validation, recipe.scale, "cpu")
    save_file(path, weights)
    write_card(path, recipe, data, log, len(training), commit)
    say(f"{recipe.name}: wrote {path}")
    return path


def check_finite(loss: float, name: str, iteration: int) -> None:
    """Raise EngineError where training has lost itself."""
    if not math.isfinite(loss):
        raise EngineError(f"{name} diverged: after {iteration} iterations its loss is {loss}")


def bounded(parameters: list[torch.nn.Parameter], length: float, steps: int) -> float:
    """Cut the gradients, together, to LARGEST_GRADIENT times their usual ``length``, a mean over the last 100 of
    ``steps``; returns what is usual from now on. Before the first step nothing is, and nothing is cut."""
    most = LARGEST_GRADIENT * length
    found = min(most, torch.nn.utils.clip_grad_norm_(parameters, most).item())
    return length + (found - length) / min(steps + 1, 100) if steps else found


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


def _go_on_from(net: Net, path: Path) -> bool:
    """Take the trunk of finished weights, and the deconvolution where it is of the same scale; whether that was all."""
    for needed in (path, path.with_suffix(".json")):
        if not needed.is_file():
            raise UsageError(f"the recipe starts from '{needed}', which does not exist; train '{path.stem}' first")
    done = Net.from_weights(load_file(path))
    keep = {key: value for key, value in done.state_dict().items()
            if done.scale == net.scale or not key.startswith("deconvolution")}
    net.load_state_dict(keep, strict=False)
    return done.scale == net.scale or net.deconvolution is None


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


def write_card(path: Path, recipe: Recipe, data: Path, log: list[dict[str, float]], pictures: int,
               commit: str) -> None:
    """The card of a weight file, beside it: what made it, and its scores on the test sets that ``data`` has.

    ``before`` holds the recipes that it went on from, the last first; ``others`` the scores of the same model and
    scale by other recipes whose cards are in the same folder.
    """
    weights = load_file(path)
    measured = {}
    for folder in ("Set5", "Set14"):
        if (data / "test" / folder).is_dir():
            result = evaluate(data / "test" / folder, recipe.model, recipe.scale, network(weights))
            measured[folder] = result.average.to_json(timed=False)
    rivals = sorted(set(path.parent.glob(f"{recipe.model}_x{recipe.scale}*.json")) - {path.with_suffix(".json")})
    before: list[dict[str, Any]] = []
    if recipe.start:
        start = json.loads((path.parent / f"{recipe.start}.json").read_text("utf-8"))
        before = [start["recipe"], *start["before"]]
    card: dict[str, Any] = {
        "model": recipe.model, "scale": recipe.scale, "network": recipe.network,
        "parameters": weights.parameters, "recipe": dataclasses.asdict(recipe), "before": before, "pictures": pictures,
        "iterations": recipe.iterations, "seconds": log[-1]["seconds"], "log": log,
        "validation_psnr": round(log[-1]["psnr"], 4), "commit": commit, "scores": measured,
        "others": {other.stem: json.loads(other.read_text("utf-8"))["scores"] for other in rivals},
    }
    write_whole(path.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())


def revision() -> str:
    """The source revision where this runs from a checkout, else the version."""
    try:
        run = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=Path(__file__).parent, check=True,
                             capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return vsr.__version__
    return run.stdout.strip()
