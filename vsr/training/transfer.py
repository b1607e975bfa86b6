"""From one scale to another: the deconvolution that fits best behind a trunk that was trained with another one."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from vsr.models.fsrcnn import Net, bias_of


@torch.no_grad()
def solve_deconvolution(net: Net, low: torch.Tensor, high: torch.Tensor) -> None:
    """Give ``net`` the deconvolution with the least squared error on patches, its trunk left as it is.

    [F16, section 3.4] trains that layer alone; as it is linear, the best one can be solved for.
    low (B, 1, side, side), high (B, 1, n·(side - 2·margin), same), codes / 255.
    """
    assert net.deconvolution is not None
    k = 2 * net.reach + 1
    size = len(net.deconvolution.weight) * k * k
    moments, products = np.zeros((size + 1, size + 1)), np.zeros((size + 1, net.scale**2))
    for lows, highs in zip(low.split(16), high.split(16), strict=True):
        windows = F.unfold(net.trunk(lows), k).transpose(0, 1).flatten(1)
        windows = torch.cat([windows, torch.ones_like(windows[:1])])  # the bias is one more map, of ones
        phases = F.pixel_unshuffle(highs, net.scale).transpose(0, 1).flatten(1)
        moments += (windows @ windows.T).double().numpy()
        products += (windows @ phases.T).double().numpy()
    moments[np.diag_indices(size)] += 1e-6 * moments.diagonal()[:size].mean()  # maps may repeat each other

    # Which tap of the window is which of the kernel. Each phase has taps of its own, and all share a bias.
    kernel = net.deconvolution.weight.detach().clone()
    net.deconvolution.weight.copy_(torch.arange(1, 1 + kernel.numel()).reshape(kernel.shape))
    places = net.shuffle_weight().flatten(1).long().numpy() - 1
    wanted = remaining = 0.0
    solved = []
    for phase, place in enumerate(places):
        used = np.flatnonzero(place >= 0)
        both = np.stack([products[used, phase], moments[used, size]], 1)
        fit, per_bias = np.linalg.solve(moments[np.ix_(used, used)], both).T
        wanted += products[size, phase] - moments[size, used] @ fit
        remaining += moments[size, size] - moments[size, used] @ per_bias
        solved.append((place[used], fit, per_bias))
    bias = wanted / remaining
    for place, fit, per_bias in solved:
        kernel.flatten()[place] = torch.from_numpy(fit - bias * per_bias).to(kernel.dtype)
    net.deconvolution.weight.copy_(kernel)
    bias_of(net.deconvolution).fill_(bias)
