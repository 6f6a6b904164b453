"""The module around the operator: what trains. part.MonotoneSplines is what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepseek.contracts import Float32
from monotone_splines.operator import PYTHON, monotone_spline

#: On the scale of z, where the quartiles are 1 apart: normal numbers leave the knots once in 140.
FIRST, STEP, NUM_KNOTS = -2.0, 0.5, 9


class SplineModule(nn.Module):
    """Prepared features (B, F) -> margins (B, M). `namespace` says which twin of the operator runs."""

    read: Tensor
    centre: Tensor
    scale: Tensor
    signs: Tensor

    def __init__(
        self, read: NDArray[np.int64], centre: Float32, scale: Float32, *, signs: NDArray[np.int64],
        num_margins: int, namespace: str = PYTHON,
    ) -> None:  # fmt: skip
        super().__init__()
        self.namespace = namespace
        for name, array in (("read", read), ("centre", centre), ("scale", scale), ("signs", signs[:, None])):
            self.register_buffer(name, torch.as_tensor(array))
        self.raw_slopes = nn.Parameter(torch.zeros(len(read), NUM_KNOTS))
        self.raw_coef = nn.Parameter(torch.randn(len(read), num_margins) * 0.01)
        self.bias = nn.Parameter(torch.zeros(num_margins))

    @property
    def knots(self) -> Float32:
        return np.arange(NUM_KNOTS, dtype=np.float32) * np.float32(STEP) + np.float32(FIRST)

    def slopes(self) -> Tensor:
        """(Q, K), above zero: the curves start as straight lines of slope one and can only rise."""
        return torch.exp(self.raw_slopes)

    def coef(self) -> Tensor:
        """(Q, M): of the sign that the user set, or free where `signs` is zero."""
        return torch.where(self.signs == 0, self.raw_coef, self.signs * self.raw_coef.abs())

    def forward(self, features: Tensor) -> Tensor:
        z = (features[:, self.read] - self.centre) / self.scale
        curves = monotone_spline(z, self.slopes(), first=FIRST, step=STEP, namespace=self.namespace)
        margin: Tensor = curves @ self.coef() + self.bias
        return margin


def loss_of(task: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Weighted mean loss of margins (B, M), a target (B,) and weights (B,)."""

    def loss(margin: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        if task == "binary":
            each = functional.binary_cross_entropy_with_logits(margin[:, 0], target, reduction="none")
        elif task == "multiclass":
            each = functional.cross_entropy(margin, target, reduction="none")
        else:
            each = (margin[:, 0] - target) ** 2
        return (each * weight).mean()

    return loss
