"""Training pairs from real codecs: what a decoder gives of a low-resolution clip, beside what that was shrunk from.

Photographs are panned over by whole pixels of the high resolution, which are fractions of a pixel of the low one, so
that no target is ever interpolated; real clips are halved first, which hides how they were compressed themselves.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from vsr.media.pixels import views
from vsr.media.probe import side_data
from vsr.media.quantizer import Quantizers, as_h264, qp_of_index
from vsr.models.family import coarseness, sharpness
from vsr.quality.protocol import crop_to_multiple, imresize, load_luma
from vsr.training.data import FOLDERS, SHRINKS, twin, twins
from vsr.training.drawn import page
from vsr.training.recipes import Recipe

# Real clips that train. None of them, nor another of the same film, is among those that tests/compression.py measures.
CLIPS = ("imageio/cockatoo_yuv420.mp4", "mdn-shared-assets/bug_video_640.mp4", "moviepy/chaplin.mp4",
         "pyscenedetect/issue-195-aspect-ratio.mp4", "androidx-media/sample_without_stss.mp4")
FRAMES = 8  # of a clip
KEPT = 2  # of them become pairs
SEGMENTS = 24  # pieces of a real clip, at most
ROUNDS = 3  # clips made of every photograph and piece, each by another codec and quality
WINDOW = 288  # at most so many high-resolution pixels a side
FASTEST = 6  # high-resolution pixels that a picture is panned by from frame to frame
LEAST = 64  # low-resolution pixels a side: below, HEVC and AV1 are left alone


@dataclass(frozen=True)
class Codec:
    """An encoder: how often it is drawn, the range of its ``crf``, its presets, and what decodes it."""

    encoder: str
    decoder: str
    share: float
    crf: tuple[int, int]
    presets: tuple[dict[str, str], ...]


CODECS = {  # x264's tree of macroblocks is not the same each time with AVX-512
    "h264": Codec("libx264", "h264", 0.45, (8, 40), tuple(
        {"preset": p, "x264-params": "asm=SSE4.2"} for p in ("veryfast", "fast", "medium"))),
    "hevc": Codec("libx265", "hevc", 0.2, (8, 40), tuple(
        {"preset": p, "x265-params": "log-level=none:pools=none:frame-threads=1"} for p in ("veryfast", "fast"))),
    "vp9": Codec("libvpx-vp9", "vp9", 0.2, (4, 60), tuple(
        {"cpu-used": p, "deadline": "good", "b": "0"} for p in ("4", "6"))),
    "av1": Codec("libsvtav1", "libdav1d", 0.15, (8, 62), tuple(
        {"preset": p, "svtav1-params": "lp=1"} for p in ("8", "10"))),
}
os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 says on stderr how it is set up, unless this is 1
_LAMBDA = 118  # FF_QP2LAMBDA: the unit of encoders' statistics
# An entry of the index: the low picture's sides, where it starts in the file of all of them, the mean of its clip, its
# codec and the type of its frame.
ENTRY = np.dtype([("height", "<i4"), ("width", "<i4"), ("start", "<i8"), ("coarseness", "<f4"), ("codec", "U4"),
                  ("kind", "U1")])

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Coded:
    """A clip as its decoder gives it: luma and type of each frame, the QPs (as H.264's), the bytes of each packet."""

    luma: list[np.ndarray]
    quantizers: list[float]
    kinds: list[str]
    sizes: list[int]


def material(recipe: Recipe, training: list[Path], held_out: list[Path], data: Path, cache: Path
             ) -> tuple[list[Pair], list[Pair]]:
    """The (low, high) pairs that a recipe trains on, and those of the pictures that are kept out of it."""
    if recipe.coarseness is None:
        sharp = [path for path in training if path.parent == data / FOLDERS["t91"]]
        others = [path for path in training if path not in sharp]
        rng = np.random.default_rng(recipe.seed)
        pages = [twin(page(rng), recipe.scale) for _ in range(recipe.pages)]
        return ([*twins(sharp, recipe.scale, recipe.shrinks), *twins(others, recipe.scale, recipe.photograph_shrinks),
                 *pages], list(twins(held_out, recipe.scale, (1.0,))))
    videos = [data / "video" / name for name in CLIPS]
    return (compressed_twins(training, videos, recipe.scale, recipe.coarseness, cache)
            + (compressed_twins((), (), recipe.scale, recipe.coarseness, cache, recipe.pages) if recipe.pages else []),
            compressed_twins(held_out, (), recipe.scale, recipe.coarseness, cache))


def compressed_twins(photographs: Sequence[Path], videos: Sequence[Path], scale: int,
                     within: tuple[float, float], cache: Path, pages: int = 0) -> list[Pair]:
    """(low, high) pairs, uint8 luma of (H, W) and (n·H, n·W), of clips whose mean `family.coarseness` is ``within``.
    The clips show the photographs, so many drawn ``pages`` (`drawn.page`) and the videos.

    All pairs of a scale are made once, and kept in ``cache``: NAME.low and NAME.high, flat and mapped into memory, and
    NAME.npy, the index. They depend on what the clips show and on the scale alone.
    """
    names = " ".join([*(path.name for path in (*photographs, *videos)), *(f"page {number}" for number in range(pages))])
    name = f"clips_x{scale}_{zlib.crc32(names.encode()):08x}"
    files = [cache / f"{name}.{suffix}" for suffix in ("low", "high", "npy")]
    if not files[-1].exists():
        cache.mkdir(parents=True, exist_ok=True)
        parts = [path.with_name(f"{path.name}.part") for path in files]
        _write(photographs, pages, videos, scale, *parts)
        for part, path in zip(parts, files, strict=True):  # the index last: where it is, all is there
            os.replace(part, path)
    flat_low, flat_high = (np.memmap(path, np.uint8, "r") for path in files[:2])
    pairs = []
    for entry in np.load(files[-1]):
        if within[0] <= entry["coarseness"] <= within[1]:
            height, width, start = (int(entry[key]) for key in ("height", "width", "start"))
            low = flat_low[start:start + height * width].reshape(height, width)
            area = scale * scale
            high = flat_high[area * start:area * (start + height * width)].reshape(scale * height, scale * width)
            pairs.append((low, high))
    return pairs


def _write(photographs: Sequence[Path], pages: int, videos: Sequence[Path], scale: int, lows: Path, highs: Path,
           index: Path) -> None:
    entries: list[tuple[Any, ...]] = []
    start = 0
    with open(lows, "wb") as low_file, open(highs, "wb") as high_file:
        for high, rng in _clips(photographs, pages, videos, scale):
            low = [np.clip(np.round(imresize(each, 1 / scale)), 0, 255).astype(np.uint8) for each in high]
            names = [name for name in CODECS if min(low[0].shape) >= LEAST or name in ("h264", "vp9")]
            shares = np.array([CODECS[name].share for name in names])
            name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
            codec = CODECS[name]
            crf, preset = rng.integers(*codec.crf, endpoint=True), rng.integers(len(codec.presets))
            coded = through(name, low, {"crf": str(crf), **codec.presets[preset]})
            sharp = [sharpness(luma, 8) for luma in coded.luma]
            mean = coarseness(float(np.mean(coded.quantizers)), float(np.mean(sharp)))
            for number in sorted(rng.choice(len(high), min(KEPT, len(high)), replace=False)):
                luma = coded.luma[number]
                low_file.write(luma.tobytes())
                high_file.write(high[number].tobytes())
                entries.append((*luma.shape, start, mean, name, coded.kinds[number]))
                start += luma.size
    with open(index, "wb") as file:
        np.save(file, np.array(entries, ENTRY))


def _clips(photographs: Sequence[Path], pages: int, videos: Sequence[Path], scale: int
           ) -> Iterator[tuple[list[np.ndarray], np.random.Generator]]:
    """The high-resolution frames of every clip, uint8, with sides of whole low-resolution chroma samples, and what is
    random about it further on."""
    for path in photographs:
        luma = load_luma(path)
        for number in range(ROUNDS):
            rng = np.random.default_rng([zlib.crc32(path.name.encode()), scale, number])
            if min(luma.shape) >= FRAMES * FASTEST + 2 * scale:
                yield _panned(luma, scale, rng), rng
    for number in range(pages * ROUNDS):
        rng = np.random.default_rng([scale, number])
        yield _panned(page(rng), scale, rng), rng
    for path in videos:
        luma_frames = _read(path)
        pieces = range(0, len(luma_frames) - FRAMES + 1, max(FRAMES, len(luma_frames) // SEGMENTS))
        for first in pieces:
            piece = luma_frames[first:first + FRAMES]
            for number in range(ROUNDS):
                rng = np.random.default_rng([zlib.crc32(path.name.encode()), scale, number, first])
                top, left = (int(rng.integers(max(0, side - WINDOW) + 1)) for side in piece[0].shape)
                window = [frame[top:top + WINDOW, left:left + WINDOW] for frame in piece]
                yield [crop_to_multiple(frame, 2 * scale) for frame in window], rng


def _panned(luma: np.ndarray, scale: int, rng: np.random.Generator) -> list[np.ndarray]:
    """A clip of windows that move over a picture, straight on and, for every fourth, not at all."""
    shrink = rng.choice(SHRINKS)
    if shrink < 1 and min(luma.shape) * shrink >= FRAMES * FASTEST + scale * LEAST:
        luma = np.clip(np.round(imresize(luma, shrink)), 0, 255).astype(np.uint8)
    speed = rng.integers(-FASTEST, FASTEST, 2, endpoint=True) * (rng.random() > 0.25)
    room = np.array(luma.shape) - (FRAMES - 1) * np.abs(speed)
    sides = np.minimum(room, WINDOW) // (2 * scale) * (2 * scale)
    corner = rng.integers(room - sides, endpoint=True) + np.where(speed < 0, (FRAMES - 1) * -speed, 0)
    places = corner + np.arange(FRAMES)[:, None] * speed
    return [luma[y:y + sides[0], x:x + sides[1]] for y, x in places]


def _read(path: Path) -> list[np.ndarray]:
    """The luma of a real clip at half its size, (H // 2, W // 2) uint8."""
    with av.open(str(path)) as container:
        frames = (crop_to_multiple(views(frame)[0], 2) for frame in container.decode(video=0))
        return [np.clip(np.round(imresize(frame, 0.5)), 0, 255).astype(np.uint8) for frame in frames]


def through(name: str, frames: Sequence[np.ndarray], options: dict[str, str]) -> Coded:
    """Luma frames (H, W) uint8 of even sides, all alike, as a codec gives them back from 4:2:0 without colour."""
    codec, (height, width) = CODECS[name], frames[0].shape
    encoder = av.CodecContext.create(codec.encoder, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.thread_count, encoder.options = 1, options
    packets = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame(width, height, "yuv420p")
        for plane, value in zip(views(picture), (frame, 128, 128), strict=True):
            plane[...] = value
        picture.pts, picture.time_base = number, encoder.time_base
        packets += encoder.encode(picture)
    packets += encoder.encode(None)

    decoder = av.CodecContext.create(codec.decoder, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count, decoder.options = 1, {"export_side_data": "venc_params"}
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    pictures = [picture for packet in (*packets, None) for picture in decoder.decode(packet)]
    kinds = [PictureType(picture.pict_type).name for picture in pictures]
    luma = [views(picture)[0].copy() for picture in pictures]
    if name in ("h264", "vp9"):
        follow = Quantizers(name)
        told = [follow(plane, 8, kind == "B", side_data(picture, "VIDEO_ENC_PARAMS"))
                for plane, kind, picture in zip(luma, kinds, pictures, strict=True)]
        quantizers = [qp for qp in told if qp is not None]
    else:  # these decoders tell nothing, but the encoders do
        stats = [bytes(packet.get_sidedata("quality_stats")) for packet in packets]
        quantizers = [int.from_bytes(each[:4], "little") / _LAMBDA for each in stats]
        if name == "av1":
            quantizers = [qp_of_index(4 * each) for each in quantizers]  # of 64 for its users, of 256 in the stream
        quantizers = [as_h264(name, each) for each in quantizers]
    return Coded(luma, quantizers, kinds, [packet.size for packet in packets])
