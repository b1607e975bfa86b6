"""What `vsr train` can be asked for. A recipe is everything that decides the weights, so that a card can repeat it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from vsr.errors import UsageError
from vsr.models.catalogue import SCALES
from vsr.models.family import CLEAN, MEMBERS
from vsr.models.networks import NETWORKS
from vsr.training.data import SHRINKS

SHARP = (0.7, 0.6, 0.5)  # what a photograph's camera, or JPEG, made soft is sharp again
COARSENESS = {1: (13.0, 22.0), 2: (18.0, 28.0), 3: (24.0, 34.0), 4: (30.0, 46.0)}  # what each member trains on
DITHERED = 1 / 512
PHOTOGRAPHS = ("t91", "bsds500test", "kodak24", "photos_y", "cid22_y")


@dataclass(frozen=True)
class Recipe:
    """``network``: as `Network` writes it; ``sets``: training folders; ``shrinks``: the sizes that the 91 images are
    taken in, ``photograph_shrinks`` those of all others; ``pages``: how many drawn pages are among them
    (`drawn.page`); ``patch``: side of a patch in input pixels.

    ``best_of``: in ``best_of_share`` of the batches each patch is the strongest in contrast of so many draws.
    ``amplified``: the share of patches whose contrast is taken up to AMPLIFIED times, not to CONTRAST alone.
    ``dithered``: the share of patches that are of dithered pages (`drawn.dithered`) instead.
    The learning rate falls from ``rate`` to zero as a cosine; ``average`` is the weight of a step in the moving average
    that is kept.
    ``start`` names a recipe whose finished weights (in the same output folder) are gone on from: the trunk, and the
    deconvolution where the scale is the same. ``quantized`` trains for precision int8.
    With ``coarseness`` the pictures went through codecs and look as coarse as that (`compressed.compressed_twins`,
    `family.coarseness`).
    """

    name: str
    model: str
    scale: int
    network: str
    iterations: int
    rate: float
    sets: tuple[str, ...] = PHOTOGRAPHS
    shrinks: tuple[float, ...] = SHRINKS
    photograph_shrinks: tuple[float, ...] = SHARP
    pages: int = 0
    patch: int = 32
    batch: int = 16
    best_of: int = 3
    best_of_share: float = 0.7
    amplified: float = 0.0
    dithered: float = 0.0
    average: float = 0.002
    start: str | None = None
    quantized: bool = False
    coarseness: tuple[float, float] | None = None
    seed: int = 0


def _family(model: str, iterations: int, others: int, rate: float, first: dict[str, Any],
            last: dict[int, dict[str, Any]], amplified: float = 0.0) -> list[Recipe]:
    """×3 from scratch, in so many ``iterations`` (``-first``): FSRCNN-s with drawn pages among the photographs, FSRCNN
    with their contrast up to doubled, since on text and lines, whose edges are higher than any photograph's, networks
    that had seen none such were wrong by hundreds and thousands of levels. From its trunk all scales, in ``others``, on
    photographs alone: they keep what they know of text (some hundred levels at most), and gain what pages cost:
    FSRCNN-s ×2 with pages of its own is 1.4 dB better on text and worse on photographs, by 0.28 / 0.22. ×2 and ×4 begin
    with the deconvolution that is solved for. All but the 91 images are taken at no more than 0.7 of their size; ×2
    learns from these alone, which are sharp even for it. Where ``last`` has changes for a scale, that was the second
    training, and a last one goes on from it: FSRCNN ×3 with the 91 images three times, and less contrast. On single
    pixels of black and white that alternate (dithering) FSRCNN was still wrong by hundreds of thousands of levels,
    FSRCNN-s by two thousand: of the patches in the last training of each scale the share DITHERED shows such. That is
    short for FSRCNN-s, which in all of 40,000 iterations learns dots at the cost of photographs (×2 -0.11 / -0.03).
    From each, on its pictures, the weights for precision int8.

    What else was tried, as gains on Set5 / Set14 in dB. FSRCNN-s: ×2 from the trunk of ×3 and a deconvolution of noise
    -0.32 / -0.13 (the trunk is lost before the deconvolution is found); ×2 on the photographs at half their size -0.09
    / +0.01; ×4 on the 91 images alone -0.04 / -0.06; ×3 gone on with on them +0.03 / -0.09. FSRCNN ×3, 5,000 iterations
    more on all pictures in all sizes 0.00 / -0.04, with photographs of 0.7 and less +0.03 / +0.01, without BSDS500's
    +0.03 / +0.02, on the 91 images alone +0.03 / -0.04.
    What int8 costs FSRCNN-s on Set14 at ×2, ×3 and ×4: with every weight rounded to the nearest integer and nothing
    trained 0.07, 0.04 and 0.02; with the errors made good 0.00, 0.01 and 0.01; trained so -0.01, 0.01 and 0.00, but
    0.02, 0.01 and 0.01 since contrast is random. ×2 trained on all photographs loses 0.02, and 0.17 on Set5.
    """
    def recipe(suffix: str, scale: int, iterations: int, rate: float, **other: Any) -> Recipe:
        other = {"amplified": amplified, **other}
        return Recipe(f"{model}_x{scale}{suffix}", model, scale, str(NETWORKS[model]), iterations, rate, **other)

    def trained(scale: int, **other: Any) -> list[Recipe]:
        stages = [recipe("", scale, others, rate * 0.5, start=scratch.name, **other)]
        if scale in last:
            second = replace(stages[0], name=f"{stages[0].name}-second")
            stages = [second, replace(stages[0], start=second.name, **last[scale])]
        return [*stages[:-1], replace(stages[-1], dithered=DITHERED)]

    scratch = recipe("-first", 3, iterations, rate, **first)
    stages = [trained(3), trained(2, sets=("t91",)), trained(4)]
    int8 = [replace(float_, name=f"{float_.name}_int8", iterations=others * 3 // 10, rate=rate * 0.15,
                    start=float_.name, quantized=True) for *_, float_ in stages]
    return [scratch, *itertools.chain(*stages), *int8]


def _members(rate: float) -> Iterator[Recipe]:
    """The members of `fsrcnn-s-video`: from the clean weights of their scale, on pictures that went through codecs as
    coarsely as those that they are chosen for, and a little more widely. From each the one for precision int8, where
    almost all is in the rounding."""
    for scale in SCALES:
        for number, within in COARSENESS.items():
            member = MEMBERS[number]
            float_ = Recipe(f"{member}_x{scale}", member, scale, str(NETWORKS[CLEAN]), 6_000, rate,
                            start=f"{CLEAN}_x{scale}", photograph_shrinks=SHRINKS, pages=0 if scale == 2 else 16,
                            coarseness=within)
            yield float_
            yield replace(float_, name=f"{float_.name}_int8", iterations=1_000, rate=rate * 0.1,
                          start=float_.name, quantized=True)


def _srcnn(model: str, patch: int, iterations: int, rate: float) -> Iterator[Recipe]:
    """SRCNN at each scale from scratch, as it shares nothing between them; patches are as large in the picture made."""
    for scale in (3, 2, 4):
        yield Recipe(f"{model}_x{scale}", model, scale, str(NETWORKS[model]), iterations, rate, patch=patch // scale)


RECIPES = {recipe.name: recipe for recipe in (
    *_family("fsrcnn-s", iterations=80_000, others=40_000, rate=2e-2, first={"pages": 8},
             last={scale: {"iterations": 4_000, "rate": 3e-3} for scale in SCALES}),
    *_family("fsrcnn", iterations=120_000, others=40_000, rate=1e-2, first={"amplified": 1.0}, amplified=1 / 16,
             last={3: {"sets": ("t91",) * 3 + PHOTOGRAPHS[1:], "amplified": 1 / 64}}),
    *_members(rate=8e-3),
    *_srcnn("srcnn-9-1-5", patch=48, iterations=15_000, rate=1e-2),
    *_srcnn("srcnn-ex", patch=36, iterations=5_000, rate=5e-3),
)}


@dataclass(frozen=True)
class PaperRecipe:
    """A training as the papers describe it; `vsr.training.paper` runs it.

    ``network`` is written as `vsr.models.networks` does. ``side`` and ``stride``: the sub-images' in pixels of the
    network's input, which for SRCNN is the enlarged picture. ``rate`` is the learning rate of all layers but the one
    that makes the picture, ``last_rate`` that one's. ``turned``: by 0, 90, 180 and 270 degrees, at random.
    ``colours``: 'Y', 'YCbCr' or 'RGB'; ``loss_channels``: those of them that are learned. ``blur``: sigma of the
    Gaussian in front of the sampling, in pixels; None: the test protocol's imresize. The squared error of a sub-image
    counts ``loss_weight`` times.
    ``start``: as a `Recipe`'s. ``freeze_trunk`` trains the deconvolution alone [F16, section 3.4].
    """

    name: str
    model: str
    scale: int
    network: str
    iterations: int
    side: int
    stride: int
    rate: float
    last_rate: float
    sets: tuple[str, ...] = ("t91",)
    shrinks: tuple[float, ...] = (1.0,)
    turned: bool = False
    colours: str = "Y"
    loss_channels: tuple[int, ...] = (0,)
    blur: float | None = None
    loss_weight: float = 1.0
    start: str | None = None
    freeze_trunk: bool = False
    batch: int = 128
    seed: int = 0


def _paper_recipes() -> Iterator[PaperRecipe]:
    """The papers' trainings. What they do not say: the size of a batch (128); FSRCNN's number of backprops (as SRCNN's)
    and stride (half a sub-image); whether FSRCNN's error is a sum over pixels, as SRCNN's [E14, equation 4]: with that,
    or half of it, its training at the rates of [F16, section 4.1] diverges within 100 steps, so here it is a tenth. A
    backprop is one sub-image's.

    [E14]: SRCNN's test pictures have normalised zero borders; FSRCNN's layers pad with zeros everywhere. General-100
    could not be had: the photographs of PHOTOGRAPHS stand in for it, and the cards name them.
    """
    backprops, batch = 800_000_000, 128  # [P16, section 4.1]
    iterations = backprops // batch

    def srcnn(network: str, suffix: str, scale: int = 3, **other: Any) -> PaperRecipe:
        text = str(replace(NETWORKS[network], border="normalised"))
        model, side = f"paper-{suffix}", 33 if scale == 3 else 32
        return PaperRecipe(f"{model}_x{scale}", model, scale, text, iterations, side, 14, 1e-4, 1e-5, **other)

    def fsrcnn(network: str, suffix: str, scale: int = 3, rates: float = 1.0, **other: Any) -> PaperRecipe:
        text = str(replace(NETWORKS[network], border="zero"))
        model, side = f"paper-{suffix}", {2: 10, 3: 7, 4: 6}[scale]
        return PaperRecipe(f"{model}_x{scale}", model, scale, text, iterations, side, side // 2, 1e-3 * rates,
                           1e-4 * rates, shrinks=SHRINKS, turned=True, loss_weight=0.1, **other)

    for name in [name for name in NETWORKS if name not in ("srcnn-colour", "fsrcnn-56-12-4")]:
        if name.startswith("srcnn"):
            yield srcnn(name, "srcnn-91" if name == "srcnn-9-1-5" else f"{name}-91")
        else:
            yield fsrcnn(name, f"{name}-91")
    yield from (srcnn("srcnn-9-1-5", "srcnn-91", scale) for scale in (2, 4))
    # x3 from scratch; for the other scales the deconvolution alone [F16, section 4.4], and from scratch beside it.
    for name in ("fsrcnn-s", "fsrcnn"):
        both: dict[str, Any] = {"sets": PHOTOGRAPHS, "rates": 0.5}  # [F16, section 4.1]
        yield fsrcnn(name, f"{name}-91-general100", start=f"paper-{name}-91_x3", **both)
        for scale in (2, 4):
            yield fsrcnn(name, f"{name}-91", scale, start=f"paper-{name}-91_x3", freeze_trunk=True)
            yield fsrcnn(name, f"{name}-91-general100", scale, start=f"paper-{name}-91-general100_x3",
                         freeze_trunk=True, **both)
        yield fsrcnn(name, f"{name}-91-scratch", 2)
    # Strategies for colour [P16, section 5]: "Y only" is paper-srcnn-91.
    colour: dict[str, Any] = {"colours": "YCbCr", "loss_channels": (0, 1, 2)}
    yield srcnn("srcnn-colour", "srcnn-ycbcr", **colour)
    for first, channels in (("y", (0,)), ("cbcr", (1, 2))):
        yield srcnn("srcnn-colour", f"srcnn-{first}-pretrain-first", colours="YCbCr", loss_channels=channels)
        yield srcnn("srcnn-colour", f"srcnn-{first}-pretrain", start=f"paper-srcnn-{first}-pretrain-first_x3", **colour)
    yield srcnn("srcnn-colour", "srcnn-rgb", colours="RGB", loss_channels=(0, 1, 2))
    yield srcnn("srcnn-ex", "srcnn-ex-91-blur", blur=0.55)  # against DNC [P16, section 4.4.1]


PAPER_RECIPES = {recipe.name: recipe for recipe in _paper_recipes()}


def find(name: str) -> Recipe | PaperRecipe:
    """The recipe of a name; raises UsageError where there is none."""
    recipes: dict[str, Recipe | PaperRecipe] = {**RECIPES, **PAPER_RECIPES}
    if name not in recipes:
        raise UsageError(f"unknown recipe '{name}'; 'vsr train list' names them")
    return recipes[name]
