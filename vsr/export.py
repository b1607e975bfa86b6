"""Networks for other programs: as an ONNX model, and as a shader for mpv and libplacebo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import vsr
from vsr.errors import EngineError, UsageError
from vsr.models.catalogue import Weights, layer_names
from vsr.models.convert import for_luma
from vsr.models.networks import DECONVOLUTION, reach

OPSET = 13  # of ONNX, from 2020
IR_VERSION = 7  # what belongs to it
MOST_TEXTURES = 16  # that a pass of an mpv shader may read
SHADES = {"limited": "black 16/255 and white 235/255", "full": "black 0 and white 1"}

HEADER = """\
// {title}: {network} for luma, written by VSR {version}.
// mpv --glsl-shader=THIS_FILE VIDEO, or 'glsl-shaders-append=THIS_FILE' in mpv.conf; in ffmpeg's filter libplacebo:
// custom_shader_path=THIS_FILE.
// It makes luma {n} times as large while the video is shown larger than it is; what is left to the size of the screen,
// and chroma, is scaled as always. Videos in RGB have no luma plane and are not touched.
// It is made for videos of {luma} range, {shades}.
"""


def exported(weights: Weights, luma: str) -> Weights:
    """The weights as they are written, for luma of that range. Raises UsageError for other networks than FSRCNN."""
    if not weights.network.sizes:
        raise UsageError(f"'{weights.name}' is the network '{weights.network}'; what is exported is FSRCNN(d,s,m)")
    return weights if luma == "limited" else for_luma(weights, luma)


def onnx_model(weights: Weights, luma: str = "limited") -> bytes:
    """The network as an ONNX file: 'luma' (N, 1, H, W) float32, codes of 8 bits / 255, to 'enlarged' (N, 1, n·H, n·W),
    the same, neither rounded nor clipped. ``luma`` is their range, 'limited' or 'full'.

    It is the network of the reference engine in fp32: the border is replicated once, and every convolution is valid.
    Raises UsageError for other networks than FSRCNN, EngineError where the package onnx is not installed.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError as error:
        raise EngineError("an ONNX model is written with the package onnx, which cannot be imported "
                          f"({error}): pip install onnx") from error

    weights = exported(weights, luma)
    n, side = weights.scale, reach(weights.scale, weights.padding)
    margin = weights.network.margin(n, weights.padding)
    arrays = {"border": np.array([0, 0, margin, margin] * 2, np.int64)}
    nodes = [helper.make_node("Pad", ["luma", "border"], ["padded"], mode="edge")]
    maps = "padded"
    for name, layer in zip(layer_names(weights.network), weights.layers, strict=True):
        parts = {"weight": layer.weight, "bias": layer.bias, "slope": layer.slope[:, None, None]}
        arrays |= {f"{name}.{part}": array for part, array in parts.items()}
        nodes += [helper.make_node("Conv", [maps, f"{name}.weight", f"{name}.bias"], [f"{name}.sum"], name),
                  helper.make_node("PRelu", [f"{name}.sum", f"{name}.slope"], [name], f"{name}.prelu")]
        maps = name
    arrays |= {"deconvolution.weight": weights.kernel[:, None],
               "deconvolution.bias": np.array([weights.bias], np.float32)}
    before = n * side + weights.padding  # rows and columns that belong to pixels beyond the border
    behind = DECONVOLUTION + n * (2 * side - 1) - before
    nodes.append(helper.make_node(
        "ConvTranspose", [maps, "deconvolution.weight", "deconvolution.bias"], ["enlarged"], "deconvolution",
        strides=[n, n], pads=[before, before, behind, behind]))
    facts = {"model": weights.name, "scale": str(n), "network": str(weights.network),
             "luma": f"(N, 1, H, W) float32: luma codes of 8 bits divided by 255, {SHADES[luma]}",
             "enlarged": f"(N, 1, {n}H, {n}W) float32: the same, to be rounded and clipped to codes",
             "border": "replicated once, by the first node; any H and W of 1 and more"}
    graph = helper.make_graph(
        nodes, "fsrcnn",
        [helper.make_tensor_value_info("luma", TensorProto.FLOAT, ["N", 1, "H", "W"], facts["luma"])],
        [helper.make_tensor_value_info("enlarged", TensorProto.FLOAT, ["N", 1, f"{n}H", f"{n}W"], facts["enlarged"])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()])
    model = helper.make_model(graph, producer_name="vsr", producer_version=vsr.__version__, ir_version=IR_VERSION,
                              opset_imports=[helper.make_opsetid("", OPSET)])
    helper.set_model_props(model, facts)
    checker.check_model(model, full_check=True)
    return model.SerializeToString()


