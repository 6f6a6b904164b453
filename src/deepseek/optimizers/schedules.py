"""What a scheduler of torch means to AdaptiveOptimizer: its shape, whatever the optimizer finds beside it.

A scheduler writes the group's "lr". The highest "lr" that a group has had, its first one included, is its peak; what
the scheduler asks for is the share lr / peak. The share multiplies both what the optimizer found and the bounds of a
step. While it is below FREE_SHARE the optimizer's own factor stays: else it would answer a falling schedule by a larger
factor, and the schedule would not be felt. It is cut even then where steps go much too far.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepseek.optimizers.config import FREE_SHARE, HELD_CUT, ParameterGroup


def schedule_share(group: ParameterGroup) -> float:
    """The share of its peak at which a scheduler holds a group's "lr", times what the end of a training of known length
    leaves of it, 0 to 1; a higher "lr" is a new peak."""
    lr = float(group["lr"])
    group["peak_lr"] = max(group["peak_lr"], lr)
    return lr / float(group["peak_lr"]) * float(group["cooldown"])


def scheduled_rate(group: ParameterGroup) -> Tensor:
    """What was found, as scheduler and end of training have it: the rate without the bounds of tensors ()."""
    control: Tensor = group["control"]
    rate: Tensor = control[0].exp() * group["lr"] * group["cooldown"]
    return rate


def effective_rate(group: ParameterGroup) -> Tensor:
    """The rate of a group's next step (): what was found, or the largest that trust allows a tensor, if that is less.
    As long as no step was taken nothing but the found rate is known."""
    control: Tensor = group["control"]
    limit = (group["limits"].max() * schedule_share(group)).to(control.device)
    rate = scheduled_rate(group)
    return torch.where(limit > 0, torch.minimum(rate, limit), rate)


def held_change(change: float, share: float) -> float:
    """How the logarithm of the optimizer's factor may change while a scheduler holds the rate at `share`."""
    return change if share >= FREE_SHARE else change * (change < HELD_CUT)
