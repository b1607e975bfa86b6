"""How fast it is here: an engine on frames in memory, a file from end to end, and other engines on the same work."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsr.engines import Engine, open_engine
from vsr.engines.contract import processors
from vsr.errors import EngineError, UsageError
from vsr.models.catalogue import Weights, find, load, save_file

if TYPE_CHECKING:
    from vsr.events import Event
    from vsr.job import Job

SECONDS, FILE_SECONDS = 2.0, 10.0  # what an engine is measured for, and a file at most, about
ROUNDS = 4  # of peak, engine, still camera: clocks drift, and all are to meet the same
LEAST_RUNS = 8  # of an engine in each round, unless it is very slow
WARM_UP_S = 0.3
CHANGING = 0.1  # of the rows, in front of a still camera
PEERS = ("torch", "cv2", "onnxruntime", "openvino")  # the modules that `vsr.peers` knows what to do with
PEER_LIMIT_S = 300
STARTS = 3  # of a new process

# `vsr upscale` with its arguments, until the first frame is upscaled: it tells when that is, and ends.
FIRST_FRAME = """
import os, sys, time
from vsr import cli, upscale

begin = upscale.Upscaler.begin

def until_finished(upscaler, frame):
    finish = begin(upscaler, frame)
    def finished():
        finish()
        os.write(1, str(time.monotonic()).encode())
        os._exit(0)
    return finished

upscale.Upscaler.begin = until_finished
sys.exit(cli.main(sys.argv[1:]))
"""

# `vsr upscale` with its arguments, to its end: it tells how much memory it had.
MEMORY = """
import sys
from vsr import cli
from vsr.bench import peak_rss_mb

