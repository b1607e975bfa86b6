"""`vsr papers`: what VSR measures, number by number beside what was published, as Markdown."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import vsr
from vsr.doctor import cpu
from vsr.engines import open_engine
from vsr.errors import InputError
from vsr.models.catalogue import Weights, assets_dir, catalogue, load, load_file
from vsr.models.networks import NETWORKS
from vsr.papers import published
from vsr.papers.published import BEST, Row
from vsr.quality.evaluate import Score, network, scores
from vsr.quality.metrics import to_bytes
from vsr.quality.protocol import crop_to_multiple, imresize, list_images, load_luma

MODELS = {"FSRCNN-s": "fsrcnn-s", "FSRCNN": "fsrcnn", "SRCNN": "srcnn-9-1-5", "SRCNN-Ex": "srcnn-ex"}
RECIPES_91 = {"FSRCNN-s": "paper-fsrcnn-s-91", "FSRCNN": "paper-fsrcnn-91", "SRCNN": "paper-srcnn-91",
              "SRCNN-Ex": "paper-srcnn-ex-91"}
REAL_TIME_SIDE = 253  # x3: 759, the whole pixels of 760
REPEATS = 10
RUNS = 3  # of a picture
NONE = "–"


@dataclass(frozen=True)
class Measured:
    """What `measure` found, by the papers' names of models: the float networks' scores of each picture, and what their
    engines are and take, in ``seconds`` a picture of a set, and in frames of FSRCNN-s at x3 a second."""

    scores: dict[Row, list[dict[str, Score]]]
    engines: dict[str, str]
    seconds: dict[tuple[Row, str], float]
    fps: float

    def average(self, row: Row, model: str, metric: str) -> float | None:
        """The mean of 'psnr' or 'ssim' over a set, also of 'bicubic'; None where it was not measured."""
        pictures = self.scores.get(row, [])
        if model == "bicubic":
            values = [getattr(next(iter(each.values())).bicubic, metric) for each in pictures]
        else:
            values = [getattr(each[model], metric) for each in pictures if model in each]
        return statistics.fmean(values) if values else None


def measure(data: Path, runs: Path, say: Callable[[str], object] = lambda line: None) -> Measured:
    """All models that ship or whose weights are in ``runs``, on all sets of the papers that are under ``data``/test, at
    x2, x3 and x4.

    Raises InputError where there is no set.
    """
    folders = {row: data / "test" / row[0] for row in published.ROWS if (data / "test" / row[0]).is_dir()}
    if not folders:
        raise InputError(f"no test set in '{data}'; it should hold test/Set5 or test/Set14, folders of pictures")
    result = Measured({}, {}, {}, 1 / seconds_of("fsrcnn-s", 3, [frame(REAL_TIME_SIDE)] * REPEATS)[1])
    for row, folder in folders.items():
        say(f"{row[0]} x{row[1]}")
        here = models(row[1], runs)
        result.scores[row] = list(scores(folder, row[1], {name: network(weights) for name, weights in here.items()}))
        whole = [crop_to_multiple(load_luma(path), row[1]) for path in list_images(folder)]
        low = [to_bytes(imresize(luma, 1 / row[1])) for luma in whole]
        for name, weights in here.items():
            model = MODELS[name] if ships(MODELS[name], row[1]) else weights
            result.engines[name], result.seconds[row, name] = seconds_of(model, row[1], low)
    return result


def ships(model: str, scale: int) -> bool:
    return model in (entries := catalogue()) and scale in entries[model].files


def models(scale: int, runs: Path) -> dict[str, Weights]:
    """By the papers' names, the float weights that ship, and for others those that `vsr train` wrote to ``runs``."""
    found = {}
    for name, model in MODELS.items():
        file = runs / f"{model}_x{scale}.safetensors"
        if ships(model, scale):
            found[name] = load(model, scale)
        elif file.is_file():
            found[name] = load_file(file, scale)
            if found[name].network != NETWORKS[model]:
                raise InputError(f"'{file}' holds another network: {found[name].network}")
    return found


def seconds_of(model: str | Weights, scale: int, pictures: list[np.ndarray]) -> tuple[str, float]:
    """The engine that a model has here, and the mean of what it takes for a picture: for each the median of some runs,
    of which no two in a row have a row of pixels in common."""
    medians = []
    with open_engine(model, scale) as engine:
        for picture in pictures:
            turned = np.ascontiguousarray(picture[::-1, ::-1])
            seconds = []
            for number in range(RUNS):
                start = time.perf_counter()
                engine.upscale(turned if number % 2 else picture)
                seconds.append(time.perf_counter() - start)
            medians.append(statistics.median(seconds))
        return f"{engine.name} {engine.precision}", statistics.fmean(medians)


