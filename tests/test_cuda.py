"""The CUDA engine. What it computes is tested on the processor; when it does so, on a simulated GPU, and on a real one
where there is one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_engines import CASES, defined, difference, loaded_after, needs_gpu, no_driver, noise, weights_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vsr.engines import cuda, engine_choice, open_engine
from vsr.engines.cuda import Captured, CudaEngine, Network, Resampling, through
from vsr.engines.resample import Grid, Resampler, Resize
from vsr.errors import EngineError, UsageError
from vsr.models.catalogue import random_weights

PROCESSOR = torch.device("cpu")


def share_beyond(got: np.ndarray, want: np.ndarray, bits: int, levels: float) -> float:
    """The share of codes that differ by more than so many levels of 8 bits."""
    assert got.shape == want.shape and got.dtype == want.dtype
    return float(np.mean(np.abs(got.astype(int) - want) > levels * 2 ** (bits - 8)))


# ---- What is computed ----


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("case", [case for case in CASES if case[0] != "bicubic"], ids=lambda c: "-".join(map(str, c)))
def test_blocks_of_pixels_are_the_network(case: tuple[str, int, int, bool], precision: str) -> None:
    model, scale, bits, full_range = case
    weights = weights_of(model, scale)
    network = Network(weights, bits, full_range, cuda.PRECISIONS[precision], PROCESSOR)
    for shape in ((1, 1), (2, 67), (41, 50)):
        luma = noise(*shape, bits)
        got, want = through(network, luma), defined(weights, luma, bits, full_range)
        if precision == "fp32":
            assert difference(got, want) <= 1 and np.mean(got != want) < 0.02
        else:
            assert share_beyond(got, want, bits, 1) == 0
            assert share_beyond(got, want, bits, 0.5) < (0.1 if bits == 8 else 1e-3)  # in 8 bits that is any difference
        assert got.max() > got.min() or shape == (1, 1)


@pytest.mark.parametrize(("scale", "rows"), [(2, 1), (2, 26), (3, 40), (4, 63)])
def test_strips_are_the_whole_but_for_rounding(scale: int, rows: int) -> None:
    luma = noise(37, 30)
    network = Network(weights_of("odd", scale), 8, False, torch.float32, PROCESSOR)
    whole, strips = through(network, luma), through(network, luma, rows)
    assert difference(strips, whole) <= 1 and np.mean(strips != whole) < 1e-3


def test_weights_that_reach_to_one_side() -> None:
    weights = weights_of("fsrcnn-s", 3)
    for padding in (0, 4, 8):
        aside = type(weights)(**{**vars(weights), "padding": padding})
        network = Network(aside, 8, False, torch.float32, PROCESSOR)
        luma = noise(20, 31)
        assert difference(through(network, luma), defined(aside, luma)) <= 1


@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("resize", [
    Resize((20, 31), (40, 62), Grid(0.5, -0.125), Grid(0.5, -0.25)), Resize.centred((33, 20), (50, 77)),
    Resize.centred((1, 2), (5, 3)), Resize.centred((60, 50), (31, 13)),
], ids=str)
def test_resampling_gives_the_bytes_of_the_processor(resize: Resize, bits: int) -> None:
    plane = noise(*resize.source, bits)
    want = Resampler(*resize[:2], bits, resize.x, resize.y, engine="reference")(plane)
    for rows in (99, 7):
        assert np.array_equal(through(Resampling(resize, bits, PROCESSOR), plane, rows), want)


# What compares kernels of our own with the definition, in a process where Triton interprets them.
INTERPRETED = """
import torch
from test_engines import CASES, defined, noise, weights_of
from test_cuda import PROCESSOR, share_beyond
from vsr.engines import cuda_kernels
from vsr.engines.cuda import Network, through

for model, scale, bits, full_range in {case[:2]: case for case in CASES if case[0] != "bicubic"}.values():
    weights = weights_of(model, scale)
    network = Network(weights, bits, full_range, torch.float16, PROCESSOR)
    network.kernels = cuda_kernels
    for shape, rows in (((1, 1), 99), ((3, 68), 99), ((13, 17), 22)):
        luma = noise(*shape, bits)
        got, want = through(network, luma, rows), defined(weights, luma, bits, full_range)
        assert share_beyond(got, want, bits, 1) == 0, (model, scale, bits, shape)
        assert share_beyond(got, want, bits, 0.5) < (0.1 if bits == 8 else 1e-3), (model, scale, bits, shape)
    print(model, scale, bits)