status = cli.main(sys.argv[1:])
print(peak_rss_mb())
sys.exit(status)
"""

Pair = tuple[np.ndarray, np.ndarray]
Warn = Callable[[str], object]  # takes what an engine has to say to its user


# ---- an engine ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EngineSpeed:
    """What an engine takes for a frame of ``width`` x ``height``, from uint8 luma in memory to uint8 luma in memory.

    Each frame differs from the one before it in every pixel; for ``still_ms`` in a tenth of its rows only, and
    ``reused`` is the share of such a frame that was not computed again. ``gmac_per_s`` is 10^9 multiply-adds a second
    as the papers count them; None for 'bicubic'. ``peak_gmac_per_s`` is the most that the processors do in fp32 with
    as many ``threads``, measured between the engine's runs; None without Halide and for a GPU.
    """

    width: int
    height: int
    scale: int
    model: str
    engine: str
    precision: str
    threads: int
    median_ms: float
    p95_ms: float
    gmac_per_s: float | None
    peak_gmac_per_s: float | None
    still_ms: float
    reused: float

    @property
    def fps(self) -> float:
        return 1000 / self.median_ms

    @property
    def peak_share(self) -> float | None:
        return self.gmac_per_s / self.peak_gmac_per_s if self.gmac_per_s and self.peak_gmac_per_s else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"fps": self.fps, "peak_share": self.peak_share}


def measure_engine(model: str | Weights = "fsrcnn-s", scale: int = 2, size: tuple[int, int] = (960, 540),
                   engine: str = "auto", precision: str = "auto", threads: int | None = None,
                   seconds: float = SECONDS, warn: Warn | None = None) -> EngineSpeed:
    """Time an engine on frames of ``size`` (width, height) for about so many ``seconds``, and half of it for the still
    camera. ``threads`` None is as many as it may have, which is the most. Raises as `open_engine`."""
    width, height = size
    threads = min(threads or most_threads(), most_threads())
    weights = weights_of(model, scale)
    kind: dict[str, Any] = {"precision": precision, "engine": engine, "threads": threads}
    # An engine that has seen frames repeat looks for that for a while: the still camera has one of its own.
    with open_engine(model, scale, **kind) as opened, open_engine(model, scale, **kind) as watching:
        peak = _peak(threads) if opened.name in ("cpu", "reference") else list  # of the processors, not of a GPU
        pair = frames(width, height)
        outs = [np.empty((height * scale, width * scale), np.uint8) for _ in pair]
        # From round to round they go on, or a round might begin with the frame that the last one ended with.
        moving, still = (itertools.cycle(zip(each, outs, strict=True)) for each in (pair, still_frames(pair)))
        upscaled(opened, moving, WARM_UP_S)
        peaks, moving_ms, still_ms = peak(), [], []
        for _ in range(ROUNDS):
            moving_ms += upscaled(opened, moving, seconds / ROUNDS)
            still_ms += upscaled(watching, still, seconds / ROUNDS / 2)
            peaks += peak()
        for said in dict.fromkeys(message for each in (opened, watching) for _, message in each.warnings):
            if warn:
                warn(said)
        median_ms = float(np.median(moving_ms))
        return EngineSpeed(
            width, height, scale, opened.model, opened.name, opened.precision, threads,
            median_ms=median_ms,
            p95_ms=float(np.percentile(moving_ms, 95)),
            # Every weight is used once for every input pixel, those of the deconvolution too.
            gmac_per_s=weights.network.multiplications(scale) * width * height / median_ms / 1e6 if weights else None,
            peak_gmac_per_s=max(peaks, default=None),
            still_ms=float(np.median(still_ms)),
            reused=watching.reused,
        )


def weights_of(model: str | Weights, scale: int) -> Weights | None:
    """The weights of a model, None for 'bicubic'. Raises UsageError for a name or scale that there is not."""
    if isinstance(model, Weights):
        return model
    return load(model, scale) if find(model, scale).files else None


def most_threads() -> int:
    """The most threads that an engine has."""
    asked = os.environ.get("HL_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else processors()


def _peak(threads: int) -> Callable[[], list[float]]:
    """What measures the peak, in 10^9 multiply-adds a second; it finds nothing without Halide."""
    try:
        from vsr.engines.peak import Peak
    except ImportError:
        return list
    kernel = Peak(threads)
    return lambda: [kernel.gmac_per_s()]


def frames(width: int, height: int) -> Pair:
    """Two frames that differ in every pixel: rings, a chequerboard and grain from black to white, and their negative.
    """
    y, x = np.mgrid[-256:256, -256:256]
    rings = 80 * np.sin((x * x + y * y) / 400) + 40 * np.sign(np.sin(x / 5) * np.sin(y / 7))
    grain = np.random.default_rng(0).normal(0, 8, rings.shape)
    tile = np.clip(np.rint(127.5 + rings + grain), 0, 255).astype(np.uint8)
    whole = np.tile(tile, (-(-height // 512), -(-width // 512)))[:height, :width]
    return np.ascontiguousarray(whole), 255 - whole


def still_frames(moving: Pair) -> Pair:
    """The first frame of two, and the same with a band of rows of the second."""
    changed = moving[0].copy()
    middle, rows = len(changed) // 2, max(1, round(len(changed) * CHANGING))
    changed[middle:middle + rows] = moving[1][middle:middle + rows]
    return moving[0], changed


def upscaled(engine: Engine, work: Iterator[Pair], seconds: float) -> list[float]:
    """The milliseconds that a frame takes, time after time, each with its output from ``work``. Where the engine likes
    to have frames ahead, from the end of one to the end of the next."""
    begun: deque[Callable[[], object]] = deque()

    def run(number: int) -> None:
        frame, out = next(work)
        if not engine.ahead:
            engine.upscale_into(frame, out)
            return
        begun.append(engine.begin(frame, out.shape))
        if len(begun) > engine.ahead:
            begun.popleft()()

    times = timed(run, seconds, LEAST_RUNS)
    for finish in begun:
        finish()
    return times


def timed(run: Callable[[int], object], seconds: float, least: int = 1) -> list[float]:
    """The milliseconds of each run of ``run(number)``: for so many ``seconds``, and of ``least`` runs if they take no
    more than four times as long. A first run is not counted."""
    run(0)
    times: list[float] = []
    spent = 0.0
    while spent < seconds or (len(times) < least and spent < 4 * seconds):
        begun = time.perf_counter()
        run(len(times) + 1)
        times.append(time.perf_counter() - begun)
        spent += times[-1]
    return [1000 * each for each in times]


def peak_rss_mb() -> float | None:
    """The most memory that this process had so far, in 10^6 bytes; None where the system (Windows) is not asked."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux' getrusage begins with what the parent had
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


