"""The perceptron of nn.dense as a torch module: E members that train side by side in one batched product.

Members differ by their starting weights and dropout masks alone; their mean is steadier than any one of them
(deep ensembles, Lakshminarayanan et al. 2017, section 2.4, without adversarial examples).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.contracts import Float32
from deepseek.nn.dense import MAX_SCALED, Perceptron


def scale_numbers(numbers: Tensor, logged: Tensor, centre: Tensor, scale: Tensor, clip: float) -> Tensor:
    """Numbers (B, Q) as nn.dense.Perceptron.join scales them: signed_log, centre and scale, smooth_clip."""
    numbers = torch.where(logged, numbers.sign() * torch.log(1 + numbers.abs()), numbers)
    numbers = (numbers - centre) / scale
    if math.isinf(clip):
        return numbers
    numbers = numbers.clamp(-MAX_SCALED, MAX_SCALED)
    return numbers / torch.sqrt(1 + (numbers / clip) ** 2)


def drop(x: Tensor, share: float) -> Tensor:
    """Dropout of about `share` of the numbers, to the next of 256 steps: each is decided by a random byte, eight of a
    draw. torch's own draws a float each, which took as long as all products of a small network together."""
    num_kept = 256 - round(256 * share)
    if num_kept == 256:
        return x
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    kept = words.view(torch.uint8)[: x.numel()].view(x.shape) < num_kept
    return x * (kept * (256 / num_kept))


class MemberLinear(nn.Module):
    """(E, B, fan_in) -> (E, B, fan_out), a weight of its own for each member."""

    def __init__(self, num_members: int, fan_in: int, fan_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(fan_in, 1))
        self.weight = nn.Parameter(torch.empty(num_members, fan_in, fan_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_members, 1, fan_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class MLP(nn.Module):
    """Prepared features (B, F) -> margins (E, B, K)."""

    def __init__(
        self,
        *,
        numeric: Sequence[int],  # features that enter as numbers
        centre: Float32,  # (Q,) subtracted from them
        scale: Float32,  # (Q,) divides them
        codes: Sequence[int],  # features that enter through an embedding
        num_levels: Sequence[int],  # levels of each of those, "other" (0) counted
        widths: Sequence[int],  # hidden widths
        num_margins: int,
        num_members: int = 4,
        dropout: float = 0.1,
        logged: Sequence[bool] = (),  # (Q,) which numbers enter by their signed logarithm; by default none
        clip: float = math.inf,  # where scaled numbers end; by default nowhere
    ) -> None:
        super().__init__()
        self.numeric, self.codes = list(numeric), list(codes)
        self.num_members, self.clip = num_members, clip
        self.centre: Tensor
        self.scale: Tensor
        self.logged: Tensor
        self.register_buffer("logged", torch.as_tensor(np.array(logged or [False] * len(numeric), np.bool_)))
        self.register_buffer("centre", torch.as_tensor(centre))
        self.register_buffer("scale", torch.as_tensor(scale))
        # width by the rule of thumb of fast.ai, capped: min(50, 1.6 levels^0.56) with a smaller cap
        self.embeddings = nn.ParameterList(
            nn.Parameter(torch.randn(num_members, levels, min(16, round(1.6 * levels**0.56))) * 0.1)
            for levels in num_levels
        )
        embedded = [table.shape[2] for table in self.embeddings]
        firsts = np.cumsum([0, *(levels * width for levels, width in zip(num_levels, embedded, strict=True))])
        # Of each number (W,) that the embeddings of a row hold: its feature, how many levels that has, how many numbers
        # one takes, and where it stands for level 0 when all tables lie in one row.
        self._code_of = np.repeat(np.array(self.codes, np.int64), embedded).tolist()
        self._levels: Tensor
        self._widths: Tensor
        self._firsts: Tensor
        self.register_buffer("_levels", torch.as_tensor(np.repeat(num_levels, embedded).astype(np.float32)), False)
        self.register_buffer("_widths", torch.as_tensor(np.repeat(embedded, embedded).astype(np.int64)), False)
        places = [first + np.arange(width) for first, width in zip(firsts[:-1], embedded, strict=True)]
        self.register_buffer("_firsts", torch.as_tensor(np.concatenate([np.zeros(0, np.int64), *places])), False)
        joined = len(self.numeric) + sum(embedded)
        sizes = [joined, *widths]
        self.hidden = nn.ModuleList(MemberLinear(num_members, a, b) for a, b in pairwise(sizes))
        self.head = MemberLinear(num_members, sizes[-1], num_margins)
        self.skip = nn.Parameter(torch.zeros(num_members, joined, num_margins))
        self.dropout = dropout

    def join(self, features: Tensor) -> Tensor:
        """The network's input (E, B, D) for features (B, F): scaled numbers, then embeddings."""
        numbers = scale_numbers(features[:, self.numeric], self.logged, self.centre, self.scale, self.clip)
        numbers = numbers.expand(self.num_members, -1, -1)
        if not self.codes:
            return numbers
        level = features[:, self._code_of]
        level = torch.where((level >= 0) & (level < self._levels), level, 0.0).long()
        place = self._firsts + level * self._widths
        # One look-up for all columns: of one each they took longer than the products.
        tables = torch.cat([table.flatten(1) for table in self.embeddings], dim=1)
        embedded = tables.index_select(1, place.flatten()).view(self.num_members, *place.shape)
        return torch.cat([numbers, embedded], dim=2)

    def forward(self, features: Tensor) -> Tensor:
        joined = self.join(features)
        x = joined
        for layer in self.hidden:
            x = torch.relu(layer(x))
            x = drop(x, self.dropout) if self.training else x
        margin: Tensor = self.head(x) + torch.bmm(joined, self.skip)
        return margin

    @torch.no_grad()
    def members(self, features: Float32, *, target_scale: float = 1.0, target_mean: float = 0.0) -> list[Perceptron]:
        """Each member as a numpy Perceptron. Margins are scaled back to the target's units; `features` (training rows)
        set the baseline of explanations.

        Embeddings, weights and skip are rounded to float16 first, in the module too, so that they are stored in half
        the room and every engine computes with the same numbers. A target's scale is multiplied in afterwards and in
        float32, for a float16 ends at 65504: the last layer and the skip of a regression take the full room.
        """
        layers = [*self.hidden, self.head]
        for parameter in (*self.embeddings, *(layer.weight for layer in layers), self.skip):
            parameter.copy_(parameter.half())
        joined = self.join(torch.as_tensor(features)).mean(dim=1)

        def array(x: Tensor) -> Float32:
            return np.ascontiguousarray(x.numpy(), dtype=np.float32)

        perceptrons = []
        for e in range(self.num_members):
            weights = [array(layer.weight[e]) for layer in layers]
            biases = [array(layer.bias[e, 0]) for layer in layers]
            weights[-1], biases[-1] = weights[-1] * target_scale, biases[-1] * target_scale + target_mean
            perceptrons.append(
                Perceptron(
                    numeric=np.array(self.numeric, np.int32), centre=array(self.centre), scale=array(self.scale),
                    codes=np.array(self.codes, np.int32), embeddings=[array(t[e]) for t in self.embeddings],
                    weights=[w.astype(np.float32) for w in weights], biases=[b.astype(np.float32) for b in biases],
                    skip=(array(self.skip[e]) * target_scale).astype(np.float32), baseline=array(joined[e]),
                    logged=self.logged.numpy(), clip=self.clip,
                )
            )  # fmt: skip
        return perceptrons
