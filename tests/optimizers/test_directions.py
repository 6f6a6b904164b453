"""Without a known length the slow mean of the directions joins the steps that no bound cuts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepseek.optimizers import AdaptiveOptimizer, config, directions
from deepseek.optimizers.adaptive_reference import AdaptiveReference
from deepseek.optimizers.config import AdaptiveConfig

SHAPES = [(6, 5), (4, 2, 3, 3), (7,), (), (600, 4)]
WIDE, NARROW = 1e6, 1.0  # trust_steps with which a bound is far above the rate, and soon far below


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after some hundred steps, after ten."""
    for module in (config, directions):
        monkeypatch.setattr(module, "SLOW_FROM_STEP", 10)
        monkeypatch.setattr(module, "SLOW_RAMP_STEPS", 20.0)


def make(trust_steps: float = WIDE, **options: Any) -> AdaptiveOptimizer:
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in SHAPES]
    return AdaptiveOptimizer(params, trust_steps=trust_steps, **options)


def params_of(optimizer: AdaptiveOptimizer) -> list[Tensor]:
    return [param for group in optimizer.param_groups for param in group["params"]]


def gradients(params: list[Tensor], number: int) -> list[Tensor]:
    """Towards 1, with noise."""
    generator = torch.Generator().manual_seed(number)
    return [
        param.detach() - 1 + 0.3 * torch.randn(param.shape, generator=generator, dtype=torch.float64)
        for param in params
    ]


def train(optimizer: AdaptiveOptimizer, num_steps: int, *, start: int = 0) -> None:
    for number in range(start, start + num_steps):
        params = params_of(optimizer)
        for param, grad in zip(params, gradients(params, number), strict=True):
            param.grad = grad
        optimizer.step()


def weights_of(optimizer: AdaptiveOptimizer) -> list[Tensor]:
    return [param.detach().clone() for param in params_of(optimizer)]


def num_slow(optimizer: AdaptiveOptimizer) -> int:
    return sum("slow_direction" in state for state in optimizer.state.values())


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize("trust_steps", [WIDE, 50.0, 10.0])
def test_it_equals_its_slow_twin(foreach: bool, trust_steps: float) -> None:
    optimizer = make(trust_steps, foreach=foreach)
    twin = weights_of(optimizer)
    reference = AdaptiveReference(twin, AdaptiveConfig(trust_steps=trust_steps))
    for number in range(60):
        grads = gradients(twin, number)
        for param, grad in zip(params_of(optimizer), grads, strict=True):
            param.grad = grad.clone()
        optimizer.step()
        reference.step(grads)
    assert num_slow(optimizer) > 0
    assert optimizer.param_groups[0]["free_steps"].tolist() == [one.free_steps for one in reference.tensors]
    for param, other in zip(params_of(optimizer), twin, strict=True):
        torch.testing.assert_close(param.detach(), other, rtol=1e-4, atol=1e-5)


def test_a_tensor_whose_bound_cuts_its_steps_has_none() -> None:
    wide, narrow = make(WIDE), make(NARROW, initial_lr=0.1)
    train(wide, 40)
    train(narrow, 40)
    assert num_slow(wide) == len(SHAPES)
    assert num_slow(narrow) == 0
    assert not narrow.param_groups[0]["free_steps"].any()


def test_it_goes_further_along_what_the_steps_agree_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """At one rate, with gradients that all point the same way."""
    moves = []
    for weight in (config.SLOW_WEIGHT, 0.0):
        monkeypatch.setattr(config, "SLOW_WEIGHT", weight)
        param = nn.Parameter(torch.zeros(4, dtype=torch.float64))
        optimizer = AdaptiveOptimizer([param], trust_steps=WIDE, weight_decay=0.0, lr_decay_rate=1 - 1e-9)
        for _ in range(100):
            param.grad = torch.ones_like(param)
            optimizer.step()
        moves.append(-float(param.detach().mean()))
    assert moves[0] > 1.5 * moves[1]


def test_a_training_of_known_length_has_none_from_when_it_is_known() -> None:
    optimizer = make(total_steps=200)
    train(optimizer, 40)
    assert num_slow(optimizer) == 0
    later, plain = make(), make()
    train(later, 40)
    plain.load_state_dict(copy.deepcopy(later.state_dict()))
    for mine, other in zip(params_of(plain), params_of(later), strict=True):
        mine.data.copy_(other)
    plain.param_groups[0]["free_steps"].zero_()
    plain.total_steps = later.total_steps = 300
    train(later, 20, start=40)
    train(plain, 20, start=40)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(later), weights_of(plain), strict=True))


def test_its_state_is_resumed_and_an_older_one_has_none() -> None:
    optimizer, resumed = make(), make()
    train(optimizer, 40)
    state = copy.deepcopy(optimizer.state_dict())
    weights = weights_of(optimizer)

    def load(target: AdaptiveOptimizer) -> None:
        target.load_state_dict(copy.deepcopy(state))
        for param, value in zip(params_of(target), weights, strict=True):
            param.data.copy_(value)

    load(resumed)
    train(optimizer, 20, start=40)
    train(resumed, 20, start=40)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(optimizer), weights_of(resumed), strict=True))
    for group in state["param_groups"]:
        del group["free_steps"]
    for each in state["state"].values():
        del each["slow_direction"]
    older = make()
    load(older)
    assert older.param_groups[0]["free_steps"].tolist() == [0.0] * len(SHAPES)
    train(older, 20, start=40)
    assert num_slow(older) == len(SHAPES)
