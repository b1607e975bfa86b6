"""The shipped weights: what there is, and loading them without torch.

A weight file is a safetensors file that describes itself: its metadata holds the architecture, as
`vsr.models.networks` writes it, scale and padding; beside it lies a card (JSON) that the training command wrote:
recipe, data, iterations, scores.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UsageError
from vsr.models import family
from vsr.models.networks import DECONVOLUTION, NETWORKS, PADDING, SCALES, Convolution, Network, fsrcnn

COLOURS = {"Y": 1, "YCbCr": 3, "RGB": 3}  # what networks are of, and how many channels that is


@dataclass(frozen=True)
class Layer:
    """A convolution and what follows it: x -> max(x, 0) + slope·min(x, 0) with ``slope`` 0 for ReLU, 1 for nothing.

    ``weight`` (out, into, k, k), ``bias`` (out,), ``slope`` (out,); float32."""

    weight: np.ndarray
    bias: np.ndarray
    slope: np.ndarray

    def check(self, what: str, shape: Convolution) -> None:
        """Raise ValueError unless the arrays are those of a convolution of that shape."""
        check_array(f"{what}.weight", self.weight, (shape.out, shape.into, shape.side, shape.side))
        check_array(f"{what}.bias", self.bias, (shape.out,))
        check_array(f"{what}.slope", self.slope, (shape.out,))


@dataclass(frozen=True)
class Quantization:
    """The output layer in 8-bit integers: what precision int8 needs beside the weights, which were trained for it.

    Expanded map c becomes q = clip(rint(x / step[c]) + zero[c], 0, 255); ``step`` (d,) float32, ``zero`` (d,) uint8.
    Output phase p (a channel of `Weights.pixel_shuffle`) is weight_step[p] · Σ k·(q - zero) + bias with the
    integers k = weight · step[c] / weight_step[p] from -127 to 127; ``weight_step`` (n²,) float32. The sum is exact in
    32 bits.
    Raises ValueError for arrays that are not so, and for steps that are not above zero.
    """

    step: np.ndarray
    zero: np.ndarray
    weight_step: np.ndarray

    def __post_init__(self) -> None:
        for what in ("step", "weight_step"):
            array = getattr(self, what)
            check_array(f"quantization.{what}", array, (array.size,))
            if not (array > 0).all():
                raise ValueError(f"quantization.{what} holds {array.min()}, which is not above zero")
        if self.zero.dtype != np.uint8 or self.zero.shape != self.step.shape:
            raise ValueError(f"quantization.zero is {self.zero.dtype} {self.zero.shape}, not uint8 {self.step.shape}")

    @classmethod
    def covering(cls, lowest: np.ndarray, highest: np.ndarray, weight: np.ndarray) -> Quantization:
        """The finest steps for maps that reach from ``lowest`` to ``highest`` (d,), and for the pixel shuffle's
        ``weight`` (n², d, k, k)."""
        lowest, highest = np.minimum(lowest, 0), np.maximum(highest, 1e-6)
        step = ((highest - lowest) / 255).astype(np.float32)
        return cls(step, np.rint(-lowest / step).astype(np.uint8), cls.weight_steps(weight, step))

    @staticmethod
    def weight_steps(weight: np.ndarray, step: np.ndarray) -> np.ndarray:
        """The finest steps for the pixel shuffle's ``weight`` (n², d, k, k) of maps with these steps: (n²,) float32."""
        return (np.abs(weight * step[:, None, None]).max((1, 2, 3)) / 127).astype(np.float32)


