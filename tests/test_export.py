"""Exported networks compute what the reference does: in ONNX Runtime, in a renderer of shaders, and line by line."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vsr.cli import main
from vsr.engines import open_engine
from vsr.errors import EngineError, UsageError
from vsr.export import mpv_shader, onnx_model
from vsr.models.catalogue import SCALES, Weights, load, random_weights
from vsr.models.convert import for_luma
from vsr.models.fsrcnn import Net
from vsr.models.networks import NETWORKS

SHIPPED = [load("fsrcnn-s", scale) for scale in SCALES]
LARGE = [load("fsrcnn", scale) for scale in SCALES]
OTHERS = [random_weights(56, 12, 4, 3), random_weights(9, 4, 0, 2), replace(random_weights(4, 3, 2, 4), padding=8),
          replace(random_weights(6, 5, 1, 3), padding=0), replace(random_weights(5, 1, 1, 2), padding=5)]


def said(weights: Weights) -> str:
    return f"{weights.name}-x{weights.scale}-{weights.padding}"


def reference(weights: Weights, luma: np.ndarray) -> np.ndarray:
    """(N, 1, H, W) to (N, 1, n·H, n·W), float32."""
    with torch.inference_mode():
        return Net.from_weights(weights)(torch.from_numpy(luma)).numpy()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def picture(height: int, width: int) -> np.ndarray:
    """Edges, ripples and slopes, up to the border: uint8 luma of limited range."""
    y, x = np.mgrid[:height, :width]
    waves = 70 * np.sin(x * x / 90 + y / 5) + 40 * np.sign(np.sin(x / 7 + y / 9)) + y - x / 2
    return np.clip(np.rint(120 + waves), 16, 235).astype(np.uint8)


# ---- ONNX --------------------------------------------------------------------------------------------------------


@pytest.fixture
def onnx() -> Any:
    return pytest.importorskip("onnx", reason="ONNX models are written with the package onnx")


@pytest.fixture
def runtime(onnx: Any) -> Any:
    return pytest.importorskip("onnxruntime", reason="ONNX models are run by the package onnxruntime")


def session(runtime: Any, model: bytes) -> Any:
    return runtime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("weights", [*SHIPPED, *LARGE, *OTHERS], ids=said)
def test_onnx_runtime_computes_the_reference_up_to_the_border(weights: Weights, runtime: Any) -> None:
    opened = session(runtime, onnx_model(weights))
    for shape in ((1, 1, 1, 1), (2, 1, 13, 7), (1, 1, 24, 31)):
        luma = noise(*shape)
        made = opened.run(None, {"luma": luma})[0]
        wanted = reference(weights, luma)
        assert made.shape == wanted.shape and made.dtype == np.float32
        peak = max(1, np.abs(wanted).max())  # of noise FSRCNN makes up to 79, that is 20,000 levels
        assert np.abs(made - wanted).max() < 1e-5 * peak  # 0.003 of a level and more


@pytest.mark.parametrize("full", [False, True])
def test_onnx_runtime_gives_the_engines_codes(full: bool, runtime: Any) -> None:
    codes = picture(40, 48)
    for weights in (*SHIPPED, *LARGE):
        opened = session(runtime, onnx_model(weights, "full" if full else "limited"))
        made = opened.run(None, {"luma": codes[None, None] / np.float32(255)})[0][0, 0]
        wanted = open_engine(weights, weights.scale, full_range=full, engine="reference").upscale(codes)
        codes_made = np.clip(np.rint(made * 255), 0, 255).astype(int)
        assert np.abs(codes_made - wanted).max() <= 1 and np.mean(codes_made != wanted) < 1e-3


def test_an_onnx_model_says_what_it_is(onnx: Any) -> None:
    model = onnx.load_from_string(onnx_model(SHIPPED[1]))
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 13)]
    assert {node.op_type for node in model.graph.node} == {"Pad", "Conv", "PRelu", "ConvTranspose"}
    (given,), (made,) = model.graph.input, model.graph.output
    sizes = [[axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim] for each in (given, made)]
    assert (given.name, made.name, sizes) == ("luma", "enlarged", [["N", 1, "H", "W"], ["N", 1, "3H", "3W"]])
    facts = {each.key: each.value for each in model.metadata_props}
    assert facts["model"] == "fsrcnn-s" and facts["scale"] == "3" and facts["network"] == str(SHIPPED[1].network)
    assert "16/255" in facts["luma"] and "3H" in facts["enlarged"] and "replicated" in facts["border"]
    full = onnx.load_from_string(onnx_model(SHIPPED[1], "full"))
    assert "black 0" in {each.key: each.value for each in full.metadata_props}["luma"]


def test_without_onnx_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "--format", "onnx", "-o", str(tmp_path / "a.onnx")]) == 5
    printed = capsys.readouterr()
    assert printed.out == "" and "pip install" in printed.err and len(printed.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
    with pytest.raises(EngineError):
        onnx_model(SHIPPED[0])


# ---- mpv ---------------------------------------------------------------------------------------------------------


class Vector(np.ndarray):
    """GLSL's vec2 or vec4 at every pixel of a pass: (2 or 4, H, W)."""

    @property
    def x(self) -> np.ndarray:
        return self[0].view(np.ndarray)

    @property
    def y(self) -> np.ndarray:
        return self[1].view(np.ndarray)


