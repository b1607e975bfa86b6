"""Precision int8: the ranges of the expanded maps, and the deconvolution's kernel in integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from vsr.models.catalogue import Quantization, Weights
from vsr.models.fsrcnn import Net, Quantizer


@torch.no_grad()
def calibrate(net: Net, luma: torch.Tensor) -> None:
    """Give ``net`` a quantizer whose steps cover what it makes of ``luma`` (B, 1, H, W)."""
    maps = net.trunk(luma)
    lowest, highest, weight = maps.amin((0, 2, 3)), maps.amax((0, 2, 3)), net.shuffle_weight()
    net.quantizer = Quantizer(Quantization.covering(*(tensor.cpu().numpy() for tensor in (lowest, highest, weight))))


@torch.no_grad()
def quantized(net: Net, luma: torch.Tensor, name: str) -> Weights:
    """The weights of a calibrated ``net`` for precision int8, their kernel rounded for pictures such as ``luma``.

    To the nearest integer each, the errors would add up, as neighbouring pixels and many of the maps are alike. So they
    are rounded one after the other, and what one does wrong the others make good (Frantar et al., GPTQ, arXiv
    2210.17323).
    """
    assert net.quantizer
    weights = net.to_weights(name)
    shuffle, _ = weights.pixel_shuffle()
    moments = np.zeros((shuffle[0].size,) * 2)
    for some in luma.split(16):
        windows = F.unfold(net.quantizer.maps(net.trunk(some)), shuffle.shape[-1]).transpose(0, 1).flatten(1)
        moments += (windows @ windows.T).numpy()

    step, zero = (tensor.flatten().cpu().numpy() for tensor in (net.quantizer.step, net.quantizer.zero))
    quantization = Quantization(step, zero.astype(np.uint8), Quantization.weight_steps(shuffle, step))
    unit = weights.unit(quantization)
    kernel = weights.kernel / unit
    numbers = np.arange(1, 1 + kernel.size, dtype=np.float32).reshape(kernel.shape)
    for taps in replace(weights, deconvolution=numbers).pixel_shuffle()[0].reshape(len(shuffle), -1).astype(int):
        used = np.flatnonzero(taps)  # the rest of the window has no tap
        kernel.flat[taps[used] - 1] = rounded(kernel.flat[taps[used] - 1], moments[np.ix_(used, used)])
    return replace(weights, deconvolution=(kernel * unit).astype(np.float32)).quantized(quantization)


def rounded(values: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Integers z from -127 to 127 for ``values`` (k,), such that (z - values)ᵀ · ``moments`` · (z - values) is small.

    ``moments`` (k, k) are those of what is multiplied by the values.
    """
    order = np.argsort(-moments.diagonal())
    damped = moments[np.ix_(order, order)] + 1e-4 * moments.diagonal().mean() * np.eye(len(order))
    passing_on = np.linalg.cholesky(np.linalg.inv(damped)).T
    wanted, integers = values[order], np.empty(len(order))
    for i, row in enumerate(passing_on):
        integers[i] = np.clip(np.rint(wanted[i]), -127, 127)
        wanted[i + 1:] -= (wanted[i] - integers[i]) / row[i] * row[i + 1:]
    return integers[np.argsort(order)]
