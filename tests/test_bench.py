"""The benchmark: that its numbers belong together, that it says what it cannot measure, and that nothing is left."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import speed
from conftest import Clip, Nearest
from test_networks import random_net

from vsr import bench, player
from vsr.cli import main
from vsr.engines.contract import processors
from vsr.errors import Cancelled, EngineError
from vsr.job import Job
from vsr.models.catalogue import random_weights, save_file
from vsr.models.networks import NETWORKS

KEYS = {"v", "cpu", "width", "height", "scale", "model", "engine", "precision", "threads", "median_ms", "p95_ms", "fps",
        "gmac_per_s", "peak_gmac_per_s", "peak_share", "still_ms", "reused", "peak_rss_mb", "file", "others"}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """`vsr bench` with short measurements."""
    for name in ("measure_engine", "measure_peers"):
        monkeypatch.setattr(bench, name, functools.partial(getattr(bench, name), seconds=0.02))
    monkeypatch.setattr(bench, "WARM_UP_S", 0.01)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_numbers_belong_together(short: None, temporary: Path, clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("halide", reason="the peak is measured by halide, which has no wheel for this machine")
    path = clip("a.mp4", audio=1, pts=range(0, 50 * 512, 512))
    before = sorted(path.parent.iterdir())
    begun = time.monotonic()
    fixed = ["--engine", "cpu", "--precision", "fp32", "--threads", "1"]
    assert main(["bench", "--size", "96x64", "-s", "3", *fixed, "--file", str(path), "--json"]) == 0
    seconds = time.monotonic() - begun
    assert sorted(path.parent.iterdir()) == before and not list(temporary.iterdir())

    told = json.loads(capsys.readouterr().out)
    assert set(told) == KEYS
    assert told["v"] == 1 and (told["width"], told["height"], told["scale"], told["threads"]) == (96, 64, 3, 1)
    assert (told["model"], told["engine"], told["precision"]) == ("fsrcnn-s", "cpu", "fp32")
    assert 0 < told["median_ms"] <= told["p95_ms"]
    assert told["fps"] == pytest.approx(1000 / told["median_ms"])
    assert told["gmac_per_s"] == pytest.approx(3937 * 96 * 64 * told["fps"] / 1e9)
    assert told["peak_share"] == pytest.approx(told["gmac_per_s"] / told["peak_gmac_per_s"])
    assert told["still_ms"] > 0 and 0 <= told["reused"] <= 1 and told["peak_rss_mb"] > 20

    file = told["file"]
    assert (file["width"], file["height"], file["frames"]) == (144, 96, 50)
    assert set(file["stage_ms"]) == {"decode", "upscale", "encode"}
    assert file["stage_ms"][file["bottleneck"]] == max(file["stage_ms"].values())
    # Each stage works in one thread, and all of them within the job.
    assert 0 < max(file["stage_ms"].values()) <= 1000 / file["fps"] <= 1000 * seconds / 50
    assert file["processor_ms"] > 0 and file["start_s"] > 0 and file["peak_rss_mb"] > 20

    eager = told["others"][0]
    assert eager["name"] == "PyTorch eager fp32" and eager["median_ms"] > 0 and eager["version"]
    assert all((other["median_ms"] is None) == bool(other["why"]) for other in told["others"])


def test_in_words(short: None, clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--size", "64x48", "--file", str(clip("a.mp4"))]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("a.mp4", "decode", "upscale", "encode", "the bottleneck", "64x48 → 128x96",
                                        "engine", "still", "GMAC/s", "memory", "PyTorch eager fp32"))


def test_bicubic_has_no_multiply_adds_and_no_others(short: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--size", "64x48", "--model", "bicubic", "--engine", "reference", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == KEYS and told["model"] == "bicubic" and told["file"] is None
    assert told["gmac_per_s"] is told["peak_share"] is None and told["others"] == []


def test_without_halide_there_is_no_peak(short: None, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "vsr.engines.peak", None)
    monkeypatch.setattr(bench, "PEERS", ())
    arguments = ["bench", "--size", "32x32", "--engine", "reference"]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["engine"] == "reference" and told["gmac_per_s"] > 0
    assert told["peak_gmac_per_s"] is told["peak_share"] is None
    assert main(arguments) == 0
    assert "the most that there are is not known" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [
    ["--size", "big"], ["--size", "0x9"], ["-s", "5"], ["-s", "2,3"], ["--model", "none"], ["--engine", "none"],
    ["--precision", "fp7"], ["--threads", "0"], ["--file", ""], ["--file", "{picture}"], ["file.mp4"],
], ids=" ".join)  # fmt: skip
def test_wrong_arguments(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.full((16, 24, 3), 90, np.uint8))
    assert main(["bench", *(text.format(picture=picture) for text in wrong)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("content", [None, b"no video"])
def test_a_file_that_cannot_be_read(content: bytes | None, temporary: Path, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mp4"
    if content:
        path.write_bytes(content)
    assert main(["bench", "--file", str(path)]) == 3
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1 and not list(temporary.iterdir())


def test_of_a_long_file_the_beginning_is_measured(temporary: Path, clip: Clip) -> None:
    path = clip("a.mkv", size=(160, 120), pts=range(0, 400 * 512, 512))
    assert bench.measure_file(path, "bicubic", seconds=60).frames == 400
    assert 1 <= bench.measure_file(path, "bicubic", seconds=0.02).frames < 200
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        bench.measure_file(path, "bicubic", cancel=cancel)
    assert not list(temporary.iterdir())


def test_a_crash_of_another_engine_is_told(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    monkeypatch.setattr(bench, "PEERS", ("no_such_module", "json"))  # the second is there, and no engine
    crashed, = bench.measure_peers(size=(32, 32))
    assert (crashed.name, crashed.median_ms) == ("json", None)
    assert crashed.why and crashed.why.startswith("status 1: ")
    assert not list(temporary.iterdir())


def test_frames_are_pictures_that_differ_everywhere() -> None:
    for size in ((960, 540), (1, 1), (1025, 513)):
        first, second = bench.frames(*size)
        assert first.shape == second.shape == size[::-1] and first.dtype == second.dtype == np.uint8
        assert first.flags.c_contiguous and second.flags.c_contiguous
        assert (first != second).all()
    first, second = bench.frames(960, 540)
    assert {0, 255} <= set(first.flat) and len(set(first.flat)) == 256
    before, after = bench.still_frames((first, second))
    changed = (before != after).all(1)
    assert changed.sum() == 54 and ((before != after).any(1) == changed).all()


def test_an_engine_that_likes_frames_ahead_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(Nearest):
        ahead = 2

        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__("fsrcnn-s", 2)
            self.name = "cuda"

        def begin(self, *args: Any) -> Callable[[], list[np.ndarray]]:
            nonlocal under_way
            under_way += 1
            most.append(under_way)
            return functools.partial(self.finish, super().begin(*args))

        def finish(self, finish: Callable[[], list[np.ndarray]]) -> list[np.ndarray]:
            nonlocal under_way
            under_way -= 1
            return finish()

    most: list[int] = []
    under_way = 0
    monkeypatch.setattr(bench, "open_engine", Ahead)
    measured = bench.measure_engine(size=(32, 32), seconds=0.01)
    assert max(most) == 3 and under_way == 0
    assert measured.engine == "cuda" and measured.gmac_per_s and measured.peak_gmac_per_s is None


def test_only_the_still_camera_repeats_and_engines_are_heard(short: None, monkeypatch: pytest.MonkeyPatch,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    class Hearing(Nearest):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__("fsrcnn-s", 2)
            self.warnings.append(("engine", "no luck with the GPU"))
            self.rows: list[set[bool]] = []  # for each plane, whether rows are as before
            self.before = np.empty((0, 0), np.uint8)
            opened.append(self)

        def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
            if self.before.size:
                self.rows.append(set((luma == self.before).all(1).tolist()))
            self.before = luma
            super()._run(luma, out)

    opened: list[Hearing] = []
    monkeypatch.setattr(bench, "open_engine", Hearing)
    monkeypatch.setattr(bench, "PEERS", ())
    assert main(["bench", "--size", "32x32", "--json"]) == 0
    assert capsys.readouterr().err == "vsr: warning: no luck with the GPU\n"
    moving, still = opened
    assert all(rows == {False} for rows in moving.rows) and len(moving.rows) > 4 * bench.LEAST_RUNS
    assert all(rows == {False, True} for rows in still.rows) and len(still.rows) > 4 * bench.LEAST_RUNS


def test_a_weight_file_is_measured_as_a_model_is(
    short: None, temporary: Path, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At its own scale, the file job in new processes, too; a network that only the reference computes, as well."""
    monkeypatch.setattr(bench, "PEERS", ("onnxruntime",))
    monkeypatch.setattr(bench, "STARTS", 1)
    monkeypatch.setattr(bench, "MEMORY", "print(None)")
    weights, other = tmp_path / "ours.safetensors", tmp_path / "srcnn.safetensors"
    save_file(weights, random_weights(8, 4, 1, 3))
    save_file(other, random_net(NETWORKS["srcnn-9-1-5"], 2).to_weights("theirs"))
    arguments = ["bench", "--size", "32x32", "--json", "--weights"]
    assert main([*arguments, str(weights), "--file", str(clip("a.mp4"))]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["scale"]) == ("random-8-4-1", 3)
    assert told["file"]["width"] == 3 * 48 and told["file"]["start_s"] > 0
    assert main([*arguments, str(other)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["engine"]) == ("theirs", "reference") and told["gmac_per_s"] > 0
    assert all(each["median_ms"] is None and "FSRCNN(d,s,m)" in each["why"] for each in told["others"])
    assert main([*arguments, str(weights), "-s", "2"]) == 2
    assert main([*arguments, str(weights), "--model", "fsrcnn-s"]) == 2
    assert main([*arguments, str(weights), "--play", "a.mp4"]) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity that Python can set")
def test_threads_are_as_many_as_the_processors_that_this_process_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HL_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    allowed = os.sched_getaffinity(0)
    assert bench.most_threads() == processors() == len(allowed)
    script = """if True:
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import numpy as np, vsr
        before = len(os.listdir("/proc/self/task"))
        vsr.open_engine(engine="cpu").upscale(np.zeros((400, 400), np.uint8))
        print(len(os.listdir("/proc/self/task")) - before)
    """
    pytest.importorskip("halide", reason="the pool is halide's, which has no wheel for this machine")
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert run.stdout == "0\n"  # the pool has the one that calls it


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="status 3: vsr: "):
        bench.measure_start(Job(tmp_path / "none.mp4"), tmp_path / "made")


