"""Weights from elsewhere: equal to the originals, whatever they are wrapped in; all else is refused in one line."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vsr.cli import main
from vsr.engines import open_engine
from vsr.errors import InputError
from vsr.models.catalogue import SCALES, Weights, load, load_file, random_weights
from vsr.models.convert import LARGEST, Graph, convert, deconvolution, for_luma
from vsr.models.fsrcnn import Net

BORDER = 8  # input pixels: at most half the receptive field of FSRCNN, within which zeros and replicas differ
LAYERS = ("feature", "shrink", "mapping.0", "expand")


# ---- the originals -----------------------------------------------------------------------------------------------


def original_pth(file: Path, scale: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network that the public state dicts are of, with its own zero padding: (1, 1, H, W) to (1, 1, n·H, n·W)."""
    first = nn.Sequential(nn.Conv2d(1, 56, 5, padding=2), nn.PReLU(56))
    middle: list[nn.Module] = [nn.Conv2d(56, 12, 1), nn.PReLU(12)]
    for _ in range(4):
        middle += [nn.Conv2d(12, 12, 3, padding=1), nn.PReLU(12)]
    middle += [nn.Conv2d(12, 56, 1), nn.PReLU(56)]
    last = nn.ConvTranspose2d(56, 1, 9, stride=scale, padding=4, output_padding=scale - 1)
    net = nn.Module()
    net.first_part, net.mid_part, net.last_part = first, nn.Sequential(*middle), last
    net.load_state_dict(torch.load(file, "cpu", weights_only=True))
    return lambda luma: last(net.mid_part(first(luma)))


