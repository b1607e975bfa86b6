"""Still pictures: told by their content, read and written with what else their files hold, and as planes of YUV.

Pillow reads and writes files: pixels, EXIF, colour profile, XMP, density. It has no colours of more than 8 bits: such
pixels go through OpenCV.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsr.errors import InputError, OutputError
from vsr.frame import Color, Frame, turned

if TYPE_CHECKING:
    from PIL import Image, ImageFile

PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}  # what is written, by extension
MAX_PIXELS = 1 << 30  # as many as OpenCV reads
BITS = 16  # of the planes: pixels of 8 bits are rounded once, at the very end
_MAX_SIDE = {"png": (1 << 31) - 1, "jpeg": 65500, "webp": 16383}
_QUALITY = 95  # of JPEG and lossy WebP
_COMPRESSION = 3  # of PNG: 6 makes photos 10 % smaller in half as much time again
_ROWS = 256  # that are converted at a time, so that the wide numbers in between stay small
_ORDER = {"L": "L", "RGB": "BGR", "RGBA": "BGRA"}  # of a pixel's channels, by Pillow's mode

# The weights of red and blue in luma, by AVCOL_SPC_*
_BT709, _BT601 = 1, 5
_WEIGHTS = {
    _BT709: (0.2126, 0.0722), 4: (0.30, 0.11), _BT601: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
    9: (0.2627, 0.0593), 10: (0.2627, 0.0593),
}
_UNSPECIFIED, _FULL_RANGE = 2, 2  # as AVCOL_SPC_*, AVCOL_RANGE_JPEG
_HD = 1280, 720  # pictures as wide or high as this are BT.709 where nothing is said, others BT.601
_MOST = 65535
_ZERO = 32768  # the code of no chroma, of 16 bits
# BT.601 in full range of 16 bits, from BGR: rows of three factors and what is added
_KR, _KB = _WEIGHTS[_BT601]
_KG = 1 - _KR - _KB
_CB, _CR = 2 - 2 * _KB, 2 - 2 * _KR
_TO_YUV = np.array([
    [_KB, _KG, _KR, 0],
    [0.5, -_KG / _CB, -_KR / _CB, _ZERO],
    [-_KB / _CR, -_KG / _CR, 0.5, _ZERO],
])

_MAGIC = 40  # bytes at the beginning that tell a format
_PNG_HEADER, _PNG_BITS = 33, 24  # bytes before the first chunk that may be another; where the bits a channel stand
_PNG_KEPT = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tEXt", b"zTXt", b"iTXt"}  # beside what Pillow carries
_PNG_COLOR = {b"gAMA", b"cHRM", b"cICP"}
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp\0"
_EXIF = b"Exif\0\0"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_KEPT = {"APP1": (b"\xff\xe1", b"http://ns.adobe.com/xmp/extension/\0"), "APP13": (b"\xff\xed", b""),
              "COM": (b"\xff\xfe", b"")}  # by Pillow's name: the marker, and how the content begins
_SEGMENT = 65533  # bytes in a JPEG segment
_ORIENTATION, _SUBFILE, _BITS_PER_SAMPLE, _DNG = 274, 254, 258, 50706  # tags of TIFF


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a picture's file holds beside its pixels.

    ``exif`` is the TIFF structure that EXIF is, with the orientation in it; ``dpi`` is (x, y) pixels an inch;
    ``native`` are PNG chunks or JPEG segments (name, content) that only a file of the same format can hold.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    native: tuple[tuple[Any, bytes], ...] = ()

    @property
    def orientation(self) -> int:
        """EXIF's: 1 to 8."""
        from PIL import Image

        tags = Image.Exif()
        with contextlib.suppress(Exception):  # nearly any is raised where EXIF is damaged
            tags.load(self.exif or b"")
            if (told := tags.get(_ORIENTATION, 1)) in range(1, 9):
                return told
        return 1

    @property
    def rotation_degrees(self) -> int:
        """90 where the orientation exchanges the sides of what is shown, else 0."""
        return 90 * (self.orientation in (5, 6, 7, 8))


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
    """Whether a file of that format holds several pictures, one after the other in time.

    Not so for animated WebP: FFmpeg cannot read it, so it is refused as a picture, with that reason.
    """
    if found == "png":
        chunk = re.search(rb"\0\0\0\x08acTL(.{4})|IDAT", data, re.DOTALL)
        return bool(chunk and chunk[1] and int.from_bytes(chunk[1]) > 1)
    end = data.find(b"\xff\xd9\xff\xd8\xff") if found == "jpeg" else -1
    return end > 0 and data.find(b"MPF\0", 0, end) < 0  # with it: a photo with a preview, depth or the like behind it


