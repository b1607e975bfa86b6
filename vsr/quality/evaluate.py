"""PSNR and SSIM of a model on a folder of pictures, beside bicubic, by the papers' test protocol."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsr.errors import InputError
from vsr.models.catalogue import FsrcnnWeights, find, load, load_file
from vsr.quality.protocol import crop_to_multiple, imresize, list_images, load_luma

if TYPE_CHECKING:
    from vsr.engines.contract import Engine

Upscale = Callable[[np.ndarray], np.ndarray]  # low (H, W) float32 luma codes -> (n·H, n·W) float luma codes
Warn = Callable[[str], object]  # takes what an engine has to say to its user


@dataclass(frozen=True)
class Score:
    """One picture's (or the average's) scores: PSNR in dB, infinite (null in JSON) for equal pictures; SSIM; seconds of
    the model alone, luma in memory to memory."""

    name: str
    psnr: float
    ssim: float
    bicubic_psnr: float
    bicubic_ssim: float
    seconds: float

    def to_json(self, timed: bool) -> dict[str, Any]:
        four = {key: round(value, 4) if np.isfinite(value := getattr(self, key)) else None
                for key in ("psnr", "ssim", "bicubic_psnr", "bicubic_ssim")}
        return four | ({"seconds": round(self.seconds, 5)} if timed else {})


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model at one scale on one folder."""

    model: str
    scale: int
    images: list[Score]

    @property
    def average(self) -> Score:
        def mean(key: str) -> float:
            return float(np.mean([getattr(score, key) for score in self.images]))
        return Score("average", *(mean(key) for key in ("psnr", "ssim", "bicubic_psnr", "bicubic_ssim", "seconds")))

    def to_json(self, timed: bool = False) -> dict[str, Any]:
        images = [{"name": score.name, **score.to_json(timed)} for score in self.images]
        return {"v": 1, "model": self.model, "scale": self.scale, "images": images,
                "average": self.average.to_json(timed)}


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal to noise ratio in dB of two uint8 pictures; infinite where they are equal."""
    error = np.mean((picture.astype(np.float64) - truth) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(picture: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity of two uint8 pictures: 11x11 Gaussian window, sigma 1.5, K = (0.01, 0.03)."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(picture, truth, data_range=255, gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False))


def to_bytes(luma: np.ndarray) -> np.ndarray:
    """Float luma codes clipped and rounded to uint8."""
    return np.clip(np.round(luma), 0, 255).astype(np.uint8)


def score_image(name: str, luma: np.ndarray, scale: int, upscale: Upscale) -> Score:
    """Shrink, enlarge by the model and by bicubic, shave ``scale`` pixels off each side, compare."""
    truth = crop_to_multiple(luma, scale)
    if min(truth.shape) < 11 + 2 * scale:
        raise InputError(f"image '{name}' is too small to score at scale {scale}")
    low = imresize(truth, 1 / scale).astype(np.float32)
    start = time.perf_counter()
    high = upscale(low)
    seconds = time.perf_counter() - start
    inner = np.s_[scale:-scale, scale:-scale]
    ours, theirs = to_bytes(high)[inner], to_bytes(imresize(low, scale))[inner]
    return Score(name, psnr(ours, truth[inner]), ssim(ours, truth[inner]), psnr(theirs, truth[inner]),
                 ssim(theirs, truth[inner]), seconds)


def evaluate(folder: Path, model: str, scale: int, upscale: Upscale) -> Evaluation:
    """The scores of every picture of a folder. Raises InputError where there is no picture."""
    images = [score_image(path.name, load_luma(path), scale, upscale) for path in list_images(folder)]
    return Evaluation(model, scale, images)


def model_upscale(model: str | Path, scale: int, engine: str | None = None, precision: str = "auto", bits: int = 16,
                  warn: Warn | None = None) -> tuple[str, Upscale]:
    """A model's name and its function: the float network (the papers' measure), or an engine where one is named.

    ``model`` is a name of the catalogue or a weight file; the engine has luma of ``bits`` bits, and what it has to say
    goes to ``warn``. Raises UsageError for an unknown model, scale or engine.
    """
    source: str | FsrcnnWeights = load_file(model, scale) if isinstance(model, Path) else model
    name = source if isinstance(source, str) else source.name
    if engine:
        from vsr.engines import open_engine

        return name, through_engine(open_engine(source, scale, bits, precision=precision, engine=engine), warn)
    if isinstance(source, str):
        if not find(source, scale).files:
            return name, lambda low: imresize(low, scale)
        source = load(source, scale)
    return name, network(source)


def network(weights: FsrcnnWeights) -> Upscale:
    """The float network of ``weights`` (PyTorch, fp32), with the 8-bit integers of weights that have them."""
    import torch

    from vsr.models.fsrcnn import FSRCNN

    net = FSRCNN.from_weights(weights).eval()

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