def test_rows_are_compiled_for_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in ("", "host", None):
        if asked is None:
            monkeypatch.delenv("HL_JIT_TARGET")
        else:
            monkeypatch.setenv("HL_JIT_TARGET", asked)
        for target in (speed.AVX2, None):
            with speed.compiling_for(target):
                assert os.environ.get("HL_JIT_TARGET") == (target or asked)
            assert os.environ.get("HL_JIT_TARGET") == asked


def test_timing_counts_every_run_but_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    calls: list[int] = []

    def a_second(number: int) -> None:
        calls.append(number)
        now[0] += 1

    assert bench.timed(a_second, 2.5) == [1000] * 3 and calls == [0, 1, 2, 3]
    assert len(bench.timed(a_second, 2.5, least=7)) == 7
    assert len(bench.timed(a_second, 2.5, least=70)) == 10  # a slow one is not waited for


def test_the_peak_is_of_multiply_adds_that_are_done() -> None:
    pytest.importorskip("halide", reason="the peak is measured by halide, which has no wheel for this machine")
    from vsr.engines.peak import Peak

    kernel = Peak(2)
    chains, lanes = kernel.run(1, 1, 0).shape[1:]
    expected = np.add.outer(np.arange(chains, dtype=np.float32), np.arange(lanes, dtype=np.float32))
    for _ in range(5):
        expected = expected * np.float32(0.5) + np.float32(3)
    assert np.allclose(kernel.run(5, 0.5, 3), np.stack([expected] * 2), rtol=1e-6)
    assert kernel.gmac_per_s() > 0



