"""Layers that train as products of two larger matrices: the same network with more to move, folded for its file."""

from __future__ import annotations

import math

import torch
from torch import nn

from vsr.models.fsrcnn import Net, bias_of

LARGEST = 64  # of a layer's inputs that the inner side grows with


class Factored(nn.Module):
    """The weights of each of ``net``'s layers, (out, inputs), as the product of a left matrix (out, inner) and a right
    one (inner, inputs); inner is twice the larger of out and inputs, of these LARGEST at most. It begins with what the
    net has. A deconvolution's are (maps, taps).

    Gradient descent on such a product goes other ways than on the matrix itself, and further where it is narrow (Arora,
    Cohen and Hazan, arXiv 1802.06509; Guo, Alvarez and Salzmann, arXiv 1811.10495).
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.lefts, self.rights = nn.ParameterList(), nn.ParameterList()
        self._layers: list[tuple[torch.Tensor, list[torch.Tensor]]] = []  # weights, and what trains as it is
        for convolution, activation in net.layers():
            rest = [bias_of(convolution), *(activation.parameters() if activation else ())]
            self._layers.append((convolution.weight, rest))
        if net.deconvolution:
            self._layers.append((net.deconvolution.weight, [bias_of(net.deconvolution)]))
        for weight, _ in self._layers:
            matrix = weight.detach().flatten(1)
            rows, inputs = matrix.shape
            inner = 2 * max(rows, min(inputs, LARGEST))
            left = torch.randn(rows, inner, device=matrix.device) / math.sqrt(inner)
            self.lefts.append(nn.Parameter(left))
            self.rights.append(nn.Parameter(torch.linalg.pinv(left) @ matrix))

    def matrices(self) -> list[list[torch.Tensor]]:
        """What `SOAP` is to train."""
        return [matrix for left, right, (_, rest) in zip(self.lefts, self.rights, self._layers, strict=True)
                for matrix in ([left], [right], rest)]

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Those of the net's weights are there: what that makes of the matrices'."""
        for left, right, (weight, _) in zip(self.lefts, self.rights, self._layers, strict=True):
            assert weight.grad is not None
            gradient = weight.grad.flatten(1)
            left.grad, right.grad = gradient @ right.T, left.T @ gradient

    @torch.no_grad()
    def fold(self) -> None:
        """Give the net the products."""
        for left, right, (weight, _) in zip(self.lefts, self.rights, self._layers, strict=True):
            weight.copy_((left @ right).reshape(weight.shape))
