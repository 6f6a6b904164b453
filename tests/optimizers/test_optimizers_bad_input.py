"""What AdaptiveOptimizer does with gradients and parameters that are not as they should be: never a silent stall."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from deepseek.optimizers import AdaptiveOptimizer
from deepseek.optimizers.config import MAX_RATE

TARGET = torch.linspace(-1, 1, 12).reshape(3, 4)


def loss_of(param: Tensor) -> float:
    return float((param.detach() - TARGET).square().mean())


def train(param: nn.Parameter, optimizer: AdaptiveOptimizer, num_steps: int, *, scale: float = 1.0) -> None:
    """Noisy gradients of a square around TARGET."""
    for step in range(num_steps):
        noise = torch.randn(3, 4, generator=torch.Generator().manual_seed(step))
        param.grad = (param.detach() - TARGET + 0.1 * noise) * scale
        optimizer.step()


def test_gradients_that_are_never_finite_are_said_again_and_again() -> None:
    param = nn.Parameter(torch.ones(3, 4))
    optimizer = AdaptiveOptimizer([param])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(120):
            param.grad = torch.full_like(param, float("nan"))
            optimizer.step()
    assert [str(each.message).partition("such steps: ")[2].partition(" ")[0] for each in caught] == ["1", "10", "100"]
    assert optimizer.num_skipped_steps == 120
    assert torch.equal(param, torch.ones(3, 4))


def give_zeros(param: nn.Parameter, optimizer: AdaptiveOptimizer, num_steps: int) -> None:
    for _ in range(num_steps):
        param.grad = torch.zeros_like(param)
        optimizer.step()


@pytest.mark.parametrize("before", [0, 40])
@pytest.mark.filterwarnings("ignore:.*all 0")
def test_gradients_of_zero_change_nothing(before: int) -> None:
    """However many there are, first or in the middle: later gradients are not clipped to their length."""
    param = nn.Parameter(torch.full((3, 4), 2.0))
    optimizer = AdaptiveOptimizer([param])
    train(param, optimizer, before)
    weights, state = param.detach().clone(), copy.deepcopy(optimizer.state_dict())
    give_zeros(param, optimizer, 150)
    assert torch.equal(param, weights)
    assert optimizer.param_groups[0]["num_zero"] == 150
    other = nn.Parameter(weights)
    twin = AdaptiveOptimizer([other])
    twin.load_state_dict(state)
    train(param, optimizer, 60)
    train(other, twin, 60)
    assert torch.equal(param, other)


def test_gradients_that_stay_zero_are_said() -> None:
    param = nn.Parameter(torch.ones(3, 4))
    optimizer = AdaptiveOptimizer([param])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        give_zeros(param, optimizer, 9)
        assert not caught
        give_zeros(param, optimizer, 100)
    assert [str(each.message)[:26] for each in caught] == ["the gradients of 10 steps ", "the gradients of 100 steps"]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e12])
def test_the_size_of_the_gradients_does_not_matter(scale: float) -> None:
    param, other = (nn.Parameter(torch.full((3, 4), 2.0)) for _ in range(2))
    train(param, AdaptiveOptimizer([param]), 200, scale=scale)
    train(other, AdaptiveOptimizer([other]), 200)
    assert loss_of(param) == pytest.approx(loss_of(other), rel=0.3)
    assert loss_of(other) < 0.1


def test_gradients_too_small_for_float32_are_as_good_as_zero() -> None:
    param = nn.Parameter(torch.full((3, 4), 2.0))
    optimizer = AdaptiveOptimizer([param])
    with pytest.warns(UserWarning, match="too small"):
        train(param, optimizer, 60, scale=1e-30)
    assert optimizer.param_groups[0]["control"][0] == 0
    assert torch.isfinite(param).all()
    train(param, optimizer, 300)
    assert loss_of(param) < 0.3


def test_a_layer_that_is_unfrozen_late_is_trusted_as_a_new_one() -> None:
    """By its own steps and not by those of the training, which have shortened every other step long since."""
    frozen, other = nn.Parameter(torch.full((3, 4), 2.0)), nn.Parameter(torch.ones(5))
    optimizer = AdaptiveOptimizer([frozen, other])
    for step in range(600):
        other.grad = torch.randn(5, generator=torch.Generator().manual_seed(step))
        optimizer.step()
    assert torch.equal(frozen, torch.full((3, 4), 2.0))
    other.grad = None
    train(frozen, optimizer, 100)
    assert loss_of(frozen) < 0.5


def test_a_group_that_is_added_in_the_middle_is_trained() -> None:
    first, second = nn.Parameter(torch.full((3, 4), 2.0)), nn.Parameter(torch.full((3, 4), 2.0))
    optimizer = AdaptiveOptimizer([first])
    train(first, optimizer, 500)
    optimizer.add_param_group({"params": [second]})
    first.grad = None
    train(second, optimizer, 150)
    assert loss_of(second) < 0.3
    again = AdaptiveOptimizer([{"params": [first]}, {"params": [second]}])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.get_current_lr() == optimizer.get_current_lr()


def test_numbers_of_one_element_are_found() -> None:
    params = [nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.tensor([[2.0]]))]
    optimizer = AdaptiveOptimizer(params)
    for _ in range(400):
        for param in params:
            param.grad = param.detach() - 1
        optimizer.step()
    assert [float(param.detach()) for param in params] == pytest.approx([1.0] * 3, abs=0.1)


def test_a_first_group_without_gradients_does_not_stop_the_others() -> None:
    idle, param = nn.Parameter(torch.ones(2)), nn.Parameter(torch.full((3, 4), 2.0))
    optimizer = AdaptiveOptimizer([{"params": [idle]}, {"params": [param]}])
    train(param, optimizer, 200)
    assert torch.equal(idle, torch.ones(2))
    assert loss_of(param) < 0.1
    assert optimizer.get_current_lr() > 0


def test_a_training_on_batches_of_four_settles() -> None:
    """Its gradients are noise for the most part: the rate that is taken falls all the same, and the loss with it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))
    optimizer = AdaptiveOptimizer(model.parameters())
    test = torch.randn(500, 6, generator=torch.Generator().manual_seed(99))
    rates, losses = [], []
    for step in range(900):
        x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1000 + step))
        noise = torch.randn(4, 1, generator=torch.Generator().manual_seed(9000 + step))
        optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True).sin() - noise).square().mean().backward()
        optimizer.step()
        if step % 300 == 299:
            rates.append(optimizer.get_current_lr())
            with torch.no_grad():
                losses.append(float((model(test) - test.sum(1, keepdim=True).sin()).square().mean()))
    assert rates[2] < rates[1] < rates[0]
    assert losses[2] < losses[0]


