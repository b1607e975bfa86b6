"""Still pictures: told by their content, read and written with what else their files hold, and as planes of YUV.

OpenCV decodes and encodes the pixels. What lies beside them in a file (EXIF, colour profile, XMP, density, texts) is
moved here, byte for byte: OpenCV does not carry all of it, and refuses large profiles.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vsr.errors import InputError, OutputError
from vsr.frame import Color, Frame

PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}  # what is written, by extension
MAX_PIXELS = 1 << 30  # as many as OpenCV reads
BITS = 16  # of the planes: pixels of 8 bits are rounded once, at the very end
_MAX_SIDE = {"png": (1 << 31) - 1, "jpeg": 65500, "webp": 16383}
_QUALITY = 95  # of JPEG and lossy WebP
_COMPRESSION = 3  # of PNG: 6 makes photos 3 % smaller in three times the time
_ROWS = 256  # that are converted at a time, so that the wide numbers in between stay small

# BT.601 in full range, from and to BGR: rows of three factors and what is added
_ZERO = 32768  # the code of no chroma
_KR, _KB = 0.299, 0.114
_KG = 1 - _KR - _KB
_CB, _CR = 2 - 2 * _KB, 2 - 2 * _KR
_TO_YUV = np.array([
    [_KB, _KG, _KR, 0],
    [0.5, -_KG / _CB, -_KR / _CB, _ZERO],
    [-_KB / _CR, -_KG / _CR, 0.5, _ZERO],
])
_TO_BGR = np.array([
    [1, _CB, 0, -_CB * _ZERO],
    [1, -_CB * _KB / _KG, -_CR * _KR / _KG, (_CB * _KB + _CR * _KR) / _KG * _ZERO],
    [1, 0, _CR, -_CR * _ZERO],
])
_FULL_RANGE, _BT601 = 2, 5  # AVCOL_RANGE_JPEG, AVCOL_SPC_BT470BG

_MAGIC = 40  # bytes at the beginning that tell a format
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"tEXt", b"zTXt", b"iTXt"}
_PNG_COLOR = {b"gAMA", b"cHRM", b"cICP"}
_PNG_XMP = b"XML:com.adobe.xmp\0"
_EXIF = b"Exif\0\0"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_XMP_MORE = b"http://ns.adobe.com/xmp/extension/\0"
_JPEG_ICC = b"ICC_PROFILE\0"
_JPEG_MULTIPLE = b"MPF\0"
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # the others lie within compressed data
_APP0, _APP1, _APP2, _APP13, _COMMENT, _SOI, _EOI = 0xE0, 0xE1, 0xE2, 0xED, 0xFE, 0xD8, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of what begins with the size
_SUBFILE, _PHOTOMETRIC, _EXTRA_SAMPLES, _TIFF_XMP, _TIFF_ICC, _DNG = 254, 262, 338, 700, 34675, 50706  # tags
_TIFF_COLORS = {0, 1, 2, 3, 6}  # photometric interpretations: grey, RGB, a palette, YCbCr
_TIFF_SIZES = {3: 2, 4: 4, 5: 8}  # bytes of a value, by its type; 1 for all that matters here
_SEGMENT = 65533  # bytes in a JPEG segment
_INCH = 0.0254


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a picture's file holds beside its pixels.

    ``exif`` is the TIFF structure that EXIF is, with the orientation in it; ``density`` is (x, y) pixels a metre;
    ``native`` are chunks or segments (kind, content) that only a file of the same format can hold.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    density: tuple[float, float] | None = None
    native: tuple[tuple[Any, bytes], ...] = ()

    @property
    def rotation_degrees(self) -> int:
        """90 where EXIF's orientation (TIFF tag 274) exchanges the sides of what is shown, else 0."""
        data = self.exif or b""
        order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
        first = int.from_bytes(data[4:8], order)
        for place in range(first + 2, first + 2 + 12 * int.from_bytes(data[first : first + 2], order), 12):
            if int.from_bytes(data[place : place + 2], order) == 274:
                return 90 * (int.from_bytes(data[place + 8 : place + 10], order) in (5, 6, 7, 8))
        return 0


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    ``pixels`` is (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGR with alpha (not premultiplied), uint8 or uint16, full
    range; not turned as EXIF asks. ``format`` is png, jpeg or webp (see `still_format`); ``lossless`` whether the file
    holds the pixels exactly; ``warnings`` are (code, message) of what the file could not give.
    """

    pixels: np.ndarray
    format: str
    lossless: bool
    metadata: Metadata = field(default_factory=Metadata)
    warnings: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def bits(self) -> int:
        return 8 * self.pixels.itemsize

    @property
    def channels(self) -> int:
        """1 grey, 3 colour, 4 colour with alpha."""
        return 1 if self.pixels.ndim == 2 else self.pixels.shape[2]


# ---- what a file is ----------------------------------------------------------------------------------------------


def still_format(path: Path) -> str | None:
    """png, jpeg or webp where ``path`` holds a picture, whatever its name; else None.

    It is the format in which such pictures are written: png for BMP, TIFF and AVIF. Animated PNGs and streams of JPEGs
    are videos. Nothing is decoded.
    """
    with contextlib.suppress(OSError, ValueError):
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            if not (found := _format(file.read(_MAGIC))):
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return None if _moves(data, found) else found if found in PICTURES.values() else "png"
    return None


def _format(start: bytes) -> str | None:
    if start.startswith(_PNG):
        return "png"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[:2] == b"BM" and start[6:10] == bytes(4):
        return "bmp"
    if start[4:12] in (b"ftypavif", b"ftypmif1") and b"avif" in start[:_MAGIC]:
        return "avif"
    return "tiff" if start[:4] in (b"II*\0", b"MM\0*") else None


def _moves(data: bytes | mmap.mmap, found: str) -> bool:
    """Whether a file of that format holds several pictures, one after the other in time."""
    if found == "png":
        for kind, body in _png_chunks(data, checked=False):
            if kind == b"acTL":
                return int.from_bytes(body[:4]) > 1
            if kind == b"IDAT":
                break
        return False
    if found != "jpeg":
        return False  # animated WebP too: FFmpeg cannot read it, so it is refused as a picture, with that reason
    for marker, body, end in _jpeg_segments(data):
        if marker == _APP2 and body.startswith(_JPEG_MULTIPLE):
            return False  # a photo with a preview, depth or the like behind it
        if marker == _EOI:
            return data[end : end + 3] == b"\xff\xd8\xff"
    return False


def _png_chunks(data: bytes | mmap.mmap, checked: bool = True) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of every whole chunk, pixels left out; with ``checked`` up to the first that is damaged and
    needed, others of them left out."""
    place = len(_PNG)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        if end > len(data):
            return
        kind = bytes(data[place + 4 : place + 8])
        if not checked:
            yield kind, data[place + 8 : min(end - 4, place + 24)]
        elif zlib.crc32(memoryview(data)[place + 4 : end - 4]) == int.from_bytes(data[end - 4 : end]):
            yield kind, b"" if kind == b"IDAT" else data[place + 8 : end - 4]
        elif kind[:1].isupper():
            return  # damaged, and needed
        place = end


def _jpeg_segments(data: bytes | mmap.mmap) -> Iterator[tuple[int, bytes, int]]:
    """(marker, content, where it ends) of every segment; the end of the picture is the last where it has one."""
    place = 2
    while match := _JPEG_MARKER.search(data, place):
        marker, place = data[match.start() + 1], match.end()
        if marker == _EOI:
            yield marker, b"", place
            return
        length = int.from_bytes(data[place : place + 2])
        yield marker, data[place + 2 : place + length], place + length
        place += max(2, length)


def _riff_chunks(data: bytes | mmap.mmap | memoryview) -> Iterator[tuple[bytes, Any]]:
    """(kind, content) of every chunk of a WebP file; the last may be cut short."""
    place = 12
    while place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        yield bytes(data[place : place + 4]), data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


# ---- reading -----------------------------------------------------------------------------------------------------


def read_picture(path: Path) -> Picture:
    """The picture in ``path``. CMYK and palettes become RGB; fewer than 8 bits become 8.

    A JPEG that is cut short is read as far as it goes, with a warning. BMP, TIFF (the first page) and AVIF keep their
    colour profile, and TIFF its XMP; their pixels are turned as they are to be seen. Raises ``InputError``.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the name") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    found = _format(data)
    if found is None or _moves(data, found):
        raise InputError(f"{path} is not a still picture that VSR reads: PNG, JPEG, WebP, BMP, TIFF or AVIF")
    read = {"png": _read_png, "jpeg": _read_jpeg, "webp": _read_webp, "bmp": _read_bmp, "tiff": _read_tiff,
            "avif": _read_avif}[found]
    return read(path, data)


def _read_png(path: Path, data: bytes) -> Picture:
    chunks = list(_png_chunks(data))
    if not {b"IHDR", b"IDAT", b"IEND"} <= {kind for kind, _ in chunks}:
        raise InputError(f"{path} is damaged or cut short")
    header = chunks[0][1]
    _check_pixels(path, int.from_bytes(header[:4]), int.from_bytes(header[4:8]))
    pixels = _decoded(path, data)
    exif = icc = xmp = density = None
    native = []
    for kind, body in chunks:
        if kind == b"tRNS" and pixels.ndim == 2:  # one grey is transparent, which OpenCV leaves out
            most = np.iinfo(pixels.dtype).max
            key = int.from_bytes(body[:2]) * (most // (2 ** header[8] - 1))
            pixels = np.dstack([pixels, pixels, pixels, np.where(pixels == key, 0, most).astype(pixels.dtype)])
        elif kind == b"eXIf":
            exif = body.removeprefix(_EXIF)
        elif kind == b"iCCP":
            with contextlib.suppress(zlib.error):
                icc = zlib.decompress(body.partition(b"\0")[2][1:])
        elif kind == b"iTXt" and body.startswith(_PNG_XMP):
            with contextlib.suppress(zlib.error, IndexError):
                rest = body[len(_PNG_XMP) :]
                text = rest[2:].split(b"\0", 2)[2]
                xmp = zlib.decompress(text) if rest[0] else text
        elif kind in _PNG_KEPT:
            native.append((kind, body))
        if kind == b"pHYs" and body[8:] == b"\1":
            density = float(int.from_bytes(body[:4])), float(int.from_bytes(body[4:8]))
    return Picture(pixels, "png", True, Metadata(exif, icc, xmp, density, tuple(native)))


def _read_jpeg(path: Path, data: bytes) -> Picture:
    exif = xmp = density = None
    icc, native = [], []
    ends = False
    for marker, body, _ in _jpeg_segments(data):
        ends = marker == _EOI
        if marker in _FRAMES:
            _check_pixels(path, int.from_bytes(body[3:5]), int.from_bytes(body[1:3]))
        elif marker == _APP1 and body.startswith(_EXIF):
            exif = exif or body[len(_EXIF) :]
        elif marker == _APP1 and body.startswith(_JPEG_XMP):
            xmp = body[len(_JPEG_XMP) :]
        elif marker == _APP2 and body.startswith(_JPEG_ICC):
            icc.append((body[12:13], body[14:]))  # its number, and that part
        elif marker in (_APP13, _COMMENT) or (marker == _APP1 and body.startswith(_JPEG_XMP_MORE)):
            native.append((marker, body))
        elif marker == _APP0 and body.startswith(b"JFIF\0") and body[7:8] in (b"\1", b"\2"):
            metres = _INCH if body[7] == 1 else 0.01
            density = int.from_bytes(body[8:10]) / metres, int.from_bytes(body[10:12]) / metres
    pixels = _decoded(path, data if ends else data + bytes([0xFF, _EOI]))
    profile = b"".join(part for _, part in sorted(icc)) or None
    warnings = () if ends else (("damaged", f"{path} is cut short: the picture is not whole"),)
    return Picture(pixels, "jpeg", False, Metadata(exif, profile, xmp, density, tuple(native)), warnings)


def _read_webp(path: Path, data: bytes) -> Picture:
    chunks = dict(reversed(list(_riff_chunks(data))))  # the first of a kind counts
    if b"ANIM" in chunks:
        raise InputError(f"{path} is an animated WebP, which VSR cannot read; convert it to GIF, APNG or video")
    exif = chunks.get(b"EXIF")
    exif = exif and exif.removeprefix(_EXIF)
    return Picture(_decoded(path, data), "webp", b"VP8L" in chunks,
                   Metadata(exif, chunks.get(b"ICCP"), chunks.get(b"XMP ")))


def _read_bmp(path: Path, data: bytes) -> Picture:
    return Picture(_decoded(path, data), "png", True)


def _read_tiff(path: Path, data: bytes) -> Picture:
    order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], order)

    first, tags = number(4, 4), {}
    end = first + 2 + 12 * number(first, 2)
    for place in range(first + 2, end, 12):
        length = number(place + 4, 4) * _TIFF_SIZES.get(number(place + 2, 2), 1)
        start = place + 8 if length <= 4 else number(place + 8, 4)
        tags[number(place, 2)] = data[start : start + length]
    if _DNG in tags or int.from_bytes(tags.get(_SUBFILE, b""), order) & 1:
        raise InputError(f"{path} is a camera's raw file; develop it to a picture first")
    if int.from_bytes(tags.get(_PHOTOMETRIC, b""), order) not in _TIFF_COLORS:
        raise InputError(f"{path} is neither grey nor RGB; convert it to RGB")
    pixels = _decoded(path, data)  # turned by OpenCV
    warnings = []
    if number(end, 4):
        warnings.append(("pages", f"{path}: only the first page is upscaled"))
    if _EXTRA_SAMPLES in tags and pixels.shape[2:] != (4,):
        warnings.append(("alpha", f"{path}: the transparency cannot be read"))
    return Picture(pixels, "png", True, Metadata(icc=tags.get(_TIFF_ICC), xmp=tags.get(_TIFF_XMP)),
                   tuple(warnings))


def _read_avif(path: Path, data: bytes) -> Picture:
    pixels = _decoded(path, data)
    place = 0
    while data[place + 4 : place + 8] != b"meta" and place + 8 < len(data):
        place += max(8, int.from_bytes(data[place : place + 4]))
    meta = data[place : place + int.from_bytes(data[place : place + 4])]

    def prop(kind: bytes) -> bytes:
        """The content of the first property that begins with ``kind``, from there on."""
        start = meta.find(kind)
        return b"" if start < 0 else meta[start + len(kind) : start - 4 + int.from_bytes(meta[start - 4 : start])]

    if pixels.dtype == np.uint16:  # OpenCV gives the codes of 10 or 12 bits
        most = 4095 if prop(b"av1C")[2:3] >= b"\x60" and prop(b"av1C")[2] & 0x20 else 1023
        pixels = (pixels * np.uint32(65535) // np.uint32(most)).astype(np.uint16)
    if turn := prop(b"irot"):
        pixels = np.rot90(pixels, turn[0] & 3)
    if mirror := prop(b"imir"):
        pixels = pixels[:, ::-1] if mirror[0] & 1 else pixels[::-1]
    native = []
    if len(nclx := prop(b"colrnclx")) >= 4 and (nclx[1] not in (1, 2) or nclx[3] not in (2, 13)):  # not as sRGB
        native.append((b"cICP", bytes([nclx[1], nclx[3], 0, 1])))
    return Picture(np.ascontiguousarray(pixels), "png", False,
                   Metadata(icc=prop(b"colrprof") or None, native=tuple(native)))


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"{path} claims to have {width}x{height} pixels, more than VSR reads ({MAX_PIXELS})")


def _decoded(path: Path, data: bytes) -> np.ndarray:
    import cv2

    with _quiet():
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # not turned, either
        except (cv2.error, MemoryError) as error:
            raise InputError(f"{path} cannot be decoded: too large or damaged") from error
    if pixels is None:
        raise InputError(f"{path} cannot be decoded: damaged or cut short")
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.shape[2:] not in ((), (3,), (4,)):
        raise InputError(f"{path} has pixels of {pixels.dtype}, {pixels.shape[2:]} channels; "
                         "convert it to 8 or 16 bits, grey or RGB")
    return pixels


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV says on stderr what its callers are told anyway."""
    from cv2.utils import logging

    before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)


