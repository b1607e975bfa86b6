"""Comparing: bicubic and super-resolution in one labelled picture, side by side or on both sides of a line.

Everything is laid out as it is seen, on views of the planes as they are stored: turned videos are compared upright.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vsr.engines import Engine
from vsr.errors import UsageError
from vsr.frame import Color, Frame, turned
from vsr.models.catalogue import Weights
from vsr.upscale import Size, Upscaler

LAYOUTS = ("side-by-side", "split")
_TEXT = 1 / 36, 11, 7  # a label's size: of the shorter side of the picture; at least, in pixels; where it is narrow
_BACKING, _LINE = 0.6, 0.85  # how much they cover
_SMOOTH = 4  # times as large, edges of a label's backing are drawn
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_WHITE = {16: 0.58, 18: 0.75}  # of PQ and HLG, by AVCOL_TRC_*: white as paper is, not as a lamp [BT.2408]


def check_layout(layout: str) -> None:
    """Raise ``UsageError`` where there is no such layout."""
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout '{layout}'; use one of {', '.join(LAYOUTS)}")


def composed_size(layout: str, size: Size, chroma: tuple[int, int] | None, orientation: int) -> Size:
    """Stored width and height of the composition of two pictures of ``size``: once or twice as much, whole samples of
    chroma each."""
    if layout == "split":
        return size
    axis = int(orientation > 4)
    sides = list(size)
    sides[axis] = 2 * _whole(size[axis], _blocks(chroma)[axis])
    return sides[0], sides[1]


def label(engine: Engine) -> str:
    """What is to be read of pictures that ``engine`` makes. (Pillow's own font has no multiplication sign.)"""
    name = re.sub(r"f?srcnn\b", lambda match: match[0].upper(), engine.model)
    return f"{name[:1].upper()}{name[1:]} x{engine.scale} · {engine.precision}"


@dataclass(frozen=True, slots=True)
class _Overlay:
    """What is laid over a part of a plane, as it is seen: ``keep`` is how much of it stays, ``add`` what is added,
    both (H, W) float32."""

    rows: slice
    columns: slice
    keep: np.ndarray
    add: np.ndarray

    def __call__(self, plane: np.ndarray) -> None:
        part = plane[self.rows, self.columns]
        part[...] = np.rint(part * self.keep + self.add)


class Composer:
    """Lays frames of ``size`` = (width, height), as stored, over each other or side by side: ``layout`` is one of
    LAYOUTS. In a split the first is left of the line, which is at ``position`` (0 to 1) of the width.

    ``labels`` are written into the outer upper corners, left out where pictures are too small to read them. ``chroma``
    is the log2 (horizontal, vertical) subsampling, None for grey; ``color`` says which codes are black and white,
    ``orientation`` (EXIF's, 1 to 8) how the frames are to be seen. The composition is ``size`` large. It may be called
    by several threads. Raises UsageError for an unknown layout.
    """

    def __init__(self, layout: str, size: Size, chroma: tuple[int, int] | None, bits: int, color: Color,
                 labels: tuple[str, str], orientation: int = 1, position: float = 0.5) -> None:
        check_layout(layout)
        self.size = composed_size(layout, size, chroma, orientation)
        self._layout, self._orientation, self._bits, self._color = layout, orientation, bits, color
        self._blocks = _blocks(chroma)[:: -1 if orientation > 4 else 1]  # as seen, like all that follows
        width, height = self._seen = self.size[:: -1 if orientation > 4 else 1]
        thick = max(1, round(min(width, height) / 540)) if layout == "split" else 0
        self._cut = round(position * (width - thick)) if thick else width // 2
        sides = (0, self._cut), (self._cut + thick, width)
        self._overlays: list[tuple[_Overlay, _Overlay]] = []  # of luma, and of chroma
        drawn = _drawn(labels, (width // 2, height), min(size))
        for (text, backing), (first, end) in zip(drawn, sides, strict=False):
            x = width - text.shape[1] if self._overlays else 0
            inside = slice(max(0, first - x), max(0, end - x))  # a label ends at the line
            white, cover = np.zeros_like(text), np.zeros_like(text)
            white[:, inside], cover[:, inside] = text[:, inside], backing[:, inside]
            self._lay_over(x, white, (1 - white) * (1 - cover))
        if thick:
            line = np.full((height, thick), _LINE, np.float32)
            self._lay_over(self._cut, line, 1 - line)

    def __call__(self, first: Frame, second: Frame) -> Frame:
        """A new frame of both, the first left; what is not a plane is that of the second."""
        planes = [self._composed(*pair, subsampled=index > 0)
                  for index, pair in enumerate(zip(first.planes, second.planes, strict=True))]
        for luma, others in self._overlays:
            for index, plane in enumerate(planes):
                (others if index else luma)(turned(plane, self._orientation))
        alpha = second.alpha
        if alpha is not None and first.alpha is not None:
            alpha = self._composed(first.alpha, alpha, subsampled=False)
            for luma, _ in self._overlays:  # what is written is opaque
                opaque = replace(luma, add=(1 - luma.keep) * (2**self._bits - 1))
                opaque(turned(alpha, self._orientation))
        return replace(second, planes=tuple(planes), alpha=alpha)

    def _composed(self, first: np.ndarray, second: np.ndarray, subsampled: bool) -> np.ndarray:
        left, right = (turned(plane, self._orientation) for plane in (first, second))
        if self._layout == "split":
            made = second.copy()
            if not subsampled:  # chroma is the same
                turned(made, self._orientation)[:, : self._cut] = left[:, : self._cut]
            return made
        height, width = left.shape
        half = self._seen[0] // 2 // (self._blocks[0] if subsampled else 1)
        made = np.empty((2 * half, height) if self._orientation > 4 else (height, 2 * half), first.dtype)
        begin = half - width if _mirrored(self._orientation)[0] else 0  # as stored, it ends in the middle of a sample
        for start, plane in ((0, left), (half, right)):
            side = turned(made, self._orientation)[:, start : start + half]
            side[:, begin : begin + width] = plane
            side[:, :begin], side[:, begin + width :] = plane[:, :1], plane[:, -1:]
        return made

    def _lay_over(self, x: int, white: np.ndarray, keep: np.ndarray) -> None:
        """From column ``x`` on: so much white, and so much that is kept; the rest is black."""
        black, peak, most = 16 << (self._bits - 8), 235 << (self._bits - 8), 2**self._bits - 1
        if self._color.range == _FULL_RANGE:
            black, peak = 0, most
        paper = black + _WHITE.get(self._color.transfer, 0.95) * (peak - black)
        rows, columns = keep.shape
        luma = _Overlay(slice(0, rows), slice(x, x + columns), keep, white * paper + (1 - white - keep) * black)
        # The samples of chroma that lie below, which are counted from the stored picture's first
        (right, wide), (down, high) = (
            (-length % block if mirrored else 0, block)
            for length, block, mirrored in zip(self._seen, self._blocks, _mirrored(self._orientation), strict=True)
        )
        x += right
        end_x, end_y = _whole(x + columns, wide), _whole(down + rows, high)
        around = (down, end_y - down - rows), (x % wide, end_x - x - columns)
        padded = np.pad(keep, around, constant_values=1)
        mean = padded.reshape(end_y // high, high, -1, wide).mean((1, 3))
        below = slice(0, end_y // high), slice(x // wide, end_x // wide)
        self._overlays.append((luma, _Overlay(*below, mean, (1 - mean) * (1 << (self._bits - 1)))))


class Comparer(Upscaler):
    """An Upscaler whose frames are compositions of bicubic and what ``engine`` makes; ``size`` is that of each side,
    ``composer`` that of `Composer`."""

    def __init__(self, engine: Engine, chroma: tuple[int, int] | None, chroma_location: int, width: int, height: int,
                 layout: str, color: Color, orientation: int, members: Sequence[Weights] = ()) -> None:
        super().__init__(engine, chroma, chroma_location, width, height, members)
        labels = "Bicubic", label(engine)
        self._compose = Composer(layout, (width, height), chroma, engine.bits, color, labels, orientation)

    def begin(self, frame: Frame) -> Callable[[], Frame]:
        both = self.begin_both(frame)
        return lambda: self._compose(*both())


def _blocks(chroma: tuple[int, int] | None) -> tuple[int, int]:
    x, y = chroma or (0, 0)
    return 1 << x, 1 << y


def _whole(length: int, block: int) -> int:
    return -(-length // block) * block


def _mirrored(orientation: int) -> tuple[bool, bool]:
    """Whether columns and rows, as seen, are counted from the end of the stored ones."""
    return orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)


def _drawn(labels: tuple[str, str], room: Size, shorter: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each label as what its letters and its backing cover, 0 to 1, (H, W) float32 alike, with a margin around, for
    pictures whose shorter side is so long; none where they are wider or higher than the ``room``."""
    from PIL import Image, ImageDraw, ImageFont

    share, least, narrow = _TEXT
    labels = labels[0].replace(" ", "  "), labels[1].replace(" ", "  ")  # the font's are narrow
    for size in range(max(least, round(share * shorter)), narrow - 1, -1):
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)  # as Pillow's wheels have it
        ascent, descent = font.getmetrics()
        margin, pad = round(0.6 * size), round(0.45 * size)
        widths = [round(font.getlength(text)) + 2 * pad for text in labels]
        height = ascent + descent + pad
        if max(widths) + 2 * margin <= room[0] and height + 2 * margin <= room[1]:
            break
    else:
        return []
    drawn = []
    for text, width in zip(labels, widths, strict=True):
        shape = width + 2 * margin, height + 2 * margin
        letters = Image.new("L", shape)
        ImageDraw.Draw(letters).text((margin + pad, margin + pad // 2), text, 255, font)
        backing = Image.new("L", [_SMOOTH * side for side in shape])
        corners = [_SMOOTH * margin, _SMOOTH * margin, _SMOOTH * (margin + width) - 1, _SMOOTH * (margin + height) - 1]
        ImageDraw.Draw(backing).rounded_rectangle(corners, _SMOOTH * size / 4, 255)
        covers = (np.asarray(image, np.float32) / 255 for image in (letters, backing.reduce(_SMOOTH)))
        drawn.append((next(covers), _BACKING * next(covers)))
    return drawn
