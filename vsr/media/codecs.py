"""The encoders: names, quality, presets, pixel formats, and whether a container holds them."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import av.logging
from av.codec import Codec

from vsr.errors import UsageError
from vsr.frame import VideoInfo
from vsr.media.pixels import LIMITED_RANGE, Layout
from vsr.media.presets import DEFAULT_CRF, DEFAULT_PRESET, PRESETS

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}
DEFAULT_CODEC = "h264"

_ALIASES = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9", "prores": "prores_ks"}
# What is tried without a codec, by container, the first choice first; Matroska's are those of a container to be chosen.
_CHOICES = {
    "matroska": ("h264", "hevc", "ffv1"),
    "mp4": ("h264", "hevc"),
    "mov": ("h264", "hevc", "prores"),
    "webm": ("vp9", "av1"),
    "avi": ("h264", "ffv1"),
}
_HDR_CHOICES = ("hevc", "av1")  # their HDR is what players know, and they carry its metadata
_HDR_TRANSFERS = {16, 18}  # PQ and HLG
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
# The option that takes the encoder's own parameters, and their names of mastering display and content light level
_HDR_WORDS = {
    "libx264": ("x264-params", "mastering-display", "cll"),
    "libx265": ("x265-params", "master-display", "max-cll"),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
}
_CUTREE_WIDTH = 64  # x265's cutree writes beyond its buffers in some narrower pictures (seen at 34 to 48)
_HARDWARE = {"nvenc": "an NVIDIA GPU", "qsv": "an Intel GPU", "amf": "an AMD GPU"}
_HARDWARE |= {"videotoolbox": "a Mac with Apple's processor"}
# What encoders name and then refuse, all but the formats given here
_ALPHA_FORMATS = {"libx265": set[str](), "libvpx-vp9": {"yuva420p"}}
# Formats that FFmpeg's decoders do not know in versions that are still about (its 5.1)
_UNREADABLE = {"ffv1": {"yuva422p12le", "yuva444p12le"}}
# Codecs that a muxer lets in and then refuses, or that hardly a player looks for there.
_UNFIT = {"mov": {"av1", "vp8", "vp9", "rawvideo"}, "mp4": {"ffv1"}}
# Options that say what VSR says of the source
_OURS = {"time_base", "framerate", "video_size", "pixel_format", "pix_fmt", "aspect", "sar"}
_OURS |= {"color_range", "colorspace", "color_primaries", "color_trc", "chroma_sample_location"}
_REFUSED = re.compile(r"(Error parsing option|Unknown option|Invalid value for)")  # encoders only log it

os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 writes its banner straight to stderr


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What the user asked of the encoder; None is the default of its kind.

    ``codec`` is one of h264, hevc, av1, vp9, ffv1, prores or FFmpeg's name of a video encoder; ``crf`` constant
    quality on x264's scale, from 0 (best) to 51, for every encoder that has such a thing; ``preset`` one of x264's
    names, likewise; ``options`` are FFmpeg's, passed on as they are.
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

    def encoder_options(self, picture: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
        """Quality, preset, what the ``picture`` asks for, and the user's options, in the encoder's own words.

        Raises ``UsageError``.
        """
        name = self.encoder().name
        options = [*_quality(name, self.codec, self.crf), *_speed(name, self.codec, self.preset)]
        if name == "libx265":
            options.append(("x265-params", "log-level=error"))
        elif name == "ffv1":
            options += [("level", "3"), ("slicecrc", "1")]  # damage is found, and ends at its slice
        elif name == "mjpeg":
            options.append(("strict", "unofficial"))  # or it takes full range only
        merged: dict[str, str] = {}
        for key, value in (*options, *picture, *self.options):
            joined = key.endswith("-params") and key in merged
            merged[key] = f"{merged[key]}:{value}" if joined else value
        return merged

    def check(self, container: str) -> None:
        """Open the encoder once, for a small picture, with these options, before there is any file.

        Raises ``UsageError`` where the encoder, a value or ``container`` (FFmpeg's name) does not do.
        """
        encoder = self.encoder()
        if ours := [key for key, _ in self.options if key in _OURS]:
            raise UsageError(f"the source says what {', '.join(ours)} shall be, and no encoder option; leave it out")
        better = ".webm holds vp9 and av1, .mov holds prores, .mkv holds all of them"
        unfit = UsageError(f"{container} cannot hold {self.codec}; choose another extension ({better})")
        if not fits(encoder, container):
            raise unfit
        choose_format(encoder, Layout((1, 1), 8), 256, 256)
        with contextlib.ExitStack() as stack:
            trial = av.open(io.BytesIO(), "w", format=container)
            stack.callback(_close, trial)
            stream: Any = trial.add_stream(encoder.name, rate=25)
            context = stream.codec_context
            context.width = context.height = 256
            context.pix_fmt = encoder.video_formats[0].name if encoder.video_formats else "yuv420p"
            context.time_base = stream.time_base = Fraction(1, 25)
            try:
                refused = _open_listening(context, self)
            except av.error.FFmpegError as error:
                family = encoder.name.rpartition("_")[2]
                if family in _HARDWARE:
                    raise UsageError(f"{self.codec} does not work here: it needs {_HARDWARE[family]}") from error
                values = {"crf": self.crf, "preset": self.preset, **dict(self.options)}
                given = ", ".join(f"{key}={value}" for key, value in values.items() if value is not None)
                raise UsageError(f"{self.codec} cannot be opened with {given or 'its defaults'}") from error
            if refused:
                raise UsageError(f"{self.codec} does not take its parameters: {refused}")
            unknown = [key for key, _ in self.options if key in context.options]
            if unknown:
                raise UsageError(f"{self.codec} has no option {', '.join(unknown)}")
            try:
                trial.start_encoding()
            except av.error.FFmpegError as error:
                raise unfit from error


def _open_listening(context: Any, settings: EncoderSettings) -> str | None:
    """``open_context``; what the encoder says of parameters (``x264-params``) that it does not take, None without."""
    if not any(key.endswith("-params") for key, _ in settings.options):
        open_context(context, settings)  # unheard: it holds the interpreter, which a thread that logs would wait for
        return None
    level, skip = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as heard:
            open_context(context, settings)
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skip)
    return next((text.strip().rstrip(".") for _, _, text in heard if _REFUSED.match(text)), None)


def _close(container: Any) -> None:
    with contextlib.suppress(av.error.FFmpegError):
        container.close()


def _quality(name: str, codec: str, crf: float | None) -> list[tuple[str, str]]:
    """``crf`` on x264's scale as encoder ``name`` has it.

    The scales were laid over each other where luma has the same PSNR (three clips, crf 6 to 42, the default preset):
    a step of x264 is one of x265, which starts 2 higher at the default, and two of SVT-AV1 and libvpx, whose scales
    are longer. Zero is automatic to some encoders: they begin at 1.
    """
    if crf is not None and not 0 <= crf <= 51:
        raise UsageError(f"crf is from 0 (best) to 51, not {crf:g}; {DEFAULT_CRF:g} is the default")
    given, crf = crf, DEFAULT_CRF if crf is None else crf
    like_x265 = crf * 20 / 18 if crf < 18 else min(crf + 2, 51)
    if name == "libx264":
        return [("crf", f"{crf:g}")]
    if name == "libx265":
        return [("crf", f"{like_x265:g}")] if crf else [("x265-params", "lossless=1")]
    if name in ("libsvtav1", "libvpx-vp9", "libvpx"):
        least = {"libsvtav1": 1, "libvpx": 4}.get(name, 0)
        return [("crf", str(round(min(max(2 * crf - 12, least), 63))))]
    level = round(max(like_x265, 1))
    if name.endswith("_nvenc"):
        return [("rc", "vbr"), ("cq", str(level)), ("b", "0")]
    if name.endswith("_qsv"):
        return [("global_quality", str(level))]
    if name.endswith("_amf"):
        level *= 5 if name == "av1_amf" else 1  # AV1 counts to 255
        return [("rc", "cqp"), ("qp_i", str(level)), ("qp_p", str(level))]
    if name.endswith("_videotoolbox") and "prores" not in name:
        return [("flags", "+qscale"), ("global_quality", str(118 * max(1, round(100 - 2 * crf))))]  # FF_QP2LAMBDA
    if given is not None:
        raise UsageError(f"{codec} has no constant quality that crf could set; use an encoder option")
    return []


def _speed(name: str, codec: str, preset: str | None) -> list[tuple[str, str]]:
    """``preset``, one of x264's names, as encoder ``name`` has it."""
    given, preset = preset, preset or DEFAULT_PRESET
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}; use one of {', '.join(PRESETS)}")
    speed = PRESETS.index(preset)  # 0 is fastest
    if name in ("libx264", "libx265"):
        return [("preset", preset)]
    if name == "libsvtav1":
        return [("preset", str((12, 11, 10, 9, 8, 7, 5, 4, 3, 1)[speed]))]
    if name in ("libvpx-vp9", "libvpx"):
        deadline = ("realtime", "good", "best")[(speed > 2) + (speed > 8)]
        options = [("deadline", deadline), ("cpu-used", str((8, 7, 6, 5, 4, 3, 2, 1, 0, 0)[speed]))]
        # Quality rules, the rate does not.
        return [*options, ("b", "0"), ("row-mt", "1")] if name == "libvpx-vp9" else [*options, ("b", "100M")]
    if name.endswith("_nvenc"):
        return [("preset", "p" + "1123345677"[speed])]
    if name.endswith("_qsv"):
        return [("preset", PRESETS[min(max(speed, 2), 8)])]
    if name.endswith("_amf"):
        return [("quality", ("speed", "balanced", "quality")[(speed > 3) + (speed > 5)])]
    if given is not None:
        raise UsageError(f"{codec} has no presets; leave the preset out")
    return []


