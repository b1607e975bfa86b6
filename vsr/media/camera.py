"""Live pictures: cameras, streams from the network, files at their own pace, the screen, and a moving test pattern.

A source gives its frames as planar YUV of 8 bits as they come, each with the moment when it came. It keeps none: who
reads slowly misses frames, and gets none late.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import av
import numpy as np
from av.codec.context import Flags, ThreadType
from av.video.codeccontext import VideoCodecContext

from vsr.errors import InputError, UsageError
from vsr.frame import Color, Frame
from vsr.media.pixels import FULL_RANGE, LIMITED_RANGE, Planar, layout_for, views
from vsr.media.probe import main_video, open_input, video_info

TICK = Fraction(1, 1_000_000)  # of the frames' times
NUMBER_BITS = 24  # of the number that is drawn into the test pattern

# What each kind of address may lead to. FFmpeg asks nothing else of the network, nor of the disk, whatever a playlist
# or a redirection names.
_WEB = "http,https,tcp,tls,crypto"
PROTOCOLS = {
    "http": _WEB, "https": _WEB, "rtsp": "rtsp,rtp,srtp,tcp,udp,tls", "rtsps": "rtsps,rtsp,rtp,srtp,tcp,udp,tls",
    "rtmp": "rtmp,tcp", "rtmps": "rtmps,rtmp,tcp,tls", "udp": "udp", "rtp": "rtp,udp", "srt": "srt", "tcp": "tcp",
}
_OPEN_S, _READ_S = 8.0, 5.0  # after which a stream is given up that says nothing
_SEGMENTS_S = 15.0  # the same of HLS, which comes in pieces of some seconds
_PROBED = {"probesize": "500000", "analyzeduration": "1000000"}  # bytes and us that are looked at before it begins
_SILENT_S = 1.0  # after which a camera is given up that fails at once whenever it is asked
_GLANCE_S = 0.01  # between two such questions
_BEHIND_S, _LEVEL_S = 0.5, 0.1  # so late only key frames are decoded, until it is so little late again
_CATCHING_UP_S = 2.0  # after which lateness is taken for the network's, not the decoder's
_HOPELESS = 200  # packets of a stream without a picture after which it is given up
_SCREEN = re.compile(r"screen(?::(\d+)x(\d+)\+(\d+)\+(\d+))?")
_NO_ADDRESS = re.compile(rf"({'|'.join(PROTOCOLS)}):(?!//)", re.IGNORECASE)  # which FFmpeg would take for one
_MOST_CAMERAS = 1 << 16
_TEST_SIZE, _TEST_RATE = (640, 360), Fraction(30)
_PERIOD = 256  # pixels after which the test pattern repeats
_STEP = 4  # pixels that it moves with each frame

_BT601 = 6  # AVCOL_SPC_SMPTE170M
_LEFT, _CENTRE = 1, 2  # AVCHROMA_LOC_*
_LEFT_SITED = {1, 3, 5}
_CAMERA_COLOR = Color(range=LIMITED_RANGE, space=_BT601, chroma_location=_LEFT)  # what cameras give unless it is JPEG
_LARGE = 640 * 480  # pixels above which cameras are asked for JPEG: USB 2 carries no more at a full rate

Wait = Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Asked:
    """The picture that a source is asked for; of None it gives what it likes. Cameras take the nearest that they have,
    screens and the test pattern any; streams and files are as they are. ``pixel_format`` is a camera's, as its four
    letters (MJPG, YUYV, NV12)."""

    size: tuple[int, int] | None = None
    rate: Fraction | None = None
    pixel_format: str | None = None
    mirrored: bool = False


class Source(ABC):
    """An open source: iterate once over its ``frames()``. A context manager.

    ``rate`` is what it says to give a second, None where it does not; ``work_ms`` what the last frame took to be made
    from what came; ``ends`` whether it may come to an end. The ``pts`` of the frames is when they came on the clock
    ``now``, in ``TICK``s; those of one source are all of 8 bits without alpha, but may change their size. ``frames()``
    ends where there will be no more, or when ``wait``, which waits for so many seconds, has returned True; it raises
    ``InputError`` where the source is lost.
    """

    rate: Fraction | None = None
    work_ms = 0.0
    ends = False

    def __init__(self, asked: Asked, now: Callable[[], float], wait: Wait) -> None:
        self._asked, self._now, self._wait = asked, now, wait

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """The frames, each as soon as it is there."""

    def resume(self) -> None:  # noqa: B027
        """Go on from here after a pause, where it has a time of its own."""

    def close(self) -> None:  # noqa: B027  (not every source holds something)
        """Release it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _frame(self, planes: tuple[np.ndarray, ...], at: float, color: Color, begun: float) -> Frame:
        """The frame of that moment, made since ``begun``; mirrored where that is asked for."""
        if self._asked.mirrored:
            planes = mirrored(planes, color.chroma_location)
        self.work_ms = 1000 * (time.perf_counter() - begun)
        return Frame(planes, 8, round(at / TICK), TICK, color=color)


