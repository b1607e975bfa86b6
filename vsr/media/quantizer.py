"""How coarsely frames were quantised, on one scale for all codecs: from what their decoder tells, or estimated.

The scale is H.264's QP: 0 to 51, where 6 more is twice the step. A step of s (of an orthonormal transform, in codes of
8 bits) is QP 4 + 6·log2(s); of a codec that leaves less error at the same step, it counts as less.
"""

from __future__ import annotations

import numpy as np

# AVVideoEncParams: number of blocks, offset and size of one, kind, QP of the frame; in a block: its QP less that
_HEAD = np.dtype({"names": ["blocks", "offset", "size", "kind", "qp"], "formats": ["<u4", "<u8", "<u8", "<i4", "<i4"],
                  "offsets": [0, 8, 16, 24, 28]})
_DELTA = 16
# VP9 and AV1: the indices between which QP is nearly linear, and their AC steps there, in eighths
_INDICES = (0, 1, 4, 9, 17, 32, 57, 95, 120, 150, 255)
_STEPS = (4, 8, 11, 16, 24, 39, 64, 102, 152, 255, 1828)
# (a, b): a + b·QP is the QP at which H.264 errs as much as the codec does at its own
_EQUAL = {"vp9": (0.3, 0.81), "mpeg": (0.5, 1.0), "hevc": (-1.0, 0.87), "av1": (4.0, 0.68)}
# Of codecs whose decoders do not tell: what each piece of `Quantizers.evidence` counts. By tests/quantizers.py, which
# finds root mean squares of 3.1 (HEVC) and 2.5 (AV1) QP for the errors on clips that it does not fit.
_ESTIMATED = {"hevc": (3.08, -5.21, -3.26, 4.05), "av1": (4.23, -5.21, -3.12, 4.2)}
_ROWS = 64  # of a picture that are looked at
_RATE = 1 / 16  # weight of a frame in the means
_OTHERS = -4.5  # log2 of what other frames usually take beside key frames
_MOVING = -4.0, -2.0  # log2 of the motion beside the detail between which other frames begin to say something


def qp_of_step(step: float) -> float:
    """The QP of a quantiser step: that of an orthonormal transform, in codes of 8 bits."""
    return 4 + 6 * float(np.log2(step))


def qp_of_index(index: float) -> float:
    """The QP of a quantiser index of VP9 and AV1, 0 to 255; within 0.3 of their tables."""
    return float(np.interp(index, _INDICES, 4 + 6 * np.log2(np.array(_STEPS) / 8)))


def as_h264(codec: str, qp: float) -> float:
    """The QP at which H.264 errs as much as ``codec`` does at its ``qp``."""
    add, factor = _EQUAL[codec]
    return add + factor * qp


def told(parameters: bytes | memoryview, bits: int = 8) -> float | None:
    """The mean of a frame from FFmpeg's VIDEO_ENC_PARAMS (an AVVideoEncParams), as H.264's; None for an unknown kind.

    H.264 has a QP for each macroblock, VP9 one index for the frame, beside segments; MPEG-1, 2 and 4 and H.263 have
    steps, which their matrices stretch. FFmpeg counts H.264's for codes of more than 8 ``bits`` from where those begin.
    """
    head = np.frombuffer(parameters, _HEAD, 1)[0]
    deltas = np.zeros(1)
    if head["blocks"]:
        size, offset = int(head["size"]), int(head["offset"])
        deltas = np.ndarray(int(head["blocks"]), "<i4", parameters, offset + _DELTA, (size,))
    mean = float(head["qp"] + deltas.mean())
    match int(head["kind"]):
        case 0:
            return as_h264("vp9", qp_of_index(mean))
        case 1:
            return mean - 6 * (bits - 8)
        case 2:
            return as_h264("mpeg", qp_of_step(max(1.0, mean)))
    return None


class Quantizers:
    """Follows a stream of ``codec``, by FFmpeg's name: `packet` sees what goes into its decoder; called with what comes
    out, it says how coarse that is."""

    def __init__(self, codec: str) -> None:
        self._law = _ESTIMATED.get(codec)
        self._told: float | None = None
        self._key_bits = 0
        self._rows = np.empty((0, 0), np.int16)
        self._other_bits, self._detail, self._motion = Mean(), Mean(), Mean()

    def packet(self, size: int, key: bool) -> None:
        """A packet of so many bytes, with or without a key frame."""
        if key or not self._key_bits:
            self._key_bits = 8 * size
        else:
            self._other_bits.add(8 * size)

    def __call__(self, luma: np.ndarray, bits: int, between: bool, parameters: bytes | memoryview | None
                 ) -> float | None:
        """The QP of a frame with this ``luma`` of ``bits`` bits and FFmpeg's VIDEO_ENC_PARAMS, if it has any.

        None where nothing is known. Frames that lie ``between`` others (B-frames) count as the one before: their own QP
        is often far higher, but hardly shows, since most of them is predicted.
        """
        qp = None if parameters is None else told(parameters, bits)
        if qp is not None and not (between and self._told is not None):
            self._told = qp
        if self._law is None:
            return self._told
        self._look_at(luma, bits)
        return float(np.clip(np.dot(self._law, self.evidence()), 0, 51))

    def _look_at(self, luma: np.ndarray, bits: int) -> None:
        rows = (luma[::max(1, len(luma) // _ROWS)] >> (bits - 8)).astype(np.int16)
        self._detail.add(float(np.abs(np.diff(rows)).mean()) if rows.shape[1] > 1 else 0.0)
        if rows.shape == self._rows.shape:
            self._motion.add(float(np.abs(rows - self._rows).mean()))
        self._rows, self._pixels = rows, luma.size

    def evidence(self) -> tuple[float, ...]:
        """What tells of the frame that was last asked for, where its decoder does not: 1, and log2 of the bits of key
        frames (a pixel), of what others take beside that, and of the difference of neighbouring pixels."""
        key, detail = np.log2(self._key_bits / self._pixels + 1e-3), np.log2(self._detail.value + 0.05)
        if not self._motion.count or not self._other_bits.count:
            return 1, key, _OTHERS, detail
        others = np.log2(self._other_bits.value / self._pixels + 1e-3) - key
        motion = np.log2(self._motion.value + 0.05) - detail
        return 1, key, _OTHERS + np.interp(motion, _MOVING, (0, 1)) * (others - _OTHERS), detail


class Mean:
    """Of all so far, until these are many; later of the last ones, mostly."""

    def __init__(self) -> None:
        self.value, self.count = 0.0, 0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += (value - self.value) * max(_RATE, 1 / self.count)