def vector(*parts: Any) -> Vector:
    return np.stack(np.broadcast_arrays(*(np.atleast_2d(part) for part in parts))).view(Vector)


class Matrix:
    """GLSL's mat4: its numbers go column by column."""

    def __init__(self, *numbers: float) -> None:
        self.columns = np.array(numbers).reshape(4, 4)

    def __mul__(self, maps: Vector) -> Vector:
        return np.einsum("io,ihw->ohw", self.columns, maps).view(Vector)


class Texture:
    """A texture (4, H, W) as a pass sees it that makes ``size`` = (height, width) pixels."""

    def __init__(self, maps: np.ndarray, size: tuple[int, int]) -> None:
        self.maps, (height, width) = maps, size
        self.pos = vector((np.arange(width)[None] + 0.5) / width + np.zeros((height, 1)),
                          (np.arange(height)[:, None] + 0.5) / height + np.zeros((1, width)))
        self.pt = vector(1 / maps.shape[2], 1 / maps.shape[1])

    def tex(self, pos: Vector) -> Vector:
        """The pixel at a place, at the border the outermost one; a place between two pixels is a fault."""
        places = pos / self.pt - 0.5
        assert np.abs(places - np.rint(places)).max() < 1e-6
        column, row = (np.clip(np.rint(axis).astype(int), 0, side - 1)
                       for axis, side in zip(places, self.maps.shape[:0:-1], strict=True))
        return self.maps[:, row, column].view(Vector)

    def texOff(self, offset: Vector) -> Vector:
        return self.tex(self.pos + offset * self.pt)


GLSL: dict[str, Any] = {
    "vec2": vector, "vec4": vector, "mat4": Matrix, "max": np.maximum, "min": np.minimum, "floor": np.floor,
    "fract": lambda x: x - np.floor(x), "ivec2": lambda x: np.floor(x).astype(int).view(Vector), "where": np.where,
    "pick": lambda maps, index: np.take_along_axis(maps, index[None], 0)[0],
}


