"""What `vsr train` can be asked for. A recipe is everything that decides the weights, so that a card can repeat it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from vsr.errors import UsageError
from vsr.models.catalogue import SCALES
from vsr.models.family import BOUNDS, CLEAN, MEMBERS
from vsr.models.networks import NETWORKS
from vsr.training.data import SHRINKS

OVERLAP = 2.0  # of the QPs that neighbouring members train on, to either side
WORST = 46.0  # the coarsest QP that a member trains on, less the overlap
PHOTOGRAPHS = ("t91", "bsds500test", "kodak24", "photos_y", "cid22_y")


@dataclass(frozen=True)
class Recipe:
    """``network``: as `Network` writes it; ``sets``: training folders; ``patch``: side of a patch in input pixels.

    ``best_of``: in ``best_of_share`` of the batches each patch is the strongest in contrast of so many draws.
    The learning rate falls from ``rate`` to zero as a cosine; ``average`` is the weight of a step in the moving average
    that is kept.
    ``start`` names a recipe whose finished weights (in the same output folder) are gone on from: the trunk, and the
    deconvolution where the scale is the same. ``freeze_trunk`` trains the deconvolution alone [F16, section 3.4];
    ``quantized`` trains for precision int8. With ``quantizers`` the pictures went through codecs, at a mean QP within
    them (`compressed.compressed_twins`).
    """

    name: str
    model: str
    scale: int
    network: str
    iterations: int
    rate: float
    sets: tuple[str, ...] = PHOTOGRAPHS
    shrinks: tuple[float, ...] = SHRINKS
    patch: int = 32
    batch: int = 16
    best_of: int = 3
    best_of_share: float = 0.7
    average: float = 0.002
    start: str | None = None
    freeze_trunk: bool = False
    quantized: bool = False
    quantizers: tuple[float, float] | None = None
    seed: int = 0


def _family(model: str, iterations: int, rate: float) -> list[Recipe]:
    """×3 from scratch; ×2 and ×4 from its trunk and the deconvolution that is solved for on it; ×2 on the 91 images
    alone: clean and sharp, where some photographs went through JPEG. From each, on the same pictures, the weights for
    precision int8.

    What else was tried with FSRCNN-s, as gains on Set5 / Set14 in dB: ×2 from the trunk of ×3 and a deconvolution of
    noise -0.32 / -0.13 (the trunk is lost before the deconvolution is found); ×2 on the photographs at half their size
    -0.09 / +0.01; ×4 on the 91 images alone -0.04 / -0.06; ×3 gone on with on them +0.03 / -0.09.
    What int8 costs on Set14 at ×2, ×3 and ×4: with every weight rounded to the nearest integer and nothing trained
    0.07, 0.04 and 0.02; with the errors made good 0.00, 0.01 and 0.01; trained so -0.01, 0.01 and 0.00. ×2 trained on
    all photographs loses 0.02, and 0.17 on Set5.
    """
    def recipe(suffix: str, scale: int, iterations: int, rate: float, **other: Any) -> Recipe:
        return Recipe(f"{model}_x{scale}{suffix}", model, scale, str(NETWORKS[model]), iterations, rate, **other)

    three = recipe("", 3, iterations, rate)
    two = recipe("", 2, iterations // 2, rate * 0.5, start=three.name, sets=("t91",))
    four = recipe("", 4, iterations // 2, rate, start=three.name)
    int8 = [recipe("_int8", start.scale, iterations // 5, rate * 0.15, start=start.name, sets=start.sets,
                   quantized=True) for start in (two, three, four)]
    return [three, two, four, *int8]


def _members(rate: float) -> Iterator[Recipe]:
    """The members of `fsrcnn-s-video`: from the clean weights of their scale, on pictures that went through codecs as
    coarsely as those that they are chosen for, and a little more widely; ×2, which is asked for most, the longest. From
    each the one for precision int8, where almost all is in the rounding."""
    for scale in SCALES:
        iterations = 20_000 if scale == 2 else 10_000
        for member, (low, high) in zip(MEMBERS[1:], itertools.pairwise((*BOUNDS, WORST)), strict=True):
            float_ = Recipe(f"{member}_x{scale}", member, scale, str(NETWORKS[CLEAN]), iterations, rate,
                            start=f"{CLEAN}_x{scale}", quantizers=(low - OVERLAP, high + OVERLAP))
            yield float_
            yield replace(float_, name=f"{float_.name}_int8", iterations=1_000, rate=rate * 0.1,
                          start=float_.name, quantized=True)


RECIPES = {recipe.name: recipe for recipe in (
    *_family("fsrcnn-s", iterations=100_000, rate=2e-2),
    *_family("fsrcnn", iterations=60_000, rate=1e-2),
    *_members(rate=8e-3),
)}


def find(name: str) -> Recipe:
    """The recipe of a name; raises UsageError where there is none."""
    if name not in RECIPES:
        raise UsageError(f"unknown recipe '{name}'; there are: {', '.join(RECIPES)}")
    return RECIPES[name]