# ---- a file ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileSpeed:
    """A file from end to end. ``fps`` counts from the opening of the input to the end of the output's self-check, in a
    process that has compiled what it needs; ``start_s`` is from giving the command to its first upscaled frame, with
    the interpreter's start, all imports and all compiling: the median of STARTS new processes.

    ``stage_ms`` is what each stage is busy with a frame. The stages overlap, each in a thread: the busiest one, the
    ``bottleneck``, sets the speed, and its number is about 1000 / fps unless they wait for each other. They also share
    the processors: ``processor_ms`` is what these work on a frame, all together. ``peak_rss_mb`` as `peak_rss_mb`, of a
    new process that does nothing else.
    """

    path: Path
    width: int
    height: int
    frames: int
    fps: float
    start_s: float
    stage_ms: dict[str, float]
    bottleneck: str
    processor_ms: float
    peak_rss_mb: float | None

    def busy(self, stage: str) -> float:
        """The share of the time that ``stage`` works."""
        return self.stage_ms[stage] * self.fps / 1000

    @property
    def processors_busy(self) -> float:
        """The share of the processors' time that is used. Near 1 they are what a faster stage would wait for."""
        return self.processor_ms * self.fps / 1000 / processors()

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"path": str(self.path)}


class _Begun(Exception):
    """A job has begun: its first frames are made and encoded once."""


def measure_file(path: Path, model: str = "fsrcnn-s", scale: int = 2, engine: str = "auto", precision: str = "auto",
                 threads: int | None = None, cancel: threading.Event | None = None,
                 seconds: float = FILE_SECONDS, warn: Warn | None = None, weights: Path | None = None) -> FileSpeed:
    """Upscale a video as `vsr upscale` does, into a temporary folder, or as much of its beginning as takes about so
    many ``seconds``; with a file of ``weights`` instead of a model's. Raises as `run`, and UsageError for a picture."""
    from vsr.events import Progress, Started, Warned
    from vsr.job import Control, Job, check_job
    from vsr.media.cut import Cut
    from vsr.media.probe import probe
    from vsr.pipeline import run

    told: dict[type, Any] = {}

    def begin(event: Event) -> None:
        if isinstance(event, Started):
            raise _Begun(event)

    def note(event: Event) -> None:
        told[type(event)] = event
        if warn and isinstance(event, Warned):
            warn(event.message)

    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        job = Job(path, Path(folder), scale, model=model, weights=weights, engine=engine, precision=precision,
                  threads=threads)
        if check_job(job):
            raise UsageError(f"{path} is a picture; give --file a video")
        try:
            run(job, begin, cancel)
        except _Begun as begin_of:
            estimate = begin_of.args[0].estimate
        if estimate is None or estimate.seconds > seconds:
            duration_s = probe(path).duration_s
            part = duration_s * seconds / estimate.seconds if estimate and duration_s else seconds
            job = replace(job, cut=Cut(Fraction(0), Fraction(part)))
        used = time.process_time()
        done = run(job, note, cancel)
        used = time.process_time() - used
        starts = []
        for number in range(STARTS):
            starts.append(measure_start(job, Path(folder, str(number))))
            Control(path, cancel, None).check()
        memory = in_new_process(MEMORY, job, Path(folder, "memory"))
        Control(path, cancel, None).check()
    assert done is not None  # nothing is skipped
    started: Started = told[Started]
    last: Progress = told[Progress]
    return FileSpeed(path, started.width, started.height, done.frames, done.frames / done.seconds,
                     float(np.median(starts)), last.stage_ms, last.bottleneck, 1000 * used / done.frames,
                     None if memory == "None" else float(memory))


def measure_start(job: Job, folder: Path) -> float:
    """The seconds from giving the command for ``job`` to its first upscaled frame, in a new process. What it begins to
    write goes into ``folder``, which it makes. Raises EngineError where there comes no frame."""
    begun = time.monotonic()  # one clock for all processes
    return float(in_new_process(FIRST_FRAME, job, folder)) - begun


