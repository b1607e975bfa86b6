"""Pixel formats: which ones are planes already, views of a frame's planes, and the conversion of all the others."""

from __future__ import annotations

import re
from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

# log2 of how many luma samples share a chroma sample, horizontally and vertically
_SUBSAMPLING = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
_DEPTHS = (8, 9, 10, 12, 14, 16)
_PLANAR = re.compile(r"(?:gray|yuvj?(?P<subsampling>\d{3})p)(?P<bits>9|1[0246])?(?P<order>le)?")
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
EXACT |= Interpolation.FULL_CHR_H_INP

FULL_RANGE = 2  # AVCOL_RANGE_JPEG
LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
BT709 = 1  # AVCOL_SPC_BT709
RGB = 0  # AVCOL_SPC_RGB


@dataclass(frozen=True, slots=True)
class Layout:
    """Planar YUV (or grey): ``chroma`` is (log2 horizontal, log2 vertical) subsampling, None for grey; 8 to 16 bits;
    with ``alpha`` a plane of opacity, of luma's size and depth."""

    chroma: tuple[int, int] | None
    bits: int
    alpha: bool = False

    @staticmethod
    def of(pix_fmt: str) -> Layout | None:
        """The layout of FFmpeg's ``pix_fmt``, None unless its planes can be used as they are."""
        match = _PLANAR.fullmatch(pix_fmt)
        if match is None or bool(match["bits"]) != bool(match["order"]):
            return None
        if match["subsampling"] is not None and match["subsampling"] not in _SUBSAMPLING:
            return None
        chroma = _SUBSAMPLING[match["subsampling"]] if match["subsampling"] else None
        return Layout(chroma, int(match["bits"] or 8))

    @property
    def pix_fmt(self) -> str:
        name = "gray" if self.chroma is None else f"yuv{'a' * self.alpha}{_subsampling_name(self.chroma)}p"
        return name if self.bits == 8 else f"{name}{self.bits}le"

    def chroma_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a chroma plane beside a luma plane of ``width`` x ``height``; grey has none."""
        assert self.chroma is not None
        return -(-width >> self.chroma[0]), -(-height >> self.chroma[1])


def _subsampling_name(chroma: tuple[int, int]) -> str:
    return next(name for name, value in _SUBSAMPLING.items() if value == chroma)


def layout_for(pix_fmt: str) -> Layout:
    """The planar layout that holds ``pix_fmt`` (RGB as 4:4:4): the same subsampling and at least the same depth."""
    layout = Layout.of(pix_fmt)
    if layout is not None:
        return layout
    video_format = av.VideoFormat(pix_fmt, 16, 16)
    components = [c for c in video_format.components if not c.is_alpha]
    depth = max(c.bits for c in components)
    bits = next((b for b in _DEPTHS if b >= depth), _DEPTHS[-1])
    if _is_rgb(video_format):
        return Layout((0, 0), bits)
    if len(components) == 1:
        return Layout(None, bits)
    ratio = 16 // video_format.chroma_width(), 16 // video_format.chroma_height()
    return Layout((ratio[0].bit_length() - 1, ratio[1].bit_length() - 1), bits)


def has_alpha(pix_fmt: str) -> bool:
    return any(c.is_alpha for c in av.VideoFormat(pix_fmt).components)


def views(frame: av.VideoFrame) -> tuple[np.ndarray, ...]:
    """The planes of a planar frame as arrays (rows, columns) over its own memory, which they keep alive."""
    layout = Layout.of(frame.format.name)
    assert layout is not None, frame.format.name
    dtype = np.dtype(np.uint8 if layout.bits == 8 else "<u2")
    arrays = []
    for plane in frame.planes:
        stride = plane.line_size
        arrays.append(
            np.ndarray(
                (plane.height, plane.width),
                dtype,
                buffer=plane,  # type: ignore[arg-type]  # a buffer, which NumPy's stubs do not know
                offset=max(0, -stride) * (plane.height - 1),  # bottom-up pictures: the first row lies last
                strides=(stride, dtype.itemsize),
            )
        )
    return tuple(arrays)


class Planar:
    """Converts frames of any format to ``layout`` with swscale; planar frames pass as they are.

    RGB becomes BT.709 in limited range, and the frame says so; YUV keeps its matrix and range. One thread only:
    swscale's slices write past the ends of their rows, now and then after the next slice has been written there.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        if Layout.of(frame.format.name) == self.layout:
            return frame
        if _is_rgb(frame.format):
            out = self._reformatter.reformat(
                frame,
                format=self.layout.pix_fmt,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=EXACT,
                threads=1,
            )
            out.colorspace, out.color_range = BT709, LIMITED_RANGE
            return out
        # Stated on both sides, or swscale takes grey for full range and the rest for limited.
        color_range = ColorRange.JPEG if frame.color_range == FULL_RANGE else ColorRange.MPEG
        out = self._reformatter.reformat(
            frame,
            format=self.layout.pix_fmt,
            src_color_range=color_range,
            dst_color_range=color_range,
            interpolation=EXACT,
            threads=1,
        )
        out.colorspace, out.color_range = frame.colorspace, frame.color_range
        return out


def _is_rgb(video_format: av.VideoFormat) -> bool:
    return (
        video_format.is_rgb
        or video_format.has_palette
        or video_format.is_bayer
        or video_format.name.startswith("xyz")  # swscale goes through RGB
    )
