"""The upper layers of a text encoder with one direction for each intent: logits are cosines, scaled.

states = lower_states(tower, ids, num_layers=3)      # what the layers below give, once for all epochs
net = IntentNet(tower, num_intents=77, num_frozen=3, scale=20.0, dropout=0.1)
net(states, tower.mask(ids))                         # (N, L, H), (N, L) -> (N, C)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.nn.pretrained import PretrainedTextEncoder, mean_embedding


def lower_states(tower: PretrainedTextEncoder, ids: Tensor, num_layers: int) -> Tensor:
    """Token ids int64 (N, L) -> what the first `num_layers` layers make of them, (N, L, H)."""
    mask = tower.mask(ids)
    states: Tensor = tower.norm(tower.words(ids) + tower.places.weight[: ids.shape[1]])
    for layer in tower.layers[:num_layers]:
        states = layer(states, mask)
    return states


class IntentNet(nn.Module):
    """States (N, L, H) behind the frozen layers, and a mask (N, L), -> logits (N, C) between -scale and scale. Its
    layers are those of the tower, which learns with it."""

    def __init__(
        self, tower: PretrainedTextEncoder, num_intents: int, *, num_frozen: int, scale: float, dropout: float
    ) -> None:
        super().__init__()
        self.layers, self.scale, self.dropout = tower.layers[num_frozen:], scale, dropout
        self.directions = nn.Parameter(torch.randn(num_intents, tower.width) / tower.width**0.5)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            states = layer(states, mask)
        embedding = functional.dropout(mean_embedding(states, mask), self.dropout, self.training)
        logits: Tensor = self.scale * functional.linear(embedding, functional.normalize(self.directions, dim=1))
        return logits
