"""What all trainings share: where they begin, checkpoints from which they go on, their log, and their card."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import vsr
from vsr.errors import EngineError, OutputError, UsageError
from vsr.media.partfile import PartFile
from vsr.models.catalogue import Weights, load_file, save_file, write_whole
from vsr.models.fsrcnn import Net
from vsr.training.recipes import PaperRecipe, Recipe

CHECKPOINT_SECONDS = 60.0
REPORT_STEPS = 2000


class Part(Protocol):
    """What a checkpoint holds, as PyTorch has it."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


class Run:
    """A training on its way: gone on with from ``out``/RECIPE.checkpoint where that is, and written there every
    CHECKPOINT_SECONDS, so that a kill at any moment loses a minute.

    ``parts`` are taken back to where they were, and so is ``rng``. ``log`` has an entry every REPORT_STEPS iterations.
    Raises UsageError for a checkpoint of another recipe, or a damaged one, OutputError where none can be written.
    """

    def __init__(self, recipe: Recipe | PaperRecipe, out: Path, parts: dict[str, Part], rng: np.random.Generator,
                 device: str, say: Callable[[str], None]) -> None:
        self.recipe, self.out, self.iteration, self.log = recipe, out, 0, list[dict[str, float]]()
        self._parts, self._rng, self._say, self._commit = parts, rng, say, revision()
        self._path, self._mean_loss, seconds = out / f"{recipe.name}.checkpoint", 0.0, 0.0
        if self._path.exists():
            try:
                state = torch.load(self._path, map_location=device, weights_only=True)
            except Exception as error:  # all that damage may lead to
                raise UsageError(f"'{self._path}' cannot be read ({type(error).__name__}); remove it to start again"
                                 ) from None
            if state["recipe"] != dataclasses.asdict(recipe):
                raise UsageError(f"'{self._path}' belongs to another version of the recipe; remove it to start again")
            for name, part in parts.items():
                part.load_state_dict(state[name])
            rng.bit_generator.state = state["rng"]
            self.iteration, self.log, self._commit, seconds = (state[key] for key in (
                "iteration", "log", "commit", "seconds"))
            say(f"{recipe.name}: continues at iteration {self.iteration}")
        self._first, self._saved = self.iteration, time.monotonic()
        self._begun = self._saved - seconds

    def check(self, loss: float) -> float:
        """The loss; raises EngineError where training has lost itself."""
        if not math.isfinite(loss):
            raise EngineError(f"{self.recipe.name} diverged: after {self.iteration} iterations its loss is {loss}")
        return loss

    def step(self, loss: float, validate: Callable[[], float]) -> None:
        """An iteration is done, with this mean squared error; ``validate`` gives a PSNR in dB for the log."""
        name, last = self.recipe.name, self.recipe.iterations
        self.iteration += 1
        self._mean_loss += (loss - self._mean_loss) * max(1 / REPORT_STEPS, 1 / (self.iteration - self._first))
        seconds = time.monotonic() - self._begun
        if self.iteration % REPORT_STEPS == 0 or self.iteration == last:
            quality = validate()
            self.log.append({"iteration": self.iteration, "seconds": round(seconds), "loss": self._mean_loss,
                             "psnr": quality})
            eta = (last - self.iteration) * seconds / self.iteration
            self._say(f"{name}: {self.iteration}/{last}  loss {self._mean_loss * 255**2:.2f}  "
                      f"validation {quality:.3f} dB  {seconds:.0f} s, {eta:.0f} s to go")
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS or self.iteration == last:
            state = {"recipe": dataclasses.asdict(self.recipe), "rng": self._rng.bit_generator.state,
                     "iteration": self.iteration, "seconds": seconds, "log": self.log, "commit": self._commit,
                     **{name: part.state_dict() for name, part in self._parts.items()}}
            torch.save(state, content := io.BytesIO())  # itself it does not say why it cannot write
            with PartFile(self._path, overwrite=True) as part:  # of its own, even where two train the same
                with writing(self.out):
                    part.path.write_bytes(content.getvalue())
                part.commit()
            self._saved = time.monotonic()

    def finish(self, weights: Weights, **found: Any) -> Path:
        """Write the weights, and their card beside them: what made them, and what was ``found``; returns their file.

        ``before`` holds the recipes that they went on from, the last first.
        """
        path, before = self.out / f"{self.recipe.name}.safetensors", list[dict[str, Any]]()
        if self.recipe.start:
            start = json.loads((self.out / f"{self.recipe.start}.json").read_text("utf-8"))
            before = [start["recipe"], *start["before"]]
        card = {
            "model": self.recipe.model, "scale": self.recipe.scale, "network": self.recipe.network,
            "parameters": weights.parameters, "recipe": dataclasses.asdict(self.recipe), "before": before,
            "iterations": self.recipe.iterations, "seconds": self.log[-1]["seconds"], "log": self.log,
            "validation_psnr": round(self.log[-1]["psnr"], 4), "commit": self._commit, **found,
        }
        with writing(self.out):
            save_file(path, weights)
            write_whole(path.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())
        self._say(f"{self.recipe.name}: wrote {path}")
        return path


def make_folder(out: Path) -> None:
    """Make the folder for what a training writes, before what takes minutes. Raises OutputError."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Raises OutputError for what goes wrong while something is written to the folder ``out``."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write to '{out}': {error.strerror}") from error


def go_on_from(net: Net, path: Path) -> bool:
    """Take the trunk of finished weights, and the deconvolution where it is of the same scale; whether that was all.

    Raises UsageError where they have not been trained yet.
    """
    for needed in (path, path.with_suffix(".json")):
        if not needed.is_file():
            raise UsageError(f"the recipe starts from '{needed}', which does not exist; train '{path.stem}' first")
    done = Net.from_weights(load_file(path))
    keep = {key: value for key, value in done.state_dict().items()
            if done.scale == net.scale or not key.startswith("deconvolution")}
    net.load_state_dict(keep, strict=False)
    return done.scale == net.scale or net.deconvolution is None


def revision() -> str:
    """The source revision where this runs from a checkout, else the version."""
    try:
        run = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=Path(__file__).parent, check=True,
                             capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return vsr.__version__
    return run.stdout.strip()
