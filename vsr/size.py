"""How large an output is: what a user may ask for, and what a source becomes by it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from vsr.errors import InputError, UsageError

if TYPE_CHECKING:  # numpy is not needed to read a command line
    from vsr.frame import VideoInfo

FACTORS = (2, 3, 4)  # by which engines enlarge
BOXES = {"720p": (1280, 720), "1080p": (1920, 1080), "1440p": (2560, 1440), "4k": (3840, 2160)}
SHORTEST, LONGEST = 16, 16384  # pixels a side


@dataclass(frozen=True, slots=True)
class Size:
    """An output size as it was asked for: ``flag`` and ``text`` as on the command line, which ``str`` gives back.

    'size': exactly ``width`` x ``height`` stored pixels. 'height': ``height`` rows as displayed; the width follows,
    ``width`` is None. 'fit': as large as fits into ``width`` x ``height``, as displayed; a box on end for an upright
    picture.
    """

    flag: Literal["size", "height", "fit"]
    text: str
    width: int | None
    height: int

    def __str__(self) -> str:
        return f"--{self.flag} {self.text}"

    @classmethod
    def parse_size(cls, text: str) -> Self:
        """``--size WxH``. Raises UsageError, as the others do."""
        match = re.fullmatch(r"([0-9]+)[xX]([0-9]+)", text)
        if match is None:
            raise UsageError(f"--size {text} is not a size; write WIDTHxHEIGHT, as in 1920x1080")
        return cls("size", text, _side("size", text, match[1]), _side("size", text, match[2]))

    @classmethod
    def parse_height(cls, text: str) -> Self:
        """``--height H``."""
        if re.fullmatch("[0-9]+", text) is None:
            raise UsageError(f"--height {text} is not a number of rows; write it as in --height 1080")
        return cls("height", text, None, _side("height", text, text))

    @classmethod
    def parse_fit(cls, text: str) -> Self:
        """``--fit NAME``."""
        box = BOXES.get(text.lower())
        if box is None:
            raise UsageError(f"--fit {text} is unknown; use one of {', '.join(BOXES)}")
        return cls("fit", text, *box)


def _side(flag: str, text: str, digits: str) -> int:
    if len(digits) > 9 or not SHORTEST <= int(digits) <= LONGEST:
        raise UsageError(f"--{flag} {text}: a side may have {SHORTEST} to {LONGEST} pixels")
    return int(digits)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a source becomes: enlarged by ``factor``, then resampled to ``width`` x ``height`` stored pixels (where
    that is another size) of ``sample_aspect``. ``warning`` is a code and a message where something is to be said.
    """

    factor: int
    width: int
    height: int
    sample_aspect: Fraction | None
    warning: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """That of a picture: stored ``width`` and ``height``, and the angle by which it is shown turned."""

    width: int
    height: int
    rotation_degrees: int = 0
    sample_aspect: Fraction | None = None


def resolve(info: VideoInfo | Shape, wanted: int | Size, path: Path, factors: tuple[int, ...] = FACTORS) -> Resolution:
    """What the video of ``info``, in ``path``, becomes by a factor (2, 3 or 4) or a size.

    For a size it is the smallest of ``factors`` that suffices in both directions, the last and a warning where none
    does. 'size' changes the sample aspect ratio so that the displayed shape stays; the others keep that ratio, and the
    sides that follow are the nearest even numbers, as subsampled chroma wants them. Raises InputError where nothing
    would be enlarged, a side would shrink, or one would be longer than LONGEST.
    """
    if isinstance(wanted, int):
        return Resolution(wanted, info.width * wanted, info.height * wanted, info.sample_aspect)
    aspect = info.sample_aspect
    if wanted.width is not None and wanted.flag == "size":
        width, height, source = wanted.width, wanted.height, f"{info.width}x{info.height}"
        changed = (aspect or 1) * Fraction(info.width, info.height) * Fraction(height, width)
        if changed != (aspect or 1):
            aspect = changed
    else:
        width, height = _following(info, wanted)
        source = "{:.0f}x{:.0f}".format(*map(float, _displayed(info)))
    if width <= info.width and height <= info.height:
        raise InputError(f"{path} is {source} already, which {wanted} does not enlarge; ask for a larger size")
    if width < info.width or height < info.height:
        raise InputError(f"{path} is {source}, of which {wanted} would shrink one side; "
                         f"give at least {max(width, info.width)}x{max(height, info.height)}, or --fit")
    if max(width, height) > LONGEST:
        raise InputError(f"{path} is {source} and would be {width}x{height} by {wanted}, but a side may have {LONGEST} "
                         "pixels; ask for a smaller size")
    factor = next((n for n in factors if n * info.width >= width and n * info.height >= height), None)
    if factor is not None:
        return Resolution(factor, width, height, aspect)
    most = factors[-1]
    said = (f"{width}x{height} is more than {most} times {info.width}x{info.height}: {path} is upscaled {most} times, "
            "the rest is bicubic")
    return Resolution(most, width, height, aspect, ("beyond_factor", said))


def _displayed(info: VideoInfo | Shape) -> tuple[Fraction, Fraction]:
    """Width and height as shown: by the sample aspect ratio, then turned."""
    width, height = info.width * (info.sample_aspect or Fraction(1)), Fraction(info.height)
    return (height, width) if _turned(info) else (width, height)


def _turned(info: VideoInfo | Shape) -> bool:
    return info.rotation_degrees % 180 == 90


def _following(info: VideoInfo | Shape, wanted: Size) -> tuple[int, int]:
    """The stored size that follows from a height or a box to fit."""
    across, down = _displayed(info)
    if wanted.width is None:
        ratio = wanted.height / down
    else:
        box = sorted((wanted.width, wanted.height), reverse=across >= down)
        ratio = min(box[0] / across, box[1] / down)
    width, height = (2 * round(side * ratio / 2) for side in (info.width, info.height))
    if wanted.width is not None:
        return width, height
    # The height that was asked for is not rounded; it is the stored width of a picture that is shown turned.
    return (round(info.width * ratio), height) if _turned(info) else (width, wanted.height)
