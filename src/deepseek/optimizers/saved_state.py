"""A state of AdaptiveOptimizer that comes from a file: refused where it is another optimizer's, completed where it is
from before some part of it was there.

    check_state(state_dict)
    complete_group(group, device)
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import StateDict

from deepseek.errors import InputError
from deepseek.optimizers.config import BETA1, BETA2, TRUST_HALF_LIFE_STEPS, ParameterGroup

NUM_CONTROLS = 4  # of a group: the logarithm of the rate's factor, mean and mean square of the cosine, mean norm


def check_state(state_dict: StateDict) -> None:
    """InputError when another optimizer made it, or another version of this one."""
    missing = {"control", "bounds", "step"} - set(state_dict["param_groups"][0])
    if missing:
        raise InputError(
            f"the state has no {', '.join(sorted(missing))}: another optimizer made it",
            expected="a state_dict of AdaptiveOptimizer",
            fix="load the checkpoint that this optimizer made, or start without its state",
        )
    for group in state_dict["param_groups"]:
        if tuple(group["control"].shape) != (NUM_CONTROLS,):
            raise InputError(
                f"the state has {group['control'].numel()} controls: another version of this optimizer made it",
                expected=f"{NUM_CONTROLS}",
                fix="load it with the version that made it, or start without its state",
            )


def complete_group(group: ParameterGroup, device: torch.device) -> None:
    """Give a group what was not there yet when its state was written, and its tensors on `device`."""
    usual = {
        "trust_steps": TRUST_HALF_LIFE_STEPS, "betas": (BETA1, BETA2), "num_skipped": 0, "num_zero": 0,
        "total_steps": None, "cooldown": 1.0, "peak_lr": max(float(group["lr"]), group["initial_lr"]),
        "limits": torch.zeros_like(group["norms"]), "free_steps": torch.zeros_like(group["norms"]),
        "num_calls": group["step"] + group.get("num_skipped", 0),
    }  # fmt: skip
    for name, value in usual.items():
        group.setdefault(name, value)
    for name in ("control", "bounds", "norms", "limits", "free_steps"):
        group[name] = group[name].to(device, copy=True)
