"""The direction of a step: Adam's with Nesterov's look-ahead, in the eigenbases of a matrix or element by element.

    lengths = update_directions(part, clip)                         # all tensors of a slice, and their slow means
    update_stacked_directions(step, grads, units, row, clip, betas) # stacks of matrices and rows of other tensors
    update_elementwise_directions(step, grads, states, clip, betas, slow_factors)   # many large tensors at once
    apply_directions(part, keeps, rates)                            # the step itself

The first three leave it in state["direction"]. `clip` is what gradients are scaled by, `step` counts a tensor's steps
from 1, and `betas` are the decays of the two moments; adaptive.py has the algorithm and its sources.

    free_steps_of(part)                        # (n,) of the tensors of a slice: above 0 a slow mean joins the direction
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
from collections.abc import Iterable, Iterator
from functools import cache

import torch
from torch import Tensor

from deepseek.optimizers import kronecker
from deepseek.optimizers.config import (
    EPS,
    HALF_EPS,
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
from deepseek.optimizers.stacks import Pool, Unit, split_row


# Counts of steps are keys here: each would be compiled for itself.
@torch.compiler.disable(recursive=False)  # type: ignore[untyped-decorator, no-untyped-call]
def update_directions(part: ParameterSlice, clip: float) -> list[Tensor]:
    """Where each parameter should go, kept in state["direction"]. `clip` scales the gradients. Returns the length of
    each direction, of what this rank holds of it."""
    betas, states = part.group["betas"], part.states
    factors = [slow_weight(count) for count in part.free_steps]
    lengths: dict[int, Tensor] = {}
    plain: dict[tuple[torch.device, int, bool, torch.dtype], list[tuple[Unit, Tensor]]] = {}
    for unit, grad in zip(part.layout.single, part.single, strict=True):
        step, place = unit.advance(states), unit.places[0]
        if unit.eigen:
            update_stacked_directions(step, [grad], [unit], unit.state, clip, betas)
            lengths[place] = _join_slow_means(step, [unit.state], [factors[place]] if factors[place] else [])[0]
        else:
            kind = (grad.device, step, factors[place] > 0, unit.state["direction"].dtype)
            plain.setdefault(kind, []).append((unit, grad))
    for (_, step, is_slow, _), pairs in plain.items():
        grads, units = [grad for _, grad in pairs], [unit for unit, _ in pairs]
        own = [factors[unit.places[0]] for unit in units] if is_slow else []
        norms = update_elementwise_directions(step, grads, [unit.state for unit in units], clip, betas, own)
        lengths |= {unit.places[0]: norm for unit, norm in zip(units, norms, strict=True)}
    for pool, row in zip(part.layout.pools, part.rows, strict=True):
        for block, block_row in zip(pool.blocks, pool.split(row), strict=True):
            steps = [unit.advance(states) for unit in block.units]
            update_stacked_directions(
                steps[0], split_row(block_row, block.units), block.units, block.state, clip, betas
            )
        _join_slow_means_of_pool(pool, states, factors)
        lengths |= zip(pool.places, torch._foreach_norm(pool.directions), strict=True)
    return [lengths[place] for place in range(len(states))]


@torch.compiler.disable  # type: ignore[untyped-decorator]  # eigh is not compiled in any case
def update_stacked_directions(
    step: int, grads: list[Tensor], units: list[Unit], row: ParameterState, clip: float, betas: tuple[float, float]
) -> None:
    """Adam's direction in the eigenbases of units that have them, matrices (m, n) or stacks (k, m, n), and element by
    element of those that have none. `row`: the moments of all units one after the other (elements,), or the only
    unit's."""
    beta1, beta2 = betas
    if clip != 1:
        grads = [grad * clip for grad in grads]
    turned = []
    for unit, grad in zip(units, grads, strict=True):
        if unit.eigen:
            kronecker.update_factors(unit.state, grad, step)
        turned.append(kronecker.to_eigenbasis(unit.state, grad))
    grad = torch.cat([each.reshape(-1) for each in turned]) if len(turned) > 1 else turned[0].view_as(row["exp_avg"])
    row["exp_avg"].lerp_(grad, 1 - beta1)
    row["exp_avg_sq"].lerp_(grad.square(), square_share(step, beta2))
    ahead = row["exp_avg"] * (beta1 / (1 - beta1 ** (step + 1))) + grad * ((1 - beta1) / (1 - beta1**step))
    square = row["exp_avg_sq"] / (1 - beta2**step)
    scale = square.sqrt_()
    for unit, each in zip(units, split_row(scale, units), strict=True):
        if unit.eigen:  # plus MIN_SCALE times the root mean square
            length = torch.linalg.vector_norm(each, dim=(-2, -1), keepdim=True)
            each.add_(length, alpha=MIN_SCALE / math.sqrt(each.shape[-2] * each.shape[-1]))
    ahead.div_(scale.add_(EPS))
    for unit, each in zip(units, split_row(ahead, units), strict=True):
        kronecker.from_eigenbasis(unit.state, each, out=unit.state["direction"])