def in_new_process(script: str, job: Job, folder: Path) -> str:
    """What ``script`` prints, given the arguments of `vsr` for ``job`` with its output in ``folder``, which it makes.
    Raises EngineError where it fails."""
    arguments = ["upscale", str(job.input.absolute()), "-o", f"{folder}{os.sep}", "--scale", str(job.scale), "--engine",
                 job.engine, "--precision", job.precision, "--progress", "none"]
    arguments += ["--weights", str(job.weights)] if job.weights else ["--model", job.model]
    if job.threads:
        arguments += ["--threads", str(job.threads)]
    if job.cut and job.cut.end is not None:
        arguments += ["--to", f"{float(job.cut.end):.3f}"]
    ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, errors="replace")
    if ended.returncode:
        said = ended.stderr.strip().rpartition("\n")[2]
        raise EngineError(f"a new process fails with {job.input}: status {ended.returncode}: {said}")
    return ended.stdout.strip()


@dataclass(frozen=True)
class WindowSpeed:
    """How the window keeps up with a video: when after its start it is painted, the longest time that it did nothing
    else than one thing, frames drawn in a second, and what drawing one takes."""

    first_paint_s: float
    longest_stall_ms: float
    drawn_fps: float
    draw_ms: float | None


def measure_window(path: Path, seconds: float = FILE_SECONDS, **chosen: object) -> WindowSpeed:
    """Play ``path`` for so long in a window of its own process; ``chosen`` are model, scale, engine and precision.

    Raises ``EngineError`` where there can be no window.
    """
    settings = [f"{name}={value}" for name, value in chosen.items()]
    return WindowSpeed(**_in_a_window(str(path), str(seconds), str(time.time()), *settings))


def measure_live_window(size: tuple[int, int], model: str, scale: int, engine: str = "auto", precision: str = "auto",
                        seconds: float = FILE_SECONDS) -> dict[str, Any]:
    """Show a live test picture of that size, 30 a second, for so long in a window of its own process: what the Live
    page's meter tells in the end, with latency up to the end of drawing. Raises ``EngineError`` as `measure_window`."""
    return _in_a_window("--live", str(seconds), "x".join(map(str, size)), model, str(scale), engine, precision)


def _in_a_window(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "ui.measure", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if ended.returncode:
        raise EngineError(f"the window fails: status {ended.returncode}: {ended.stderr.strip().rpartition(chr(10))[2]}")
    return dict(json.loads(ended.stdout.splitlines()[-1]))


# ---- other engines -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PeerSpeed:
    """What another engine takes for the same network and size; ``median_ms`` is None where it is not run: ``why``."""

    name: str
    version: str
    median_ms: float | None
    why: str | None = None


def measure_peers(model: str | Weights = "fsrcnn-s", scale: int = 2, size: tuple[int, int] = (960, 540),
                  threads: int | None = None, seconds: float = SECONDS) -> list[PeerSpeed]:
    """Time the other engines that are installed here, from float luma in memory to float luma in memory, which spares
    them what ours does with bytes. Each is in a process of its own: its memory and its crashes are its own."""
    weights = weights_of(model, scale)
    if weights is None:
        return []
    found: list[PeerSpeed] = []
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        file = Path(folder) / "weights.safetensors"
        save_file(file, weights)
        for module in PEERS:
            if importlib.util.find_spec(module) is None:
                continue
            arguments = [module, str(file), *map(str, size), str(threads or most_threads()), str(seconds)]
            command = [sys.executable, "-m", "vsr.peers", *arguments]
            try:
                ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PEER_LIMIT_S)
            except subprocess.TimeoutExpired:
                found.append(PeerSpeed(module, "", None, f"took more than {PEER_LIMIT_S} s"))
                continue
            if ended.returncode:
                said = ended.stderr.strip().rpartition("\n")[2]
                found.append(PeerSpeed(module, "", None, f"status {ended.returncode}: {said}"))
            else:
                found += [PeerSpeed(**speed) for speed in json.loads(ended.stdout.splitlines()[-1])]
    return found