def run_shader(shader: str, luma: np.ndarray) -> np.ndarray:
    """What a renderer makes of the luma plane (H, W) by a shader, its passes one after the other, in float64."""
    textures = {"LUMA": np.stack([luma, *[np.zeros_like(luma)] * 3]).astype(np.float64)}
    _, *passes = re.split(r"^(?=//!DESC)", shader, flags=re.MULTILINE)
    for text in passes:
        heads = [line[3:].split(" ", 1) for line in text.splitlines() if line.startswith("//!")]
        head = dict(heads)
        assert head["HOOK"] == "LUMA" and head["WHEN"] == "OUTPUT.w LUMA.w > OUTPUT.h LUMA.h > *"
        bound = [name for key, name in heads if key == "BIND"]
        assert len(bound) <= 16
        size = tuple(rpn(head[axis], textures["LUMA"].shape) for axis in ("HEIGHT", "WIDTH"))
        names = dict(GLSL)
        for name in bound:
            texture = Texture(textures[name], size)
            names |= {f"{name}_{part}": getattr(texture, part) for part in ("tex", "texOff", "pos", "pt")}
            names[f"{name}_rot"] = 1.0
        body = text[text.index("{\n") + 2:text.rindex("}")]
        for statement in map(str.strip, body.strip().splitlines()):
            assert statement.endswith(";")
            python = re.sub(r"^(?:float|int|i?vec[24]) (?=\w+ = )", "", statement[:-1])
            python = re.sub(r"^(\w+) \+= ", r"\1 = \1 + ", python)
            python = re.sub(r"^if \((.*?)\) (\w+) = (.*)", r"\2 = where(\1, \3, \2)", python)
            python = re.sub(r"(\w+)\[([^]]+)\]", r"pick(\1, \2)", python)
            exec(re.sub(r"^return ", "result = ", python), names)
        made = np.broadcast_to(names["result"], (4, *size))
        if "SAVE" not in head:
            return made[0]
        assert head["COMPONENTS"] == "4"
        textures[head["SAVE"]] = made
    raise AssertionError("no pass replaces luma")


def rpn(text: str, shape: tuple[int, ...]) -> int:
    """A size in reverse Polish notation, of luma's size."""
    stack: list[float] = []
    for word in text.split():
        if word in "+*":
            second, first = stack.pop(), stack.pop()
            stack.append(first + second if word == "+" else first * second)
        else:
            stack.append({"LUMA.w": shape[2], "LUMA.h": shape[1]}.get(word) or float(word))
    return int(stack.pop())


@pytest.mark.parametrize("weights", [*SHIPPED, *LARGE, *OTHERS], ids=said)
def test_the_shaders_arithmetic_is_the_references_up_to_the_border(weights: Weights) -> None:
    shader = mpv_shader(weights).decode()
    for shape in ((1, 1), (9, 14)):
        luma = noise(*shape)
        made, wanted = run_shader(shader, luma), reference(weights, luma[None, None])[0, 0]
        assert made.shape == wanted.shape and np.abs(made - wanted).max() < 2e-5
        assert shape == (1, 1) or wanted.std() > 0.05


def test_a_shader_for_full_range() -> None:
    luma = noise(9, 14)
    made = run_shader(mpv_shader(SHIPPED[0], "full").decode(), luma)
    assert np.abs(made - reference(for_luma(SHIPPED[0], "full"), luma[None, None])[0, 0]).max() < 2e-5


