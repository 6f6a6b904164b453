"""The direction of a step: Adam's with Nesterov's look-ahead, in the eigenbases of a matrix or element by element.

    update_directions(part, clip)                                   # all tensors of a slice
    update_matrix_direction(step, grad, state, clip, betas)         # one matrix (m, n)
    update_elementwise_directions(step, grads, states, clip, betas) # many tensors at once

All leave it in state["direction"]. `clip` is what gradients are scaled by, `step` counts a tensor's steps from 1, and
`betas` are the decays of the two moments; adaptive.py has the algorithm and its sources.

    are_slow(part)                             # (n,) of the tensors of a slice: which have a slow mean of directions
    add_slow_directions(part)                  # to those in state["direction"]
    count_free_steps(part, are_cut, step)      # after a step

After AdEMAMix (arXiv 2409.03137): d = u + w s, where s is the mean of the directions u of about the last ninth of all
steps. What many steps agree on is gone along further, and no noise comes with it as it would with a higher rate. The
weight w grows by the steps in which the rate that was found was the tensor's own (`free_steps` counts them), and falls
by those in which its bound cut it: there the hypergradient does not hold the rate, and would not see that s goes too
far. With w the threshold under which the rate is cut goes up (config.threshold_at): s makes the way, so the rest of a
step may be shorter and bring less noise. A training of known length has a higher rate, and an end that takes the noise
out, instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from deepseek.optimizers import kronecker
from deepseek.optimizers.config import (
    EPS,
    MIN_SCALE,
    PIECE_ELEMENTS,
    SLOW_FROM_STEP,
    SLOW_RAMP_STEPS,
    ParameterState,
    slow_share,
    slow_weight,
)
from deepseek.optimizers.slices import ParameterSlice, stack_scalars
from deepseek.optimizers.stacks import Unit


def update_directions(part: ParameterSlice, clip: Tensor) -> Tensor:
    """Where each parameter should go, kept in state["direction"]. `clip` scales the gradients. Returns the lengths of
    the directions (n,), of what this rank holds of each."""
    betas, states = part.group["betas"], part.states
    factors = _slow_factors(part)
    lengths: dict[int, Tensor] = {}
    plain: dict[tuple[torch.device, int, bool], list[tuple[Unit, Tensor]]] = {}
    later: list[int] = []  # places whose slow mean does not join them piece by piece
    for unit, grad in zip(part.layout.units, part.gathered, strict=True):
        step = unit.advance(states)
        is_alone = not unit.is_stack and not unit.eigen
        if not is_alone:
            later += unit.places
        if unit.eigen:
            update_matrix_direction(step, grad, unit.state, clip, betas)
        else:
            plain.setdefault((grad.device, step, is_alone and unit.places[0] in factors), []).append((unit, grad))
    for (_, step, is_slow), pairs in plain.items():
        grads, units = [grad for _, grad in pairs], [unit for unit, _ in pairs]
        own = [factors[unit.places[0]] for unit in units] if is_slow else []
        norms = update_elementwise_directions(step, grads, [unit.state for unit in units], clip, betas, own)
        lengths |= {unit.places[0]: norm for unit, norm in zip(units, norms, strict=True) if not unit.is_stack}
    add_slow_directions(states, {place: factors[place] for place in later if place in factors})
    if later:
        lengths |= zip(later, torch._foreach_norm([states[place]["direction"] for place in later]), strict=True)
    return stack_scalars([lengths[place] for place in range(len(states))], part.at.device)


def update_matrix_direction(
    step: int, grad: Tensor, state: ParameterState, clip: Tensor, betas: tuple[float, float]
) -> None:
    """Adam's direction in the eigenbases of a matrix (m, n), or of each of a stack of them (k, m, n)."""
    beta1, beta2 = betas
    grad = grad * clip.to(grad.device, grad.dtype)
    kronecker.update_factors(state, grad, step)
    grad = kronecker.to_eigenbasis(state, grad)
    state["exp_avg"].lerp_(grad, 1 - beta1)
    state["exp_avg_sq"].lerp_(grad.square(), 1 - beta2)
    ahead = state["exp_avg"] * (beta1 / (1 - beta1 ** (step + 1))) + grad * ((1 - beta1) / (1 - beta1**step))
    square = state["exp_avg_sq"] / (1 - beta2**step)
    scale = square.sqrt() + (square.mean((-2, -1), keepdim=True).sqrt() * MIN_SCALE + EPS)
    state["direction"].copy_(kronecker.from_eigenbasis(state, ahead.div_(scale)))


def update_elementwise_directions(
    step: int,
    grads: list[Tensor],
    states: list[ParameterState],
    clip: Tensor,
    betas: tuple[float, float],
    slow_factors: list[Tensor],
) -> list[Tensor]:
    """Adam's direction, element by element, for many tensors at once. `slow_factors`: [], or what the slow mean of each
    is multiplied by where it joins them all. Returns the length of each direction."""
    beta1, beta2 = betas
    clip = clip.to(grads[0].device, grads[0].dtype)
    names = ["exp_avg", "exp_avg_sq", "direction"] + ["slow_direction"] * bool(slow_factors)
    if slow_factors:
        make_slow_directions(states)
    state_tensors = [[state[name] for state in states] for name in names]
    root = math.sqrt(1 - beta2**step)
    norms: list[list[Tensor]] = [[] for _ in grads]
    for owners, (parts, averages, squares, directions, *slow) in cache_sized_pieces(grads, *state_tensors):
        torch._foreach_copy_(directions, parts)
        torch._foreach_mul_(directions, clip)
        torch._foreach_lerp_(averages, directions, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, directions, directions, 1 - beta2)
        # u = (look-ahead of the mean) / (sqrt(v / (1 - beta2^t)) + EPS), both sides times sqrt(1 - beta2^t)
        scales = torch._foreach_sqrt(squares)
        torch._foreach_add_(scales, EPS * root)
        torch._foreach_mul_(directions, root * (1 - beta1) / (1 - beta1**step))
        torch._foreach_add_(directions, averages, alpha=root * beta1 / (1 - beta1 ** (step + 1)))
        torch._foreach_div_(directions, scales)
        if slow:
            _join_slow_mean(directions, slow[0], [slow_factors[owner] for owner in owners], step)
        for owner, norm in zip(owners, torch._foreach_norm(directions), strict=True):
            norms[owner].append(norm)
    return [each[0] if len(each) == 1 else torch.stack(each).norm() for each in norms]


