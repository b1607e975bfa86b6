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

from vsr.errors import EngineError, InputError, UsageError
from vsr.frame import Frame
from vsr.media.picture import still_format
from vsr.models.catalogue import Weights, find, load, load_file
from vsr.quality.metrics import WINDOW, Metrics, average, psnr, score, to_bytes
from vsr.quality.protocol import (
    crop_to_multiple,
    frame_luma,
    imresize,
    list_images,
    load_luma,
    load_rgb,
    rgb_to_ycbcr,
    ycbcr_to_rgb,
)
from vsr.quality.vmaf import Vmaf

if TYPE_CHECKING:
    from vsr.engines.contract import Engine

_BASELINE = ""  # bicubic, among models that have names
_TOLD = {"deinterlaced", "gap", "growing"}  # what a decoder says of the pictures themselves, by its codes
Upscale = Callable[[np.ndarray], np.ndarray]  # low (…, H, W) float32 codes -> (…, n·H, n·W) float codes
Warn = Callable[[str], object]  # takes what an engine or a video has to say to its user


@dataclass(frozen=True)
class InColours:
    """An `Upscale` of three planes (3, H, W) of ``colours``, 'YCbCr' or 'RGB'; others are of luma (H, W), and leave
    chroma to bicubic interpolation."""

    colours: str
    upscale: Upscale

    def __call__(self, low: np.ndarray) -> np.ndarray:
        return self.upscale(low)


def colours_of(upscale: Upscale) -> str:
    """'Y', 'YCbCr' or 'RGB'."""
    return upscale.colours if isinstance(upscale, InColours) else "Y"


@dataclass(frozen=True)
class Planes:
    """A picture: ``ycbcr`` is luma alone, (1, H, W), or with colours (3, H, W) beside ``rgb``; ``grey`` as
    `vsr.quality.protocol` has it."""

    ycbcr: np.ndarray
    rgb: np.ndarray | None = None
    grey: bool = False

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Planes:
        """With ``change`` made to all of them."""
        return replace(self, ycbcr=change(self.ycbcr), rgb=None if self.rgb is None else change(self.rgb))

    def of(self, colours: str) -> np.ndarray:
        """What an `Upscale` of them takes."""
        planes = self.rgb if colours == "RGB" else self.ycbcr[0] if colours == "Y" else self.ycbcr
        assert planes is not None
        return planes

    def compare(self, made: np.ndarray, colours: str) -> tuple[Metrics, np.ndarray]:
        """The scores of planes (c, H, W) uint8 of ``colours`` against these, and their luma (H, W)."""
        ycbcr = rgb_to_ycbcr(made, self.grey) if colours == "RGB" else made
        found = score(ycbcr[0], self.ycbcr[0])
        if self.rgb is not None:
            rgb = made if colours == "RGB" else ycbcr_to_rgb(made, self.grey)
            cb, cr = map(psnr, ycbcr[1:], self.ycbcr[1:])
            found = replace(found, cb=cb, cr=cr, rgb=psnr(rgb, self.rgb))
        return found, ycbcr[0]


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

    def to_json(self, timed: bool = False) -> dict[str, Any]:
        """Rounded numbers; null for an infinite PSNR and what there is not, but no VMAF, and nothing of colours, where
        none was measured."""
        found: dict[str, Any] = {}
        for prefix, metrics in (("", self), ("bicubic_", self.bicubic)):
            for key in ("psnr", "ssim", "ms_ssim", "vmaf", "cb", "cr", "rgb"):
                value = getattr(metrics, key)
                if key == "ms_ssim" or value is not None:
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


def evaluate(data: Path, model: str, scale: int, upscale: Upscale, colours: bool = False) -> Evaluation:
    """One model on ``data``; raises as `scores`."""
    return Evaluation(model, scale, [found[model] for found in scores(data, scale, {model: upscale}, colours=colours)])


def scores(data: Path, scale: int, models: Mapping[str, Upscale], *, frames: int | None = None, vmaf: bool = False,
           colours: bool = False, warn: Warn | None = None) -> Iterator[dict[str, Score]]:
    """The scores of ``models``, by name, on each picture of a folder, or on a picture or video alone.

    Of a video they are the average over its frames, or its first ``frames``; one at a time is in memory. With
    ``vmaf``, which `has_vmaf` must allow, VMAF too. With ``colours``, which models `InColours` need, PSNR of chroma and
    RGB [P16, table 5]. What a video's decoder has to say goes to ``warn``. Raises InputError where there is no picture,
    or one that cannot be read or is too small, UsageError for colours of a video.
    """
    for upscale in models.values():  # what is done only once is in no picture's time
        upscale(np.full((16, 16) if colours_of(upscale) == "Y" else (3, 16, 16), 128, np.float32))
    for path in files(data):
        still = path != data or still_format(path) is not None
        with contextlib.closing(_still(path, colours) if still else _video(path, frames, colours, warn)) as pictures:
            found = _score(path, pictures, scale, models, vmaf)
        yield {name: replace(each, frames=None) for name, each in found.items()} if still else found


