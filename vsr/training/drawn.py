"""Pages of text, lines and shapes, and dithered ones, for training: what screens show, with sharper edges than any
photograph has."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?()-+=/#%&"
PANEL = 32  # side in dots


def page(rng: np.random.Generator, side: int = 400) -> np.ndarray:
    """A page of luma, (side, side) uint8 in 16..235: panels, and in them text, lines and ellipses."""
    picture = Image.new("L", (side, side), _grey(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(2, 7)):
        left, top = rng.integers(-40, side - 40, 2)
        width, height = rng.integers(60, side, 2)
        panel = (int(left), int(top), int(left + width), int(top + height))
        draw.rectangle(panel, _grey(rng), _grey(rng) if rng.random() < 0.5 else None)
        ink, kind = _grey(rng), rng.random()
        if kind < 0.65:
            size = int(np.exp(rng.uniform(np.log(8), np.log(48))))
            font = ImageFont.load_default(size)
            for y in range(panel[1] + 4, panel[3], round(size * rng.uniform(1.1, 1.6))):
                text = "".join(rng.choice(list(LETTERS + " " * 12), 2 * side // size))
                draw.text((panel[0] + 4, y), text, ink, font)
        else:
            for _ in range(rng.integers(4, 30)):
                x, y, right, bottom = (int(value) for value in rng.integers(0, side, 4))
                if kind < 0.85:
                    draw.line((x, y, right, bottom), ink, int(rng.integers(1, 6)))
                else:
                    draw.ellipse((min(x, right), min(y, bottom), max(x, right), max(y, bottom)), None, ink,
                                 int(rng.integers(1, 6)))
    return np.asarray(picture)


def dithered(rng: np.random.Generator, dot: int, side: int = 400) -> np.ndarray:
    """A page of dots, each ``dot`` x ``dot`` pixels, (side, side) uint8 in 16..235: panels of soft shades, dithered by
    a Bayer matrix, by noise or by error diffusion, of chequers or of stripes; each panel in two lumas."""
    dots = -(-side // dot)
    shades = Image.fromarray(rng.random((5, 5), np.float32)).resize((dots, dots), Image.Resampling.BICUBIC)
    tone = np.clip(np.asarray(shades) * 1.5 - 0.25, 0, 1)
    page = np.zeros((dots, dots), np.uint8)
    y, x = np.indices((dots, dots))
    for top in range(0, dots, PANEL):
        for left in range(0, dots, PANEL):
            panel = np.s_[top:top + PANEL, left:left + PANEL]
            kind = int(rng.integers(6))
            if kind < 3:
                matrix = _bayer(kind + 1)
                ink = tone > np.tile(matrix, (dots // len(matrix) + 1,) * 2)[:dots, :dots]
            elif kind == 3:
                ink = tone > rng.random((dots, dots))
            elif kind == 4:
                ink = np.asarray(Image.fromarray(np.uint8(tone * 255)).convert("1"))
            else:
                ink = (y * rng.integers(2) + x * rng.integers(2)) % 2 == 1
            contrast = rng.integers(40, 220)
            dark = 16 + rng.integers(220 - contrast)
            page[panel] = (dark + contrast * ink)[panel]
    return np.kron(page, np.ones((dot, dot), np.uint8))[:side, :side]


def _bayer(power: int) -> np.ndarray:
    """The thresholds of ordered dithering (Bayer, 1973), (2**power, 2**power) in 0..1."""
    matrix = np.zeros((1, 1))
    for _ in range(power):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return (matrix + 0.5) / matrix.size


def _grey(rng: np.random.Generator) -> int:
    """Any luma, black and white as often as all between them."""
    return int(rng.choice([16, 235, int(rng.integers(16, 236)), int(rng.integers(16, 236))]))
