"""The parameters of a group that take part in a step of AdaptiveOptimizer, as lists in one order."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from deepseek.optimizers.config import ParameterGroup, ParameterState


@dataclass
class ParameterSlice:
    """The parameters of one group that have a gradient, all lists in one order (n of them)."""

    group: ParameterGroup
    at: Tensor  # (n,) indices in the group
    params: list[Tensor]  # what this rank holds of each
    grads: list[Tensor]  # the same part, in the shape of the moments
    states: list[ParameterState]
    whole: list[nn.Parameter]  # the parameters themselves, which may be sharded
    uses_slow: list[bool] = field(default_factory=list)  # whether the slow mean of directions joins each in this step

    @property
    def sizes(self) -> Tensor:
        """(n,) elements of each whole parameter."""
        return torch.tensor([param.numel() for param in self.whole], dtype=torch.float32, device=self.at.device)


def split_slice(part: ParameterSlice) -> list[ParameterSlice]:
    """All at once, or one tensor after the other."""
    if part.group["foreach"]:
        return [part]
    return [
        ParameterSlice(part.group, part.at[i : i + 1], part.params[i : i + 1], part.grads[i : i + 1],
        part.states[i : i + 1], part.whole[i : i + 1], part.uses_slow[i : i + 1])
        for i in range(len(part.params))
    ]  # fmt: skip


def sum_scalars(values: list[Tensor], like: Tensor) -> Tensor:
    """The sum of scalars () on any devices, on the device and in the precision of another tensor."""
    if not values:
        return like.new_zeros(())
    return torch.stack([value.to(like.device, like.dtype) for value in values]).sum()