def picture_options(encoder: Codec, info: VideoInfo, layout: Layout, width: int, height: int) -> list[tuple[str, str]]:
    """What ``encoder`` must be told besides its context's fields: ``info`` says what the output shall carry,
    ``layout`` is that of the pixel format, for pictures of ``width`` x ``height``."""
    name, color = encoder.name, info.color
    options = []
    if name in _HDR_WORDS:
        options += _hdr(name, info)
    described = (color.space, color.primaries, color.transfer) != (2, 2, 2)
    if name == "libx264" and color.range == LIMITED_RANGE and not described:
        # Limited range alone is written only where there is something else to say; this says nothing to anyone.
        options.append(("x264-params", "videoformat=component"))
    if name == "ffv1":
        options.append(("slices", "16" if width * height >= 1280 * 720 else "4"))  # for threads, on any machine alike
    if name in ("libvpx-vp9", "libvpx") and layout.alpha:
        options.append(("auto-alt-ref", "0"))  # pictures that are never shown have no alpha
    return options


def _hdr(name: str, info: VideoInfo) -> list[tuple[str, str]]:
    """Mastering display, zeros where the source does not say a part of it, and content light level."""
    key, display_key, light_key = _HDR_WORDS[name]
    options = []
    display = info.mastering
    if display:
        nothing = Fraction(0), Fraction(0)
        red, green, blue = display.primaries or (nothing, nothing, nothing)
        least, greatest = display.luminance or nothing
        steps = (50_000, 10_000) if name != "libsvtav1" else (None, None)  # SVT-AV1 takes plain numbers
        pairs = {"G": green, "B": blue, "R": red, "WP": display.white_point or nothing, "L": (greatest, least)}
        said = [
            f"{what}({','.join(_number(value, steps[what == 'L']) for value in pair)})" for what, pair in pairs.items()
        ]
        options.append((key, f"{display_key}={''.join(said)}"))
    if info.light:
        options.append((key, f"{light_key}={info.light[0]},{info.light[1]}"))
    if options and name == "libx265":
        options.append((key, "hdr10=1:repeat-headers=1"))
    return options


