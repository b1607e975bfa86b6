"""The reference engine: PyTorch, slow and plain. What it computes is what the other engines are held to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from vsr.engines.contract import Engine, code_range
from vsr.models.catalogue import FsrcnnWeights
from vsr.models.fsrcnn import FSRCNN

STRIP = 1 << 18  # input pixels that go through the network at once; bounds the memory to some 200 MB


class ReferenceEngine(Engine):
    """FSRCNN(d, s, m) in PyTorch, in float32; in ``precision`` int8 with the output layer in 8-bit integers.

    ``threads`` sets PyTorch's number of threads, which is one for the whole process."""

    def __init__(self, weights: FsrcnnWeights, bits: int, full_range: bool, precision: str,
                 threads: int | None) -> None:
        super().__init__("reference", weights.name, weights.scale, bits, precision, threads)
        if precision == "int8":
            weights.int8_pixel_shuffle()  # raises where there is none
        else:
            weights = replace(weights, quantization=None)
        self._net = FSRCNN.from_weights(weights).eval()
        self._gain, self._offset = code_range(bits, full_range)
        if threads is not None:
            torch.set_num_threads(threads)

    def _run(self, luma: np.ndarray, out: np.ndarray) -> None:
        height, width = luma.shape
        n, margin = self.scale, self._net.margin
        padded = np.pad(luma, margin, mode="edge")
        rows = max(STRIP // width, 1)
        for top in range(0, height, rows):
            strip = padded[top:top + rows + 2 * margin].astype(np.float32) * self._gain + self._offset
            with torch.inference_mode():
                enlarged = self._net.valid(torch.from_numpy(strip)[None, None])[0, 0].numpy()
            codes = (enlarged - self._offset) / self._gain
            out[n * top:n * (top + rows)] = np.clip(np.rint(codes), 0, 2**self.bits - 1)
