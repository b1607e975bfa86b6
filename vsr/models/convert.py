"""Weights from elsewhere made ours: FSRCNN as PyTorch's state dicts and TensorFlow's frozen graphs hold it.

Nothing in a file is ever run: state dicts are read as tensors alone, graphs by a reader of our own that knows the few
operations of such networks. What is not wholly understood is refused.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import InputError
from vsr.models.catalogue import Layer, Weights
from vsr.models.networks import DECONVOLUTION, PADDING, SCALES, fsrcnn

LARGEST = 16 << 20  # bytes of a file; FSRCNN's weights are well below one million
DEEPEST = 3  # how deep inside a checkpoint a state dict is looked for
PYTORCH_PADDING = 4  # the public implementations have nn.ConvTranspose2d(d, 1, 9, stride=n, padding=9 // 2, …)
GREYS, GREY_ERROR = (0.25, 0.5, 0.75), 0.08  # at a wrong scale a grey is wrong by a factor of 16/9 or more


class Foreign(ValueError):
    """Why a file cannot be converted, as the rest of a sentence that begins with its name."""


def convert(path: Path, name: str, luma: str | None = None) -> tuple[Weights, dict[str, Any]]:
    """The weights in a PyTorch state dict (.pth, .pt) or a TensorFlow frozen graph (.pb), as ``name``, and their card.

    ``luma`` is what the network was made for: 'limited', codes from 16 to 235 over 255, or 'full', black 0 and white 1,
    which is then folded into its first and last layer. None is 'limited' for a state dict, as the papers have it, and
    'full' for a graph, as OpenCV's dnn_superres feeds it.
    The scale is the one at which a flat grey stays what it is. Layers that the original pads with zeros see a
    replicated border here; away from it by half the receptive field, both make the same.
    Raises InputError where the file cannot be read or holds no FSRCNN.
    """
    try:
        if not path.is_file():
            raise Foreign("is no file")
        if path.stat().st_size > LARGEST:
            raise Foreign(f"is larger than {LARGEST >> 20} MB, which no weights of FSRCNN are")
        content = path.read_bytes()
        with np.errstate(all="ignore"):  # numbers beyond all bounds are refused in the end
            if content[:2] in (b"PK", b"\x80\x02"):  # what torch.save writes, as a zip file or as a bare pickle
                kind, usual, weights = "PyTorch state dict", "limited", from_state_dict(state_dict(content))
            else:
                kind, usual, weights = "TensorFlow frozen graph", "full", from_graph(content)
            luma = luma or usual
            weights = replace(weights if luma == "limited" else for_luma(weights, "limited"), name=name)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}") from None
    except Foreign as error:
        raise InputError(f"'{path}' {error}") from None
    except ValueError as error:  # from the check of the arrays
        raise InputError(f"'{path}' holds no FSRCNN: {error}") from None
    return weights, {
        "model": name, "scale": weights.scale, "network": str(weights.network),
        "parameters": weights.parameters, "luma": luma,
        "source": {"file": path.name, "format": kind, "sha256": hashlib.sha256(content).hexdigest()}}


def for_luma(weights: Weights, luma: str) -> Weights:
    """Weights that do with ``luma`` what these do with the other: 'limited', from 16 to 235 of 255, or 'full', from 0
    to 1. The border is replicated, so each feature sees all of its taps, and an offset is one more bias."""
    gain, offset = (219 / 255, 16 / 255) if luma == "full" else (255 / 219, -16 / 219)  # other = gain · luma + offset
    kernel = weights.feature.weight.astype(np.float64)
    bias = weights.feature.bias + offset * kernel.sum((1, 2, 3))
    feature = Layer((gain * kernel).astype(np.float32), bias.astype(np.float32), weights.feature.slope)
    return replace(weights, layers=(feature, *weights.layers[1:]), bias=(weights.bias - offset) / gain,
                   deconvolution=(weights.kernel / gain).astype(np.float32), quantization=None)


def assembled(layers: list[Layer], output: np.ndarray, bias: np.ndarray) -> Weights:
    """FSRCNN of the ``layers`` before the output layer and of that one: a deconvolution (d, 1, 9, 9), or a centred
    convolution (n², d, k, k) before a pixel shuffle; ``bias`` has one number, or an equal one for each phase.

    Raises ValueError where they make no FSRCNN, or one that turns a flat grey into something else.
    """
    shapes = ", ".join("x".join(map(str, kernel.shape)) for kernel in (*(layer.weight for layer in layers), output))
    sides = {n * n: n for n in SCALES}
    if len(layers) < 3 or output.ndim != 4 or (output.shape[1] != 1 and len(output) not in sides):
        raise Foreign(f"holds no FSRCNN: the kernels of its layers are {shapes}")
    if np.ptp(bias) > 0:
        raise Foreign("has another bias for each phase of its output layer, and weights of VSR have one for all")
    if output.shape[1] == 1:
        made = [(n, PYTORCH_PADDING, output[:, 0]) for n in SCALES]
    else:
        n = sides[len(output)]
        made = [(n, PADDING[n], deconvolution(output, n))]
    network = fsrcnn(len(layers[0].bias), len(layers[1].bias), len(layers) - 3)
    copies = tuple(Layer(*map(np.array, vars(layer).values())) for layer in layers)
    for n, padding, kernel in made:
        weights = Weights("", network, n, padding, copies, np.array(kernel), float(bias[0]))
        if keeps_grey(weights):
            return weights
    raise Foreign("holds no network from luma to luma: at none of its possible scales, "
                  f"{', '.join(str(n) for n, _, _ in made)}, does a flat grey come out as it goes in")


def deconvolution(shuffle: np.ndarray, n: int) -> np.ndarray:
    """The deconvolution (d, 9, 9), with padding PADDING[n], that equals a centred convolution (n², d, k, k) before a
    pixel shuffle: what `Weights.pixel_shuffle` undoes. Raises ValueError where it does not fit."""
    phases, d, rows, columns = shuffle.shape
    kernel = np.zeros((d, DECONVOLUTION, DECONVOLUTION), np.float32)
    for phase, row, column in np.ndindex(phases, rows, columns):
        a, b = divmod(phase, n)
        y, x = (at + PADDING[n] - n * (tap - side // 2) for at, tap, side in ((a, row, rows), (b, column, columns)))
        if rows % 2 == columns % 2 == 1 and 0 <= y < DECONVOLUTION and 0 <= x < DECONVOLUTION:
            kernel[:, y, x] = shuffle[phase, :, row, column]
        elif shuffle[phase, :, row, column].any():
            raise Foreign(f"has an output layer of {rows}x{columns} taps for scale {n}, which no 9x9 deconvolution is")
    return kernel


def keeps_grey(weights: Weights) -> bool:
    """Whether flat greys come out as they go in, in every phase."""
    taps = weights.pixel_shuffle()[0].sum((2, 3))
    for grey in GREYS:
        maps = np.array([grey])
        for layer in weights.layers:
            maps = layer.weight.sum((2, 3)) @ maps + layer.bias
            maps = np.where(maps > 0, maps, maps * layer.slope)
        if not (np.abs(taps @ maps + weights.bias - grey) < GREY_ERROR).all():
            return False
    return True


# ---- PyTorch -----------------------------------------------------------------------------------------------------


def state_dict(content: bytes) -> dict[str, np.ndarray]:
    """The float32 arrays of a state dict, or of the first one inside a checkpoint, in their order. Raises ValueError.
    """
    import torch

    try:
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                unpacked = sum(each.file_size for each in archive.infolist())
            if unpacked > LARGEST:
                raise Foreign(f"unpacks to more than {LARGEST >> 20} MB, which no weights of FSRCNN do")
        with warnings.catch_warnings(action="ignore"):  # of what is then refused
            tree = torch.load(io.BytesIO(content), "cpu", weights_only=True)
    except Foreign:
        raise
    except Exception as error:  # all that damage, or objects that are no tensors, may lead to
        raise Foreign(f"cannot be read as a PyTorch state dict ({type(error).__name__}); write one with "
                      "torch.save(net.state_dict(), …), which holds tensors alone") from None

    def dicts(tree: object, depth: int) -> Iterator[dict[str, torch.Tensor]]:
        if isinstance(tree, Mapping):
            yield {str(key): value for key, value in tree.items() if isinstance(value, torch.Tensor)}
            for value in tree.values() if depth < DEEPEST else ():
                yield from dicts(value, depth + 1)

    found = next((each for each in dicts(tree, 0) if any(key.endswith("weight") for key in each)), None)
    if found is None:
        raise Foreign("holds no state dict")
    numbers = 0
    for key, tensor in found.items():
        numbers += tensor.numel()
        if (tensor.layout is not torch.strided or tensor.is_meta or not tensor.is_floating_point()
                or numbers * 4 > LARGEST):
            raise Foreign(f"holds no FSRCNN: '{key}' is a {tensor.dtype} tensor of {tuple(tensor.shape)}")
    return {key: tensor.detach().float().numpy() for key, tensor in found.items()}


def from_state_dict(arrays: Mapping[str, np.ndarray]) -> Weights:
    """FSRCNN from its tensors in the order in which it defines them, whatever their names are: kernels, each with a
    bias, if any, of the same name; the slopes of the PReLUs, of which one may stand for all channels.

    Raises ValueError where there is anything else.
    """
    left = dict(arrays)
    kernels, biases, slopes = [], [], []
    for key in arrays:
        beside = key.removesuffix("weight") + "bias"
        if not key.endswith("weight") or (arrays[key].ndim != 4 and beside in arrays):
            continue
        array = left.pop(key)
        if array.ndim == 4:
            # The output layer's kernel comes last, and if it is a deconvolution's, makes one channel.
            kernels.append(array)
            biases.append(left.pop(beside, None))
        else:
            slopes.append(array.ravel())
    if left:
        raise Foreign(f"holds no FSRCNN, or more than one: '{next(iter(left))}' has no place in it")
    if not kernels or len(slopes) != len(kernels) - 1:
        raise Foreign(f"holds no FSRCNN: it has {len(kernels)} layers, and {len(slopes)} PReLUs between them")
    layers = []
    for kernel, bias, slope in zip(kernels[:-1], biases, slopes, strict=False):
        out = len(kernel)
        layers.append(Layer(kernel, np.zeros(out, np.float32) if bias is None else bias,
                            np.repeat(slope, out) if len(slope) == 1 else slope))
    return assembled(layers, kernels[-1], np.zeros(1) if biases[-1] is None else biases[-1])


# ---- TensorFlow --------------------------------------------------------------------------------------------------

Fields = dict[int, list[Any]]  # of a protobuf message, by number, each as often as it is there: int, or bytes
OPERATIONS: dict[str, Callable[..., np.ndarray]] = {  # what a PReLU may consist of
    "Abs": np.abs, "Add": np.add, "AddV2": np.add, "Identity": np.positive, "Maximum": np.maximum,
    "Minimum": np.minimum, "Mul": np.multiply, "Neg": np.negative, "Relu": lambda x: np.maximum(x, 0),
    "Sub": np.subtract,
}
ADDITIONS = ("Add", "AddV2", "BiasAdd")
MOST = 64  # layers, and operations between two of them
TO_CHANNELS_FIRST = [0, 3, 1, 2]
PROBES = np.array([[-2], [-1], [0], [1], [2]], np.float32)


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a place of a protobuf message, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (message[at] & 127) << shift
        at += 1
        if message[at - 1] < 128:
            return value, at
    raise IndexError


def fields(message: bytes) -> Fields:
    """The fields of a protobuf message. Raises IndexError or KeyError where it is none."""
    found: Fields = {}
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 0:
            value: int | bytes
            value, at = varint(message, at)
        else:
            length, at = varint(message, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = message[at:at + length], at + length
        found.setdefault(key >> 3, []).append(value)
    if at > len(message):
        raise IndexError
    return found


@dataclass(frozen=True)
class Node:
    """An operation of a graph, the names of what it reads, and its attributes."""

    op: str
    inputs: list[str]
    attributes: dict[str, Fields]

    def integers(self, key: str) -> list[int]:
        """An attribute that is an integer or a list of them; empty where it is not there."""
        attribute = self.attributes.get(key, {})
        found = list(attribute.get(3, []))
        for values in (fields(each).get(3, []) for each in attribute.get(1, [])):
            for value in values:
                at = 0
                while isinstance(value, bytes) and at < len(value):  # packed
                    number, at = varint(value, at)
                    found.append(number)
                if isinstance(value, int):
                    found.append(value)
        return found


class Graph:
    """A frozen TensorFlow graph, as far as networks like FSRCNN need it. Its methods raise Foreign for what they do not
    know, and all kinds of errors where the file is damaged."""

    def __init__(self, content: bytes) -> None:
        self.nodes: dict[str, Node] = {}
        for message in fields(content)[1]:
            parts = fields(message)
            attributes = [fields(entry) for entry in parts.get(5, [])]
            self.nodes[parts[1][0].decode()] = Node(
                parts[2][0].decode(), [name.decode().removesuffix(":0") for name in parts.get(3, [])],
                {entry[1][0].decode(): fields(entry[2][0]) for entry in attributes})

    def constant(self, name: str) -> np.ndarray | None:
        """The array that a node is, or None where it is no constant."""
        node = self.nodes[name]
        for _ in range(MOST):
            if node.op != "Identity":  # as which a variable is read
                break
            node = self.nodes[node.inputs[0]]
        if node.op != "Const":
            return None
        tensor = fields(node.attributes["value"][8][0])
        shape = [fields(size).get(1, [0])[0] for each in tensor.get(2, []) for size in fields(each).get(2, [])]
        values = np.frombuffer(b"".join(tensor.get(4) or tensor[5]), {1: "<f4", 3: "<i4"}[tensor[1][0]])
        if values.size not in (1, math.prod(shape)) or math.prod(shape) * 4 > LARGEST:
            raise Foreign(f"holds a constant '{name}' that has not the size that it says")
        return values.reshape(shape) if values.size == math.prod(shape) else np.broadcast_to(values, shape)

    def added(self, name: str) -> tuple[str, np.ndarray] | None:
        """What a node adds a constant to, and the constant; None where it does something else."""
        node = self.nodes[name]
        if node.op in ADDITIONS:
            for other, constant in (node.inputs[:2], node.inputs[1::-1]):
                if (array := self.constant(constant)) is not None:
                    return other, array.ravel()
        return None

    def convolution(self, name: str) -> tuple[np.ndarray, np.ndarray, str] | None:
        """The kernel (out, in, k, k) and the bias (out,) of a node that is a convolution, with its bias if it has one,
        and the name of what it reads; None where it is none."""
        name, bias = self.added(name) or (name, np.zeros(1, np.float32))
        node = self.nodes[name]
        if node.op != "Conv2D":
            return None
        kernel = self.constant(node.inputs[1])
        form = (node.attributes["padding"].get(2), node.attributes.get("data_format", {}).get(2, [b"NHWC"]))
        steps = {*node.integers("strides"), *node.integers("dilations")}
        if kernel is None or kernel.ndim != 4 or form != ([b"SAME"], [b"NHWC"]) or steps != {1}:
            raise Foreign(f"holds no FSRCNN: '{name}' is a convolution of another kind")
        return kernel.transpose(3, 2, 0, 1), np.broadcast_to(bias, kernel.shape[3]), node.inputs[0]

    def activated(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        """What `convolution` gives of the one whose PReLU a node is, with the slopes (out,) before the last: found by
        what it makes of numbers, since there are many ways to write one."""
        made: dict[str, np.ndarray] = {}
        sources = []

        def value(name: str) -> np.ndarray:
            if name not in made:
                if len(made) > MOST:
                    raise Foreign(f"holds no FSRCNN: there are more than {MOST} operations before '{name}'")
                made[name] = np.full_like(PROBES, np.nan)  # for one that depends on itself
                if (convolution := self.convolution(name)) is not None:
                    sources.append(convolution)
                    made[name] = PROBES
                elif (constant := self.constant(name)) is not None:
                    made[name] = constant.reshape(1, -1)
                elif (operation := OPERATIONS.get(self.nodes[name].op)) is None:
                    raise Foreign(f"holds no FSRCNN: '{name}', {self.nodes[name].op}, has no place in it")
                else:
                    made[name] = operation(*map(value, self.nodes[name].inputs))
            return made[name]

        passed = value(name)
        slope = -passed[1]
        if len(sources) != 1 or not np.allclose(passed, np.where(PROBES > 0, PROBES, PROBES * slope)):
            raise Foreign(f"holds no FSRCNN: '{name}' is no PReLU of one layer")
        kernel, bias, source = sources[0]
        return kernel, bias, np.broadcast_to(slope, bias.shape), source

    def output(self) -> tuple[np.ndarray, np.ndarray, str]:
        """The output layer as `convolution`; its bias includes what is added behind the pixel shuffle."""
        ends = [name for name, node in self.nodes.items() if node.op == "DepthToSpace"]
        if len(ends) != 1:
            raise Foreign("holds no FSRCNN that ends in a convolution and a pixel shuffle (DepthToSpace)")
        end = ends[0]
        layer = self.convolution(self.nodes[end].inputs[0])
        if layer is None or self.nodes[end].integers("block_size") != [math.isqrt(len(layer[0]))]:
            raise Foreign(f"holds no FSRCNN: before '{end}' there is no convolution that makes its phases")
        kernel, bias, source = layer
        for _ in range(MOST):
            readers = [name for name, node in self.nodes.items() if end in node.inputs]
            if not readers:
                return kernel, bias, source
            added = self.added(readers[-1])
            if len(readers) == 1 and added and added[1].size == 1:
                bias = bias + added[1]
            elif len(readers) > 1 or not self.passes(readers[0]):
                break
            end = readers[0]
        raise Foreign(f"holds no FSRCNN: what it makes goes into '{readers[-1]}', {self.nodes[readers[-1]].op}")

    def passes(self, name: str) -> bool:
        """Whether a node gives on the one channel that it reads."""
        node = self.nodes[name]
        order = self.constant(node.inputs[1]) if node.op == "Transpose" else None
        return node.op == "Identity" or (order is not None and order.tolist() == TO_CHANNELS_FIRST)

    def layers(self) -> tuple[list[Layer], np.ndarray, np.ndarray]:
        """The layers before the output layer, and the output layer's kernel and bias."""
        output, bias, source = self.output()
        layers: list[Layer] = []
        while self.nodes[source].op != "Placeholder":
            kernel, shift, slope, source = self.activated(source)
            layers.insert(0, Layer(kernel, shift, slope))
            if len(layers) > MOST:
                raise Foreign(f"holds no FSRCNN: it has more than {MOST} layers")
        return layers, output, bias


def from_graph(content: bytes) -> Weights:
    """FSRCNN from a frozen graph that ends in a convolution and a pixel shuffle. Raises ValueError where it is none."""
    try:
        layers = Graph(content).layers()
    except Foreign:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Foreign("is neither a PyTorch state dict nor a TensorFlow frozen graph, or it is damaged "
                      f"({type(error).__name__})") from None
    return assembled(*layers)
