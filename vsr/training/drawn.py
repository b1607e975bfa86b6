"""Pages of text, lines and shapes for training: what screens show, with sharper edges than any photograph has."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?()-+=/#%&"


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


def _grey(rng: np.random.Generator) -> int:
    """Any luma, black and white as often as all between them."""
    return int(rng.choice([16, 235, int(rng.integers(16, 236)), int(rng.integers(16, 236))]))
