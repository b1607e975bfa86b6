"""Reading at any place: a video's frames by time, forwards and backwards, and its sound from any time on."""

from __future__ import annotations

import bisect
import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream

from vsr.errors import InputError
from vsr.frame import Frame, VideoInfo
from vsr.media.cut import beginning
from vsr.media.decode import Decoder
from vsr.media.pixels import Layout
from vsr.media.probe import open_input
from vsr.media.sound import SoundDecoder

# Containers that know where their keyframes are; in others, the way to a frame is from the beginning.
_SEEKABLE = {"mov", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "nut", "mxf", "ogg"}
_BACK_S = (0, 1, 4, 16)  # how much earlier a keyframe is looked for, where the container finds too late a one
_NEAR_S = 1  # so far ahead, frames are decoded one by one rather than sought
_LEAST = 2  # frames that are held, however large
_SOUND_RUN_UP_S = Fraction(1, 2)  # what a sound's decoder and its container's rounding may need
_JITTER_S = Fraction(1, 50)  # a shorter gap is the rounding of a container's times
CHANNELS = 2
_SILENCE_S = Fraction(1, 10)  # length of a block of silence


class Reel:
    """The frames of a video by their time in seconds, as players show it: 0 is the beginning of the file.

    Whatever way leads to a frame, it is the one that a `Decoder` gives in its course: same planes, same pts (but where
    the file is damaged, and a decoder conceals that with what it saw before). Frames next to each other, around the
    last that was asked for, are kept in ``cache_mb`` (10^6 bytes; no fewer than two); the others are decoded again,
    from the keyframe before them. ``info``, ``layout`` and ``orientation`` are the decoder's, as are ``stream``,
    ``deinterlace`` and ``check``. Where the file breaks off its frames end; ``warnings``, (code, message) pairs, say
    so. A context manager; one thread at a time. Raises as `Decoder`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        cache_mb: float = 256,
        *,
        stream: int | None = None,
        deinterlace: str = "auto",
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._open = lambda: Decoder(path, stream=stream, deinterlace=deinterlace, check=check)
        self._limit = round(cache_mb * 1e6)
        self.warnings: deque[tuple[str, str]] = deque()
        self._told: set[tuple[str, str]] = set()
        self._decoder = self._open()
        self.info: VideoInfo = self._decoder.info
        self.layout: Layout = self._decoder.layout
        self.origin, self.orientation = self._decoder.origin, self._decoder.orientation
        container = self._decoder.container
        self.can_seek = bool(set(container.format.name.split(",")) & _SEEKABLE)
        self.duration_s = None if not container.duration else Fraction(container.duration, av.time_base)
        # Frames in their order without a gap; the decoder stands behind the last one.
        self._held: deque[Frame] = deque()
        self.held_bytes = 0
        self._ended = False  # whether the last that is held is the last that there is
        self._items: Iterator[Frame | av.Packet] = iter(self._decoder)
        try:
            self._read()
        except BaseException:
            self._decoder.__exit__(None, None, None)
            raise
        self._first = self._pts(self._held[0])

    def __enter__(self) -> Reel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._items = iter(())
        self._held.clear()
        self._decoder.__exit__(kind, error, trace)

    def time(self, frame: Frame) -> Fraction:
        """When ``frame`` is shown."""
        return self._pts(frame) * frame.time_base - self.origin

    def at(self, time: Fraction) -> Frame:
        """The frame that is shown at ``time``: the last one that begins by then; the first or last of all beyond."""
        tick = math.floor((time + self.origin) / self.info.time_base)
        held = self._held
        if tick < self._first:
            tick = self._first
        last = self._pts(held[-1])
        if tick < self._pts(held[0]) or (not self._ended and tick > last + _NEAR_S / self.info.time_base):
            self._go_to(tick)
        while self._pts(held[-1]) < tick and self._read():
            pass
        return held[bisect.bisect_right(held, tick, key=self._pts) - 1]

    def after(self, frame: Frame) -> Frame | None:
        """The frame that follows; None where it was the last one."""
        place = self._place(frame)
        if place + 1 == len(self._held):
            if not self._read():
                return None
            place = self._place(frame)
        return self._held[place + 1]

    def before(self, frame: Frame) -> Frame | None:
        """The frame that comes before; None where it was the first one."""
        place = self._place(frame)
        if place == 0:
            pts = self._pts(frame)
            if pts == self._first:
                return None
            self._go_to(pts - 1)
            while self._pts(self._held[-1]) < pts and self._read():
                pass
            place = self._place(frame)
        return self._held[place - 1]

    def _place(self, frame: Frame) -> int:
        pts = self._pts(frame)
        if not self._pts(self._held[0]) <= pts <= self._pts(self._held[-1]):
            self.at(self.time(frame))
        return bisect.bisect_left(self._held, pts, key=self._pts)

    @staticmethod
    def _pts(frame: Frame) -> int:
        assert frame.pts is not None  # a decoder always gives one
        return frame.pts

    def _read(self) -> bool:
        """Hold the next frame, in the place of the first ones where the cache is full; False at the end."""
        frame = None
        if not self._ended:
            try:
                frame = next((item for item in self._items if isinstance(item, Frame)), None)
            except InputError as error:
                if not self._held:
                    raise
                self._tell("broken", str(error))
            for warning in self._decoder.warnings:
                self._tell(*warning)
            self._decoder.warnings.clear()
        if frame is None:
            if not self._ended and self._decoder.damaged:
                self._tell("damaged", f"{self._decoder.path} is damaged or cut short: places of it cannot be decoded")
            self._ended = True
            return False
        self._held.append(frame)
        self.held_bytes += _bytes(frame)
        while self.held_bytes > self._limit and len(self._held) > _LEAST:
            self._forget_first()
        return True

    def _forget_first(self) -> None:
        self.held_bytes -= _bytes(self._held.popleft())

    def _tell(self, code: str, message: str) -> None:
        if (code, message) not in self._told:
            self._told.add((code, message))
            self.warnings.append((code, message))

    def _go_to(self, tick: int) -> None:
        """Hold one frame, the video's first or one that is shown at ``tick`` or before it, not long before."""
        for back_s in _BACK_S:
            if not self.can_seek or self._decoder.untimed:
                break
            try:
                self._decoder.seek(tick * self.info.time_base - back_s)
                self._start()
                for _ in range(self._decoder.settles):
                    if not self._read():
                        break
                    self._forget_first()
                else:
                    if self._pts(self._held[0]) <= tick and not self._decoder.untimed:
                        return
            except InputError:
                continue
        self._decoder.__exit__(None, None, None)
        self._decoder = self._open()
        self._start()

    def _start(self) -> None:
        """Hold the decoder's next frame alone. Raises ``InputError`` where there is none."""
        self._held.clear()
        self.held_bytes, self._ended = 0, False
        self._items = iter(self._decoder)
        if not self._read():
            raise InputError(f"{self._decoder.path} holds no picture there")