def test_the_document_says_what_was_reached_and_what_not(capsys: pytest.CaptureFixture[str]) -> None:
    def row(precision: str, median_ms: float, psnr: float | None, code: str = speed.NATIVE) -> speed.Row:
        measured = bench.EngineSpeed(960, 540, 2, "fsrcnn-s", "cpu", precision, 2, median_ms, median_ms,
                                     2041 / median_ms, 250, median_ms / 5, 0.9)
        return speed.Row("FSRCNN-s", 2, "cpu", precision, code, measured, psnr=psnr)

    rows = [row("fp32", 10, 32.36), row("bf16", 7, 32.35), row("int8", 5, 32.32), row("fp32", 30, None, "AVX2"),
            speed.Row("FSRCNN-s", 3, "cpu", "fp32", speed.NATIVE, None, "no luck")]
    stages = {"decode": 2.0, "upscale": 12.0, "encode": 25.0}
    file = bench.FileSpeed(Path("a.mp4"), 1920, 1080, 150, 40, 1.5, stages, "encode", 45.4, 400.0)
    lines = [aim.line() for aim in speed.aims(rows, file, "no GPU")]
    said = {line[0]: line[1:] for line in lines}
    assert len(said) == len(lines)
    assert said["×2, fp32"] == ("≤ 11 ms", "10 ms", "✓", "")
    assert said["the same, of the fp32 peak"][:3] == ("≥ 85 %", "81.6 %", "✗")
    assert said["×2, the fastest within 0.03 dB: bf16"][:3] == ("≤ 6 ms", "7 ms", "✗")  # int8 loses too much
    assert said["×3, fp32"] == ("≤ 11 ms", "not measured", "", "no luck")
    assert said["×2, fp32, code for AVX2"][2] == "✗"
    assert said["still camera, 90 % of the rows unchanged"][2] == "✓"
    assert said["file, 960×540 → 1920×1080, H.264 veryfast"][1:3] == ("40 fps", "✗")
    assert "bottleneck is encode" in said["file, 960×540 → 1920×1080, H.264 veryfast"][3]
    assert said["the same, peak memory"] == ("≤ 500 MB", "400 MB", "✓", "")
    assert said["the same, from the command to the first upscaled frame"] == ("≤ 1.5 s", "1.5 s", "✓", "")
    speed.table("a | b:", [(1, "x")])
    assert capsys.readouterr().out == "| a | b |\n|---|---:|\n| 1 | x |\n\n"
    assert not any(aim.measured for aim in speed.aims([], None, "no GPU"))


