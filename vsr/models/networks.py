"""The networks of the papers, each described once and without torch: SRCNN [E14, P16], FSRCNN [F16], what is between.

A description writes itself in the papers' notation, which weight files and cards hold, and reads that again:

    Bicubic, Conv(9,64,1) ReLU, Conv(1,32,64) ReLU, Conv(5,1,32)
    Conv(5,32,1) PReLU, Conv(1,5,32) PReLU, Conv(3,5,5) PReLU, Conv(1,32,5) PReLU, DeConv(9,1,32)

Conv(f,n,c): n filters of c x f x f [F16, section 3.1].
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

SCALES = (2, 3, 4)
DECONVOLUTION = 9  # side of the deconvolution kernel [F16]
PADDING = {2: 4, 3: 3, 4: 3}  # crop of the deconvolution that centres its kernel on the pixel it makes
ACTIVATIONS = ("PReLU", "ReLU", "")  # PReLU: one learned slope a channel
GROWTHS = ("deconvolution", "bicubic first", "bicubic last")
BORDERS = ("replicated", "zero", "normalised")
BICUBIC_REACH = 2  # input pixels to either side that bicubic interpolation looks at


@dataclass(frozen=True)
class Convolution:
    """A layer of ``out`` filters of ``into`` x ``side`` x ``side``, and what follows it: one of ACTIVATIONS."""

    side: int
    out: int
    into: int
    activation: str = "PReLU"

    def __str__(self) -> str:
        return f"Conv({self.side},{self.out},{self.into}) {self.activation}".rstrip()

    @property
    def parameters(self) -> int:
        return self.side**2 * self.out * self.into


@dataclass(frozen=True)
class Network:
    """A chain of convolutions, and where in it the picture grows to n times its size.

    ``growth``: 'deconvolution' behind the last layer (9x9, learned); 'bicubic first', in front of the first layer, as
    SRCNN has it; or 'bicubic last': the mean of the last layer's maps is interpolated, which is what a deconvolution is
    whose kernels are all the same and fixed [F16, section 3.1].
    ``border``: 'replicated' once in front of everything, every layer valid; 'zero' padding in every layer; or
    'normalised', which divides what zero padding gives by the share of pixels that are no padding [E14, section 4].
    Raises ValueError for layers that do not fit together.
    """

    layers: tuple[Convolution, ...]
    growth: str = "deconvolution"
    border: str = "replicated"

    def __post_init__(self) -> None:
        chain = ", ".join(map(str, self.layers))
        if not self.layers or any(layer.side % 2 == 0 or min(layer.side, layer.out, layer.into) < 1
                                  or layer.activation not in ACTIVATIONS for layer in self.layers):
            raise ValueError(f"'{chain}' has layers that cannot be")
        if any(before.out != after.into for before, after in pairwise(self.layers)):
            raise ValueError(f"'{chain}' has layers that do not fit together")
        if self.growth not in GROWTHS or self.border not in BORDERS:
            raise ValueError(f"no network has growth '{self.growth}' and border '{self.border}'")
        if self.channels != (self.layers[-1].out if self.growth == "bicubic first" else 1):
            raise ValueError(f"'{self}' does not make as many channels as it takes")

    def __str__(self) -> str:
        parts = [*map(str, self.layers)]
        if self.growth == "deconvolution":
            parts.append(f"DeConv({DECONVOLUTION},1,{self.layers[-1].out})")
        else:
            parts = ["Bicubic", *parts] if self.growth == "bicubic first" else [*parts, "Mean", "Bicubic"]
        return ", ".join(parts) + ("" if self.border == "replicated" else f"; {self.border} border")

    @classmethod
    def parse(cls, text: str) -> Network:
        """The network that a text describes, as `str` gives it. Raises ValueError for any other."""
        body, _, border = text.partition("; ")
        layers = tuple(Convolution(int(side), int(out), int(into), activation) for side, out, into, activation
                       in re.findall(r"\bConv\((\d+),(\d+),(\d+)\) ?(\w*)", body))
        growth = ("bicubic first" if body.startswith("Bicubic") else
                  "bicubic last" if body.endswith("Bicubic") else "deconvolution")
        network = cls(layers, growth, border.removesuffix(" border") or "replicated")
        if str(network) != text:
            raise ValueError(f"'{text}' describes no network")
        return network

    @property
    def channels(self) -> int:
        """Of the picture: 1 is luma."""
        return self.layers[0].into

    @property
    def parameters(self) -> int:
        """Number of weights, without biases and slopes, as the papers count."""
        made = DECONVOLUTION**2 * self.layers[-1].out if self.growth == "deconvolution" else 0
        return made + sum(layer.parameters for layer in self.layers)

    @property
    def context(self) -> int:
        """Pixels to either side that the convolutions look at, each in its own resolution."""
        return sum(layer.side // 2 for layer in self.layers)

    def multiplications(self, scale: int) -> int:
        """For each pixel of the input [F16, equations 1 and 2], those of bicubic interpolation not counted."""
        return self.parameters * (scale**2 if self.growth == "bicubic first" else 1)

    def margin(self, scale: int, padding: int | None = None) -> int:
        """Half the receptive field, in input pixels: the width of the border that is replicated."""
        if self.growth == "bicubic first":
            return BICUBIC_REACH - -self.context // scale
        return self.context + (reach(scale, padding) if self.growth == "deconvolution" else BICUBIC_REACH)

    @property
    def sizes(self) -> tuple[int, int, int] | None:
        """(d, s, m) where this is FSRCNN(d, s, m) with its border replicated, which the fast engines compute."""
        layers = self.layers
        if len(layers) < 3:
            return None
        sizes = layers[0].out, layers[1].out, len(layers) - 3
        return sizes if self == fsrcnn(*sizes) else None


def reach(scale: int, padding: int | None = None) -> int:
    """How far an output pixel's taps reach into the maps before the deconvolution, in input pixels.

    ``padding`` crops the deconvolution, by PADDING where it is None.
    """
    padding = PADDING[scale] if padding is None else padding
    return max((DECONVOLUTION - 1 - padding) // scale, (scale - 1 + padding) // scale)


def cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5, float64."""
    t = np.abs(distance)
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def bicubic_shuffle(scale: int) -> np.ndarray:
    """Bicubic enlargement as a convolution before a pixel shuffle: (n², 1, 5, 5) float64."""
    positions = (np.arange(scale) + 0.5) / scale - 0.5
    weights = cubic(positions[:, None] - np.arange(-BICUBIC_REACH, BICUBIC_REACH + 1))
    return np.einsum("ai,bj->abij", weights, weights).reshape(scale**2, 1, *2 * weights.shape[1:])


