"""Draws the sample clip, an evening at a harbour, with its sound, chapters and title.

    python assets/make_sample.py        writes assets/sample.mp4

All of it is drawn here from fixed seeds, the letters too. The original is 1280x720; the clip is the original as BT.709
of limited range, its luma shrunk to one half as in the papers, so tests can measure what upscaling brings back.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from vsr.media.pixels import BT709, LIMITED_RANGE, views
from vsr.quality.protocol import imresize

FPS, FRAMES, SOUND_RATE = 24, 96, 48000
WIDTH, HEIGHT = 1280, 720  # the scene's units, whatever size it is drawn at
PAN = 190  # how far the camera travels
STREET, QUAY, WATER = 520, 566, 612  # the houses' feet, the edge of the quay, the water's far end
SUPERSAMPLING = 2

Color = tuple[int, int, int]
Points = Sequence[tuple[float, float]] | np.ndarray

INK, STEEL, GLASS, LIT, CREAM = (40, 42, 54), (236, 232, 222), (52, 66, 92), (255, 214, 138), (244, 234, 210)
RED, OCHRE, TEAL, BLUE, ROSE = (196, 70, 60), (226, 168, 84), (62, 138, 138), (74, 104, 150), (214, 130, 120)
BRICK, STONE, IRON, SLATE, BULB = (176, 84, 68), (148, 132, 124), (44, 58, 66), (78, 80, 98), (255, 244, 214)
CLOTHS = (RED, OCHRE, TEAL, BLUE, ROSE)
# Strokes of the letters: polylines of (x, y) digits, x to the right, y down 0..6.
LETTERS = {
    "A": "062046 1434", "B": "06003041423303 3344453606", "C": "4130100105163645", "D": "06003041453606",
    "E": "40000646 0333", "F": "400006 0333", "G": "41301001051636454323", "H": "0006 4046 0343", "I": "0006",
    "K": "0006 4004 2246", "L": "000646", "M": "0600234046", "N": "06004640", "O": "100105163645413010",
    "P": "06003041423303", "R": "06003041423303 2346", "S": "413010010213334445361605", "T": "0040 2026",
    "U": "000516364540", "W": "0016223640", "Y": "002340 2326", "-": "1333", "7": "004016",
    "8": "103041423313020110 1304051636454433",
}


class Canvas:
    """A drawing of a rectangle of the scene, in the scene's units: antialiased, transparent (premultiplied RGBA)."""

    def __init__(self, x: float, y: float, width: float, height: float, scale: float) -> None:
        self.x, self.y, self.scale = x, y, scale
        self.pixels = np.zeros((round(height * scale), round(width * scale), 4), np.uint8)

    def _fixed(self, points: Points) -> np.ndarray:
        """Pixels with 4 fractional bits, as OpenCV takes them."""
        return np.rint(((np.asarray(points, float) - (self.x, self.y)) * self.scale - 0.5) * 16).astype(np.int32)

    def polygon(self, points: Points, color: Color) -> None:
        cv2.fillPoly(self.pixels, [self._fixed(points)], (*color, 255), cv2.LINE_AA, 4)

    def box(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], color)

    def line(self, points: Points, color: Color, width: float = 1.0) -> None:
        thickness = max(1, round(width * self.scale))
        cv2.polylines(self.pixels, [self._fixed(points)], False, (*color, 255), thickness, cv2.LINE_AA, 4)

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        center, fixed = self._fixed([(x, y)])[0].tolist(), round(radius * self.scale * 16)
        cv2.circle(self.pixels, center, fixed, (*color, 255), -1, cv2.LINE_AA, 4)

    def text(self, x: float, y: float, size: float, words: str, color: Color, width: float = 1.5) -> None:
        """One line of capitals of height ``size``, centred on x, its top at y."""
        glyphs = [[np.array([*map(int, s)]).reshape(-1, 2) for s in LETTERS.get(w, "").split()] for w in words]
        ends = np.cumsum([max((s[:, 0].max() for s in glyph), default=1) + 1.8 for glyph in glyphs])
        for glyph, start in zip(glyphs, (0, *ends), strict=False):
            for stroke in glyph:
                self.line(np.add(stroke, (start - ends[-1] / 2 + 0.9, 0)) * size / 6 + (x, y), color, width)

    def stripes(self, top: tuple[float, float], y: float, foot: tuple[float, float], low: float, n: int, cloth: Color,
                scallop: bool = True) -> None:
        """Striped cloth from the span ``top`` at y to the span ``foot`` at ``low``."""
        spans = pairwise(zip(np.linspace(*top, n + 1), np.linspace(*foot, n + 1), strict=True))
        for k, ((a, c), (b, d)) in enumerate(spans):
            color = mix((cloth, CREAM)[k % 2], INK, 0.25 * k / n)
            self.polygon([(a, y), (b, y), (d, low), (c, low)], color)
            if scallop:
                self.disc((c + d) / 2, low, (d - c) / 2, color)

    def masonry(self, color: Color, width: float, height: float, seed: int) -> None:
        """Lay bricks wherever the drawing has exactly ``color``."""
        y, x = (np.arange(side) / self.scale for side in self.pixels.shape[:2])
        row = (y // height).astype(int)[:, None]
        along = x + row % 2 * width / 2
        column = (along // width).astype(int)
        tint = np.random.default_rng(seed).uniform(0.72, 1.1, (row.max() + 1, column.max() + 1))[row, column]
        tint[(y[:, None] % height < 1) | (along % width < 1)] = 1.2
        bricks = (self.pixels[..., :3] == color).all(-1)
        self.pixels[bricks, :3] = np.minimum(tint[bricks, None] * color, 255)

    def paste(self, other: Canvas, dx: float = 0, dy: float = 0) -> None:
        """Lay ``other`` over this drawing, moved by (dx, dy)."""
        left, top = round((other.x + dx - self.x) * self.scale), round((other.y + dy - self.y) * self.scale)
        x, y = max(0, left), max(0, top)
        target = self.pixels[y : max(0, top + other.pixels.shape[0]), x : max(0, left + other.pixels.shape[1])]
        source = other.pixels[y - top :, x - left :][: target.shape[0], : target.shape[1]]
        if target.size:
            clear = cv2.merge([255 - source[..., 3]] * 4)
            target[...] = cv2.add(source, cv2.multiply(target, clear, scale=1 / 255))


def mix(a: Color, b: Color, share: float) -> Color:
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


@cache
def noise(shape: tuple[int, int], bumps: tuple[float, float], seed: int, octaves: int) -> np.ndarray:
    """Fractal noise about 0, of size about 1, with so many ``bumps`` down and across in its coarsest octave."""
    rng, total = np.random.default_rng(seed), np.zeros(shape, np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal([int(n * 2**octave) + 2 for n in bumps]).astype(np.float32)
        total += 0.5**octave * cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return total


def sky(scale: float) -> Canvas:
    canvas = Canvas(0, 0, WIDTH + PAN, STREET, scale)
    y = np.linspace(0, STREET, canvas.pixels.shape[0])
    stops = np.array([(52, 88, 150), (108, 150, 194), (194, 206, 206), (252, 216, 168), (255, 190, 140)])
    air = np.stack([np.interp(y, (0, 170, 310, 420, 520), stop) for stop in stops.T], 1)[:, None]
    clouds = noise(canvas.pixels.shape[:2], (4, 9), 17, 7)
    cover = np.clip((clouds - 0.1 + 0.3 * np.cos(y / 90)[:, None]) * 1.2, 0, 1)[..., None]
    above = cv2.warpAffine(clouds, np.array([[1, 0, 0], [0, 1, 12 * scale]]), clouds.shape[::-1],
                           borderMode=cv2.BORDER_REPLICATE)
    light = np.clip(0.6 + (clouds - above) * 0.9, 0, 1)[..., None]
    cloud = (154, 146, 174) + light * np.subtract((255, 240, 216), (154, 146, 174))
    canvas.pixels[..., :3] = air + cover * cover * (3 - 2 * cover) * 0.9 * (cloud - air)
    canvas.pixels[..., 3] = 255
    return canvas


def distance(scale: float) -> Canvas:
    canvas, rng = Canvas(0, 360, WIDTH + PAN, STREET - 360, scale), np.random.default_rng(5)
    for x in range(0, WIDTH + PAN, 26):
        top, color = 440 - rng.uniform(0, 70), mix((118, 128, 158), (150, 150, 172), rng.random())
        canvas.box(x, top, rng.uniform(16, 30), STREET - top, color)
        for y in range(int(top) + 6, 500, 7):
            canvas.line([(x + 3, y), (x + 14, y)], mix(color, LIT, rng.choice((0.15, 0.5))))
    return canvas


def window(canvas: Canvas, x: float, y: float, width: float, height: float, lit: bool, frame: Color) -> None:
    canvas.box(x - 2.5, y - 2.5, width + 5, height + 5, frame)
    canvas.box(x, y, width, height, LIT if lit else GLASS)
    sheen = [(x, y + height * 0.7), (x, y + height * 0.35), (x + width, y), (x + width, y + height * 0.25)]
    canvas.polygon(sheen, mix(LIT, CREAM, 0.6) if lit else (112, 136, 164))
    canvas.line([(x + width / 2, y), (x + width / 2, y + height)], frame, 1.5)
    for row in (1, 2, 3):
        canvas.line([(x, y + height * row / 4), (x + width, y + height * row / 4)], frame)
    canvas.box(x - 5, y + height + 2, width + 10, 3, mix(frame, INK, 0.25))


def house(canvas: Canvas, x: float, width: float, top: float, wall: Color, roof: str, sign: str, seed: int) -> None:
    """A narrow house with a shop; ``roof`` is "step", "gable", "mansard" or "flat"."""
    rng, middle, right, trim = np.random.default_rng(seed), x + width / 2, x + width, mix(CREAM, wall, 0.2)
    frame = (CREAM, STEEL, (64, 84, 80))[seed % 3]
    canvas.box(x, top, width, STREET - top, wall)
    if roof == "mansard":
        canvas.polygon([(x, top), (x + 12, top - 62), (right - 12, top - 62), (right, top)], SLATE)
        for row in range(8):
            canvas.line([(x + 1.5 * row, top - 8 * row), (right - 1.5 * row, top - 8 * row)], mix(SLATE, CREAM, 0.18))
        for dormer in (x + width / 3, x + width * 2 / 3):
            canvas.polygon([(dormer - 17, top - 44), (dormer, top - 62), (dormer + 17, top - 44)], trim)
            canvas.box(dormer - 13, top - 44, 26, 44, trim)
            window(canvas, dormer - 8, top - 39, 16, 30, rng.random() < 0.4, frame)
    if roof == "gable":
        canvas.polygon([(x - 5, top + 4), (middle, top - 66), (right + 5, top + 4)], SLATE)
        canvas.polygon([(x, top + 8), (middle, top - 57), (right, top + 8)], wall)
    for step in (0.5, 0.34, 0.2, 0.1) if roof == "step" else ():
        y = top - 22 * (0.5 - step) * 7
        canvas.box(middle - width * step - 2, y - 4, width * step * 2 + 4, 5, trim)
        canvas.box(middle - width * step, y, width * step * 2, top - y + 8, wall)
    if roof in ("step", "gable"):
        canvas.disc(middle, top - 18, 12, trim)
        canvas.disc(middle, top - 18, 9.5, GLASS)
        canvas.line([(middle - 10, top - 18), (middle + 10, top - 18)], trim)
        canvas.line([(middle, top - 28), (middle, top - 8)], trim)
    else:
        canvas.box(x - 4, top - 3, width + 8, 8, trim)
        for left in np.arange(x + 1, right - 4, 8.0):
            canvas.box(left, top + 5, 4, 5, trim)
    columns = round(width / 44)
    for y in np.arange(top + 22, STREET - 130, 62):
        for k in range(columns):
            window(canvas, x + width * (k + 0.5) / columns - 11, y, 22, 40, rng.random() < 0.35, frame)
    cloth = CLOTHS[(seed + 1) % 5]
    canvas.box(x + 4, STREET - 108, width - 8, 24, mix(cloth, INK, 0.6))
    canvas.text(middle, STREET - 102, 12, sign, LIT)
    canvas.box(x + 8, STREET - 80, width - 16, 80, INK)
    canvas.box(x + 12, STREET - 62, width - 48, 44, mix(LIT, OCHRE, 0.3))
    for left in np.arange(x + 34, right - 36, 22):
        canvas.line([(left, STREET - 62), (left, STREET - 18)], INK, 2)
    canvas.box(right - 32, STREET - 62, 20, 62, mix(cloth, INK, 0.3))
    canvas.box(right - 28, STREET - 56, 12, 26, LIT)
    canvas.stripes((x + 4, right - 4), STREET - 83, (x, right), STREET - 56, round(width / 22) * 2 + 1, cloth)


def tree(canvas: Canvas, x: float, size: float, seed: int) -> None:
    rng, y = np.random.default_rng(seed), STREET - size * 1.15
    canvas.polygon([(x - 5, STREET + 8), (x - 2, y), (x + 2, y), (x + 5, STREET + 8)], (84, 66, 58))
    for k in range(1100):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * rng.uniform(0.85, 1.05)
        a, b = reach * np.cos(angle), reach * np.sin(angle)
        light = np.clip(0.3 - 0.2 * a - 0.35 * b + k / 4400 + rng.normal(0, 0.13), 0, 1)
        leaf = mix((34, 60, 54), (186, 190, 92), light)
        canvas.disc(x + a * size * 0.55, y + b * size * 0.62, rng.uniform(1.8, 3.6), leaf)


def town(scale: float) -> Canvas:
    end = WIDTH + PAN
    canvas = Canvas(0, 190, end, WATER - 190, scale)
    for seed, (x, width, top, wall, roof, sign) in enumerate((
        (-30, 118, 300, OCHRE, "gable", "BOOKS"), (88, 176, 288, (176, 164, 196), "flat", ""),
        (264, 112, 314, BRICK, "step", "BAKERY"), (376, 158, 296, (150, 168, 146), "mansard", "HOTEL AURORA"),
        (534, 112, 322, ROSE, "gable", "CAFE LUNA"), (646, 116, 340, (112, 138, 166), "flat", "MAPS"),
        (1130, 116, 330, BRICK, "step", "FLOWERS"), (1246, 140, 312, (214, 196, 160), "mansard", "CLOCKS"),
        (1386, 116, 326, TEAL, "gable", "TEA"),
    )):
        house(canvas, x, width, top, wall, roof, sign, seed)
    for x, width, top, cloth in ((830, 130, 396, RED), (1070, 116, 410, TEAL)):
        canvas.stripes((x - width * 0.44, x + width * 0.44), top + 58, (x - width * 0.44, x + width * 0.44), STREET, 13,
                       mix(cloth, INK, 0.2), scallop=False)
        canvas.stripes((x, x), top, (x - width / 2, x + width / 2), top + 58, 13, cloth)
        canvas.polygon([(x - 14, STREET), (x, top + 70), (x + 14, STREET)], INK)
        canvas.line([(x, top), (x, top - 22)], INK, 1.5)
        canvas.polygon([(x, top - 22), (x + 20, top - 17), (x, top - 11)], cloth)
    for seed, (x, size) in enumerate(((774, 82), (904, 62), (992, 66), (1098, 78))):
        tree(canvas, x, size, seed)
    canvas.box(0, STREET, end, WATER - STREET, (178, 162, 150))
    canvas.box(0, STREET, end, 7, (206, 194, 178))
    for y in (538, 547):
        canvas.line([(0, y), (end, y)], (92, 90, 100), 2)
    canvas.box(0, QUAY, end, WATER - QUAY, STONE)
    canvas.masonry(BRICK, 14, 6, 6)
    canvas.masonry(STONE, 34, 11, 7)
    canvas.box(0, QUAY, end, 6, (214, 202, 184))
    grain = 1 + 0.03 * noise(canvas.pixels.shape[:2], (30, 70), 9, 4)
    canvas.pixels[..., :3] = np.minimum(canvas.pixels[..., :3] * grain[..., None], canvas.pixels[..., 3:])
    return canvas


def front(scale: float) -> Canvas:
    """Railing, lamps and bunting at the edge of the quay."""
    end = WIDTH + PAN + 60
    canvas = Canvas(0, 330, end, QUAY - 330, scale)
    for x in range(0, end, 10):
        canvas.line([(x, 530), (x, QUAY)], IRON, 1 if x % 50 else 2.5)
    for y, width in ((529, 2.5), (536, 1), (560, 1.5)):
        canvas.line([(0, y), (end, y)], IRON, width)
    for x in range(-232, end, 300):
        t = np.linspace(0, 1, 26)
        wire = np.stack([x + 300 * t, 352 + 100 * t * (1 - t)], 1)
        canvas.line(wire, IRON)
        for k, (a, b) in enumerate(pairwise(wire)):
            if k % 2:
                canvas.polygon([a, b, (a + b) / 2 + (0, 16)], CLOTHS[k // 2 % 5])
        canvas.polygon([(x - 3.5, QUAY), (x - 1.5, 350), (x + 1.5, 350), (x + 3.5, QUAY)], IRON)
        canvas.line([(x - 16, 356), (x - 9, 364), (x, 358), (x + 9, 364), (x + 16, 356)], IRON, 1.5)
        for side in (-16, 0, 16):
            canvas.disc(x + side, 350 - (side == 0) * 6, 6.5, BULB)
    return canvas


def wheel(scale: float, turn: float) -> Canvas:
    """A ferris wheel, turned by ``turn`` radians; its cabins hang."""
    x, y, radius, shadow = 945, 288, 205, (146, 148, 168)
    canvas = Canvas(x - 240, y - 240, 480, 480, scale)

    def at(reach: float | np.ndarray, angle: np.ndarray) -> np.ndarray:
        return np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], 1)

    for foot in (-105, 105):
        canvas.line([(x, y), (x + foot + 18, STREET)], shadow, 2.5)
        canvas.line([(x, y), (x + foot, STREET)], STEEL, 4.5)
        for k in range(2, 9):
            near, far = k / 9, (k + 0.6) / 9
            ends = [(x + foot * near, y + 232 * near), (x + (foot + 18) * far, y + 232 * far)]
            canvas.line(ends, shadow)
    teeth = np.arange(161)
    for reach, width in ((radius, 3), (radius - 12, 1.5), (radius * 0.55, 1)):
        canvas.line(at(reach, teeth * np.pi / 80), STEEL, width)
    canvas.line(at(radius - 12 * (teeth % 2), turn + teeth * np.pi / 80), STEEL)
    spokes = turn + np.arange(20) * np.pi / 10
    for side in (-np.pi / 2, np.pi / 2):  # each spoke is two ropes, from either side of the hub
        for rope in zip(at(14, spokes + side), at(radius, spokes), strict=True):
            canvas.line(rope, STEEL)
    for reach, color in ((16, RED), (11, CREAM), (5, RED)):
        canvas.disc(x, y, reach, color)
    for k, (a, b) in enumerate(at(radius, spokes)):
        color = CLOTHS[k % 5]
        canvas.line([(a, b), (a, b + 9)], INK, 1.5)
        canvas.polygon([(a - 12, b + 16), (a - 8, b + 8), (a + 8, b + 8), (a + 12, b + 16)], mix(color, INK, 0.25))
        canvas.polygon([(a - 12, b + 16), (a + 12, b + 16), (a + 9, b + 32), (a - 9, b + 32)], color)
        for left in (-8, 1):
            canvas.box(a + left, b + 16, 7, 7, GLASS)
    return canvas


def tram(scale: float) -> Canvas:
    canvas = Canvas(0, 436, 470, 114, scale)
    for x in (0, 236):
        canvas.box(x + 12, 439, 206, 6, (120, 116, 124))
        canvas.polygon([(x + 8, 444), (x + 222, 444), (x + 230, 458), (x + 230, 536), (x, 536), (x, 458)], RED)
        canvas.box(x, 500, 230, 20, CREAM)
        canvas.box(x, 520, 230, 16, (150, 48, 50))
        for left in range(x + 10, x + 226, 36):
            canvas.box(left, 462, 30, 32, (58, 78, 100))
            canvas.polygon([(left + 4, 494), (left + 16, 462), (left + 24, 462), (left + 12, 494)], (148, 172, 186))
        for left in (x + 46, x + 154):
            canvas.box(left, 458, 30, 76, (166, 62, 58))
            canvas.box(left + 2, 462, 12, 66, (84, 104, 122))
            canvas.box(left + 16, 462, 12, 66, (84, 104, 122))
        for axle in (38, 62, 168, 192):
            canvas.disc(x + axle, 538, 9, INK)
            canvas.disc(x + axle, 538, 4, (140, 138, 142))
        canvas.text(x + 115, 506, 8.5, "CITY TRAM", (130, 40, 44))
    canvas.box(230, 456, 6, 76, INK)
    canvas.box(74, 445, 82, 13, INK)
    canvas.text(115, 448, 7, "7 HARBOUR", LIT, 1)
    return canvas


def balloon(scale: float) -> Canvas:
    canvas, y = Canvas(-80, -80, 160, 220, scale), np.linspace(-1, 1, 41)
    edge = 62 * np.sqrt(1 - y * y) * (1 - 0.28 * np.maximum(y, 0) ** 2)
    height = np.where(y > 0, 80, 62) * y
    for k, (a, b) in enumerate(pairwise(np.sin(np.linspace(-np.pi / 2, np.pi / 2, 13)))):
        gore = np.concatenate([np.stack([edge * a, height], 1), np.stack([edge * b, height], 1)[::-1]])
        canvas.polygon(gore, mix((RED, CREAM, OCHRE, TEAL)[k % 4], INK, 0.4 * abs(k - 3.5) / 12))
    for x in (-14, -5, 5, 14):
        canvas.line([(x, 76), (x * 0.7, 104)], INK)
    canvas.box(-11, 104, 22, 15, (126, 84, 54))
    return canvas


def yacht(scale: float) -> Canvas:
    canvas, spar = Canvas(-150, 330, 320, 390, scale), (226, 206, 170)
    canvas.line([(0, 640), (0, 345)], spar, 3)
    for foot, head in (((-128, 652), 348), ((132, 648), 348), ((-30, 656), 430), ((30, 656), 430)):
        canvas.line([foot, (0, head)], INK)
    canvas.line([(-20, 430), (20, 430)], spar, 2)
    canvas.line([(0, 622), (-104, 616)], spar, 3)
    canvas.line([(-4, 617), (-96, 611)], CREAM, 6)
    canvas.polygon([(-60, 652), (-46, 632), (44, 630), (62, 650)], (120, 78, 52))
    for x in (-34, -8, 18):
        canvas.box(x, 636, 14, 7, LIT)
    canvas.polygon([(-134, 652), (140, 644), (112, 692), (-116, 696)], (36, 58, 92))
    canvas.polygon([(-134, 652), (140, 644), (137, 651), (-132, 659)], CREAM)
    canvas.text(80, 664, 13, "AURORA", CREAM)
    return canvas


def mirror(canvas: Canvas, camera: float, time: float) -> None:
    """Fill the water with the scene above it: waves farther away lie closer together."""
    top = round(WATER * canvas.scale)
    height, width = canvas.pixels.shape[0] - top, canvas.pixels.shape[1]
    near = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None]
    depth = 0.3 / (near + 0.3)
    across, away = ((x - width / 2) / canvas.scale * depth + camera) * 1.2 + 900, depth * 460 + x * 0
    bumps = noise((512, 2048), (50, 50), 12, 3)
    waves = sum(cv2.remap(bumps, across + 26 * way * time, away + 20 * way * time, cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_WRAP) for way in (-1, 1))
    push = waves * (0.6 + 9 * near) * canvas.scale
    seen = np.clip(top - 1 - near * height * 2.4 + push * 1.5, 0, top - 1)
    water = cv2.remap(canvas.pixels[..., :3], x + push * 0.5, seen, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    share, deep = (0.3 + 0.35 * near)[..., None], np.array((30, 62, 84), np.float32)
    glints = np.clip(waves * 0.6 - 0.55, 0, 1)[..., None] * np.array((150, 130, 100), np.float32)
    canvas.pixels[top:, :, :3] = np.clip(water * (1 - share) + share * deep + glints, 0, 255)


@cache
def scenery(scale: float) -> dict[str, Canvas]:
    return {part.__name__: part(scale) for part in (sky, distance, balloon, town, tram, front, yacht)}


def render(frame_index: int, height: int = HEIGHT) -> np.ndarray:
    """Frame 0 to 95 of the original: RGB (height, height * 16 // 9, 3) uint8."""
    time, scale = frame_index / FRAMES, height / HEIGHT * SUPERSAMPLING
    camera = PAN * float(time - np.sin(2 * np.pi * time) / (4 * np.pi))
    parts, picture, board = scenery(scale), Canvas(0, 0, WIDTH, HEIGHT, scale), Canvas(0, 0, 168, 24, scale)
    board.box(-2, -2, 172, 28, (30, 26, 34))
    board.text(262 - 272 * time, 6, 12, "THEATRE ORION - TONIGHT AT 8 - ALL WELCOME", (255, 186, 70))
    picture.paste(parts["sky"], -0.1 * camera)
    picture.paste(parts["distance"], -0.3 * camera)
    picture.paste(parts["balloon"], 610 + 60 * time - 0.2 * camera, 150 - 34 * time)
    picture.paste(wheel(scale, time), -0.8 * camera)
    picture.paste(parts["town"], -camera)
    picture.paste(board, 92 - camera, STREET - 108)
    picture.paste(parts["tram"], 1330 - 1900 * time)
    picture.paste(parts["front"], -1.06 * camera)
    mirror(picture, camera, time)
    picture.paste(parts["yacht"], 730 - 1.5 * camera, 3 * np.sin(4 * np.pi * time))
    return cv2.resize(picture.pixels[..., :3], (height * 16 // 9, height), interpolation=cv2.INTER_AREA)


def ycbcr(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Planes Y, Cb, Cr of BT.709 limited range, uint8, from RGB uint8."""
    red, green, blue = np.moveaxis(rgb / 255, -1, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    planes = 16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748
    y, cb, cr = (np.rint(plane).astype(np.uint8) for plane in planes)
    return y, cb, cr


def original_luma(frame_index: int) -> np.ndarray:
    """Y of the original frame: (720, 1280) uint8 in 16..235."""
    return ycbcr(render(frame_index))[0]


def small_frame(frame_index: int) -> av.VideoFrame:
    y, *chroma = ycbcr(render(frame_index))
    # Left-sited chroma lies on the first of its two columns of luma: 1 sample of the original left of the middle.
    halves = [imresize(y, 1 / 2), *(imresize(np.pad(c, ((0, 0), (1, 0)), "edge")[:, :-1], 1 / 4) for c in chroma)]
    frame = av.VideoFrame(WIDTH // 2, HEIGHT // 2, "yuv420p")
    for plane, values in zip(views(frame), halves, strict=True):
        plane[...] = np.clip(np.rint(values), 0, 255)
    frame.pts, frame.time_base = frame_index, Fraction(1, FPS)
    frame.colorspace = frame.color_primaries = frame.color_trc = BT709
    frame.color_range = LIMITED_RANGE
    return frame


def sound() -> np.ndarray:
    """Sixteen soft notes: (2, samples) float32."""
    time = np.arange(FRAMES * SOUND_RATE // FPS) / SOUND_RATE
    total = np.zeros((2, len(time)))
    for k, pitch in enumerate((50, 57, 62, 66, 69, 66, 74, 69, 55, 62, 67, 71, 74, 71, 66, 62)):
        t, frequency = np.maximum(time - k / 4.2, 0), 440 * 2 ** ((pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * frequency * h * t) / h**2.5 for h in range(1, 6))
        total += np.outer((1 - k % 5 / 6, 1 / 3 + k % 5 / 6), tone * np.exp(-2.2 * t) * (1 - np.exp(-90 * t)))
    return (0.14 * total * np.clip((time[-1] - time) * 2, 0, 1)).astype(np.float32)


def write(path: Path) -> None:
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        out.metadata["title"] = "An evening at the harbour"
        starts = {"Quay": 0, "Tram": 24, "Wheel": 68}
        out.set_chapters([
            {"id": k, "start": start, "end": end, "time_base": Fraction(1, FPS), "metadata": {"title": title}}
            for k, (title, (start, end)) in enumerate(zip(starts, pairwise([*starts.values(), FRAMES]), strict=True))])
        options = {"crf": "17", "preset": "slow", "threads": "1", "chroma_sample_location": "left"}
        video = out.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = WIDTH // 2, HEIGHT // 2, "yuv420p"
        context = video.codec_context
        context.color_range, context.colorspace = LIMITED_RANGE, BT709
        context.color_primaries = context.color_trc = BT709
        audio = out.add_stream("aac", rate=SOUND_RATE, layout="stereo", bit_rate=96_000)
        samples = av.AudioFrame.from_ndarray(sound(), "fltp", "stereo")
        samples.sample_rate, samples.pts = SOUND_RATE, 0
        for frame in map(small_frame, range(FRAMES)):
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        out.mux(audio.encode(samples))
        out.mux(audio.encode(None))


if __name__ == "__main__":
    write(Path(__file__).with_name("sample.mp4"))
