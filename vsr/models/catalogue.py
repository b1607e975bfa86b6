"""The shipped weights: what there is, and loading them without torch.

A weight file is a safetensors file that describes itself: its metadata holds architecture, sizes, scale and padding;
beside it lies a card (JSON) that the training command wrote: recipe, data, iterations, scores.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UsageError

SCALES = (2, 3, 4)
DECONVOLUTION = 9  # side of the deconvolution kernel [F16]
PADDING = {2: 4, 3: 3, 4: 3}  # crop of the deconvolution that centres its kernel on the pixel it makes


@dataclass(frozen=True)
class Layer:
    """A convolution with PReLU. ``weight`` (out, in, k, k), ``bias`` (out,), ``slope`` (out,); float32."""

    weight: np.ndarray
    bias: np.ndarray
    slope: np.ndarray

    def check(self, what: str, out: int, into: int, side: int) -> None:
        """Raise ValueError unless the arrays are those of a convolution of that shape."""
        check_array(f"{what}.weight", self.weight, (out, into, side, side))
        check_array(f"{what}.bias", self.bias, (out,))
        check_array(f"{what}.slope", self.slope, (out,))


@dataclass(frozen=True)
class FsrcnnWeights:
    """FSRCNN(d, s, m) for one scale [F16, section 3]: everything an engine needs, as float32 arrays.

    The network reads luma codes divided by 255 (16 to 235 of 255) and writes the same.
    ``mapping`` holds the m 3x3 layers. ``deconvolution`` is (d, 9, 9), with stride ``scale``; output pixel ``n·y + a``
    takes tap ``k`` from input pixel ``i`` where ``n·i + k - padding == n·y + a``.
    Raises ValueError for arrays that do not fit together, and for numbers that are not finite.
    """

    name: str
    scale: int
    padding: int
    feature: Layer
    shrink: Layer
    mapping: tuple[Layer, ...]
    expand: Layer
    deconvolution: np.ndarray
    bias: float

    def __post_init__(self) -> None:
        if self.scale not in SCALES or not 0 <= self.padding < DECONVOLUTION:
            raise ValueError(f"scale {self.scale} with padding {self.padding} is no FSRCNN")
        self.feature.check("feature", self.d, 1, 5)
        self.shrink.check("shrink", self.s, self.d, 1)
        for i, layer in enumerate(self.mapping):
            layer.check(f"mapping.{i}", self.s, self.s, 3)
        self.expand.check("expand", self.d, self.s, 1)
        check_array("deconvolution.weight", self.deconvolution, (self.d, DECONVOLUTION, DECONVOLUTION))
        check_array("deconvolution.bias", np.array(self.bias, np.float32), ())

    @property
    def d(self) -> int:
        return len(self.feature.bias)

    @property
    def s(self) -> int:
        return len(self.shrink.bias)

    @property
    def m(self) -> int:
        return len(self.mapping)

    @property
    def parameters(self) -> int:
        """Number of weights, without biases and slopes, as [F16] counts."""
        layers = (self.feature, self.shrink, *self.mapping, self.expand)
        return sum(layer.weight.size for layer in layers) + self.deconvolution.size

    def pixel_shuffle(self) -> tuple[np.ndarray, int]:
        """The deconvolution as an exactly equal convolution followed by a pixel shuffle.

        Returns ``(weight, first)``: weight (n², d, k, k) float32, where output channel ``n·a + b`` makes output pixel
        (n·y + a, n·x + b) from input pixels y + first … y + first + k - 1 (and x likewise); taps outside the 9x9
        kernel are zero.
        """
        n, p = self.scale, self.padding
        offsets = [t for t in range(-DECONVOLUTION, DECONVOLUTION + 1)
                   if any(0 <= a + p - n * t < DECONVOLUTION for a in range(n))]
        first, k = offsets[0], len(offsets)
        weight = np.zeros((n, n, self.d, k, k), np.float32)
        for a in range(n):
            for b in range(n):
                for ty in offsets:
                    for tx in offsets:
                        ky, kx = a + p - n * ty, b + p - n * tx
                        if 0 <= ky < DECONVOLUTION and 0 <= kx < DECONVOLUTION:
                            weight[a, b, :, ty - first, tx - first] = self.deconvolution[:, ky, kx]
        return weight.reshape(n * n, self.d, k, k), first


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue: its weight files by scale (none for ``bicubic``)."""

    name: str
    summary: str
    files: dict[int, Path]
    parameters: int

    def card(self, scale: int) -> dict[str, Any] | None:
        """The card beside the weights of ``scale``, or None where the model has no weights."""
        path = self.files.get(scale)
        return json.loads(path.with_suffix(".json").read_text("utf-8")) if path else None

    @property
    def scales(self) -> tuple[int, ...]:
        return tuple(sorted(self.files)) if self.files else SCALES


SUMMARIES = {
    "fsrcnn-s": "FSRCNN-s (32,5,1): 3,937 weights, real time on a plain CPU",
    "fsrcnn": "FSRCNN (56,12,4): 12,464 weights, three times the work, a little sharper",
}


