"""One contract, every engine: what comes out, of what goes in, and what they refuse."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.engines import Engine, engine_choice, open_engine
from vsr.engines.bicubic import Bicubic
from vsr.errors import EngineError, UsageError
from vsr.models.catalogue import Quantization, Weights, random_weights
from vsr.models.fsrcnn import Net

try:
    import halide
except ImportError:
    halide = None

try:
    engine_choice("cuda")
    lacking_gpu = ""
except EngineError as error:
    lacking_gpu = f"needs a CUDA GPU: {error}"

needs_halide = pytest.mark.skipif(halide is None, reason="the cpu engine needs halide, which has no wheel here")
needs_gpu = pytest.mark.skipif(bool(lacking_gpu), reason=lacking_gpu)


def offered(precision: str) -> bool:
    if halide is None:
        return False
    from vsr.engines.cpu import precisions
    from vsr.engines.halide_plane import Host

    return precision in precisions(Host.current())


ENGINES = [  # with their precisions
    pytest.param("cpu fp32", marks=needs_halide),
    *(pytest.param(f"cpu {precision}", marks=pytest.mark.skipif(
        not offered(precision), reason=f"no instructions for {precision} here, or no halide"))
      for precision in ("bf16", "int8")),
    "reference fp32", "reference int8",
    *(pytest.param(f"cuda {precision}", marks=needs_gpu) for precision in ("fp16", "fp32")),
]
SHAPES = {"fsrcnn-s": (32, 5, 1), "fsrcnn": (56, 12, 4), "no-mapping": (8, 3, 0), "odd": (7, 9, 2)}
CASES = [  # model, scale, bits, full range: all that is shipped or will be, at all scales, in codes of 8 and more bits
    *((model, scale, bits, (scale + bits) % 4 == 0)
      for model in ("fsrcnn-s", "fsrcnn") for scale in (2, 3, 4) for bits in (8, 10, 16)),
    ("no-mapping", 3, 8, True), ("no-mapping", 4, 9, False), ("odd", 2, 16, True), ("odd", 4, 8, False),
    ("odd", 3, 12, True), ("bicubic", 2, 8, False), ("bicubic", 3, 10, True), ("bicubic", 4, 16, False),
]
# In which the reference engine defines each
REFERENCE = {"fp32": "fp32", "bf16": "fp32", "fp16": "fp32", "int8": "int8"}
every_engine = pytest.mark.parametrize("engine", ENGINES)
every_processor = pytest.mark.parametrize("engine", [pytest.param("cpu", marks=needs_halide), "reference"])
every_cpu_engine = pytest.mark.parametrize("name", ENGINES[:3])
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))


@functools.cache
def weights_of(model: str, scale: int, precision: str = "fp32") -> Weights:
    return random_weights(*SHAPES[model], scale, seed=1, quantized=precision == "int8")


@functools.cache
def opened(engine: str, model: str, scale: int, bits: int = 8, full_range: bool = False) -> Engine:
    name, precision = engine.split()
    if model == "bicubic":
        return open_engine(model, scale, bits, full_range, engine=name)
    return open_engine(weights_of(model, scale, precision), scale, bits, full_range, precision, name)


def assert_close(engine: str, got: np.ndarray, want: np.ndarray, bits: int) -> None:
    """As close as the engine's precision promises: one code in fp32, so that but for rounding all are equal; else
    (noise is the worst that there is) three levels of 8 bits at most, and one in nearly all pixels."""
    _, precision = engine.split()
    level = 2 ** (bits - 8)
    if precision == "fp32":
        assert difference(got, want) <= 1
        assert np.mean(got != want) < (0.2 if bits == 16 else 0.02) or got.size < 1000
    else:
        assert difference(got, want) <= 3 * level
        assert np.mean(np.abs(got.astype(int) - want) > level) < 0.02


def noise(height: int, width: int, bits: int = 8, seed: int = 0) -> np.ndarray:
    dtype = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, (height, width), dtype=dtype)


def difference(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of two planes of codes."""
    assert a.shape == b.shape and a.dtype == b.dtype
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def defined(weights: Weights, luma: np.ndarray, bits: int = 8, full_range: bool = False) -> np.ndarray:
    """The network in float64, with its deconvolution as it is trained, on the whole plane."""
    peak = 2**bits - 1
    x = (16 + 219 * (luma / peak)) / 255 if full_range else luma / (255 * 2 ** (bits - 8))
    with torch.inference_mode():
        net = Net.from_weights(weights).double()
        y = net(torch.from_numpy(x)[None, None], pixel_shuffle=False)[0, 0].numpy()
    codes = (255 * y - 16) / 219 * peak if full_range else y * 255 * 2 ** (bits - 8)
    return np.clip(np.round(codes), 0, peak).astype(luma.dtype)


