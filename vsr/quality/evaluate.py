"""The scores of models on pictures or a video, beside bicubic's, by the papers' test protocol."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsr.errors import InputError, UsageError
from vsr.frame import Frame
from vsr.media.picture import still_format
from vsr.models.catalogue import Weights, find, load, load_file
from vsr.quality.metrics import WINDOW, Metrics, average, score, to_bytes
from vsr.quality.protocol import crop_to_multiple, frame_luma, imresize, list_images, load_luma
from vsr.quality.vmaf import Vmaf

if TYPE_CHECKING:
    from vsr.engines.contract import Engine

_BASELINE = ""  # bicubic, among models that have names
_TOLD = {"deinterlaced", "gap", "growing"}  # what a decoder says of the pictures themselves, by its codes
Upscale = Callable[[np.ndarray], np.ndarray]  # low (H, W) float32 luma codes -> (n·H, n·W) float luma codes
Warn = Callable[[str], object]  # takes what an engine or a video has to say to its user


@dataclass(frozen=True, kw_only=True)
class Score(Metrics):
    """A model's scores on one picture or video, or the average of many, with ``bicubic``'s beside them.

    ``seconds`` are those of the model alone for one picture, luma in memory to memory; ``frames`` counts a video's
    that were scored, None for a picture.
    """

    name: str
    bicubic: Metrics
    seconds: float
    frames: int | None = None

    def to_json(self, timed: bool) -> dict[str, Any]:
        """Rounded numbers; null for an infinite PSNR and what there is not, but no VMAF where none was measured."""
        found: dict[str, Any] = {}
        for prefix, metrics in (("", self), ("bicubic_", self.bicubic)):
            for key in ("psnr", "ssim", "ms_ssim", "vmaf"):
                value = getattr(metrics, key)
                if key != "vmaf" or value is not None:
                    found[prefix + key] = None if value is None or math.isinf(value) else round(value, 4)
        if self.frames is not None:
            found["frames"] = self.frames
        return found | ({"seconds": round(self.seconds, 5)} if timed else {})


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model at one scale."""

    model: str
    scale: int
    images: list[Score]

    @property
    def average(self) -> Score:
        return Score(name="average", **asdict(average(self.images)),
                     bicubic=average([each.bicubic for each in self.images]),
                     seconds=math.fsum(each.seconds for each in self.images) / len(self.images))

    def to_json(self, timed: bool = False) -> dict[str, Any]:
        images = [{"name": each.name, **each.to_json(timed)} for each in self.images]
        return {"v": 1, "model": self.model, "scale": self.scale, "images": images,
                "average": self.average.to_json(timed)}


def evaluate(data: Path, model: str, scale: int, upscale: Upscale) -> Evaluation:
    """One model on ``data``; raises as `scores`."""
    return Evaluation(model, scale, [found[model] for found in scores(data, scale, {model: upscale})])


def scores(data: Path, scale: int, models: Mapping[str, Upscale], *, frames: int | None = None, vmaf: bool = False,
           warn: Warn | None = None) -> Iterator[dict[str, Score]]:
    """The scores of ``models``, by name, on each picture of a folder, or on a picture or video alone.

    Of a video they are the average over its frames, or its first ``frames``; one at a time is in memory. With
    ``vmaf``, which `has_vmaf` must allow, VMAF too. What a video's decoder has to say goes to ``warn``. Raises
    InputError where there is no picture, or one that cannot be read or is too small.
    """
    for upscale in models.values():
        upscale(np.full((16, 16), 128, np.float32))  # what is done only once is in no picture's time
    for path in files(data):
        still = path != data or still_format(path) is not None
        with contextlib.closing(_stills(path) if still else _video(path, frames, warn)) as lumas:
            found = _score(path, lumas, scale, models, vmaf)
        yield {name: replace(each, frames=None) for name, each in found.items()} if still else found


def files(data: Path) -> list[Path]:
    """The pictures of a folder, or the one file. Raises InputError for a folder without a picture."""
    return list_images(data) if os.path.isdir(data) else [data]


def _stills(path: Path) -> Generator[np.ndarray]:
    yield load_luma(path)


