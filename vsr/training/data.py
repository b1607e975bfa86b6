"""Training pictures: luma, scaled copies, low-resolution twins by the papers' protocol, and random patches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vsr.errors import InputError
from vsr.quality.protocol import crop_to_multiple, imresize, list_images, load_luma

FOLDERS = {  # what a recipe may name -> where it lies under --data
    "t91": "train/T91", "bsds500test": "train/BSDS500test", "kodak24": "train/Kodak24",
    "photos_y": "train/photos_y", "cid22_y": "train/CID22_y",
}
VALIDATION = 20  # every tenth picture of BSDS500test is kept out of training, as [F16] keeps 20 of BSD500's
GREY = np.float32((16 + 235) / 2)
CONTRAST = (0.8, 255 / (235 - 16))
AMPLIFIED = 2.0
SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6)  # [F16, section 4.1]: copies of every training picture


def split(data: Path, sets: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """The training files of the named sets, and the 20 of validation. Raises InputError for a missing folder."""
    held_out = list_images(data / FOLDERS["bsds500test"])[::10][:VALIDATION]
    training = [path for name in sets for path in list_images(data / FOLDERS[name]) if path not in held_out]
    return training, held_out


def twins(paths: list[Path], scale: int, shrinks: tuple[float, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(low, high) for every picture and shrink: low (H, W) float32 luma codes, not rounded; high (n·H, n·W) uint8."""
    for path in paths:
        luma = load_luma(path)
        for shrink in shrinks:
            copy = luma if shrink == 1 else np.clip(np.round(imresize(luma, shrink)), 0, 255).astype(np.uint8)
            yield twin(copy, scale)


def twin(luma: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) for a picture (H, W) uint8, as `twins`."""
    high = crop_to_multiple(luma, scale)
    return imresize(high, 1 / scale).astype(np.float32), high


class Patches:
    """Random patches from many pictures, all held in memory as two flat arrays.

    ``margin`` is the network's border in input pixels: a patch of ``size`` outputs reads size + 2·margin inputs.
    """

    def __init__(self, pictures: list[tuple[np.ndarray, np.ndarray]], scale: int, size: int, margin: int) -> None:
        side = size + 2 * margin
        pictures = [(low, high) for low, high in pictures if min(low.shape) >= side]
        if not pictures:
            raise InputError(f"no training picture has {side * scale} x {side * scale} pixels")
        self.scale, self.size, self.margin = scale, size, margin
        self.low = np.concatenate([low.ravel() for low, _ in pictures])
        self.high = np.concatenate([high.ravel() for _, high in pictures])
        heights, widths = (np.array([low.shape[axis] for low, _ in pictures]) for axis in (0, 1))
        self.widths, self.starts = widths, np.concatenate([[0], np.cumsum(heights * widths)[:-1]])
        self.rows, self.columns = heights - side + 1, widths - side + 1
        self.cumulative = np.cumsum(self.rows * self.columns)

    def draw(self, count: int, rng: np.random.Generator, choose: int = 1,
             contrast: tuple[float, float] = CONTRAST, amplified: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """``count`` patches, each the strongest in contrast of ``choose`` draws, in a random one of 8 orientations and
        with a random ``contrast`` about mid-grey, so that they fill 0 to 255 where pictures keep to 16 to 235; the
        share ``amplified`` of them with one of up to AMPLIFIED.

        Returns low (count, size + 2·margin, same) float32 and high (count, n·size, same) float32, in codes / 255.
        """
        n, side = self.scale, self.size + 2 * self.margin
        place = rng.integers(0, self.cumulative[-1], (choose, count))
        picture = np.searchsorted(self.cumulative, place, "right")
        place -= np.where(picture > 0, self.cumulative[picture - 1], 0)
        y, x = np.divmod(place, self.columns[picture])
        width = self.widths[picture]
        corner = self.starts[picture] + y * width + x
        if choose > 1:
            spread = self._gather(self.low, corner, width, side).std((-1, -2))
            best = spread.argmax(0), np.arange(count)
            picture, y, x, width, corner = picture[best], y[best], x[best], width[best], corner[best]
        else:
            picture, y, x, width, corner = picture[0], y[0], x[0], width[0], corner[0]
        low = self._gather(self.low, corner, width, side)
        corner = self.starts[picture] * n * n + (y + self.margin) * n * width * n + (x + self.margin) * n
        high = self._gather(self.high, corner, width * n, self.size * n).astype(np.float32)
        turns = rng.integers(0, 8, count)
        for turn in range(1, 8):
            where = turns == turn
            for patch in (low, high):
                turned = np.rot90(patch[where], turn % 4, (1, 2))
                patch[where] = turned[:, :, ::-1] if turn >= 4 else turned
        most = np.where(rng.random((count, 1, 1)) < amplified, AMPLIFIED, contrast[1])
        gain = rng.uniform(contrast[0], most).astype(np.float32)
        low, high = ((patch - GREY) / np.float32(255) * gain + np.float32(0.5) for patch in (low, high))
        return low, high

    @staticmethod
    def _gather(flat: np.ndarray, corner: np.ndarray, width: np.ndarray, side: int) -> np.ndarray:
        row, column = np.arange(side)[:, None], np.arange(side)
        return flat[corner[..., None, None] + row * width[..., None, None] + column]