def defined_bicubic(luma: np.ndarray, scale: int, bits: int, shift: tuple[float, float] | None = None) -> np.ndarray:
    """Keys' interpolation in float64, as one matrix for each axis."""
    def matrix(size: int, shift: float) -> np.ndarray:
        rows = np.zeros((size * scale, size))
        for j in range(size * scale):
            position = j / scale - shift
            for i in range(int(np.floor(position)) - 1, int(np.floor(position)) + 3):
                t = abs(position - i)
                near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
                rows[j, min(max(i, 0), size - 1)] += near if t <= 1 else far if t < 2 else 0
        return rows

    centred = 0.5 - 0.5 / scale
    x, y = shift or (centred, centred)
    codes = matrix(luma.shape[0], y) @ luma @ matrix(luma.shape[1], x).T
    return np.clip(np.round(codes), 0, 2**bits - 1).astype(luma.dtype)


# ---- What comes out ----


@every_engine
@every_case
def test_within_one_level_of_the_definition(engine: str, case: tuple[str, int, int, bool]) -> None:
    model, scale, bits, full_range = case
    for shape in ((1, 1), (2, 67), (70, 340)):
        luma = noise(*shape, bits)
        got = opened(engine, *case).upscale(luma)
        if model == "bicubic":
            assert_close("cpu fp32", got, defined_bicubic(luma, scale, bits), bits)
        else:
            weights = weights_of(model, scale, engine.split()[1])
            assert_close(engine, got, defined(weights, luma, bits, full_range), bits)
        assert got.max() > got.min() or shape == (1, 1)


@every_engine
@every_case
@settings(max_examples=5, deadline=None)
@given(height=st.integers(1, 120), width=st.integers(1, 90) | st.integers(320, 360),
       spare=st.tuples(*[st.integers(0, 40)] * 4), flipped=st.booleans())
def test_any_size_and_stride_without_touching_anything_else(
        engine: str, case: tuple[str, int, int, bool], height: int, width: int, spare: tuple[int, ...],
        flipped: bool) -> None:
    n, bits = case[1:3]
    left, right, out_left, out_right = spare
    around = noise(height + 4, left + width + right, bits)
    frame = np.full((n * height + 4, out_left + n * width + out_right), 99, around.dtype)
    luma = around[2:2 + height, left:left + width]
    out = frame[2:2 + n * height, out_left:out_left + n * width]
    if flipped:  # rows from the bottom up, as in some bitmaps
        luma, out = luma[::-1], out[::-1]
    before, upscaler = around.copy(), opened(engine, *case)

    upscaler.upscale_into(luma, out)

    assert np.array_equal(around, before)
    assert np.array_equal(out, upscaler.upscale(luma.copy()))
    assert_close(engine, out.copy(), opened(f"reference {REFERENCE[engine.split()[1]]}", *case).upscale(luma), bits)
    out[...] = 99
    assert (frame == 99).all()


