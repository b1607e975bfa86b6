"""Where a live picture goes beside the screen: files, snapshots, a virtual camera. One thread serves them all.

What finds no place while they are busy is left out, so that the screen waits for nothing.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from vsr.compare import Composer
from vsr.errors import InputError, OutputError, UsageError, VsrError
from vsr.frame import Frame
from vsr.media.microphone import Block, Microphone
from vsr.media.pixels import FULL_RANGE, LIMITED_RANGE, Layout, Planar, layout_of, views
from vsr.media.record import Recorder
from vsr.player import Shown
from vsr.prefetch import beside
from vsr.still import picture_of, save_picture

SIDES = {"sr": ("sr",), "bicubic": ("bicubic",), "both": ("bicubic", "sr")}  # what is shown, and what that takes
_CAMERA = Layout((1, 1), 8)  # what virtual cameras take
_WAITING = 12  # pictures at most that wait for the outlets
_IDLE_S = 1.0  # without a picture
_PATIENCE_S = 1.0  # for which a driver that answers nobody is waited for when its microphone is closed
_DRIVERS = {
    "linux": "load it with 'modprobe v4l2loopback'", "win32": "install OBS Studio, which brings one",
    "darwin": "install OBS Studio 30 or newer and start its virtual camera once",
}

Say = Callable[[str, str], None]


class Outlet(ABC):
    """Takes pictures of one ``side``: a key of `SIDES`. ``done`` is whether it wants no more."""

    done = False

    def __init__(self, side: str) -> None:
        if side not in SIDES:
            raise UsageError(f"what is shown is one of {', '.join(SIDES)}, not '{side}'")
        self.side = side
        self.left_out = 0  # pictures that found no place, as it was busy
        self._compose: tuple[tuple[Any, ...], Composer] | None = None

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Take a picture. Raises ``VsrError`` where it cannot, and wants no more then."""

    def idle(self) -> None:  # noqa: B027
        """No picture has come for a while. Raises ``VsrError`` as `write`."""

    def close(self) -> None:  # noqa: B027  (not every outlet holds something)
        """Complete what was begun. Raises ``OutputError``."""

    def frame_of(self, shown: Shown, name: str) -> Frame | None:
        """What of a picture it wants, which ``name`` has enlarged; None where that is not there."""
        made = [side.frame for name in SIDES[self.side] if (side := getattr(shown, name)) is not None]
        if len(made) < len(SIDES[self.side]):
            return None
        return self._composed(made[0], made[1], name) if self.side == "both" else made[0]

    def _composed(self, first: Frame, second: Frame, name: str) -> Frame:
        labels, chroma = ("Bicubic", name), layout_of(first).chroma
        size = first.width, first.height
        key = size, chroma, first.bits, first.color, labels
        if self._compose is None or self._compose[0] != key:
            self._compose = key, Composer("side-by-side", size, chroma, first.bits, first.color, labels)
        return self._compose[1](first, second)


class Recording(Outlet):
    """A file of what is shown, from now on."""

    def __init__(self, recorder: Recorder, side: str, say: Say) -> None:
        super().__init__(side)
        self._recorder, self._say = recorder, say

    def write(self, frame: Frame) -> None:
        self._recorder.write(frame)
        self._warn()

    def idle(self) -> None:
        self._recorder.hear()
        self._warn()

    def _warn(self) -> None:
        while self._recorder.warnings:
            self._say(*self._recorder.warnings.popleft())

    def close(self) -> None:
        try:
            self._recorder.close()
        finally:
            if self.left_out:
                self._say("left-out", f"the recording lacks {self.left_out} pictures, for which there was no time")
            for path in self._recorder.files:
                self._say("recorded", str(path))


class Apart:
    """A microphone that begins and ends in a thread of its own, so that no recording waits for its driver; one that
    gives no answer ends by itself later."""

    def __init__(self, microphone: Microphone) -> None:
        self.name, self.rate, self.channels = microphone.name, microphone.rate, microphone.channels
        self._microphone, self._error = microphone, list[InputError]()
        self._closing, self._stack = threading.Event(), contextlib.ExitStack()

    def listen(self) -> None:
        self._stack.enter_context(beside(self._work, _PATIENCE_S))

    def _work(self) -> None:
        try:
            self._microphone.listen()
            self._closing.wait()
        except InputError as error:
            self._error.append(error)
        finally:
            self._microphone.close()

    def blocks(self) -> list[Block]:
        if self._error:
            raise self._error[0]
        return self._microphone.blocks()

    def close(self) -> None:
        self._closing.set()
        self._stack.close()


class Snapshot(Outlet):
    """The next picture, as a file."""

    def __init__(self, target: Path, side: str, overwrite: bool, say: Say) -> None:
        super().__init__(side)
        self._target, self._overwrite, self._say = target, overwrite, say

    def write(self, frame: Frame) -> None:
        self.done = True
        save_picture(picture_of(frame), self._target, self._overwrite)
        self._say("saved", str(self._target))