def _bytes(frame: Frame) -> int:
    planes = frame.planes if frame.alpha is None else (*frame.planes, frame.alpha)
    return sum(abs(plane.strides[0]) * len(plane) for plane in planes)


@dataclass(frozen=True, slots=True)
class Block:
    """Sound: ``samples`` (N, 2) float32 from -1 to 1, the first of them heard at ``time``, in seconds."""

    time: Fraction
    samples: np.ndarray


class Track:
    """The sound of a file: its main one, or the stream of that index, as stereo of ``rate`` samples a second.

    ``stream`` is the index, None where there is no sound that can be decoded. Raises ``InputError`` where the file
    cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], rate: int = 48000, stream: int | None = None) -> None:
        self.path, self.rate = path, rate
        with open_input(path) as container:
            tracks = {track.index: track for track in container.streams.audio if track.codec_context is not None}
            usable = [index for index, track in tracks.items() if track.codec_context.sample_rate]
        self.stream = next((index for index in usable if stream in (None, index)), None)

    def blocks(self, start: Fraction) -> Generator[Block]:
        """The sound from ``start`` on, in seconds as players show them, to its end: not a sample is missing or comes
        twice between blocks, and what the file lacks is silent. The file is open while this iterates."""
        if self.stream is None:
            return
        with open_input(self.path) as container:
            due = 0  # samples given so far
            for time, samples in self._decoded(container, start):
                place = round((time - start) * self.rate)
                if abs(place - due) <= _JITTER_S * self.rate and due:
                    place = due
                while due < place:
                    silent = min(place - due, round(_SILENCE_S * self.rate))
                    yield Block(start + Fraction(due, self.rate), np.zeros((silent, CHANNELS), np.float32))
                    due += silent
                samples = samples[due - place :]
                if len(samples):
                    yield Block(start + Fraction(due, self.rate), samples)
                    due += len(samples)

    def _decoded(self, container: Any, start: Fraction) -> Generator[tuple[Fraction, np.ndarray]]:
        """What can be decoded from shortly before ``start`` on, with its times; gaps and overlaps are as in the file.
        """
        stream = container.streams[self.stream]
        assert isinstance(stream, AudioStream)
        unit = stream.time_base or Fraction(1, av.time_base)
        origin = beginning(container)
        if start > _SOUND_RUN_UP_S:
            with contextlib.suppress(av.error.FFmpegError):  # else it is decoded from its beginning
                container.seek(math.floor((start + origin - _SOUND_RUN_UP_S) / unit), stream=stream)
        decode = SoundDecoder(stream)
        expected: Fraction | None = None  # when the next sample is heard
        form: tuple[str, str, int] | None = None
        resampler: av.AudioResampler | None = None
        made = Fraction(0)  # when the next sample of the resampler is heard

        def resampled(frame: av.AudioFrame | None) -> Iterator[tuple[Fraction, np.ndarray]]:
            nonlocal made
            for out in resampler.resample(frame) if resampler else ():
                samples = out.to_ndarray().reshape(-1, CHANNELS)
                yield made, samples
                made += Fraction(len(samples), self.rate)

        for packet in _packets(container, stream):
            for frame in decode(packet):
                time = expected or Fraction(0)
                if frame.pts is not None:
                    time = frame.pts * (frame.time_base or unit) - origin
                now = frame.format.name, frame.layout.name, frame.sample_rate
                if form != now or expected is None or abs(time - expected) > _JITTER_S:
                    yield from resampled(None)
                    resampler = av.AudioResampler("flt", "stereo", self.rate)
                    form, made = now, time
                    expected = time
                expected += Fraction(frame.samples, frame.sample_rate)
                frame.pts = None
                yield from resampled(frame)
        yield from resampled(None)


def _packets(container: Any, stream: AudioStream) -> Iterator[av.Packet | None]:
    """Those of ``stream`` up to where the file can be read, then None."""
    with contextlib.suppress(av.error.FFmpegError):
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    yield None