@every_processor
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.125, 0.25), (0.25, 0.125), (-1.3, 2.6)], ids=str)
def test_bicubic_lies_where_it_is_told(engine: str, shift: tuple[float, float]) -> None:
    luma = noise(30, 50)
    got = Bicubic(2, shift=shift, engine=engine).upscale(luma)
    assert difference(got, defined_bicubic(luma, 2, 8, shift)) <= 1
    if shift == (0, 0):
        assert np.array_equal(got[::2, ::2], luma)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_torchs(scale: int) -> None:
    luma = noise(40, 60)
    values = torch.from_numpy(luma)[None, None].double()
    want = torch.nn.functional.interpolate(values, scale_factor=scale, mode="bicubic", antialias=True)  # its a is -0.5
    want = want[0, 0].round().clamp(0, 255).byte().numpy()
    inside = np.s_[2 * scale:-2 * scale, 2 * scale:-2 * scale]  # at its edges it does not replicate
    assert difference(Bicubic(scale).upscale(luma)[inside], want[inside]) <= 1


@needs_halide
@pytest.mark.parametrize(("scale", "bits"), [(2, 8), (3, 10), (4, 16)])
def test_bicubic_gives_the_same_bytes_with_and_without_halide(scale: int, bits: int) -> None:
    luma, shift = noise(40, 200, bits), (0.2, 0.375)
    cpu, reference = (Bicubic(scale, bits, shift, engine).upscale(luma) for engine in ("cpu", "reference"))
    assert np.array_equal(cpu, reference)


@every_engine
def test_taps_come_from_the_weights_geometry(engine: str) -> None:
    name, precision = engine.split()
    weights = dataclasses.replace(weights_of("fsrcnn-s", 3), padding=4)
    if precision == "int8":
        step, zero, _ = vars(weights_of("fsrcnn-s", 3, "int8").quantization).values()
        steps = Quantization.weight_steps(weights.pixel_shuffle()[0], step)
        weights = weights.quantized(Quantization(step, zero, steps))
    assert weights.pixel_shuffle()[1] == -1  # x3 with padding 4 reaches from -1 to +2: no symmetry
    luma = noise(40, 70)
    got = open_engine(weights, 3, precision=precision, engine=name).upscale(luma)
    assert_close(engine, got, defined(weights, luma), 8)


@pytest.mark.parametrize(("scale", "bits", "full_range"), [(2, 8, False), (3, 10, True), (4, 8, True)])
def test_int8_is_the_network_with_its_integers(scale: int, bits: int, full_range: bool) -> None:
    weights = random_weights(*SHAPES["fsrcnn-s"], scale, seed=1, quantized=True)
    luma, kind = noise(30, 50, bits), {"bits": bits, "full_range": full_range, "engine": "reference"}
    upscaler = open_engine(weights, scale, precision="int8", **kind)
    made = upscaler.upscale(luma)
    assert upscaler.precision == "int8"
    assert difference(made, defined(weights, luma, bits, full_range)) <= 1
    plain = open_engine(weights, scale, precision="fp32", **kind).upscale(luma)
    assert difference(plain, defined(dataclasses.replace(weights, quantization=None), luma, bits, full_range)) <= 1
    assert not np.array_equal(made, plain)


@every_cpu_engine
def test_a_cutout_with_its_surroundings_gives_the_same_bytes(name: str) -> None:
    luma, engine = noise(200, 700), opened(name, "fsrcnn-s", 2)
    whole, context = engine.upscale(luma), 6
    for top, left, height, width in ((0, 0, 60, 333), (55, 301, 71, 90), (150, 500, 50, 200), (99, 17, 1, 1)):
        y, x = max(top - context, 0), max(left - context, 0)
        piece = engine.upscale(luma[y:top + height + context, x:left + width + context])
        piece = piece[2 * (top - y):2 * (top - y + height), 2 * (left - x):2 * (left - x + width)]
        assert np.array_equal(piece, whole[2 * top:2 * (top + height), 2 * left:2 * (left + width)])


