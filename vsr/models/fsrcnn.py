"""FSRCNN in PyTorch: the definition, for training and as the reference engine."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vsr.models.catalogue import DECONVOLUTION, PADDING, FsrcnnWeights, Layer, Quantization


def bias_of(layer: nn.Conv2d | nn.ConvTranspose2d) -> torch.Tensor:
    """The bias of a layer that has one; PyTorch's type allows None."""
    return cast(torch.Tensor, layer.bias)


def round_through(x: torch.Tensor) -> torch.Tensor:
    """``x`` rounded, with the gradient of ``x``: rounding's own is zero (the straight-through estimator)."""
    return x.round().detach() + (x - x.detach())


class Quantizer(nn.Module):
    """The output layer in the 8-bit integers of `Quantization`, held in floats: exact up to 2^24, which their sums stay
    far below.

    In training the maps are rounded, straight-through, and the kernel is not: it is rounded once, when all is learned.
    ``step`` and ``zero`` are not learned: before a PReLU, a map that grows does what a finer step would.
    """

    step: torch.Tensor
    zero: torch.Tensor
    weight_step: torch.Tensor

    def __init__(self, quantization: Quantization) -> None:
        super().__init__()
        for key, value in vars(quantization).items():
            self.register_buffer(key, torch.tensor(value, dtype=torch.float32)[:, None, None])

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """Expanded maps (B, d, H, W) as q - zero, integers from -255 to 255."""
        return round_through(torch.clamp(x / self.step, -self.zero, 255 - self.zero))

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The phases (B, n², …) that expanded maps and the pixel shuffle's weight (n², d, k, k) make."""
        kernel = weight * self.step
        if self.training:
            return F.conv2d(self.maps(x), kernel)
        return F.conv2d(self.maps(x), (kernel / self.weight_step[..., None]).round()) * self.weight_step


