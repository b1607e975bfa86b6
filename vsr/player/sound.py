"""A player's sound, for a device that asks for it; the clock is where that device is."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vsr.errors import VsrError
from vsr.media.reel import CHANNELS, Block, Track
from vsr.player.course import Course, Loop
from vsr.prefetch import prefetch

AHEAD = 16  # blocks that are decoded before they are asked for


class Sound:
    """What ``track`` sounds like on ``course``. Errors are told in ``messages``; from there on it is silent."""

    def __init__(self, course: Course, track: Track, messages: deque[tuple[str, str]]) -> None:
        self._course, self._track, self._messages = course, track, messages
        self._lock = threading.Lock()
        self._blocks: Generator[Block] | None = None
        self._run = 0  # of the clock's, which the blocks belong to
        self._time = 0.0  # of the next sample
        self._left = np.empty((0, CHANNELS), np.float32)  # of the block before

    def next(self, samples: int, latency_s: float) -> np.ndarray:
        """(samples, 2) float32, the first of them heard in ``latency_s``; what there is not is silent."""
        out = np.zeros((samples, CHANNELS), np.float32)
        course, clock = self._course, self._course.clock
        with self._lock:
            with course.changes:
                run, rate, now = course.runs, clock.rate, clock.now()
                begin, loop = clock.time + latency_s, course.order.loop
            if rate != 1 or self._track.stream is None or course.closing:
                return out
            if self._blocks is None or run != self._run:
                self._end()
                self._blocks, self._run, self._time = prefetch(self._on(begin, loop), AHEAD), run, begin
            filled = 0
            while filled < samples:
                if not len(self._left):
                    block = self._next_block(self._blocks)
                    if block is None:
                        break
                    self._left = block.samples
                piece = self._left[: samples - filled]
                out[filled : filled + len(piece)] = piece
                self._left = self._left[len(piece) :]
                filled += len(piece)
            with course.changes.telling():
                if run == course.runs:
                    clock.set(self._time - latency_s, now)
            self._time += samples / self._track.rate
        return out

    def close(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._blocks is not None:
            self._blocks.close()
        self._blocks, self._left = None, np.empty((0, CHANNELS), np.float32)

    def _next_block(self, blocks: Generator[Block]) -> Block | None:
        try:
            return next(blocks, None)
        except VsrError as error:
            self._messages.append(("sound", str(error)))
            return None

    def _on(self, begin: float, loop: Loop | None) -> Generator[Block]:
        """The sound from running time ``begin`` on, its end silent where something follows."""
        rate = self._track.rate
        start = Fraction(round(begin * rate), rate)
        while True:
            if loop is None:
                yield from self._track.blocks(start)
                return
            start = loop[0] + (start - loop[0]) % (loop[1] - loop[0])
            left = round((loop[1] - start) * rate)
            with contextlib.closing(self._track.blocks(start)) as blocks:
                for block in blocks:
                    yield replace(block, samples=block.samples[:left])
                    left -= len(block.samples)
                    if left <= 0:
                        break
            if left > 0:
                yield Block(loop[1] - Fraction(left, rate), np.zeros((left, CHANNELS), np.float32))
            start = loop[1]