# ---- planes ------------------------------------------------------------------------------------------------------


def to_frame(pixels: np.ndarray) -> Frame:
    """Pixels (see `Picture`) as 16-bit full-range BT.601 4:4:4 luma and chroma, or grey; new arrays.

    Invisible pixels take the colour of the nearest visible one: whatever lies under full transparency would else
    shine through at the edges of the enlarged picture.
    """
    import cv2

    if pixels.ndim == 2:
        return _frame((_wide(pixels),), None)
    alpha = None
    if pixels.shape[2] == 4:
        alpha = _wide(pixels[..., 3])
        pixels = _without_hidden_colors(pixels)
    height, width = pixels.shape[:2]
    planes = tuple(np.empty((height, width), np.uint16) for _ in range(3))
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        converted = cv2.transform(_wide(pixels[rows, :, :3]), _TO_YUV)
        for channel, plane in enumerate(planes):
            plane[rows] = converted[..., channel]
    return _frame(planes, alpha)


def _frame(planes: tuple[np.ndarray, ...], alpha: np.ndarray | None) -> Frame:
    return Frame(planes, BITS, 0, Fraction(1, 25), color=Color(range=_FULL_RANGE, space=_BT601), alpha=alpha)


def to_pixels(frame: Frame, bits: int) -> np.ndarray:
    """The pixels (see `Picture`) of a frame as `to_frame` makes them, rounded to ``bits`` (8 or 16)."""
    import cv2

    if len(frame.planes) == 1:
        return _narrow(frame.luma, bits)
    channels = 3 if frame.alpha is None else 4
    pixels = np.empty((frame.height, frame.width, channels), np.uint8 if bits == 8 else np.uint16)
    for top in range(0, frame.height, _ROWS):
        rows = slice(top, top + _ROWS)
        pixels[rows, :, :3] = _narrow(cv2.transform(cv2.merge([plane[rows] for plane in frame.planes]), _TO_BGR), bits)
        if frame.alpha is not None:
            pixels[rows, :, 3] = _narrow(frame.alpha[rows], bits)
    return pixels


