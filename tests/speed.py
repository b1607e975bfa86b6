"""How fast VSR is on this machine, beside what was aimed at, as Markdown:

    python tests/speed.py --data DIR > PERFORMANCE.md

Everything is measured by `vsr.bench`, each row in a process of its own, one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.bench import (
    FILE_SECONDS,
    SECONDS,
    EngineSpeed,
    FileSpeed,
    measure_engine,
    measure_file,
    measure_peers,
    most_threads,
)
from vsr.doctor import cpu, examine
from vsr.engines import ENGINES
from vsr.errors import VsrError
from vsr.models.catalogue import load
from vsr.quality.evaluate import evaluate, model_upscale

SIZE = 960, 540
SIZES = ((64, 64), (160, 90), (320, 180), (640, 360), SIZE, (1280, 720), (1920, 1080), (3840, 2160))
THREADS = 1, 2, 4
SCALES = 2, 3, 4
NETWORKS = {"FSRCNN-s": "fsrcnn-s", "FSRCNN (56,12,4)": "fsrcnn"}
NATIVE = "this processor's"  # code
AVX2 = "x86-64-linux-avx-avx2-f16c-fma-sse41"
SET14, CLIP = Path("test/Set14"), Path("video/mdn-shared-assets/flower.mp4")
SAME_DB = 0.03  # a precision that loses no more may stand in for fp32


@dataclass(frozen=True)
class Row:
    """One configuration: what was measured, or ``why`` it was not. ``code`` says what it was compiled for; ``psnr`` is
    the average on Set14 in dB as it computes it from bytes to bytes."""

    network: str
    scale: int
    engine: str
    precision: str
    code: str
    speed: EngineSpeed | None
    why: str = ""
    psnr: float | None = None


@dataclass(frozen=True)
class Aim:
    """What is to be reached: ``least`` or, where there is none, ``most``, in ``unit``; None was not measured."""

    what: str
    unit: str
    measured: float | None
    why: str
    most: float | None = None
    least: float | None = None

    def line(self) -> tuple[str, ...]:
        bound = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        if self.measured is None:
            return self.what, f"{bound} {self.unit}", "not measured", "", self.why
        reached = self.measured >= self.least if self.least is not None else self.measured <= (self.most or 0)
        shown = f"{self.measured:.3g} {self.unit}"
        return self.what, f"{bound} {self.unit}", shown, "✓" if reached else "✗", "" if reached else self.why


# ---- measuring -----------------------------------------------------------------------------------------------------


def apart(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What ``function`` returns or raises in a new process."""
    print(function.__name__, *args, kwargs, file=sys.stderr)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


@contextlib.contextmanager
def compiling_for(target: str | None) -> Iterator[None]:
    """Processes that begin meanwhile compile for another processor than this one."""
    before = os.environ.get("HL_JIT_TARGET")
    if target:
        os.environ["HL_JIT_TARGET"] = target
    try:
        yield
    finally:
        if before is not None:
            os.environ["HL_JIT_TARGET"] = before
        elif target:
            del os.environ["HL_JIT_TARGET"]


def measured_rows(seconds: float, pictures: Path) -> Iterator[Row]:
    """Every network, scale, precision and code of every engine at SIZE; of the slow reference one of each precision."""
    codes: dict[str, str | None] = {NATIVE: None}
    if platform.system() == "Linux" and "avx512" in cpu()["features"]:
        codes["AVX2"] = AVX2
    for engine, precisions in ENGINES.items():
        for code in codes if engine == "cpu" else (NATIVE,):
            for network, model in NETWORKS.items() if engine != "reference" else (("FSRCNN-s", "fsrcnn-s"),):
                for scale in SCALES if engine != "reference" else SCALES[:1]:
                    for precision in precisions:
                        what = network, scale, engine, precision, code
                        try:
                            with compiling_for(codes[code]):
                                speed = apart(measure_engine, model, scale, SIZE, engine, precision, seconds=seconds)
                        except VsrError as error:
                            yield Row(*what, None, str(error))
                            continue
                        scored = code == NATIVE and pictures.is_dir()
                        found = psnr(pictures, model, scale, engine, precision) if scored else None
                        yield Row(*what, speed, psnr=found)


def psnr(pictures: Path, model: str, scale: int, engine: str, precision: str) -> float:
    _, upscale = model_upscale(model, scale, engine, precision, bits=8)
    return evaluate(pictures, model, scale, upscale).average.psnr


# ---- what was aimed at ---------------------------------------------------------------------------------------------