"""


def test_own_kernels_are_the_network() -> None:
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch for CUDA on Linux")
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    run = subprocess.run([sys.executable, "-c", INTERPRETED], capture_output=True, text=True,
                         env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path})
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == len({case[:2] for case in CASES if case[0] != "bicubic"})


@needs_gpu
@pytest.mark.parametrize("model", ["fsrcnn-s", "fsrcnn", "odd"])
def test_own_kernels_compute_as_those_of_pytorch(model: str) -> None:
    kernels = cuda.own_kernels("fp16")
    if kernels is None:
        pytest.skip("needs Triton and a GPU of compute capability 8.0 or more")
    for scale in (2, 3, 4):
        luma = torch.from_numpy(noise(300, 411)).to(cuda.DEVICE)
        network = Network(weights_of(model, scale), 8, False, torch.float16, cuda.DEVICE)
        theirs = network(luma, 10**6).cpu().numpy()
        network.kernels = kernels
        ours = network(luma, 10**6)
        assert share_beyond(ours.cpu().numpy(), theirs, 8, 1) == 0 and np.mean(ours.cpu().numpy() != theirs) < 0.1
        assert torch.equal(network(luma, 100), ours)  # whatever the strips


# ---- When it is computed ----


class Machine:
    """A GPU as CUDA promises it to be: what a stream is given happens later, in the stream's order; streams go on in
    any order, but for events. Whoever does not wait gets what was there before."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.paces = [0]
        self.streams: list[Stream] = []
        self.current: Stream | None = None
        self.building = False  # at that time, all happens at once

    def add(self, do: Callable[[], object], ready: Callable[[], bool] = lambda: True) -> None:
        assert self.current is not None
        self.current.queue.append((ready, do))
        for _ in range(self.random.choice(self.paces)):
            self.step()

    def step(self) -> bool:
        ready = [stream for stream in self.streams if stream.queue and stream.queue[0][0]()]
        if ready:
            favourite = ready[0] if self.random.random() < 0.9 else self.random.choice(ready)
            favourite.queue.popleft()[1]()
        return bool(ready)

    def turn(self, seed: int) -> None:
        """Another pace, and other streams that mostly wait for the rest."""
        self.random.seed(seed)
        self.paces = self.random.choice([[0], [0, 0, 0, 1, 3], [3]])
        self.random.shuffle(self.streams)

    def synchronize(self) -> None:
        while self.step():
            pass

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before


class Stream:
    def __init__(self, machine: Machine) -> None:
        self.queue: deque[tuple[Callable[[], bool], Callable[[], object]]] = deque()
        machine.streams.append(self)


class Event:
    def __init__(self, machine: Machine) -> None:
        self.machine, self.recorded, self.reached = machine, 0, 0

    def record(self) -> None:
        self.recorded += 1
        number = self.recorded
        self.machine.add(lambda: setattr(self, "reached", number))

    def wait(self) -> None:
        number = self.recorded
        self.machine.add(lambda: None, lambda: self.reached >= number)

    def synchronize(self) -> None:
        number = self.recorded
        while self.reached < number:
            assert self.machine.step(), "it would wait for ever"