def srcnn(*sides: int, widths: tuple[int, ...] = (64, 32), channels: int = 1) -> Network:
    """SRCNN of layers with these sides; ``widths`` are the numbers of filters, of all layers but the last."""
    outs, intos = (*widths, channels), (channels, *widths)
    layers = tuple(map(Convolution, sides, outs, intos, (*["ReLU"] * len(widths), "")))
    return Network(layers, "bicubic first")


def fsrcnn(d: int, s: int, m: int) -> Network:
    """FSRCNN(d, s, m) [F16, section 3.1]: feature extraction, shrinking, mapping, expanding, deconvolution."""
    return Network((Convolution(5, d, 1), Convolution(1, s, d), *[Convolution(3, s, s)] * m, Convolution(1, d, s)))


_FSRCNN = fsrcnn(56, 12, 4)
NETWORKS = {
    "fsrcnn-s": fsrcnn(32, 5, 1),
    "fsrcnn": _FSRCNN,
    "srcnn-9-1-5": srcnn(9, 1, 5),
    "srcnn-ex": srcnn(9, 5, 5),
    # The design studies of SRCNN [P16, section 4.3; E14, sections 5.3 and 5.4] ...
    "srcnn-9-3-5": srcnn(9, 3, 5),
    "srcnn-11-1-7": srcnn(11, 1, 7),
    "srcnn-wide": srcnn(9, 1, 5, widths=(128, 64)),
    "srcnn-narrow": srcnn(9, 1, 5, widths=(32, 16)),
    "srcnn-9-1-1-5": srcnn(9, 1, 1, 5, widths=(64, 32, 16)),
    "srcnn-9-1-1-5-wide": srcnn(9, 1, 1, 5, widths=(64, 32, 32)),
    "srcnn-9-1-1-1-5": srcnn(9, 1, 1, 1, 5, widths=(64, 32, 32, 16)),
    "srcnn-9-3-1-5": srcnn(9, 3, 1, 5, widths=(64, 32, 16)),
    "srcnn-9-5-1-5": srcnn(9, 5, 1, 5, widths=(64, 32, 16)),
    "srcnn-9-3-3-5": srcnn(9, 3, 3, 5, widths=(64, 32, 16)),
    "srcnn-9-3-3-3": srcnn(9, 3, 3, 3, widths=(64, 32, 16)),
    "srcnn-colour": srcnn(9, 1, 5, channels=3),  # [P16, section 5]
    # ... and of FSRCNN [F16, tables 1 and 2, section 3.1]. The activations of the transition states are not said.
    **{f"fsrcnn-{d}-{s}-{m}": fsrcnn(d, s, m) for d in (48, 56) for s in (12, 16) for m in (2, 3, 4)},
    "transition-1": Network((Convolution(9, 64, 1), Convolution(5, 32, 64))),
    "transition-2": Network((Convolution(9, 64, 1), Convolution(1, 12, 64), *[Convolution(3, 12, 12)] * 4,
                             Convolution(1, 64, 12))),
    "fsrcnn-no-expanding": Network(_FSRCNN.layers[:-1]),
    "fsrcnn-bicubic": Network(_FSRCNN.layers, "bicubic last"),
    "fsrcnn-relu": Network(tuple(replace(layer, activation="ReLU") for layer in _FSRCNN.layers)),
}
