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
from collections.abc import Iterator

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
    square_share,
)
from deepseek.optimizers.slices import ParameterSlice


def update_directions(part: ParameterSlice, clip: Tensor) -> None:
    """Where each parameter should go, kept in state["direction"]. `clip` scales the gradients."""
    betas = part.group["betas"]
    plain: dict[int, list[tuple[Tensor, ParameterState]]] = {}
    for grad, state in zip(part.grads, part.states, strict=True):
        state["step"] += 1
        if state["eigen"]:
            update_matrix_direction(state["step"], grad, state, clip, betas)
        else:
            plain.setdefault(state["step"], []).append((grad, state))
    for step, pairs in plain.items():
        update_elementwise_directions(step, [grad for grad, _ in pairs], [state for _, state in pairs], clip, betas)
    add_slow_directions(part)


def update_matrix_direction(
    step: int, grad: Tensor, state: ParameterState, clip: Tensor, betas: tuple[float, float]
) -> None:
    """Adam's direction in the eigenbases of a matrix."""
    beta1, beta2 = betas
    grad = grad * clip.to(grad.device, grad.dtype)
    kronecker.update_factors(state, grad, step)
    grad = kronecker.to_eigenbasis(state, grad)
    state["exp_avg"].lerp_(grad, 1 - beta1)
    state["exp_avg_sq"].lerp_(grad.square(), square_share(step, beta2))
    ahead = state["exp_avg"] * (beta1 / (1 - beta1 ** (step + 1))) + grad * ((1 - beta1) / (1 - beta1**step))
    square = state["exp_avg_sq"] / (1 - beta2**step)
    scale = square.sqrt() + (square.mean().sqrt() * MIN_SCALE + EPS)
    state["direction"] = kronecker.from_eigenbasis(state, ahead.div_(scale))


def update_elementwise_directions(
    step: int, grads: list[Tensor], states: list[ParameterState], clip: Tensor, betas: tuple[float, float]
) -> None:
    """Adam's direction, element by element, for many tensors at once."""
    beta1, beta2 = betas
    clip = clip.to(grads[0].device, grads[0].dtype)
    state_tensors = [[state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "direction")]
    root, share = math.sqrt(1 - beta2**step), square_share(step, beta2)
    for parts, averages, squares, directions in cache_sized_pieces(grads, *state_tensors):
        torch._foreach_copy_(directions, parts)
        torch._foreach_mul_(directions, clip)
        torch._foreach_lerp_(averages, directions, 1 - beta1)
        torch._foreach_mul_(squares, 1 - share)
        torch._foreach_addcmul_(squares, directions, directions, share)
        # u = (look-ahead of the mean) / (sqrt(v / (1 - beta2^t)) + EPS), both sides times sqrt(1 - beta2^t)
        scales = torch._foreach_sqrt(squares)
        torch._foreach_add_(scales, EPS * root)
        torch._foreach_mul_(directions, root * (1 - beta1) / (1 - beta1**step))
        torch._foreach_add_(directions, averages, alpha=root * beta1 / (1 - beta1 ** (step + 1)))
        torch._foreach_div_(directions, scales)


def cache_sized_pieces(*lists: list[Tensor]) -> Iterator[tuple[list[Tensor], ...]]:
    """Lists of tensors side by side, all at once; on a CPU in pieces that stay in its cache from one operation to the
    next, which is worth more than half of the time of a large model's step."""
    if lists[0][0].device.type != "cpu" or not all(tensor.is_contiguous() for tensors in lists for tensor in tensors):
        yield lists
        return
    waiting: list[list[Tensor]] = [[] for _ in lists]
    size = 0
    for tensors in zip(*lists, strict=True):
        for tensor_pieces in zip(*(tensor.view(-1).split(PIECE_ELEMENTS) for tensor in tensors), strict=True):
            for batch, piece in zip(waiting, tensor_pieces, strict=True):
                batch.append(piece)
            size += len(tensor_pieces[0])
            if size >= PIECE_ELEMENTS:
                yield tuple(waiting)
                waiting, size = [[] for _ in lists], 0
    if size:
        yield tuple(waiting)


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
            share, factor = slow_share(state["step"]), weight.to(direction.device, direction.dtype)
            for (mean,), (piece,) in cache_sized_pieces([state["slow_direction"]], [direction]):
                mean.lerp_(piece, share)
                piece.addcmul_(mean, factor)


def count_free_steps(part: ParameterSlice, are_cut: Tensor, step: int) -> None:
    """Count a step; `are_cut` says of each tensor whether its bound lay below the rate that was found (n,)."""
    if part.group["total_steps"] is None and step >= SLOW_FROM_STEP:
        free_steps = part.group["free_steps"]
        free_steps[part.at] = (free_steps[part.at] + torch.where(are_cut, -1.0, 1.0)).clamp(0.0, SLOW_RAMP_STEPS)
