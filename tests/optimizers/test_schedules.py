"""A scheduler of torch means what it says: the effective rate has its shape, whatever the optimizer finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from deepseek.optimizers import AdaptiveOptimizer

NUM_STEPS = 60


def run(
    make_scheduler: Callable[[torch.optim.Optimizer], Any] | None, *, seed: int = 0, **options: Any
) -> tuple[list[float], list[float], AdaptiveOptimizer]:
    """The effective rate and the share of the schedule's peak before each of NUM_STEPS steps, and the optimizer."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))
    optimizer = AdaptiveOptimizer(model.parameters(), **options)
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    rates, shares = [], []
    for step in range(NUM_STEPS):
        group = optimizer.param_groups[0]
        rates.append(optimizer.get_current_lr())
        shares.append(group["lr"] / group["peak_lr"])
        x = torch.randn(32, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss = (model(x) - x.sum(1, keepdim=True).sin()).square().mean()
        loss.backward()
        optimizer.step()
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(1.0)
        elif scheduler is not None:
            scheduler.step()
    return rates, shares, optimizer


def factor(optimizer: AdaptiveOptimizer) -> float:
    return math.exp(optimizer.param_groups[0]["control"][0].item())


FALLING: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, NUM_STEPS),
    "linear": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, NUM_STEPS),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.93),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.3, patience=10),
}


@pytest.mark.parametrize("name", FALLING)
def test_a_falling_schedule_is_not_answered_by_a_larger_factor(name: str) -> None:
    rates, shares, optimizer = run(FALLING[name], trust_steps=1e6)
    held = [index for index, share in enumerate(shares) if share < 0.9]
    first = held[0]
    for index in held:
        assert rates[index] / rates[first] <= shares[index] / shares[first] * (1 + 1e-4)
    assert rates[-1] < 0.2 * max(rates)
    assert factor(optimizer) <= 1.001 * rates[first] / (shares[first] * optimizer.param_groups[0]["peak_lr"])


def test_a_warm_up_is_as_slow_as_it_says() -> None:
    rates, shares, _ = run(lambda o: lr_scheduler.LinearLR(o, 0.01, 1.0, 40))
    for rate, share in list(zip(rates, shares, strict=True))[:35]:
        assert rate <= 1e-3 * share * (1 + 1e-5)
    assert rates[-1] > 1e-3  # and then the search begins


def test_one_cycle_falls_to_its_end() -> None:
    rates, shares, optimizer = run(lambda o: lr_scheduler.OneCycleLR(o, 1e-2, total_steps=NUM_STEPS))
    assert optimizer.param_groups[0]["peak_lr"] == pytest.approx(1e-2)
    after = [index for index in range(30, NUM_STEPS) if shares[index] < 0.9]
    for index in after:
        assert rates[index] <= rates[after[0]] * shares[index] / shares[after[0]] * (1 + 1e-4)


def test_the_bound_of_a_step_has_the_shape_too() -> None:
    """Where trust and not the found rate bounds the step."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.full((4, 4), 0.5))
    optimizer = AdaptiveOptimizer([weight], initial_lr=10.0, weight_decay=0.0, trust_steps=1e6)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 20)
    for step in range(20):
        before, share = weight.detach().clone(), optimizer.param_groups[0]["lr"] / 10.0
        weight.grad = torch.randn(4, 4, generator=torch.Generator().manual_seed(step))
        optimizer.step()
        scheduler.step()
        moved = (weight.detach() - before).norm() / before.norm()
        assert moved.item() == pytest.approx(0.1 * share, rel=1e-3, abs=1e-5)


def test_a_schedule_of_zero_stops_the_weights_and_is_over_when_it_is() -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 1)
    optimizer = AdaptiveOptimizer(model.parameters())
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if 5 <= step < 20 else 1.0)
    before, moved = model.weight.detach().clone(), []
    for step in range(30):
        x = torch.randn(32, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
        assert (optimizer.get_current_lr() == 0) == (5 <= step < 20)
        optimizer.step()
        scheduler.step()
        moved.append(not torch.equal(model.weight, before))
        before = model.weight.detach().clone()
    assert moved == [not 5 <= step < 20 for step in range(30)]
    assert torch.isfinite(model.weight).all()


def test_the_rate_that_is_told_is_the_one_that_is_taken() -> None:
    """A rate far above what trust allows: a step is bounded, and get_current_lr() says by what."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.full((4, 4), 0.5))
    optimizer = AdaptiveOptimizer([weight], initial_lr=10.0, weight_decay=0.0)
    assert optimizer.get_current_lr() == 10.0
    weight.grad = torch.randn(4, 4)
    before = weight.detach().clone()
    optimizer.step()
    taken = (before - weight.detach()).norm() / optimizer.state[weight]["direction"].norm()
    assert optimizer.get_current_lr() == pytest.approx(taken.item(), rel=1e-4)


def test_a_checkpoint_from_before_peaks_and_limits_goes_on() -> None:
    _, _, optimizer = run(FALLING["cosine"])
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["peak_lr"], group["limits"]
    other = AdaptiveOptimizer([nn.Parameter(param.detach().clone()) for param in optimizer.param_groups[0]["params"]])
    other.load_state_dict(state)
    assert other.param_groups[0]["peak_lr"] == 1e-3
    assert other.get_current_lr() == pytest.approx(optimizer.param_groups[0]["lr"] * factor(optimizer))