def frame(side: int) -> np.ndarray:
    """Noise, in which no row is like another."""
    return np.random.default_rng(0).integers(16, 236, (side, side), np.uint8)


def cards(runs: Path) -> dict[str, dict[str, Any]]:
    """The cards of `vsr train`, by recipe: those that ship, and those in ``runs``. Raises InputError where that is no
    folder, and for a JSON file that cannot be read."""
    if runs.exists() and not runs.is_dir():
        raise InputError(f"'{runs}' is not a folder")
    found = {}
    for folder in (assets_dir() / "weights", runs):
        for path in sorted(folder.glob("*.json")):
            try:
                card = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError) as error:
                raise InputError(f"'{path}' is no card: {error}") from None
            if isinstance(card, dict) and card.keys() >= {"recipe", "scores", "iterations", "scale"}:
                found[path.stem] = card
    return found


def compared(ours: float | None, theirs: float | None, form: str = ".2f") -> str:
    """'ours ≥ theirs', or <, both as printed; a dash for what there is not."""
    if ours is None:
        return NONE if theirs is None else f"{NONE} / {theirs:{form}}"
    if theirs is None:
        return f"{ours:{form}}"
    mark = "≥" if float(f"{ours:{form}}") >= float(f"{theirs:{form}}") else "<"
    return f"{ours:{form}} {mark} {theirs:{form}}"