def test_a_live_picture_is_measured_in_the_window(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measure_live_window", functools.partial(bench.measure_live_window, seconds=3))
    arguments = ["bench", "--live", "--model", "bicubic", "--size", "320x180"]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["v"], told["width"], told["height"], told["scale"], told["mode"]) == (1, 320, 180, 2, "Bicubic")
    assert told["fps"] > 0 and told["capture_fps"] > 0 and told["stage_ms"]["show"] > 0
    assert told["stage_ms"]["show"] < told["latency_ms"]["p95"] >= told["latency_ms"]["median"] > 0
    assert main(arguments) == 0
    assert "320x180 → 640x360 live in a window" in capsys.readouterr().out


def test_playing_is_measured(clip: Clip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(player, "measure_playing", functools.partial(player.measure_playing, seconds=1.5))
    monkeypatch.setattr(bench, "measure_window", functools.partial(bench.measure_window, seconds=1.5))
    path = str(clip("a.mp4"))
    assert main(["bench", "--play", path, "--model", "bicubic", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["v"] == 1 and told["video_fps"] == 25 and told["meter"]["shown"] > 1
    assert told["window"]["drawn_fps"] > 1 and told["window"]["longest_stall_ms"] > 0
    assert told["engine"] and abs(told["shown_fps"] * told["seconds"] - told["meter"]["shown"]) <= 1
    assert main(["bench", "--play", path, "--model", "bicubic"]) == 0
    said = capsys.readouterr().out
    assert "25.00 are shown" in said and "longest stall" in said and "never stood still" in said
    assert main(["bench", "--play", path, "--file", path]) == 2