# ---- reading -----------------------------------------------------------------------------------------------------


def read_picture(path: Path) -> Picture:
    """The picture in ``path``. CMYK (without regard to its profile) and palettes become RGB; fewer than 8
    bits become 8.

    A JPEG that is cut short is read as far as it goes, with a warning. TIFF (the first page) and AVIF are
    turned as they are to be seen, and their EXIF is not kept. Raises ``InputError``.
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
    said = []
    try:
        image = _loaded(path, data, found)
    except InputError:
        if found != "jpeg":
            raise
        image = _loaded(path, data + b"\xff\xd9", found)
        said.append(("damaged", f"{path} is cut short: the picture is not whole"))
    info, tags = image.info, getattr(image, "tag_v2", {})
    if _DNG in tags or tags.get(_SUBFILE, 0) & 1:
        raise InputError(f"{path} is a camera's raw file; develop it to a picture first")
    if found != "jpeg" and getattr(image, "is_animated", False):
        if found == "webp":
            raise InputError(f"{path} is an animated WebP, which VSR cannot read; convert it to GIF, APNG or video")
        said.append(("pages", f"{path}: only the first page is upscaled"))
    exif, icc, xmp = (info[key] if isinstance(info.get(key), bytes) else None for key in ("exif", "icc_profile", "xmp"))
    dpi = info.get("dpi") if found != "jpeg" or info.get("jfif_unit") else None  # Pillow makes one up for JPEGs
    if not isinstance(dpi, tuple) or not all(1 < number < 65536 for number in dpi):
        dpi = None
    pixels = _deep(path, data, image, found)
    if pixels is None:
        pixels = _array(path, image)
    held = Metadata(exif and exif.removeprefix(_EXIF), icc, xmp, dpi, tuple(_native(image, data, found)))
    if found in ("avif", "tiff"):
        pixels = np.ascontiguousarray(turned(pixels, held.orientation)) if found == "avif" else pixels
        held = replace(held, exif=None)
    lossless = found in ("png", "bmp", "tiff") or (found == "webp" and re.findall(b"VP8[ L]", data)[:1] == [b"VP8L"])
    return Picture(pixels, found if found in PICTURES.values() else "png", lossless, held, tuple(said))


def _loaded(path: Path, data: bytes, found: str) -> ImageFile.ImageFile:
    from PIL import Image, PngImagePlugin

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow warns at that many, and refuses twice as many
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # 64 MiB: colour profiles may be large
    try:
        with warnings.catch_warnings(action="ignore"):
            image = Image.open(io.BytesIO(data), formats=[found])
            image.load()
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} claims to have more pixels than VSR reads ({MAX_PIXELS})") from error
    except Exception as error:  # nearly any is raised where files are damaged
        raise InputError(f"{path} cannot be decoded: damaged, cut short, too large or of an unknown kind") from error
    image.info = {key: value for key, value in image.info.items() if not isinstance(value, str)}  # texts, of any name
    if found == "png" and image.mode == "L" and isinstance(key := image.info.get("transparency"), int):
        image.info["transparency"] = key * (255 // (2 ** data[_PNG_BITS] - 1))  # as Pillow widens the pixels
    return image


def _native(image: ImageFile.ImageFile, data: bytes, found: str) -> Iterator[tuple[Any, bytes]]:
    """What `Metadata.native` holds."""
    place = len(_PNG)
    while found == "png" and place + 12 <= len(data):
        kind, start = data[place + 4 : place + 8], place + 8
        place = start + int.from_bytes(data[place : place + 4]) + 4
        if kind in _PNG_KEPT and not data.startswith(_PNG_XMP, start):
            yield kind, data[start : place - 4]
    for name, body in getattr(image, "applist", ()):
        marker, begin = _JPEG_KEPT.get(name, (b"", b""))
        if marker and body.startswith(begin):
            yield marker, body
    if found == "avif" and (place := data.find(b"colrnclx")) >= 0:
        primaries, transfer = data[place + 9], data[place + 11]
        if primaries not in (1, 2) or transfer not in (2, 13):  # not as sRGB
            yield b"cICP", bytes([primaries, transfer, 0, 1])


def _array(path: Path, image: Image.Image) -> np.ndarray:
    """A picture of 8 bits as `Picture.pixels`."""
    mode = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
    try:
        image = image.convert(mode) if image.mode != mode else image
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be made {mode} of {image.mode}; convert it first") from error
    (width, height), channels = image.size, len(mode)
    pixels = np.empty((height, width, channels), np.uint8)
    for top in range(0, height, _ROWS):
        rows = image.crop((0, top, width, min(top + _ROWS, height))).tobytes("raw", _ORDER[mode])
        pixels[top : top + _ROWS] = np.frombuffer(rows, np.uint8).reshape(-1, width, channels)
    return pixels[..., 0] if channels == 1 else pixels


def _deep(path: Path, data: bytes, image: ImageFile.ImageFile, found: str) -> np.ndarray | None:
    """The pixels where they have more than 8 bits, as `Picture.pixels`; else None."""
    if found == "png" and data[_PNG_BITS] == 16:
        pixels = _decoded(path, data)
        if pixels.ndim == 2 and isinstance(key := image.info.get("transparency"), int):  # which OpenCV leaves out
            pixels = np.dstack([pixels, pixels, pixels, np.where(pixels == key, 0, 65535).astype(np.uint16)])
        return pixels
    if found == "avif" and (depth := data[data.find(b"av1C") + 6]) & 0x40:
        most = 4095 if depth & 0x20 else 1023  # OpenCV gives the codes of 10 or 12 bits
        return (_decoded(path, data) * np.uint32(65535) // np.uint32(most)).astype(np.uint16)
    if max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))) > 8 and image.mode != "CMYK":
        return _decoded(path, data)
    return None


def _decoded(path: Path, data: bytes) -> np.ndarray:
    import cv2

    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # only TIFF is turned
    except (cv2.error, MemoryError):
        pixels = None
    if pixels is None:
        raise InputError(f"{path} cannot be decoded: too large or of an unknown kind")
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.shape[2:] not in ((), (3,), (4,)):
        raise InputError(f"{path} has pixels of {pixels.dtype}, {pixels.shape[2:]} channels; "
                         "convert it to 8 or 16 bits, grey or RGB")
    return pixels


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
    """The pixels (see `Picture`) of a 4:4:4 or grey frame, rounded to ``bits`` (8 or 16).

    Its ``color`` says matrix and range; a matrix that is not known is that of BT.709. Transfer and primaries stay.
    """
    import cv2

    colors = len(frame.planes)
    channels = colors if frame.alpha is None else colors + 1
    pixels = np.empty((frame.height, frame.width, channels), np.uint8 if bits == 8 else np.uint16)
    factors, opacity = _to_bgr(frame.color, frame.bits, colors), np.array([[_MOST / (2**frame.bits - 1)]])
    for top in range(0, frame.height, _ROWS):
        rows = slice(top, top + _ROWS)
        codes = cv2.merge([plane[rows].astype(np.uint16) for plane in frame.planes])
        made = _narrow(cv2.transform(codes, factors), bits)
        pixels[rows, :, :colors] = made.reshape(*made.shape[:2], colors)
        if frame.alpha is not None:
            pixels[rows, :, -1] = _narrow(cv2.transform(frame.alpha[rows].astype(np.uint16), opacity), bits)
    return pixels[..., 0] if channels == 1 else pixels


def _to_bgr(color: Color, bits: int, planes: int) -> np.ndarray:
    """From ``bits``-bit luma and chroma, or luma alone, to BGR or grey of 16 bits: rows of a factor for each of the
    ``planes`` and what is added."""
    red, blue = _WEIGHTS.get(color.space, _WEIGHTS[_BT709])
    green, cb, cr = 1 - red - blue, 2 - 2 * blue, 2 - 2 * red
    factors = np.array([[1, cb, 0], [1, -cb * blue / green, -cr * red / green], [1, 0, cr]])
    if color.range == _FULL_RANGE:
        black, spans = 0, np.full(3, 2**bits - 1)
    else:
        black, spans = 16 << (bits - 8), np.array([219, 224, 224]) << (bits - 8)
    factors = (factors * (_MOST / spans))[:planes, :planes]
    return np.column_stack([factors, -factors @ [black, 1 << (bits - 1), 1 << (bits - 1)][:planes]])


def seen_color(color: Color, width: int, height: int) -> Color:
    """``color`` of a video of that size, with the matrix that players take where none is said."""
    if color.space != _UNSPECIFIED:
        return color
    return replace(color, space=_BT709 if width >= _HD[0] or height >= _HD[1] else _BT601)


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

    pixels, said, held = picture.pixels, [], picture.metadata
    if form != "png" and picture.channels == 4 and (pixels[..., 3] == np.iinfo(pixels.dtype).max).all():
        pixels = pixels[..., :3]  # nothing to hold; WebP would leave it out by itself
    if form != "png" and picture.bits == 16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
        said.append(("depth", f"{form} holds 8 bits, not the 16 of the picture; .png would"))
    if form == "jpeg" and pixels.shape[2:] == (4,):
        opacity = pixels[..., 3:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)
        said.append(("alpha", "jpeg holds no transparency: the picture is laid on white; .png or .webp would"))
    if form == "webp" and pixels.ndim == 2:  # it has no grey
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if held.icc and held.icc[16:20] != (b"GRAY" if pixels.ndim == 2 else b"RGB "):
        held = replace(held, icc=None)
        said.append(("profile", "the colour profile is not one for the picture's colours as they are written"))
    for name, most in (("exif", _SEGMENT - len(_EXIF)), ("xmp", _SEGMENT - len(_JPEG_XMP))):
        if form == "jpeg" and len(getattr(held, name) or b"") > most:
            lost: dict[str, Any] = {name: None}
            held = replace(held, **lost)
            said.append((name, f"the {name.upper()} data is too large for a JPEG"))
    if form != picture.format:
        kinds = {kind for kind, _ in held.native}
        if kinds & _PNG_COLOR and not kinds & {b"sRGB"} and not held.icc:
            said.append(("color", f"{form} cannot hold the PNG's own description of its colours"))
        held = replace(held, native=())
    lossless = form == "png" or (form == "webp" and picture.lossless)
    return Picture(pixels, form, lossless, held, tuple(said))


def write_picture(path: Path, picture: Picture) -> None:
    """Write ``picture``, which its format must be able to hold (see `fitted`), to ``path``.

    JPEG: quality 95, 4:4:4. WebP: lossless where the picture is, else quality 95. Raises ``OutputError``.
    """
    from PIL import Image, PngImagePlugin

    held = picture.metadata
    options: dict[str, Any] = {"icc_profile": held.icc, "exif": held.exif and _EXIF + held.exif, "dpi": held.dpi}
    if picture.format == "png":
        chunks = PngImagePlugin.PngInfo()
        for kind, body in held.native:
            chunks.add(kind, body)
        if held.xmp:
            chunks.add(b"iTXt", _PNG_XMP + bytes(4) + held.xmp)
        options |= {"pnginfo": chunks, "compress_level": _COMPRESSION}
    else:
        options |= {"xmp": held.xmp}
    if picture.format == "jpeg":
        extra = b"".join(marker + (len(body) + 2).to_bytes(2) + body for marker, body in held.native)
        options |= {"quality": _QUALITY, "subsampling": "4:4:4", "extra": extra, "optimize": True}
    elif picture.format == "webp":
        options |= {"lossless": True, "exact": True} if picture.lossless else {"quality": _QUALITY}
    options = {name: value for name, value in options.items() if value}
    pixels = np.ascontiguousarray(picture.pixels)
    try:
        with open(path, "wb") as file:
            if picture.bits == 16:
                file.write(_deep_png(pixels, options))
            else:
                mode = {1: "L", 3: "RGB", 4: "RGBA"}[picture.channels]
                image = Image.frombuffer(mode, picture.size, pixels, "raw", _ORDER[mode], 0, 1)
                try:
                    image.save(file, picture.format, **options)
                except OSError:
                    if not options.pop("optimize", False):
                        raise
                    file.truncate(file.seek(0))
                    image.save(file, picture.format, **options)  # Pillow can optimise 2 bytes a pixel at most
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    except (ValueError, MemoryError) as error:
        raise OutputError(f"{path} cannot be made: {error or 'too large for the memory'}") from error


def _deep_png(pixels: np.ndarray, options: dict[str, Any]) -> bytes:
    """A PNG of 16 bits: OpenCV's pixels, after what Pillow writes beside those of a tiny picture."""
    import cv2
    from PIL import Image

    tiny = io.BytesIO()
    Image.new("L", (1, 1)).save(tiny, "png", **options)
    beside = tiny.getvalue()
    try:
        _, coded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION])
    except cv2.error as error:
        raise ValueError("too large for a PNG of 16 bits") from error
    inserted = beside[_PNG_HEADER : beside.rindex(b"IDAT") - 4]
    return b"".join([coded.data[:_PNG_HEADER], inserted, coded.data[_PNG_HEADER:]])
