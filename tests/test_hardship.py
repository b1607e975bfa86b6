"""Jobs in a hostile world: killed, out of space, the folder gone, odd names. Clear behaviour, and nothing half-made."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Clip
from facts import by_pyav

from vsr.cli import main

CHEAP = ["--model", "bicubic", "--preset", "ultrafast"]
LONG = {"size": (320, 240), "pts": range(0, 600 * 512, 512), "options": {"preset": "ultrafast"}}
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")


@contextmanager
def under_way(path: Path, *options: str, program: Sequence[str] = ("-m", "vsr")) -> Iterator[subprocess.Popen[str]]:
    """A process that upscales ``path``, once it has made some frames; killed at the end if it still runs."""
    command = [sys.executable, *program, "upscale", str(path), "--progress", "json", *CHEAP, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout
        for line in run.stdout:
            if json.loads(line)["event"] == "progress":
                break
        try:
            yield run
        finally:
            run.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# The command line with an engine that takes its time for every frame but the first few, and tells when it was
# interrupted once.
SLOW = """
import signal, sys, time
from vsr.cli import main
from vsr.upscale import Upscaler

begin = Upscaler.begin

def slow(self, frame):
    for _ in range(200 if frame.pts > 4 * 512 else 0):
        time.sleep(0.01)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            print('{"event": "heard"}', flush=True)
            time.sleep(5)
            break
    return begin(self, frame)

Upscaler.begin = slow
sys.exit(main())
"""


@posix
def test_a_second_interrupt_does_not_wait_for_the_frame_and_leaves_nothing(clip: Clip, tmp_path: Path) -> None:
    with under_way(clip("a.mp4"), program=("-c", SLOW)) as run:
        run.send_signal(signal.SIGINT)
        assert run.stdout and any("heard" in line for line in run.stdout)  # the same signal twice at once is one
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 130
    assert errors == "vsr: interrupted\n"
    assert names(tmp_path) == ["a.mp4"]


@posix
def test_after_a_kill_nothing_has_the_final_name_and_the_next_run_works(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mp4", **LONG)
    with under_way(path) as run:
        run.kill()
        run.communicate(timeout=120)
    assert not (tmp_path / "a_x2.mp4").exists()
    path.write_bytes(clip("b.mp4").read_bytes())
    assert main(["upscale", str(path), *CHEAP]) == 0
    assert len(by_pyav(tmp_path / "a_x2.mp4").times) == 12


@posix
def test_a_full_disk_is_one_line(clip: Clip, tmp_path: Path) -> None:
    import resource

    path = clip("a.mp4", size=(96, 64), pts=range(0, 60 * 512, 512), audio=1)
    limit = path.stat().st_size // 2
    command = [sys.executable, "-m", "vsr", "upscale", str(path), *CHEAP, "--crf", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))  # fmt: skip
    assert run.returncode == 4
    assert len(run.stderr.splitlines()) == 1 and "cannot be written" in run.stderr
    assert names(tmp_path) == ["a.mp4"]


@posix
def test_a_folder_that_vanishes_is_one_line(clip: Clip, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with under_way(clip("a.mp4", **LONG), "-o", str(folder / "out.mp4")) as run:
        shutil.rmtree(folder)
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 4
    assert len(errors.splitlines()) == 1 and str(folder) in errors
    assert not folder.exists()


@posix
def test_an_input_that_vanishes_is_still_read_to_its_end(clip: Clip, tmp_path: Path) -> None:
    path = clip("a.mp4", **LONG)
    with under_way(path) as run:
        path.unlink()
        run.communicate(timeout=120)
    assert run.returncode == 0
    assert len(by_pyav(tmp_path / "a_x2.mp4").times) == len(LONG["pts"])


LONGEST = 255  # bytes of a name, on all file systems that matter


@pytest.mark.parametrize(
    "name",
    ["snowman ☃ ünïcödé 日本.mp4", "-s.mp4", "--overwrite.mp4", "100%.mp4", "%03d.mp4", "%s%n.mkv", "a:b.mp4",
     "http:x.mp4", "a'b\"c.mp4", "a\\b.mp4", "two\nlines.mp4", " .mp4", "...mp4", "[0-9]*?.mp4", "pipe:.mp4"],
)  # fmt: skip
@pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids most of these")
def test_odd_names(name: str, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    shutil.move(clip(f"plain{path.suffix}"), path)
    monkeypatch.chdir(tmp_path)
    assert main(["upscale", *CHEAP, "--", name]) == 0
    assert names(tmp_path) == sorted([name, f"{path.stem}_x2{path.suffix}"])
    assert len(by_pyav(tmp_path / f"{path.stem}_x2{path.suffix}").times) == 12


@pytest.mark.skipif(sys.platform == "win32", reason="counts bytes")
def test_names_as_long_as_they_may_be(clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fits = tmp_path / f"{'ü' * ((LONGEST - 8) // 2)}.mp4"  # room for _x2
    shutil.move(clip("a.mp4"), fits)
    assert main(["upscale", str(fits), *CHEAP]) == 0
    assert (tmp_path / f"{fits.stem}_x2.mp4").is_file()

    full = tmp_path / f"{'x' * (LONGEST - 4)}.mp4"
    shutil.move(clip("b.mp4"), full)
    capsys.readouterr()
    assert main(["upscale", str(full), *CHEAP]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["upscale", str(full), "-o", str(tmp_path / "short.mp4"), *CHEAP]) == 0


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0,
                    reason="needs a user whom permissions bind")  # fmt: skip
def test_a_folder_that_cannot_be_written_to(clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = clip("a.mp4"), tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert main(["upscale", str(path), "-o", str(folder), *CHEAP]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1