def files(data: Path) -> list[Path]:
    """The pictures of a folder, or the one file. Raises InputError for a folder without a picture."""
    return list_images(data) if os.path.isdir(data) else [data]


def _still(path: Path, colours: bool) -> Generator[Planes]:
    if colours:
        rgb, grey = load_rgb(path)
        yield Planes(rgb_to_ycbcr(rgb, grey), rgb, grey)
    else:
        yield Planes(load_luma(path)[None])


def _video(path: Path, frames: int | None, colours: bool, warn: Warn | None) -> Generator[Planes]:
    from vsr.media.decode import Decoder

    with Decoder(path) as source:
        if colours:
            raise UsageError(f"{path} is a video, of which only luma is scored; colours are scored on pictures")
        for frame in itertools.islice((item for item in source if isinstance(item, Frame)), frames):
            yield Planes(frame_luma(frame)[None])
        said = [message for code, message in source.warnings if code in _TOLD]
        if source.damaged:
            said.append(f"{path}: {source.damaged} packets or places could not be decoded")
        if warn:
            for message in said:
                warn(message)


def _score(path: Path, pictures: Iterable[Planes], scale: int, models: Mapping[str, Upscale],
           vmaf: bool) -> dict[str, Score]:
    """Shrink each picture, enlarge it by bicubic and each model, shave ``scale`` pixels off each side, compare; the
    averages, by model."""
    def shaved(planes: np.ndarray) -> np.ndarray:
        return planes[..., scale:-scale, scale:-scale]

    ways: dict[str, Upscale] = {_BASELINE: lambda low: imresize(low, scale), **models}
    found: dict[str, list[Metrics]] = {name: [] for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    meters: dict[str, Vmaf] = {}
    with contextlib.ExitStack() as stack:
        for picture in pictures:
            truth = picture.each(lambda planes: crop_to_multiple(planes, scale))
            if min(truth.ycbcr.shape[1:]) < WINDOW + 2 * scale:
                height, width = picture.ycbcr.shape[1:]
                raise InputError(f"{path} is too small to score at scale {scale}: {width}x{height} pixels")
            low = truth.each(lambda planes: imresize(planes, 1 / scale).astype(np.float32))
            chroma = imresize(low.ycbcr[1:], scale)
            truth = truth.each(shaved)
            for name, upscale in ways.items():
                colours = colours_of(upscale)
                given = low.of(colours)
                start = time.perf_counter()
                high = upscale(given)
                seconds[name] += time.perf_counter() - start
                if colours == "Y":
                    high = np.stack([high, *chroma])
                metrics, luma = truth.compare(shaved(to_bytes(high)), colours)
                found[name].append(metrics)
                if vmaf and name not in meters:
                    meters[name] = stack.enter_context(Vmaf(*luma.shape))
                if vmaf:
                    meters[name].add(luma, truth.ycbcr[0])
        means = {name: replace(average(found[name]), vmaf=meters[name].score() if vmaf else None) for name in ways}
    count = len(found[_BASELINE])
    return {name: Score(name=path.name, **asdict(means[name]), bicubic=means[_BASELINE], seconds=seconds[name] / count,
                        frames=count) for name in models}


def model_upscale(model: str | Path, scale: int, engine: str | None = None, precision: str = "auto", bits: int = 16,
                  border: str | None = None, warn: Warn | None = None) -> tuple[str, Upscale]:
    """A model's name and its function: the float network (the papers' measure), or an engine where one is named.

    ``model`` is a name of the catalogue or a weight file; the engine has luma of ``bits`` bits, and what it has to say
    goes to ``warn``. ``border``, one of `vsr.models.networks.BORDERS`, is for the float network instead of its own,
    bicubic has none. Raises UsageError for an unknown model, scale or engine, and for an engine of a network for
    colours.
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
    if border:
        source = replace(source, network=replace(source.network, border=border))
    return name, network(source)


def network(weights: Weights) -> Upscale:
    """The float network of ``weights`` (PyTorch, fp32), with the 8-bit integers of weights that have them; `InColours`
    where they are for colours. It raises EngineError where they make numbers that are not finite.
    """
    import torch

    from vsr.models.fsrcnn import Net

    net = Net.from_weights(weights).eval()

    @torch.inference_mode()
    def upscale(low: np.ndarray) -> np.ndarray:
        high = net(torch.from_numpy(low / np.float32(255)).reshape(1, -1, *low.shape[-2:]))[0].numpy() * 255
        if not np.isfinite(high).all():
            raise EngineError(f"the weights of '{weights.name}' make numbers beyond all bounds")
        return high[0] if low.ndim == 2 else high

    return upscale if weights.colours == "Y" else InColours(weights.colours, upscale)


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
