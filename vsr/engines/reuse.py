"""Exact reuse: what was computed from pixels that did not change need not be computed again.

Screens, cartoons, slides and still cameras repeat most of a frame. An output row depends on a few input rows; where
they are those of the plane before, its output is taken from there. Nothing is estimated: no byte differs.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np

GAP = 8  # rows between two runs that are rather computed than skipped: each run computes some rows of its own around it
LEAST = 1 / 8  # of the rows: what repeats less than this costs more to keep than it saves
HOPEFUL = 24  # planes: for so long after a repetition outputs are kept, and after one of too little none are


class Reuse:
    """Compares each plane with the one before, and keeps what was made of that.

    An output row of ``scale`` n depends on ``reach`` input rows above and below its own.
    Comparing and keeping all costs as much as copying it. So a few rows are looked at first, of which everything that
    does not change would contain one; the rest is done only when they tell of a repetition, and for a while after it.
    What stands still is thus computed twice before it is reused.
    """

    def __init__(self, scale: int, reach: int) -> None:
        self._scale, self._window = scale, 2 * reach + 1
        self._looked_at = self._kept = np.empty((0, 0), np.uint8)
        self._previous: np.ndarray | None = None  # the plane before, while there is hope
        self._valid = False  # whether what is kept is the output of the previous plane
        self._hope = self._wait = 0  # planes

    @contextlib.contextmanager
    def rows_to_compute(self, luma: np.ndarray, out: np.ndarray) -> Iterator[list[tuple[int, int]]]:
        """Runs (first, end) of the input rows whose output is to be computed; that of all others is then in ``out``.

        After the body, which computes them, the plane is the one before.
        """
        n, height = self._scale, len(luma)
        runs, valid = [(0, height)], self._valid
        self._valid = False  # until all is there: the body may fail
        self._look_at(luma)
        if self._hope:
            same = self._unchanged_rows(luma)
            if valid and same.any():
                runs = runs_of(~same, GAP)
                for (_, first), (end, _) in itertools.pairwise([(0, 0), *runs, (height, height)]):
                    if first < end:
                        out[n * first:n * end] = self._kept[n * first:n * end]
        else:
            self._previous = None
        yield runs
        if self._hope:
            if self._kept.shape != out.shape:
                self._kept = np.empty(out.shape, out.dtype)
            for first, end in runs:
                self._kept[n * first:n * end] = out[n * first:n * end]
            self._valid = True

    def _look_at(self, luma: np.ndarray) -> None:
        """Hope for as long as rows of this plane, or of one shortly before it, repeated."""
        rows = luma[::self._window]
        again = rows.shape == self._looked_at.shape and not (rows != self._looked_at).any(1).all()
        self._looked_at = rows.copy()
        self._wait = max(self._wait - 1, 0)
        self._hope = 0 if self._wait else HOPEFUL if again else max(self._hope - 1, 0)

    def _unchanged_rows(self, luma: np.ndarray) -> np.ndarray:
        """For each row whether all that its output depends on is as it was, (H,) bool; ``luma`` is now the previous."""
        if self._previous is None or self._previous.shape != luma.shape:
            self._previous = luma.copy()
            return np.zeros(len(luma), bool)
        changed = (luma != self._previous).any(1)
        np.copyto(self._previous, luma)
        # Rows beyond the border are copies of the outermost: they change when these do.
        around = np.lib.stride_tricks.sliding_window_view(np.pad(changed, self._window // 2), self._window)
        same = np.logical_not(around.any(1))
        if self._hope == HOPEFUL and np.mean(same) < LEAST:
            self._hope, self._wait = 0, HOPEFUL
        return same


def runs_of(wanted: np.ndarray, gap: int) -> list[tuple[int, int]]:
    """The runs (first, end) of true values in ``wanted`` (N,), those that are less than ``gap`` apart as one."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False)).tolist()
    runs: list[tuple[int, int]] = []
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        if runs and first - runs[-1][1] < gap:
            runs[-1] = runs[-1][0], end
        else:
            runs.append((first, end))
    return runs
