"""Pixel formats: which ones are planes already, views of a frame's planes, and the conversion of all the others."""

from __future__ import annotations

import re
from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vsr.frame import Color, Frame

# log2 of how many luma samples share a chroma sample, horizontally and vertically
_SUBSAMPLING = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
_DEPTHS = (8, 9, 10, 12, 14, 16)
_ALPHA_DEPTHS = (8, 9, 10, 12, 16)
_ALPHA_SUBSAMPLING = ("420", "422", "444")
_PLANAR = re.compile(r"(?:gray|yuv(?:j|(?P<alpha>a))?(?P<subsampling>\d{3})p)(?P<bits>9|1[0246])?(?P<order>le)?")
# Packed formats with alpha: which of their components it is
_PACKED_ALPHA = {"rgba": 3, "bgra": 3, "argb": 0, "abgr": 0, "rgba64": 3, "bgra64": 3, "ya8": 1, "ya16": 1}
_PACKED_ALPHA |= {"vuya": 3, "ayuv": 0, "uyva": 3, "ayuv64": 0}
_ABORTING = {"yaf32le", "yaf32be"}  # formats for which swscale ends the process
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
EXACT |= Interpolation.FULL_CHR_H_INP

FULL_RANGE = 2  # AVCOL_RANGE_JPEG
LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
BT709 = 1  # AVCOL_SPC_BT709
# swscale's names of AVCOL_SPC_*
_COLORSPACES = {BT709: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601}
_COLORSPACES |= {7: Colorspace.SMPTE240M, 9: Colorspace.BT2020}


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
        if match["alpha"] and match["subsampling"] not in _ALPHA_SUBSAMPLING:
            return None
        chroma = _SUBSAMPLING[match["subsampling"]] if match["subsampling"] else None
        return Layout(chroma, int(match["bits"] or 8), bool(match["alpha"]))

    @property
    def pix_fmt(self) -> str:
        name = "gray" if self.chroma is None else f"yuv{'a' * self.alpha}{_subsampling_name(self.chroma)}p"
        return name if self.bits == 8 else f"{name}{self.bits}le"

    def chroma_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a chroma plane beside a luma plane of ``width`` x ``height``; grey has none."""
        assert self.chroma is not None
        return -(-width >> self.chroma[0]), -(-height >> self.chroma[1])


def layout_of(frame: Frame) -> Layout:
    """The layout of a frame's planes. Sides that do not divide evenly are rounded up, as `Layout` has it."""
    chroma = None
    if len(frame.planes) == 3:
        sides = zip(frame.luma.shape, frame.planes[1].shape, strict=True)
        rows, columns = (next(k for k in (0, 1, 2) if -(-big >> k) == small) for big, small in sides)
        chroma = columns, rows
    return Layout(chroma, frame.bits, frame.alpha is not None)


def _subsampling_name(chroma: tuple[int, int]) -> str:
    return next(name for name, value in _SUBSAMPLING.items() if value == chroma)


def layout_for(pix_fmt: str) -> Layout:
    """The planar layout that holds ``pix_fmt``: the same subsampling, at least the same depth, and its alpha.

    RGB is 4:4:4, and so is what has no planar twin with alpha; grey with alpha is 4:2:0, its chroma neutral.
    """
    layout = Layout.of(pix_fmt)
    if layout is not None:
        return layout
    video_format = av.VideoFormat(pix_fmt, 16, 16)
    components = [c for c in video_format.components if not c.is_alpha]
    depth = max(c.bits for c in components)
    alpha = has_alpha(pix_fmt)
    bits = next((b for b in (_ALPHA_DEPTHS if alpha else _DEPTHS) if b >= depth), _DEPTHS[-1])
    if _is_rgb(video_format):
        return Layout((0, 0), bits, alpha)
    if len(components) == 1:
        return Layout((1, 1), bits, True) if alpha else Layout(None, bits)
    ratio = 16 // video_format.chroma_width(), 16 // video_format.chroma_height()
    chroma = ratio[0].bit_length() - 1, ratio[1].bit_length() - 1
    return Layout(chroma, bits, alpha)


def has_alpha(pix_fmt: str) -> bool:
    """Whether pixels (or the colours of the palette) can be transparent."""
    video_format = av.VideoFormat(pix_fmt)
    return video_format.has_palette or any(c.is_alpha for c in video_format.components)


def views(frame: av.VideoFrame) -> tuple[np.ndarray, ...]:
    """The planes of a planar frame, alpha the last, as arrays (rows, columns) over its own memory, which they keep
    alive."""
    layout = Layout.of(frame.format.name)
    assert layout is not None, frame.format.name
    dtype = np.dtype(np.uint8 if layout.bits == 8 else "<u2")
    return tuple(_view(plane, dtype, plane.width)[..., 0] for plane in frame.planes)