def _wide(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.uint16) if pixels.itemsize == 2 else np.multiply(pixels, 257, dtype=np.uint16)


def _narrow(pixels: np.ndarray, bits: int) -> np.ndarray:
    import cv2

    return pixels if bits == BITS else cv2.convertScaleAbs(pixels, alpha=1 / 257)


def _without_hidden_colors(pixels: np.ndarray) -> np.ndarray:
    import cv2

    hidden = pixels[..., 3] == 0
    if not hidden.any() or hidden.all():
        return pixels
    _, nearest = cv2.distanceTransformWithLabels(hidden.astype(np.uint8), cv2.DIST_L2, 5,
                                                 labelType=cv2.DIST_LABEL_PIXEL)
    visible = ~hidden
    colors = np.empty((int(nearest.max()) + 1, 3), pixels.dtype)  # of each visible pixel, by its label
    colors[nearest[visible]] = pixels[visible, :3]
    filled = pixels.copy()
    filled[hidden, :3] = colors[nearest[hidden]]
    return filled


# ---- writing -----------------------------------------------------------------------------------------------------


def check_writable(target: Path, width: int, height: int) -> None:
    """Raise ``OutputError`` where the format of ``target`` (by its extension) cannot hold so large a picture."""
    form = PICTURES[target.suffix.lower()]
    if max(width, height) > _MAX_SIDE[form]:
        raise OutputError(f"{target} would be {width}x{height}: {form} has {_MAX_SIDE[form]} pixels a side at most; "
                          "write a .png")
    if width * height > MAX_PIXELS:
        raise OutputError(f"{target} would have {width}x{height} pixels, more than the {MAX_PIXELS} that VSR writes")


