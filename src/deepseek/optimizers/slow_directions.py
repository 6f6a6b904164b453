"""The slow mean of a tensor's directions, which joins each step of a training whose length is not known.

    are_slow(part)                             # (n,) of the tensors of a slice
    add_slow_directions(part)                  # to those in state["direction"]
    count_free_steps(part, are_cut, step)      # after a step

After AdEMAMix (arXiv 2409.03137): d = u + w s, where s is the mean of the directions u of about the last ninth of all
steps. What many steps agree on is gone along further, and no noise comes with it as it would with a higher rate. The
weight w grows by the steps in which the rate that was found was the tensor's own (`free_steps` counts them), and falls
by those in which its bound cut it: there the hypergradient does not hold the rate, and would not see that s goes too
far. A training of known length has a higher rate, and an end that takes the noise out, instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepseek.optimizers.config import SLOW_FROM_STEP, SLOW_RAMP_STEPS, slow_share, slow_weight
from deepseek.optimizers.slices import ParameterSlice


def are_slow(part: ParameterSlice) -> Tensor:
    """Which tensors of a slice have a slow mean in this step (n,), on the group's device."""
    if part.group["total_steps"] is not None:
        return torch.zeros_like(part.at, dtype=torch.bool)
    are: Tensor = part.group["free_steps"][part.at] > 0
    return are


def add_slow_directions(part: ParameterSlice) -> None:
    """Take directions into their slow means, and the means into the directions, where the slice says so."""
    if not any(part.uses_slow):
        return
    weights = slow_weight(part.group["free_steps"][part.at])
    for weight, state, is_used in zip(weights, part.states, part.uses_slow, strict=True):
        if is_used:
            direction = state["direction"]
            if "slow_direction" not in state:
                state["slow_direction"] = torch.zeros_like(direction)
            state["slow_direction"].lerp_(direction, slow_share(state["step"]))
            direction.addcmul_(state["slow_direction"], weight.to(direction.device, direction.dtype))


def count_free_steps(part: ParameterSlice, are_cut: Tensor, step: int) -> None:
    """Count a step; `are_cut` says of each tensor whether its bound lay below the rate that was found (n,)."""
    if part.group["total_steps"] is None and step >= SLOW_FROM_STEP:
        free_steps = part.group["free_steps"]
        free_steps[part.at] = (free_steps[part.at] + torch.where(are_cut, -1.0, 1.0)).clamp(0.0, SLOW_RAMP_STEPS)