def update_elementwise_directions(
    step: int,
    grads: list[Tensor],
    states: list[ParameterState],
    clip: float,
    betas: tuple[float, float],
    slow_factors: list[float],
) -> list[Tensor]:
    """Adam's direction, element by element, for many tensors at once. `slow_factors`: [], or what the slow mean of each
    is multiplied by where it joins them all. Moments may be in lower precision than gradients, all of them in one.
    Returns the length of each direction."""
    beta1, beta2 = betas
    names = ["exp_avg", "exp_avg_sq", "direction"] + ["slow_direction"] * bool(slow_factors)
    if slow_factors:
        make_slow_directions(states)
    state_tensors = [[state[name] for state in states] for name in names]
    root, share = math.sqrt(1 - beta2**step), square_share(step, beta2)
    norms: list[list[Tensor]] = [[] for _ in grads]
    all_pieces = cache_sized_pieces(grads, *state_tensors)
    for number, (owners, (parts, kept_averages, squares, kept_directions, *slow)) in enumerate(all_pieces):
        averages, directions = kept_averages, kept_directions
        is_low = parts[0].dtype != directions[0].dtype
        if is_low:
            averages = [average.to(part.dtype) for average, part in zip(averages, parts, strict=True)]
            directions = [torch.empty_like(part) for part in parts]
        torch._foreach_copy_(directions, parts)
        if clip != 1:
            torch._foreach_mul_(directions, clip)
        torch._foreach_lerp_(averages, directions, 1 - beta1)
        torch._foreach_mul_(squares, 1 - share)
        torch._foreach_addcmul_(squares, directions, directions, share)
        # u = (look-ahead of the mean) / (sqrt(v / (1 - beta2^t)) + EPS), both sides times sqrt(1 - beta2^t)
        scales = torch._foreach_sqrt(squares)
        torch._foreach_add_(scales, [(HALF_EPS if each.dtype is torch.float16 else EPS) * root for each in scales])
        torch._foreach_mul_(directions, root * (1 - beta1) / (1 - beta1**step))
        torch._foreach_add_(directions, averages, alpha=root * beta1 / (1 - beta1 ** (step + 1)))
        torch._foreach_div_(directions, scales)
        if slow:
            own = [slow_factors[owner] for owner in owners]
            _join_slow_mean(directions, slow[0], own, step, (step << 16) + (number << 8))
        for owner, norm in zip(owners, torch._foreach_norm(directions), strict=True):
            norms[owner].append(norm)
        if is_low:
            torch._foreach_copy_(kept_averages, averages)
            torch._foreach_copy_(kept_directions, directions)
    return [_norm_of(each) for each in norms]


def apply_directions(part: ParameterSlice, keeps: Tensor, rates: Tensor) -> None:
    """Take the directions: each parameter times what is kept of it (n,), less its direction times its rate (n,)."""
    keep_of, rate_of = part.layout.scalars.of_each(keeps, rates, part.params)
    for pool in part.layout.pools:
        params = [part.params[place] for place in pool.places]
        torch._foreach_mul_(params, [keep_of[place] for place in pool.places])
        torch._foreach_addcmul_(params, pool.directions, [rate_of[place] for place in pool.places], value=-1)
    for unit in part.layout.single:
        place = unit.places[0]
        param = part.params[place]
        for _, (pieces, steps) in cache_sized_pieces([param], [unit.state["direction"].view(param.shape)]):
            for piece, step in zip(pieces, steps, strict=True):
                piece.mul_(keep_of[place]).addcmul_(step.to(piece.dtype), rate_of[place], value=-1)


def cache_sized_pieces(*lists: list[Tensor]) -> Iterator[tuple[list[int], tuple[list[Tensor], ...]]]:
    """Lists of tensors side by side with the number of each in its list, all at once; on a CPU in pieces that stay in
    its cache from one operation to the next, which is worth more than half of the time of a large model's step. What is
    compiled has them whole: each piece would be operations of its own."""
    if torch.compiler.is_compiling() or (lists[0] and lists[0][0].device.type != "cpu"):
        yield list(range(len(lists[0]))), lists
        return
    most = PIECE_ELEMENTS if len(lists) > 2 else 4 * PIECE_ELEMENTS
    waiting: list[list[Tensor]] = [[] for _ in lists]
    owners: list[int] = []
    size = 0
    for owner, tensors in enumerate(zip(*lists, strict=True)):
        pieces: Iterable[tuple[Tensor, ...]] = [tensors]
        if tensors[0].numel() > most and all(tensor.is_contiguous() for tensor in tensors):
            pieces = zip(*(tensor.view(-1).split(most) for tensor in tensors), strict=True)
        for tensor_pieces in pieces:
            for batch, piece in zip(waiting, tensor_pieces, strict=True):
                batch.append(piece)
            owners.append(owner)
            size += tensor_pieces[0].numel()
            if size >= most:
                yield owners, tuple(waiting)
                waiting, owners, size = [[] for _ in lists], [], 0
    if owners:
        yield owners, tuple(waiting)


