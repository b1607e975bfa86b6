"""Engines: one contract, several implementations. `open_engine` picks; each loads only the framework it needs."""

from __future__ import annotations

import ctypes
import importlib.metadata
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vsr.engines.contract import Engine
from vsr.errors import EngineError, UsageError
from vsr.models.catalogue import Weights, catalogue, find, load
from vsr.models.networks import Network

__all__ = ["ENGINES", "ON_PROCESSORS", "Engine", "EngineChoice", "engine_choice", "has_int8", "open_engine"]

# In the order in which 'auto' tries engines, and the precisions of each. Of cpu's it takes the fastest that the
# processor has and the weights are made for: with the shipped ones, none of them costs 0.03 dB on Set14.
ENGINES = {"cuda": ("fp16", "fp32"), "cpu": ("int8", "bf16", "fp32"), "reference": ("fp32", "int8")}
ON_PROCESSORS = ("cpu", "reference")
DEEPEST_REDUCED = 10  # bits: deeper codes are for smooth gradients, and would hold what bf16 and int8 round


@dataclass(frozen=True)
class EngineChoice:
    """The engine and precision that a request comes down to here, and ``why``."""

    name: str
    precision: str
    why: str


def open_engine(model: str | Weights = "fsrcnn-s", scale: int = 2, bits: int = 8, full_range: bool = False,
                precision: str = "auto", engine: str = "auto", threads: int | None = None) -> Engine:
    """An engine that enlarges luma planes ``scale`` (2, 3 or 4) times.

    ``model`` is a name of the catalogue (also 'bicubic') or weights. ``bits`` is 8 to 16; codes run from 16 to 235
    (times 2^(bits - 8)), with ``full_range`` from 0 to 2^bits - 1. ``threads`` is an upper bound, None for all
    processors. Raises UsageError for what VSR does not know, EngineError where the engine cannot run here. A GPU that
    was not asked for and then fails gives way to the processors, which the engine's ``warnings`` say.
    """
    network = find(model, scale).network if isinstance(model, str) else model.network
    choice = engine_choice(engine, precision, int8=has_int8(model, scale), bits=bits, network=network)
    weights = None
    if model == "bicubic":
        find(model, scale, precision)  # raises for those that it has not
    else:
        weights = load(model, scale, choice.precision) if isinstance(model, str) else model
        if weights.scale != scale:
            raise UsageError(f"the weights of '{weights.name}' are for scale {weights.scale}, not {scale}")
    if choice.name == "cuda":
        from vsr.engines.cuda import CudaEngine

        try:
            return CudaEngine(weights, scale, bits, full_range, choice.precision, threads)
        except EngineError as error:
            if engine == "cuda" or precision == "fp16":
                raise
            instead = engine_choice("auto", precision, ON_PROCESSORS).name
            opened = open_engine(model, scale, bits, full_range, precision, instead, threads)
            opened.warnings.append(("engine", f"{error}; the {instead} engine takes its place"))
            return opened
    if weights is None:
        from vsr.engines.bicubic import Bicubic

        return Bicubic(scale, bits, engine=choice.name, threads=threads)
    if choice.name == "cpu":
        from vsr.engines.cpu import CpuEngine

        return CpuEngine(weights, bits, full_range, choice.precision, threads)
    from vsr.engines.reference import ReferenceEngine

    return ReferenceEngine(weights, bits, full_range, choice.precision, threads)


def has_int8(model: str | Weights, scale: int) -> bool:
    """Whether there are weights of ``model`` for precision int8."""
    if isinstance(model, str):
        entry = catalogue().get(model)
        return entry is not None and scale in entry.int8_files
    return model.quantization is not None


def engine_choice(engine: str = "auto", precision: str = "auto", among: Sequence[str] = tuple(ENGINES),
                  int8: bool = True, bits: int = 8, network: Network | None = None) -> EngineChoice:
    """What a request for an engine and a precision comes down to: 'auto' is the first ``among`` the ENGINES that runs
    here in that precision; ``int8`` says whether there are weights for that, ``bits`` what the codes have. All engines
    compute FSRCNN(d, s, m); any other ``network`` is for the reference alone.

    Raises UsageError for an engine or precision that there is not, or not for the network, EngineError where the engine
    cannot run here.
    """
    if engine not in ("auto", *among):
        raise UsageError(f"unknown engine '{engine}'; there are: auto, {', '.join(among)}")
    if network and not network.sizes:
        if network.channels != 1:
            raise UsageError(f"engines enlarge luma, and the network '{network}' takes {network.channels} channels")
        if engine not in ("auto", "reference"):
            raise UsageError(f"the {engine} engine computes FSRCNN(d,s,m), and this network is '{network}'; "
                             "use --engine reference")
        engine = "reference"
    names = among if engine == "auto" else (engine,)
    offered = dict.fromkeys(itertools.chain.from_iterable(ENGINES[name] for name in names))
    if precision not in ("auto", *offered):
        raise UsageError(f"{'VSR' if engine == 'auto' else f'the {engine} engine'} offers {', '.join(offered)}, "
                         f"not '{precision}'")
    lacking = []
    for name in names:
        if precision == "auto" or precision in ENGINES[name]:
            try:
                why = _FOUNDATIONS[name]()
                chosen = _precision(name, precision, int8, bits)
            except EngineError as error:
                lacking.append(str(error))
            else:
                return EngineChoice(name, chosen, "; ".join([why, *lacking]))
    raise EngineError("; ".join(lacking))


def _precision(engine: str, precision: str, int8: bool, bits: int) -> str:
    offered = ENGINES[engine]
    if engine == "cpu":
        from vsr.engines.cpu import precisions
        from vsr.engines.halide_plane import Host

        offered = precisions(Host.current())
    if precision == "auto":
        if engine == "cpu" and bits > DEEPEST_REDUCED:
            return "fp32"
        return next(each for each in offered if int8 or each != "int8")
    if precision not in offered:
        raise EngineError(f"precision {precision} needs instructions that this processor lacks; here the {engine} "
                          f"engine offers {', '.join(offered)}")
    return precision


def _cuda() -> str:
    """The GPU that the cuda engine would run on. Without NVIDIA's driver PyTorch is not imported."""
    needs = "the cuda engine needs an NVIDIA GPU with its driver"
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        raise EngineError(f"{needs}, and there is none here") from None
    if error := driver.cuInit(0):
        raise EngineError(f"{needs}, and the driver finds none here that it can use (CUDA error {error})")
    try:
        from vsr.engines.cuda import gpu_name
    except ImportError as error:
        raise EngineError(f"the cuda engine needs PyTorch, which cannot be imported ({error})") from error
    return gpu_name()


def _cpu() -> str:
    try:
        import halide  # noqa: F401
    except ImportError as error:
        raise EngineError(f"the cpu engine needs Halide, which cannot be imported ({error}); on x86-64 Linux, Windows "
                          "and macOS with Python 3.13 or older: pip install 'halide>=21,<22'") from error
    from vsr.engines.halide_plane import Host

    return f"Halide {importlib.metadata.version('halide')} compiles for {Host.current().target}"


def _reference() -> str:
    return f"PyTorch {importlib.metadata.version('torch')} runs everywhere"


# What each engine stands on here, in words. Each raises EngineError where that is not there.
_FOUNDATIONS: dict[str, Callable[[], str]] = {"cuda": _cuda, "cpu": _cpu, "reference": _reference}
