"""Which classes a picture shows, by a linear map of what a trunk sees that was never trained on these pictures.

    classifier = FrozenClassifier(trunk, weight, bias)
    probabilities = classifier(pictures)     # (N, 3, H, W), normalized -> (N, K)

A detector learns its few pictures by heart; the trunk that it began with has not seen them, so the two err on different
pictures, and what both say is surer than either.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepseek.nn.detector.trunk import Trunk

LEAST_VARIANCE = 1e-6  # below the root, whose slope at zero no graph should meet


class FrozenClassifier(nn.Module):
    """Pictures (N, 3, H, W), normalized as for the trunk -> probabilities (N, K) that each class is there."""

    def __init__(self, trunk: Trunk, weight: Tensor, bias: Tensor) -> None:
        """`weight`: (K, F) for F features of pool_maps(); `bias`: (K,)."""
        super().__init__()
        self.trunk = trunk
        self.logits = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.logits.weight.copy_(weight)
            self.logits.bias.copy_(bias)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        probabilities: Tensor = self.logits(pool_maps(self.trunk(pictures))).sigmoid()
        return probabilities


def pool_maps(maps: list[Tensor]) -> Tensor:
    """Maps (N, C_i, h_i, w_i) -> (N, F): of each channel the mean, the standard deviation and the maximum.

    >>> pool_maps([torch.tensor([[[[1.0, 3.0]]]])]).round(decimals=3).tolist()
    [[2.0, 1.0, 3.0]]
    """
    parts = []
    for each in maps:
        mean = each.mean((2, 3), keepdim=True)
        deviation = ((each - mean).square().mean((2, 3)) + LEAST_VARIANCE).sqrt()
        parts += [mean.flatten(1), deviation, each.amax((2, 3))]
    return torch.cat(parts, 1)
