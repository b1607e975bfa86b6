"""The encoders: names, quality, presets, pixel formats, and whether a container holds them."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.codec import Codec
from av.codec.context import CodecContext

from vsr.errors import UsageError
from vsr.media.pixels import Layout

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}
DEFAULT_CODEC = "h264"
DEFAULT_PRESET = "veryfast"

_ALIASES = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9", "prores": "prores_ks"}
_PRESETS = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"]
_SEMIPLANAR = {
    "nv12": Layout((1, 1), 8),
    "nv16": Layout((1, 0), 8),
    "nv24": Layout((0, 0), 8),
    "p010le": Layout((1, 1), 10),
    "p012le": Layout((1, 1), 12),
    "p016le": Layout((1, 1), 16),
    "p210le": Layout((1, 0), 10),
    "p410le": Layout((0, 0), 10),
}
_HARDWARE = {"nvenc": "an NVIDIA GPU", "qsv": "an Intel GPU", "amf": "an AMD GPU", "videotoolbox": "a Mac"}

os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 writes its banner straight to stderr


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What the user asked of the encoder; None is the default of its kind.

    ``codec`` is one of h264, hevc, av1, vp9, ffv1, prores or FFmpeg's name of a video encoder; ``crf`` the encoder's
    own constant quality (lower is better); ``preset`` one of x264's names, for every encoder; ``options`` are
    FFmpeg's, passed on as they are.
    """

    codec: str = DEFAULT_CODEC
    crf: float | None = None
    preset: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    def encoder(self) -> Codec:
        """FFmpeg's encoder. Raises ``UsageError`` where there is none of that name."""
        for name in (_ALIASES.get(self.codec), self.codec):
            with contextlib.suppress(ValueError, RuntimeError):
                codec = Codec(name or "", "w")
                if codec.type == "video":
                    return codec
        known = ", ".join([*_ALIASES, "ffv1"])
        raise UsageError(f"unknown codec {self.codec!r}, or not in this FFmpeg; use one of {known} or FFmpeg's name")

    def encoder_options(self) -> dict[str, str]:
        """Quality, preset and the user's options in the encoder's own words. Raises ``UsageError``."""
        name = self.encoder().name
        options: dict[str, str] = {}
        if name in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "libvpx"):
            options["crf"] = _number(self.crf, {"libx264": 18, "libx265": 20}.get(name, 24))
        elif name.endswith("_nvenc"):
            options |= {"rc": "vbr", "cq": _number(self.crf, 20), "b": "0"}
        elif name.endswith("_qsv"):
            options["global_quality"] = _number(self.crf, 20)
        elif name.endswith("_amf"):
            options |= {"rc": "cqp", "qp_i": _number(self.crf, 20), "qp_p": _number(self.crf, 20)}
        elif self.crf is not None:
            raise UsageError(f"{self.codec} has no constant quality that crf could set; use an encoder option")

        preset = self.preset or DEFAULT_PRESET
        if preset not in _PRESETS:
            raise UsageError(f"unknown preset {preset!r}; use one of {', '.join(_PRESETS)}")
        speed = _PRESETS.index(preset)  # 0 is fastest
        if name in ("libx264", "libx265"):
            options["preset"] = preset
        elif name == "libsvtav1":
            options["preset"] = str((12, 11, 10, 9, 8, 7, 5, 4, 3, 1)[speed])
        elif name in ("libvpx-vp9", "libvpx"):
            options["b"] = "0" if name == "libvpx-vp9" else "100M"  # quality rules, the rate does not
            options["deadline"] = ("realtime", "good", "best")[(speed > 2) + (speed > 8)]
            options["cpu-used"] = str((8, 7, 6, 5, 4, 3, 2, 1, 0, 0)[speed])
            options |= {"row-mt": "1"} if name == "libvpx-vp9" else {}
        elif name.endswith("_nvenc"):
            options["preset"] = "p" + "1123345677"[speed]
        elif name.endswith("_qsv"):
            options["preset"] = _PRESETS[min(max(speed, 2), 8)]
        elif name.endswith("_amf"):
            options["quality"] = ("speed", "balanced", "quality")[(speed > 3) + (speed > 5)]
        elif self.preset is not None:
            raise UsageError(f"{self.codec} has no presets; leave the preset out")

        if name == "libx265":
            options["x265-params"] = "log-level=error"
        for key, value in self.options:
            joined = key.endswith("-params") and key in options
            options[key] = f"{options[key]}:{value}" if joined else value
        return options

    def check(self, container: str) -> None:
        """Open the encoder once, for a small picture, with these options, before there is any file.

        Raises ``UsageError`` where the encoder, a value or ``container`` (FFmpeg's name) does not do.
        """
        encoder = self.encoder()
        if not fits(encoder, container):
            better = ".webm holds vp9 and av1, .mov holds prores, .mkv holds all of them"
            raise UsageError(f"{container} cannot hold {self.codec}; choose another extension ({better})")
        context: Any = CodecContext.create(encoder)
        context.width = context.height = 256
        context.pix_fmt = encoder.video_formats[0].name if encoder.video_formats else "yuv420p"
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        try:
            open_context(context, self)
        except av.error.FFmpegError as error:
            family = encoder.name.rpartition("_")[2]
            if family in _HARDWARE:
                raise UsageError(f"{self.codec} does not work here: it needs {_HARDWARE[family]}") from error
            values = {"crf": self.crf, "preset": self.preset, **dict(self.options)}
            given = ", ".join(f"{key}={value}" for key, value in values.items() if value is not None)
            raise UsageError(f"{self.codec} cannot be opened with {given or 'its defaults'}") from error
        unknown = [key for key, _ in self.options if key in context.options]
        if unknown:
            raise UsageError(f"{self.codec} has no option {', '.join(unknown)}")