@dataclass(frozen=True)
class Weights:
    """A network for one scale: everything an engine needs, as float32 arrays.

    The network reads luma codes divided by 255 (16 to 235 of 255) and writes the same.
    ``layers`` are its convolutions. ``deconvolution`` is (d, 9, 9), with stride ``scale``; output pixel ``n·y + a``
    takes tap ``k`` from input pixel ``i`` where ``n·i + k - padding == n·y + a``; networks without one have None, and
    no use for ``padding`` and ``bias``.
    ``quantization`` is there in weights for precision int8; their deconvolution is its integers times its steps.
    ``colours`` are the channels of the network: luma alone, or three of which R, G and B are of 0 to 255.
    Raises ValueError for arrays that do not fit together, and for numbers that are not finite.
    """

    name: str
    network: Network
    scale: int
    padding: int
    layers: tuple[Layer, ...]
    deconvolution: np.ndarray | None
    bias: float
    quantization: Quantization | None = None
    colours: str = "Y"

    def __post_init__(self) -> None:
        if COLOURS.get(self.colours) != self.network.channels:
            raise ValueError(f"a network of {self.network.channels} channels is not of '{self.colours}'")
        if self.scale not in SCALES or not 0 <= self.padding < DECONVOLUTION:
            raise ValueError(f"scale {self.scale} with padding {self.padding} is no network's")
        for what, layer, shape in zip(layer_names(self.network), self.layers, self.network.layers, strict=True):
            layer.check(what, shape)
        if (self.deconvolution is None) != (self.network.growth != "deconvolution"):
            raise ValueError(f"a deconvolution, or none, for '{self.network}'")
        if self.deconvolution is not None:
            d = self.network.layers[-1].out
            check_array("deconvolution.weight", self.deconvolution, (d, DECONVOLUTION, DECONVOLUTION))
            check_array("deconvolution.bias", np.array(self.bias, np.float32), ())
        if self.quantization and not self.network.sizes:
            raise ValueError(f"a quantization, which '{self.network}' has none")
        if self.quantization:
            check_array("quantization.step", self.quantization.step, (self.d,))
            check_array("quantization.weight_step", self.quantization.weight_step, (self.scale**2,))
            integers = self.kernel / self.unit(self.quantization)
            if np.abs(integers).max() > 127.01 or np.abs(integers - np.rint(integers)).max() > 0.01:
                raise ValueError("deconvolution.weight is not of the integers that its quantization has")

    @property
    def parameters(self) -> int:
        """Number of weights, without biases and slopes, as [F16] counts."""
        return self.network.parameters

    # Of FSRCNN(d, s, m), by the names that its parts have in [F16, section 3.1].

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
    def feature(self) -> Layer:
        return self.layers[0]

    @property
    def shrink(self) -> Layer:
        return self.layers[1]

    @property
    def mapping(self) -> tuple[Layer, ...]:
        return self.layers[2:-1]

    @property
    def expand(self) -> Layer:
        return self.layers[-1]

    @property
    def kernel(self) -> np.ndarray:
        """The deconvolution of a network that has one."""
        assert self.deconvolution is not None, self.network
        return self.deconvolution

    def pixel_shuffle(self) -> tuple[np.ndarray, int]:
        """The deconvolution as an exactly equal convolution followed by a pixel shuffle.

        Returns ``(weight, first)``: weight (n², d, k, k) float32, where output channel ``n·a + b`` makes output pixel
        (n·y + a, n·x + b) from input pixels y + first … y + first + k - 1 (and x likewise); taps outside the 9x9
        kernel are zero.
        """
        n, p, kernel = self.scale, self.padding, self.kernel
        offsets = [t for t in range(-DECONVOLUTION, DECONVOLUTION + 1)
                   if any(0 <= a + p - n * t < DECONVOLUTION for a in range(n))]
        first, k = offsets[0], len(offsets)
        weight = np.zeros((n, n, len(kernel), k, k), np.float32)
        for a in range(n):
            for b in range(n):
                for ty in offsets:
                    for tx in offsets:
                        ky, kx = a + p - n * ty, b + p - n * tx
                        if 0 <= ky < DECONVOLUTION and 0 <= kx < DECONVOLUTION:
                            weight[a, b, :, ty - first, tx - first] = kernel[:, ky, kx]
        return weight.reshape(n * n, len(kernel), k, k), first

    def quantized(self, quantization: Quantization) -> Weights:
        """These weights for precision int8: the deconvolution rounded to what its integers stand for."""
        unit = self.unit(quantization)
        rounded = np.clip(np.rint(self.kernel / unit), -127, 127) * unit
        return replace(self, deconvolution=rounded.astype(np.float32), quantization=quantization)

    def int8_pixel_shuffle(self) -> tuple[np.ndarray, int]:
        """`pixel_shuffle` in the integers of ``quantization``: weight (n², d, k, k) int8, and the same ``first``.

        Raises UsageError where the weights have no quantisation.
        """
        if self.quantization is None:
            raise UsageError(f"the weights of '{self.name}' have no 8-bit integers; use precision fp32, or weights of "
                             "a recipe for int8 (see 'vsr train list')")
        integers = np.rint(self.kernel / self.unit(self.quantization)).astype(np.float32)
        weight, first = replace(self, deconvolution=integers, quantization=None).pixel_shuffle()
        return weight.astype(np.int8), first

    def unit(self, quantization: Quantization) -> np.ndarray:
        """What 1 in the integer kernel stands for at each tap of the deconvolution, (d, 9, 9) float64."""
        phase = (np.arange(DECONVOLUTION) - self.padding) % self.scale
        steps = quantization.weight_step.reshape(self.scale, self.scale)[np.ix_(phase, phase)]
        return steps / quantization.step[:, None, None].astype(np.float64)


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue: its weight files by scale, and those for precision int8. ``bicubic`` has none, and no
    network. A family's files are those of the first of its ``members``, which are models, too."""

    name: str
    summary: str
    files: dict[int, Path]
    int8_files: dict[int, Path]
    network: Network | None
    members: tuple[str, ...] = ()

    def card(self, scale: int, precision: str = "fp32") -> dict[str, Any] | None:
        """The card beside the weights of ``scale`` for ``precision``, or None where the model has no such weights."""
        path = self.files_for(precision).get(scale)
        return json.loads(path.with_suffix(".json").read_text("utf-8")) if path else None

    def files_for(self, precision: str) -> dict[int, Path]:
        """The weight files by scale that an engine of ``precision`` takes: int8 has its own."""
        return self.int8_files if precision == "int8" else self.files

    @property
    def parameters(self) -> int:
        return self.network.parameters if self.network else 0

    @property
    def scales(self) -> tuple[int, ...]:
        return tuple(sorted(self.files)) if self.files else SCALES