def test_strips_of_the_reference_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    luma, engine = noise(50, 40), opened("reference fp32", "odd", 2, 16)
    luma = luma.astype(np.uint16) * 257
    whole = engine.upscale(luma)
    monkeypatch.setattr("vsr.engines.reference.STRIP", 7 * 40)
    strips = engine.upscale(luma)
    assert difference(strips, whole) <= 1 and np.mean(strips != whole) < 0.1


@needs_halide
@pytest.mark.parametrize("model", ["fsrcnn-s", "bicubic"])
def test_the_number_of_threads_changes_no_byte(model: str) -> None:
    weights = model if model == "bicubic" else weights_of(model, 2)
    luma = noise(130, 700)
    outputs = [open_engine(weights, engine="cpu", threads=threads).upscale(luma) for threads in (None, 1, 2, 3, 99)]
    assert all(np.array_equal(output, outputs[0]) for output in outputs)


@needs_halide
@pytest.mark.parametrize(("target", "precision"), [
    ("x86-64-linux-avx-avx2-f16c-fma-sse41", "fp32"), ("x86-64-linux-avx-avx2-avxvnni-f16c-fma-sse41", "int8"),
    ("x86-64-linux-sse41", "fp32"),
])
def test_other_processors_vectors(target: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = str(halide.get_host_target()).split("-")
    if not set(target.split("-")) <= set(host):
        pytest.skip(f"this machine, {'-'.join(host)}, cannot run {target}")
    monkeypatch.setenv("HL_JIT_TARGET", target)
    luma = noise(70, 340)
    for model in ("fsrcnn-s", "odd", "bicubic"):
        weights = model if model == "bicubic" else weights_of(model, 2, precision)
        got = open_engine(weights, engine="cpu", precision="fp32" if model == "bicubic" else precision).upscale(luma)
        assert difference(got, opened(f"reference {precision}", model, 2).upscale(luma)) <= 1


@needs_halide
def test_the_schedule_compiles_for_other_kinds_of_processor(tmp_path: Path) -> None:
    """Arm's vectors cannot run here, but what is made for them can be read."""
    from vsr.engines.cpu import Shape, fused
    from vsr.engines.halide_plane import Host

    host = Host("arm-64-osx-arm_dot_prod", lanes=4, registers=32)
    pipeline = fused(Shape.of(weights_of("fsrcnn-s", 2), 8, "fp32", host), 8, host)
    pipeline.compile_to_assembly(tmp_path / "neon.s")
    assert (tmp_path / "neon.s").read_text().count("fmla") > 300


@needs_halide
def test_a_precision_that_the_processor_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HL_JIT_TARGET", "x86-64-linux-sse41")
    with pytest.raises(EngineError, match=r"bf16.*fp32"):
        open_engine(weights_of("fsrcnn-s", 2), engine="cpu", precision="bf16")
    choice = engine_choice(precision="int8")
    assert choice.name == "reference" and "the cpu engine offers fp32" in choice.why


# ---- What it costs ----


@every_cpu_engine
@pytest.mark.parametrize(("model", "scale", "bits"), [("fsrcnn-s", 2, 8), ("fsrcnn-s", 3, 10), ("odd", 4, 8)])
def test_what_does_not_change_is_not_computed_again_and_no_byte_differs(
        name: str, model: str, scale: int, bits: int) -> None:
    """A film of every kind of change, against an engine that has seen nothing before."""
    rng, engine, luma = np.random.default_rng(3), opened(name, model, scale, bits), noise(150, 90, bits)
    fresh = open_engine(weights_of(model, scale, name.split()[1]), scale, bits, precision=name.split()[1], engine="cpu")
    engine.upscale(noise(3, 3, bits))  # whatever it has seen in other tests
    shares = []
    for step in range(40):
        match step % 8:
            case 1 | 2:  # a point, also at the border
                luma = luma.copy()
                luma[rng.choice([0, 149, rng.integers(150)]), rng.integers(90)] ^= 1
            case 3:  # a band
                luma = luma.copy()
                top = rng.integers(140)
                luma[top:top + rng.integers(1, 60)] += 1
            case 4:  # everything
                luma = noise(150, 90, bits, step)
            case 5 if step == 21:  # another size, and back
                engine.upscale(noise(149, 90, bits))
            case 6:  # scrolling
                luma = np.roll(luma, 1, 0)
        out = np.zeros((150 * scale, 90 * scale), luma.dtype)
        given_ = luma.copy()
        engine.upscale_into(given_, out)
        given_[...] = 0  # the caller may do with both as they like
        fresh.upscale(noise(1, 1, bits))  # forgets
        assert np.array_equal(out, fresh.upscale(luma)), step
        out[...] = 7
        shares.append(engine.reused)
    assert max(shares) == 1.0 and 0 < np.mean(shares) < 0.7
    assert all(0 <= share <= 1 for share in shares) and shares[4] == 0.0  # step 4: nothing repeats


@needs_halide
def test_what_repeats_too_little_is_left_alone_and_found_again_when_there_is_more() -> None:
    engine = open_engine(weights_of("fsrcnn-s", 2), engine="cpu", precision="fp32")
    shares = []
    for step in range(80):
        luma = noise(200, 64, seed=step)
        luma[:12 if step < 40 else 100] = 7  # a bar
        engine.upscale(luma)
        shares.append(engine.reused)
    assert max(shares[:40]) < 0.125 and np.count_nonzero(shares[:40]) <= 4
    assert shares[-1] == 0.475  # 95 of 200 rows: five see beyond the bar


@needs_halide
def test_a_failure_midway_is_not_taken_for_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, luma = open_engine(weights_of("fsrcnn-s", 2), engine="cpu", precision="fp32"), noise(40, 50)
    wanted = engine.upscale(luma)
    engine.upscale(luma)
    pipeline = engine._pipeline
    monkeypatch.setattr(engine, "_pipeline", lambda *_: (_ for _ in ()).throw(EngineError("no")))
    with pytest.raises(EngineError):
        engine.upscale(luma[::-1].copy())
    monkeypatch.setattr(engine, "_pipeline", pipeline)
    assert np.array_equal(engine.upscale(luma), wanted)
    assert np.array_equal(engine.upscale(luma[::-1].copy()), open_engine(
        weights_of("fsrcnn-s", 2), engine="cpu", precision="fp32").upscale(luma[::-1].copy()))


@needs_halide
def test_new_weights_compile_nothing() -> None:
    from vsr.engines.cpu import fused

    luma = noise(20, 30)
    first = opened("cpu fp32", "fsrcnn-s", 2).upscale(luma)
    compiled = fused.cache_info().misses
    other = random_weights(*SHAPES["fsrcnn-s"], 2, seed=9)
    got = open_engine(other, 2, full_range=True, precision="fp32", engine="cpu").upscale(luma)
    assert fused.cache_info().misses == compiled
    assert difference(got, defined(other, luma, full_range=True)) <= 1
    assert np.array_equal(opened("cpu fp32", "fsrcnn-s", 2).upscale(luma), first)


@every_engine
def test_weights_take_each_others_place_between_planes(engine: str) -> None:
    name, precision = engine.split()
    first, second = (random_weights(*SHAPES["fsrcnn-s"], 2, seed, precision == "int8") for seed in (1, 2))
    luma = noise(40, 30)
    with open_engine(first, 2, precision=precision, engine=name) as exchanging:
        for weights in (first, second, second, first):
            exchanging.use(weights)
            for _ in range(3):  # what stands still is computed again with other weights
                made = exchanging.upscale(luma)
            with open_engine(weights, 2, precision=precision, engine=name) as alone:
                assert np.array_equal(made, alone.upscale(luma))
        for other in (weights_of("fsrcnn-s", 3, precision), weights_of("odd", 2, precision)):
            with pytest.raises(ValueError, match="weights of"):
                exchanging.use(other)
        assert np.array_equal(exchanging.upscale(luma), made)


@needs_halide
def test_engines_of_one_network_may_run_at_once() -> None:
    pictures = noise(60, 200), noise(60, 200, seed=1)  # by turns, or nothing would be computed again
    engines = [open_engine(random_weights(*SHAPES["fsrcnn-s"], 2, seed), engine="cpu") for seed in (4, 5)]
    wanted = [[engine.upscale(luma) for luma in pictures] for engine in engines]
    right = [False, False]

    def work(index: int) -> None:
        right[index] = all(np.array_equal(engines[index].upscale(pictures[turn % 2]), wanted[index][turn % 2])
                           for turn in range(30))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True, True]


