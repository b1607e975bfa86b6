"""Nothing is left over: threads, file handles, memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import Clip, Nearest

from vsr.errors import Cancelled, EngineError, VsrError
from vsr.pipeline import Job, run

HANDLES = Path("/proc/self/fd")
FRAMES = 20_000
GROWTH_MB = 8  # from a fifth of them to the end

# What upscales in a process of its own and prints its resident memory twice, in MB.
MEASURE = """
import sys
from pathlib import Path
from vsr.pipeline import Job, Progress, run
import vsr.pipeline
vsr.pipeline._PROGRESS_S = 0
seen = []

def watch(event):
    if isinstance(event, Progress) and event.frame >= (4_000, 19_900)[min(len(seen), 1)] and len(seen) < 2:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
        seen.append(resident)

run(Job(Path(sys.argv[1]), Path(sys.argv[2]), model="bicubic", preset="ultrafast"), watch)
print(*seen)
"""


def handles() -> list[str]:
    """What the open file handles of this process lead to."""
    found = []
    for handle in HANDLES.iterdir():
        try:
            found.append(os.readlink(handle))
        except FileNotFoundError:
            continue  # the one that lists them
    return sorted(name for name in found if not name.startswith("/proc"))


class Broken(Nearest):
    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        raise EngineError("out of luck")


def ends_well(clip: Clip) -> None:
    run(Job(clip("a.mp4", audio=1), model="bicubic", preset="ultrafast"))


def fails(clip: Clip) -> None:
    with pytest.raises(EngineError):
        run(Job(clip("b.mp4", audio=1), model="bicubic", preset="ultrafast"), engines=Broken)


def is_cancelled(clip: Clip) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        run(Job(clip("c.mkv", time_base=Fraction(1, 1000)), model="bicubic", preset="ultrafast"), cancel=cancel)


def is_damaged(clip: Clip) -> None:
    path = clip("d.mp4", audio=1, muxer_options={"movflags": "faststart"})
    whole = path.read_bytes()
    for kept in (len(whole) * 3 // 4, len(whole) // 4, 40):
        path.write_bytes(whole[:kept])
        try:
            run(Job(path, model="bicubic", preset="ultrafast", overwrite=True))
        except VsrError:
            continue


@pytest.mark.skipif(not HANDLES.is_dir(), reason="open files are listed by Linux only")
@pytest.mark.parametrize("job", [ends_well, fails, is_cancelled, is_damaged])
def test_no_thread_and_no_handle_is_left(job: Callable[[Clip], None], clip: Clip) -> None:
    ends_well(clip)  # what is loaded on first use stays
    gc.collect()
    before, threads = handles(), threading.active_count()
    job(lambda name, **options: clip(f"2-{name}", **options))
    gc.collect()
    assert handles() == before
    assert threading.active_count() == threads


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured on Linux only")
def test_memory_is_flat(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame(64, 48, "yuv420p")
        for number in range(FRAMES):
            for plane in frame.planes:
                plane.update(bytes([number % 200 + 20]) * plane.buffer_size)
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "out.mp4")]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    early, late = map(float, shown.split())
    assert late - early < GROWTH_MB, f"{early:.0f} MB after 4,000 frames, {late:.0f} MB after {FRAMES}"
