"""VMAF of a picture or a video, by the libvmaf of the machine's ffmpeg command, where it has that."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from functools import cache
from types import TracebackType
from typing import Self

import numpy as np

_SCORE = re.compile(rb"VMAF score: (\d+\.?\d*)")


@cache
def has_vmaf() -> bool:
    """Whether there is an ffmpeg command here that has libvmaf."""
    try:
        run = subprocess.run(["ffmpeg", "-hide_banner", "-filters"], stdin=subprocess.DEVNULL, capture_output=True)
    except OSError:
        return False
    return b" libvmaf " in run.stdout


class Vmaf:
    """The VMAF (model vmaf_v0.6.1, of luma alone) of pictures that are added one by one. A context manager."""

    def __init__(self, height: int, width: int) -> None:
        self._shape, self._fit = (height, width), True
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe that nobody reads would fill up)
        self._process = subprocess.Popen([
            "ffmpeg", "-hide_banner", "-nostats",
            # Both pictures come in one stream, the truth below: there is one pipe into a process everywhere.
            "-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", f"{width}x{2 * height}", "-i", "pipe:0", "-lavfi",
            f"split[a][b];[a]crop={width}:{height}:0:0[made];[b]crop={width}:{height}:0:{height}[truth];"
            "[made][truth]libvmaf", "-f", "null", "-",
        ], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._messages)
        self._grey = bytes([128]) * (4 * height * width)

    def add(self, picture: np.ndarray, truth: np.ndarray) -> None:
        """The next picture: uint8 luma (H, W)."""
        assert self._process.stdin
        self._fit &= picture.shape == truth.shape == self._shape
        if not self._fit:
            return
        with contextlib.suppress(BrokenPipeError):  # then there is no score in the end
            for plane in (picture.tobytes(), truth.tobytes(), self._grey):
                self._process.stdin.write(plane)

    def score(self) -> float | None:
        """The mean of all, from 0 to 100; None where libvmaf cannot tell: of tiny pictures, and of several sizes."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        failed = self._process.wait()
        self._messages.seek(0)
        said = _SCORE.search(self._messages.read())
        return float(said[1]) if said and self._fit and not failed else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._messages.close()