def loaded_after(code: str) -> set[str]:
    """The frameworks that are loaded once ``code`` has run in a fresh interpreter."""
    code += "\nimport sys; print(*({'torch', 'halide', 'cv2', 'av'} & set(sys.modules)))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_engines_load_only_their_own_framework() -> None:
    assert loaded_after("import vsr.engines, vsr.engines.bicubic") == set()
    run = ("import numpy as np; from vsr.engines import open_engine; from vsr.models.catalogue import random_weights; "
           "open_engine({}, 2, engine='{}').upscale(np.zeros((9, 9), np.uint8))")
    assert loaded_after(run.format("'bicubic'", "reference")) == set()
    if halide is not None:
        assert loaded_after(run.format("random_weights(8, 3, 0, 2)", "cpu")) == {"halide"}


# ---- What is accepted, and what is refused ----


@every_engine
@pytest.mark.parametrize("model", ["fsrcnn-s", "bicubic"])
def test_planes_as_they_come(engine: str, model: str) -> None:
    """Read-only, repeated or unaligned memory, rows an odd number of bytes apart: nothing is asked of it but rows."""
    upscaler, luma = opened(engine, model, 2, 10), noise(20, 40, 10)
    wanted = upscaler.upscale(luma)
    constant = luma.copy()
    constant.flags.writeable = False
    assert np.array_equal(upscaler.upscale(constant), wanted)

    memory = np.zeros(1 + 20 * 83, np.uint8)
    rows = np.ndarray((20, 40), np.uint16, memory, offset=1, strides=(83, 2))
    rows[...] = luma
    assert np.array_equal(upscaler.upscale(rows), wanted)
    memory = np.full(1 + 40 * 163, 7, np.uint8)
    out = np.ndarray((40, 80), np.uint16, memory, offset=1, strides=(163, 2))
    upscaler.upscale_into(luma, out)
    assert np.array_equal(out, wanted) and (memory[0] == 7) and (memory[1:].reshape(40, 163)[:, 160:] == 7).all()

    same = np.broadcast_to(luma[0], (20, 40))
    assert np.array_equal(upscaler.upscale(same), upscaler.upscale(same.copy()))


