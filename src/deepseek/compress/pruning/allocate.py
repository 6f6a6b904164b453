"""Allocation of a pruning budget: the number of channels that each group keeps.

    channels_left = allocate_channels(traced, Pruning(drop=0.30))          # {group: channels that stay}

Not uniform: a network's parameters lie in its last layers and its time in its first, so the same share everywhere
removes 30 % of the parameters and little of the time. Here, step by step, the group is cut whose next channels have the
best ratio of time saved to price, until enough parameters are removed:

    gain(group) = time saved / price
    price = speed (parameters gone / those of the network) + (1 - speed) lost
    lost  = M (importance of the channels that go / importance of the channels that were left) / number of layers

The parameters are a budget: a cut that spends little of it for much time leaves the rest to others. M counts the sides
of convolutions and linear layers that the group cuts; `lost` is a step of -M log(importance left), so the price of a
group rises as it shrinks. Time is each layer's measured time, in proportion to the channels left on both its sides;
with allocation "flops" it is multiply-adds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deepseek.compress.pruning.config import Pruning
from deepseek.compress.pruning.trace import NetworkCost, TracedModule
from deepseek.errors import InputError


def allocate_channels(traced: TracedModule, config: Pruning, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """Channels that stay, by group. `sizes`: group sizes that `cap` is a share of, where they are not the current ones.

    InputError when nothing can be removed, or less than `drop` within `cap`.
    """
    reference_sizes = {**traced.sizes, **(sizes or {})}
    minimum = {name: min(size, min_channels(reference_sizes[name], config)) for name, size in traced.sizes.items()}
    if minimum == traced.sizes:
        raise InputError(
            "nothing can be pruned: " + _refusal_text(traced, config), expected="channels that lead to other layers",
            fix="lower prune.round_to, raise prune.cap, or leave pruning out of the plan",
        )  # fmt: skip
    total = traced.cost(traced.sizes)
    max_drop = 1 - traced.cost(minimum).params / total.params
    if max_drop < config.drop:
        raise InputError(
            f"prune.drop is {config.drop:g}, and within prune.cap {config.cap:g} "
            f"at most {max_drop:.3f} of the parameters go",
            expected="a share that can go",
            fix=f"lower prune.drop to {np.floor(100 * max_drop) / 100:g} or raise prune.cap",
        )  # fmt: skip
    if config.allocation == "uniform":
        return _allocate_uniform(traced, config, minimum, total)
    return _allocate_greedy(traced, config, minimum, total)


def min_channels(size: int, config: Pruning) -> int:
    """The fewest channels that a group of `size` may be left with.

    >>> min_channels(64, Pruning(cap=0.75)), min_channels(60, Pruning(round_to=8)), min_channels(6, Pruning())
    (16, 16, 6)
    """
    return min(size, _round_up(size * (1 - config.cap), config.round_to))


def _round_up(value: float, unit: int) -> int:
    """The next multiple of `unit`, at least one of them."""
    return unit * max(1, int(np.ceil(round(value, 6) / unit)))


def _refusal_text(traced: TracedModule, config: Pruning) -> str:
    if not traced.groups:
        return "each layer's channels are the output of the network, or are kept"
    largest = max(traced.groups.values(), key=lambda group: group.size)
    return (
        f"the largest group of channels, {largest.name!r}, has {largest.size}, and they go in steps of "
        f"{config.round_to}, {config.cap:g} of them at most"
    )


def _allocate_uniform(
    traced: TracedModule, config: Pruning, minimum: Mapping[str, int], total: NetworkCost
) -> dict[str, int]:
    """The same share for every group: the smallest, in steps of 0.001, that removes enough parameters."""
    for share in np.arange(0, 1.001, 0.001):
        channels_left = {
            name: max(minimum[name], min(size, config.round_to * round(size * (1 - share) / config.round_to)))
            for name, size in traced.sizes.items()
        }
        if 1 - traced.cost(channels_left).params / total.params >= config.drop:
            break
    return channels_left


def _allocate_greedy(
    traced: TracedModule, config: Pruning, minimum: Mapping[str, int], total: NetworkCost
) -> dict[str, int]:
    channels_left = traced.sizes
    totals = {name: np.concatenate([[0.0], np.cumsum(np.sort(g.importance))]) for name, g in traced.groups.items()}
    neighbors = {
        name: [other for other, group in traced.groups.items() if set(group.layers) & set(traced.groups[name].layers)]
        for name in traced.groups
    }
    gains = {name: _gain(traced, name, channels_left, config, minimum, totals[name], total) for name in traced.groups}
    while 1 - traced.cost(channels_left).params / total.params < config.drop:
        name = max(gains, key=gains.__getitem__)
        channels_left[name] = _next_smaller(channels_left[name], config.round_to)
        for other in neighbors[name]:
            gains[other] = _gain(traced, other, channels_left, config, minimum, totals[other], total)
    return channels_left


def _next_smaller(channels: int, unit: int) -> int:
    """The next smaller multiple of `unit`.

    >>> _next_smaller(64, 8), _next_smaller(60, 8)
    (56, 56)
    """
    return (channels - 1) // unit * unit


def _gain(
    traced: TracedModule, name: str, channels_left: Mapping[str, int], config: Pruning, minimum: Mapping[str, int],
    totals: np.ndarray, total: NetworkCost,
) -> float:  # fmt: skip
    """Gain of the group's next step (formula in the module docstring); minus infinity where no more may be removed.
    totals[i]: summed importance of the i least important channels."""
    group = traced.groups[name]
    after = _next_smaller(channels_left[name], config.round_to)
    if after < minimum[name]:
        return -np.inf
    cost_now = traced.cost(channels_left, group.layers)
    cost_after = traced.cost({**channels_left, name: after}, group.layers)
    if config.allocation == "latency":
        saving = (cost_now.seconds - cost_after.seconds) / total.seconds
    else:
        saving = (cost_now.macs - cost_after.macs) / total.macs
    gone_before, gone_after = totals[group.size - channels_left[name]], totals[group.size - after]
    relative_loss = group.num_matrices * (gone_after - gone_before) / (totals[-1] - gone_before) / len(traced.layers)
    price = config.speed * (cost_now.params - cost_after.params) / total.params + (1 - config.speed) * relative_loss
    return float(saving / max(price, 1e-12))