def table(head: Sequence[str], lines: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"
    yield ""


def report(measured: Measured, trained: dict[str, dict[str, Any]]) -> str:
    """The Markdown page; ``trained`` are the `cards`."""
    return "\n".join(_page(measured, trained)).rstrip() + "\n"


def _page(measured: Measured, trained: dict[str, dict[str, Any]]) -> Iterator[str]:
    sets = ", ".join(dict.fromkeys(folder for folder, _ in measured.scores))
    yield from (
        "# The papers' numbers", "",
        f"Made by `vsr papers --data DIR` with {sets}, on {cpu()['name']}; vsr {vsr.__version__}.", "",
        "Each cell is VSR's number, ≥ or < the published one; with a dash VSR has none. PSNR and SSIM are of luma, by "
        "the papers' test protocol, of the float networks with the weights that ship (`vsr models`); SRCNN's are of "
        "`vsr train`, and do not. [E14], [P16] and [F16] are the papers as README names them; their numbers stand in "
        "`vsr/papers/published.py`. BSD200 is not at hand, and the information fidelity criterion is not measured.", "",
        "## PSNR in dB, the best of each", "",
        "[F16, tables 4 to 6]: FSRCNN and FSRCNN-s were trained on the 91 images and General-100, SRCNN and SRCNN-Ex "
        "on ImageNet; VSR's on the sets that their cards name.", "")
    rows = list(measured.scores)
    names = ["bicubic", *MODELS]
    head = ["set", "×", *names]

    def best(metric: str, form: str) -> Iterator[Sequence[str]]:
        for row in rows:
            cells = []
            for name in names:
                theirs = BEST[name].get(row)
                known = theirs and not (metric == "ssim" and (name, row) in published.MISPRINTS)
                cells.append(compared(measured.average(row, name, metric), getattr(theirs, metric) if known else None,
                                      form))
            yield [row[0], str(row[1]), *cells]

    yield from table(head, best("psnr", ".2f"))
    yield from ("## SSIM, of the same", "", "What [F16, table 5] prints for bicubic on Set5 at ×3 is the number of ×2, "
                "and is left out.", "")
    yield from table(head, best("ssim", ".4f"))
    yield from ("## PSNR in dB, trained on the 91 images alone", "",
                "[F16, table 3]. VSR's are of the papers' own training (`vsr train paper-…`), where it was run; the "
                "design studies say how far.", "")
    yield from table(["set", "×", *RECIPES_91], (
        [row[0], str(row[1]), *(compared(of_card(trained.get(f"{recipe}_x{row[1]}"), row[0]),
                                         published.PSNR_91[name].get(row)) for name, recipe in RECIPES_91.items())]
        for row in rows))
    yield from ("## Picture by picture", "",
                "PSNR in dB. SRCNN [E14, tables 1 and 2], the others [F16, figures 7 and 8].", "")
    yield from table(["picture", "set", "×", "bicubic", *MODELS], _pictures(measured))
    yield from _times(measured, rows)
    yield from _sizes()
    yield from _studies(trained)


def of_card(card: dict[str, Any] | None, folder: str, metric: str = "psnr") -> float | None:
    """A score that a card holds."""
    return card["scores"].get(folder, {}).get(metric) if card else None


def _pictures(measured: Measured) -> Iterator[Sequence[str]]:
    for (folder, scale), pictures in published.PICTURES.items():
        each_picture = measured.scores.get((folder, scale), [])
        found = {picture_name(next(iter(each.values())).name): each for each in each_picture}
        for name, (bicubic, srcnn) in pictures.items():
            if name not in found:
                continue
            theirs = {"SRCNN": srcnn, **(published.FIGURES.get((folder, name), {}) if scale == 3 else {})}
            ours = found[name]
            yield [name, folder, str(scale), compared(next(iter(ours.values())).bicubic.psnr, bicubic),
                   *(compared(ours[model].psnr if model in ours else None, theirs.get(model)) for model in MODELS)]


def picture_name(file: str) -> str:
    """'baby' of baby_GT.bmp."""
    return Path(file).stem.partition("_")[0]


def _times(measured: Measured, rows: list[Row]) -> Iterator[str]:
    engines = ", ".join(f"{name}: {engine}" for name, engine in measured.engines.items())
    yield from (
        "## Time", "",
        f"Milliseconds a picture, luma in memory to luma in memory, by the engine that `auto` takes ({engines}); the "
        "published ones are of C++ on an Intel i7 of 4.0 GHz [F16, table 3]. Less is better.", "")

    def cells(row: Row) -> Iterator[str]:
        for name in published.SECONDS:
            ours, theirs = measured.seconds.get((row, name)), published.SECONDS[name][row] * 1000
            yield f"{NONE} / {theirs:.3g}" if ours is None else (
                f"{ours * 1000:.3g} {'≤' if ours * 1000 <= theirs else '>'} {theirs:.3g}")

    yield from table(["set", "×", *published.SECONDS], ([row[0], str(row[1]), *cells(row)] for row in rows))
    side = REAL_TIME_SIDE * 3
    yield from (f"FSRCNN-s at ×3 to {side}×{side}: {measured.fps:.0f} frames a second; [F16, section 4.3] has "
                f"{published.REAL_TIME} at 760×760.", "")


def _sizes() -> Iterator[str]:
    yield from ("## Weights and multiplications", "",
                "Both follow from the descriptions in `vsr/models/networks.py`. The last column says how many times "
                "fewer multiplications than SRCNN-Ex' a network does at ×3 [F16, table 1].", "")
    ex = NETWORKS["srcnn-ex"].multiplications(3)

    def lines() -> Iterator[Sequence[str]]:
        for name, count in published.PARAMETERS.items():
            fewer = ex / NETWORKS[name].multiplications(3)
            theirs = published.SPEEDUPS[name][1] if name in published.SPEEDUPS else None
            yield [name, equal(NETWORKS[name].parameters, count, ",d"), equal(fewer, theirs, ".1f")]

    yield from table(["network", "weights", "fewer"], lines())


def equal(ours: float, theirs: float | None, form: str) -> str:
    """Numbers that follow from a description: 'ours = theirs', or ≠."""
    if theirs is None:
        return f"{ours:{form}}"
    return f"{ours:{form}} {'=' if f'{ours:{form}}' == f'{theirs:{form}}' else '≠'} {theirs:{form}}"


def _studies(trained: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield from (
        "## Design studies", "",
        "PSNR in dB on Set5 at ×3, ×2 where the recipe says so; a difference has its sign. VSR repeats them with `vsr "
        "train RECIPE` on the 91 images, or as the line says; the last column says how much of the paper's 8·10⁸ "
        "backprops that had: a small share says that the recipe runs, not what it leads to. General-100 could not be "
        "had: photographs stand in for it, which the card names.", "")

    def lines() -> Iterator[Sequence[str]]:
        for study in published.STUDIES:
            card = trained.get(study.recipe)
            share = f"{card['iterations'] * card['recipe']['batch'] / 8e8:.3g}" if card else NONE
            if study.against is None:
                cell = compared(of_card(card, "Set5"), study.psnr)
            else:
                found = difference(study, trained)
                ours = NONE if found is None else f"{found:+.2f}"
                cell = ours if study.difference is None else f"{ours} / {study.difference:+.2f}"
            yield [study.what, cell, study.recipe, study.source, share]

    yield from table(["study", "VSR, published", "recipe", "source", "share"], lines())


def difference(study: published.Study, trained: dict[str, dict[str, Any]]) -> float | None:
    """What a study's recipe gains on Set5 over the one that it is taken against, None where one was not run."""
    card = trained.get(study.recipe)
    metric = "rgb" if "RGB" in study.what else "psnr"
    ours = of_card(card, "Set5", metric)
    other = card if study.against == "bicubic" else trained.get(study.against or "")
    theirs = of_card(other, "Set5", f"bicubic_{metric}" if study.against == "bicubic" else metric)
    return None if ours is None or theirs is None else ours - theirs
