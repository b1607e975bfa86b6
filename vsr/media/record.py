"""Recording: frames into a file as they come, at the times at which they came."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vsr.errors import OutputError, UsageError
from vsr.frame import Frame, VideoInfo
from vsr.media.codecs import EncoderSettings
from vsr.media.coder import Coder
from vsr.media.partfile import PartFile, leftovers
from vsr.media.pixels import layout_of

# By extension: the muxer, and what makes a file that breaks off play as far as it goes
CONTAINERS = {
    ".mkv": ("matroska", {"cluster_time_limit": "1000", "flush_packets": "1"}),
    ".mp4": ("mp4", {"movflags": "frag_every_frame+empty_moov+default_base_moof", "flush_packets": "1"}),
}
# x264's preset: the processor has a picture to enlarge. Nothing is held back, which a crash would take, and there are
# no B-frames: fragments of mp4 have no room for their delay.
SETTINGS = EncoderSettings(preset="superfast", options=(("g", "60"), ("tune", "zerolatency")))
_TICK = Fraction(1, 1000)  # Matroska's
_GLANCE_S = 1.0  # after which the free space is looked at again
_LEAST_FREE = 64 << 20  # bytes that are left free
_STILL_S = 10  # a file that nobody has written to for so long is no longer recorded
_WARN_S = 120  # so long before the disk is full it is said


def cut_off(folder: Path, name: str) -> list[tuple[Path, Path]]:
    """What a crash left in a ``folder`` of recordings whose names begin with ``name``: each with the name that it would
    have got. What is written to at this moment is another VSR's."""
    part = re.compile(rf"\.({re.escape(name)}.*)\.[0-9a-f]+\.part(\.(?:mkv|mp4))")
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            match = part.fullmatch(path.name)
            if match and path.stat().st_size and time.time() - path.stat().st_mtime > _STILL_S:
                found.append((path, path.with_name(match[1] + match[2])))
    return sorted(found)


class Recorder:
    """Writes live frames to ``target`` (.mkv or .mp4), the first of them at time 0. Where their size or format changes
    another file begins, NAME-2, NAME-3, …; `close` gives those that are complete their names, and returns them.

    What is written has a temporary name beside the target, and plays at any moment as far as it has come; what a crash
    left of an earlier one is told (code 'leftover'). Before the disk is full it is said (code 'disk'); then recording
    ends, with all that was written. ``warnings`` collects (code, message) pairs; ``free`` tells the bytes that are
    free. Raises ``UsageError`` for another extension or settings that there are not, ``OutputError`` where a file is
    there already or cannot be written.
    """

    def __init__(
        self, target: Path, settings: EncoderSettings | None = None, overwrite: bool = False,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        if target.suffix.lower() not in CONTAINERS:
            raise UsageError(f"{target} does not end in {' or '.join(CONTAINERS)}, as recordings do")
        self._target, self._overwrite, self._free = target, overwrite, free
        self._settings = settings or SETTINGS
        self._muxer, self._options = CONTAINERS[target.suffix.lower()]
        self._settings.check(self._muxer)
        self.warnings: deque[tuple[str, str]] = deque()
        self.files: list[Path] = []  # those that are complete
        self._part: PartFile | None = None
        self._kind: object = None
        self._first, self._last = Fraction(0), -1  # the time of the file's first frame, the tick of its last
        self._looked_at: Fraction | None = None
        self._warned = False
        PartFile(target, overwrite)  # raises where there is one
        if not target.parent.is_dir():
            raise OutputError(f"{target.parent} does not exist; name a folder that does")
        for path in leftovers(target):
            self.warnings.append(("leftover", f"{path} was being recorded when it was cut off; it plays that far"))

    def write(self, frame: Frame) -> None:
        """Encode a frame; one that comes in the same millisecond as the last is left out."""
        kind = frame.luma.shape, frame.planes[-1].shape, frame.bits, frame.color
        assert frame.pts is not None  # a live frame always has one
        at = frame.pts * frame.time_base
        try:
            if kind != self._kind:
                self._finish()
                self._begin(frame, at)
                self._kind = kind
            tick = round((at - self._first) / _TICK)
            if tick <= self._last:
                return
            self._last = tick
            self._look(at)
            coded = Frame(frame.planes, frame.bits, tick, _TICK, color=frame.color)
            self._container.mux(self._coder.encode(self._stream, coded))
        except (av.error.FFmpegError, OSError) as error:
            if isinstance(error, OutputError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{self._target} cannot be written: {reason}") from error

    def _begin(self, frame: Frame, at: Fraction) -> None:
        number = len(self.files) + 1
        target = self._target
        if number > 1:
            target = target.with_name(f"{target.stem}-{number}{target.suffix}")
        layout = layout_of(frame)
        info = VideoInfo(
            index=0, codec="rawvideo", width=frame.width, height=frame.height, pix_fmt=layout.pix_fmt, time_base=_TICK,
            rate=None, frames=None, start=0, duration=None, sample_aspect=None, rotation_degrees=0, color=frame.color,
            interlaced=False,
        )
        self._coder = Coder(info, layout, self._settings, frame.width, frame.height, self._muxer)
        self.warnings.extend(self._coder.warnings)
        part = PartFile(target, self._overwrite)
        with contextlib.ExitStack() as stack:
            stack.push(part)
            part.create()
            self._container: Any = av.open(
                f"file:{part.path}", "w", format=self._muxer, container_options=self._options)
            stack.callback(self._container.close)
            self._stream = self._coder.add_stream(self._container)
            stack.pop_all()
        self._part = part
        self._first, self._last, self._looked_at = at, -1, None

    def _look(self, at: Fraction) -> None:
        """See to it that the disk does not get full."""
        if self._looked_at is not None and at - self._looked_at < _GLANCE_S:
            return
        self._looked_at = at
        assert self._part is not None
        left = self._free(self._target.parent) - _LEAST_FREE
        if left < 0:
            raise OutputError(f"the disk of {self._target} is nearly full; recording has ended, and is complete so far")
        seconds = float(at - self._first)
        rate = self._part.path.stat().st_size / seconds if seconds > _GLANCE_S else 0
        if rate and left / rate < _WARN_S and not self._warned:
            self._warned = True
            self.warnings.append(("disk", f"the disk of {self._target} is full in about {left / rate:.0f} s"))

    def _finish(self) -> None:
        """Complete the file that is written, if any."""
        part, self._part, self._kind = self._part, None, None
        if part is None:
            return
        try:
            with contextlib.suppress(av.error.FFmpegError, OSError):  # what was written plays without the rest
                self._container.mux(self._coder.encode(self._stream, None))
            with contextlib.suppress(av.error.FFmpegError, OSError):
                self._container.close()
            part.commit()
            self.files.append(part.target)
        except OutputError as error:  # another file has come to have the name meanwhile
            raise OutputError(f"{error}; the recording is {part.path}") from error

    def close(self) -> list[Path]:
        """Complete the file, give it its name, and return all that there are."""
        self._finish()
        return self.files