def _view(plane: av.video.plane.VideoPlane, dtype: np.dtype, width: int, components: int = 1) -> np.ndarray:
    """A plane's own memory as an array (rows, ``width``, ``components``)."""
    stride, pixel = plane.line_size, components * dtype.itemsize
    return np.ndarray(
        (plane.height, width, components),
        dtype,
        buffer=plane,  # type: ignore[arg-type]  # a buffer, which NumPy's stubs do not know
        offset=max(0, -stride) * (plane.height - 1),  # bottom-up pictures: the first row lies last
        strides=(stride, pixel, dtype.itemsize),
    )


class Planar:
    """Converts frames of any format to ``layout``; those that are planar already pass as they are.

    RGB becomes BT.709 in limited range, and the frame says so; YUV keeps its matrix and range. With ``like`` all
    frames come in that range, and RGB in that matrix: for sources that change midway. Alpha is exact, opaque where
    there was none, and stays straight or premultiplied as it was: resizing it beside the picture asks for neither.
    One thread only: swscale's slices write past the ends of their rows, now and then after the next slice has been
    written there. Raises ``ValueError`` for frames of a format that swscale does not read.
    """

    def __init__(self, layout: Layout, like: Color | None = None) -> None:
        self.layout = layout
        self._like = like
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        rgb = _is_rgb(frame.format)
        space = BT709 if rgb else int(frame.colorspace)
        source_range = ColorRange.JPEG if is_full_range(frame) else ColorRange.MPEG
        target_range = ColorRange.MPEG if rgb else source_range
        if self._like:
            space = self._like.space if rgb else space
            target_range = ColorRange.JPEG if self._like.range == FULL_RANGE else ColorRange.MPEG
        if Layout.of(frame.format.name) == self.layout and target_range == source_range:
            return frame
        unread = ValueError(f"pictures in the pixel format {frame.format.name} cannot be converted")
        if frame.format.name in _ABORTING:
            raise unread
        try:
            # The range is stated on both sides, or swscale takes grey for full range and the rest for limited.
            out = self._reformatter.reformat(
                frame,
                format=self.layout.pix_fmt,
                # From YUV to YUV the matrix is of no effect, but swscale refuses those that damage makes up.
                src_colorspace=None if rgb else Colorspace.ITU709,
                dst_colorspace=_COLORSPACES.get(space, Colorspace.DEFAULT) if rgb else Colorspace.ITU709,
                src_color_range=None if rgb else source_range,
                dst_color_range=target_range,
                interpolation=EXACT,
                threads=1,
            )
        except av.error.FFmpegError as error:
            raise unread from error
        out.colorspace = space
        out.color_range = target_range if rgb or self._like else frame.color_range
        if out is not frame:
            self._mend(frame, out)
        return out

    def _mend(self, frame: av.VideoFrame, out: av.VideoFrame) -> None:
        """Put in what swscale takes for something else: it rounds alpha, and gives grey beside it another range."""
        alpha = alpha_of(frame) if self.layout.alpha else None
        if alpha is None:
            return
        values, depth = alpha
        more = self.layout.bits - depth
        if more:
            values = values.astype(np.uint16)
            values = (values << more) | (values >> (depth - more)) if more > 0 else values >> -more
        views(out)[3][...] = values
        if frame.format.name.startswith("ya") and not more:
            views(out)[0][...] = _view(frame.planes[0], values.dtype, frame.width, 2)[..., 0]


def is_full_range(frame: av.VideoFrame) -> bool:
    return frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")


def alpha_of(frame: av.VideoFrame) -> tuple[np.ndarray, int] | None:
    """The alpha of a frame, and its depth in bits; None where there is none, or in floating point."""
    name = re.sub("[lb]e$", "", frame.format.name)
    if frame.format.has_palette:
        palette = np.ndarray(256, np.uint32, buffer=frame.planes[1]) >> 24  # type: ignore[arg-type]  # 0xAARRGGBB
        return palette.astype(np.uint8)[_view(frame.planes[0], np.dtype(np.uint8), frame.width)[..., 0]], 8
    depth = next((c.bits for c in frame.format.components if c.is_alpha), 0)
    dtype = np.dtype(np.uint8 if depth == 8 else ">u2" if frame.format.is_big_endian else "<u2")
    if name in _PACKED_ALPHA:
        components = len(frame.format.components)
        return _view(frame.planes[0], dtype, frame.width, components)[..., _PACKED_ALPHA[name]], depth
    if name.startswith(("yuva", "gbrap")) and depth <= 16:
        return _view(frame.planes[3], dtype, frame.width)[..., 0], depth
    return None


def _is_rgb(video_format: av.VideoFormat) -> bool:
    return (
        video_format.is_rgb
        or video_format.has_palette
        or video_format.is_bayer
        or video_format.name.startswith("xyz")  # swscale goes through RGB
    )