def fitted(picture: Picture, form: str) -> Picture:
    """``picture`` as a file of format ``form`` can hold it; ``warnings`` say what is lost by that."""
    import cv2

    pixels, warnings, held = picture.pixels, [], picture.metadata
    if form != "png" and picture.channels == 4 and (pixels[..., 3] == np.iinfo(pixels.dtype).max).all():
        pixels = pixels[..., :3]  # nothing to hold; WebP would leave it out by itself
    if form != "png" and picture.bits == 16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
        warnings.append(("depth", f"{form} holds 8 bits, not the 16 of the picture; .png would"))
    if form == "jpeg" and pixels.shape[2:] == (4,):
        opacity = pixels[..., 3:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)
        warnings.append(("alpha", "jpeg holds no transparency: the picture is laid on white; .png or .webp would"))
    if form == "webp" and pixels.ndim == 2:  # it has no grey
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if held.icc and held.icc[16:20] != (b"GRAY" if pixels.ndim == 2 else b"RGB "):
        held = replace(held, icc=None)
        warnings.append(("profile", "the colour profile is not one for the picture's colours as they are written"))
    if form == "jpeg" and len(held.exif or b"") > _SEGMENT - len(_EXIF):
        held = replace(held, exif=None)
        warnings.append(("exif", "the EXIF data is too large for a JPEG"))
    if form == "jpeg" and len(held.xmp or b"") > _SEGMENT - len(_JPEG_XMP):
        held = replace(held, xmp=None)
        warnings.append(("xmp", "the XMP data is too large for a JPEG"))
    if form != picture.format:
        kinds = {kind for kind, _ in held.native}
        if kinds & _PNG_COLOR and not kinds & {b"sRGB"} and not held.icc:
            warnings.append(("color", f"{form} cannot hold the PNG's own description of its colours"))
        held = replace(held, native=())
    lossless = form == "png" or (form == "webp" and picture.lossless)
    return Picture(pixels, form, lossless, held, tuple(warnings))


