"""Microphones: sound as it comes, each block of it with the moment when it did."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from vsr.errors import InputError

DEFAULT = "default"  # the name of the system's choice
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)  # that AAC has
_USUAL_RATE = 48000
_BLOCK_S = 0.02
_KEPT = 512  # blocks, some ten seconds, that wait to be taken; then the oldest are lost


class Block(NamedTuple):
    """Sound of shape (samples, channels), float32 from -1 to 1, whose first sample came ``at`` that time in seconds."""

    at: float
    samples: np.ndarray


class Microphone(Protocol):
    """A microphone: ``rate`` samples a second (one of `RATES`) of so many ``channels``, 1 or 2."""

    name: str
    rate: int
    channels: int

    def listen(self) -> None:
        """Begin to listen; drivers may take their time for that. Raises ``InputError`` where it is taken."""

    def blocks(self) -> list[Block]:
        """Those that came since the last call, none before it listens; waits for none. Raises ``InputError`` where the
        microphone is gone."""

    def close(self) -> None:
        """Listen no more."""


def microphones() -> list[str]:
    """The names of the microphones here, as `find_microphone` takes them; none where there is no way to listen."""
    try:
        sounddevice = _sounddevice()
    except InputError:
        return []
    inputs = _inputs(sounddevice)
    return list(dict.fromkeys(each["name"] for each in inputs if each["hostapi"] == inputs[0]["hostapi"]))


def _inputs(sounddevice: Any) -> list[dict[str, Any]]:
    """What PortAudio tells of the microphones; those first that it reaches in the system's usual way, as it names each
    once for every way that there is."""
    try:
        usual = sounddevice.default.hostapi
        found = [dict(each) for each in sounddevice.query_devices() if each["max_input_channels"] > 0]
    except sounddevice.PortAudioError:
        return []
    return sorted(found, key=lambda each: each["hostapi"] != usual)


def find_microphone(name: str) -> dict[str, Any]:
    """What PortAudio tells of the microphone of that name (a part of it will do, if no other has it), or of the
    `DEFAULT` one. Raises ``InputError`` where there is none, or no way to listen."""
    sounddevice = _sounddevice()
    inputs, wanted = _inputs(sounddevice), name.casefold()
    if name == DEFAULT:
        with contextlib.suppress(ValueError, sounddevice.PortAudioError):
            return dict(sounddevice.query_devices(None, "input"))
        named = []
    else:
        named = ([each for each in inputs if each["name"].casefold() == wanted]
                 or [each for each in inputs if wanted in each["name"].casefold()])
    names = {each["name"] for each in named if each["hostapi"] == named[0]["hostapi"]}
    if len(names) == 1:
        return named[0]
    if names:
        raise InputError(f"there are several microphones '{name}': {', '.join(sorted(names))}; give more of the name")
    there = f"there are: {', '.join(microphones())}" if inputs else "none is found; is one plugged in?"
    raise InputError(f"there is no microphone{'' if name == DEFAULT else f' {name!r}'}; {there}")


def open_microphone(name: str = DEFAULT, now: Callable[[], float] = time.monotonic) -> Microphone:
    """The microphone of that name, to be listened to by the clock ``now``. Raises ``InputError`` as
    `find_microphone`."""
    return _Device(find_microphone(name), now)


class _Device:
    """A microphone that PortAudio listens to, which calls back in a thread of its own."""

    def __init__(self, found: dict[str, Any], now: Callable[[], float]) -> None:
        self.name, self.channels = str(found["name"]), min(2, int(found["max_input_channels"]))
        rate = int(found["default_samplerate"])
        self.rate = rate if rate in RATES else _USUAL_RATE
        self._index, self._now = found["index"], now
        self._came: deque[Block] = deque(maxlen=_KEPT)
        self._stream: Any = None

    def listen(self) -> None:
        sounddevice = _sounddevice()

        def came(samples: np.ndarray, count: int, times: Any, status: object) -> None:
            ago = times.currentTime - times.inputBufferAdcTime  # where a driver does not tell: the block's length
            self._came.append(Block(self._now() - (ago if 0 < ago < 1 else count / self.rate), samples.copy()))

        try:
            stream = sounddevice.InputStream(
                samplerate=self.rate, blocksize=round(_BLOCK_S * self.rate), device=self._index,
                channels=self.channels, dtype="float32", callback=came)
            stream.start()
        except sounddevice.PortAudioError as error:
            raise InputError(f"the microphone {self.name} cannot be opened ({error})") from error
        self._stream = stream

    def blocks(self) -> list[Block]:
        try:
            active = self._stream is None or self._stream.active
        except _sounddevice().PortAudioError:
            active = False
        found = [self._came.popleft() for _ in range(len(self._came))]
        if not active and not found:
            raise InputError(f"the microphone {self.name} gives no sound any more; was it unplugged?")
        return found

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(_sounddevice().PortAudioError):  # it is gone already
                self._stream.close()


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise InputError("a microphone needs sounddevice: pip install 'vsr[microphone]'") from None
    except OSError:  # its wheel for Linux brings no library
        raise InputError("a microphone needs the PortAudio library; install it (libportaudio2)") from None
    return sounddevice
