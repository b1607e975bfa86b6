"""Live sources: what cameras give in which form, streams from the network, and what a stream may not reach."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import os
import re
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from conftest import Clip

from vsr.errors import InputError, UsageError
from vsr.frame import Frame
from vsr.media import camera
from vsr.media.camera import (
    NUMBER_BITS,
    TICK,
    Asked,
    check_source,
    draw_number,
    mirrored,
    number_side,
    open_source,
    planes_of,
    shown_name,
)
from vsr.media.pixels import FULL_RANGE, LIMITED_RANGE

SIZE = 96, 64
WIDE = 480, 96  # with room for a number


def read_number(luma: np.ndarray, scale: int = 1) -> int:
    """The number that is drawn into a picture, also when that was enlarged."""
    side = scale * number_side(luma.shape[1] // scale)
    middles = luma[side // 2, side // 2 : side * NUMBER_BITS : side]
    return sum(1 << bit for bit, value in enumerate(middles) if value > 126)


class Cam:
    """What stands for ``cv2.VideoCapture``: ``pictures`` are what it gives, one for each read, None for nothing."""

    def __init__(self, pictures: Iterator[np.ndarray | None], fourcc: str = "BGR3", rate: float = 30) -> None:
        self.pictures, self.opened, self.released = pictures, True, False
        self.wanted: dict[int, float] = {}
        self.facts = {cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*fourcc), cv2.CAP_PROP_FPS: rate}

    def isOpened(self) -> bool:
        return self.opened

    def set(self, key: int, value: float) -> bool:
        self.wanted[key] = value
        return True

    def get(self, key: int) -> float:
        return self.facts.get(key, 0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        assert not self.released
        picture = next(self.pictures, None)
        return picture is not None, picture

    def release(self) -> None:
        self.released = True


def numbered(number: int, size: tuple[int, int] = WIDE) -> np.ndarray:
    """Luma with that number and a ramp."""
    rows, columns = np.indices(size[::-1])
    luma = (16 + (rows + columns + 3 * number) % 200).astype(np.uint8)
    draw_number(luma, number)
    return luma


def yuyv(luma: np.ndarray, blue: int = 100, red: int = 150) -> np.ndarray:
    chroma = np.empty_like(luma)
    chroma[:, 0::2], chroma[:, 1::2] = blue, red
    return np.stack([luma, chroma], axis=-1)


def first(source: str, count: int = 1, **options: Any) -> list[Frame]:
    with open_source(source, **options) as opened, contextlib.closing(opened.frames()) as frames:  # type: ignore[type-var]
        return list(itertools.islice(frames, count))


# ---- names ---------------------------------------------------------------------------------------------------------


def test_an_address_is_shown_without_who_logs_in() -> None:
    assert shown_name("rtsp://me:secret@cam.local:554/live?token=secret") == "rtsp://cam.local:554/live?…"
    assert shown_name("http://a@b@host/x@y") == "http://host/x@y"
    assert shown_name("a@b.mp4") == "a@b.mp4"
    assert shown_name("http://host:80/x#secret") == "http://host:80/x?…"
    assert shown_name("http://[::1]:80/x@y") == "http://[::1]:80/x@y"
    for wrong in ("http://me:sec/ret@host/x", "http://me:sec?ret@host/x", "rtsp://me:sec#ret@host/x"):
        assert shown_name(wrong) == f"{wrong.partition(':')[0]}://…"  # what FFmpeg takes for a host and its port


@pytest.mark.parametrize(
    ("source", "said"),
    [("", "no name"), ("ftp://me:secret@host/x", "no kind of stream"), ("file:///etc/passwd", "no kind of stream"),
     ("concat://a", "no kind"), ("http://", "names no host"), ("http://[::1", "names no host"),
     ("http:/me:secret@host/x", "begins with http://"), ("RTSP:me:secret@host/x", "begins with rtsp://"),
     ("99999999999", "no camera's number"), ("screen:10", "screen:WIDTH")],
)
def test_what_cannot_be_a_source_is_refused(source: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        check_source(source)
    assert "secret" not in str(raised.value)


def test_a_camera_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def capture(number: int) -> Cam:
        opened.append(number)
        return Cam(iter([yuyv(numbered(1))]), "YUYV")

    monkeypatch.setattr(camera, "cameras", lambda: [(0, "Built-in"), (4, "USB Camera")])
    assert len(first("usb camera", capture=capture)) == 1
    assert opened == [4]
    with pytest.raises(InputError, match="does not exist"):
        first("No Such Camera", capture=capture)


# ---- cameras -------------------------------------------------------------------------------------------------------


def test_yuv_comes_as_it_is() -> None:
    luma = numbered(5)
    blue, red = (np.arange(48 * 240, dtype=np.uint8).reshape(48, 240) + shift for shift in (0, 70))
    nv12 = np.vstack([luma, np.stack([blue, red], -1).reshape(48, 480)])
    i420 = np.vstack([luma, blue.reshape(-1, 480), red.reshape(-1, 480)])
    for picture, fourcc in ((nv12, "NV12"), (i420, "I420")):
        for got, wanted in zip(planes_of(picture, fourcc) or (), (luma, blue, red), strict=True):
            np.testing.assert_array_equal(got, wanted)
    got = planes_of(nv12, "NV21")
    assert got is not None and np.array_equal(got[1], red) and np.array_equal(got[2], blue)
    got = planes_of(yuyv(luma, 7, 9)[..., ::-1], "UYVY")
    assert got is not None and np.array_equal(got[0], luma) and (got[1] == 7).all() and (got[2] == 9).all()
    grey = planes_of(luma, "GREY")
    assert grey is not None and len(grey) == 1
    assert planes_of(luma, "H264") is None
    assert planes_of(np.zeros((4, 4, 3), np.uint8), "BGR3") is None


@pytest.mark.parametrize("flat", [False, True])
def test_a_camera_of_yuyv(flat: bool) -> None:
    picture = yuyv(numbered(77))
    cam = Cam(iter([picture.reshape(1, -1) if flat else picture]), "YUYV")
    cam.facts |= {cv2.CAP_PROP_FRAME_WIDTH: WIDE[0], cv2.CAP_PROP_FRAME_HEIGHT: WIDE[1]}
    asked = Asked(WIDE, Fraction(60), "YUYV")
    (frame,) = first("2", asked=asked, capture=lambda number: cam, now=lambda: 3.25)
    np.testing.assert_array_equal(frame.luma, numbered(77))
    assert frame.planes[1].shape == (96, 240) and (frame.planes[1] == 100).all() and (frame.planes[2] == 150).all()
    assert frame.pts is not None and frame.pts * frame.time_base == Fraction(13, 4) and frame.time_base == TICK
    assert frame.color.range == LIMITED_RANGE and frame.color.chroma_location == 1
    assert cam.released and cam.wanted[cv2.CAP_PROP_FRAME_WIDTH] == WIDE[0] and cam.wanted[cv2.CAP_PROP_FPS] == 60
    assert cam.wanted[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"YUYV")
    assert cam.wanted[cv2.CAP_PROP_CONVERT_RGB] == 0 and cam.wanted[cv2.CAP_PROP_BUFFERSIZE] == 1


def test_a_camera_of_jpeg_is_decoded_to_what_it_holds() -> None:
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(numbered(1234), cv2.COLOR_GRAY2BGR))
    assert ok
    whole = data.reshape(1, -1)
    cam = Cam(iter([whole[:, : whole.size // 3], whole]), "MJPG")
    frame = first("0", asked=Asked((1280, 720)), capture=lambda number: cam)[-1]
    assert cam.wanted[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")  # what a large picture needs
    assert frame.color.range == FULL_RANGE and frame.planes[1].shape == (48, 240)
    assert read_number(frame.luma) == 1234


def test_a_camera_of_rgb_becomes_whole_yuv() -> None:
    red = np.zeros((32, 48, 3), np.uint8)
    red[..., 2] = 255
    (frame,) = first("0", capture=lambda number: Cam(iter([red])))
    assert [plane.shape for plane in frame.planes] == [(32, 48)] * 3
    assert [int(plane[9, 9]) for plane in frame.planes] == [63, 102, 240]  # BT.709 in limited range
    assert frame.color.range == LIMITED_RANGE and frame.color.space == 1


def test_a_mirrored_picture() -> None:
    (frame,) = first("0", asked=Asked(mirrored=True), capture=lambda number: Cam(iter([yuyv(numbered(9))]), "YUYV"))
    wanted = numbered(9)[:, ::-1]
    np.testing.assert_array_equal(frame.luma[:, :-1], wanted[:, 1:])
    assert frame.luma.strides[1] == 1 and frame.color.chroma_location == 1


@pytest.mark.parametrize(("location", "place"), [(0, 0.5), (1, 0), (2, 0.5), (3, 0), (4, 0.5), (5, 0), (6, 0.5)])
@pytest.mark.parametrize("width", [12, 13])
def test_chroma_stays_at_its_place_in_a_mirror(width: int, location: int, place: float) -> None:
    """Both planes hold where they lie: what lies there in the mirror is the same."""
    luma = np.arange(width, dtype=float)[None]
    chroma = 2 * np.arange(-(-width // 2), dtype=float)[None] + place
    mirrored_luma, *both = mirrored((luma, chroma, chroma), location)
    assert mirrored_luma.shape == luma.shape and (luma == np.arange(width)).all()
    middle = mirrored_luma[0, 4]
    for plane in both:
        np.testing.assert_array_equal(plane[0], middle + 4 - (2 * np.arange(plane.shape[1]) + place))
    for planes in ((luma,), (luma, luma, luma)):  # nothing to keep in its place
        for plane in mirrored(planes, location):
            np.testing.assert_array_equal(plane, luma[:, ::-1])


def test_a_camera_that_gives_nothing_now_and_then_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "_SILENT_S", 60)
    strange = np.zeros((7, 5), np.uint8)
    pictures = [None, yuyv(numbered(1)), None, strange, np.zeros((0, 0), np.uint8), yuyv(numbered(2, SIZE))]
    cam = Cam(iter(pictures), "YUYV")
    frames = first("0", 2, capture=lambda number: cam)
    assert [frame.luma.shape for frame in frames] == [WIDE[::-1], SIZE[::-1]]


def test_a_camera_that_is_not_there_or_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "_SILENT_S", 0.05)
    cam = Cam(iter([]))
    with pytest.raises(InputError, match="unplugged"):
        first("0", capture=lambda number: cam)
    assert cam.released
    cam = Cam(iter([]))
    cam.opened = False
    with pytest.raises(InputError, match="cannot be opened"):
        first("0", capture=lambda number: cam)
    assert cam.released

    def explodes() -> Iterator[np.ndarray]:
        yield yuyv(numbered(1))
        raise cv2.error("driver")

    with pytest.raises(InputError, match="unplugged"):
        first("0", 2, capture=lambda number: Cam(explodes(), "YUYV"))


# ---- test pattern, file, screen ------------------------------------------------------------------------------------


def test_the_pattern_moves_at_its_rate_and_numbers_its_frames() -> None:
    clock = itertools.count()
    waited = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        time.sleep(0)
        return len(waited) > 5

    now = [10.0]

    def tick(seconds: float) -> bool:
        now[0] += seconds
        return next(clock) >= 5

    with open_source("test", Asked((480, 270), Fraction(50)), now=lambda: now[0], wait=tick) as source:
        assert source.rate == 50
        frames = list(source.frames())
    assert [read_number(frame.luma) for frame in frames] == [0, 1, 2, 3, 4]
    times = [frame.pts * TICK for frame in frames if frame.pts is not None]
    assert times == [10 + Fraction(number, 50) for number in range(5)]
    assert frames[0].luma.shape == (270, 480) and frames[0].planes[1].shape == (135, 240)
    assert (frames[0].luma != frames[1].luma).mean() > 0.5


def test_the_pattern_leaves_out_what_nobody_waited_for() -> None:
    now = [0.0]

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return now[0] > 2

    with open_source("test", Asked((480, 64), Fraction(10)), now=lambda: now[0], wait=wait) as source:
        frames = source.frames()
        next(frames)
        now[0] += 0.55
        assert read_number(next(frames).luma) == 5


def test_a_file_plays_in_its_own_time(clip: Clip) -> None:
    path = clip("a.mp4", pts=[0, 512, 1024, 4096, 4608], audio=1)
    now = [5.0]

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return False

    with open_source(str(path), now=lambda: now[0], wait=wait) as source:
        shown = [(now[0], frame) for frame in source.frames()]
    assert [round((at - 5) * 25) for at, _ in shown] == [0, 1, 2, 8, 9]
    assert all(frame.pts is not None and abs(frame.pts * TICK - Fraction(at)) <= TICK for at, frame in shown)


def test_decoding_that_is_too_slow_leaves_out_all_but_key_frames(clip: Clip) -> None:
    """A clock on which decoding takes three times as long as there is: no frame is ever more than a second late."""
    path = clip("a.mp4", pts=range(0, 400 * 512, 512), options={"g": "10", "bf": "0", "sc_threshold": "0"})
    now = [0.0]

    def tick() -> float:
        now[0] += 0.03  # asked four times for a frame of 0.04 s
        return now[0]

    with open_source(str(path), now=tick, wait=lambda seconds: False) as source:
        late = [(now[0] - float(frame.pts * TICK), frame.pts) for frame in source.frames() if frame.pts is not None]
    assert 40 < len(late) < 300 and now[0] < 400 / 25 * 2
    assert max(seconds for seconds, _ in late) < 1
    steps = {round((b[1] - a[1]) * TICK * 25) for a, b in itertools.pairwise(late)}
    assert 1 in steps and max(steps) >= 9


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        first(str(tmp_path / "no.mp4"))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="not a video"):
        first(str(tmp_path / "text.mp4"))


# ---- streams on loopback -------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(respond: Callable[[http.server.BaseHTTPRequestHandler, threading.Event], None]) -> Iterator[str]:
    """An HTTP server on loopback; ``respond`` writes the answer, and stops where the event says so."""
    stop = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                respond(self, stop)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://me:secret@127.0.0.1:{server.server_port}"
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


def motion_jpeg(times: dict[int, float], rate: float, count: int = 10_000) -> Callable[..., None]:
    """An answer as network cameras give it; ``times`` is filled with when each number was sent."""

    def respond(handler: http.server.BaseHTTPRequestHandler, stop: threading.Event) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        handler.end_headers()
        start = time.monotonic()
        begin = max(times, default=-1) + 1
        for number in range(begin, begin + count):
            data = cv2.imencode(".jpg", cv2.cvtColor(numbered(number), cv2.COLOR_GRAY2BGR))[1].tobytes()
            if stop.wait(max(0.0, start + (number - begin) / rate - time.monotonic())):
                return
            times[number] = time.monotonic()
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            handler.wfile.write(head.encode() + data + b"\r\n")
            handler.wfile.flush()

    return respond


def transport(address: str, numbers: Iterator[int], rate: int) -> None:
    """An MPEG transport stream of pictures with these numbers to ``address``, or into that file."""
    with av.open(address, "w", format="mpegts", container_options={"flush_packets": "1"}) as container:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        video = container.add_stream("libx264", rate=rate, options=options)
        video.width, video.height, video.pix_fmt = *WIDE, "yuv420p"
        for pts, number in enumerate(numbers):
            luma = numbered(number)
            picture = av.VideoFrame.from_ndarray(
                np.vstack([luma, np.full((WIDE[1] // 2, WIDE[0]), 128, np.uint8)]), "yuv420p")
            picture.pts, picture.time_base = pts, Fraction(1, rate)
            container.mux(video.encode(picture))


@contextlib.contextmanager
def sent(address: str, rate: int, begin: int = 0) -> Iterator[None]:
    """Numbered pictures to ``address``, so many a second, until the body has run."""
    stop = threading.Event()

    def numbers() -> Iterator[int]:
        start = time.monotonic()
        for number in itertools.count():
            if stop.wait(max(0.0, start + number / rate - time.monotonic())):
                return
            yield begin + number

    thread = threading.Thread(target=transport, args=(address, numbers(), rate), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def rtsp(path: Path, then: Path | None = None, lost: threading.Event | None = None, hangs_up: bool = True,
         over_udp: bool = False) -> Iterator[tuple[str, list[str]]]:
    """A camera that speaks RTSP: it sends the transport stream ``path`` over and over, interleaved in its TCP
    connection (``over_udp``: beside it, and the other way is refused). When ``lost`` is set it hangs up, or falls
    silent; who comes after that gets ``then``. Beside its address: what it was asked."""
    asked: list[str] = []
    stop, lost = threading.Event(), lost or threading.Event()

    def packets(path: Path) -> Iterator[bytes]:
        data = path.read_bytes()
        return itertools.cycle([data[i : i + 7 * 188] for i in range(0, len(data), 7 * 188)])

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.answer()

        def answer(self) -> None:
            port = 0
            while (line := self.rfile.readline()) and not stop.is_set():
                asked.append(line.decode().split()[0])
                headers = dict[str, str]()
                while (header := self.rfile.readline().decode().strip()):
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:a\r\n"
                how, status = "RTP/AVP/TCP;unicast;interleaved=0-1", "200 OK"
                if over_udp and asked[-1] == "SETUP":
                    if found := re.search(r"client_port=(\d+)", headers["transport"]):
                        port = int(found[1])
                        how = f"RTP/AVP;unicast;client_port={port}-{port + 1};server_port=5000-5001"
                    else:
                        status = "461 Unsupported Transport"
                more, body = {
                    "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n", ""),
                    "DESCRIBE": (f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n", sdp),
                    "SETUP": (f"Transport: {how}\r\nSession: 1\r\n", ""),
                }.get(asked[-1], ("Session: 1\r\n", ""))
                self.wfile.write(f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{more}\r\n{body}".encode())
                if asked[-1] == "PLAY":
                    self.play(port)
                    return

        def play(self, port: int) -> None:
            over = lost.is_set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                for count, data in enumerate(packets(then if over and then else path)):
                    packet = struct.pack(">BBHII", 0x80, 33, count & 0xFFFF, count * 900, 1) + data
                    if port:
                        udp.sendto(packet, ("127.0.0.1", port))
                    else:
                        self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                    if stop.wait(0.01):
                        return
                    if lost.is_set() and not over:
                        break
            if not hangs_up:
                stop.wait()

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"rtsp://me:secret@127.0.0.1:{server.server_address[1]}/live", asked
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("over_udp", [False, True])
def test_a_camera_that_speaks_rtsp(clip: Clip, over_udp: bool) -> None:
    path = clip("a.ts", pts=range(0, 50 * 512, 512), options={"g": "10", "bf": "0"})
    with rtsp(path, over_udp=over_udp) as (address, asked):
        frames = first(address, 10)
    assert [frame.luma.shape for frame in frames] == [(32, 48)] * 10
    assert asked[: 4 + over_udp] == ["OPTIONS", "DESCRIBE", *["SETUP"] * (1 + over_udp), "PLAY"]


def test_motion_jpeg_over_http() -> None:
    times: dict[int, float] = {}
    with served(motion_jpeg(times, 20)) as address:
        frames = first(f"{address.replace('http', 'HTTP')}/live", 8)
    numbers = [read_number(frame.luma) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 8))
    assert frames[0].color.range == FULL_RANGE


def test_a_transport_stream_over_udp() -> None:
    address = f"udp://127.0.0.1:{free_port()}"
    with sent(f"{address}?pkt_size=1316", 20):
        frames = first(address, 8, now=lambda: 0.0)  # a clock by which decoding is never too slow
    numbers = [read_number(frame.luma) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 8))


def test_a_stream_that_ends_is_lost_and_its_address_is_not_told() -> None:
    with served(motion_jpeg({}, 100, 12)) as address, pytest.raises(InputError, match="live") as raised:
        first(f"{address}/live?key=secret", 1000)
    assert "secret" not in str(raised.value)


def test_a_stream_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up by who asks: the server would never say a word, nor hang up."""
    monkeypatch.setattr(camera, "_OPEN_S", 0.3)
    silent = served(lambda handler, stop: stop.wait() and None)
    with silent as address, pytest.raises(InputError, match="no answer in time") as raised:
        first(f"{address}/live")
    assert "secret" not in str(raised.value) and raised.value.__cause__ is None