def original_pb(file: Path, scale: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """What TensorFlow would compute, node by node, in channels first: (1, 1, H, W) to (1, 1, n·H, n·W)."""
    graph = Graph(file.read_bytes())

    def value(name: str, luma: torch.Tensor) -> torch.Tensor:
        node = graph.nodes[name]
        given = [value(source, luma) for source in node.inputs]
        match node.op:
            case "Placeholder":
                return luma
            case "Const":
                array = graph.constant(name)
                assert array is not None
                tensor = torch.from_numpy(array.copy())
                return tensor.reshape(-1, 1, 1) if tensor.ndim == 1 else tensor
            case "Conv2D":
                kernel = given[1].permute(3, 2, 0, 1)
                return F.conv2d(given[0], kernel, padding=kernel.shape[-1] // 2)
            case "Add" | "BiasAdd":
                return given[0] + given[1]
            case "Sub":
                return given[0] - given[1]
            case "Mul":
                return given[0] * given[1]
            case "Abs" | "Relu":
                return given[0].abs() if node.op == "Abs" else given[0].relu()
            case "DepthToSpace":
                return F.pixel_shuffle(given[0], scale)
            case "Transpose":
                return given[0]
        raise AssertionError(node.op)

    return lambda luma: value("NCHW_output", luma)


PUBLIC = {
    **{f"yjn870_fsrcnn_pytorch/fsrcnn_x{n}.pth": (original_pth, n, "limited", (56, 12, 4)) for n in SCALES},
    **{f"saafke_fsrcnn_tf/FSRCNN_x{n}.pb": (original_pb, n, "full", (56, 12, 4)) for n in SCALES},
    **{f"saafke_fsrcnn_tf/FSRCNN-small_x{n}.pb": (original_pb, n, "full", (32, 5, 1)) for n in SCALES},
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_networks_run_on_our_engines(name: str, data: Path) -> None:
    file = data / "peers" / name
    if not file.is_file():
        pytest.skip(f"no {file}")
    original, scale, luma, sizes = PUBLIC[name]
    weights, card = convert(file, "theirs")
    assert (weights.scale, weights.network.sizes, card["luma"]) == (scale, sizes, luma)
    full = luma == "full"
    codes = np.random.default_rng(0).integers(0, 1 << 16, (40, 36), dtype=np.uint16)
    with torch.inference_mode():
        numbers = codes / np.float32(65535 if full else 255 * 256)
        made = original(file, scale)(torch.from_numpy(numbers)[None, None])[0, 0].numpy()
    wanted = np.clip(made * (65535 if full else 255 * 256), 0, 65535)
    inner = np.s_[BORDER * scale:-BORDER * scale, BORDER * scale:-BORDER * scale]
    for engine in ("reference", "cpu"):
        if engine == "cpu":
            pytest.importorskip("halide", reason="the CPU engine needs halide, which has no wheel for this machine")
        got = open_engine(weights, scale, 16, full, "fp32", engine).upscale(codes)
        assert np.abs(got - wanted)[inner].max() < 2  # of 65535
    assert wanted[inner].std() > 5000


def test_other_public_networks_are_refused(data: Path) -> None:
    files = sorted((data / "peers").glob("*/ESPCN*.pb"))
    if not files:
        pytest.skip(f"no ESPCN in {data / 'peers'}")
    for file in files:
        with pytest.raises(InputError, match=r"ESPCN.* holds no FSRCNN.*Tanh"):
            convert(file, "theirs")


# ---- state dicts -------------------------------------------------------------------------------------------------


def tensors(weights: Weights, names: str = "{}.0", slopes: str = "{}.1") -> dict[str, torch.Tensor]:
    """A state dict of these weights, with PReLUs of their own names."""
    found = {}
    for what, layer in zip(LAYERS, weights.layers, strict=True):
        found |= {f"{names.format(what)}.weight": layer.weight, f"{names.format(what)}.bias": layer.bias,
                  f"{slopes.format(what)}.weight": layer.slope}
    found |= {"deconv.weight": weights.kernel[:, None], "deconv.bias": np.array([weights.bias], np.float32)}
    return {key: torch.from_numpy(array) for key, array in found.items()}


def same(made: Weights, weights: Weights, tolerance: float = 0.0) -> bool:
    arrays = [[*(array for layer in each.layers for array in vars(layer).values()), each.kernel, np.array(each.bias)]
              for each in (made, weights)]
    return made.network == weights.network and all(
        np.abs(ours - theirs).max() <= tolerance for ours, theirs in zip(*arrays, strict=True))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("wrapped", ["plain", "checkpoint", "parallel", "old", "half"])
def test_a_state_dict_in_all_its_wrappings(wrapped: str, scale: int, tmp_path: Path) -> None:
    weights = replace(load("fsrcnn-s", scale), padding=4)
    found: Any = OrderedDict(tensors(weights))
    if wrapped == "checkpoint":
        momentum = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(32, 1, 5, 5)}}, "param_groups": []}
        found = {"epoch": 3, "optimizer": momentum, "state_dict": found}
    elif wrapped == "parallel":
        found = {f"module.{key}": value for key, value in found.items()}
    elif wrapped == "half":
        found = {key: value.half() for key, value in found.items()}
    torch.save(found, tmp_path / "a.pth", _use_new_zipfile_serialization=wrapped != "old")
    made, card = convert(tmp_path / "a.pth", "mine")
    assert (made.name, made.scale, made.padding, card["scale"], card["luma"]) == ("mine", scale, 4, scale, "limited")
    assert card["source"]["format"] == "PyTorch state dict" and card["source"]["file"] == "a.pth"
    assert same(made, weights, 0.01 if wrapped == "half" else 0)


def test_one_slope_for_all_channels_and_layers_without_bias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.models.convert.keeps_grey", lambda weights: True)  # they would not any more
    weights = load("fsrcnn-s", 2)
    found = tensors(weights, "{}_conv", "{}_prelu")
    found["shrink_prelu.weight"] = torch.tensor([0.25])
    del found["expand_conv.bias"], found["deconv.bias"]
    torch.save(found, tmp_path / "a.pth")
    feature, shrink, mapping, expand = weights.layers
    layers = (feature, replace(shrink, slope=np.full(5, 0.25, np.float32)), mapping,
              replace(expand, bias=np.zeros(32, np.float32)))
    assert same(convert(tmp_path / "a.pth", "mine")[0], replace(weights, layers=layers, bias=0.0))


