"""Microphones: sound as it comes, each block of it with the moment when it did."""

from __future__ import annotations

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
    """A microphone that listens: ``rate`` samples a second (one of `RATES`) of so many ``channels``, 1 or 2."""

    name: str
    rate: int
    channels: int

    def blocks(self) -> list[Block]:
        """Those that came since the last call; waits for none. Raises ``InputError`` where the microphone is gone."""

    def close(self) -> None:
        """Listen no more."""


def find_microphone(name: str) -> dict[str, Any]:
    """What PortAudio tells of the microphone of that name (a part of it will do, if no other has it), or of the
    `DEFAULT` one. Raises ``InputError`` where there is none, or no way to listen."""
    sounddevice = _sounddevice()
    try:
        return dict(sounddevice.query_devices(None if name == DEFAULT else name, "input"))
    except (ValueError, sounddevice.PortAudioError):
        found = [str(each["name"]) for each in sounddevice.query_devices() if each["max_input_channels"] > 0]
        there = f"there are: {', '.join(found)}" if found else "none is found; is one plugged in?"
        wanted = "microphone" if name == DEFAULT else f"microphone '{name}'"
        raise InputError(f"there is no {wanted}; {there}") from None


def open_microphone(name: str = DEFAULT, now: Callable[[], float] = time.monotonic) -> Microphone:
    """Listen to the microphone of that name by the clock ``now``. Raises ``InputError`` as `find_microphone`, and
    where it is taken."""
    return _Listening(find_microphone(name), now)


class _Listening:
    """A microphone that PortAudio listens to, which calls back in a thread of its own."""

    def __init__(self, found: dict[str, Any], now: Callable[[], float]) -> None:
        sounddevice = _sounddevice()
        self.name, self.channels = str(found["name"]), min(2, int(found["max_input_channels"]))
        rate = int(found["default_samplerate"])
        self.rate = rate if rate in RATES else _USUAL_RATE
        self._came: deque[Block] = deque(maxlen=_KEPT)

        def came(samples: np.ndarray, count: int, times: Any, status: object) -> None:
            ago = times.currentTime - times.inputBufferAdcTime  # where a driver does not tell: the block's length
            self._came.append(Block(now() - (ago if 0 < ago < 1 else count / self.rate), samples.copy()))

        try:
            self._stream = sounddevice.InputStream(
                samplerate=self.rate, blocksize=round(_BLOCK_S * self.rate), device=found["index"],
                channels=self.channels, dtype="float32", callback=came)
            self._stream.start()
        except sounddevice.PortAudioError as error:
            raise InputError(f"the microphone {self.name} cannot be opened ({error})") from error

    def blocks(self) -> list[Block]:
        active = self._stream.active
        found = [self._came.popleft() for _ in range(len(self._came))]
        if not active and not found:
            raise InputError(f"the microphone {self.name} gives no sound any more; was it unplugged?")
        return found

    def close(self) -> None:
        self._stream.close()


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise InputError("a microphone needs sounddevice: pip install 'vsr[microphone]'") from None
    except OSError:  # its wheel for Linux brings no library
        raise InputError("a microphone needs the PortAudio library; install it (libportaudio2)") from None
    return sounddevice
