"""Recording: frames and sound into a file as they come, at the times at which they came."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vsr.errors import InputError, OutputError, UsageError
from vsr.frame import Frame, VideoInfo
from vsr.media.codecs import EncoderSettings
from vsr.media.coder import Coder
from vsr.media.microphone import Block, Microphone
from vsr.media.partfile import PartFile, leftovers
from vsr.media.pixels import layout_of

# By extension: the muxer, and what makes a file that breaks off play as far as it goes
CONTAINERS = {
    ".mkv": ("matroska", {"cluster_time_limit": "1000", "flush_packets": "1"}),
    # A fragment for each frame would be wrong beside sound: it tells no time of its own for the last one.
    ".mp4": ("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000",
                     "flush_packets": "1"}),
}
# x264's preset: the processor has a picture to enlarge. Nothing is held back, which a crash would take, and there are
# no B-frames: fragments of mp4 have no room for their delay.
SETTINGS = EncoderSettings(preset="superfast", options=(("g", "60"), ("tune", "zerolatency")))
_TICK = Fraction(1, 1000)  # Matroska's
_GLANCE_S = 1.0  # after which the free space is looked at again
_LEAST_FREE = 64 << 20  # bytes that are left free
_STILL_S = 10  # a file that nobody has written to for so long is no longer recorded
_WARN_S = 120  # so long before the disk is full it is said
_LATE_S = 1.0  # sound that comes later than that after its time is lost: a file has no empty place to be filled later
_GAP_S = 0.05  # sound so far from its place is moved there; what is nearer glides there
_GLIDE = 200  # samples, of which one more or less is made at most
_FOLLOW = 0.05  # the weight of a block in where sound is taken to be: drivers tell the time of a block unevenly
_SOUND_BITS_S = 96_000  # a second and channel
_PRIMING = 1024  # samples that AAC's first packet holds of what was before: where it lies at 0, nothing has to be moved


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
    ends, with all that was written. ``listen`` finds a microphone, when the first frame is there; its sound lies at its
    times among the frames', and is silent where there is none in time, which is said (code 'microphone'), but ends
    nothing. ``warnings`` collects (code, message) pairs; ``free`` tells the bytes that are free. Raises ``UsageError``
    for another extension or settings that there are not, ``OutputError`` where a file is there already or cannot be
    written.
    """

    def __init__(
        self, target: Path, settings: EncoderSettings | None = None, overwrite: bool = False,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        listen: Callable[[], Microphone] | None = None,
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
        self._listen = listen
        self._microphone: Microphone | None = None
        self._blocks = deque[Block]()  # that are not written yet
        self._had_sound = True  # whether it gave any in time
        self._sound: Soundtrack | None = None  # of the file
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
        with self._writing():
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
            self._take_blocks()
            self._hear(float(at - self._first))

    def hear(self) -> None:
        """Write the sound that came while there is no frame."""
        with self._writing():
            self._take_blocks()
            if self._sound is not None and self._blocks:
                self._hear(self._sound.ends(self._blocks[-1]))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
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
        if self._listen is not None:
            listen, self._listen = self._listen, None
            try:
                microphone = listen()
                microphone.listen()
                self._microphone = microphone
            except InputError as error:
                self._lose_microphone(error)
        part = PartFile(target, self._overwrite)
        with contextlib.ExitStack() as stack:
            stack.push(part)
            part.create()
            self._container: Any = av.open(
                f"file:{part.path}", "w", format=self._muxer, container_options=self._options)
            stack.callback(self._container.close)
            self._stream = self._coder.add_stream(self._container)
            self._sound = None
            if self._microphone is not None:
                self._sound = Soundtrack(self._container, self._microphone, float(at))
            stack.pop_all()
        self._part = part
        self._first, self._last, self._looked_at = at, -1, None

    def _take_blocks(self) -> None:
        if self._microphone is not None:
            try:
                self._blocks.extend(self._microphone.blocks())
            except InputError as error:
                self._lose_microphone(error)

    def _hear(self, at_s: float, ending: bool = False) -> None:
        """Write what sound there is up to that time of the file, and silence where none has come in time; what comes
        after it is kept."""
        if self._sound is None:
            return
        while self._blocks and self._sound.ends(self._blocks[0]) <= at_s:
            self._container.mux(self._sound(self._blocks.popleft()))
        if ending and self._blocks and self._blocks[0].at - float(self._first) < at_s:
            self._container.mux(self._sound(self._blocks[0], at_s))
        until_s = at_s if ending else at_s - _LATE_S
        missing = self._sound.end_s < until_s
        self._container.mux(self._sound.silence(until_s))
        if missing and self._had_sound and self._microphone is not None and not ending:
            said = f"the microphone {self._microphone.name} gives no sound in time; the recording is silent there"
            self.warnings.append(("microphone", said))
        self._had_sound = not missing

    def _lose_microphone(self, error: InputError) -> None:
        self.warnings.append(("microphone", f"{error}; the recording goes on without sound"))
        microphone, self._microphone = self._microphone, None
        if microphone is not None:
            microphone.close()

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
                self._take_blocks()
                self._hear(float(self._last * _TICK), ending=True)
                if self._sound is not None:
                    self._container.mux(self._sound.flush())
            with contextlib.suppress(av.error.FFmpegError, OSError):
                self._container.close()
            part.commit()
            self.files.append(part.target)
        except OutputError as error:  # another file has come to have the name meanwhile
            raise OutputError(f"{error}; the recording is {part.path}") from error

    def close(self) -> list[Path]:
        """Complete the file, give it its name, and return all that there are."""
        try:
            self._finish()
        finally:
            if self._microphone is not None:
                self._microphone.close()
                self._microphone = None
        return self.files


class Soundtrack:
    """The sound of a file in ``container`` that begins at ``first_s`` on the clock of ``microphone``: each call gives
    the packets of one more block, as far as it comes before ``end_s``. Not the device's own clock is followed but the
    blocks' times: sound that is a little off its place glides there, by samples more or less; what is missing is
    silent, what is too late left out."""

    def __init__(self, container: Any, microphone: Microphone, first_s: float) -> None:
        self._rate, self._channels, self._first_s = microphone.rate, microphone.channels, first_s
        self._stream = container.add_stream("aac", rate=self._rate, layout=("mono", "stereo")[self._channels - 1])
        self._stream.bit_rate = _SOUND_BITS_S * self._channels
        self._written = _PRIMING  # samples
        self._begun = False
        self._off = 0.0  # samples by which the sound is to be later than it is, followed

    def __call__(self, block: Block, end_s: float = math.inf) -> list[av.Packet]:
        packets, samples = list[av.Packet](), block.samples
        off = round((block.at - self._first_s) * self._rate) - self._written
        if not self._begun or abs(off) > _GAP_S * self._rate:
            packets = self._pad(off)
            samples, self._off = samples[max(0, -off) :], 0.0
            self._begun = self._begun or len(samples) > 0
        else:
            self._off += _FOLLOW * (off - self._off)
            most = len(samples) // _GLIDE
            turn = max(-most, min(most, round(self._off)))
            samples, self._off = stretched(samples, len(samples) + turn), self._off - turn
        if end_s < math.inf:
            samples = samples[: max(0, round(end_s * self._rate) - self._written)]
        return packets + self._encode(samples)

    def silence(self, until_s: float) -> list[av.Packet]:
        """The packets of silence from where the sound ends to that time of the file; none if it ends later."""
        return self._pad(round(until_s * self._rate) - self._written)

    def ends(self, block: Block) -> float:
        """Where a block does, by the file's time."""
        return block.at - self._first_s + len(block.samples) / self._rate

    @property
    def end_s(self) -> float:
        """Where the sound ends, by the file's time."""
        return self._written / self._rate

    def flush(self) -> list[av.Packet]:
        packets: list[av.Packet] = self._stream.encode(None)
        return packets

    def _pad(self, samples: int) -> list[av.Packet]:
        packets: list[av.Packet] = []
        while samples > 0:  # after a long pause by and by
            some = min(samples, self._rate)
            packets += self._encode(np.zeros((some, self._channels), np.float32))
            samples -= some
        return packets

    def _encode(self, samples: np.ndarray) -> list[av.Packet]:
        if not len(samples):
            return []
        planes = np.ascontiguousarray(np.clip(np.nan_to_num(samples.T), -1, 1), np.float32)  # drivers give anything
        frame = av.AudioFrame.from_ndarray(planes, "fltp", ("mono", "stereo")[self._channels - 1])
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._written, Fraction(1, self._rate)
        self._written += len(samples)
        packets: list[av.Packet] = self._stream.encode(frame)
        return packets


def stretched(samples: np.ndarray, count: int) -> np.ndarray:
    """The (samples, channels) as so many, by interpolation."""
    if count == len(samples):
        return samples
    places = np.linspace(0, len(samples) - 1, count)
    return np.stack([np.interp(places, np.arange(len(samples)), channel) for channel in samples.T], axis=1)