def test_a_pixel_shuffle_becomes_the_deconvolution_that_it_is(tmp_path: Path) -> None:
    weights = load("fsrcnn-s", 3)
    taps, _ = weights.pixel_shuffle()
    found = tensors(weights) | {"deconv.weight": torch.from_numpy(taps), "deconv.bias": torch.full((9,), weights.bias)}
    torch.save(found, tmp_path / "a.pth")
    assert same(convert(tmp_path / "a.pth", "mine")[0], weights)


@pytest.mark.parametrize(("scale", "side"), [(2, 1), (2, 3), (3, 1), (3, 3), (4, 1)])
def test_pixel_shuffles_of_all_sizes_that_fit(scale: int, side: int) -> None:
    shuffle = np.random.default_rng(0).standard_normal((scale**2, 4, side, side)).astype(np.float32)
    made = replace(random_weights(4, 3, 0, scale), deconvolution=deconvolution(shuffle, scale))
    taps, first = made.pixel_shuffle()
    inner = np.s_[:, :, -(side // 2) - first:side // 2 + 1 - first, -(side // 2) - first:side // 2 + 1 - first]
    np.testing.assert_array_equal(taps[inner], shuffle)
    assert np.count_nonzero(taps) == shuffle.size


@pytest.mark.parametrize(("scale", "side"), [(2, 2), (2, 5), (3, 5), (4, 3)])
def test_larger_and_lopsided_pixel_shuffles_are_refused(scale: int, side: int) -> None:
    with pytest.raises(ValueError, match=f"{side}x{side} taps"):
        deconvolution(np.ones((scale**2, 4, side, side), np.float32), scale)


@pytest.mark.parametrize("luma", ["limited", "full"])
def test_the_range_is_folded_into_the_weights(luma: str) -> None:
    weights = load("fsrcnn-s", 2)
    gain, offset = (219 / 255, 16 / 255) if luma == "full" else (255 / 219, -16 / 219)
    picture = torch.rand(1, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        made = Net.from_weights(for_luma(weights, luma))(picture)
        wanted = (Net.from_weights(weights)(picture * gain + offset) - offset) / gain
    assert (made - wanted).abs().max() < 2e-5


# ---- frozen graphs -----------------------------------------------------------------------------------------------


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protobuf message."""
    def varint(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(name: str, op: str, *inputs: str, **attributes: bytes) -> bytes:
    parts = [field(1, name.encode()), field(2, op.encode()), *(field(3, source.encode()) for source in inputs)]
    parts += [field(5, field(1, key.encode()) + field(2, value)) for key, value in attributes.items()]
    return field(1, b"".join(parts))


def const(name: str, array: np.ndarray, *sizes: int) -> bytes:
    """A constant, which may say that it has other sizes than it has."""
    shape = b"".join(field(2, field(1, size)) for size in sizes or array.shape)
    tensor = field(1, 1 if array.dtype == np.float32 else 3) + field(2, shape) + field(4, array.tobytes())
    return node(name, "Const", value=field(8, tensor))


ONES = field(1, field(3, 1) * 4)  # a list of integers, each a field; TensorFlow packs them


def conv(name: str, source: str, weight: np.ndarray, **changed: bytes) -> bytes:
    form = {"strides": ONES, "padding": field(2, b"SAME"), "data_format": field(2, b"NHWC")} | changed
    kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    return const(f"{name}/weight", kernel) + node(name, "Conv2D", source, f"{name}/weight", **form)


PRELUS: dict[str, Callable[[str, str], bytes]] = {
    "abs": lambda x, slope: (
        node(f"{x}/a", "Abs", x) + node(f"{x}/b", "Sub", x, f"{x}/a") + node(f"{x}/c", "Mul", slope, f"{x}/b")
        + const(f"{x}/h", np.array(0.5, np.float32)) + node(f"{x}/d", "Mul", f"{x}/c", f"{x}/h")
        + node(f"{x}/e", "Relu", x) + node(f"{x}/out", "Add", f"{x}/e", f"{x}/d")),
    "two relus": lambda x, slope: (
        node(f"{x}/a", "Neg", x) + node(f"{x}/b", "Relu", f"{x}/a") + node(f"{x}/c", "Mul", f"{x}/b", slope)
        + node(f"{x}/d", "Relu", x) + node(f"{x}/out", "Sub", f"{x}/d", f"{x}/c")),
    "minimum": lambda x, slope: (
        const(f"{x}/z", np.zeros(1, np.float32)) + node(f"{x}/a", "Minimum", x, f"{x}/z")
        + node(f"{x}/b", "Mul", slope, f"{x}/a") + node(f"{x}/c", "Maximum", f"{x}/z", x)
        + node(f"{x}/out", "AddV2", f"{x}/b", f"{x}/c")),
}


def passing(scale: int) -> Weights:
    """FSRCNN(8, 4, 1) that makes n² pixels of each, about as it is, with a 1x1 output layer."""
    weights = random_weights(8, 4, 1, scale)
    for layer in weights.layers:
        layer.weight[:] *= 0.01
        layer.bias[:] *= 0.01
        layer.weight[0, 0, layer.weight.shape[2] // 2, layer.weight.shape[3] // 2] = 1
    shuffle = np.random.default_rng(1).standard_normal((scale**2, 8, 1, 1)).astype(np.float32) * np.float32(0.01)
    shuffle[:, 0] = 1
    return replace(weights, deconvolution=deconvolution(shuffle, scale), bias=0.015625)


def frozen(weights: Weights, prelu: str = "abs", **changed: bytes) -> bytes:
    """A frozen graph of weights with a 1x1 output layer; ``changed`` are attributes of its convolutions."""
    content, source = node("x9/out", "Placeholder"), "x9/out"
    for number, layer in enumerate(weights.layers):
        content += conv(f"c{number}", source, layer.weight, **changed) + const(f"b{number}", layer.bias)
        content += node(f"x{number}", "BiasAdd", f"c{number}", f"b{number}")
        content += const(f"s{number}/frozen", layer.slope) + node(f"s{number}", "Identity", f"s{number}/frozen:0")
        content += PRELUS[prelu](f"x{number}", f"s{number}")
        source = f"x{number}/out"
    taps, first = weights.pixel_shuffle()
    content += conv("phases", source, taps[:, :, -first:1 - first, -first:1 - first])
    content += node("shuffle", "DepthToSpace", "phases", block_size=field(3, weights.scale))
    content += const("bias", np.array([weights.bias], np.float32)) + node("shifted", "Add", "bias", "shuffle")
    return content + (const("order", np.array([0, 3, 1, 2], np.int32)) + node("out", "Transpose", "shifted", "order"))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("prelu", PRELUS)
def test_a_frozen_graph_however_its_prelus_are_written(prelu: str, scale: int, tmp_path: Path) -> None:
    weights = passing(scale)
    (tmp_path / "a.pb").write_bytes(frozen(weights, prelu))
    made, card = convert(tmp_path / "a.pb", "mine", "limited")
    assert same(made, weights) and made.scale == scale and card["luma"] == "limited"
    made, card = convert(tmp_path / "a.pb", "mine")
    assert same(made, for_luma(weights, "limited")) and card["luma"] == "full"


# ---- what is refused ---------------------------------------------------------------------------------------------


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


def state_dicts() -> dict[str, tuple[Any, str]]:
    """What torch.save may hold, and a word of why it is refused."""
    good = tensors(load("fsrcnn-s", 2))
    lacking = dict(good)
    del lacking["mapping.0.1.weight"]
    kernel = good["mapping.0.0.weight"]
    return {
        "nothing": ({}, "no state dict"), "a list": ([1, 2], "no state dict"), "a tensor": (torch.zeros(3), "no state"),
        "other keys": ({"a": torch.zeros(1)}, "no state dict"),
        "another layer": (good | {"last.weight": torch.zeros(1, 1, 3, 3)}, "PReLUs"),
        "a norm": (good | {"norm.running_mean": torch.zeros(5)}, "running_mean"),
        "no activation": (lacking, "PReLUs"),
        "too few layers": ({"a.weight": torch.zeros(4, 1, 5, 5)}, "kernels"),
        "wider": (good | {"mapping.0.0.weight": torch.zeros(6, 6, 3, 3)}, "mapping"),
        "not finite": (good | {"mapping.0.0.weight": kernel * float("nan")}, "finite"),
        "too large": (good | {"mapping.0.0.weight": kernel * 1e38}, "grey"),
        "huge": (good | {"mapping.0.0.weight": torch.zeros(1).expand(10**12).reshape(10**6, 10**6, 1, 1)}, "mapping"),
        "zero": (good | {"deconv.weight": torch.zeros(32, 1, 9, 9)}, "grey"),
        "two networks": (good | {f"second.{key}": value for key, value in good.items()}, "PReLUs|kernels"),
        "biases": (good | {"deconv.weight": torch.zeros(9, 32, 3, 3), "deconv.bias": torch.arange(9.0)}, "phase"),
        "sparse": (good | {"mapping.0.0.weight": kernel.to_sparse()}, "mapping"),
        "meta": (good | {"mapping.0.0.weight": kernel.to("meta")}, "mapping"),
        "complex": (good | {"mapping.0.0.weight": kernel.to(torch.complex64)}, "mapping"),
        "no numbers": (good | {"mapping.0.0.weight": torch.zeros(5, 5, 3, 0)}, "mapping"),
    }  # fmt: skip


def refused(file: Path, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    """By the command line: status 3, one line, and nothing is left."""
    before = sorted(file.parent.rglob("*"))
    assert main(["convert", str(file), "-o", str(file.parent / "out.safetensors")]) == 3
    printed = capfd.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert file.name in printed.err and any(word in printed.err for word in words.split("|")), printed.err
    assert sorted(file.parent.rglob("*")) == before


@pytest.mark.parametrize("case", state_dicts())
def test_state_dicts_that_are_none_of_fsrcnn(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found, words = state_dicts()[case]
    torch.save(found, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", words, capfd)


def test_what_unpacks_to_more_than_weights_is_left_packed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.save(tensors(load("fsrcnn-s", 2)), tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/99", bytes(LARGEST))
    assert (tmp_path / "a.pth").stat().st_size < LARGEST / 100
    refused(tmp_path / "a.pth", "unpacks", capfd)


@pytest.mark.parametrize("old", [False, True])
def test_nothing_in_a_file_is_run(old: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Evil(tmp_path / "ran")}, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
    refused(tmp_path / "a.pth", "tensors alone", capfd)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "a.pth", weights_only=False)  # would have
    assert (tmp_path / "ran").exists()


def test_files_that_are_neither(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", LARGEST + 1)
    for name, content in {"empty": b"", "text": b"no weights " * 99, "zip": b"PK\3\4" + bytes(99),
                          "pickle": b"\x80\2}q\0.", "other pickle": b"\x80\4}\x94.", "wire": field(1, 5)}.items():
        (tmp_path / name).write_bytes(content)
    for name, words in {"missing": "no file", "folder": "no file", "large": "16 MB", "empty": "neither",
                        "text": "neither", "zip": "state dict", "pickle": "state dict", "other pickle": "neither",
                        "wire": "neither"}.items():
        refused(tmp_path / name, words, capfd)


def graphs() -> dict[str, tuple[bytes, str]]:
    """Graphs, and a word of why they are refused."""
    weights, forked = passing(2), passing(2)
    forked.layers[1].slope[:] = forked.layers[2].slope
    good, bias = frozen(weights), np.array([weights.bias], np.float32)
    shuffle = node("shuffle", "DepthToSpace", "phases", block_size=field(3, 2))
    order, turned = (np.array(axes, np.int32).tobytes() for axes in ([0, 3, 1, 2], [0, 3, 2, 1]))
    return {
        "valid": (frozen(weights, padding=field(2, b"VALID")), "another kind"),
        "strided": (frozen(weights, strides=field(1, field(3, 2) * 4)), "another kind"),
        "channels first": (frozen(weights, data_format=field(2, b"NCHW")), "another kind"),
        "tanh behind": (good + node("tanh", "Tanh", "shifted"), "goes into"),
        "two shuffles": (good + node("more", "DepthToSpace", "phases"), "DepthToSpace"),
        "no shuffle": (good.replace(b"DepthToSpace", b"SpaceToDepth"), "DepthToSpace"),
        "turned": (good.replace(order, turned), "Transpose"),
        "another activation": (good.replace(b"Relu", b"Elu_"), "Elu_"),
        "no PReLU": (good.replace(b"Abs", b"Neg"), "no PReLU"),
        "another block": (good.replace(shuffle, shuffle.replace(field(3, 2), field(3, 3))), "phases"),
        "a loop": (good.replace(field(3, b"x9/out"), field(3, b"x3/out")), "layers"),
        "an activation that is a loop": (good.replace(field(3, b"x2/a"), field(3, b"x2/d")), "no PReLU"),
        "two paths": (frozen(forked).replace(field(3, b"x2/out"), field(3, b"x2/two"))
                      + node("x2/two", "Maximum", "x2/out", "x1/out"), "one layer"),
        "a node that is not there": (good.replace(field(1, b"b2"), field(1, b"zz")), "neither"),
        "a constant of two": (good.replace(const("bias", bias), const("bias", bias, 2)), "goes into"),
        "a constant that is too small": (good.replace(const("b2", weights.layers[2].bias), const(
            "b2", weights.layers[2].bias, 3)), "size"),
        "a huge constant": (good.replace(const("bias", bias), const("bias", bias, 1 << 40)), "size"),
        "not finite": (good.replace(bias.tobytes(), np.float32("inf").tobytes()), "finite"),
        "a cut": (good[:len(good) // 2], "neither"),
    }


@pytest.mark.parametrize("case", graphs())
def test_graphs_that_are_none_of_fsrcnn(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content, words = graphs()[case]
    assert content != frozen(passing(2))
    (tmp_path / "a.pb").write_bytes(content)
    refused(tmp_path / "a.pb", words, capfd)


@settings(max_examples=200)
@given(st.booleans(), st.floats(0, 1), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8))
def test_damage_is_refused_or_harmless(is_graph: bool, kept: float, changes: list[tuple[float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a"
        if is_graph:
            file.write_bytes(frozen(passing(2)))
        else:
            torch.save(tensors(load("fsrcnn-s", 2)), file)
        content = bytearray(file.read_bytes())
        for place, byte in changes:
            content[int(place * len(content))] = byte
        file.write_bytes(content[:int(len(content) * min(1.0, 4 * kept))])
        try:
            weights, _ = convert(file, "mine")
        except InputError:
            return
        assert weights.scale in SCALES


# ---- the command -------------------------------------------------------------------------------------------------


def test_the_command_writes_weights_and_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(tensors(load("fsrcnn-s", 2)), tmp_path / "a.pth")
    out = tmp_path / "mine.safetensors"
    command = ["convert", str(tmp_path / "a.pth"), "-o", str(out)]
    assert main(command) == 0
    assert "FSRCNN(32,5,1) x2 for limited luma" in capsys.readouterr().out
    read, card = load_file(out, 2), json.loads(out.with_suffix(".json").read_text())
    assert read.name == "mine" and same(read, load("fsrcnn-s", 2))
    assert {"model": "mine", "scale": 2, "parameters": 3937, "luma": "limited"}.items() <= card.items()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for more, status in (([], 4), (["-o", str(tmp_path / "b.pth")], 2), (["--luma", "dim"], 2),
                         (["-o", str(tmp_path / "no" / "b.safetensors")], 4)):
        assert main([*command, *more]) == status
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert main([*command, "--overwrite", "--luma", "full"]) == 0
    assert same(load_file(out), for_luma(read, "limited"), 1e-7)
    card_alone = tmp_path / "b.json"
    card_alone.touch()
    assert main([*command[:2], "-o", str(tmp_path / "b.safetensors")]) == 4
    assert not (tmp_path / "b.safetensors").exists() and card_alone.read_bytes() == b""


def test_the_input_is_never_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.safetensors"
    torch.save(tensors(load("fsrcnn-s", 2)), file)
    before = file.read_bytes()
    assert main(["convert", str(file), "-o", str(file), "--overwrite"]) == 4
    assert "is the input" in capsys.readouterr().err and file.read_bytes() == before