def mirrored(planes: tuple[np.ndarray, ...], chroma_location: int) -> tuple[np.ndarray, ...]:
    """The planes as in a mirror, new. Where chroma has half the columns, luma moves by one of them (which is lost at
    one edge, and repeated at the other) if that keeps chroma where ``chroma_location`` (AVCHROMA_LOC_*) says."""
    luma, *chroma = (np.ascontiguousarray(plane[:, ::-1]) for plane in planes)
    if chroma and (columns := chroma[0].shape[1]) < luma.shape[1]:
        # Sample k lies at 2k + place, mirrored at width - 1 - 2k - place; it is wanted at 2(columns - 1 - k) + place.
        twice_place = 0 if chroma_location in _LEFT_SITED else 1
        move = 2 * columns - 1 - luma.shape[1] + twice_place
        if move < 0:
            luma[:, :-1] = luma[:, 1:].copy()
        elif move > 0:
            luma[:, 1:] = luma[:, :-1].copy()
    return luma, *chroma


# ---- which source --------------------------------------------------------------------------------------------------


def shown_name(source: str) -> str:
    """``source`` as it may be shown and logged: of an address neither who logs in nor what is asked behind the '?' or
    '#'; nothing of one whose password hides where its host is."""
    if "://" not in source:
        return source
    scheme, _, rest = source.partition("://")
    place = re.split("[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    login, _, host = host.rpartition("@")
    if not login and "@" in rest and not re.fullmatch(r"[^:]*|(\[.*\]|[^:]*):\d*", host):
        return f"{scheme}://…"
    return f"{scheme}://{host}{slash}{path}{'?…' if place != rest else ''}"


def check_source(source: str) -> None:
    """Raise ``UsageError`` for what cannot be a source, before anything is opened."""
    if not source:
        raise UsageError("a source has no name; give a camera's number or name, an address, a file, 'screen' or 'test'")
    if "://" in source:
        scheme = source.partition("://")[0].lower()
        if scheme not in PROTOCOLS:
            raise UsageError(f"'{scheme}' is no kind of stream that VSR reads; there are: {', '.join(PROTOCOLS)}")
        try:
            host = urlsplit(source).hostname
        except ValueError:
            host = None
        if not host:
            raise UsageError(f"{shown_name(source)} is no address: it names no host")
    elif match := _NO_ADDRESS.match(source):  # it may hold a password, too
        raise UsageError(f"an address begins with {match[1].lower()}://, with two strokes")
    if source.isascii() and source.isdigit() and int(source) >= _MOST_CAMERAS:
        raise UsageError(f"{source} is no camera's number; --list lists those that there are")
    if source.startswith("screen:") and not _SCREEN.fullmatch(source):
        raise UsageError(f"'{source}' is no part of the screen; give it as screen:WIDTHxHEIGHT+X+Y")


def open_source(
    source: str,
    asked: Asked | None = None,
    *,
    now: Callable[[], float] = time.monotonic,
    wait: Wait | None = None,
    capture: Callable[[int], Any] | None = None,
) -> Source:
    """Open ``source``: 'test', 'screen', 'screen:WIDTHxHEIGHT+X+Y', a camera's number or name, an address
    (`PROTOCOLS`), or a video file, which plays in real time.

    ``capture`` opens cameras as ``cv2.VideoCapture`` does. Raises ``UsageError`` for what cannot be a source,
    ``InputError`` for one that is not there or cannot be read.
    """
    check_source(source)
    asked = asked or Asked()
    clock = now, wait or _sleep
    if source == "test":
        return Pattern(asked, *clock)
    if match := _SCREEN.fullmatch(source):
        return _screen(match, asked, *clock)
    if "://" in source:
        return _address(source, asked, *clock)
    number = int(source) if source.isascii() and source.isdigit() else None
    if number is None and not os.path.lexists(source):
        number = next((index for index, name in cameras() if name.casefold() == source.casefold()), None)
    if number is not None:
        return Camera(number, asked, *clock, capture or _video_capture)
    return _file(Path(source), asked, *clock)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def cameras() -> list[tuple[int, str]]:
    """The cameras here: the number by which OpenCV opens each, and its name."""
    folder = Path("/sys/class/video4linux")
    if sys.platform == "linux":
        found = []
        for name in folder.glob("video*/name"):
            with contextlib.suppress(OSError, ValueError):
                # A camera has several nodes; the first is its picture, the others tell of it.
                if (name.parent / "index").read_text().strip() == "0":
                    number = int(name.parent.name.removeprefix("video"))
                    found.append((number, name.read_text("utf-8", "replace").strip()))
        return sorted(found)
    from cv2_enumerate_cameras import enumerate_cameras

    return [(camera.index, camera.name) for camera in enumerate_cameras(_backend())]


# ---- the test pattern ----------------------------------------------------------------------------------------------


class Pattern(Source):
    """Stripes, rings and edges that move, with the number of the frame drawn at the top left (`draw_number`): a camera
    of any size and rate that never fails. A frame that nobody waits for is left out, as a camera does."""

    def __init__(self, asked: Asked, now: Callable[[], float], wait: Wait) -> None:
        super().__init__(asked, now, wait)
        self.rate = asked.rate or _TEST_RATE
        self._size = asked.size or _TEST_SIZE
        self._planes = _pattern(*self._size)

    def frames(self) -> Iterator[Frame]:
        assert self.rate is not None
        period = float(1 / self.rate)
        first, number = self._now(), 0
        while True:
            if self._wait(max(0.0, first + number * period - self._now())):
                return
            number = max(number, int((self._now() - first) / period))
            begun, at = time.perf_counter(), first + number * period
            planes = []
            for index, plane in enumerate(self._planes):
                sub = 2 if index else 1
                shift = number * _STEP % _PERIOD // sub
                planes.append(plane[:, shift : shift + -(-self._size[0] // sub)].copy())
            draw_number(planes[0], number)
            yield self._frame(tuple(planes), at, _CAMERA_COLOR, begun)
            number += 1


def _pattern(width: int, height: int) -> tuple[np.ndarray, ...]:
    """Luma and chroma of 4:2:0, so much wider than the picture as it moves before it repeats."""
    rows, columns = np.indices((height, width + _PERIOD), np.float32)
    turn = 2 * np.pi / _PERIOD
    rings = np.sin((rows - height / 2) ** 2 / height + 12 * np.cos(columns * turn))
    stripes = np.sin(columns * turn * 16 + rows / 9)
    checks = ((columns // 32 + rows // 32) % 2) * 2 - 1
    luma = np.rint(126 + 60 * rings + 25 * stripes + 20 * checks)
    y, x = np.indices((-(-height // 2), -(-(width + _PERIOD) // 2)), np.float32)
    blue, red = 128 + 40 * np.sin(x * turn * 2 + y / 40), 128 + 40 * np.cos(x * turn * 4 - y / 30)
    return tuple(np.clip(np.rint(plane), 16, 235).astype(np.uint8) for plane in (luma, blue, red))


def draw_number(luma: np.ndarray, number: int) -> None:
    """Draw ``number`` at the top left of a plane: a black or white square for each bit, the lowest first, as wide as
    `number_side` says. Where there is no room nothing is drawn."""
    side = number_side(luma.shape[1])
    if side * 2 <= len(luma) and side:
        bits = [235 if number >> bit & 1 else 16 for bit in range(NUMBER_BITS)]
        luma[:side, : side * NUMBER_BITS] = np.repeat(bits, side)


def number_side(width: int) -> int:
    return min(16, width // NUMBER_BITS)


# ---- cameras -------------------------------------------------------------------------------------------------------


def _backend() -> int:
    """How OpenCV opens cameras: where it has a choice, by what starts at once and gives pictures as they come."""
    import cv2

    return {"win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION}.get(sys.platform, cv2.CAP_V4L2)


def _video_capture(number: int) -> Any:
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it would write is said in one line here
    return cv2.VideoCapture(number, _backend())


class Camera(Source):
    """A camera that OpenCV opens, by its number. Its pictures come as the camera codes them where OpenCV lets them
    through: YUV stays YUV, JPEG is decoded to what it holds."""

    def __init__(
        self, number: int, asked: Asked, now: Callable[[], float], wait: Wait, capture: Callable[[int], Any]
    ) -> None:
        import cv2

        super().__init__(asked, now, wait)
        self._name = f"camera {number}"
        self._capture = capture(number)
        if not self._capture.isOpened():
            self.close()
            known = ", ".join(f"{index} ({name})" for index, name in cameras())
            there = f"there are: {known}" if known else "none is found; is one plugged in, and free?"
            raise InputError(f"{self._name} cannot be opened; {there}")
        letters = asked.pixel_format
        if letters is None and asked.size and asked.size[0] * asked.size[1] > _LARGE:
            letters = "MJPG"
        wanted: dict[int, float] = {cv2.CAP_PROP_BUFFERSIZE: 1, cv2.CAP_PROP_CONVERT_RGB: 0}
        if letters:
            wanted[cv2.CAP_PROP_FOURCC] = cv2.VideoWriter.fourcc(*letters)
        if asked.size:
            wanted[cv2.CAP_PROP_FRAME_WIDTH], wanted[cv2.CAP_PROP_FRAME_HEIGHT] = asked.size
        if asked.rate:
            wanted[cv2.CAP_PROP_FPS] = float(asked.rate)
        for key, value in wanted.items():
            self._capture.set(key, value)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = Fraction(rate).limit_denominator(1001) if 1 <= rate <= 1000 else None
        self._jpeg: Any = av.CodecContext.create("mjpeg", "r")
        self._planar: Planar | None = None

    def close(self) -> None:
        self._capture.release()

    def frames(self) -> Iterator[Frame]:
        lost = InputError(f"{self._name} gives no picture any more; was it unplugged?")
        silent_since = self._now()
        while True:
            try:
                there, picture = self._capture.read()
            except Exception as error:  # cv2.error, or what a driver's binding raises
                raise lost from error
            at, begun = self._now(), time.perf_counter()
            frame = self._made(picture, at, begun) if there and picture is not None and picture.size else None
            if frame is not None:
                silent_since = at
                yield frame
            elif at - silent_since > _SILENT_S:
                raise lost
            if self._wait(0 if frame is not None else _GLANCE_S):
                return

    def _made(self, picture: np.ndarray, at: float, begun: float) -> Frame | None:
        """The frame of what OpenCV gave, None where that is no picture."""
        import cv2

        fourcc = int(self._capture.get(cv2.CAP_PROP_FOURCC))
        letters = "".join(chr(fourcc >> shift & 0xFF) for shift in (0, 8, 16, 24))
        if picture.ndim == 1 or (picture.ndim == 2 and 1 in picture.shape):
            data = picture.reshape(-1)
            if data[:2].tobytes() == b"\xff\xd8":
                return self._decoded(data, at, begun)
            width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
            height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            if width < 1 or height < 1 or data.size % (width * height // 2 or 1):
                return None
            shape = (height, width, 2) if data.size == 2 * width * height else (data.size // width, width)
            picture = data.reshape(shape)
        planes = planes_of(picture, letters)
        if planes is not None:
            return self._frame(planes, at, _CAMERA_COLOR, begun)
        if picture.ndim == 3 and picture.shape[2] == 3:
            return self._converted(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "bgr24"), at, begun)
        return None

    def _decoded(self, data: np.ndarray, at: float, begun: float) -> Frame | None:
        try:
            pictures = self._jpeg.decode(av.Packet(data.tobytes()))
        except av.error.FFmpegError:  # broken off on its way
            return None
        return self._converted(pictures[-1], at, begun) if pictures else None

    def _converted(self, picture: av.VideoFrame, at: float, begun: float) -> Frame:
        color = Color(FULL_RANGE, _BT601, chroma_location=_CENTRE)
        layout = replace(layout_for(picture.format.name), bits=8, alpha=False)
        if self._planar is None or self._planar.layout != layout:
            self._planar = Planar(layout)
        planar = self._planar(picture)
        if planar is not picture:
            color = Color(int(planar.color_range), int(planar.colorspace))
        if layout.chroma in (None, (0, 0)):
            color = replace(color, chroma_location=0)
        return self._frame(views(planar), at, color, begun)


def planes_of(picture: np.ndarray, fourcc: str) -> tuple[np.ndarray, ...] | None:
    """The planes of a picture that is YUV already: of two bytes a pixel 4:2:2 (``fourcc`` YUYV or UYVY), of one and a
    half 4:2:0 (NV12, NV21, I420, YV12), of one grey; None for any other. Of odd sides the last row or column is left
    out, as there is no chroma for it."""
    if picture.dtype != np.uint8:
        return None
    if picture.ndim == 3 and picture.shape[2] == 2:
        picture = picture[:, : picture.shape[1] // 2 * 2]
        luma, chroma = (1, 0) if fourcc in ("UYVY", "HDYC") else (0, 1)
        parts = picture[..., luma], picture[:, 0::2, chroma], picture[:, 1::2, chroma]
        return tuple(np.ascontiguousarray(part) for part in parts)
    if picture.ndim != 2:
        return None
    if fourcc in ("GREY", "Y800", "Y8  "):
        return (picture,)
    height, width = len(picture) * 2 // 3, picture.shape[1]
    if len(picture) % 3 or width % 2 or height % 2:
        return None
    luma_plane, rest = picture[:height], picture[height:]
    if fourcc in ("NV12", "NV21"):
        both = np.ascontiguousarray(rest[:, 0::2]), np.ascontiguousarray(rest[:, 1::2])
        return luma_plane, *(both if fourcc == "NV12" else both[::-1])
    if fourcc in ("I420", "IYUV", "YU12", "YV12"):
        first, second = rest.reshape(2, height // 2, width // 2)
        return (luma_plane, second, first) if fourcc == "YV12" else (luma_plane, first, second)
    return None


# ---- what FFmpeg reads ---------------------------------------------------------------------------------------------


def _address(source: str, asked: Asked, now: Callable[[], float], wait: Wait) -> Source:
    scheme, _, rest = source.partition("://")
    scheme = scheme.lower()
    source = f"{scheme}://{rest}"  # FFmpeg knows no capitals
    options = {"protocol_whitelist": PROTOCOLS[scheme], **_PROBED}
    if scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_flags": "prefer_tcp"}  # by UDP where the camera refuses that
    if scheme == "udp" and "overrun_nonfatal" not in source:
        options |= {"overrun_nonfatal": "1"}
    in_pieces = scheme in ("http", "https") and urlsplit(source).path.endswith((".m3u8", ".m3u"))
    read_s = _SEGMENTS_S if in_pieces else _READ_S
    with contextlib.ExitStack() as stack:
        container = _opened(shown_name(source), source, options=options, timeout=(_OPEN_S, read_s))
        stack.callback(container.close)
        ends = scheme in ("http", "https") and bool(container.duration)  # a recording, not a live picture
        paced = ends or container.format.name == "hls"  # pieces come at once and are for the seconds that follow
        return Stream(shown_name(source), container, paced, asked, now, wait, stack.pop_all().close, ends)


def _file(path: Path, asked: Asked, now: Callable[[], float], wait: Wait) -> Source:
    with contextlib.ExitStack() as stack:
        container = stack.enter_context(open_input(path))
        return Stream(str(path), container, True, asked, now, wait, stack.pop_all().close, ends=True)


def _screen(match: re.Match[str], asked: Asked, now: Callable[[], float], wait: Wait) -> Source:
    """The screen, or a part of it, by what the platform has for it in FFmpeg."""
    width, height, x, y = (None if number is None else int(number) for number in match.groups())
    form = {"win32": "gdigrab", "darwin": "avfoundation"}.get(sys.platform, "x11grab")
    options = {"framerate": str(asked.rate or 30)}
    if width is not None:
        options["video_size"] = f"{width}x{height}"
    name = {"gdigrab": "desktop", "avfoundation": "Capture screen 0:none"}.get(form, os.environ.get("DISPLAY", ""))
    if form == "gdigrab" and width is not None:
        options |= {"offset_x": str(x), "offset_y": str(y)}
    if form == "avfoundation" and width is not None:
        raise InputError("a part of the screen cannot be captured here, only all of it: --source screen")
    if form == "x11grab":
        if not name:
            raise InputError("there is no X display to capture (DISPLAY is not set; Wayland lends its screens to none)")
        if width is not None:
            name += f"+{x},{y}"
    if form not in av.formats_available:
        raise InputError("this installation of FFmpeg cannot capture screens")
    with contextlib.ExitStack() as stack:
        container = _opened("the screen", name, format=form, options=options, timeout=(_OPEN_S, _READ_S))
        stack.callback(container.close)
        return Stream("the screen", container, False, asked, now, wait, stack.pop_all().close)


def _opened(name: str, place: str, **options: Any) -> Any:
    try:
        return av.open(place, **options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        # Its own text holds the address, with who logs in.
        raise InputError(f"{name} cannot be opened ({_reason(error)})") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, av.error.ExitError):
        return "no answer in time"
    return getattr(error, "strerror", None) or type(error).__name__


class Stream(Source):
    """What FFmpeg reads, from the network as it comes or, ``paced``, each frame at its time.

    Where decoding does not keep up, all but the key frames are left out until it does. A stream that ``ends`` may do
    so; any other that does is lost.
    """

    def __init__(
        self, name: str, container: av.container.InputContainer, paced: bool, asked: Asked, now: Callable[[], float],
        wait: Wait, close: Callable[[], None], ends: bool = False,
    ) -> None:
        super().__init__(asked, now, wait)
        self._name, self._container, self._paced, self.ends = name, container, paced, ends
        self.close = close  # type: ignore[method-assign]
        video = main_video(container)
        if video is None:
            close()
            raise InputError(f"{name} holds no video")
        self._stream = video
        self.rate = video.average_rate or video.guessed_rate or None
        self._codec: VideoCodecContext = video.codec_context
        self._codec.thread_type = ThreadType.SLICE  # frame threads would hold back as many frames
        if not paced:
            self._codec.flags |= Flags.low_delay
        self._planar: Planar | None = None
        self._color = Color()
        self._zero: float | None = None  # when the frame of pts 0 came, or would have come
        self._catching_up: float | None = None  # since when
        self._came: dict[int, float] = {}  # when the packets did whose pictures are not there yet

    def frames(self) -> Iterator[Frame]:
        packets = self._container.demux(self._stream)
        fruitless = 0
        while True:
            try:
                packet = next(packets, None)
                at, begun = self._now(), time.perf_counter()
                if packet is not None and packet.pts is not None:
                    self._came[packet.pts] = at
                    if len(self._came) > _HOPELESS:
                        self._came.clear()
                pictures = [] if packet is None else self._codec.decode(packet)
            except av.error.EOFError:
                packet, pictures = None, []
            except av.error.InvalidDataError:
                pictures = []
            except (av.error.FFmpegError, OSError) as error:
                raise InputError(f"{self._name} is lost ({_reason(error)})") from None
            if packet is None:
                break
            fruitless = 0 if pictures else fruitless + 1
            if fruitless > _HOPELESS:
                raise InputError(f"{self._name} holds no picture that can be decoded")
            for picture in pictures:
                came = self._came.pop(picture.pts, at) if picture.pts is not None else at
                due = self._due(picture, came)
                frame = self._made(picture, due if self._paced else came, begun)
                if frame is not None:
                    if self._wait(max(0.0, due - self._now()) if self._paced else 0):
                        return
                    yield frame
                begun = time.perf_counter()
        if not self.ends:
            raise InputError(f"{self._name} has ended")

    def resume(self) -> None:
        self._zero = None

    def _due(self, picture: av.VideoFrame, came: float) -> float:
        """When the picture is to be shown. What is late by that makes the decoder hurry."""
        if picture.pts is None or self._stream.time_base is None:
            return came
        time_s = float(picture.pts * self._stream.time_base)
        late = 0.0 if self._zero is None else self._now() - time_s - self._zero
        gave_up = self._catching_up is not None and self._now() - self._catching_up > _CATCHING_UP_S
        ahead = late < (-_SEGMENTS_S if self._paced else 0)  # a paced one waits for what comes in advance
        if self._zero is None or gave_up or ahead:
            self._zero, late = self._now() - time_s, 0.0
        if late > _BEHIND_S and self._catching_up is None:
            self._catching_up = self._now()
            self._codec.skip_frame = "NONKEY"
        elif late < _LEVEL_S and self._catching_up is not None:
            self._catching_up = None
            self._codec.skip_frame = "DEFAULT"
        return self._zero + time_s

    def _made(self, picture: av.VideoFrame, at: float, begun: float) -> Frame | None:
        if self._planar is None:
            info = video_info(self._stream, picture)
            layout = replace(layout_for(picture.format.name), bits=8, alpha=False)
            try:
                planar = Planar(layout)(picture)
            except ValueError as error:
                raise InputError(f"{self._name}: {error}") from None
            self._color = info.color
            if planar is not picture:
                self._color = replace(info.color, range=int(planar.color_range), space=int(planar.colorspace))
            self._planar = Planar(layout, self._color)
        try:
            return self._frame(views(self._planar(picture))[:3], at, self._color, begun)
        except ValueError:  # a format midway that cannot be converted
            return None