def _norm_of(norms: list[Tensor]) -> Tensor:
    """The length of a tensor (), by those of its pieces."""
    return norms[0] if len(norms) == 1 else torch.stack(norms).norm()


def free_steps_of(part: ParameterSlice) -> Tensor:
    """What free_steps says of each tensor of a slice for this step (n,), on the group's device; above 0 its slow mean
    joins it. 0 where the length of the training is known."""
    free_steps = part.read("free_steps")
    return free_steps if part.group["total_steps"] is None else torch.zeros_like(free_steps)


def make_slow_directions(states: Iterable[ParameterState]) -> None:
    """Begin the slow means of those that have none."""
    for state in states:
        if "slow_direction" not in state:
            state["slow_direction"] = torch.zeros_like(state["direction"], memory_format=torch.contiguous_format)


def _join_slow_mean(
    directions: list[Tensor], kept_means: list[Tensor], factors: list[float], step: int, seed: int = 0
) -> None:
    means = [mean.to(direction.dtype) for mean, direction in zip(kept_means, directions, strict=True)]
    torch._foreach_lerp_(means, directions, slow_share(step))
    for number, (direction, mean, factor) in enumerate(zip(directions, means, factors, strict=True)):
        direction.add_(mean, alpha=factor)
        if mean is not kept_means[number]:
            kept_means[number].copy_(round_by_chance(mean, seed + number))


def round_by_chance(values: Tensor, seed: int) -> Tensor:
    """Finite float32 values with the 16 bits of bfloat16: the next lower or higher in size, each as likely as the value
    is near it, so that a mean whose changes are smaller than these steps moves all the same. `seed`: the same chances
    for the same seed."""
    noise, num_values = _noise(values.device), values.numel()
    begin = seed * 2654435761 % len(noise)
    repeats = (begin + num_values + len(noise) - 1) // len(noise)
    chances = (noise.repeat(repeats) if repeats > 1 else noise)[begin : begin + num_values]
    return ((values.view(torch.int32) + chances.view(values.shape)) & -65536).view(torch.float32)


@cache
def _noise(device: torch.device) -> Tensor:
    """Whole numbers below 2^16 (16 PIECE_ELEMENTS,): drawing them for every step would take longer than the step."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 2**16, (16 * PIECE_ELEMENTS,), generator=generator, dtype=torch.int32).to(device)


def _join_slow_means(step: int, states: list[ParameterState], factors: list[float]) -> list[Tensor]:
    """Let slow means join directions, of tensors of one step; [] for none. Returns the lengths of the directions."""
    directions = [state["direction"] for state in states]
    if not factors:
        return list(torch._foreach_norm(directions))
    make_slow_directions(states)
    norms: list[list[Tensor]] = [[] for _ in states]
    for owners, (pieces, means) in cache_sized_pieces(directions, [state["slow_direction"] for state in states]):
        _join_slow_mean(pieces, means, [factors[owner] for owner in owners], step)
        for owner, norm in zip(owners, torch._foreach_norm(pieces), strict=True):
            norms[owner].append(norm)
    return [_norm_of(each) for each in norms]


def _join_slow_means_of_pool(pool: Pool, states: list[ParameterState], factors: list[float]) -> None:
    own = [factors[place] for place in pool.places]
    if not any(own):
        return
    if "slow_direction" not in pool.state:
        pool.add("slow_direction", states)
    means, directions = pool.state["slow_direction"], pool.state["direction"]
    shares = [
        slow_share(states[place]["step"]) if factor else 0.0 for place, factor in zip(pool.places, own, strict=True)
    ]
    if len(set(shares)) == len(set(own)) == 1:
        means.lerp_(directions, shares[0])
        directions.add_(means, alpha=own[0])
    else:
        share, factor = means.new_tensor([shares, own]).index_select(1, pool.owners)
        means.lerp_(directions, share)
        directions.addcmul_(means, factor)


def count_free_steps(part: ParameterSlice, are_cut: Tensor, step: int) -> None:
    """Count a step; `are_cut` says of each tensor whether its bound lay below the rate that was found (n,)."""
    if part.group["total_steps"] is None and step >= SLOW_FROM_STEP:
        free_steps = torch.add(part.read("free_steps"), are_cut, alpha=-2).add_(1)  # one more, or one less
        part.write("free_steps", free_steps.clamp_(0.0, SLOW_RAMP_STEPS))