@pytest.mark.parametrize("how", ["file:{}", "file://{}", "{}", "concat:{}", "subfile,,start,0,end,0,,:{}"])
def test_a_playlist_from_the_net_opens_no_local_file(how: str, clip: Clip) -> None:
    path = clip("secret.ts", codec="libx264")
    assert first(str(path))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\n{how.format(path)}\n#EXT-X-ENDLIST\n"

    def respond(handler: http.server.BaseHTTPRequestHandler, stop: threading.Event) -> None:
        handler.send_response(200 if handler.path == "/live.m3u8" else 404)
        handler.send_header("Content-Type", "application/vnd.apple.mpegurl")
        handler.end_headers()
        if handler.path == "/live.m3u8":
            handler.wfile.write(playlist.encode())

    with served(respond) as address, pytest.raises(InputError):
        first(f"{address}/live.m3u8")


@pytest.mark.parametrize("name", ["live.ffconcat", "live.sdp", "live.m3u8", "moved"])
def test_no_other_form_of_playlist_opens_a_local_file_either(name: str, clip: Clip) -> None:
    path = clip("secret.ts", codec="libx264")
    contents = {
        "live.ffconcat": f"ffconcat version 1.0\nfile 'file:{path}'\n",
        "live.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\na=control:file://{path}\nm=video 0 RTP/AVP 33\n",
        "live.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI=\"file://{path}\"\n#EXTINF:1,\nfile://{path}\n",
    }

    def respond(handler: http.server.BaseHTTPRequestHandler, stop: threading.Event) -> None:
        if name == "moved":
            handler.send_response(302)
            handler.send_header("Location", f"file://{path}")
            handler.end_headers()
            return
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(contents[name].encode())

    with served(respond) as address, pytest.raises(InputError):
        first(f"{address}/{name}")


