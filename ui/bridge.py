"""Between the window's thread and a player's: opening and closing, frames as images, sound, exports.

Nothing here is waited for by the window, but at its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PySide6.QtCore import QIODevice, QObject, QThread, Signal, Slot

import vsr

_RATE, _CHANNELS, _BYTES = 48000, 2, 4
_GLANCE, _GLANCES_MB = 200, 16  # pixels of a small picture's longer side, at most; what their player may keep
_BUFFER_S = 0.08  # of sound that the device holds: what is heard lags behind what is asked for by no more


class Image(NamedTuple):
    """A part of a side as a screen wants it: ``pixels`` (H, W, 4) uint8 BGRA, of ``box`` in pixels before enlarging."""

    box: vsr.Box
    pixels: np.ndarray


class Painted(NamedTuple):
    """What of a frame is drawn; None what is not looked at, or is not there."""

    bicubic: Image | None = None
    sr: Image | None = None
    difference: Image | None = None


class Wish(NamedTuple):
    """What the canvas wants: both sides or only their ``difference``, and sides so many times smaller."""

    difference: bool = False
    shrink: int = 1


def paint(shown: vsr.Shown, wish: Wish) -> Painted:
    """The sides as images. Called in the player's thread."""
    bicubic, sr = shown.bicubic, shown.sr

    def image(side: vsr.Side | None) -> Image | None:
        return None if side is None else Image(side.box, vsr.on_screen(side.frame, wish.shrink))

    if not wish.difference:
        return Painted(image(bicubic), image(sr))
    if bicubic is None or sr is None or shown.is_early:
        return Painted()
    return Painted(difference=image(replace(sr, frame=vsr.difference(bicubic.frame, sr.frame))))