def write_picture(path: Path, picture: Picture) -> None:
    """Write ``picture``, which its format must be able to hold (see `fitted`), to ``path``.

    JPEG: quality 95, 4:4:4. WebP: lossless where the picture is, else quality 95. Raises ``OutputError``.
    """
    import cv2

    options = {
        "png": [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION],
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1,
                 cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
        "webp": [cv2.IMWRITE_WEBP_LOSSLESS_MODE, cv2.IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR]
                if picture.lossless else [cv2.IMWRITE_WEBP_QUALITY, _QUALITY],
    }[picture.format]
    with _quiet():
        try:
            done, coded = cv2.imencode(f".{picture.format}", picture.pixels, options)
        except (cv2.error, MemoryError):
            done = False
    if not done:
        raise OutputError(f"{path} cannot be made: OpenCV cannot encode the picture as {picture.format}")
    add = {"png": _png_parts, "jpeg": _jpeg_parts, "webp": _webp_parts}[picture.format]
    try:
        with open(path, "wb") as file:
            for part in add(coded.data, picture):
                file.write(part)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _png_parts(coded: memoryview, picture: Picture) -> Iterator[bytes | memoryview]:
    held, start = picture.metadata, len(_PNG) + 25  # after the header
    chunks = list(held.native)
    if held.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(held.icc)))
        chunks = [(kind, body) for kind, body in chunks if kind != b"sRGB"]  # one of them may be there
    if held.exif:
        chunks.append((b"eXIf", held.exif))
    if held.xmp:
        chunks.append((b"iTXt", _PNG_XMP + bytes(4) + held.xmp))
    if held.density and not any(kind == b"pHYs" for kind, _ in chunks):
        x, y = (round(d).to_bytes(4) for d in held.density)
        chunks.append((b"pHYs", x + y + b"\1"))
    yield coded[:start]
    for kind, body in chunks:
        yield len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)
    yield coded[start:]