@pytest.mark.skipif(sys.platform != "linux" or "x11grab" not in av.formats_available, reason="captures an X display")
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs an X display of its own: Xvfb")
def test_the_screen_and_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    number, write = os.pipe()
    with os.fdopen(number) as told:
        xvfb = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "320x200x24", "-noreset"],
                                pass_fds=[write], stderr=subprocess.DEVNULL)  # else it begins anew after each
        try:
            os.close(write)
            monkeypatch.setenv("DISPLAY", f":{told.readline().strip()}")
            frames = first("screen", 2, asked=Asked(rate=Fraction(20)))
            assert [frame.luma.shape for frame in frames] == [(200, 320)] * 2
            assert frames[0].planes[1].shape == (200, 320)
            assert first("screen:64x48+10+20")[0].luma.shape == (48, 64)
            with pytest.raises(InputError, match="the screen cannot be opened"):
                first("screen:640x480+0+0")
        finally:
            xvfb.terminate()
            xvfb.wait()


def test_a_screen_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(InputError, match="no X display"):
        first("screen")
    monkeypatch.setattr(camera.sys, "platform", "darwin")
    with pytest.raises(InputError, match="only all of it"):
        first("screen:64x48+10+20")


def test_a_playlist_of_pieces_from_the_same_place_plays(clip: Clip) -> None:
    path = clip("piece.ts", codec="libx264")
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.48,\npiece.ts\n#EXT-X-ENDLIST\n"

    def respond(handler: http.server.BaseHTTPRequestHandler, stop: threading.Event) -> None:
        content = playlist.encode() if handler.path.endswith("m3u8") else path.read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    with served(respond) as address:
        frames = first(f"{address}/live.m3u8", 100, now=lambda: 0.0, wait=lambda seconds: False)
    times = [frame.pts * TICK for frame in frames if frame.pts is not None]
    assert [round((time - times[0]) * 25) for time in times] == list(range(12))  # at their times, not all at once
