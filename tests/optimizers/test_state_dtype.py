"""Moments in bfloat16: what memory they take, that a slow mean moves in them, and that a training goes as without."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.optimizers import AdaptiveOptimizer
from deepseek.optimizers.directions import make_slow_directions, round_by_chance, update_elementwise_directions

LARGE = 256  # a matrix of LARGE x LARGE gets no eigenbases and is not pooled


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(LARGE, LARGE), nn.Tanh(), nn.Linear(LARGE, LARGE), nn.Tanh(), nn.Linear(LARGE, 1))


def train(model: nn.Module, optimizer: AdaptiveOptimizer, steps: range) -> float:
    """Steps on a smooth function of rows that depend on the step alone; returns the loss on rows that are not among
    them."""
    weight = torch.randn(LARGE, 1, generator=torch.Generator().manual_seed(1)) / LARGE**0.5

    def loss_of(seed: int) -> Tensor:
        rows = torch.randn(64, LARGE, generator=torch.Generator().manual_seed(seed))
        return nn.functional.mse_loss(model(rows), torch.sin(rows @ weight))

    for step in steps:
        optimizer.zero_grad()
        loss_of(step).backward()
        optimizer.step()
    with torch.no_grad():
        return float(loss_of(10_000))


def tensors_of(optimizer: AdaptiveOptimizer, param: Tensor) -> dict[str, Tensor]:
    return {name: value for name, value in optimizer.state[param].items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("num_steps", [None, 400])
def test_a_training_goes_as_in_full_precision(num_steps: int | None) -> None:
    losses = []
    for dtype in (None, torch.bfloat16):
        model = net()
        optimizer = AdaptiveOptimizer(model.parameters(), total_steps=num_steps, state_dtype=dtype)
        at_first = train(model, optimizer, range(0))
        losses.append(train(model, optimizer, range(400)))
    full, low = losses
    assert full < 0.5 * at_first
    assert low < full + 0.1 * at_first


def test_large_tensors_have_two_and_a_half_copies_with_their_slow_means() -> None:
    model = net()
    optimizer = AdaptiveOptimizer(model.parameters(), state_dtype=torch.bfloat16)
    train(model, optimizer, range(2))
    weight = model[0].weight
    make_slow_directions([optimizer.state[weight]])
    sizes = {name: value.nbytes / weight.nbytes for name, value in tensors_of(optimizer, weight).items()}
    assert sizes == {"exp_avg": 0.5, "exp_avg_sq": 1, "direction": 0.5, "slow_direction": 0.5}
    assert {value.dtype for value in tensors_of(optimizer, model[0].bias).values()} == {torch.float32}


@pytest.mark.parametrize(("before", "after"), [(torch.bfloat16, torch.bfloat16), (None, torch.bfloat16),
                                               (torch.bfloat16, None)])  # fmt: skip
def test_a_state_is_taken_up_in_the_precision_of_the_optimizer_that_loads_it(before: Any, after: Any) -> None:
    model = net()
    first = AdaptiveOptimizer(model.parameters(), state_dtype=before)
    train(model, first, range(5))
    second = AdaptiveOptimizer(model.parameters(), state_dtype=after)
    second.load_state_dict(first.state_dict())
    weight = model[0].weight
    low = torch.float32 if after is None else after
    assert {name: value.dtype for name, value in tensors_of(second, weight).items()} == {
        "exp_avg": low, "exp_avg_sq": torch.float32, "direction": low,
    }  # fmt: skip
    if before == after:
        copy = net()
        copy.load_state_dict(model.state_dict())
        third = AdaptiveOptimizer(copy.parameters(), state_dtype=after)
        third.load_state_dict(deepcopy(first.state_dict()))  # torch takes tensors up as they are
        train(model, first, range(5, 10))
        train(copy, third, range(5, 10))
        for ours, theirs in zip(model.parameters(), copy.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_rounding_by_chance_gives_values_of_bfloat16_and_keeps_their_mean() -> None:
    values = torch.randn(4_096, generator=torch.Generator().manual_seed(0))
    values[:3] = torch.tensor([0.0, 1.0, -2.5])  # which bfloat16 has
    rounds = torch.stack([round_by_chance(values, seed) for seed in range(300)])
    assert torch.equal(rounds, rounds.bfloat16().float())
    assert torch.equal(rounds[:, :3], values[:3].expand(300, 3))
    assert torch.equal(round_by_chance(values, 7), rounds[7])
    steps = values.abs() * 2**-7  # at least as far as two neighbors in bfloat16 are apart
    assert ((rounds - values).abs() <= steps).all()
    # 300 draws of a step's size have a mean within a tenth of one; to the nearest it would be off by up to half.
    assert ((rounds.mean(0) - values).abs() <= steps * 0.25).all()


def test_a_slow_mean_moves_by_less_than_bfloat16_tells_apart() -> None:
    state: dict[str, Any] = {
        name: torch.zeros(LARGE**2, dtype=torch.float32 if name == "exp_avg_sq" else torch.bfloat16)
        for name in ("exp_avg", "exp_avg_sq", "direction", "slow_direction")
    }
    state["slow_direction"].fill_(0.5)
    gradient = torch.ones(LARGE**2)
    late = 200_000  # where a step moves the mean by 9 / 200,000 of its way
    for step in range(late, late + 40):
        update_elementwise_directions(step, [gradient], [state], 1.0, (0.9, 0.99), [1.0])
    moved = float(state["slow_direction"].float().mean()) - 0.5
    in_full, direction_sum = 0.5, 0.0
    assert moved != 0
    full: dict[str, Any] = {name: torch.zeros(1) for name in state}
    full["slow_direction"].fill_(in_full)
    for step in range(late, late + 40):
        update_elementwise_directions(step, [gradient[:1]], [full], 1.0, (0.9, 0.99), [1.0])
        direction_sum += float(full["direction"])
    expected = float(full["slow_direction"]) - in_full
    assert direction_sum > 0
    assert 0.5 * expected < moved < 2 * expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, "half", 16])
def test_another_precision_is_refused(dtype: Any) -> None:
    with pytest.raises(InputError, match="state_dtype"):
        AdaptiveOptimizer(net().parameters(), state_dtype=dtype)
