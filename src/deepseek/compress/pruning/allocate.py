"""How many channels each group keeps.

    left = allocate(traced, Pruning(drop=0.30))          # {group: channels that stay}

Not uniform: a network's parameters lie in its last layers and its time in its first, so the same share everywhere takes
30 % of the parameters and little of the time. Here the group gives next whose next channels save most time for what
they cost, until enough parameters are gone:

    gain(group) = time saved / price
    price = speed (parameters gone / those of the network) + (1 - speed) lost
    lost  = M (importance of the channels that go / importance of the channels that were left) / number of layers

The parameters are a budget: what spends little of it for much time leaves the rest to others. M counts the sides of
convolutions and linear layers that the group cuts; `lost` is a step of -M log(importance left), so a group grows dearer
the less is left of it. Time is what each layer took when it was measured, in proportion to what is left on both its
sides; with allocation "flops" it is multiply-adds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deepseek.compress.pruning.config import Pruning
from deepseek.compress.pruning.trace import ChannelGroup, NetworkCost, TracedModule
from deepseek.errors import InputError


def allocate_channels(traced: TracedModule, knobs: Pruning, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """Channels that stay, by group. `sizes`: those that `cap` is a share of, where they are not those of now.

    InputError when nothing can go, or not as much as `drop` within `cap`.
    """
    of = {**traced.sizes, **(sizes or {})}
    least = {name: min(group.size, min_channels(of[name], knobs)) for name, group in traced.groups.items()}
    if all(least[name] == group.size for name, group in traced.groups.items()):
        raise InputError(
            "nothing can be pruned: " + _refusal_text(traced, knobs), expected="channels that lead to other layers",
            fix="lower prune.round_to, raise prune.cap, or leave pruning out of the plan",
        )  # fmt: skip
    whole = traced.cost(traced.sizes)
    most = 1 - traced.cost(least).params / whole.params
    if most < knobs.drop:
        raise InputError(
            f"prune.drop is {knobs.drop:g}, and within prune.cap {knobs.cap:g} at most {most:.3f} of the parameters go",
            expected="a share that can go",
            fix=f"lower prune.drop to {np.floor(100 * most) / 100:g} or raise prune.cap",
        )  # fmt: skip
    if knobs.allocation == "uniform":
        return _allocate_uniform(traced, knobs, least, whole)
    return _allocate_greedy(traced, knobs, least, whole)


def min_channels(size: int, knobs: Pruning) -> int:
    """The fewest channels that a group of `size` may be left with.

    >>> min_channels(64, Pruning(cap=0.75)), min_channels(60, Pruning(round_to_grid=8)), min_channels(6, Pruning())
    (16, 16, 6)
    """
    return min(size, _round_up(size * (1 - knobs.cap), knobs.round_to))


def _round_up(value: float, unit: int) -> int:
    """The next multiple of `unit`, at least one of them."""
    return unit * max(1, int(np.ceil(round(value, 6) / unit)))


def _refusal_text(traced: TracedModule, knobs: Pruning) -> str:
    if not traced.groups:
        return "each layer's channels are the output of the network, or are kept"
    largest = max(traced.groups.values(), key=lambda group: group.size)
    return (
        f"the largest group of channels, {largest.name!r}, has {largest.size}, and they go in steps of "
        f"{knobs.round_to}, {knobs.cap:g} of them at most"
    )


def _allocate_uniform(
    traced: TracedModule, knobs: Pruning, least: Mapping[str, int], whole: NetworkCost
) -> dict[str, int]:
    """The same share everywhere: the smallest, in thousandths, at which enough parameters are gone."""
    for share in np.arange(0, 1.001, 0.001):
        left = {
            name: max(least[name], min(group.size, knobs.round_to * round(group.size * (1 - share) / knobs.round_to)))
            for name, group in traced.groups.items()
        }
        if 1 - traced.cost(left).params / whole.params >= knobs.drop:
            break
    return left


def _allocate_greedy(
    traced: TracedModule, knobs: Pruning, least: Mapping[str, int], whole: NetworkCost
) -> dict[str, int]:
    left = traced.sizes
    totals = {name: np.concatenate([[0.0], np.cumsum(np.sort(g.importance))]) for name, g in traced.groups.items()}
    touching = {
        name: [other for other, group in traced.groups.items() if set(group.layers) & set(traced.groups[name].layers)]
        for name in traced.groups
    }
    gains = {name: _gain(traced, name, left, knobs, least, totals[name], whole) for name in traced.groups}
    while 1 - traced.cost(left).params / whole.params < knobs.drop:
        name = max(gains, key=gains.__getitem__)
        left[name] = _next_smaller(left[name], knobs.round_to)
        for other in touching[name]:
            gains[other] = _gain(traced, other, left, knobs, least, totals[other], whole)
    return left


def _next_smaller(channels: int, unit: int) -> int:
    """The next smaller multiple of `unit`.

    >>> _next(64, 8), _next(60, 8)
    (56, 56)
    """
    return (channels - 1) // unit * unit


def _gain(
    traced: TracedModule, name: str, left: Mapping[str, int], knobs: Pruning, least: Mapping[str, int],
    totals: np.ndarray, whole: NetworkCost,
) -> float:  # fmt: skip
    """See the module; minus infinity where no more may go. totals[i]: importance of the i least important channels."""
    group: ChannelGroup = traced.groups[name]
    after = _next_smaller(left[name], knobs.round_to)
    if after < least[name]:
        return -np.inf
    now = traced.cost(left, group.layers)
    then = traced.cost({**left, name: after}, group.layers)
    if knobs.allocation == "latency":
        saved = (now.seconds - then.seconds) / whole.seconds
    else:
        saved = (now.macs - then.macs) / whole.macs
    gone = totals[group.size - after] - totals[group.size - left[name]]
    lost = group.num_matrices * gone / (totals[-1] - totals[group.size - left[name]]) / len(traced.layers)
    price = knobs.speed * (now.params - then.params) / whole.params + (1 - knobs.speed) * lost
    return float(saved / max(price, 1e-12))