class FSRCNN(nn.Module):
    """FSRCNN(d, s, m) [F16, section 3.1]: feature extraction, shrinking, mapping, expanding, deconvolution.

    Input (B, 1, H, W), luma codes / 255; output (B, 1, n·H, n·W). The border is replicated once and every convolution
    is valid, so that a picture cut into overlapping pieces gives the same pixels as the whole.
    With ``pixel_shuffle=True`` the output layer runs as the exactly equal convolution and pixel shuffle (faster).
    ``padding`` crops the deconvolution; the default centres its kernel on the pixel that it makes.
    With a ``quantizer`` the output layer is that of precision int8.
    """

    def __init__(self, d: int, s: int, m: int, scale: int, padding: int | None = None) -> None:
        super().__init__()
        if scale not in PADDING:
            raise ValueError(f"scale must be one of {tuple(PADDING)}, not {scale}")
        self.scale, self.padding = scale, PADDING[scale] if padding is None else padding
        self.feature, self.feature_act = nn.Conv2d(1, d, 5), nn.PReLU(d)
        self.shrink, self.shrink_act = nn.Conv2d(d, s, 1), nn.PReLU(s)
        self.mapping = nn.ModuleList(nn.Conv2d(s, s, 3) for _ in range(m))
        self.mapping_act = nn.ModuleList(nn.PReLU(s) for _ in range(m))
        self.expand, self.expand_act = nn.Conv2d(s, d, 1), nn.PReLU(d)
        self.deconvolution = nn.ConvTranspose2d(d, 1, DECONVOLUTION, stride=scale)
        self.quantizer: Quantizer | None = None
        # How far an output pixel's taps reach into the expanded maps, to the left and to the right, in input pixels.
        self.reach = max((DECONVOLUTION - 1 - self.padding) // scale, (scale - 1 + self.padding) // scale)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # PReLU-aware init [F16, section 4.1]
                nn.init.kaiming_normal_(module.weight, a=0.25)
                nn.init.zeros_(bias_of(module))
        nn.init.normal_(self.deconvolution.weight, std=0.001)
        nn.init.zeros_(bias_of(self.deconvolution))

    @property
    def margin(self) -> int:
        """Width of the replicated border, in input pixels: half the receptive field."""
        return 2 + len(self.mapping) + self.reach

    def layers(self) -> list[tuple[nn.Conv2d, nn.PReLU]]:
        """The convolutions before the output layer with their activations, in order."""
        mapping = cast(list[tuple[nn.Conv2d, nn.PReLU]], list(zip(self.mapping, self.mapping_act, strict=True)))
        return [(self.feature, self.feature_act), (self.shrink, self.shrink_act), *mapping,
                (self.expand, self.expand_act)]

    def trunk(self, luma: torch.Tensor) -> torch.Tensor:
        """Everything before the output layer, without padding: (B, 1, H, W) -> (B, d, H - 4 - 2m, W - 4 - 2m)."""
        for convolution, act in self.layers():
            luma = act(convolution(luma))
        return luma

    def shuffle_weight(self) -> torch.Tensor:
        """The deconvolution's kernel rearranged to (n², d, k, k) with k = 2·reach + 1, zeros where it has no tap."""
        n, p, k = self.scale, self.padding, 2 * self.reach + 1
        # Tap t in [-reach, reach] of phase a is kernel index a + p - n·t: pad, flip and fold the 9x9 kernel.
        low = n * self.reach - p
        high = n * k - DECONVOLUTION - low
        kernel = F.pad(self.deconvolution.weight[:, 0], (low, high, low, high))
        kernel = kernel.unflatten(2, (k, n)).unflatten(1, (k, n)).flip(1, 3)  # (d, ty, a, tx, b)
        return kernel.permute(2, 4, 0, 1, 3).reshape(n * n, -1, k, k)

    def valid(self, luma: torch.Tensor, pixel_shuffle: bool = True) -> torch.Tensor:
        """The network without its border: (B, 1, H, W) -> (B, 1, n·(H - 2·margin), n·(W - 2·margin))."""
        x = self.trunk(luma)
        if pixel_shuffle or self.quantizer:
            phases = (self.quantizer or F.conv2d)(x, self.shuffle_weight())
            return F.pixel_shuffle(phases, self.scale) + bias_of(self.deconvolution)
        n, start = self.scale, self.scale * self.reach + self.padding
        height, width = (n * (side - 2 * self.reach) for side in x.shape[-2:])
        return self.deconvolution(x)[..., start:start + height, start:start + width]

    def forward(self, luma: torch.Tensor, pixel_shuffle: bool = True) -> torch.Tensor:
        return self.valid(F.pad(luma, (self.margin,) * 4, mode="replicate"), pixel_shuffle)

    def to_weights(self, name: str) -> FsrcnnWeights:
        """This network's weights as plain arrays, without its quantizer's."""
        def array(tensor: torch.Tensor) -> np.ndarray:
            return tensor.detach().cpu().numpy().astype(np.float32)

        feature, shrink, *mapping, expand = (
            Layer(array(convolution.weight), array(bias_of(convolution)), array(act.weight))
            for convolution, act in self.layers())
        return FsrcnnWeights(name, self.scale, self.padding, feature, shrink, tuple(mapping), expand,
                             array(self.deconvolution.weight[:, 0]), bias_of(self.deconvolution).item())

    @classmethod
    def from_weights(cls, weights: FsrcnnWeights) -> FSRCNN:
        """The network that plain arrays describe."""
        net = cls(weights.d, weights.s, weights.m, weights.scale, weights.padding)
        stored = weights.feature, weights.shrink, *weights.mapping, weights.expand
        with torch.no_grad():
            for (convolution, act), layer in zip(net.layers(), stored, strict=True):
                convolution.weight.copy_(torch.from_numpy(layer.weight))
                bias_of(convolution).copy_(torch.from_numpy(layer.bias))
                act.weight.copy_(torch.from_numpy(layer.slope))
            net.deconvolution.weight.copy_(torch.from_numpy(weights.deconvolution[:, None]))
            bias_of(net.deconvolution).fill_(weights.bias)
        if weights.quantization:
            net.quantizer = Quantizer(weights.quantization)
        return net
