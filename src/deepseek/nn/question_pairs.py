"""Whether two questions ask the same: the upper layers of a text encoder read both beside each other.

    net = PairNet(tower, num_frozen=10, num_sources=1)
    net(states, part, source)                # (N, L, H), (N, L), (N,) -> logits (N,)

The lower layers read each question alone, so their states can be kept (Cao et al. 2020, DeFormer, arXiv 2005.00697).
Above them the tokens of both stand in one row, and every token sees those of the other question, whose scores one
learned number a head raises or lowers. Nothing tells first from second, so the order of the two does not count. GELU is
taken in its form with tanh, which numpy has, too (engines/assistant/pair_judge.py).

Sources are tables of pairs that were labelled by different rules: each has its own scale and bias of the logit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.nn.pretrained import PretrainedTextEncoder

NO_TOKEN = -1  # in `part`; 0 and 1 are the two questions
START_OTHER = -0.5  # of the scores of the other question's tokens
MASKED = -1e4
#: Of the head's inputs, so that each is about as large as the others: |u - v|, u v, u + v, 1 - cosine.
DIFFERENCE, PRODUCT, TOTAL, DISTANCE = 1.0, 2.0, 0.1, 10.0


class PairNet(nn.Module):
    """States behind the frozen layers -> logits that the two questions of a row ask the same. Its layers are those of
    the tower, which learns with it."""

    def __init__(
        self,
        tower: PretrainedTextEncoder,
        *,
        num_frozen: int,
        num_sources: int,
        hidden: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.layers, self.dropout = tower.layers[num_frozen:], dropout
        self.activation = "relu" if tower.shape.activation == "relu" else "tanh"
        self.other = nn.Parameter(torch.full((len(self.layers), tower.shape.num_heads), START_OTHER))
        self.wide, self.out = nn.Linear(3 * tower.width + 1, hidden), nn.Linear(hidden, 1)
        self.scale, self.bias = nn.Parameter(torch.ones(num_sources)), nn.Parameter(torch.zeros(num_sources))

    def forward(self, states: Tensor, part: Tensor, source: Tensor) -> Tensor:
        """`states` (N, L, H): both questions one behind the other; `part` (N, L): 0, 1 or NO_TOKEN; `source` (N,)."""
        is_own = (part[:, :, None] == part[:, None, :])[:, None]
        is_none = (part == NO_TOKEN)[:, None, None]
        for place, layer in enumerate(self.layers):
            other = self.other[place][None, :, None, None]
            bias = torch.where(is_own, torch.zeros_like(other), other).masked_fill(is_none, MASKED)
            states = self._layer(layer, states, bias)
        logits = self._head(states.float(), part)
        scaled: Tensor = logits * self.scale[source] + self.bias[source]
        return scaled

    def _layer(self, layer: Any, x: Tensor, bias: Tensor) -> Tensor:
        """One layer of the tower with a bias (N, heads, L, L) on its scores. Attention by two products: on a CPU the
        fused one takes half of a step's time on its way back in bfloat16."""
        num, length, width = x.shape
        heads: int = bias.shape[1]
        q, k, v = (
            part(x).view(num, length, heads, -1).transpose(1, 2).reshape(num * heads, length, -1)
            for part in (layer.q, layer.k, layer.v)
        )
        scores = torch.bmm(q * (width // heads) ** -0.5, k.transpose(1, 2)).view(num, heads, length, length)
        weights = (scores + bias).softmax(-1).to(v.dtype).view(num * heads, length, length)
        mixed = torch.bmm(weights, v).view(num, heads, length, -1).transpose(1, 2).reshape(num, length, width)
        x = layer.norm1(x + self._drop(layer.o(mixed)))
        up = layer.up(x)
        up = functional.relu(up) if self.activation == "relu" else functional.gelu(up, approximate="tanh")
        y: Tensor = layer.norm2(x + self._drop(layer.down(up)))
        return y

    def _head(self, tokens: Tensor, part: Tensor) -> Tensor:
        """(N, L, H) -> (N,)."""
        first, second = (functional.normalize((tokens * (part == side)[..., None]).sum(1), dim=1) for side in (0, 1))
        root = tokens.shape[2] ** 0.5
        parts = [
            DIFFERENCE * root * (first - second).abs(), PRODUCT * root * first * second,
            TOTAL * root * (first + second), DISTANCE * (1 - (first * second).sum(1, keepdim=True)),
        ]  # fmt: skip
        wide = functional.gelu(self.wide(self._drop(torch.cat(parts, 1))), approximate="tanh")
        logits: Tensor = self.out(self._drop(wide))[:, 0]
        return logits

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)