def aims(rows: list[Row], file: FileSpeed | None, gpu: EngineSpeed | str) -> Iterator[Aim]:
    """The targets, with what the measurements say of those that were missed."""
    found = {(row.network, row.scale, row.engine, row.precision, row.code): row for row in rows}

    def engine(what: str, most: float, row: Row | None) -> Aim:
        if row is None or row.speed is None:
            return Aim(what, "ms", None, row.why if row else "this processor has no such code", most)
        share = row.speed.peak_share
        why = f"{share:.0%} of the fp32 peak; the aim is {share * row.speed.median_ms / most:.0%}" if share else ""
        return Aim(what, "ms", row.speed.median_ms, why, most)

    def at(scale: int, network: str = "FSRCNN-s", code: str = NATIVE) -> Row | None:
        return found.get((network, scale, "cpu", "fp32", code))

    plain = at(2)
    yield engine("×2, fp32", 11, plain)
    share = plain.speed.peak_share if plain and plain.speed else None
    weights = load("fsrcnn-s", 2)
    done = 1 + (weights.pixel_shuffle()[0].size - weights.kernel.size) / weights.parameters
    yield Aim("the same, of the fp32 peak", "%", 100 * share if share else None,
              f"with a pixel shuffle's zeros, which are left out, {share * done:.0%}" if share else "", least=85)
    same = [row for row in rows if row.network == "FSRCNN-s" and row.scale == 2 and row.engine == "cpu"
            and row.code == NATIVE and row.speed and plain
            and (row is plain or (row.psnr or 0) >= (plain.psnr or math.inf) - SAME_DB)]
    fastest = min(same, key=lambda row: row.speed.median_ms if row.speed else math.inf, default=None)
    yield engine(f"×2, the fastest within {SAME_DB} dB: {fastest.precision if fastest else 'none'}", 6, fastest)
    yield engine("×3, fp32", 11, at(3))
    yield engine("×4, fp32", 15, at(4))
    yield engine("×2, fp32, code for AVX2", 22, at(2, code="AVX2"))
    yield engine("FSRCNN (56,12,4) ×2, fp32", 35, at(2, "FSRCNN (56,12,4)"))
    still = [row.speed.median_ms / row.speed.still_ms for row in same if row.speed]
    yield Aim("still camera, 90 % of the rows unchanged", "× the plain speed", max(still, default=None),
              "the engine computes again what has not changed" if fastest and fastest.speed and not fastest.speed.reused
              else "", least=4)
    what = "file, 960×540 → 1920×1080, H.264 veryfast"
    if file is None:
        yield Aim(what, "fps", None, "no clip", least=50)
    else:
        yield Aim(what, "fps", file.fps, f"the bottleneck is {file.bottleneck}, busy "
                  f"{file.busy(file.bottleneck):.0%} of the time; the processors are {file.processors_busy:.0%}",
                  least=50)
        yield Aim("the same, peak memory", "MB", file.peak_rss_mb, f"the bottleneck is {file.bottleneck}", 500)
        yield Aim("the same, from the command to the first upscaled frame", "s", file.start_s,
                  "starting Python, imports and compiling", 1.5)
    what = "CUDA (H200), 1920×1080 → 3840×2160"
    fps, why = (None, gpu) if isinstance(gpu, str) else (gpu.fps, "")
    yield Aim(f"{what}, from memory to memory", "fps", fps, why, least=500)
    yield Aim(f"{what}, without the way there and back", "fps", None, why, least=1500)


# ---- printing ------------------------------------------------------------------------------------------------------


def table(head: str, lines: Iterable[Iterable[object]]) -> None:
    """Markdown; ``head`` names the columns, those of numbers with a colon as in "ms:"."""
    names = [name.strip() for name in head.split("|")]
    print("| " + " | ".join(name.removesuffix(":") for name in names) + " |")
    print("|" + "|".join("---:" if name.endswith(":") else "---" for name in names) + "|")
    for line in lines:
        print("| " + " | ".join(map(str, line)) + " |")
    print()


def work(speed: EngineSpeed) -> tuple[str, str]:
    """GMAC/s, and the share of the peak."""
    share = "" if speed.peak_share is None else f"{speed.peak_share:.0%}"
    return ("" if speed.gmac_per_s is None else f"{speed.gmac_per_s:.0f}"), share