class Graph(TorchDispatchMode):
    """Writes down the operations of a capture, and repeats them on the same memory."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine, self.tape = machine, list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.tape.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        self.machine.add(self.repeat)

    def repeat(self) -> None:
        for func, args, kwargs, out in self.tape:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    old[...] = new


@pytest.fixture(params=["simulated", pytest.param("real", marks=needs_gpu)])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """What makes the machine's timing another one."""
    if request.param == "real":
        return lambda seed: None
    machine = Machine(0)
    build, copy, empty = Captured.__init__, torch.Tensor.copy_, torch.empty

    @contextlib.contextmanager
    def capture(graph: Graph, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        with machine.stream(stream), graph:
            yield
        for _, _, _, out in graph.tape:
            for tensor in tree_leaves(out):
                if tensor._base is None and tensor.numel():
                    tensor.zero_()  # a capture computes nothing

    def captured(self: Captured, *args: Any) -> None:
        machine.building = True
        try:
            build(self, *args)
        finally:
            machine.building = False

    def copied(self: torch.Tensor, other: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        if machine.current is None or machine.building:
            return copy(self, other)
        machine.add(lambda: copy(self, other))
        return self

    def unfilled(*args: Any, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
        return empty(*args, **kwargs).fill_(77)

    for name, double in {
        "Stream": lambda: Stream(machine), "Event": lambda **_: Event(machine), "CUDAGraph": lambda: Graph(machine),
        "graph": capture, "stream": machine.stream, "synchronize": machine.synchronize,
    }.items():
        monkeypatch.setattr(torch.cuda, name, double)
    monkeypatch.setattr(Captured, "__init__", captured)
    monkeypatch.setattr(torch.Tensor, "copy_", copied)
    monkeypatch.setattr(torch, "empty", unfilled)
    monkeypatch.setattr(cuda, "DEVICE", PROCESSOR)
    monkeypatch.setattr(cuda, "own_kernels", lambda precision: None)
    return machine.turn


def test_an_engine_of_frames(machine: Callable[[int], None]) -> None:
    """Luma enlarged, chroma on its sites, and luma on its way to another size: the bytes of the processor."""
    for bits in (8, 10):
        luma, chroma = noise(20, 30, bits), noise(10, 15, bits, seed=1)
        resize = Resize((10, 15), (20, 30), Grid(0.5, -0.125), Grid(0.5, -0.25))
        other = Resize.centred((10, 15), (16, 21))
        with CudaEngine(weights_of("odd", 2), 2, bits, False, "fp32", None) as engine:
            whole, made = engine.begin(luma, (40, 60), [(chroma, resize)])()
            fitted, odd = engine.begin(luma, (33, 41), [(chroma, other)])()
            assert not engine.warnings
        want = open_engine(weights_of("odd", 2), 2, bits, engine="reference").upscale(luma)
        assert difference(whole, want) <= 1
        assert np.array_equal(fitted, Resampler((40, 60), (33, 41), bits, engine="reference")(whole))
        for got, each in ((made, resize), (odd, other)):
            assert np.array_equal(got, Resampler(*each[:2], bits, each.x, each.y, engine="reference")(chroma))


def test_frames_under_way_together_are_those_that_go_alone(machine: Callable[[int], None]) -> None:
    resize = Resize.centred((6, 7), (12, 14))
    frames = [(noise(10 + 2 * (k % 3 == 2), 15, seed=k), noise(6, 7, seed=-k - 1 & 255)) for k in range(6)]
    for precision in ("fp16", "fp32"):
        with CudaEngine(weights_of("odd", 2), 2, 8, False, precision, None) as engine:

            def begin(number: int, engine: CudaEngine = engine) -> Callable[[], list[np.ndarray]]:
                luma, chroma = frames[number]
                height, width = luma.shape
                taken = luma.copy(), chroma.copy()
                wait = engine.begin(taken[0], (2 * height, 2 * width), [(taken[1], resize)])
                for plane in taken:
                    plane[...] = 0  # it has what it needs
                return wait

            alone = [begin(number)() for number in range(len(frames))]
            assert all(plane.max() > plane.min() for planes in alone for plane in planes)
            for seed in range(40):
                machine(seed)
                ahead = seed % 5
                begun = deque[tuple[int, Callable[[], list[np.ndarray]]]]()
                for k in range(12 + ahead):
                    if k < 12:
                        begun.append((k % 6, begin(k % 6)))
                    if k >= ahead:
                        number, wait = begun.popleft()
                        for got, want in zip(wait(), alone[number], strict=True):
                            assert np.array_equal(got, want)


def test_planes_of_any_memory(machine: Callable[[int], None]) -> None:
    luma = noise(12, 18, 10)
    with CudaEngine(weights_of("odd", 2), 2, 10, True, "fp16", None) as engine:
        want = engine.upscale(luma)
        memory = np.zeros(1 + 12 * 39, np.uint8)
        rows = np.ndarray((12, 18), np.uint16, memory, offset=1, strides=(39, 2))
        rows[...] = luma
        rows.flags.writeable = False
        around = np.full((30, 50), 9, np.uint16)
        engine.upscale_into(rows, around[3:27, 4:40][::-1])
        assert np.array_equal(around[3:27, 4:40][::-1], want)
        around[3:27, 4:40] = 9
        assert (around == 9).all()
        first = want.copy()
        want[...] = 0  # it is the caller's
        assert np.array_equal(engine.upscale(luma), first)
        for bad, said in ((luma.astype(np.uint8), "luma.*uint8"), (luma[:, ::2], "luma.*strides")):
            with pytest.raises(ValueError, match=said):
                engine.upscale(bad)
        with pytest.raises(ValueError, match=r"plane must be \(3, 4\), not \(12, 18\)"):
            engine.begin(luma, (24, 36), [(luma, Resize.centred((3, 4), (6, 8)))])


def test_bicubic_interpolation_is_a_model_too(machine: Callable[[int], None]) -> None:
    luma = noise(20, 33)
    with CudaEngine(None, 3, 8, False, "fp32", None) as engine:
        assert engine.model == "bicubic"
        assert difference(engine.upscale(luma), open_engine("bicubic", 3, engine="reference").upscale(luma)) <= 1


def test_a_frame_too_large_for_the_memory_goes_in_strips(
    machine: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 10**9
    strip = Network._strip

    def limited(self: Network, luma: torch.Tensor, out: torch.Tensor) -> None:
        if luma.numel() > free:
            raise torch.OutOfMemoryError("CUDA out of memory")
        strip(self, luma, out)

    monkeypatch.setattr(Network, "_strip", limited)
    luma = noise(200, 30)
    with CudaEngine(weights_of("odd", 2), 2, 8, False, "fp16", None) as engine:
        whole = engine.upscale(luma)
        assert not engine.warnings
        for free, rows in ((6000, 200), (3000, 100), (1700, 50)):  # noqa: B007 (`limited` looks at it)
            engine.close()
            assert np.array_equal(engine.upscale(luma), whole)
            code, said = engine.warnings.pop()
            assert code == "strips" and "30x200" in said and f"strips of {rows} rows" in said
        free = 1000
        engine.close()
        with pytest.raises(EngineError, match="free memory is too little for frames of 30x200"):
            engine.upscale(luma)
        assert np.array_equal(engine.upscale(luma[:4]), engine.upscale(luma[:4]))


def test_what_pytorch_raises_is_an_engine_error(
    machine: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with CudaEngine(weights_of("odd", 2), 2, 8, False, "fp32", None) as engine:
        monkeypatch.setattr(Captured, "begin", lambda *_: fail("CUDA error: unspecified launch failure\nCompile with"))
        with pytest.raises(EngineError, match=r"unspecified launch failure; use the cpu engine"):
            engine.upscale(noise(4, 4))


def fail(said: str) -> None:
    raise RuntimeError(said)


def test_kernels_that_do_not_compile_give_way(
    machine: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = SimpleNamespace(enlarge=lambda *_: fail("Failed to find C compiler\nPlease specify"))
    monkeypatch.setattr(cuda, "own_kernels", lambda precision: broken)
    luma = noise(9, 9)
    with CudaEngine(weights_of("odd", 2), 2, 8, False, "fp16", None) as engine:
        (code, said), = engine.warnings
        assert code == "kernels" and "Failed to find C compiler)" in said
        assert share_beyond(engine.upscale(luma), defined(weights_of("odd", 2), luma), 8, 1) == 0


def test_a_gpu_that_computes_something_else_gives_way(
    machine: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    strip, luma = Network._strip, noise(9, 9)
    monkeypatch.setattr(ctypes, "CDLL", driver(0))
    monkeypatch.setattr(cuda, "gpu_name", lambda: "a broken GPU")

    def wrong(self: Network, luma: torch.Tensor, out: torch.Tensor) -> None:
        strip(self, luma, out)
        if self._output.dtype == torch.float16:
            out ^= 4

    monkeypatch.setattr(Network, "_strip", wrong)
    weights = weights_of("odd", 2)
    for kind in ({"engine": "cuda"}, {"precision": "fp16"}):
        with pytest.raises(EngineError, match="other pixels on this GPU than on the processor"):
            open_engine(weights, 2, **kind)
    with open_engine(weights, 2) as engine:
        assert engine.name in ("cpu", "reference") and engine.upscale(luma).shape == (18, 18)
        assert [code for code, _ in engine.warnings] == ["engine"]
        assert "other pixels" in engine.warnings[0][1] and "takes its place" in engine.warnings[0][1]


def test_frames_under_way_keep_the_weights_that_they_were_begun_with(machine: Callable[[int], None]) -> None:
    first, second = (random_weights(7, 9, 2, 2, seed) for seed in (1, 2))
    luma = noise(9, 12)
    with CudaEngine(first, 2, 8, False, "fp32", None) as engine:
        begun = []
        for turn, weights in enumerate((first, second, first, second)):
            machine(turn)
            engine.use(weights)
            begun.append(engine.begin(luma, (18, 24)))
            if turn:
                made = begun[turn - 1]()[0]
                assert difference(made, defined((first, second)[(turn - 1) % 2], luma)) <= 1
        assert difference(begun[-1]()[0], defined(second, luma)) <= 1
        with pytest.raises(ValueError, match="weights of"):
            engine.use(weights_of("fsrcnn-s", 2))


def test_sizes_seen_long_ago_are_forgotten(machine: Callable[[int], None]) -> None:
    with CudaEngine(weights_of("odd", 2), 2, 8, False, "fp32", None) as engine:
        wanted = {side: engine.upscale(noise(side, 9)) for side in range(2, 3 + cuda.GRAPHS)}
        assert engine._graph.cache_info().currsize == cuda.GRAPHS
        for side, want in wanted.items():
            assert np.array_equal(engine.upscale(noise(side, 9)), want)


# ---- Whether it can be computed ----


def driver(status: int) -> Callable[[str], SimpleNamespace]:
    """A driver whose start gives this status."""
    return lambda name: SimpleNamespace(cuInit=lambda flags: status)


def test_without_a_driver_pytorch_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    monkeypatch.setattr(cuda, "gpu_name", lambda: fail("asked PyTorch"))
    choice = engine_choice()
    assert choice.name in ("cpu", "reference") and "NVIDIA GPU with its driver, and there is none" in choice.why
    with pytest.raises(EngineError, match=r"NVIDIA GPU with its driver, and there is none here"):
        open_engine("fsrcnn-s", engine="cuda")
    with pytest.raises(EngineError, match=r"NVIDIA GPU"):
        engine_choice(precision="fp16")


def test_choosing_an_engine_without_a_driver_loads_no_pytorch() -> None:
    missing = "import numpy, ctypes; ctypes.CDLL = lambda name: open('/no/driver')"
    assert "torch" not in loaded_after(f"{missing}; from vsr.engines import engine_choice; engine_choice()")


def test_a_driver_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", driver(100))
    with pytest.raises(EngineError, match="CUDA error 100"):
        engine_choice("cuda")
    assert "CUDA error 100" in engine_choice().why


def test_a_gpu_without_a_pytorch_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", driver(0))
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(EngineError, match=r"built without CUDA; install a build with it \(https://pytorch"):
        engine_choice("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: fail("The NVIDIA driver on your system is too old\nmore"))
    with pytest.raises(EngineError, match=r"cannot use the GPU \(The NVIDIA driver on your system is too old\);"):
        engine_choice("cuda")
    monkeypatch.setitem(sys.modules, "vsr.engines.cuda", None)
    with pytest.raises(EngineError, match="PyTorch, which cannot be imported"):
        engine_choice("cuda")


def test_where_there_is_a_gpu_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", driver(0))
    monkeypatch.setattr(cuda, "gpu_name", lambda: "NVIDIA H200, PyTorch 2.13.0")
    assert engine_choice() == engine_choice("cuda")
    assert (engine_choice().name, engine_choice().precision) == ("cuda", "fp16")
    assert engine_choice().why == "NVIDIA H200, PyTorch 2.13.0"
    assert engine_choice(precision="fp32").name == "cuda" and engine_choice("cpu").name == "cpu"
    assert engine_choice(precision="int8").name != "cuda"  # it does not offer that
    with pytest.raises(UsageError, match="the cuda engine offers fp16, fp32, not 'int8'"):
        engine_choice("cuda", "int8")
