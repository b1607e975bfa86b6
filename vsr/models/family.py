"""The family `fsrcnn-s-video`: weights for one network from clean video to heavily compressed, and which suits a frame.

What suits depends on the quantiser, and on how sharp the picture is: where little detail is left, what compression put
there is the more of what is seen. Both are one number here, `coarseness`, in units of H.264's QP.
"""

from __future__ import annotations

import numpy as np

NAME, CLEAN = "fsrcnn-s-video", "fsrcnn-s"
MEMBERS = (CLEAN, *(f"{NAME}-{i}" for i in (1, 2, 3, 4)))
BOUNDS = (13.0, 17.5, 26.0, 34.5)  # coarseness from which on the next member makes the better picture
SHARPNESS = 13.0  # QP that weigh as much as a sharpness twice as high
SLACK = 1.5  # QP beyond a bound before another member is taken
RATE = 1 / 16  # weight of a frame in the mean that is followed
KEY = 2.5  # QP by which key frames are finer than those that follow them
CUT = 6.0  # QP by which a key frame differs where it begins another scene or another programme
ROWS = 32  # of a picture that are looked at


def sharpness(luma: np.ndarray, bits: int) -> float:
    """log2 of how large second differences along the rows are beside first ones; 1 at most for white noise, below 0 for
    what is blurred. ``luma`` (H, W) holds codes of ``bits`` bits."""
    rows = (luma[::max(1, len(luma) // ROWS)] >> (bits - 8)).astype(np.int16)
    if rows.shape[1] < 3:
        return 0.0
    slope = np.diff(rows)
    return float(np.log2((np.abs(np.diff(slope)).mean() + 0.05) / (np.abs(slope).mean() + 0.05)))


def coarseness(quantizer: float, sharp: float) -> float:
    """How coarse a picture is that was quantised so (H.264's QP) and is so ``sharp`` (as `sharpness` says)."""
    return quantizer - SHARPNESS * sharp


class Choice:
    """Follows the frames of one video: ``member`` is the index in `MEMBERS` of what suits them, the first of them until
    there is a quantiser.

    It follows a running mean, and leaves a member only well beyond its bounds, so that the wobble from frame to frame
    changes nothing; a key frame that is quite different begins anew. The past alone decides.
    """

    def __init__(self) -> None:
        self.member = 0
        self._mean: float | None = None

    def __call__(self, luma: np.ndarray, bits: int, quantizer: float | None, key: bool) -> int:
        """The member for a frame of this ``luma`` (H, W), with codes of ``bits`` bits, and quantiser."""
        if quantizer is None:
            return self.member
        now = coarseness(quantizer + KEY * key, sharpness(luma, bits))
        if self._mean is None or (key and abs(now - self._mean) > CUT):
            self._mean = now
            self.member = int(np.searchsorted(BOUNDS, now, "right"))
        self._mean += RATE * (now - self._mean)
        while self.member < len(BOUNDS) and self._mean > BOUNDS[self.member] + SLACK:
            self.member += 1
        while self.member > 0 and self._mean < BOUNDS[self.member - 1] - SLACK:
            self.member -= 1
        return self.member
