"""The network on a GPU as Triton kernels: a convolution, its PReLU and the pointwise layer behind it are one kernel.

Layer by layer, a frame's widest maps go through memory five times each: as sums, for the bias, for the PReLU. Here the
features never leave the chip, the expanded maps are written and read once, and the last kernel writes codes.

Maps are (places, channels) float16, the places row by row; weights are (out, side, side, in). The channels are powers
of two, 16 at least. Sums are float32, in an order that does not depend on where a place lies: strips and wholes have
the same bytes. Nothing is compiled for a size of frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

BLOCK = 64  # places that a program computes: what one warp group multiplies at once
ROUNDING = tl.constexpr(3 << 22)  # where float32 has no fractions: added and subtracted, it rounds half to even

Layer = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # weight, bias, slope


@triton.jit
def sums(maps, weight, x, y, inside, width, SIDE: tl.constexpr, INTO: tl.constexpr, OUT: tl.constexpr,
         BLOCK: tl.constexpr):
    """The convolution without bias at the places (x, y), (BLOCK, OUT); ``width`` is that of the maps."""
    into, out = tl.arange(0, INTO), tl.arange(0, OUT)
    total = tl.full((BLOCK, OUT), 0.0, tl.float32)
    for tap in range(SIDE * SIDE):
        places = (y + tap // SIDE) * width + x + tap % SIDE
        piece = tl.load(maps + places[:, None] * INTO + into[None, :], mask=inside[:, None], other=0.0)
        taps = tl.load(weight + out[None, :] * (SIDE * SIDE * INTO) + tap * INTO + into[:, None])
        total = tl.dot(piece, taps, total)
    return total


@triton.jit
def prelu(total, bias, slope, CHANNELS: tl.constexpr):
    channel = tl.arange(0, CHANNELS)
    total += tl.load(bias + channel)[None, :]
    return tl.where(total > 0, total, total * tl.load(slope + channel)[None, :]).to(tl.float16)


@triton.jit(do_not_specialize=["width", "across", "places"])
def layers_kernel(maps, made, weight, bias, slope, next_weight, next_bias, next_slope, width, across, places,
                  SIDE: tl.constexpr, INTO: tl.constexpr, MIDDLE: tl.constexpr, OUT: tl.constexpr,
                  BLOCK: tl.constexpr):
    """A layer, and where there is a next one, of side 1, that too; ``made`` has ``places`` places, ``across`` a row."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < places
    total = prelu(sums(maps, weight, place % across, place // across, inside, width, SIDE, INTO, MIDDLE, BLOCK),
                  bias, slope, MIDDLE)
    out = tl.arange(0, OUT)
    if next_weight is not None:
        taps = tl.load(next_weight + out[None, :] * MIDDLE + tl.arange(0, MIDDLE)[:, None])
        total = prelu(tl.dot(total, taps), next_bias, next_slope, OUT)
    tl.store(made + place[:, None] * OUT + out[None, :], total, mask=inside[:, None])


@triton.jit(do_not_specialize=["width", "across", "places", "rows", "columns"],
            do_not_specialize_on_alignment=["codes"])
def codes_kernel(maps, weight, codes, factor, shift, peak, width, across, places, rows, columns,
                 SIDE: tl.constexpr, INTO: tl.constexpr, OUT: tl.constexpr, FINER: tl.constexpr,
                 BLOCK: tl.constexpr):
    """The output layer: channel a·FINER + b of a place is pixel (a, b) of its square in ``codes`` (rows, columns)."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < places
    x, y = place % across, place // across
    total = sums(maps, weight, x, y, inside, width, SIDE, INTO, OUT, BLOCK) * factor + shift
    rounded = tl.minimum(tl.maximum(total, 0.0), peak) + ROUNDING - ROUNDING
    out = tl.arange(0, OUT)
    row, column = y[:, None] * FINER + out[None, :] // FINER, x[:, None] * FINER + out[None, :] % FINER
    kept = inside[:, None] & (out[None, :] < FINER * FINER) & (row < rows) & (column < columns)
    tl.store(codes + row * columns + column, rounded.to(tl.int32), mask=kept)


def enlarge(maps: torch.Tensor, trunk: Sequence[Layer], output: torch.Tensor, codes: torch.Tensor, finer: int,
            factor: float, shift: float, peak: int) -> None:
    """Fill ``codes`` (rows, columns) with sum · ``factor`` + ``shift`` of the network, rounded and clipped.

    ``maps`` is (1, channels, H, W); all tensors of four axes are channels_last.
    """
    _, _, height, width = maps.shape
    flat = maps.permute(0, 2, 3, 1)
    layers = list(trunk)
    while layers:
        weight, bias, slope = layers.pop(0)
        side = weight.shape[-1]
        behind: tuple[torch.Tensor | None, ...] = None, None, None
        if layers and layers[0][0].shape[-1] == 1:
            behind = layers.pop(0)
        out = len(weight if behind[0] is None else behind[0])
        down, across = height - side + 1, width - side + 1
        made = torch.empty((down, across, out), dtype=flat.dtype, device=flat.device)
        layers_kernel[grid(down * across)](
            flat, made, weight, bias, slope, *behind, width, across, down * across,
            side, weight.shape[1], len(weight), out, BLOCK, num_warps=warps(len(weight), out))
        flat, height, width = made, down, across
    side = output.shape[-1]
    down, across = height - side + 1, width - side + 1
    codes_kernel[grid(down * across)](
        flat, output, codes, factor, shift, float(peak), width, across, down * across, *codes.shape,
        side, output.shape[1], len(output), finer, BLOCK, num_warps=warps(len(output)))


def grid(places: int) -> tuple[int]:
    return (triton.cdiv(places, BLOCK),)


def warps(*channels: int) -> int:
    """So many that each has registers for its share of the sums."""
    return 4 if max(channels) <= 128 else 8