def _number(value: float | None, default: float) -> str:
    return f"{default if value is None else value:g}"


def open_context(context: Any, settings: EncoderSettings, extra: dict[str, str] | None = None) -> None:
    """Open an encoder's context whose picture is set; what it does not know stays in ``context.options``."""
    context.thread_type = "AUTO"  # PyAV's own choice, slices, costs x264 quality
    context.options = {**settings.encoder_options(), **(extra or {})}
    context.open()


def fits(encoder: Codec, container: str) -> bool:
    """Whether ``container`` (FFmpeg's name of the muxer) holds what ``encoder`` makes."""
    with av.open(io.BytesIO(), "w", format=container) as trial:
        try:
            trial.add_stream(encoder.name)
        except ValueError:
            return False
    return True


def choose_format(encoder: Codec, layout: Layout, width: int, height: int) -> tuple[str, Layout]:
    """The encoder's pixel format nearest to ``layout`` for a picture of that size: never less chroma or depth where
    it has the choice, then as little more as possible. Returns FFmpeg's name and the layout that it holds."""

    def distance(have: Layout) -> tuple[int, int, int, int]:
        want = layout.chroma or (4, 4)
        chroma = have.chroma or (4, 4)
        lost = sum(max(0, c - w) for c, w in zip(chroma, want, strict=True))
        extra = sum(max(0, w - c) for c, w in zip(chroma, want, strict=True))
        return lost, max(0, layout.bits - have.bits), extra, have.bits - layout.bits

    counts_chroma = encoder.canonical_name in ("h264", "hevc")
    choices = []
    for pix_fmt in encoder.video_formats or [av.VideoFormat("yuv420p")]:
        have = Layout.of(pix_fmt.name) or _SEMIPLANAR.get(pix_fmt.name)
        if have is None or "yuvj" in pix_fmt.name:
            continue
        # H.264 and HEVC count pictures in whole chroma samples: an odd side cannot be subsampled.
        x, y = have.chroma or (0, 0)
        if not (counts_chroma and (width % (1 << x) or height % (1 << y))):
            choices.append((distance(have), pix_fmt.name in _SEMIPLANAR, pix_fmt.name, have))
    if not choices:
        raise UsageError(f"{encoder.name} takes no planar YUV; use another codec")
    return min(choices, key=lambda choice: choice[:2])[2:]
