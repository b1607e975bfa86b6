"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's two factors (Vyas et al., arXiv 2409.11321, algorithm 3).

A network of 4,000 weights is badly conditioned rather than large: the basis costs next to nothing here, and a hundred
seconds of it reach what plain Adam needs half an hour for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

LARGEST = 512  # side of a factor; the other side of the matrix is left as it is


class SOAP(torch.optim.Optimizer):
    """``matrices``: each a sequence of parameters with the same first dimension, preconditioned as one matrix.

    The parameters of a matrix are laid side by side (say a convolution's weight, bias and slopes: one row a channel).
    ``betas`` are Adam's; ``factor_beta`` averages the two factors; the basis is renewed every ``renew`` steps.
    A factor larger than LARGEST is left out.
    """

    def __init__(self, matrices: Sequence[Sequence[torch.nn.Parameter]], lr: float,
                 betas: tuple[float, float] = (0.95, 0.95), factor_beta: float = 0.95, renew: int = 10) -> None:
        groups = [{"params": list(matrix)} for matrix in matrices]
        super().__init__(groups, {"lr": lr, "betas": betas, "factor_beta": factor_beta, "renew": renew})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step from the parameters' gradients; the first only sets up the basis."""
        for group in self.param_groups:
            params = group["params"]
            rows = params[0].shape[0]
            gradient = torch.cat([p.grad.reshape(rows, -1) for p in params], 1)
            state = self.state[params[0]]
            if not state:
                self._start(state, gradient)
                continue
            update = self._update(state, gradient, group)
            for p, part in zip(params, update.split([p.numel() // rows for p in params], 1), strict=True):
                p.sub_(part.reshape(p.shape), alpha=group["lr"])

    @staticmethod
    def _start(state: dict[str, Any], gradient: torch.Tensor) -> None:
        state["step"] = 0
        state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["factors"] = {axis: _outer(gradient, axis) for axis in (0, 1) if gradient.shape[axis] <= LARGEST}
        state["basis"] = {axis: torch.linalg.eigh(factor)[1].flip(1) for axis, factor in state["factors"].items()}

    @staticmethod
    def _update(state: dict[str, Any], gradient: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        beta1, beta2 = group["betas"]
        factors, basis = state["factors"], state["basis"]
        state["step"] += 1
        for axis, factor in factors.items():
            factor.lerp_(_outer(gradient, axis), 1 - group["factor_beta"])
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].lerp_(_turned(gradient, basis).square(), 1 - beta2)
        mean = _turned(state["mean"], basis) / (1 - beta1 ** state["step"])
        square = state["square"] / (1 - beta2 ** state["step"])
        update = _turned(mean / (square.sqrt() + 1e-8), {axis: turn.T for axis, turn in basis.items()})
        if state["step"] % group["renew"] == 0:
            for axis, factor in factors.items():
                order = (basis[axis].T @ factor @ basis[axis]).diagonal().argsort(descending=True)
                state["square"] = state["square"].index_select(axis, order)
                basis[axis] = torch.linalg.qr(factor @ basis[axis][:, order])[0]
        return update


def _outer(gradient: torch.Tensor, axis: int) -> torch.Tensor:
    return gradient.T @ gradient if axis else gradient @ gradient.T


def _turned(matrix: torch.Tensor, basis: dict[int, torch.Tensor]) -> torch.Tensor:
    """A matrix in a basis for its columns (0), its rows (1), or both."""
    if 0 in basis:
        matrix = basis[0].T @ matrix
    return matrix @ basis[1] if 1 in basis else matrix
