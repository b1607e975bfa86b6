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
    deconvolution where the scale is the same. ``freeze_trunk`` trains the deconvolution alone [F16, section 3.4];
    ``quantized`` trains for precision int8.
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
    quantized: bool = False
    seed: int = 0


def _family(model: str, d: int, s: int, m: int, iterations: int, rate: float) -> list[Recipe]:
    """×3 from scratch; on its frozen trunk the deconvolutions of ×2 and ×4 (``-transfer``) [F16, section 3.4]; ×4 whole
    from the trunk of ×3; ×2 whole from its transferred weights, on the 91 images alone: clean and sharp, where some
    photographs went through JPEG. From each, on the same pictures and in float32, the weights for precision int8.

    What else was tried with FSRCNN-s, as gains on Set5 / Set14 in dB: ×2 as ×4 is made -0.32 / -0.13 (the trunk is lost
    before the deconvolution is found); ×4 as ×2 is made -0.04 / -0.06; ×3 gone on with on the 91 images +0.03 / -0.09.
    What int8 costs on Set14 at ×2, ×3 and ×4: with every weight rounded to the nearest integer and nothing trained
    0.07, 0.04 and 0.02; with the errors made good 0.00, 0.01 and 0.01; trained so -0.01, 0.01 and 0.00. ×2 trained on
    all photographs loses 0.02, and 0.17 on Set5.
    """
    def recipe(suffix: str, scale: int, iterations: int, rate: float, **other: Any) -> Recipe:
        return Recipe(f"{model}_x{scale}{suffix}", model, scale, d, s, m, iterations, rate, **other)

    three = recipe("", 3, iterations, rate)
    two_transfer, four_transfer = (
        recipe("-transfer", n, iterations // 4, rate, start=three.name, freeze_trunk=True) for n in (2, 4))
    two = recipe("", 2, iterations // 5, rate * 0.4, start=two_transfer.name, sets=("t91",))
    four = recipe("", 4, iterations // 2, rate, start=three.name)
    int8 = [recipe("_int8", start.scale, iterations // 5, rate * 0.15, start=start.name, sets=start.sets,
                   bfloat16_share=0.0, quantized=True) for start in (two, three, four)]
    return [three, two_transfer, two, four_transfer, four, *int8]


RECIPES = {recipe.name: recipe for recipe in (
    *_family("fsrcnn-s", 32, 5, 1, iterations=100_000, rate=2e-2),
    *_family("fsrcnn", 56, 12, 4, iterations=100_000, rate=2e-2),
)}


def find(name: str) -> Recipe:
    """The recipe of a name; raises UsageError where there is none."""
    if name not in RECIPES:
        raise UsageError(f"unknown recipe '{name}'; there are: {', '.join(RECIPES)}")
    return RECIPES[name]