def _number(value: Fraction, steps: int | None) -> str:
    return str(round(value * steps)) if steps else f"{float(value):.6f}"


def open_context(context: Any, settings: EncoderSettings, picture: Iterable[tuple[str, str]] = ()) -> None:
    """Open an encoder's context whose picture is set; what it does not know stays in ``context.options``."""
    context.thread_type = "AUTO"  # PyAV's own choice, slices, costs x264 quality
    if context.codec.name == "libx265" and context.width < _CUTREE_WIDTH:
        picture = [*picture, ("x265-params", "cutree=0")]
    context.options = settings.encoder_options(picture)
    context.open()


def fits(encoder: Codec, container: str) -> bool:
    """Whether ``container`` (FFmpeg's name of the muxer) holds what ``encoder`` makes."""
    if encoder.canonical_name in _UNFIT.get(container, ()):
        return False
    with av.open(io.BytesIO(), "w", format=container) as trial:
        try:
            trial.add_stream(encoder.name)
        except ValueError:
            return False
    return True


def choose_codec(layout: Layout | None, info: VideoInfo | None, container: str | None) -> str:
    """The codec for a source whose frames have ``layout``: the first that holds its depth, subsampling and alpha, or
    else loses least. HDR and RGB sources prefer HEVC (AV1 in WebM).

    ``container`` is FFmpeg's name of the one that the user asked for, None where it follows the codec. Without
    ``layout`` and ``info``: the container's first choice.
    """
    names = list(_CHOICES.get(container or "matroska", _CHOICES["matroska"]))
    if layout is None or info is None:
        return names[0]
    pix_fmt = av.VideoFormat(info.pix_fmt)
    if info.color.transfer in _HDR_TRANSFERS or pix_fmt.is_rgb or pix_fmt.has_palette:
        names.sort(key=lambda name: name not in _HDR_CHOICES)

    def loss(name: str) -> tuple[int, int, int, int]:
        try:
            encoder = EncoderSettings(name).encoder()
        except UsageError:  # not in this FFmpeg
            return (9, 9, 9, 9)
        return _distance(layout, choose_format(encoder, layout, 256, 256)[1])[:4]

    return min(names, key=loss)


