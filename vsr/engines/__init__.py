"""Engines: one contract, several implementations. `open_engine` picks; each loads only the framework it needs."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

from vsr.engines.contract import Engine
from vsr.errors import EngineError, UsageError
from vsr.models.catalogue import FsrcnnWeights, load

__all__ = ["ENGINES", "Engine", "EngineChoice", "engine_choice", "open_engine"]

ENGINES = {"cpu": ("fp32", "bf16", "int8"), "reference": ("fp32", "int8")}  # the precisions of each, the default first


@dataclass(frozen=True)
class EngineChoice:
    """The engine and precision that a request comes down to here, and ``why``."""

    name: str
    precision: str
    why: str


def open_engine(model: str | FsrcnnWeights = "fsrcnn-s", scale: int = 2, bits: int = 8, full_range: bool = False,
                precision: str = "auto", engine: str = "auto", threads: int | None = None) -> Engine:
    """An engine that enlarges luma planes ``scale`` (2, 3 or 4) times.

    ``model`` is a name of the catalogue (also 'bicubic') or weights. ``bits`` is 8 to 16; codes run from 16 to 235
    (times 2^(bits - 8)), with ``full_range`` from 0 to 2^bits - 1. ``threads`` is an upper bound, None for all
    processors. Raises UsageError for what VSR does not know, EngineError where the engine cannot run here.
    """
    choice = engine_choice(engine, precision)
    if model == "bicubic":
        from vsr.engines.bicubic import Bicubic

        return Bicubic(scale, bits, engine=choice.name, threads=threads)
    weights = load(model, scale, choice.precision) if isinstance(model, str) else model
    if weights.scale != scale:
        raise UsageError(f"the weights of '{weights.name}' are for scale {weights.scale}, not {scale}")
    if choice.name == "cpu":
        from vsr.engines.cpu import CpuEngine

        return CpuEngine(weights, bits, full_range, choice.precision, threads)
    from vsr.engines.reference import ReferenceEngine

    return ReferenceEngine(weights, bits, full_range, choice.precision, threads)


def engine_choice(engine: str = "auto", precision: str = "auto") -> EngineChoice:
    """What a request for an engine and a precision comes down to: 'auto' is cpu where Halide is, else reference.

    Raises UsageError for an engine or precision that there is not, EngineError where the engine cannot run here.
    """
    if engine not in ("auto", *ENGINES):
        raise UsageError(f"unknown engine '{engine}'; there are: auto, {', '.join(ENGINES)}")
    why = "asked for"
    if engine in ("auto", "cpu"):
        try:
            import halide
        except ImportError as error:
            why = (f"the cpu engine needs Halide, which cannot be imported ({error}); on x86-64 Linux, Windows and "
                   "macOS with Python 3.13 or older: pip install 'halide>=21,<22'")
            if engine == "cpu":
                raise EngineError(f"{why}; else use the reference engine") from error
            engine = "reference"
        else:
            engine = "cpu"
            why = f"Halide {importlib.metadata.version('halide')} compiles for {halide.get_host_target()}"
    precisions = ENGINES[engine]
    if precision not in ("auto", *precisions):
        raise UsageError(f"the {engine} engine offers {', '.join(precisions)}, not '{precision}'")
    return EngineChoice(engine, precisions[0] if precision == "auto" else precision, why)
