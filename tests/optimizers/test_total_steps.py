"""A training of known length ends with a fall of the rate; the trainer says how long it is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepseek.errors import CheckError, InputError
from deepseek.optimizers import AdaptiveOptimizer, config
from deepseek.optimizers.config import COOLDOWN
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loop import fit, resume

NUM_STEPS = 50
STABLE_STEPS = NUM_STEPS - round(COOLDOWN * NUM_STEPS)


def make() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(number))
    optimizer.zero_grad()
    (model(x) - x.sum(1, keepdim=True).sin()).square().mean().backward()
    optimizer.step()


def run(**options: Any) -> tuple[nn.Module, list[float]]:
    """A model after NUM_STEPS steps, and the rate before each of them."""
    model = make()
    optimizer = AdaptiveOptimizer(model.parameters(), **options)
    rates = []
    for number in range(NUM_STEPS):
        rates.append(optimizer.get_current_lr())
        take_step(model, optimizer, number)
    return model, rates


def test_the_rate_falls_to_its_end_on_a_line() -> None:
    _, free = run(trust_steps=1e6)
    _, rates = run(trust_steps=1e6, total_steps=NUM_STEPS)
    length = NUM_STEPS - STABLE_STEPS
    top = max(rates[: STABLE_STEPS + 1])
    for number in range(STABLE_STEPS, NUM_STEPS):  # no larger factor answers the fall
        assert rates[number] <= top * (NUM_STEPS - number) / length * (1 + 1e-4)
    assert rates[-1] < 0.1 * free[-1]


def test_a_length_that_is_set_later_counts_from_there() -> None:
    model = make()
    optimizer = AdaptiveOptimizer(model.parameters())
    assert optimizer.total_steps is None
    for number in range(20):
        take_step(model, optimizer, number)
    free = optimizer.get_current_lr()
    optimizer.expect_steps(1)
    assert optimizer.total_steps == 21
    assert optimizer.get_current_lr() == pytest.approx(free / round(COOLDOWN * 21))
    optimizer.total_steps = None
    assert optimizer.get_current_lr() == free


def test_steps_past_the_end_are_said_and_are_no_silent_stall() -> None:
    model = make()
    optimizer = AdaptiveOptimizer(model.parameters(), total_steps=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(5):
            take_step(model, optimizer, number)
    with pytest.warns(UserWarning, match="step 6 of a training of 5") as seen:
        take_step(model, optimizer, 5)
    assert seen[0].filename == __file__
    assert optimizer.get_current_lr() > 0


@pytest.mark.parametrize("kind", ["zeros", "none", "nan"])
@pytest.mark.filterwarnings("ignore:.*all 0", "ignore:.*not finite")
def test_a_step_that_moves_nothing_counts_into_the_length(kind: str) -> None:
    """A training some of whose batches give no gradient ends with its rate as low as any other."""
    model, other = make(), make()
    optimizer, twin = (AdaptiveOptimizer(each.parameters(), total_steps=NUM_STEPS) for each in (model, other))
    for number in range(20):
        take_step(model, optimizer, number)
    for _ in range(NUM_STEPS - 21):
        for param in model.parameters():
            value = {"zeros": 0.0, "nan": torch.nan}.get(kind)
            param.grad = None if value is None else torch.full_like(param, value)
        optimizer.step()
    for number in range(NUM_STEPS - 1):
        take_step(other, twin, number)
    assert optimizer.param_groups[0]["cooldown"] == twin.param_groups[0]["cooldown"] == 1 / (NUM_STEPS - STABLE_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        take_step(model, optimizer, 20)
    with pytest.warns(UserWarning, match=f"step {NUM_STEPS + 1} of a training of {NUM_STEPS}") as seen:
        optimizer.step()
    assert seen[0].filename == __file__
    optimizer.expect_steps(10)
    assert optimizer.total_steps == NUM_STEPS + 11
    fresh = AdaptiveOptimizer(make().parameters())
    fresh.load_state_dict(optimizer.state_dict())
    assert fresh.param_groups[0]["cooldown"] == optimizer.param_groups[0]["cooldown"]


def test_a_group_that_is_added_ends_with_the_others() -> None:
    model, late = make(), nn.Parameter(torch.ones(3))
    optimizer = AdaptiveOptimizer(model.parameters(), total_steps=10)
    for number in range(9):
        take_step(model, optimizer, number)
    optimizer.add_param_group({"params": [late]})
    first, second = optimizer.param_groups
    assert second["cooldown"] == first["cooldown"] < 1


@pytest.mark.parametrize("total_steps", [0, -3, 2.5, True, "100"])
def test_a_length_that_is_none_is_refused(total_steps: Any) -> None:
    with pytest.raises(InputError, match="total_steps is"):
        AdaptiveOptimizer(make().parameters(), total_steps=total_steps)


def test_the_length_is_in_the_state_and_an_older_state_has_none() -> None:
    model = make()
    optimizer = AdaptiveOptimizer(model.parameters(), total_steps=10)
    for number in range(7):
        take_step(model, optimizer, number)
    state = optimizer.state_dict()
    fresh = AdaptiveOptimizer(make().parameters())
    fresh.load_state_dict(state)
    assert fresh.total_steps == 10
    assert fresh.get_current_lr() == optimizer.get_current_lr()
    for group in state["param_groups"]:
        del group["total_steps"], group["cooldown"]
    older = AdaptiveOptimizer(make().parameters())
    older.load_state_dict(state)
    assert older.total_steps is None
    hinted = AdaptiveOptimizer(make().parameters(), total_steps=10)
    hinted.load_state_dict(state)
    assert hinted.get_current_lr() == optimizer.get_current_lr()


def found_rate(noise: float) -> float:
    """By what a known length found the rate to be after 300 of 1,000 steps down a bowl, beside noise of that length."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(40, 40))
    optimizer = AdaptiveOptimizer([weight], total_steps=1_000, trust_steps=1e6)
    for number in range(300):
        weight.grad = weight.detach() + noise * torch.randn(40, 40, generator=torch.Generator().manual_seed(number))
        optimizer.step()
    return float(optimizer.param_groups[0]["control"][0].exp())