def mpv_shader(weights: Weights, luma: str = "limited") -> bytes:
    """The network as a user shader for mpv and libplacebo: GLSL that replaces the luma plane, of 'limited' or 'full'
    range, by one n times as large while a video is shown larger than it is.

    Maps lie four to a texture, in half precision, as these programs have theirs, and reach beyond the picture as far as
    pixels of it depend on them: only luma is replicated. Features have no textures: each pass of the shrinking layer
    computes all of them, which is less work than to write and read them.
    Raises UsageError for other networks than FSRCNN, and for layers of more maps than a pass may read.
    """
    weights = exported(weights, luma)
    if max(weights.d, weights.s) > 4 * MOST_TEXTURES:
        raise UsageError(f"a shader for mpv reads 4 maps from each of {MOST_TEXTURES} textures at most, and "
                         f"FSRCNN({weights.d},{weights.s},{weights.m}) has more in a layer")
    n, (shuffle, first) = weights.scale, weights.pixel_shuffle()
    margin = weights.m + reach(n, weights.padding)
    larger = [f"WIDTH LUMA.w {2 * margin} +", f"HEIGHT LUMA.h {2 * margin} +"]
    title = " ".join(f"VSR {weights.name} x{n}".split())  # one line, as a comment and its DESC are
    passes = [HEADER.format(title=title, network=f"FSRCNN({weights.d},{weights.s},{weights.m})", n=n,
                            version=vsr.__version__, luma=luma, shades=SHADES[luma])]

    def layer(name: str, kernel: np.ndarray, bias: np.ndarray, first: int, sources: list[str],
              slope: np.ndarray | None = None, prelude: Sequence[str] = ()) -> list[str]:
        """A pass for every four maps of a layer whose taps begin at ``first``; returns the textures that it writes.
        It reads the ``sources``, four maps each: textures, or variables of the ``prelude``, which reads luma."""
        made = [f"VSR_{name.upper()}_{number}" for number in range(-(-len(kernel) // 4))]
        for number, texture in enumerate(made):
            part = slice(4 * number, 4 * number + 4)
            body = [*prelude, f"vec4 sum = {vec4(bias[part])};"]
            for source, row, column in np.ndindex(len(sources), *kernel.shape[2:]):
                matrix = mat4(kernel[part, 4 * source:4 * source + 4, row, column])
                if matrix:
                    maps = sources[source] + ("" if prelude else f"_texOff(vec2({first + column}.0, {first + row}.0))")
                    body.append(f"sum += {matrix} * {maps};")
            body.append("return sum;" if slope is None else f"return {prelu('sum', slope[part])};")
            head = ["COMPONENTS 4", *larger, f"SAVE {texture}"]
            passes.append(block(f"{title} {name} {number}", ["LUMA"] if prelude else sources, head, body))
        return made

    feature, shrink, expand = weights.feature, weights.shrink, weights.expand
    features = [f"vec2 centre = LUMA_pos + (2.0 * LUMA_pos - 1.0) * {margin}.0 * LUMA_pt;"]
    features += [f"float luma{5 * y + x} = LUMA_tex(centre + LUMA_pt * (LUMA_rot * vec2({x - 2}.0, {y - 2}.0))).x;"
                 for y in range(5) for x in range(5)]
    for number in range(-(-weights.d // 4)):
        part = slice(4 * number, 4 * number + 4)
        products = [f"{vec4(feature.weight[part, 0, *divmod(tap, 5)])} * luma{tap}" for tap in range(25)]
        features += [f"vec4 feature{number} = {' + '.join([vec4(feature.bias[part]), *products])};",
                     f"feature{number} = {prelu(f'feature{number}', feature.slope[part])};"]
    maps = layer("shrink", shrink.weight, shrink.bias, 0, [f"feature{number}" for number in range(-(-weights.d // 4))],
                 shrink.slope, features)
    for number, mapping in enumerate(weights.mapping):
        maps = layer(f"mapping{number}", mapping.weight, mapping.bias, -1, maps, mapping.slope)
    maps = layer("expand", expand.weight, expand.bias, 0, maps, expand.slope)
    phases = layer("phases", shuffle, np.full(n * n, weights.bias, np.float32), first, maps)
    body = [
        f"vec2 place = {phases[0]}_pos / {phases[0]}_pt - (2.0 * {phases[0]}_pos - 1.0) * {margin}.0;",
        f"ivec2 part = ivec2(fract(place) * {n}.0);",
        f"int phase = part.y * {n} + part.x;",
        f"vec2 centre = (floor(place) + 0.5) * {phases[0]}_pt;",
        f"vec4 codes = {phases[0]}_tex(centre);",
        *(f"if (phase > {4 * number - 1}) codes = {texture}_tex(centre);"
          for number, texture in enumerate(phases) if number),
        "return vec4(codes[phase % 4], 0.0, 0.0, 1.0);"]
    passes.append(block(f"{title} pixel shuffle", phases, [f"WIDTH LUMA.w {n} *", f"HEIGHT LUMA.h {n} *"], body))
    return "\n".join(passes).encode()


def block(title: str, textures: Sequence[str], head: Sequence[str], body: Sequence[str]) -> str:
    """One pass of a user shader. It is left out where the video is not shown larger than it is."""
    lines = [f"DESC {title}", "HOOK LUMA", *(f"BIND {texture}" for texture in textures), *head,
             "WHEN OUTPUT.w LUMA.w > OUTPUT.h LUMA.h > *"]
    return "\n".join([*(f"//!{line}" for line in lines), "vec4 hook() {", *(f"    {line}" for line in body), "}", ""])


def vec4(values: np.ndarray) -> str:
    """Up to four numbers as GLSL, each with the fewest digits that make the same float32 again."""
    return f"vec4({', '.join([*map(str, values), *['0.0'] * (4 - len(values))])})"


def mat4(kernel: np.ndarray) -> str:
    """What up to four maps (its columns) add to four others (its rows), as GLSL; empty where it is nothing."""
    matrix = np.zeros((4, 4), np.float32)
    matrix[:kernel.shape[1], :kernel.shape[0]] = kernel.T  # GLSL goes column by column
    return f"mat4({', '.join(map(str, matrix.ravel()))})" if matrix.any() else ""


def prelu(variable: str, slope: np.ndarray) -> str:
    return f"max({variable}, 0.0) + {vec4(slope)} * min({variable}, 0.0)"


FORMATS = {"onnx": onnx_model, "mpv": mpv_shader}  # each makes a whole file of weights, for luma of a range
