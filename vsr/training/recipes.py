"""What `vsr train` can be asked for. A recipe is everything that decides the weights, so that a card can repeat it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vsr.errors import UsageError
from vsr.training.data import SHRINKS

PHOTOGRAPHS = ("t91", "bsds500test", "kodak24", "photos_y", "cid22_y")


@dataclass(frozen=True)
class Recipe:
    """``d``, ``s``, ``m``: the network; ``sets``: training folders; ``patch``: side of a patch in input pixels.

    ``best_of``: in ``best_of_share`` of the batches each patch is the strongest in contrast of so many draws.
    The learning rate falls from ``rate`` to zero as a cosine; ``average`` is the weight of a step in the moving average
    that is kept. The first ``bfloat16_share`` of the iterations compute in bfloat16, the rest in float32.
    ``start`` names a recipe whose finished weights (in the same output folder) are gone on from: the trunk, and the
    deconvolution where the scale is the same. ``freeze_trunk`` trains the deconvolution alone [F16, section 3.4].
    """

    name: str
    model: str
    scale: int
    d: int
    s: int
    m: int
    iterations: int
    rate: float
    sets: tuple[str, ...] = PHOTOGRAPHS
    shrinks: tuple[float, ...] = SHRINKS
    patch: int = 32
    batch: int = 16
    best_of: int = 3
    best_of_share: float = 0.7
    average: float = 0.002
    bfloat16_share: float = 0.85
    start: str | None = None
    freeze_trunk: bool = False
    seed: int = 0


def _family(model: str, d: int, s: int, m: int, iterations: int, rate: float) -> list[Recipe]:
    """``-first``: ×3 from scratch on all photographs. ``-transfer``: on its frozen trunk, the deconvolutions of ×2 and
    ×4. Then each scale whole, from there, on the 91 images alone: clean and sharp, where some photographs went through
    JPEG. (Whole from a new deconvolution, ×2 loses the good trunk and ends 0.15 dB below the frozen one.)"""
    def recipe(name: str, scale: int, iterations: int, rate: float, **other: Any) -> Recipe:
        return Recipe(f"{model}_{name}", model, scale, d, s, m, iterations, rate, **other)

    first = recipe("x3-first", 3, iterations, rate)
    frozen = [recipe(f"x{n}-transfer", n, iterations // 4, rate, start=first.name, freeze_trunk=True) for n in (2, 4)]
    whole = [recipe(f"x{start.scale}", start.scale, iterations // 5, rate * 0.4, start=start.name, sets=("t91",))
             for start in (first, *frozen)]
    return [first, *frozen, *whole]


RECIPES = {recipe.name: recipe for recipe in (
    *_family("fsrcnn-s", 32, 5, 1, iterations=100_000, rate=2e-2),
    *_family("fsrcnn", 56, 12, 4, iterations=100_000, rate=2e-2),
)}


def find(name: str) -> Recipe:
    """The recipe of a name; raises UsageError where there is none."""
    if name not in RECIPES:
        raise UsageError(f"unknown recipe '{name}'; there are: {', '.join(RECIPES)}")
    return RECIPES[name]