def test_weights_come_back_out_of_a_shader_exactly() -> None:
    weights = SHIPPED[0]
    shader = mpv_shader(weights).decode()
    numbers = {np.float32(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", shader)}
    arrays = [array for layer in weights.layers for array in vars(layer).values()]
    assert all(set(array.ravel()) <= numbers for array in (*arrays, weights.kernel))


FFMPEG = ["ffmpeg", "-v", "error", "-init_hw_device", "vulkan=gpu:0", "-filter_hw_device", "gpu"]


@functools.cache
def why_no_renderer() -> str | None:
    """Why there is no libplacebo that renders here, with a GPU or on the processors; None where there is."""
    if shutil.which("ffmpeg") is None:
        return "shaders are run by ffmpeg with libplacebo, and there is no ffmpeg"
    source = ["-f", "lavfi", "-i", "color=s=32x32:d=0.04", "-vf", "hwupload,libplacebo,hwdownload,format=yuv420p"]
    try:
        tried = subprocess.run([*FFMPEG, *source, "-f", "null", "-"], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "shaders are run by ffmpeg with libplacebo, which takes too long"
    return f"shaders are run by ffmpeg with libplacebo and Vulkan: {tried.stderr[-200:]}" if tried.returncode else None


@pytest.mark.parametrize("weights", [*SHIPPED, *LARGE], ids=said)
def test_a_renderer_shows_the_engines_picture(weights: Weights, tmp_path: Path) -> None:
    """Within one level, of which a tenth or so is systematic: maps have half precision, and software renderers do not
    round but cut off. On noise of blacks and whites, 2 have been seen. Grey, so that luma survives the way through RGB.
    """
    if why := why_no_renderer():
        pytest.skip(why)
    (tmp_path / "shader.glsl").write_bytes(mpv_shader(weights))
    n, luma = weights.scale, picture(50, 70)
    height, width = luma.shape
    grey = np.full_like(luma, 128)
    filters = (f"hwupload,libplacebo=w={n * width}:h={n * height}:custom_shader_path=shader.glsl:dithering=-1,"
               "hwdownload,format=yuv444p")
    command = [*FFMPEG, "-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", f"{width}x{height}", "-color_range", "tv",
               "-colorspace", "bt709", "-i", "-", "-vf", filters, "-f", "rawvideo", "-"]
    shown = subprocess.run(command, input=b"".join(plane.tobytes() for plane in (luma, grey, grey)), cwd=tmp_path,
                           capture_output=True, check=True, timeout=300).stdout
    made = np.frombuffer(shown, np.uint8)[:n * n * luma.size].reshape(n * height, n * width).astype(int)
    wanted = open_engine(weights, n, engine="reference").upscale(luma)
    assert np.abs(made - wanted).max() <= 2 and np.abs(made - wanted).mean() < 0.3
    assert wanted.std() > 30


# ---- both --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [onnx_model, mpv_shader])
def test_other_networks_are_refused(write: Any) -> None:
    for name in ("srcnn-9-1-5", "transition-1", "fsrcnn-relu"):
        with pytest.raises(UsageError, match=r"FSRCNN\(d,s,m\)"):
            write(Net(NETWORKS[name], 2).to_weights(name))


@pytest.mark.parametrize("end", ["\n", "\r", "\v", "\u2028"])
def test_a_name_is_one_line_of_a_shader(end: str) -> None:
    shader = mpv_shader(replace(random_weights(8, 4, 1, 2), name=f"a{end}vec4 b")).decode()
    assert end == "\n" or end not in shader
    assert not any(line.startswith("vec4 b") for line in shader.splitlines())


def test_layers_that_no_pass_can_read_are_refused() -> None:
    assert mpv_shader(random_weights(64, 5, 0, 2))
    for weights in (random_weights(65, 5, 0, 2), random_weights(8, 65, 0, 2)):
        with pytest.raises(UsageError, match="16 textures"):
            mpv_shader(weights)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.glsl"
    command = ["export", "--format", "mpv", "-o", str(out)]
    assert main([*command, "-s", "3"]) == 0
    assert "fsrcnn-s x3 for limited luma" in capsys.readouterr().out
    assert out.read_bytes() == mpv_shader(SHIPPED[1])
    file = Path(__file__).parents[1] / "assets" / "weights" / "fsrcnn-s_x4.safetensors"
    for more, status in (([], 4), (["--model", "bicubic"], 2), (["--model", "nonesuch"], 2), (["-s", "5"], 2),
                         (["--weights", str(file), "-s", "2"], 2), (["--weights", str(tmp_path / "a")], 2),
                         (["--format", "caffe"], 2), (["-o", ""], 2), (["-o", str(tmp_path / "no" / "a.glsl")], 4)):
        assert main([*command, *more]) == status, more
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [out] and out.read_bytes() == mpv_shader(SHIPPED[1])
    assert main([*command, "--weights", str(file), "--luma", "full", "--overwrite"]) == 0
    assert out.read_bytes() == mpv_shader(SHIPPED[2], "full")
    capsys.readouterr()
    assert main([*command, "--model", "fsrcnn-s-video", "-s", "3", "--overwrite"]) == 0
    told = capsys.readouterr()
    assert "fsrcnn-s x3" in told.out and "fsrcnn-s-video-4" in told.err and out.read_bytes() == mpv_shader(SHIPPED[1])