@every_engine
@pytest.mark.parametrize("model", ["fsrcnn-s", "bicubic"])
def test_other_arrays_are_refused_by_name(engine: str, model: str) -> None:
    eight, ten = opened(engine, model, 2), opened(engine, model, 2, 10)
    luma = noise(6, 8)
    for bad, said in ((luma.astype(np.uint16), "uint16"), (luma.astype(np.float32), "float32"), (luma[0], r"\(8,\)"),
                      (luma[:0], r"\(0, 8\)"), (luma[:, ::2], r"\(8, 2\)"), (luma.T, r"\(1, 8\)"), ([[1]], "list")):
        with pytest.raises(ValueError, match=f"luma.*{said}"):
            eight.upscale(bad)
    with pytest.raises(ValueError, match=r"uint16 array for 10-bit codes.*uint8"):
        ten.upscale(luma)
    fixed = np.zeros((12, 16), np.uint8)
    fixed.flags.writeable = False
    for out, said in ((np.zeros((12, 15), np.uint8), r"\(12, 15\)"), (np.zeros((12, 16), np.uint16), "uint16"),
                      (np.zeros((12, 32), np.uint8)[:, ::2], r"\(32, 2\)"), (fixed, "read-only")):
        with pytest.raises(ValueError, match=f"out.*{said}"):
            eight.upscale_into(luma, out)


