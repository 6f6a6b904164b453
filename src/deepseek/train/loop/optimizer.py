"""The optimizer of a run: making it, setting its rate, and its state by the names of the parameters.

torch numbers an optimizer's state by the order of the parameters. Here it is named, so that a checkpoint of another
model, or of groups that were changed, is refused in words, and stages of a pipeline can share one checkpoint.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.train.checkpoint.state_tree import StateDict
from deepseek.train.loop.config import TrainConfig

#: The plain values of a parameter group, by name: lr, weight_decay, betas that are numbers ...
GroupSettings = dict[str, bool | int | float | str | None]
OptimizerFactory = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
SchedulerFactory = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


class EagerAdamW(torch.optim.AdamW):
    """AdamW for a model that is not compiled: the same steps to the bit, without torch._dynamo, which torch's own
    imports at its first step. That takes 1.8 CPU seconds, as much as a small net's training."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        return _PLAIN_STEP(self, closure)

    def add_param_group(self, param_group: dict[str, object]) -> None:
        _PLAIN_ADD(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        _PLAIN_ZERO(self, set_to_none)


_PLAIN_STEP, _PLAIN_ADD, _PLAIN_ZERO = (
    inspect.unwrap(function)
    for function in (torch.optim.AdamW.step, torch.optim.AdamW.add_param_group, torch.optim.AdamW.zero_grad)
)


def make_optimizer(
    optimizer: torch.optim.Optimizer | OptimizerFactory | None, named: Mapping[str, nn.Parameter], config: TrainConfig
) -> torch.optim.Optimizer:
    """The optimizer that is given, the one that a given function makes, or AdamW.

    InputError for a model without parameters to train, and for an optimizer of another model.
    """
    parameters = list(named.values())
    if not parameters:
        raise InputError(
            "the model has no parameter that can be trained", expected="one with requires_grad",
            fix="call requires_grad_() on what should learn",
        )  # fmt: skip
    if optimizer is None:
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    built = optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(parameters)
    if not isinstance(built, torch.optim.Optimizer):
        raise InputError(
            f"the optimizer is a {type(built).__name__}",
            expected="a torch.optim.Optimizer, or a function that makes one",
            fix="such as optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1)",
        )  # fmt: skip
    covered = {id(p) for group in built.param_groups for p in group["params"]}
    missing = [name for name, p in named.items() if id(p) not in covered]
    if len(missing) == len(named):
        raise InputError(
            f"the optimizer holds no parameter of this model, such as {missing[0]!r}",
            expected="an optimizer made with model.parameters()",
            fix="make it after the model is moved or wrapped, or give a function of the parameters",
        )
    return built


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether step() asks for the loss itself, as LBFGS does."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def set_rates(optimizer: torch.optim.Optimizer, peaks: list[Any], share: float) -> None:
    """Set the rate of each group to `share` of its peak, in place where it is a tensor."""
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(peak * share)
        else:
            group["lr"] = peak * share


def current_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate, of the first group where there are several."""
    current = getattr(optimizer, "get_current_lr", None)
    return float(current() if current else optimizer.param_groups[0]["lr"])


def group_settings(optimizer: torch.optim.Optimizer) -> list[GroupSettings]:
    """What each parameter group was made with, plain values only."""
    plain = (bool, int, float, str, type(None))
    return [
        {key: value for key, value in group.items() if isinstance(value, plain)} for group in optimizer.param_groups
    ]


def named_optimizer_state(optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> StateDict:
    """optimizer.state_dict() with names in the place of numbers."""
    names = _parameter_names(optimizer, named)
    tree: StateDict = dict(optimizer.state_dict())
    tree["state"] = {names[key] if isinstance(key, int) else key: value for key, value in tree["state"].items()}
    tree["param_groups"] = [{**group, "params": [names[i] for i in group["params"]]} for group in tree["param_groups"]]
    return tree


def load_named_optimizer_state(
    optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter], saved: StateDict
) -> None:
    """Give the optimizer its state back. InputError when its groups are others than the checkpoint's."""
    names = _parameter_names(optimizer, named)
    now = [[names[i] for i in group["params"]] for group in optimizer.state_dict()["param_groups"]]
    before = [group["params"] for group in saved["param_groups"]]
    if now != before:
        raise InputError(
            _describe_difference(now, before), expected="the parameter groups with which the run began",
            fix="make the optimizer as it was, or begin anew in another folder",
        )  # fmt: skip
    index = {name: i for i, name in enumerate(names)}
    tree = dict(saved)
    tree["state"] = {index.get(key, key): value for key, value in tree["state"].items()}
    tree["param_groups"] = [{**group, "params": [index[n] for n in group["params"]]} for group in tree["param_groups"]]
    optimizer.load_state_dict(tree)


def _describe_difference(now: list[list[str]], before: list[list[str]]) -> str:
    if len(now) != len(before):
        return f"the optimizer has {len(now)} parameter groups, and the checkpoint {len(before)}"
    group = next(i for i, (new, old) in enumerate(zip(now, before, strict=True)) if new != old)
    added = [name for name in now[group] if name not in before[group]]
    gone = [name for name in before[group] if name not in now[group]]
    what = f"now holds {added[0]!r}" if added else f"no longer holds {gone[0]!r}" if gone else "has another order"
    return f"group {group} of the optimizer {what}: it was changed since the checkpoint"


def _parameter_names(optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> list[str]:
    """The names of all parameters that the optimizer holds, in the order of torch's numbers for them."""
    by_id = {id(p): name for name, p in named.items()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return [by_id.get(id(p), f"not in the model: {i}") for i, p in enumerate(parameters)]
