"""The papers' figures, from VSR's own measurements, training logs and weights; needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from vsr.errors import OutputError, UsageError
from vsr.models.catalogue import Weights
from vsr.models.fsrcnn import Net
from vsr.papers import published
from vsr.papers.report import MODELS, Measured, models
from vsr.quality.protocol import crop_to_multiple, imresize, list_images, load_luma

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = ("Set14", 3)  # the set and scale of the papers' figures of speed
PICTURE = "butterfly"  # of Set5, for feature maps
MAPS = 16  # of a layer that are shown


def check() -> None:
    """Raise UsageError where there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError("plots need matplotlib, which is not installed; pip install 'vsr[plots]'") from None


def draw(out: Path, measured: Measured, cards: dict[str, dict[str, Any]], data: Path, runs: Path) -> list[Path]:
    """Write all figures that there is something for, as PNG into the folder ``out``; returns their paths. ``runs`` is
    that of `measure`."""
    check()
    figures: dict[str, Figure] = {"psnr_time": psnr_against_time(measured)}
    if logs := {name: card for name, card in cards.items() if card.get("log")}:
        figures["convergence"] = convergence(logs)
    for weights in models(SHOWN[1], runs).values():
        model, title = f"{weights.name}_x{weights.scale}", f"of {weights.name}, ×{weights.scale}, by their variance"
        figures[f"filters_{model}"] = kernels(weights.layers[0].weight[:, 0], f"First-layer filters {title}")
        if weights.deconvolution is not None:
            figures[f"deconvolution_{model}"] = kernels(weights.deconvolution, f"Deconvolution kernels {title}")
        if (data / "test" / "Set5").is_dir():
            figures[f"maps_{model}"] = feature_maps(weights, data / "test" / "Set5")
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            figure.savefig(out / f"{name}.png", dpi=120)
            written.append(out / f"{name}.png")
    except OSError as error:
        raise OutputError(f"cannot write to '{out}': {error.strerror}") from None
    return written


def new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def psnr_against_time(measured: Measured) -> Figure:
    """[E14, figure 4; F16, figure 1]: faster is to the right."""
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    e14 = {f"{name} [E14]": (seconds, psnr) for name, (psnr, seconds) in published.OTHERS.items()
           if name not in published.SECONDS}
    f16 = {f"{name} [F16]": (found[SHOWN], published.BEST[name][SHOWN].psnr)
           for name, found in published.SECONDS.items()}
    ours = {f"{name}, VSR": (seconds, psnr) for name in MODELS
            if (seconds := measured.seconds.get((SHOWN, name))) is not None
            and (psnr := measured.average(SHOWN, name, "psnr")) is not None}
    for points, marker in ((e14, "o"), (f16, "s"), (ours, "*")):
        for name, (seconds, psnr) in points.items():
            axes.plot(seconds, psnr, marker, markersize=12 if marker == "*" else 7)
            axes.annotate(name, (seconds, psnr), (6, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlabel="seconds a picture (each on its own machine); faster to the right",
             ylabel="PSNR in dB", title=f"{SHOWN[0]}, ×{SHOWN[1]}")
    axes.margins(x=0.12)
    axes.invert_xaxis()
    axes.grid(alpha=0.3)
    return figure


def convergence(cards: dict[str, dict[str, Any]]) -> Figure:
    """[P16, figures 4 and 7 to 10; F16, figures 5 and 6], on the validation pictures instead of a test set."""
    scales = sorted({card["scale"] for card in cards.values()})
    figure = new_figure(8, 4.5 * len(scales))
    for number, scale in enumerate(scales):
        axes = figure.add_subplot(len(scales), 1, number + 1)
        for name, card in cards.items():
            if card["scale"] == scale:
                backprops = [entry["iteration"] * card["recipe"]["batch"] for entry in card["log"]]
                axes.plot(backprops, [entry["psnr"] for entry in card["log"]], label=name)
        axes.set(xlabel="backprops (one sub-image each)", ylabel="PSNR in dB, validation", title=f"×{scale}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def kernels(weight: np.ndarray, title: str) -> Figure:
    """[E14, figure 5; F16, figure 3]: kernels (count, k, k), each from black for its least to white for its most."""
    order = np.argsort(-weight.var((1, 2)))
    return grid([weight[index] for index in order], title)


def grid(pictures: list[np.ndarray], title: str, columns: int = 16) -> Figure:
    rows = -(-len(pictures) // columns)
    figure = new_figure(columns * 0.6, rows * 0.6 + 0.6)
    figure.suptitle(title, fontsize=10)
    for number, picture in enumerate(pictures):
        show(figure.add_subplot(rows, columns, number + 1), picture)
    return figure


def show(axes: Axes, picture: np.ndarray) -> None:
    axes.imshow(picture, cmap="gray", interpolation="nearest")
    axes.set_axis_off()


def feature_maps(weights: Weights, folder: Path) -> Figure:
    """[P16, figure 6]: what the layers make of a picture; the maps of each that vary most."""
    path = next((path for path in list_images(folder) if path.stem.startswith(PICTURE)), list_images(folder)[0])
    luma = crop_to_multiple(load_luma(path), weights.scale)
    low = imresize(luma, 1 / weights.scale).astype(np.float32) / 255
    net = Net.from_weights(weights).eval()
    figure = new_figure(MAPS * 0.7, len(weights.layers) * 0.8 + 0.5)
    figure.suptitle(f"Feature maps of {weights.name}, ×{weights.scale}, {path.stem}: a row a layer", fontsize=10)
    with torch.inference_mode():
        maps = F.pad(torch.from_numpy(low)[None, None], (net.margin,) * 4, mode="replicate")
        if net.network.growth == "bicubic first":
            maps = net.enlarge(maps)
        for row, (convolution, activation) in enumerate(net.layers()):
            maps = convolution(maps)
            if activation is not None:
                maps = activation(maps)
            most = maps[0].flatten(1).var(1).argsort(descending=True)[:MAPS]
            for column, index in enumerate(most):
                show(figure.add_subplot(len(weights.layers), MAPS, row * MAPS + column + 1), maps[0, index].numpy())
    return figure
