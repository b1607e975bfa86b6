"""The reference engine: PyTorch, slow and plain. What it computes is what the other engines are held to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from vsr.engines.contract import Engine, code_range
from vsr.models.catalogue import Weights
from vsr.models.fsrcnn import Net

STRIP = 1 << 18  # pixels that go through the network at once; bounds the memory to some 200 MB


class ReferenceEngine(Engine):
    """Any network of luma in PyTorch, in float32; in ``precision`` int8 with the output layer in 8-bit integers.

    ``threads`` sets PyTorch's number of threads, which is one for the whole process."""

    def __init__(self, weights: Weights, bits: int, full_range: bool, precision: str,
                 threads: int | None) -> None:
        super().__init__("reference", weights.name, weights.scale, bits, precision, threads)
        self._net = self._network(weights)
        self._gain, self._offset = code_range(bits, full_range)
        if threads is not None:
            torch.set_num_threads(threads)

    def use(self, weights: Weights) -> None:
        if (weights.network, weights.scale) != (self._net.network, self.scale):
            raise ValueError(f"weights of {weights.network} x{weights.scale} cannot take the place of those of "
                             f"{self._net.network} x{self.scale}")
        self._net = self._network(weights)

    def _network(self, weights: Weights) -> Net:
        if self.precision == "int8":
            weights.int8_pixel_shuffle()  # raises where there is none
        else:
            weights = replace(weights, quantization=None)
        return Net.from_weights(weights).eval()

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        height, width = luma.shape
        n, margin, network = self.scale, self._net.margin, self._net.network
        replicated = network.border == "replicated"
        padded = np.pad(luma, margin, mode="edge") if replicated else luma
        compute = self._net.valid if replicated else self._net
        rows = max(STRIP // (width * network.multiplications(n) // network.parameters), 1)
        for top in range(0, height, rows):
            # Layers that pad for themselves pad where a strip is cut, too: what that reaches is left out.
            first, end = (top, top + rows + 2 * margin) if replicated else (max(top - margin, 0), top + rows + margin)
            strip = padded[first:end].astype(np.float32) * self._gain + self._offset
            with torch.inference_mode():
                enlarged = compute(torch.from_numpy(strip)[None, None])[0, 0].numpy()
            codes = (enlarged[n * (top - first):][:n * rows] - self._offset) / self._gain
            out[n * top:n * (top + rows)] = np.clip(np.rint(codes), 0, 2**self.bits - 1)