@pytest.mark.parametrize(("options", "said"), [
    ({"engine": "tpu"}, "unknown engine 'tpu'; there are: auto, cuda, cpu, reference"),
    ({"precision": "int4"}, "not 'int4'"), ({"engine": "reference", "precision": "bf16"}, "offers fp32, int8"),
    ({"engine": "reference", "precision": "int8", "model": random_weights(8, 3, 0, 2)}, "use precision fp32"),
    ({"precision": "bf16"}, "bicubic has no precision bf16"), ({"scale": 5}, "5"), ({"bits": 7}, "8 to 16, not 7"),
    ({"bits": 17}, "not 17"), ({"threads": 0}, "at least 1, not 0"), ({"model": "fsrcnn-xl"}, "fsrcnn-xl"),
    ({"model": random_weights(8, 3, 0, 3)}, "for scale 3, not 2"),
])
def test_requests_that_cannot_be_met(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_engine(**{"model": "bicubic", **options})


def test_a_shift_must_be_a_number_that_can_be_meant() -> None:
    for shift in (float("nan"), float("inf"), 1e9):
        with pytest.raises(ValueError, match="shift"):
            Bicubic(2, shift=(shift, 0.0))


@needs_halide
def test_an_unknown_target_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HL_JIT_TARGET", "abacus")
    with pytest.raises(EngineError, match="abacus"):
        open_engine(weights_of("fsrcnn-s", 2), engine="cpu")


def test_without_halide_auto_is_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "halide", None)
    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    choice = engine_choice()
    assert (choice.name, choice.precision) == ("reference", "fp32") and "pip install" in choice.why
    with pytest.raises(EngineError, match="pip install"):
        open_engine("bicubic", engine="cpu")
    assert open_engine("bicubic").name == "reference"


def no_driver(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


@every_engine
def test_an_engine_says_what_it_is(engine: str) -> None:
    name, precision = engine.split()
    with open_engine(weights_of("fsrcnn-s", 3, precision), 3, 10, precision=precision, engine=name) as upscaler:
        assert (upscaler.name, upscaler.model, upscaler.scale, upscaler.bits, upscaler.precision) \
            == (name, "random-32-5-1", 3, 10, precision)
    assert engine_choice(name).name == name
    if halide is not None and lacking_gpu:
        assert engine_choice().name == "cpu" and "Halide" in engine_choice().why


@needs_halide
@pytest.mark.parametrize(("target", "plain", "trained"), [
    ("x86-64-linux-sse41", "fp32", "fp32"), ("x86-64-linux-avx-avx2-avxvnni-f16c-fma-sse41", "fp32", "int8"),
    ("x86-64-linux-avx-avx2-avx512-avx512_skylake-avx512_cannonlake-avx512_zen4-f16c-fma-sse41", "bf16", "int8"),
])
def test_auto_is_the_fastest_precision_of_the_processor_and_the_weights(
        target: str, plain: str, trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = str(halide.get_host_target()).split("-")
    monkeypatch.setenv("HL_JIT_TARGET", target)
    assert engine_choice("cpu", int8=False).precision == plain and engine_choice("cpu").precision == trained
    assert engine_choice("cpu", "fp32").precision == "fp32"
    if not set(target.split("-")) <= set(host):
        pytest.skip(f"this machine, {'-'.join(host)}, cannot run {target}")
    for quantized, wanted in ((False, plain), (True, trained)):
        weights = random_weights(8, 3, 0, 2, quantized=quantized)
        assert open_engine(weights, engine="cpu").precision == wanted
        assert open_engine(weights, bits=12, engine="cpu").precision == "fp32"  # for pictures and fine gradients
