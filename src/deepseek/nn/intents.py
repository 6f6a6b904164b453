"""A text encoder with one direction for each intent: logits are cosines, scaled.

net = IntentNet(PretrainedTextEncoder(shape), num_intents=77, scale=20.0, dropout=0.1)
net(ids)                                             # int64 (N, L) -> (N, C)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.nn.pretrained import PretrainedTextEncoder, mean_embedding


class IntentNet(nn.Module):
    """Token ids int64 (N, L) -> logits (N, C), between -scale and scale."""

    def __init__(self, tower: PretrainedTextEncoder, num_intents: int, *, scale: float, dropout: float) -> None:
        super().__init__()
        self.tower, self.scale, self.dropout = tower, scale, dropout
        self.directions = nn.Parameter(torch.randn(num_intents, tower.width) / tower.width**0.5)

    def forward(self, ids: Tensor) -> Tensor:
        embedding = mean_embedding(self.tower(ids), self.tower.mask(ids))
        embedding = functional.dropout(embedding, self.dropout, self.training)
        logits: Tensor = self.scale * functional.linear(embedding, functional.normalize(self.directions, dim=1))
        return logits