def _video(path: Path, frames: int | None, warn: Warn | None) -> Generator[np.ndarray]:
    from vsr.media.decode import Decoder

    with Decoder(path) as source:
        for frame in itertools.islice((item for item in source if isinstance(item, Frame)), frames):
            yield frame_luma(frame)
        said = [message for code, message in source.warnings if code in _TOLD]
        if source.damaged:
            said.append(f"{path}: {source.damaged} packets or places could not be decoded")
        if warn:
            for message in said:
                warn(message)


def _score(path: Path, lumas: Iterable[np.ndarray], scale: int, models: Mapping[str, Upscale],
           vmaf: bool) -> dict[str, Score]:
    """Shrink each picture, enlarge it by bicubic and each model, shave ``scale`` pixels off each side, compare; the
    averages, by model."""
    ways: dict[str, Upscale] = {_BASELINE: lambda low: imresize(low, scale), **models}
    found: dict[str, list[Metrics]] = {name: [] for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    meters: dict[str, Vmaf] = {}
    with contextlib.ExitStack() as stack:
        for luma in lumas:
            truth = crop_to_multiple(luma, scale)
            if min(truth.shape) < WINDOW + 2 * scale:
                height, width = luma.shape
                raise InputError(f"{path} is too small to score at scale {scale}: {width}x{height} pixels")
            low = imresize(truth, 1 / scale).astype(np.float32)
            inner = np.s_[scale:-scale, scale:-scale]
            truth = truth[inner]
            for name, upscale in ways.items():
                start = time.perf_counter()
                high = upscale(low)
                seconds[name] += time.perf_counter() - start
                picture = to_bytes(high)[inner]
                found[name].append(score(picture, truth))
                if vmaf and name not in meters:
                    meters[name] = stack.enter_context(Vmaf(*truth.shape))
                if vmaf:
                    meters[name].add(picture, truth)
        means = {name: replace(average(found[name]), vmaf=meters[name].score() if vmaf else None) for name in ways}
    count = len(found[_BASELINE])
    return {name: Score(name=path.name, **asdict(means[name]), bicubic=means[_BASELINE], seconds=seconds[name] / count,
                        frames=count) for name in models}


def model_upscale(model: str | Path, scale: int, engine: str | None = None, precision: str = "auto", bits: int = 16,
                  border: str | None = None, warn: Warn | None = None) -> tuple[str, Upscale]:
    """A model's name and its function: the float network (the papers' measure), or an engine where one is named.

    ``model`` is a name of the catalogue or a weight file; the engine has luma of ``bits`` bits, and what it has to say
    goes to ``warn``. ``border``, one of `vsr.models.networks.BORDERS`, is for the float network instead of its own,
    bicubic has none. Raises UsageError for an unknown model, scale or engine, and for a network for colours.
    """
    source: str | Weights = load_file(model, scale) if isinstance(model, Path) else model
    name = str(model)
    if engine:
        from vsr.engines import open_engine

        return name, through_engine(open_engine(source, scale, bits, precision=precision, engine=engine), warn)
    if isinstance(source, str):
        if not find(source, scale).files:
            return name, lambda low: imresize(low, scale)
        source = load(source, scale)
    if source.network.channels != 1:
        raise UsageError(f"'{name}' takes {source.network.channels} channels, and what is scored is luma")
    if border:
        source = replace(source, network=replace(source.network, border=border))
    return name, network(source)


def network(weights: Weights) -> Upscale:
    """The float network of ``weights`` (PyTorch, fp32), with the 8-bit integers of weights that have them."""
    import torch

    from vsr.models.fsrcnn import Net

    net = Net.from_weights(weights).eval()

    @torch.inference_mode()
    def upscale(low: np.ndarray) -> np.ndarray:
        return net(torch.from_numpy(low / np.float32(255))[None, None])[0, 0].numpy() * 255

    return upscale


def through_engine(engine: Engine, warn: Warn | None = None) -> Upscale:
    """An engine as the protocol's float function. With 16 bits codes are 1/256 of an 8-bit level, far below what PSNR
    sees; with 8 the low picture is rounded to bytes first, as a video's frames are. Its warnings go to ``warn``."""
    level = 1 << engine.bits - 8

    def upscale(low: np.ndarray) -> np.ndarray:
        codes = np.clip(np.round(low * level), 0, 256 * level - 1).astype(np.uint8 if engine.bits == 8 else np.uint16)
        made = engine.upscale(codes).astype(np.float32) / level
        while engine.warnings:
            _, message = engine.warnings.popleft()
            if warn:
                warn(message)
        return made

    return upscale