SUMMARIES = {
    "fsrcnn-s": "FSRCNN-s (32,5,1): 3,937 weights, real time on a plain CPU",
    "fsrcnn": "FSRCNN (56,12,4): 12,464 weights, three times the work, a little sharper",
}

SUMMARIES |= {member: f"a member of {family.NAME}, for video of coarseness {bound:g} and more"
              for member, bound in zip(family.MEMBERS[1:], family.BOUNDS, strict=True)}
FAMILY = "FSRCNN-s for video as it is: of its members, the one that suits how each frame was compressed"


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

    def files(name: str, suffix: str) -> dict[int, Path]:
        paths = {n: assets_dir() / "weights" / f"{name}_x{n}{suffix}.safetensors" for n in SCALES}
        return {n: path for n, path in paths.items() if path.is_file()}

    for name, summary in SUMMARIES.items():
        if plain := files(name, ""):
            network = load_file(next(iter(plain.values()))).network
            entries[name] = Entry(name, summary, plain, files(name, "_int8"), network)
    if all(member in entries for member in family.MEMBERS):
        clean, *others = (entries[member] for member in family.MEMBERS)
        plain, int8 = ({n: path for n, path in clean.files_for(kind).items()
                        if all(n in other.files_for(kind) for other in others)} for kind in ("fp32", "int8"))
        if plain:
            entries[family.NAME] = Entry(family.NAME, FAMILY, plain, int8, clean.network, family.MEMBERS)
    entries["bicubic"] = Entry("bicubic", "Bicubic interpolation, a = -0.5: the baseline", {}, {}, None)
    return entries


def find(name: str, scale: int, precision: str = "fp32") -> Entry:
    """The entry of a model that has this scale, in this precision. Raises UsageError where there is none."""
    entries = catalogue()
    if name not in entries and name in NETWORKS:
        raise UsageError(f"no weights of '{name}' are shipped; train some (see 'vsr train list') and name their file "
                         "with --weights")
    if name not in entries:
        raise UsageError(f"unknown model '{name}'; there are: {', '.join(entries)}")
    if scale not in entries[name].scales:
        raise UsageError(f"model '{name}' has no scale {scale}; it has {', '.join(map(str, entries[name].scales))}")
    if not entries[name].files and precision not in ("auto", "fp32"):
        raise UsageError(f"{name} has no precision {precision}; use fp32")
    if entries[name].files and scale not in entries[name].files_for(precision):
        raise UsageError(f"model '{name}' has no weights for precision {precision} at scale {scale}; use fp32")
    return entries[name]


def load(name: str, scale: int, precision: str = "fp32") -> Weights:
    """The shipped weights of a model at a scale for a precision: int8 has its own, all others share theirs. Of a family
    they are those for clean pictures, under its name.

    Raises UsageError where there are none.
    """
    entry = find(name, scale, precision)
    if not entry.files:
        raise UsageError(f"model '{name}' has no weights")
    return replace(load_file(entry.files_for(precision)[scale]), name=name)


def load_members(name: str, scale: int, precision: str = "fp32") -> tuple[Weights, ...]:
    """The weights of a family's members, as `load` gives them; of other models none."""
    return tuple(load(member, scale, precision) for member in find(name, scale, precision).members)


def layer_names(network: Network) -> tuple[str, ...]:
    """What a weight file calls the convolutions."""
    if network.sizes is None:
        return tuple(f"layers.{i}" for i in range(len(network.layers)))
    return "feature", "shrink", *(f"mapping.{i}" for i in range(network.sizes[2])), "expand"