def apply_directions(part: ParameterSlice, keeps: Tensor, rates: Tensor) -> None:
    """Take the directions: each parameter times what is kept of it (n,), less its direction times its rate (n,)."""
    devices: dict[torch.device, list[int]] = {}
    for place, param in enumerate(part.params):
        devices.setdefault(param.device, []).append(place)
    keep_of, rate_of = scales_of(keeps, part.params), scales_of(rates, part.params)
    for places in devices.values():
        params = [part.params[place] for place in places]
        directions = [
            direction if direction.shape == param.shape else direction.view(param.shape)
            for param, direction in zip(params, (part.states[place]["direction"] for place in places), strict=True)
        ]
        for owners, (pieces, steps) in cache_sized_pieces(params, directions):
            torch._foreach_mul_(pieces, [keep_of[places[owner]] for owner in owners])
            torch._foreach_addcmul_(pieces, steps, [rate_of[places[owner]] for owner in owners], value=-1)


def scales_of(values: Tensor, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """A number () for each tensor, of (n,), on the tensor's device and in its precision."""
    scales = values.unbind()
    if all(tensor.dtype is values.dtype and tensor.device == values.device for tensor in tensors):
        return scales
    return [scale.to(tensor.device, tensor.dtype) for scale, tensor in zip(scales, tensors, strict=True)]


def cache_sized_pieces(*lists: list[Tensor]) -> Iterator[tuple[list[int], tuple[list[Tensor], ...]]]:
    """Lists of tensors side by side with the number of each in its list, all at once; on a CPU in pieces that stay in
    its cache from one operation to the next, which is worth more than half of the time of a large model's step."""
    if lists[0][0].device.type != "cpu":
        yield list(range(len(lists[0]))), lists
        return
    waiting: list[list[Tensor]] = [[] for _ in lists]
    owners: list[int] = []
    size = 0
    for owner, tensors in enumerate(zip(*lists, strict=True)):
        pieces: Iterable[tuple[Tensor, ...]] = [tensors]
        if tensors[0].numel() > PIECE_ELEMENTS and all(tensor.is_contiguous() for tensor in tensors):
            pieces = zip(*(tensor.view(-1).split(PIECE_ELEMENTS) for tensor in tensors), strict=True)
        for tensor_pieces in pieces:
            for batch, piece in zip(waiting, tensor_pieces, strict=True):
                batch.append(piece)
            owners.append(owner)
            size += tensor_pieces[0].numel()
            if size >= PIECE_ELEMENTS:
                yield owners, tuple(waiting)
                waiting, owners, size = [[] for _ in lists], [], 0
    if owners:
        yield owners, tuple(waiting)


def are_slow(part: ParameterSlice) -> Tensor:
    """Which tensors of a slice have a slow mean in this step (n,), on the group's device."""
    if part.group["total_steps"] is not None:
        return torch.zeros_like(part.at, dtype=torch.bool)
    are: Tensor = part.read("free_steps") > 0
    return are


def add_slow_directions(states: list[ParameterState], factors: dict[int, Tensor]) -> None:
    """Take directions into their slow means, and the means times their factors into the directions. `factors`: by the
    tensor's place among the states."""
    for step in {states[place]["step"] for place in factors}:
        places = [place for place in factors if states[place]["step"] == step]
        own = [states[place] for place in places]
        make_slow_directions(own)
        means, directions = ([state[name] for state in own] for name in ("slow_direction", "direction"))
        for owners, (slow, pieces) in cache_sized_pieces(means, directions):
            _join_slow_mean(pieces, slow, [factors[places[owner]] for owner in owners], step)


def make_slow_directions(states: Iterable[ParameterState]) -> None:
    """Begin the slow means of those that have none."""
    for state in states:
        if "slow_direction" not in state:
            state["slow_direction"] = torch.zeros_like(state["direction"], memory_format=torch.contiguous_format)


def _join_slow_mean(directions: list[Tensor], means: list[Tensor], factors: list[Tensor], step: int) -> None:
    torch._foreach_lerp_(means, directions, slow_share(step))
    torch._foreach_addcmul_(directions, means, factors)


def _slow_factors(part: ParameterSlice) -> dict[int, Tensor]:
    """What the slow mean of each tensor that has one is multiplied by (), by the tensor's place in the slice."""
    if not any(part.uses_slow):
        return {}
    factors = scales_of(slow_weight(part.read("free_steps")), part.params)
    return {place: factor for place, factor in enumerate(factors) if part.uses_slow[place]}


def count_free_steps(part: ParameterSlice, are_cut: Tensor, step: int) -> None:
    """Count a step; `are_cut` says of each tensor whether its bound lay below the rate that was found (n,)."""
    if part.group["total_steps"] is None and step >= SLOW_FROM_STEP:
        free_steps = part.read("free_steps") + torch.where(are_cut, -1.0, 1.0)
        part.write("free_steps", free_steps.clamp(0.0, SLOW_RAMP_STEPS))