def _jpeg_parts(coded: memoryview, picture: Picture) -> Iterator[bytes | memoryview]:
    held = picture.metadata
    segments: list[tuple[int, bytes]] = []
    if held.density:
        x, y = (min(round(d * _INCH), 65535).to_bytes(2) for d in held.density)
        segments.append((_APP0, b"JFIF\0\1\1\1" + x + y + bytes(2)))
    else:
        segments.append((_APP0, b"JFIF\0\1\1\0\0\1\0\1" + bytes(2)))
    if held.exif:
        segments.append((_APP1, _EXIF + held.exif))
    if held.xmp:
        segments.append((_APP1, _JPEG_XMP + held.xmp))
    icc, most = held.icc or b"", _SEGMENT - len(_JPEG_ICC) - 2
    parts = [icc[place : place + most] for place in range(0, len(icc), most)]
    for number, part in enumerate(parts, start=1):
        segments.append((_APP2, _JPEG_ICC + bytes([number, len(parts)]) + part))
    segments += held.native
    yield bytes([0xFF, _SOI])
    for marker, body in segments:
        yield bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body
    yield coded[4 + int.from_bytes(coded[4:6]) :]  # after OpenCV's own JFIF segment


def _webp_parts(coded: memoryview, picture: Picture) -> Iterator[bytes | memoryview]:
    held = picture.metadata
    beside = {b"ICCP": held.icc, b"EXIF": held.exif, b"XMP ": held.xmp}
    if not any(beside.values()):
        yield coded
        return
    width, height = picture.size
    flags = 0x20 * bool(held.icc) | 0x10 * (picture.channels == 4) | 0x08 * bool(held.exif) | 0x04 * bool(held.xmp)
    first = bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    pixels = [(kind, body) for kind, body in _riff_chunks(coded) if kind in (b"ALPH", b"VP8 ", b"VP8L")]
    chunks = [(b"VP8X", first), (b"ICCP", held.icc), *pixels, (b"EXIF", held.exif), (b"XMP ", held.xmp)]
    whole = [(kind, body) for kind, body in chunks if body]
    yield b"RIFF" + (4 + sum(8 + len(body) + len(body) % 2 for _, body in whole)).to_bytes(4, "little") + b"WEBP"
    for kind, body in whole:
        yield kind + len(body).to_bytes(4, "little")
        yield body
        yield bytes(len(body) % 2)