def main() -> None:
    """The whole document on stdout, what is being measured on stderr."""
    options = argparse.ArgumentParser(description="Measure the speed of everything here, for PERFORMANCE.md.")
    options.add_argument("--data", type=Path, required=True, metavar="DIR", help=f"holds {SET14} and {CLIP}")
    options.add_argument("--quick", action="store_true", help="few repetitions: to try this program, not to believe")
    arguments = options.parse_args()
    seconds, file_seconds = (0.05, 0.5) if arguments.quick else (SECONDS, FILE_SECONDS)
    facts = examine()

    rows = list(measured_rows(seconds, arguments.data / SET14))
    clip = arguments.data / CLIP
    file = apart(measure_file, clip, seconds=file_seconds) if clip.exists() else None
    sizes = [apart(measure_engine, size=size, seconds=seconds) for size in SIZES]
    threads = [apart(measure_engine, threads=n, seconds=seconds) for n in THREADS if n <= most_threads()]
    plain = apart(measure_engine, seconds=seconds)
    try:
        gpu = apart(measure_engine, "fsrcnn-s", 2, (1920, 1080), "cuda", seconds=seconds)
    except VsrError as error:
        gpu = str(error)
    peers = measure_peers(seconds=seconds)

    versions = ", ".join(f"{name} {facts['versions'][name]}" for name in ("vsr", "python", "halide", "torch", "av"))
    print("# How fast", "",
          f"Made by `python tests/speed.py --data DIR` on {facts['cpu']['name']}, processors: {most_threads()} "
          f"({' '.join(facts['cpu']['features'])}); {versions}."
          + (" With --quick: too few repetitions to be believed." if arguments.quick else ""), "",
          "Engines take 8-bit luma in memory and give 8-bit luma in memory; no two frames in a row have a pixel in "
          "common. Times are medians of some hundred frames. GMAC/s are 10⁹ multiply-adds a second as the papers count "
          "them; the peak is what these processors did at most in fp32, in registers alone, measured between the "
          "frames by code for the same instruction set. Speeds of shared machines drift: compare within this page.",
          "", "## What was aimed at", "", sep="\n")
    table("960×540 unless said | aim: | measured: | | why not", (aim.line() for aim in aims(rows, file, gpu)))

    print("## Networks, scales, precisions at 960×540", "", "Set14 is scored from bytes to bytes, as video is: "
          "the small pictures are rounded to 8 bits first.", "", sep="\n")
    table("network | scale | engine | precision | code | ms: | 95 % within: | fps: | GMAC/s: | of the peak: "
          "| still camera, ms: | Set14, dB:",
          ((row.network, f"×{row.scale}", row.engine, row.precision, row.code, f"{speed.median_ms:.2f}",
            f"{speed.p95_ms:.2f}", f"{speed.fps:.1f}", *work(speed), f"{speed.still_ms:.2f}",
            "" if row.psnr is None else f"{row.psnr:.2f}") for row in rows if (speed := row.speed)))
    missing: dict[str, set[str]] = {}  # what was not run, by its reason
    for row in rows:
        if row.speed is None:
            missing.setdefault(row.why, set()).add(f"{row.engine} {row.precision} ({row.code} code)")
    for why, what in missing.items():
        print(f"Not run: {', '.join(sorted(what))}: {why}.", "", sep="\n")

    print("## The cost is that of the pixels", "", f"FSRCNN-s ×2, {plain.engine} {plain.precision}.", "", sep="\n")
    table("input | ms: | ns a pixel: | fps: | GMAC/s: | of the peak:",
          ((f"{speed.width}×{speed.height}", f"{speed.median_ms:.3f}",
            f"{1e6 * speed.median_ms / speed.width / speed.height:.1f}", f"{speed.fps:.1f}", *work(speed))
           for speed in sizes))

    untried = ", ".join(str(n) for n in THREADS if n > most_threads())
    print("## Threads", "", f"FSRCNN-s ×2 at 960×540. Processors: {most_threads()}."
          + (f" More threads than that ({untried}) are not measured." if untried else ""), "", sep="\n")
    table("threads: | ms: | times as fast: | GMAC/s: | of the peak of as many:",
          ((speed.threads, f"{speed.median_ms:.2f}", f"{threads[0].median_ms / speed.median_ms:.2f}", *work(speed))
           for speed in threads))

    print("## Beside other engines", "", "The same network at 960×540 ×2 with all processors. The others take and give "
          "floats, which spares them the rounding.", "", sep="\n")
    table("engine | version | ms: | times as long:",
          [("VSR, " + plain.engine + " " + plain.precision, facts["versions"]["vsr"], f"{plain.median_ms:.1f}", "1"),
           *((peer.name, peer.version, peer.why, "") if peer.median_ms is None else
             (peer.name, peer.version, f"{peer.median_ms:.1f}", f"{peer.median_ms / plain.median_ms:.1f}")
             for peer in peers)])

    print("## A file from end to end", "", sep="\n")
    if file is None:
        print(f"Not measured: there is no {CLIP}.")
        return
    print(f"`{CLIP.name}`, {file.frames} frames to {file.width}×{file.height} as `vsr upscale` makes it (H.264, preset "
          f"veryfast, CRF 18): **{file.fps:.1f} frames a second** from the opening of the input to the end of the "
          f"output's self-check, with everything compiled. From the command to its first upscaled frame a new process "
          f"takes {file.start_s:.2f} s, with Python's start, imports and compiling. The stages work at the same time, "
          "each in a thread; the busiest sets the speed.", "", sep="\n")
    table("stage | ms a frame: | busy: | ",
          [*((stage, f"{ms:.2f}", f"{file.busy(stage):.0%}", "the bottleneck" if stage == file.bottleneck else "")
             for stage, ms in file.stage_ms.items()),
           ("processors, all together", f"{file.processor_ms:.2f}", f"{file.processors_busy:.0%}", "")])
    print(f"Peak memory: {file.peak_rss_mb:.0f} MB." if file.peak_rss_mb else "Peak memory: unknown on this system.")


if __name__ == "__main__":
    main()
