"""Sound that a container cannot hold as it is, decoded and encoded again, every sample at its own time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.stream import Stream

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_OPUS_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.1", "7.1")  # of 5.0 and 6.1, FFmpeg confuses the channels
_FLAC_CHANNELS = 8
_GAP_S = Fraction(1, 50)  # a shorter one is the rounding of a container's times


def encoder_for(container: str, stream: Stream) -> str | None:
    """FFmpeg's encoder whose sound ``container`` holds in the place of ``stream``: lossless to 24 bits, but for WebM;
    or None."""
    context: Any = stream.codec_context
    if context is None or not context.sample_rate or not context.layout.nb_channels:
        return None
    if container in ("mov", "avi"):
        return {"u8": "pcm_s16le", "s16": "pcm_s16le", "s32": "pcm_s32le"}.get(context.format.packed.name, "pcm_f32le")
    if container in ("mp4", "matroska") and context.layout.nb_channels > _FLAC_CHANNELS:
        return None
    return {"mp4": "flac", "matroska": "flac", "webm": "libopus"}.get(container)


def _opus_layout(layout: av.AudioLayout) -> str:
    """The layout of Opus that has a place for every channel of ``layout``, up to eight."""
    unnamed = layout.name.endswith(" channels")
    if layout.name in _OPUS_LAYOUTS or (unnamed and layout.nb_channels <= 4):
        return layout.name
    return "stereo" if layout.nb_channels <= 2 else "5.1" if layout.nb_channels <= 6 else "7.1"


class SoundDecoder:
    """Decodes ``stream`` once for all its outputs, which ask for one packet after the other (the end is None);
    ``damaged`` says whether a packet could not be decoded."""

    def __init__(self, stream: Stream) -> None:
        self.damaged = False
        self._context: Any = stream.codec_context
        self._last: object = self
        self._frames: list[av.AudioFrame] = []

    def __call__(self, packet: av.Packet | None) -> list[av.AudioFrame]:
        if packet is not self._last:
            self._last, self._frames = packet, []
            try:
                self._frames = self._context.decode(packet)
            except av.error.EOFError:
                pass
            except (av.error.FFmpegError, ValueError):
                self.damaged = True
        return self._frames


class SoundConverter:
    """Makes packets for ``out``, a new stream of sound whose encoder is chosen, from those of ``source``. A place that
    cannot be decoded is said to ``warn``, once, and stays empty."""

    def __init__(self, source: Stream, decode: SoundDecoder, out: Stream, warn: Callable[[str], None]) -> None:
        self._decode = decode
        self._encoder: Any
        context, self._encoder = source.codec_context, out.codec_context
        assert isinstance(context, av.AudioCodecContext)
        rate, layout = context.sample_rate, context.layout.name
        if self._encoder.name == "libopus":
            rate, layout = rate if rate in _OPUS_RATES else 48000, _opus_layout(context.layout)
        fine = context.format.packed.name not in ("u8", "s16")
        if self._encoder.name == "flac":
            self._encoder.format = "s32" if fine else "s16"
        elif self._encoder.name == "libopus":
            self._encoder.format = "flt"
            self._encoder.bit_rate = 96_000 * max(1, context.layout.nb_channels)
        self._encoder.sample_rate, self._encoder.layout = rate, layout
        self._encoder.time_base = out.time_base = Fraction(1, rate)
        self._encoder.open()
        self._warn: Callable[[str], None] | None = warn
        self._next: Fraction | None = None  # when the next sample is heard, in seconds
        self._form: tuple[str, str, int] | None = None  # of the frames: all that the encoder takes

    def flush(self) -> Iterator[av.Packet]:
        """What decoder and encoder still hold when the source has ended."""
        yield from self(None)
        yield from self._encoder.encode(None)

    def __call__(self, packet: av.Packet | None) -> Iterator[av.Packet]:
        frames = self._decode(packet)
        if self._decode.damaged and self._warn:
            self._warn("has damaged places, which are silent")
            self._warn = None
        for frame in frames:
            unit = Fraction(1, frame.sample_rate)
            time = self._next
            if frame.pts is not None and frame.time_base is not None:
                time = frame.pts * frame.time_base
            if self._next is not None and time is not None and abs(time - self._next) <= _GAP_S:
                time = self._next
            time = time or Fraction(0)
            frame.pts, frame.time_base = round(time / unit), unit
            self._next = time + frame.samples * unit
            for made in self._as_the_first(frame):
                yield from self._encoder.encode(made)

    def _as_the_first(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """``frame`` in the form of the first one, whatever changes midway."""
        form = frame.format.name, frame.layout.name, frame.sample_rate
        self._form = self._form or form
        if form == self._form:
            return [frame]
        resampler = av.AudioResampler(*self._form)
        return [*resampler.resample(frame), *resampler.resample(None)]