class VirtualCamera(Outlet):
    """A camera for other programs, of the size of the first picture. ``open`` opens it as ``pyvirtualcam.Camera``."""

    def __init__(self, side: str, fps: float, open: Callable[..., Any] | None, say: Say) -> None:
        super().__init__(side)
        self._fps, self._open, self._say = fps, open or _virtual_camera(), say
        self._camera: Any = None

    def write(self, frame: Frame) -> None:
        size = frame.width // 2 * 2, frame.height // 2 * 2
        if self._camera is not None and size != (self._camera.width, self._camera.height):
            self.close()
        if self._camera is None:
            self._camera = self._opened(*size)
        planes = [plane[: size[1] >> sub, : size[0] >> sub] for plane, sub in
                  zip(self._planes(frame), (0, 1, 1), strict=True)]
        try:
            self._camera.send(np.concatenate([plane.reshape(-1) for plane in planes]))
        except Exception as error:  # as in `_opened`
            raise OutputError(f"the virtual camera takes no picture any more ({error})") from error

    def _opened(self, width: int, height: int) -> Any:
        try:
            camera = self._open(width=width, height=height, fps=self._fps, fmt="I420")
        except Exception as error:  # what the binding of a driver raises
            remedy = _DRIVERS.get(sys.platform, "install one")
            said = "there is no driver for a virtual camera, or it is in use"
            raise OutputError(f"{said}; {remedy} ({error})") from error
        self._say("virtual", f"other programs see the picture as the camera '{camera.device}'")
        return camera

    def _planes(self, frame: Frame) -> tuple[np.ndarray, ...]:
        """4:2:0 of limited range, which is what such drivers take."""
        layout = layout_of(frame)
        if layout == _CAMERA and frame.color.range != FULL_RANGE:
            return frame.planes
        picture = av.VideoFrame(frame.width, frame.height, layout.pix_fmt)
        for plane, values in zip(views(picture), frame.planes, strict=True):
            plane[...] = values
        picture.color_range, picture.colorspace = frame.color.range, frame.color.space
        limited = replace(frame.color, range=LIMITED_RANGE)
        return views(Planar(_CAMERA, limited)(picture))

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None


def _virtual_camera() -> Callable[..., Any]:
    try:
        import pyvirtualcam
    except ImportError:
        raise OutputError("a virtual camera needs pyvirtualcam: pip install 'vsr[camera]'") from None

    def opened(fmt: str, **kind: Any) -> Any:
        return pyvirtualcam.Camera(fmt=pyvirtualcam.PixelFormat[fmt], **kind)

    return opened


class Outlets:
    """The outlets that are open, and their thread. ``say`` is told what becomes of them (code, message): 'recorded',
    'saved', 'virtual', or an 'output' error, which ends its outlet. A context manager; it may be called by any thread.
    """

    def __init__(self, say: Say) -> None:
        self.open: tuple[Outlet, ...] = ()
        self._say = say
        self._lock = threading.Lock()  # of those that are open
        self._items: queue.Queue[tuple[Outlet, Shown | None, str] | None] = queue.Queue()
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(beside(self._work))

    def add(self, outlet: Outlet) -> None:
        with self._lock:
            self.open = (*self.open, outlet)

    def remove(self, kind: type[Any] = object) -> None:
        """Let those of a kind end, when they have taken what waits for them."""
        with self._lock:
            ending = [outlet for outlet in self.open if isinstance(outlet, kind)]
            self.open = tuple(outlet for outlet in self.open if outlet not in ending)
            for outlet in ending:
                self._items.put((outlet, None, ""))

    def give(self, shown: Shown, name: str, wanted: Sequence[Outlet]) -> None:
        """A picture for those for which it was made, which ``name`` has enlarged."""
        with self._lock:
            self.open = tuple(outlet for outlet in self.open if not outlet.done)
            taking = [outlet for outlet in wanted if outlet in self.open]
            for outlet in taking:
                if self._items.qsize() < _WAITING:
                    self._items.put((outlet, shown, name))
                else:
                    outlet.left_out += 1

    def _work(self) -> None:
        while True:
            try:
                item = self._items.get(timeout=_IDLE_S)
            except queue.Empty:
                for outlet in self.open:
                    if not outlet.done and not self._heard(outlet, outlet.idle):
                        self._heard(outlet, outlet.close)
                continue
            if item is None:
                return
            outlet, shown, name = item
            if not outlet.done and (shown is None or not self._written(outlet, shown, name)):
                outlet.done = True
                self._heard(outlet, outlet.close)
            del item, shown

    def _written(self, outlet: Outlet, shown: Shown, name: str) -> bool:
        """Whether the outlet could take a picture."""

        def write() -> None:
            frame = outlet.frame_of(shown, name)
            if frame is not None:
                outlet.write(frame)

        return self._heard(outlet, write)

    def _heard(self, outlet: Outlet, call: Callable[[], object]) -> bool:
        """Whether there was no error. Whatever it is, the other outlets go on."""
        try:
            call()
        except Exception as error:
            outlet.done = True
            self._say("output", str(error) if isinstance(error, VsrError) else f"{type(error).__name__}: {error}")
            return False
        return True

    def close(self) -> None:
        self.remove()
        self._items.put(None)
        self._stack.close()

    def __enter__(self) -> Outlets:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
