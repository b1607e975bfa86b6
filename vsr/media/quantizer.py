"""How coarsely a frame was quantised, from what its decoder tells, on one scale for all codecs.

The scale is H.264's QP: 0 to 51, where 6 more is twice the step. A step of s (of an orthonormal transform, in codes of
8 bits) is QP 4 + 6·log2(s).
"""

from __future__ import annotations

import numpy as np

# AVVideoEncParams: number of blocks, offset and size of one, kind, QP of the frame, deltas; a block: place, size, delta
_HEAD = np.dtype({"names": ["blocks", "offset", "size", "kind", "qp"], "formats": ["<u4", "<u8", "<u8", "<i4", "<i4"],
                  "offsets": [0, 8, 16, 24, 28]})
_VP9, _H264, _MPEG2 = range(3)
_BLOCK_DELTA = 16  # bytes from a block's start
# VP9 and AV1: the indices between which QP is nearly linear, and the QP of their AC steps (in eighths) there
_INDICES = (0, 1, 4, 9, 17, 32, 57, 95, 120, 150, 255)
_STEPS = (4, 8, 11, 16, 24, 39, 64, 102, 152, 255, 1828)


def qp_of_step(step: float) -> float:
    """The QP of a quantiser step: that of an orthonormal transform, in codes of 8 bits."""
    return 4 + 6 * float(np.log2(step))


def qp_of_index(index: float) -> float:
    """The QP of a quantiser index of VP9 and AV1, 0 to 255; within 0.2 of their tables."""
    return float(np.interp(index, _INDICES, 4 + 6 * np.log2(np.array(_STEPS) / 8)))


def quantizer(parameters: bytes, bits: int = 8) -> float | None:
    """The mean QP of a frame from FFmpeg's VIDEO_ENC_PARAMS (an AVVideoEncParams), None where it is of no known kind.

    H.264 has a QP for each macroblock, VP9 one index for the frame, beside segments; MPEG-1, 2 and 4 and H.263 have
    steps, which their matrices stretch. FFmpeg counts H.264's for codes of more than 8 ``bits`` from where those begin.
    """
    head = np.frombuffer(parameters, _HEAD, 1)[0]
    deltas = np.zeros(1, np.int32)
    if head["blocks"]:
        size, offset = int(head["size"]), int(head["offset"])
        blocks = np.frombuffer(parameters, np.uint8, int(head["blocks"]) * size, offset).reshape(-1, size)
        deltas = blocks[:, _BLOCK_DELTA:_BLOCK_DELTA + 4].copy().view("<i4")
    mean = float(head["qp"] + deltas.mean())
    if head["kind"] == _H264:
        return mean - 6 * (bits - 8)
    if head["kind"] == _VP9:
        return qp_of_index(mean)
    return qp_of_step(max(1.0, mean)) if head["kind"] == _MPEG2 else None