def load_file(path: Path | str, scale: int | None = None) -> Weights:
    """Weights from a safetensors file of ours. Raises UsageError where it is not one, or is not for ``scale``."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no weight file '{path}'")
    try:
        with safe_open(path, "np") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (AttributeError, OSError, SafetensorError, TypeError) as error:  # numpy has not all types of numbers
        raise UsageError(f"cannot read weights '{path}': {error}; 'vsr convert' reads those of others") from None
    try:
        # Files from before there were other networks than FSRCNN hold its three numbers.
        network = (fsrcnn(*(int(meta[key]) for key in "dsm")) if meta["architecture"] == "fsrcnn" else
                   Network.parse(meta["architecture"]))
        layers = tuple(
            Layer(tensors[f"{name}.weight"], bias := tensors[f"{name}.bias"], tensors[f"{name}.slope"]
                  if shape.activation == "PReLU" else np.full_like(bias, not shape.activation))
            for name, shape in zip(layer_names(network), network.layers, strict=True))
        made = network.growth == "deconvolution"
        weights = Weights(
            meta["name"], network, int(meta["scale"]), int(meta["padding"]), layers,
            tensors["deconvolution.weight"][:, 0] if made else None,
            float(tensors["deconvolution.bias"][0]) if made else 0.0,
            Quantization(*(tensors[f"quantization.{key}"] for key in ("step", "zero", "weight_step")))
            if "quantization.step" in tensors else None, meta.get("colours", "Y"))
    except KeyError as error:
        raise UsageError(f"weights '{path}' lack {error}; only what 'vsr train' and 'vsr convert' write can be read"
                         ) from None
    except (IndexError, TypeError, ValueError) as error:
        raise UsageError(f"weights '{path}' are malformed: {error}") from None
    if scale not in (None, weights.scale):
        raise UsageError(f"weights '{path}' are for scale {weights.scale}, not {scale}")
    return weights


def save_file(path: Path | str, weights: Weights) -> None:
    """Write weights so that `load_file` reads them back; the parent folder must exist."""
    from safetensors.numpy import save

    tensors: dict[str, np.ndarray] = {}
    for name, layer, shape in zip(layer_names(weights.network), weights.layers, weights.network.layers, strict=True):
        tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
        if shape.activation == "PReLU":
            tensors[f"{name}.slope"] = layer.slope
    if weights.deconvolution is not None:
        tensors |= {"deconvolution.weight": weights.deconvolution[:, None],
                    "deconvolution.bias": np.array([weights.bias], np.float32)}
    if weights.quantization:
        tensors |= {f"quantization.{key}": value for key, value in vars(weights.quantization).items()}
    meta = {"architecture": weights.network, "name": weights.name, "scale": weights.scale, "padding": weights.padding,
            "colours": weights.colours}
    content = save({key: np.ascontiguousarray(value) for key, value in tensors.items()},
                   {key: str(value) for key, value in meta.items()})
    write_whole(Path(path), content)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that it is never seen half written."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def random_weights(d: int, s: int, m: int, scale: int, seed: int = 0, quantized: bool = False) -> Weights:
    """Untrained weights of plausible size (He-like), for tests and benchmarks.

    With ``quantized`` they have a quantisation that fits what noise makes of them.
    """
    rng = np.random.default_rng(seed)

    def layer(o: int, i: int, k: int) -> Layer:
        weight = rng.standard_normal((o, i, k, k)) * np.sqrt(2 / (i * k * k))
        draws = weight, rng.standard_normal(o) * 0.05, rng.uniform(0, 0.3, o)
        return Layer(*(draw.astype(np.float32) for draw in draws))

    deconvolution = rng.standard_normal((d, DECONVOLUTION, DECONVOLUTION)) * 0.7 * scale / np.sqrt(d * DECONVOLUTION**2)
    network = fsrcnn(d, s, m)
    layers = tuple(layer(shape.out, shape.into, shape.side) for shape in network.layers)
    weights = Weights(f"random-{d}-{s}-{m}", network, scale, PADDING[scale], layers, deconvolution.astype(np.float32),
                      0.4)
    if not quantized:
        return weights
    maps = rng.uniform(0, 1, (1, 40, 40))
    for each in weights.layers:
        windows = np.lib.stride_tricks.sliding_window_view(maps, each.weight.shape[2:], (1, 2))
        maps = np.tensordot(each.weight, windows, ((1, 2, 3), (0, 3, 4))) + each.bias[:, None, None]
        maps = np.where(maps > 0, maps, maps * each.slope[:, None, None])
    fitting = Quantization.covering(maps.min((1, 2)), maps.max((1, 2)), weights.pixel_shuffle()[0])
    return weights.quantized(fitting)