def test_gradients_of_nothing_but_noise_let_the_rate_settle() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(0.1 * torch.randn(50))
    optimizer = AdaptiveOptimizer([weight])
    for _ in range(400):
        weight.grad = torch.randn(50)
        optimizer.step()
    (group,) = optimizer.param_groups
    limit = group["limits"].item()
    assert group["lr"] * math.exp(group["control"][0].item()) < 0.8 * MAX_RATE  # where it is, if it may climb
    assert optimizer.get_current_lr() == pytest.approx(limit)


@pytest.mark.parametrize("shape", [(24, 16), (7,), (300, 200)])
def test_gradients_whose_squares_float16_does_not_have_leave_numbers(shape: tuple[int, ...]) -> None:
    """Their mean of squares is 0, and so is 1e-8 beside it."""
    generator = torch.Generator().manual_seed(0)
    param = nn.Parameter(torch.randn(shape, generator=generator).half())
    optimizer, before = AdaptiveOptimizer([param]), param.detach().clone()
    for _ in range(20):
        param.grad = (1e-3 * torch.randn(shape, generator=generator)).half()
        optimizer.step()
    assert bool(param.isfinite().all())
    assert optimizer.num_skipped_steps == 0
    assert not torch.equal(param, before)


def test_a_copy_takes_the_steps_of_the_first_and_leaves_it_alone() -> None:
    param = nn.Parameter(torch.ones(3, 4))
    optimizer = AdaptiveOptimizer([param])
    train(param, optimizer, 15)
    optimizer.report(train_loss=0.1, val_loss=2.0)
    other = copy.deepcopy(optimizer)
    (copied,) = other.param_groups[0]["params"]
    kept = param.detach().clone()
    train(copied, other, 15)
    assert torch.equal(param, kept)
    train(param, optimizer, 15)
    assert torch.equal(param, copied)
