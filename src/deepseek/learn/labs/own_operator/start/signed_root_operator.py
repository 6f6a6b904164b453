"""The signed root, as an operator of torch."""

import torch
from torch import Tensor


def signed_root(x: Tensor, scale: Tensor, offset: float) -> Tensor:
    """sign(x) * (sqrt(|x| / scale + offset^2) - offset) for x (N, F) and scale (F,)."""
    return torch.zeros_like(x)