class Work(QThread):
    """A call that takes its time. ``result`` or ``error`` is there when it has ended."""

    def __init__(self, call: Callable[[], Any], done: Callable[[Work], object]) -> None:
        super().__init__()
        self._call = call
        self.result: Any = None
        self.error: Exception | None = None
        self._done = done
        self.finished.connect(self._tell)
        self.start()

    def run(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:
            self.error = error

    @Slot()
    def _tell(self) -> None:
        self._done(self)


class Bridge(QObject):
    """The player that is open, if any; one at a time. ``arrived`` says that there is something to take from it."""

    opened = Signal()
    failed = Signal(str)
    arrived = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.player: vsr.Player | None = None
        self.wish = Wish()
        self._work: Work | None = None
        self._wanted: tuple[Path, dict[str, Any]] | None = None
        self._sound = Sound()

    @property
    def opening(self) -> bool:
        return self._work is not None

    def open(self, path: Path, **options: Any) -> None:
        """Close what is open and open ``path``; `opened` or `failed` tells how that ended. The last one called wins."""
        self._wanted = path, options
        if self._work is None:
            self._next()

    def _next(self) -> None:
        assert self._wanted is not None
        (path, options), self._wanted = self._wanted, None
        old, self.player = self.player, None
        self._sound.follow(None)

        def call() -> vsr.Player:
            if old is not None:
                old.close()
            return vsr.Player(path, notify=self.arrived.emit, paint=lambda shown: paint(shown, self.wish),
                              **options)

        self._work = Work(call, self._ended)

    def _ended(self, work: Work) -> None:
        self._work = None
        self.player = work.result
        work.wait()
        if self._wanted is not None:
            self._next()
        elif work.error is not None:
            self.failed.emit(str(work.error))
            if not isinstance(work.error, vsr.VsrError):
                raise work.error
        else:
            self.opened.emit()

    def hear(self, playing: bool, volume: float) -> None:
        """Let the sound run with the picture; ``volume`` is 0 to 1. Without a device the wall clock drives."""
        player = self.player
        self._sound.follow(player if playing and player is not None and player.has_sound else None, volume)

    def shut(self) -> None:
        """Stop everything; all threads have ended when this returns."""
        self._wanted = None
        if self._work is not None:
            self._work.finished.disconnect()
            self._work.wait()
            self.player, self._work = self._work.result, None
        self._sound.shut()
        if self.player is not None:
            self.player.close()
            self.player = None


class Glances(QObject):
    """Small pictures of any time of a video, by a player of their own, which is opened when there is first one to make.
    ``made`` brings the newest."""

    made = Signal(object, int)  # pixels (H, W, 4) BGRA, and EXIF's orientation
    _arrived = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._path: Path | None = None
        self._player: vsr.Player | None = None
        self._work: Work | None = None
        self._seconds: float | None = None
        self._arrived.connect(self._take)

    def glance(self, path: Path, seconds: float) -> None:
        """Make one of that time; where another is being made, when it is."""
        self._seconds = seconds
        if self._work is not None:
            return
        if path == self._path and self._player is not None:
            self._player.seek(seconds)
            return
        old, self._path = self._player, path
        self._player = None

        def call() -> vsr.Player:
            if old is not None:
                old.close()
            return vsr.Player(path, vsr.Choice("bicubic"), view=vsr.View(None, None), cache_mb=_GLANCES_MB,
                              notify=self._arrived.emit, paint=_glance)

        self._work = Work(call, self._opened)

    def _opened(self, work: Work) -> None:
        work.wait()
        self._work, self._player = None, work.result  # None where it cannot be read, which was told already
        if self._player is not None and self._seconds is not None:
            self._player.seek(self._seconds)

    def _take(self) -> None:
        if self._player is not None and (shown := self._player.take()) is not None:
            self.made.emit(shown.painted, self._player.orientation)

    def shut(self) -> None:
        if self._work is not None:
            self._work.finished.disconnect()
            self._work.wait()
            self._player, self._work = self._work.result, None
        if self._player is not None:
            self._player.close()
            self._player = None


def _glance(shown: vsr.Shown) -> np.ndarray:
    """Of what comes from the file. Called in the player's thread."""
    return vsr.on_screen(shown.source, -(-max(shown.source.width, shown.source.height) // _GLANCE))


class Source(QIODevice):
    """What a device pulls its samples from: a player's sound."""

    def __init__(self, player: vsr.Player, latency_s: Callable[[], float]) -> None:
        super().__init__()
        self._player, self._latency_s = player, latency_s
        self.open(QIODevice.OpenModeFlag.ReadOnly)

    def readData(self, size: int) -> bytes:
        samples = size // (_CHANNELS * _BYTES)
        return self._player.sound(samples, self._latency_s()).tobytes() if samples else b""

    def bytesAvailable(self) -> int:
        return _RATE * _CHANNELS * _BYTES + super().bytesAvailable()

    def isSequential(self) -> bool:
        return True


class _Speaker(QObject):
    """Owns the device, in a thread of its own."""

    follow = Signal(object, float)

    def __init__(self) -> None:
        super().__init__()
        self._sink: Any = None
        self._source: Source | None = None
        self._player: vsr.Player | None = None
        self.follow.connect(self._follow)

    @Slot(object, float)
    def _follow(self, player: vsr.Player | None, volume: float) -> None:
        if player is not self._player:
            self.stop()
            self._player = player
            if player is not None:
                self._start(player)
        if self._sink is not None:
            from PySide6.QtMultimedia import QAudio

            linear = QAudio.convertVolume(volume, QAudio.VolumeScale.LogarithmicVolumeScale,
                                          QAudio.VolumeScale.LinearVolumeScale)
            self._sink.setVolume(linear)

    def _start(self, player: vsr.Player) -> None:
        from PySide6.QtMultimedia import QAudioFormat, QAudioSink, QMediaDevices

        device = QMediaDevices.defaultAudioOutput()
        form = QAudioFormat()
        form.setSampleRate(_RATE)
        form.setChannelCount(_CHANNELS)
        form.setSampleFormat(QAudioFormat.SampleFormat.Float)
        if device.isNull() or not device.isFormatSupported(form):
            return
        sink = self._sink = QAudioSink(device, form)
        second = _RATE * _CHANNELS * _BYTES
        sink.setBufferSize(int(_BUFFER_S * second))
        self._source = Source(player, lambda: max(0, sink.bufferSize() - sink.bytesFree()) / second)
        sink.start(self._source)

    def stop(self) -> None:
        if self._sink is not None:
            self._sink.stop()
            self._sink = self._source = None
        self._player = None


class Sound(QObject):
    """The speaker and its thread, which begins when there is first something to hear."""

    def __init__(self) -> None:
        super().__init__()
        self._thread: QThread | None = None
        self._speaker: _Speaker | None = None

    def follow(self, player: vsr.Player | None, volume: float = 1.0) -> None:
        if self._thread is None:
            if player is None:
                return
            self._thread, self._speaker = QThread(), _Speaker()
            self._speaker.moveToThread(self._thread)
            self._thread.finished.connect(self._speaker.stop)
            self._thread.start()
        assert self._speaker is not None
        self._speaker.follow.emit(player, volume)

    def shut(self) -> None:
        if self._thread is not None:
            self._thread.quit()
            self._thread.wait()
            self._thread = self._speaker = None


class Export(QObject):
    """A comparison that is written as a video, while all else goes on. ``ended`` says what became of it: a path, or
    an error in words (empty where it was cancelled)."""

    progress = Signal(float, str)  # 0 to 1 (below 0: not known), and in words
    ended = Signal(object, str)

    def __init__(self, parent: QObject, job: vsr.Job) -> None:
        super().__init__(parent)
        self._job, self._cancel = job, threading.Event()
        self._work = Work(self._run, self._ended)

    def _run(self) -> Path:
        done = vsr.run(self._job, on_event=self._on_event, cancel=self._cancel)
        assert done is not None  # an output that exists is replaced
        return done.output

    def _on_event(self, event: vsr.Event) -> None:
        if isinstance(event, vsr.Progress):
            share = event.frame / event.frames if event.frames else -1.0
            left = "" if event.eta_s is None else self.tr(", {0:.0f} s left").format(event.eta_s)
            self.progress.emit(share, self.tr("{0:.1f} frames a second").format(event.fps) + left)

    def _ended(self, work: Work) -> None:
        work.wait()
        if work.error is None:
            self.ended.emit(work.result, "")
        else:
            self.ended.emit(None, "" if isinstance(work.error, vsr.Cancelled) else str(work.error))
            if not isinstance(work.error, vsr.VsrError):
                raise work.error

    def cancel(self) -> None:
        self._cancel.set()

    def shut(self) -> None:
        self.cancel()
        self._work.finished.disconnect()
        self._work.wait()
