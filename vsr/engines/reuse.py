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
HOPEFUL = 24  # planes since anything repeated: for so long, outputs are kept


class Reuse:
    """Compares each plane with the one before, and keeps what was made of that.

    An output row of ``scale`` n depends on ``reach`` input rows above and below its own.
    Comparing and keeping all costs as much as copying it. So a few rows are looked at first, of which everything that
    does not change would contain one; the rest is done only when they tell of a repetition, and for a while after it.
    What stands still is thus computed twice before it is reused.
    """

    def __init__(self, scale: int, reach: int) -> None:
        self._scale, self._window = scale, 2 * reach + 1
        self._looked_at = self._previous = self._kept = np.empty((0, 0), np.uint8)
        self._valid = False  # whether what is kept is the output of the previous plane
        self._hope = 0

    @contextlib.contextmanager
    def rows_to_compute(self, luma: np.ndarray, out: np.ndarray) -> Iterator[list[tuple[int, int]]]:
        """Runs (first, end) of the input rows whose output is to be computed; that of all others is then in ``out``.

        After the body, which computes them, the plane is the one before.
        """
        n, height = self._scale, len(luma)
        runs, valid = [(0, height)], self._valid
        self._valid = False  # until all is there: the body may fail
        if self._hopeful(luma):
            same = self._unchanged_rows(luma)
            if valid and same.any():
                runs = runs_of(~same, GAP)
                for (_, first), (end, _) in itertools.pairwise([(0, 0), *runs, (height, height)]):
                    if first < end:
                        out[n * first:n * end] = self._kept[n * first:n * end]
        yield runs
        if self._hope > 0:
            if self._kept.shape != out.shape:
                self._kept = np.empty(out.shape, out.dtype)
            for first, end in runs:
                self._kept[n * first:n * end] = out[n * first:n * end]
            self._valid = True

    def _hopeful(self, luma: np.ndarray) -> bool:
        """Whether rows of this plane, or of one shortly before it, repeated."""
        rows = luma[::self._window]
        again = rows.shape == self._looked_at.shape and not (rows != self._looked_at).any(1).all()
        self._looked_at = rows.copy()
        self._hope = HOPEFUL if again else self._hope - 1
        return self._hope > 0

    def _unchanged_rows(self, luma: np.ndarray) -> np.ndarray:
        """For each row whether all that its output depends on is as it was, (H,) bool; ``luma`` is now the previous."""
        if self._previous.shape != luma.shape:
            self._previous = luma.copy()
            return np.zeros(len(luma), bool)
        changed = (luma != self._previous).any(1)
        np.copyto(self._previous, luma)
        # Rows beyond the border are copies of the outermost: they change when these do.
        around = np.lib.stride_tricks.sliding_window_view(np.pad(changed, self._window // 2), self._window)
        return np.logical_not(around.any(1))


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