def check_array(what: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``array`` is float32, finite, of ``shape`` and not empty."""
    if array.dtype != np.float32 or array.shape != shape or 0 in shape:
        raise ValueError(f"{what} is {array.dtype} {array.shape}, not float32 {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} holds numbers that are not finite")


def assets_dir() -> Path:
    """The folder of shipped files: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "assets"
    return installed if installed.is_dir() else package.parent / "assets"


def catalogue() -> dict[str, Entry]:
    """All models by name, the default first."""
    entries: dict[str, Entry] = {}
    for name, summary in SUMMARIES.items():
        files = {n: path for n in SCALES if (path := assets_dir() / "weights" / f"{name}_x{n}.safetensors").is_file()}
        if files:
            entries[name] = Entry(name, summary, files, load_file(next(iter(files.values()))).parameters)
    entries["bicubic"] = Entry("bicubic", "Bicubic interpolation, a = -0.5: the baseline", {}, 0)
    return entries


def find(name: str, scale: int) -> Entry:
    """The entry of a model that has this scale. Raises UsageError where there is none."""
    entries = catalogue()
    if name not in entries:
        raise UsageError(f"unknown model '{name}'; there are: {', '.join(entries)}")
    if scale not in entries[name].scales:
        raise UsageError(f"model '{name}' has no scale {scale}; it has {', '.join(map(str, entries[name].scales))}")
    return entries[name]


def load(name: str, scale: int) -> FsrcnnWeights:
    """The shipped weights of a model at a scale. Raises UsageError for a name or scale that there is not."""
    entry = find(name, scale)
    if not entry.files:
        raise UsageError(f"model '{name}' has no weights")
    return load_file(entry.files[scale])


def load_file(path: Path | str, scale: int | None = None) -> FsrcnnWeights:
    """Weights from a safetensors file of ours. Raises UsageError where it is not one, or is not for ``scale``."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no weight file '{path}'")
    try:
        with safe_open(path, "np") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot read weights '{path}': {error}") from None
    try:
        if meta["architecture"] != "fsrcnn":
            raise UsageError(f"weights '{path}' are of architecture '{meta['architecture']}', not 'fsrcnn'")

        def layer(key: str) -> Layer:
            return Layer(tensors[f"{key}.weight"], tensors[f"{key}.bias"], tensors[f"{key}.slope"])

        weights = FsrcnnWeights(
            name=meta["name"], scale=int(meta["scale"]), padding=int(meta["padding"]),
            feature=layer("feature"), shrink=layer("shrink"),
            mapping=tuple(layer(f"mapping.{i}") for i in range(int(meta["m"]))), expand=layer("expand"),
            deconvolution=tensors["deconvolution.weight"][:, 0], bias=float(tensors["deconvolution.bias"][0]))
        if [weights.d, weights.s, weights.m] != [int(meta[key]) for key in ("d", "s", "m")]:
            raise ValueError(f"FSRCNN({weights.d},{weights.s},{weights.m}) is not what its metadata says")
    except KeyError as error:
        raise UsageError(f"weights '{path}' lack {error}; only weights written by 'vsr train' can be read") from None
    except (ValueError, IndexError) as error:
        raise UsageError(f"weights '{path}' are malformed: {error}") from None
    if scale not in (None, weights.scale):
        raise UsageError(f"weights '{path}' are for scale {weights.scale}, not {scale}")
    return weights


def save_file(path: Path | str, weights: FsrcnnWeights) -> None:
    """Write weights so that `load_file` reads them back; the parent folder must exist."""
    from safetensors.numpy import save

    tensors = {"deconvolution.weight": weights.deconvolution[:, None],
               "deconvolution.bias": np.array([weights.bias], np.float32)}
    layers = {"feature": weights.feature, "shrink": weights.shrink, "expand": weights.expand,
              **{f"mapping.{i}": layer for i, layer in enumerate(weights.mapping)}}
    for key, layer in layers.items():
        tensors |= {f"{key}.weight": layer.weight, f"{key}.bias": layer.bias, f"{key}.slope": layer.slope}
    meta = {"architecture": "fsrcnn", "name": weights.name, "scale": weights.scale, "padding": weights.padding,
            "d": weights.d, "s": weights.s, "m": weights.m}
    content = save({key: np.ascontiguousarray(value) for key, value in tensors.items()},
                   {key: str(value) for key, value in meta.items()})
    write_whole(Path(path), content)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that it is never seen half written."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def random_weights(d: int, s: int, m: int, scale: int, seed: int = 0) -> FsrcnnWeights:
    """Untrained weights of plausible size (He-like), for tests and benchmarks."""
    rng = np.random.default_rng(seed)

    def layer(o: int, i: int, k: int) -> Layer:
        weight = rng.standard_normal((o, i, k, k)) * np.sqrt(2 / (i * k * k))
        draws = weight, rng.standard_normal(o) * 0.05, rng.uniform(0, 0.3, o)
        return Layer(*(draw.astype(np.float32) for draw in draws))

    deconvolution = rng.standard_normal((d, DECONVOLUTION, DECONVOLUTION)) * 0.7 * scale / np.sqrt(d * DECONVOLUTION**2)
    return FsrcnnWeights(f"random-{d}-{s}-{m}", scale, PADDING[scale], layer(d, 1, 5), layer(s, d, 1),
                         tuple(layer(s, s, 3) for _ in range(m)), layer(d, s, 1),
                         deconvolution.astype(np.float32), 0.4)
