"""The papers' test protocol: luma as MATLAB's rgb2ycbcr, resizing as MATLAB's imresize [E14, F16 section 4.1].

It is proven by bicubic's own published scores (see the tests).
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from vsr.engines.bicubic import cubic
from vsr.errors import InputError

IMAGE_SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def rgb_to_luma(rgb: np.ndarray) -> np.ndarray:
    """Y of MATLAB's rgb2ycbcr: (H, W, 3) uint8 -> (H, W) uint8 in 16..235."""
    y = rgb.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16
    return np.floor(y + 0.5).astype(np.uint8)


def load_luma(path: Path) -> np.ndarray:
    """The luma plane (H, W) uint8 of an image file. A file with one channel is used as it is.

    Raises InputError where the file is not an image.
    """
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise InputError(f"cannot read image '{path}'")
    if image.dtype != np.uint8:
        raise InputError(f"image '{path}' has {image.dtype} pixels; the protocol is for 8 bits")
    return image if image.ndim == 2 else rgb_to_luma(image[..., 2::-1])


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, by name. Raises InputError where there is none."""
    if not folder.is_dir():
        raise InputError(f"no such folder: '{folder}'")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise InputError(f"no image in folder '{folder}'")
    return paths


def crop_to_multiple(image: np.ndarray, n: int) -> np.ndarray:
    """The upper left part of an image whose sides are multiples of n ("modcrop")."""
    return image[:image.shape[0] // n * n, :image.shape[1] // n * n]


def resize_matrix(size: int, scale: float) -> np.ndarray:
    """The (ceil(size·scale), size) float64 matrix by which imresize resamples one axis with bicubic weights.

    Shrinking widens the kernel (anti-aliasing); indices beyond an edge are reflected.
    """
    target = math.ceil(size * scale - 1e-9)
    stretch = min(scale, 1.0)
    width = 4 / stretch
    centre = (np.arange(target) + 0.5) / scale - 0.5
    index = np.floor(centre - width / 2).astype(int)[:, None] + np.arange(math.ceil(width) + 2)
    weight = cubic(stretch * (centre[:, None] - index))
    weight /= weight.sum(1, keepdims=True)
    index = np.abs((index + size) % (2 * size) - size + 0.5).astype(int)  # … 1 0 | 0 1 … size-1 | size-1 …
    matrix = np.zeros((target, size))
    np.add.at(matrix, (np.arange(target)[:, None], index), weight)
    return matrix


def imresize(image: np.ndarray, scale: float) -> np.ndarray:
    """MATLAB's imresize(image, scale, 'bicubic') in floating point: (H, W) to (ceil(H·scale), …) float64."""
    height, width = image.shape
    return resize_matrix(height, scale) @ image.astype(np.float64) @ resize_matrix(width, scale).T