def _distance(want: Layout, have: Layout) -> tuple[int, int, int, int, int]:
    """How much of ``want`` is lost in ``have`` (alpha, chroma, bits), then how much of that is needless."""
    pairs = list(zip(have.chroma or (4, 4), want.chroma or (4, 4), strict=True))
    lost, extra = (sum(max(0, s * (h - w)) for h, w in pairs) for s in (1, -1))
    alpha = want.alpha - have.alpha
    return max(0, alpha), lost, max(0, want.bits - have.bits), extra, max(0, -alpha) * 99 + have.bits - want.bits


def choose_format(encoder: Codec, layout: Layout, width: int, height: int) -> tuple[str, Layout]:
    """The encoder's pixel format nearest to ``layout`` for a picture of that size: never less alpha, chroma or depth
    where it has the choice, then as little more as possible. Returns FFmpeg's name and the layout that it holds.

    Raises ``UsageError`` for an encoder that takes no such pictures.
    """
    counts_chroma = encoder.canonical_name in ("h264", "hevc")
    choices = []
    for pix_fmt in encoder.video_formats or [av.VideoFormat("yuv420p")]:
        have = _encoded(encoder, pix_fmt.name)
        if have is None or (have.chroma is None and layout.chroma is not None):
            continue
        # H.264 and HEVC count pictures in whole chroma samples: an odd side cannot be subsampled.
        x, y = have.chroma or (0, 0)
        if not (counts_chroma and (width % (1 << x) or height % (1 << y))):
            choices.append((_distance(layout, have), pix_fmt.name in _SEMIPLANAR, pix_fmt.name, have))
    if not choices:
        raise UsageError(f"{encoder.name} takes no planar YUV; use another codec")
    return min(choices, key=lambda choice: choice[:2])[2:]


def _encoded(encoder: Codec, pix_fmt: str) -> Layout | None:
    """What ``encoder`` makes of pictures in ``pix_fmt``; None where that is not for us."""
    alpha = pix_fmt.startswith("yuva")
    layout = _SEMIPLANAR.get(pix_fmt) or Layout.of(pix_fmt.replace("yuva", "yuv"))
    refused = alpha and pix_fmt not in _ALPHA_FORMATS.get(encoder.name, {pix_fmt})
    refused |= pix_fmt in _UNREADABLE.get(encoder.name, ())
    if layout is None or refused or "yuvj" in pix_fmt:
        return None
    bits = min(layout.bits, 10) if encoder.name.endswith("_nvenc") else layout.bits  # it takes 16 and codes 10
    return replace(layout, bits=bits, alpha=alpha)
