"""A frame and what is known of the stream it came from. Exact fractions, never a float frame rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np


@dataclass(frozen=True, slots=True)
class Color:
    """The colour tags of a stream or frame, as FFmpeg's integer enumerations (AVCOL_*, AVCHROMA_LOC_*).

    They are carried from source to output untouched; 2 (0 for ``range`` and ``chroma_location``) means unspecified.
    """

    range: int = 0
    space: int = 2
    primaries: int = 2
    transfer: int = 2
    chroma_location: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as planar YUV (or grey).

    ``planes``: luma (H, W), then two chroma planes of (ceil(H / 2**sub_y), ceil(W / 2**sub_x)) unless grey;
    uint8, or uint16 with the code in the low ``bits`` bits. Rows may be padded (any row stride), pixels of a row are
    contiguous. ``alpha`` is the opacity, (H, W) as luma, from 0 to 2**bits - 1; None where everything is opaque.
    ``pts`` counts ``time_base`` units (seconds); None where the source has no timestamp. ``captions`` are closed
    captions that came in the picture, in a form that only decoder and encoder know. ``quantizer`` is how coarsely the
    source was quantised around here, as H.264's QP (0 to 51); None where that is not known.
    """

    planes: tuple[np.ndarray, ...]
    bits: int
    pts: int | None
    time_base: Fraction
    duration: int | None = None
    key: bool = False
    color: Color = field(default_factory=Color)
    alpha: np.ndarray | None = None
    captions: object | None = None
    quantizer: float | None = None

    def __post_init__(self) -> None:
        if len(self.planes) not in (1, 3):
            raise ValueError(f"a frame has 1 or 3 planes, not {len(self.planes)}")
        dtype = np.uint8 if self.bits == 8 else np.uint16
        for plane in self.planes if self.alpha is None else (*self.planes, self.alpha):
            if plane.ndim != 2 or plane.dtype != dtype:
                got = f"{plane.shape} {plane.dtype}"
                raise ValueError(f"a {self.bits}-bit plane is a 2-d {dtype.__name__} array, not {got}")

    @property
    def luma(self) -> np.ndarray:
        return self.planes[0]

    @property
    def height(self) -> int:
        return self.planes[0].shape[0]

    @property
    def width(self) -> int:
        return self.planes[0].shape[1]


def turned(plane: np.ndarray, orientation: int) -> np.ndarray:
    """A view of a stored plane (H, W, …) as it is to be seen, by EXIF's ``orientation``: 1 to 8."""
    if orientation > 4:
        plane = plane.swapaxes(0, 1)
    return plane[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]


@dataclass(frozen=True, slots=True)
class Mastering:
    """The display that an HDR video was graded on (SMPTE ST 2086), exactly as the stream has it.

    ``primaries`` are the CIE 1931 (x, y) of red, green and blue, ``white_point`` that of white; ``luminance`` is
    (least, greatest) in cd/m². What the stream does not say is None.
    """

    primaries: tuple[tuple[Fraction, Fraction], ...] | None
    white_point: tuple[Fraction, Fraction] | None
    luminance: tuple[Fraction, Fraction] | None


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video stream before its first frame is decoded.

    ``pix_fmt`` is FFmpeg's name of the decoded format; ``frames`` is the container's count and None where it has none
    (never trusted for anything but an estimate); ``rate`` is the average rate, for estimates and encoders' rate control
    only; ``start`` (of the first picture) and ``duration`` count ``time_base`` units; ``rotation_degrees`` is
    counter-clockwise, as FFmpeg's display matrix says it; ``alpha`` is whether anything in it is transparent; ``light``
    is (MaxCLL, MaxFALL) in cd/m².
    """

    index: int
    codec: str
    width: int
    height: int
    pix_fmt: str
    time_base: Fraction
    rate: Fraction | None
    frames: int | None
    start: int | None
    duration: int | None
    sample_aspect: Fraction | None
    rotation_degrees: int
    color: Color
    interlaced: bool
    alpha: bool = False
    mastering: Mastering | None = None
    light: tuple[int, int] | None = None
