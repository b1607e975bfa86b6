"""From frames to packets: an encoder set up for one source, and what its pictures must become for it."""

from __future__ import annotations

import io
import re
import time
from array import array
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.codec.context import CodecContext
from av.video.reformatter import Interpolation, VideoReformatter

from vsr.errors import OutputError
from vsr.frame import Frame, VideoInfo
from vsr.media.codecs import EncoderSettings, choose_format, open_context, picture_options
from vsr.media.decode import Decoder
from vsr.media.pixels import FULL_RANGE, LIMITED_RANGE, Layout, views
from vsr.media.probe import CHROMA_LOCATIONS, color_names, video_info
from vsr.size import Resolution

_FRAME_DURATION = 1 << 8  # AV_CODEC_FLAG_FRAME_DURATION: frames tell theirs, the average rate would not do
_GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: as containers have it
_RATE = Fraction(25)  # where the source says none
_MPEG4_TICKS = 65535  # a second, at most
_LEFT = 1  # AVCHROMA_LOC_LEFT
_TRIAL_SIDE = 256  # pixels; some hardware takes no less
_CHROMA_BLOCK = 4  # luma samples that share one of chroma, at most, in a row or column
_RESIZING = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp:param0=0:param1=0.5"


class Coder:
    """One way to encode the frames of a source, which ``info`` describes and which have ``layout``: its encoder, the
    pixel format nearest to theirs for pictures of ``width`` x ``height``, and the conversion into it.

    ``container`` is FFmpeg's name of the muxer, None where there is none. ``promised`` describes what the output will
    carry: the source's colours and HDR metadata, less what encoder or container have no field for. ``warnings`` are
    (code, message) pairs of all that is lost.
    """

    def __init__(
        self, info: VideoInfo, layout: Layout, settings: EncoderSettings, width: int, height: int, container: str | None
    ) -> None:
        self.settings, self.encoder, self.container = settings, settings.encoder(), container
        self.width, self.height = width, height
        self.warnings: list[tuple[str, str]] = []
        wanted = layout
        if self.encoder.name in ("libvpx", "libvpx-vp9") and container not in ("matroska", "webm", None):
            wanted = replace(layout, alpha=False)  # it lies beside the picture's data
        self.pix_fmt, self.layout = choose_format(self.encoder, wanted, width, height)
        if lost := _losses(layout, self.layout):
            self.warnings.append(("format", f"{settings.codec} has {', '.join(lost)}"))
        elif self.layout != choose_format(self.encoder, wanted, width + width % 2, height + height % 2)[1]:
            more, less = _subsampling(self.layout), _subsampling(layout)
            said = f"{settings.codec} has {more} instead of {less}: it subsamples no odd side ({width}x{height})"
            self.warnings.append(("format", said))
        # Grey goes into an encoder without grey as planes of neutral chroma.
        chroma = self.layout.chroma if layout.chroma is None else layout.chroma
        self._source = replace(layout, chroma=chroma, alpha=layout.alpha and self.layout.alpha)
        self._color = info.color
        known = CodecContext.create(self.encoder).supported_options.private
        self.takes_captions = any(option.name == "a53cc" for option in known)
        self._enlarger = VideoReformatter()
        self._graph: av.filter.Graph | None = None
        self._frames = 0
        self._durations: dict[int, int] = {}  # of the frames that are in the encoder, by pts
        # MPEG says one of a few rates and then counts frames (or parts of a second, which are none too fine): such an
        # encoder gets numbers, and its packets the times of the frames that had them.
        coarse = self.encoder.name == "mpeg4" and info.time_base.denominator > _MPEG4_TICKS and container != "avi"
        counts = coarse or self.encoder.name in ("mpeg1video", "mpeg2video")
        self._tick = 1 / (info.rate or _RATE) if counts else None
        self._times = array("q")  # pts by number
        subsampled = self.layout.chroma not in (None, (0, 0))
        location = (info.color.chroma_location or _LEFT) if subsampled else 0
        color = replace(info.color, chroma_location=location)
        self.promised = replace(info, color=color, alpha=self._source.alpha)
        if container is not None:
            self._promise(container)

    def _promise(self, container: str) -> None:
        """Encode a small picture into memory and read it again: what comes back is what the output can carry."""
        held = self._held(container)
        if held is None:
            # An encoder may refuse a tag that it does not know.
            for tag in ("primaries", "transfer", "space"):
                wanted = self.promised
                unspecified: Any = {tag: 2}
                self.promised = replace(wanted, color=replace(wanted.color, **unspecified))
                held = self._held(container)
                self.promised = wanted
                if held is not None:
                    break
            else:
                return
        color = self.promised.color
        wanted_names, held_names = color_names(color), color_names(held.color)
        held_names["color_range"] = held_names["color_range"] or "tv"  # what players take it for
        lost = [tag for tag, name in wanted_names.items() if name is not None and held_names[tag] != name]
        where = f"{self.settings.codec} in {container}"
        if "color_range" in lost:
            lost.remove("color_range")
            # Full range that is taken for limited would be too dark and too bright.
            color = replace(color, range=LIMITED_RANGE)
            self.warnings.append(("color", f"{where} has no full range; converted to limited range"))
        if lost:
            fields = (tag.removeprefix("color_") for tag in lost)
            color = replace(color, **{field: getattr(held.color, field) for field in fields})
            said = ", ".join(f"{tag}={wanted_names[tag]}" for tag in lost)
            self.warnings.append(("color", f"{where} has no field for {said}"))
        mastering, light = self.promised.mastering, self.promised.light
        if mastering and not held.mastering:
            mastering = None
            self.warnings.append(("hdr", f"{where} has no field for the mastering display"))
        if light and not held.light:
            light = None
            self.warnings.append(("hdr", f"{where} has no field for the content light level"))
        aspect = self.promised.sample_aspect
        if (aspect or 1) != (held.sample_aspect or 1):
            self.warnings.append(("aspect", f"{where} has no field for pixels of {aspect}; h264 or .mp4 and .mov have"))
            aspect = None
        self.promised = replace(self.promised, color=color, mastering=mastering, light=light, sample_aspect=aspect)

    def _held(self, container: str) -> VideoInfo | None:
        """What a file says of one small picture that is encoded into it; None where that cannot be found out."""
        side = _TRIAL_SIDE, _TRIAL_SIDE
        shapes = [side, *[self._source.chroma_size(*side)] * 2] if self._source.chroma else [side]
        dtype = np.uint8 if self._source.bits == 8 else np.uint16
        planes = tuple(np.full(shape[::-1], 1 << (self._source.bits - 1), dtype) for shape in shapes)
        frame = Frame(planes, self._source.bits, 0, self.promised.time_base, color=self._color)
        file = io.BytesIO()
        try:
            output = av.open(file, "w", format=container)
            try:
                stream = self.add_stream(output, *side)
                output.mux(self.encode(stream, frame))
                output.mux(self.encode(stream, None))
            finally:
                output.close()
            file.seek(0)
            with av.open(file, "r") as written:
                main = written.streams.video[0]
                return video_info(main, next(iter(written.decode(main)), None))
        except (av.error.FFmpegError, ValueError, IndexError):
            return None
        finally:
            self._graph, self._frames, self._times = None, 0, array("q")  # those of the job are others

    def add_stream(self, container: Any, width: int | None = None, height: int | None = None) -> Any:
        """A stream of an output ``container`` with its encoder open, for pictures of the coder's or another size.

        Raises ``av.error.FFmpegError`` where the encoder takes no such picture.
        """
        rate, time_base = self.promised.rate, self.promised.time_base
        stream = container.add_stream(self.encoder.name, rate=rate or _RATE)
        context = stream.codec_context
        if self.container == "avi":
            # AVI counts frames, at the rate: one tick each, and no B-frames.
            time_base = 1 / (rate or _RATE)
            context.max_b_frames = 0
        stream.time_base = time_base
        if self.encoder.canonical_name == "hevc" and self.container in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # what Apple's players ask for
        self.open(context, time_base, width or self.width, height or self.height)
        return stream

    def open(self, context: Any, time_base: Fraction, width: int, height: int) -> None:
        """Set and open ``context``, an encoder's, for pictures of that size with pts in ``time_base`` units."""
        info, color = self.promised, self.promised.color
        context.time_base = self._tick or time_base
        context.width, context.height, context.pix_fmt = width, height, self.pix_fmt
        context.flags |= _FRAME_DURATION
        context.sample_aspect_ratio = info.sample_aspect or 0
        context.color_range, context.colorspace = color.range, color.space
        context.color_primaries, context.color_trc = color.primaries, color.transfer
        options = picture_options(self.encoder, info, self.layout, width, height)
        if location := CHROMA_LOCATIONS.get(color.chroma_location):
            options.append(("chroma_sample_location", location))
        if self.takes_captions:
            options.append(("a53cc", "1"))
        open_context(context, self.settings, options)

    def encode(self, encoder: Any, frame: Frame | None) -> list[av.Packet]:
        """The packets that ``encoder``, a stream or context which this coder has opened, gives for one more frame;
        None ends them."""
        if frame is not None:
            self._frames += 1
            if frame.duration and frame.pts is not None:
                self._durations[frame.pts] = frame.duration
        picture = None if frame is None else self.picture(frame)
        if picture is not None and self._tick:
            self._times.append(picture.pts or 0)
            picture.pts, picture.time_base, picture.duration = len(self._times) - 1, self._tick, 1
        packets: list[av.Packet] = encoder.encode(picture)
        for packet in packets:
            if self._tick:
                self._restore_times(packet)
            if packet.pts is not None:
                # Not all encoders pass it on, and the last frame of an uneven video has no other.
                packet.duration = self._durations.pop(packet.pts, packet.duration or 0)
            if frame is None and self._frames <= 2:
                packet.dts = packet.pts  # x265 leaves it to chance where it has too few frames to change their order
        return packets

    def _restore_times(self, packet: av.Packet) -> None:
        """Give the packet of a numbered frame that frame's time, and its time of decoding likewise."""
        assert self._tick is not None and packet.pts is not None
        unit = self._tick if self.container == "avi" else self.promised.time_base
        number = packet.pts if packet.dts is None else packet.dts
        ahead = min(0, number) * max(1, round(self._tick / unit))
        packet.pts, packet.dts = self._times[packet.pts], self._times[max(0, number)] + ahead
        packet.time_base = unit

    def refusal(self, what: BaseException) -> str:
        """What to say where the encoder does not take the pictures, and what to do."""
        pictures = f"{self.width}x{self.height} ({self.pix_fmt}) at {float(self.promised.rate or _RATE):.6g} a second"
        reason = getattr(what, "strerror", None) or what
        remedy = "choose another codec or a smaller size"
        return f"{self.settings.codec} cannot encode pictures of {pictures}: {reason}; {remedy}"

    def picture(self, frame: Frame) -> av.VideoFrame:
        """``frame`` as the encoder takes it."""
        color = self.promised.color
        ranges = ["full" if c.range == FULL_RANGE else "limited" for c in (self._color, color)]
        moved = color.chroma_location and self._color.chroma_location not in (0, color.chroma_location)
        width, height = frame.width, frame.height
        if self._source.pix_fmt == self.pix_fmt and ranges[0] == ranges[1] and not moved:
            picture = self._planar(frame, width, height)
        else:
            # Whole chroma samples: swscale would stretch those of an odd side.
            wide, high = width + -width % _CHROMA_BLOCK, height + -height % _CHROMA_BLOCK
            if self._graph is None:
                self._graph = self._conversion(wide, high, f"{width}:{height}", ranges)
            self._graph.push(self._planar(frame, wide, high))
            picture = self._graph.vpull()
            if self.layout.alpha:
                views(picture)[-1][...] = self._alpha(frame)  # swscale rounds it
        picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration or 0
        picture.color_range, picture.colorspace = color.range, color.space
        picture.color_primaries, picture.color_trc = color.primaries, color.transfer
        return picture

    def _planar(self, frame: Frame, width: int, height: int) -> av.VideoFrame:
        """``frame`` in its own format, its last row and column repeated to that size."""
        picture = self._blank(frame, width, height)
        planes: list[np.ndarray | None] = [*frame.planes, *[None] * (2 if len(frame.planes) == 1 else 0)]
        if self._source.chroma is None:
            del planes[1:]
        if self._source.alpha:
            planes.append(self._alpha(frame))
        for plane, values in zip(views(picture), planes, strict=True):
            if values is None:  # neutral chroma
                plane.fill(1 << (frame.bits - 1))
                continue
            rows, columns = values.shape
            plane[:rows, :columns] = values
            plane[:rows, columns:] = values[:, -1:]
            plane[rows:] = plane[rows - 1]
        return picture

    def _blank(self, frame: Frame, width: int, height: int) -> av.VideoFrame:
        """A picture to be filled; one that brings the closed captions of ``frame`` where the encoder takes them."""
        if not isinstance(frame.captions, av.VideoFrame) or not self.takes_captions:
            return av.VideoFrame(width, height, self._source.pix_fmt)
        # PyAV attaches no side data to a picture, but those of another go with it through a conversion.
        picture = self._enlarger.reformat(
            frame.captions, width, height, self._source.pix_fmt, interpolation=Interpolation.POINT, threads=1
        )
        picture.pict_type = 0  # the encoder's choice
        return picture

    def _alpha(self, frame: Frame) -> np.ndarray:
        """The opacity of ``frame`` in the encoder's depth, where opaque is all ones."""
        peak, top = (1 << frame.bits) - 1, (1 << self.layout.bits) - 1
        if frame.alpha is None:
            return np.full(frame.luma.shape, top, np.uint16 if self.layout.bits > 8 else np.uint8)
        if peak == top:
            return frame.alpha
        return ((frame.alpha.astype(np.uint32) * top + peak // 2) // peak).astype(np.uint16 if top > 255 else np.uint8)

    def _conversion(self, width: int, height: int, crop: str, ranges: list[str]) -> av.filter.Graph:
        """From the source's format, range and chroma location to the output's, then cut to size ``crop``.

        Everything is stated on both sides, or swscale has ideas of its own. One thread: see ``Planar``.
        """
        sites = [CHROMA_LOCATIONS.get(c.chroma_location, "left") for c in (self._color, self.promised.color)]
        stated = f"in_range={ranges[0]}:out_range={ranges[1]}:in_chroma_loc={sites[0]}:out_chroma_loc={sites[1]}"
        graph = av.filter.Graph()
        graph.threads = 1
        size = {"video_size": f"{width}x{height}", "pixel_aspect": "1/1", "time_base": "1/1"}
        graph.link_nodes(
            graph.add("buffer", pix_fmt=self._source.pix_fmt, **size),
            graph.add("scale", f"{_RESIZING}:{stated}"),
            graph.add("format", self.pix_fmt),
            graph.add("crop", f"{crop}:0:0:exact=1"),
            graph.add("buffersink"),
        ).configure()
        return graph


def _losses(source: Layout, target: Layout) -> list[str]:
    """In words, what of ``source`` does not fit into ``target``."""
    said = []
    if target.bits < source.bits:
        said.append(f"{target.bits} bits instead of {source.bits}")
    coarser = zip(target.chroma or (0, 0), source.chroma or (4, 4), strict=True)
    if any(t > s for t, s in coarser):
        said.append(f"{_subsampling(target)} instead of {_subsampling(source)}")
    if source.alpha and not target.alpha:
        said.append("no alpha")
    return said


def _subsampling(layout: Layout) -> str:
    digits = re.search(r"4\d\d", layout.pix_fmt)
    return ":".join(digits[0]) if digits else "grey"


def trial(
    frames: Sequence[Frame], source: Decoder, settings: EncoderSettings, resolution: Resolution
) -> tuple[float, int, int]:
    """Encode a few upscaled ``frames`` of ``source`` as a job would, into nothing: the seconds that it took, the bytes
    of the first packet (a key frame), and those of all others together. Raises ``OutputError`` where the encoder takes
    no such picture."""
    width, height = resolution.width, resolution.height
    coder = Coder(source.info, source.layout, settings, width, height, None)
    context: Any = CodecContext.create(coder.encoder)
    context.framerate = source.info.rate or _RATE
    context.flags |= _GLOBAL_HEADER
    try:
        coder.open(context, source.info.time_base, width, height)
        begun = time.perf_counter()
        sizes = [packet.size for frame in (*frames, None) for packet in coder.encode(context, frame)]
    except av.error.FFmpegError as error:
        raise OutputError(f"{source.path}: {coder.refusal(error)}") from error
    return time.perf_counter() - begun, sum(sizes[:1]), sum(sizes[1:])