def test_steps_go_farther_while_gradients_stay_and_not_where_they_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    staying, vanishing = found_rate(noise=3.0), found_rate(noise=0.0)
    monkeypatch.setattr(config, "NOISE_FROM", 2.0)  # of the largest norm: as if all gradients had vanished
    monkeypatch.setattr(config, "NOISE_FULL", 3.0)
    assert staying > 1.2 * found_rate(noise=3.0)
    assert vanishing == pytest.approx(found_rate(noise=0.0), rel=0.1)


def test_a_state_that_knows_no_largest_norm_goes_on_as_the_version_that_wrote_it() -> None:
    model = make()
    optimizer = AdaptiveOptimizer(model.parameters(), total_steps=NUM_STEPS)
    for number in range(20):
        take_step(model, optimizer, number)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["peak_norm"]
    older = AdaptiveOptimizer(model.parameters())
    older.load_state_dict(state)
    for number in range(20, 30):
        take_step(model, older, number)
        usual_norm = float(older.param_groups[0]["control"][3])
        assert config.noise_share(usual_norm, older.param_groups[0]["peak_norm"]) == 0


# The trainer -----------------------------------------------------------------------------------------------------


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(16, 6, generator=generator) for _ in range(count)]
    return [(x, x.sum(1, keepdim=True).sin()) for x in inputs]


def lengths_seen(config: TrainConfig, **options: Any) -> tuple[list[int | None], AdaptiveOptimizer]:
    """What an optimizer knows of the length before each step of a run of the trainer, and the optimizer."""
    seen: list[int | None] = []
    optimizers: list[AdaptiveOptimizer] = []

    def make_optimizer(parameters: list[nn.Parameter]) -> AdaptiveOptimizer:
        optimizer = AdaptiveOptimizer(parameters, **options)
        optimizer.register_step_pre_hook(lambda *_: seen.append(optimizer.total_steps))
        optimizers.append(optimizer)
        return optimizer

    fit(make(), batches(4), config, loss=nn.functional.mse_loss, optimizer=make_optimizer, progress=False)
    return seen, optimizers[0]


def test_the_trainer_says_how_long_the_run_is() -> None:
    seen, optimizer = lengths_seen(TrainConfig(epochs=3, accumulate=2))
    assert seen == [6] * 6
    assert optimizer.total_steps is None  # it may be used again


def test_a_length_or_a_constant_rate_of_the_user_stays() -> None:
    assert set(lengths_seen(TrainConfig(epochs=2), total_steps=100)[0]) == {100}
    assert set(lengths_seen(TrainConfig(epochs=2, schedule="constant"))[0]) == {None}
    assert set(lengths_seen(TrainConfig(epochs=2, schedule="cosine"))[0]) == {None}


def test_a_second_run_with_one_optimizer_ends_at_its_own_end() -> None:
    model = make()
    optimizer = AdaptiveOptimizer(model.parameters())
    seen: list[int | None] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(optimizer.total_steps))
    for _ in range(2):
        fit(model, batches(4), TrainConfig(epochs=1), loss=nn.functional.mse_loss, optimizer=optimizer, progress=False)
    assert seen == [4] * 4 + [8] * 4


def test_a_run_that_breaks_off_leaves_no_length_behind() -> None:
    model = make()
    optimizer = AdaptiveOptimizer(model.parameters())
    broken = [*batches(2), (torch.full((16, 6), torch.nan), torch.zeros(16, 1))]
    with pytest.raises(CheckError):
        fit(model, broken, TrainConfig(epochs=1), loss=nn.functional.mse_loss, optimizer=optimizer, progress=False)
    assert optimizer.total_steps is None


def test_a_run_that_goes_on_for_longer_ends_later(tmp_path: Path) -> None:
    seen: list[int | None] = []

    def make_optimizer(parameters: list[nn.Parameter]) -> AdaptiveOptimizer:
        optimizer = AdaptiveOptimizer(parameters)
        optimizer.register_step_pre_hook(lambda *_: seen.append(optimizer.total_steps))
        return optimizer

    arguments: dict[str, Any] = {"loss": nn.functional.mse_loss, "optimizer": make_optimizer, "checkpoints": tmp_path}
    fit(make(), batches(4), TrainConfig(epochs=1), progress=False, **arguments)
    resume(make(), batches(4), TrainConfig(epochs=3), progress=False, **arguments)
    assert seen == [4] * 4 + [12] * 8
