"""The CUDA engine: a frame's planes up to an NVIDIA GPU, the network and bicubic resampling there, planes down again.

The network runs on blocks of 2x2 pixels: a convolution of single pixels, written out for the four of a block at once,
is a convolution of a quarter of the places with four times the channels. So FSRCNN-s, with its 1, 5 and 32 channels,
fits the matrix units, which want many. What is computed is the same; all that is not zero is in its old place.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F

from vsr.engines.contract import Engine, check_plane, code_range, plane_dtype
from vsr.engines.resample import Grid, Resize, Taps
from vsr.errors import EngineError
from vsr.models.catalogue import Weights

DEVICE = torch.device("cuda")
PRECISIONS = {"fp16": torch.float16, "fp32": torch.float32}
SIDE = 2  # of a block, in pixels
LARGEST_STRIP = 1 << 24  # input pixels: the elements of its maps can be counted in 32 bits
SMALLEST_STRIP = 32  # rows of the output
MOST_BESIDE = 2  # levels of 8 bits; maps in fp16 lead astray by about half of one
GRAPHS = 8  # sizes of frames and weights that an engine is ready for
SLOTS = 2  # frames under way

Shape = tuple[int, int]
Planes = list[torch.Tensor]

_capturing = threading.Lock()  # a process may capture one graph at a time


class CudaEngine(Engine):
    """FSRCNN(d, s, m), or bicubic interpolation where ``weights`` is None, on PyTorch's current CUDA device.

    In fp16 products are summed up in fp32, and maps are rounded to 11 bits between the layers. Each size of frame gets
    a graph of its own at first sight, which takes a moment; where the GPU's memory does not hold the maps of a whole
    frame, it goes through in strips. Raises EngineError where the GPU fails.
    """

    ahead = SLOTS - 1

    def __init__(self, weights: Weights | None, scale: int, bits: int, full_range: bool, precision: str,
                 threads: int | None) -> None:
        if weights is None:
            precision = "fp32"  # which bicubic interpolation computes in
        super().__init__("cuda", weights.name if weights else "bicubic", scale, bits, precision, threads)
        self._graph = functools.lru_cache(GRAPHS)(self._captured)
        self._full_range = full_range
        self._network: Network | None = None
        self._networks: dict[int, tuple[Weights, Network]] = {}  # by the weights' id
        with engine_errors():
            if weights:
                self._network = self._network_of(weights)
                self._network.kernels = own_kernels(precision)
            try:
                self._try(weights, full_range)
            except Exception as error:  # whatever Triton raises
                self.close()  # or the GPU's memory would wait for the garbage collector: the graphs know this engine
                if self._network is None or self._network.kernels is None:
                    raise
                self._network.kernels = None
                said = f"its own kernels do not work here ({first_line(error.__cause__ or error)})"
                self.warnings.append(("kernels", f"the cuda engine takes PyTorch's kernels, which are slower: {said}"))
                self._try(weights, full_range)

    def _try(self, weights: Weights | None, full_range: bool) -> None:
        """Load libraries, compile, and raise EngineError where a small picture does not become what it should."""
        plane = trial_plane(self.bits)
        made = self.upscale(plane).astype(int)
        if weights:
            definition = Network(weights, self.bits, full_range, torch.float32, torch.device("cpu"))
            if abs(made - through(definition, plane)).max() > MOST_BESIDE << (self.bits - 8):
                raise EngineError("the cuda engine computes other pixels on this GPU than on the processor; use the "
                                  "cpu engine")

    def use(self, weights: Weights) -> None:
        used = self._network
        if used is None or (weights.network, weights.scale, weights.padding) != used.kind:
            raise ValueError(f"weights of {weights.network} x{weights.scale} are none of the cuda engine's network")
        with engine_errors():
            self._network = self._network_of(weights)
        self._network.kernels = used.kernels

    def _network_of(self, weights: Weights) -> Network:
        """The network with these weights on the GPU, where it stays, as do the graphs that know it."""
        if id(weights) not in self._networks:
            made = Network(weights, self.bits, self._full_range, PRECISIONS[self.precision], DEVICE)
            self._networks[id(weights)] = weights, made
        return self._networks[id(weights)][1]

    def upscale(self, luma: np.ndarray) -> np.ndarray:
        check_plane("luma", luma, self.bits)
        return self.begin(luma, self._enlarged(luma.shape))()[0]

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        out[...] = self.upscale(luma)

    def begin(self, luma: np.ndarray, size: Shape,
              others: Sequence[tuple[np.ndarray, Resize]] = ()) -> Callable[[], list[np.ndarray]]:
        check_plane("luma", luma, self.bits)
        for plane, resize in others:
            check_plane("plane", plane, self.bits)
            if plane.shape != resize.source:
                raise ValueError(f"plane must be {resize.source}, not {plane.shape}")
        with engine_errors():
            graph = self._graph(self._network, luma.shape, size, tuple(resize for _, resize in others))
            wait = graph.begin([luma, *(plane for plane, _ in others)])

        def planes() -> list[np.ndarray]:
            with engine_errors():
                return wait()

        return planes

    def close(self) -> None:
        self._graph.cache_clear()

    def _enlarged(self, shape: Shape) -> Shape:
        return shape[0] * self.scale, shape[1] * self.scale

    def _captured(self, network: Network | None, luma: Shape, size: Shape, resizes: tuple[Resize, ...]) -> Captured:
        """What makes frames of these shapes, in strips as large as they fit into the memory."""
        shapes = [luma, *(resize.source for resize in resizes)]
        rows = whole = self.scale * min(luma[0], LARGEST_STRIP // luma[1])
        while rows >= min(whole, SMALLEST_STRIP):
            with contextlib.suppress(torch.OutOfMemoryError), _capturing:
                graph = Captured(self._work(network, luma, size, resizes, rows), shapes, self.bits)
                if rows < whole:
                    said = f"the GPU's free memory does not hold whole frames of {luma[1]}x{luma[0]}: they go in strips"
                    self.warnings.append(("strips", f"{said} of {rows} rows"))
                return graph
            self._graph.cache_clear()
            rows //= 2
        raise EngineError(f"the GPU's free memory is too little for frames of {luma[1]}x{luma[0]}; close what else "
                          "uses it, or use the cpu engine")

    def _work(self, network: Network | None, luma: Shape, size: Shape, resizes: Sequence[Resize],
              rows: int) -> Callable[[Planes], Planes]:
        """From the planes of a frame to the new ones, in strips of so many output rows."""
        def resampling(resize: Resize) -> Resampling:
            return Resampling(resize, self.bits, DEVICE)

        enlarged = self._enlarged(luma)
        enlarge = network or resampling(Resize.centred(luma, enlarged))
        fit = None if enlarged == size else resampling(Resize.centred(enlarged, size))
        others = [resampling(resize) for resize in resizes]

        def work(planes: Planes) -> Planes:
            big = enlarge(planes[0], rows)
            if fit:
                big = fit(big, rows)
            return [big, *(other(plane, rows) for other, plane in zip(others, planes[1:], strict=True))]

        return work


class Network:
    """FSRCNN on blocks of pixels, on any device: codes (H, W) to (n·H, n·W), both as `values` has them.

    ``dtype`` is that of weights and maps; the way from and to codes is float32. ``kernels`` is None, or the module with
    those of our own, which are for float16.
    """

    kernels: ModuleType | None = None

    def __init__(self, weights: Weights, bits: int, full_range: bool, dtype: torch.dtype,
                 device: torch.device) -> None:
        self.scale, self.bits = weights.scale, bits
        self.kind = weights.network, weights.scale, weights.padding
        self._gain, self._offset = code_range(bits, full_range)
        shuffle, first = weights.pixel_shuffle()
        # Numbers from 0 to 1 are less exact in fp16 than those from -1/2 to 1/2: the middle is a part of the biases.
        bias = weights.feature.bias + weights.feature.weight.sum((1, 2, 3)) / 2
        trunk = [(weights.feature.weight, bias, weights.feature.slope)]
        trunk += [(layer.weight, layer.bias, layer.slope)
                  for layer in (weights.shrink, *weights.mapping, weights.expand)]
        self._bias = weights.bias
        self._before = 2 + weights.m - first  # pixels that are replicated above and to the left

        def tensor(array: np.ndarray, *filled: int) -> torch.Tensor:
            """The array with the sides ``filled`` up with zeros."""
            more = [(0, filled[axis] - side if axis < len(filled) else 0) for axis, side in enumerate(array.shape)]
            return torch.from_numpy(np.pad(array, more)).to(device, dtype).contiguous(
                memory_format=torch.channels_last if array.ndim == 4 else torch.contiguous_format)

        self._trunk = []
        for weight, *per_channel in trunk:
            blocks = in_blocks(weight)
            out, into = (channels(side) for side in blocks.shape[:2])
            self._trunk.append((tensor(blocks, out, into), *(tensor(row.repeat(SIDE**2), out) for row in per_channel)))
        # From (phase down, phase across, row in the block, column in the block) to what pixel_shuffle makes of channels
        blocks = in_blocks(shuffle)
        phases = blocks.reshape(self.scale, self.scale, SIDE, SIDE, *blocks.shape[1:]).transpose(2, 0, 3, 1, 4, 5, 6)
        self._output = tensor(phases.reshape(blocks.shape), *map(channels, blocks.shape[:2]))
        # Blocks that the valid convolutions take away
        self._lost = sum(weight.shape[-1] - 1 for weight in (*(layer[0] for layer in self._trunk), self._output))

    def __call__(self, codes: torch.Tensor, rows: int) -> torch.Tensor:
        """The codes enlarged, in strips of about so many output ``rows``."""
        (height, width), n = codes.shape, self.scale
        rows = max(rows // n // SIDE * SIDE, SIDE)
        after = [SIDE * (-(-side // SIDE) + self._lost) - side - self._before for side in (width, height)]
        padding = self._before, after[0], self._before, after[1]
        luma = F.pad(values(codes)[None, None] * self._gain + (self._offset - 0.5), padding, mode="replicate")
        out = codes.new_empty(n * height, n * width)
        for top in range(0, height, rows):
            self._strip(luma[:, :, top:top + rows + SIDE * self._lost], out[n * top:n * (top + rows)])
        return out

    def _strip(self, luma: torch.Tensor, out: torch.Tensor) -> None:
        """Fill ``out`` from the strip of ``luma``, with its surroundings, that it depends on."""
        maps = F.pixel_unshuffle(luma, SIDE)
        maps = F.pad(maps, (0, 0, 0, 0, 0, self._trunk[0][0].shape[1] - SIDE**2))
        maps = maps.to(self._output.dtype, memory_format=torch.channels_last)
        finer, factor, shift = SIDE * self.scale, 1 / self._gain, (self._bias - self._offset) / self._gain
        if self.kernels:
            self.kernels.enlarge(maps, self._trunk, self._output, out, finer, factor, shift, 2**self.bits - 1)
            return
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            for weight, bias, slope in self._trunk:
                maps = F.prelu(F.conv2d(maps, weight, bias), slope)
            phases = F.conv2d(maps, self._output)[:, :finer**2].float()
        enlarged = F.pixel_shuffle(phases, finer)[0, 0, :out.shape[0], :out.shape[1]]
        out.copy_(to_codes(enlarged * factor + shift, self.bits))


class Resampling:
    """`vsr.engines.resample.Resampler` on any device: the same products, sums and bytes."""

    def __init__(self, resize: Resize, bits: int, device: torch.device) -> None:
        self._target, self._bits = resize.target, bits

        def table(axis: int, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
            """(taps, N) each: where the taps lie, and what they weigh."""
            first, weights = Taps.of(resize.source[axis], resize.target[axis], grid)
            places = first + np.arange(len(weights), dtype=np.int32)[:, None]
            return torch.from_numpy(places).to(device), torch.from_numpy(weights).to(device)

        self._y, self._x = table(0, resize.y), table(1, resize.x)

    def __call__(self, codes: torch.Tensor, rows: int) -> torch.Tensor:
        """The codes resampled, so many ``rows`` at a time."""
        samples = values(codes)
        out = codes.new_empty(self._target)
        for top in range(0, len(out), rows):
            # No fused multiply-adds: each product is rounded by itself.
            taps = zip(*(table[:, top:top + rows] for table in self._y), strict=True)
            down = functools.reduce(torch.add, (weights[:, None] * samples[places] for places, weights in taps))
            taps = zip(*self._x, strict=True)
            across = functools.reduce(torch.add, (weights * down[:, places] for places, weights in taps))
            out[top:top + rows] = to_codes(across, self._bits)
        return out


class Captured:
    """``work``, which makes planes of planes, as one CUDA graph for planes of these shapes and ``bits``.

    Planes go to the GPU, through the graph and back on a stream each, so that the copies of one frame run beside the
    work on another. A frame takes one of SLOTS slots, in turn: memory of its own for what goes up and what comes down,
    on both sides of the bus, and events that say when it may be used again. Raises torch.OutOfMemoryError.
    """

    def __init__(self, work: Callable[[Planes], Planes], shapes: Sequence[Shape], bits: int) -> None:
        self._work = work  # the graph does not keep the tensors alive that it reads
        torch.cuda.synchronize()  # memory that is handed out here may still be used by what runs
        self._up, self._run, self._down = (torch.cuda.Stream() for _ in range(3))
        self._codes = np.dtype(plane_dtype(bits))
        kind = torch.uint8 if bits == 8 else torch.int16
        with torch.cuda.stream(self._run):
            self._source = torch.zeros(sum(map(area, shapes)), dtype=kind, device=DEVICE)
            planes = split(self._source, shapes)
            made = work(planes)  # what is loaded or compiled at first use cannot be captured
            self._shapes: list[Shape] = [(plane.shape[0], plane.shape[1]) for plane in made]
            del made
            self._result = torch.empty(sum(map(area, self._shapes)), dtype=kind, device=DEVICE)
            slots = [Slot(self._source, self._result, shapes, self._codes) for _ in range(SLOTS)]
        self._slots = itertools.cycle(slots)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._run, capture_error_mode="thread_local"):
            torch.cat([plane.flatten() for plane in work(planes)], out=self._result)

    def begin(self, planes: Sequence[np.ndarray]) -> Callable[[], list[np.ndarray]]:
        """What is returned waits for the new planes; ``planes`` are not needed any more."""
        slot = next(self._slots)
        slot.uploaded.synchronize()
        for array, plane in zip(slot.arrays, planes, strict=True):
            array[...] = plane
        with torch.cuda.stream(self._up):
            slot.taken.wait()
            slot.source.copy_(slot.staged, non_blocking=True)
            slot.uploaded.record()
        with torch.cuda.stream(self._run):
            slot.uploaded.wait()
            self._source.copy_(slot.source)
            slot.taken.record()
            self._graph.replay()
            slot.downloaded.wait()
            slot.result.copy_(self._result)
            slot.made.record()
        out = torch.empty(slot.result.shape, dtype=slot.result.dtype, pin_memory=True)  # PyTorch uses it again
        with torch.cuda.stream(self._down):
            slot.made.wait()
            out.copy_(slot.result, non_blocking=True)
            slot.downloaded.record()

        def wait() -> list[np.ndarray]:
            slot.downloaded.synchronize()  # of this frame, or of a later one in its slot
            return [plane.numpy().view(self._codes) for plane in split(out, self._shapes)]

        return wait


class Slot:
    """What one frame under way has for itself."""

    def __init__(self, source: torch.Tensor, result: torch.Tensor, shapes: Sequence[Shape], codes: np.dtype) -> None:
        self.staged = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
        self.arrays = [plane.numpy().view(codes) for plane in split(self.staged, shapes)]
        self.source, self.result = torch.empty_like(source), torch.empty_like(result)
        self.uploaded, self.taken, self.made = (torch.cuda.Event() for _ in range(3))
        self.downloaded = torch.cuda.Event(blocking=True)  # who waits leaves the processor to others


def in_blocks(weight: np.ndarray) -> np.ndarray:
    """A convolution (out, in, k, k) of pixels as that of blocks, (4·out, 4·in, k', k') with k' = k // 2 + 1.

    Channel 4·c + 2·y + x is channel c of the pixel (y, x) in the block.
    """
    out, into, side, _ = weight.shape
    wide = side // SIDE + 1
    blocks = np.zeros((out, SIDE, SIDE, into, SIDE, SIDE, wide, wide), np.float32)
    for a, b, y, x in itertools.product(range(SIDE), range(SIDE), range(side), range(side)):
        (up, down), (left, right) = divmod(a + y, SIDE), divmod(b + x, SIDE)
        blocks[:, a, b, :, down, right, up, left] = weight[:, :, y, x]
    return blocks.reshape(out * SIDE**2, into * SIDE**2, wide, wide)


def channels(count: int) -> int:
    """As many channels as the matrix units like, to hold ``count``."""
    return max(16, 1 << (count - 1).bit_length())


def values(codes: torch.Tensor) -> torch.Tensor:
    """Codes as float32. Those of more than 8 bits come as int16, of which PyTorch does more than of uint16."""
    return (codes.int() & 0xFFFF if codes.dtype == torch.int16 else codes).float()


def to_codes(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """Numbers rounded (half to even) and clipped, as `values` takes them."""
    codes = numbers.round().clamp(0, 2**bits - 1)
    return codes.to(torch.uint8) if bits == 8 else codes.int().short()


def area(shape: Shape) -> int:
    return shape[0] * shape[1]


def split(flat: torch.Tensor, shapes: Sequence[Shape]) -> Planes:
    """The planes that lie in ``flat`` one behind the other."""
    return [piece.view(shape) for piece, shape in zip(flat.split([area(s) for s in shapes]), shapes, strict=True)]


def through(work: Callable[[torch.Tensor, int], torch.Tensor], plane: np.ndarray, rows: int = 1 << 16) -> np.ndarray:
    """What ``work`` (a `Network` or a `Resampling`, on the processor) makes of a plane, in strips of so many rows."""
    codes = torch.from_numpy(plane.view(np.int16) if plane.itemsize == 2 else plane)
    return work(codes, rows).numpy().view(plane.dtype)


def trial_plane(bits: int) -> np.ndarray:
    """Rings, and a little grain: a picture that has all directions in it, and is no other one when it is moved."""
    y, x = np.mgrid[-5:19, -9:31]
    rings = 0.5 + 0.4 * np.sin((x * x + y * y) / 40) + np.random.default_rng(0).uniform(-0.05, 0.05, x.shape)
    return (rings * (2**bits - 1)).astype(plane_dtype(bits))


def own_kernels(precision: str) -> ModuleType | None:
    """The module with kernels of our own, where Triton is there and uses the GPU's matrix units for them."""
    if precision != "fp16" or torch.cuda.get_device_capability() < (8, 0):
        return None
    try:
        from vsr.engines import cuda_kernels
    except ImportError:
        return None
    return cuda_kernels


def gpu_name() -> str:
    """What the engine would run on, in words. Raises EngineError where PyTorch cannot use a GPU here."""
    if torch.version.cuda is None:
        raise EngineError(f"PyTorch {torch.__version__} is built without CUDA; install a build with it "
                          "(https://pytorch.org/get-started/locally)")
    try:
        torch.zeros(1, device=DEVICE).add_(1).item()
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"PyTorch {torch.__version__} with CUDA {torch.version.cuda} cannot use the GPU "
                          f"({first_line(error)}); it may need a newer driver, or another build of PyTorch") from error
    return f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}"


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """PyTorch's errors as EngineError."""
    try:
        yield
    except EngineError:
        raise
    except RuntimeError as error:
        raise EngineError(f"CUDA failed: {first_line(error)}; use the cpu engine") from error


def first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
