"""How near a picture comes to its truth: PSNR, SSIM, MS-SSIM; and how much of what stands still flickers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

WINDOW = 11  # side of the Gaussian window of SSIM; the least side of a picture that has one
SIGMA = 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of MS-SSIM, from the picture's own scale to a 16th


@dataclass(frozen=True)
class Metrics:
    """One picture's scores, or the average of many.

    ``psnr`` in dB, infinite for equal pictures; ``ssim``; ``ms_ssim``, None for a picture of fewer than 161 pixels a
    side, whose 16th is smaller than the window; ``vmaf`` (0 to 100), None where it was not measured. All these are of
    luma; ``cb``, ``cr`` and ``rgb`` are the PSNR of chroma and of the colours, None where they were not measured.
    """

    psnr: float
    ssim: float
    ms_ssim: float | None
    vmaf: float | None = None
    cb: float | None = None
    cr: float | None = None
    rgb: float | None = None


def score(picture: np.ndarray, truth: np.ndarray) -> Metrics:
    """A picture's scores against the truth: uint8 arrays (H, W), or (H, W, 3), of which the channels' mean is taken.

    SSIM as in Wang, Bovik, Sheikh and Simoncelli 2004: Gaussian window of 11x11, sigma 1.5, K = (0.01, 0.03). MS-SSIM
    as in Wang, Simoncelli and Bovik 2003: five scales, each the mean of 2x2 pixels of the one before (an odd last row
    or column is doubled); contrast and structure of all, luminance of the last. Windows lie inside the picture. Raises
    ValueError for pictures that cannot be compared.
    """
    levels = len(SCALE_WEIGHTS) if math.ceil(min(truth.shape[:2]) / 2 ** (len(SCALE_WEIGHTS) - 1)) >= WINDOW else 1
    similar = _similarities(picture, truth, levels)
    ms_ssim = None
    if levels > 1:
        factors = [contrast for _, contrast in similar[:-1]] + [similar[-1][0]]
        ms_ssim = math.prod(max(factor, 0) ** weight for factor, weight in zip(factors, SCALE_WEIGHTS, strict=True))
    return Metrics(psnr(picture, truth), similar[0][0], ms_ssim)


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal to noise ratio in dB of two uint8 arrays of one shape; infinite where they are equal."""
    _check(picture, truth)
    error = np.mean((picture.astype(np.float64) - truth) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(picture: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity, as in `score`."""
    return _similarities(picture, truth, 1)[0][0]


def average(many: Sequence[Metrics]) -> Metrics:
    """The mean of each score, None where one is None. Of PSNR it is the mean of those that are finite, so that a black
    frame does not make a video's infinite."""
    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return math.fsum(known) / len(known) if len(known) == len(values) else None

    def decibels(values: list[float]) -> float:
        finite = [value for value in values if math.isfinite(value)]
        return math.fsum(finite) / len(finite) if finite else math.inf

    colours = [[getattr(each, key) for each in many] for key in ("cb", "cr", "rgb")]
    return Metrics(decibels([each.psnr for each in many]), math.fsum(each.ssim for each in many) / len(many),
                   mean([each.ms_ssim for each in many]), mean([each.vmaf for each in many]),
                   *(None if None in values else decibels(values) for values in colours))


def flicker(pictures: Iterable[np.ndarray], truths: Iterable[np.ndarray]) -> float | None:
    """The mean absolute difference, in codes, between each picture and the one before it, wherever the truth (H, W) is
    the same in both; None where it nowhere is. Of a still that was made a video: ``flicker(frames, repeat(still))``.
    """
    total, count = 0, 0
    for (before, old), (after, new) in pairwise(zip(pictures, truths, strict=False)):
        still = old == new
        total += int(np.abs(after.astype(np.int32) - before)[still].sum())
        count += int(still.sum())
    return total / count if count else None


def to_bytes(luma: np.ndarray) -> np.ndarray:
    """Float luma codes clipped and rounded to uint8."""
    return np.clip(np.round(luma), 0, 255).astype(np.uint8)


def _check(picture: np.ndarray, truth: np.ndarray) -> None:
    if picture.shape != truth.shape or picture.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(f"a picture {picture.shape} {picture.dtype} cannot be compared with {truth.shape} "
                         f"{truth.dtype}; both must be uint8 and of one size")


def _similarities(picture: np.ndarray, truth: np.ndarray, levels: int) -> list[tuple[float, float]]:
    """The mean of SSIM, and of its contrast and structure alone, at each of so many scales."""
    _check(picture, truth)
    if min(truth.shape[:2]) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW} pixels a side, not {truth.shape}")
    kernel = cv2.getGaussianKernel(WINDOW, SIGMA)
    rim = np.s_[WINDOW // 2 : -(WINDOW // 2), WINDOW // 2 : -(WINDOW // 2)]

    def smooth(values: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(values, -1, kernel, kernel)[rim]

    a, b = picture.astype(np.float64), truth.astype(np.float64)
    found = []
    for level in range(levels):
        if level:
            a, b = _half(a), _half(b)
        mean_a, mean_b = smooth(a), smooth(b)
        product = mean_a * mean_b
        squares = mean_a * mean_a + mean_b * mean_b
        contrast = (2 * (smooth(a * b) - product) + C2) / (smooth(a * a + b * b) - squares + C2)
        found.append((float(np.mean(contrast * (2 * product + C1) / (squares + C1))), float(np.mean(contrast))))
    return found


def _half(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    even = np.pad(picture, [(0, height % 2), (0, width % 2)] + [(0, 0)] * (picture.ndim - 2), "edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
