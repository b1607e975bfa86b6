"""The networks in PyTorch: the definition, for training and as the reference engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vsr.models.catalogue import Layer, Quantization, Weights
from vsr.models.networks import BICUBIC_REACH, DECONVOLUTION, PADDING, Network, bicubic_shuffle, reach


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


class Net(nn.Module):
    """Any of the networks that `vsr.models.networks` describes, for one scale.

    Input (B, c, H, W), codes / 255; output (B, c, n·H, n·W). With the border replicated once and every convolution
    valid, a picture cut into overlapping pieces gives the same pixels as the whole.
    With ``pixel_shuffle=True`` a deconvolution runs as the exactly equal convolution and pixel shuffle (faster).
    ``padding`` crops the deconvolution; the default centres its kernel on the pixel that it makes.
    With a ``quantizer`` the output layer is that of precision int8.
    """

    bicubic: torch.Tensor

    def __init__(self, network: Network, scale: int, padding: int | None = None) -> None:
        super().__init__()
        if scale not in PADDING:
            raise ValueError(f"scale must be one of {tuple(PADDING)}, not {scale}")
        self.network, self.scale, self.padding = network, scale, PADDING[scale] if padding is None else padding
        self.convolutions = nn.ModuleList(nn.Conv2d(layer.into, layer.out, layer.side) for layer in network.layers)
        self.activations = nn.ModuleList(
            {"PReLU": nn.PReLU(layer.out), "ReLU": nn.ReLU(), "": nn.Identity()}[layer.activation]
            for layer in network.layers)
        self.deconvolution: nn.ConvTranspose2d | None = None
        if network.growth == "deconvolution":
            self.deconvolution = nn.ConvTranspose2d(network.layers[-1].out, 1, DECONVOLUTION, stride=scale)
        self.register_buffer("bicubic", torch.tensor(bicubic_shuffle(scale), dtype=torch.float32), persistent=False)
        self.quantizer: Quantizer | None = None
        self.reach = reach(scale, self.padding)  # of the deconvolution
        self.margin = network.margin(scale, self.padding)  # width of the replicated border, in input pixels
        for convolution, activation in self.layers():  # PReLU-aware init [F16, section 4.1]
            if activation is None:
                nn.init.normal_(convolution.weight, std=0.001)
            else:
                nn.init.kaiming_normal_(convolution.weight, a=0.25 if isinstance(activation, nn.PReLU) else 0)
            nn.init.zeros_(bias_of(convolution))
        if self.deconvolution is not None:
            nn.init.normal_(self.deconvolution.weight, std=0.001)
            nn.init.zeros_(bias_of(self.deconvolution))

    def layers(self) -> Sequence[tuple[nn.Conv2d, nn.PReLU | nn.ReLU | None]]:
        """The convolutions with their activations, in order; not the deconvolution."""
        pairs = zip(self.convolutions, self.activations, strict=True)
        return [(convolution, None if isinstance(activation, nn.Identity) else activation)  # type: ignore[misc]
                for convolution, activation in pairs]

    def trunk(self, maps: torch.Tensor) -> torch.Tensor:
        """All convolutions, valid: (B, c, H, W) -> (B, …, H - 2·context, W - 2·context)."""
        for convolution, activation in self.layers():
            maps = convolution(maps)
            if activation is not None:
                maps = activation(maps)
        return maps

    def enlarge(self, maps: torch.Tensor) -> torch.Tensor:
        """Bicubic interpolation, valid: (B, c, H, W) -> (B, c, n·(H - 4), n·(W - 4))."""
        phases = F.conv2d(maps.flatten(0, 1)[:, None], self.bicubic)
        return F.pixel_shuffle(phases, self.scale).unflatten(0, maps.shape[:2])[:, :, 0]

    def shuffle_weight(self) -> torch.Tensor:
        """The deconvolution's kernel rearranged to (n², d, k, k) with k = 2·reach + 1, zeros where it has no tap."""
        assert self.deconvolution is not None
        n, p, k = self.scale, self.padding, 2 * self.reach + 1
        # Tap t in [-reach, reach] of phase a is kernel index a + p - n·t: pad, flip and fold the 9x9 kernel.
        low = n * self.reach - p
        high = n * k - DECONVOLUTION - low
        kernel = F.pad(self.deconvolution.weight[:, 0], (low, high, low, high))
        kernel = kernel.unflatten(2, (k, n)).unflatten(1, (k, n)).flip(1, 3)  # (d, ty, a, tx, b)
        return kernel.permute(2, 4, 0, 1, 3).reshape(n * n, -1, k, k)

    def valid(self, luma: torch.Tensor, pixel_shuffle: bool = True) -> torch.Tensor:
        """The network without its border: (B, c, H, W) -> (B, c, n·(H - 2·margin), n·(W - 2·margin))."""
        if self.network.growth == "bicubic first":
            luma = self.enlarge(luma)
            surplus = -self.network.context % self.scale
            return self.trunk(F.pad(luma, (-surplus,) * 4))
        x = self.trunk(luma)
        if self.deconvolution is None:
            return self.enlarge(x.mean(1, keepdim=True))
        if pixel_shuffle or self.quantizer:
            phases = (self.quantizer or F.conv2d)(x, self.shuffle_weight())
            return F.pixel_shuffle(phases, self.scale) + bias_of(self.deconvolution)
        n, start = self.scale, self.scale * self.reach + self.padding
        height, width = (n * (side - 2 * self.reach) for side in x.shape[-2:])
        return self.deconvolution(x)[..., start:start + height, start:start + width]

    def forward(self, luma: torch.Tensor, pixel_shuffle: bool = True) -> torch.Tensor:
        if self.network.border == "replicated":
            return self.valid(F.pad(luma, (self.margin,) * 4, mode="replicate"), pixel_shuffle)
        return self._padded(luma)

    def _padded(self, maps: torch.Tensor) -> torch.Tensor:
        """The network with zeros around the maps of every layer; bicubic interpolation replicates its border."""
        around = (BICUBIC_REACH,) * 4
        if self.network.growth == "bicubic first":
            maps = self.enlarge(F.pad(maps, around, mode="replicate"))
        for convolution, activation in self.layers():
            side = convolution.kernel_size[0]
            if self.network.border == "normalised":
                inside = F.conv2d(torch.ones_like(maps[:1, :1]), maps.new_ones(1, 1, side, side), padding=side // 2)
            maps = F.conv2d(maps, convolution.weight, convolution.bias, padding=side // 2)
            if self.network.border == "normalised":
                maps = maps * (side**2 / inside)
            if activation is not None:
                maps = activation(maps)
        if self.network.growth == "bicubic last":
            return self.enlarge(F.pad(maps.mean(1, keepdim=True), around, mode="replicate"))
        if self.deconvolution is None:
            return maps
        beyond = self.scale - DECONVOLUTION + 2 * self.padding
        return F.conv_transpose2d(maps, self.deconvolution.weight, self.deconvolution.bias, self.scale, self.padding,
                                  beyond)

    def to_weights(self, name: str, colours: str = "Y") -> Weights:
        """This network's weights as plain arrays, without its quantizer's."""
        def array(tensor: torch.Tensor) -> np.ndarray:
            return tensor.detach().cpu().numpy().astype(np.float32)

        layers = []
        for convolution, activation in self.layers():
            bias = array(bias_of(convolution))
            slope = (array(activation.weight) if isinstance(activation, nn.PReLU) else
                     np.full_like(bias, activation is None))
            layers.append(Layer(array(convolution.weight), bias, slope))
        last = self.deconvolution
        kernel, bias_ = (None, 0.0) if last is None else (array(last.weight[:, 0]), bias_of(last).item())
        return Weights(name, self.network, self.scale, self.padding, tuple(layers), kernel, bias_, colours=colours)

    @classmethod
    def from_weights(cls, weights: Weights) -> Self:
        """The network that plain arrays describe."""
        net = cls(weights.network, weights.scale, weights.padding)
        with torch.no_grad():
            for (convolution, activation), layer in zip(net.layers(), weights.layers, strict=True):
                convolution.weight.copy_(torch.from_numpy(layer.weight))
                bias_of(convolution).copy_(torch.from_numpy(layer.bias))
                if isinstance(activation, nn.PReLU):
                    activation.weight.copy_(torch.from_numpy(layer.slope))
            if net.deconvolution is not None:
                net.deconvolution.weight.copy_(torch.from_numpy(weights.kernel[:, None]))
                bias_of(net.deconvolution).fill_(weights.bias)
        if weights.quantization:
            net.quantizer = Quantizer(weights.quantization)
        return net
