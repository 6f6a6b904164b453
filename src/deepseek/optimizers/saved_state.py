"""The state of AdaptiveOptimizer: new, or from a file, which may be of another optimizer, or of a version that did not
have all of it; and its precision.

    start_group(group, head, device)
    name_of_dtype(torch.bfloat16)               # "bfloat16", as a group has it and a file of text can
    check_state(state_dict); complete_group(group, device); cast_moments(group, states)

In bfloat16 are the mean of the gradients, the direction and its slow mean, half a copy each; the mean of the squares is
not: from some hundred steps on its changes are smaller than what bfloat16 tells apart. The slow mean changes as little,
so it is rounded by chance (directions.py). Small tensors, and those with eigenbases, keep full precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.optimizer import StateDict

from deepseek.errors import InputError
from deepseek.optimizers.config import BETA1, BETA2, TRUST_HALF_LIFE_STEPS, ParameterGroup, ParameterState
from deepseek.optimizers.slices import local_part
from deepseek.optimizers.stacks import dtype_of_moments

LOW_PRECISION = ("exp_avg", "direction", "slow_direction")

NUM_CONTROLS = 4  # of a group: the logarithm of the rate's factor, mean and mean square of the cosine, mean norm


def start_group(group: ParameterGroup, head: ParameterGroup, device: torch.device) -> None:
    """Give a new group its state. `head`: the first group, which may be this one. InputError for its state_dtype."""
    group["state_dtype"] = name_of_dtype(group["state_dtype"])
    num_params = len(group["params"])
    group["bounds"] = torch.full(
        (num_params,), math.inf, dtype=torch.float32, device=device
    )  # of the root mean square of each matrix
    group["norms"] = torch.zeros(num_params, dtype=torch.float32, device=device)  # of the directions taken last
    group["free_steps"] = torch.zeros_like(group["norms"])  # of each tensor: directions.py has them
    # The rate that the trust in each tensor allows, 0 before its first step; and the highest "lr" so far.
    group["limits"], group["peak_lr"] = torch.zeros_like(group["norms"]), float(group["lr"])
    # log of the rate by "lr", means of alignment, its square, the gradient's norm: those of the first group
    group["control"] = torch.zeros(NUM_CONTROLS, dtype=torch.float32, device=device)
    group["step"] = 0
    group["peak_norm"] = 0.0  # the largest mean norm of the gradient so far, likewise
    # The length of the training, and what its end leaves of the rate.
    group["total_steps"], group["cooldown"] = head.get("total_steps"), head.get("cooldown", 1.0)
    group["num_skipped"] = 0  # steps of which nothing was taken; that of the first group counts
    group["num_zero"] = 0  # steps in a row whose gradients were all 0, likewise
    group["num_calls"] = 0  # of step(), whatever came of it: what total_steps counts, likewise


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
        "peak_norm": 1e30,  # not known: gradients count as vanishing, as they did in that version
    }  # fmt: skip
    for name, value in usual.items():
        group.setdefault(name, value)
    for name in ("control", "bounds", "norms", "limits", "free_steps"):
        group[name] = group[name].to(device, copy=True)


def name_of_dtype(dtype: torch.dtype | str | None) -> str | None:
    """The precision of moments as a group has it: "bfloat16", or None for that of the parameters. InputError for any
    other."""
    if dtype in (torch.bfloat16, "bfloat16"):
        return "bfloat16"
    if dtype in (torch.float32, None):
        return None
    raise InputError(
        f"state_dtype is {dtype}", expected="torch.bfloat16, or None for that of the parameters",
        fix="give one of them, or leave it out",
    )  # fmt: skip


def cast_moments(group: ParameterGroup, states: Mapping[Tensor, ParameterState]) -> None:
    """Give the moments of a group's parameters its precision: torch loads all in that of the parameters."""
    for param in group["params"]:
        state = states.get(param) or {}
        for name in (name for name in LOW_PRECISION if name in state):
            state[name] = state[name].to(dtype_of_moments(local_part(param), state["eigen"], group["state_dtype"]))
