"""The papers' test protocol: colours as MATLAB's rgb2ycbcr, resizing as MATLAB's imresize [E14, F16 section 4.1].

It is proven by bicubic's own published scores (see the tests).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from vsr.engines.bicubic import cubic
from vsr.errors import InputError
from vsr.frame import Frame
from vsr.media.picture import read_picture
from vsr.quality.metrics import to_bytes

IMAGE_SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".avif")
FULL_RANGE = 2  # AVCOL_RANGE_JPEG
# MATLAB's rgb2ycbcr: rows make Y, Cb and Cr of R, G and B, all of 0 to 255.
YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
GREY = np.array([[255 / 219], [255 / 224], [255 / 224]])  # makes codes of 0 to 255 of its rows


def _ycbcr(grey: bool) -> tuple[np.ndarray, np.ndarray]:
    """The matrix from RGB to YCbCr, and what is added, (3, 1, 1)."""
    offset = np.array([0.0 if grey else 16.0, 128.0, 128.0])[:, None, None]
    return (YCBCR * GREY if grey else YCBCR), offset


def rgb_to_ycbcr(rgb: np.ndarray, grey: bool = False, channels: int = 3) -> np.ndarray:
    """MATLAB's rgb2ycbcr of planes (3, H, W) of 0..255, the first ``channels``, uint8: Y is in 16..235. Of a file with
    one channel, which is used as it is, luma is in 0..255: three planes that are ``grey`` make themselves."""
    matrix, offset = (each[:channels] for each in _ycbcr(grey))
    return np.clip(np.floor(np.einsum("ij,jyx->iyx", matrix, rgb.astype(np.float64)) + offset + 0.5), 0,
                   255).astype(np.uint8)


def ycbcr_to_rgb(ycbcr: np.ndarray, grey: bool = False) -> np.ndarray:
    """MATLAB's ycbcr2rgb of planes (3, H, W) uint8, the inverse of `rgb_to_ycbcr`."""
    matrix, offset = _ycbcr(grey)
    return to_bytes(np.einsum("ij,jyx->iyx", np.linalg.inv(matrix), ycbcr - offset))


def load_rgb(path: Path) -> tuple[np.ndarray, bool]:
    """The planes (3, H, W) uint8 of an image file, and whether it has only one channel, which then are all three; 16
    bits become 8, and alpha is left out.

    Raises InputError where the file is not an image, or a damaged one.
    """
    picture = read_picture(path)
    for code, message in picture.warnings:
        if code == "damaged":
            raise InputError(message)
    pixels = (picture.pixels if picture.bits == 8 else np.round(picture.pixels / 257)).astype(np.uint8)
    grey = pixels.ndim == 2
    return np.stack([pixels] * 3 if grey else [pixels[..., channel] for channel in (2, 1, 0)]), grey


def load_luma(path: Path) -> np.ndarray:
    """The luma plane (H, W) uint8 of an image file; one with one channel is used as it is. Raises as `load_rgb`."""
    rgb, grey = load_rgb(path)
    return rgb[0] if grey else rgb_to_ycbcr(rgb, channels=1)[0]


def frame_luma(frame: Frame) -> np.ndarray:
    """A video frame's luma (H, W) uint8 in 16..235: deeper and full-range codes are brought there and rounded."""
    if frame.color.range == FULL_RANGE:
        return np.round(frame.luma * (219 / (2**frame.bits - 1)) + 16).astype(np.uint8)
    if frame.bits == 8:
        return frame.luma
    return np.minimum(np.round(frame.luma / 2 ** (frame.bits - 8)), 255).astype(np.uint8)


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, by name, without hidden ones. Raises InputError where there is none."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES
                       and not path.name.startswith(".") and path.is_file())
    except FileNotFoundError:
        raise InputError(f"no such folder: '{folder}'") from None
    except OSError as error:
        raise InputError(f"folder '{folder}' cannot be read: {error.strerror}") from error
    if not paths:
        raise InputError(f"no image in folder '{folder}'")
    return paths


def crop_to_multiple(image: np.ndarray, n: int) -> np.ndarray:
    """The upper left part of an image (…, H, W) whose sides are multiples of n ("modcrop")."""
    height, width = image.shape[-2:]
    return image[..., :height // n * n, :width // n * n]


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
    """MATLAB's imresize(image, scale, 'bicubic') in floating point: (…, H, W) to (…, ceil(H·scale), …) float64."""
    height, width = image.shape[-2:]
    return resize_matrix(height, scale) @ image.astype(np.float64) @ resize_matrix(width, scale).T
