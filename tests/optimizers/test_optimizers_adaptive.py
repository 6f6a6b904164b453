"""AdaptiveOptimizer: equal to its slow twin, a torch optimizer in every respect, and able to find its own way."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.optimizers import AdaptiveOptimizer
from deepseek.optimizers.adaptive_reference import AdaptiveReference
from deepseek.optimizers.knobs import CLIP_FROM, Knobs


def small_model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))


def data(seed: int = 1, num: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num, 6, generator=generator)
    return x, torch.stack([x[:, 0] * x[:, 1], x[:, 2].sin(), x.sum(1) / 3], 1)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, num_steps: int, *, start: int = 0) -> list[float]:
    """Losses of `num_steps` steps on batches that depend on their number alone."""
    losses = []
    for step in range(start, start + num_steps):
        x, y = (part.to(next(model.parameters()).dtype) for part in data(seed=step))
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def weights(model: nn.Module) -> list[Tensor]:
    return [param.detach().clone() for param in model.parameters()]


def test_the_program_of_the_description_runs_as_written() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(1024, 512)
            self.fc2 = nn.Linear(512, 256)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.fc2(torch.relu(self.fc1(x)))
            return out

    torch.manual_seed(0)
    model = Model()
    optimizer = AdaptiveOptimizer(model.parameters(), initial_lr=0.001, lr_decay_rate=0.95, dynamic_threshold=0.8)
    assert optimizer.get_current_lr() == 0.001
    inputs, targets = torch.randn(32, 1024), torch.randn(32, 256)
    rates, losses = [], []
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        rates.append(optimizer.get_current_lr())
        losses.append(loss.item())
    assert losses[-1] < 1e-2 * losses[0]
    assert len(set(rates)) > 20


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize(("initial_lr", "trust_steps"), [(1e-3, 50.0), (1e-1, 50.0), (1e-1, 5.0)])
def test_it_equals_its_slow_twin(foreach: bool, initial_lr: float, trust_steps: float) -> None:
    torch.manual_seed(0)
    shapes = [(6, 5), (4, 2, 3, 3), (40, 3), (7,), (), (1, 6), (600, 4)]
    params = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    twin = [param.detach().clone() for param in params]
    optimizer = AdaptiveOptimizer(params, initial_lr=initial_lr, trust_steps=trust_steps, foreach=foreach)
    reference = AdaptiveReference(twin, Knobs(initial_lr=initial_lr, trust_steps=trust_steps))
    goal = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    for step in range(80):
        spike = 50.0 if step == CLIP_FROM + 5 else 1.0
        noise = [0.3 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
        grads = [(2 * (p - g) + n) * spike for p, g, n in zip(twin, goal, noise, strict=True)]
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad.clone()
        optimizer.step()
        reference.step(grads)
        assert optimizer.get_current_lr() == pytest.approx(reference.rate, rel=1e-4)
    for param, other in zip(params, twin, strict=True):
        torch.testing.assert_close(param.detach(), other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("initial_lr", [1e-5, 1e-3, 1e-1])
def test_it_recovers_from_a_rate_that_is_wrong_by_a_hundred_times(initial_lr: float) -> None:
    model = small_model()
    losses = train(model, AdaptiveOptimizer(model.parameters(), initial_lr=initial_lr), 300)
    assert sum(losses[-10:]) / 10 < 0.08 * losses[0]


def test_the_rate_changes_by_no_more_than_it_may() -> None:
    model = small_model()
    optimizer = AdaptiveOptimizer(model.parameters(), lr_decay_rate=0.9)
    train(model, optimizer, 300)
    before = optimizer.get_current_lr()
    for step in range(300, 320):
        train(model, optimizer, 1, start=step)
        now = optimizer.get_current_lr()
        assert abs(math.log(now / before)) <= -math.log(0.9) * 1.03
        before = now


def test_a_scheduler_multiplies() -> None:
    model, other = small_model(), small_model()
    plain, scheduled = AdaptiveOptimizer(model.parameters()), AdaptiveOptimizer(other.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(scheduled, lambda _: 0.5)
    assert scheduled.get_current_lr() == pytest.approx(0.5 * plain.get_current_lr())
    train(other, scheduled, 1)
    scheduler.step()
    assert scheduled.param_groups[0]["lr"] == pytest.approx(0.5e-3)


@pytest.mark.parametrize("foreach", [True, False])
def test_a_resumed_run_is_equal_to_the_bit(foreach: bool) -> None:
    model = small_model()
    optimizer = AdaptiveOptimizer(model.parameters(), foreach=foreach)
    train(model, optimizer, 60)
    optimizer.report(train_loss=0.5, val_loss=0.9)
    saved_model, saved = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    train(model, optimizer, 60, start=60)

    again = small_model(seed=5)
    again.load_state_dict(saved_model)
    resumed = AdaptiveOptimizer(again.parameters(), foreach=foreach)
    resumed.load_state_dict(saved)
    train(again, resumed, 60, start=60)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(again), strict=True))
    assert resumed.get_current_lr() == optimizer.get_current_lr()


def test_a_closure_is_called_once_and_its_loss_returned() -> None:
    model = small_model()
    optimizer = AdaptiveOptimizer(model.parameters())
    calls = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(data()[0]), data()[1])
        loss.backward()
        calls.append(loss.item())
        return loss.item()

    assert optimizer.step(closure) == calls[0]
    assert len(calls) == 1


def test_a_step_that_the_scaler_skips_changes_nothing() -> None:
    model = small_model()
    optimizer = AdaptiveOptimizer(model.parameters())
    train(model, optimizer, 3)
    before, step = weights(model), optimizer.param_groups[0]["step"]
    control = optimizer.param_groups[0]["control"].clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer.zero_grad()
    scaler.scale(model(data()[0]).sum()).backward()
    model[0].weight.grad[0, 0] = math.inf
    scaler.step(optimizer)
    scaler.update()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    assert optimizer.param_groups[0]["step"] == step
    assert torch.equal(optimizer.param_groups[0]["control"], control)


def test_gradient_clipping_before_the_step_does_not_drive_it_off() -> None:
    model = small_model()
    optimizer = AdaptiveOptimizer(model.parameters())
    for step in range(300):
        x, y = data(seed=step)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        optimizer.step()
    assert loss.item() < 0.1


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    model = small_model()
    model[0].bias.requires_grad_(False)
    before = model[0].bias.detach().clone()
    train(model, AdaptiveOptimizer(model.parameters()), 5)
    assert torch.equal(model[0].bias, before)


def test_no_gradient_at_all_changes_nothing() -> None:
    model = small_model()
    before = weights(model)
    AdaptiveOptimizer(model.parameters()).step()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))


def test_groups_have_their_own_rates_and_decay() -> None:
    model = small_model()
    groups: list[dict[str, Any]] = [
        {"params": model[0].parameters(), "initial_lr": 1e-2},
        {"params": model[2].parameters(), "lr": 1e-4, "weight_decay": 0.0},
    ]
    optimizer = AdaptiveOptimizer(groups)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 1e-4]
    before = model[2].weight.detach().clone()
    train(model, optimizer, 3)
    assert optimizer.get_current_lr() > 1e-2
    assert (model[2].weight - before).abs().max() < 1e-2


@pytest.mark.parametrize(
    ("argument", "value"),
    [("initial_lr", 0.0), ("initial_lr", math.nan), ("lr_decay_rate", 1.0), ("lr_decay_rate", 0.0),
     ("dynamic_threshold", 1.5), ("weight_decay", -0.1), ("trust_steps", 0.0)],
)  # fmt: skip
def test_an_argument_out_of_range_is_named(argument: str, value: float) -> None:
    with pytest.raises(InputError, match=argument):
        AdaptiveOptimizer(small_model().parameters(), **{argument: value})


def test_complex_parameters_are_refused() -> None:
    with pytest.raises(InputError, match="complex"):
        AdaptiveOptimizer([nn.Parameter(torch.zeros(2, dtype=torch.complex64))])


def test_sparse_gradients_are_refused_and_nothing_has_changed() -> None:
    embedding = nn.Embedding(10, 4, sparse=True)
    before = embedding.weight.detach().clone()
    optimizer = AdaptiveOptimizer(embedding.parameters())
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(InputError, match="sparse=False"):
        optimizer.step()
    assert torch.equal(embedding.weight, before)


def test_the_state_of_another_version_is_refused() -> None:
    optimizer = AdaptiveOptimizer(small_model().parameters())
    state = optimizer.state_dict()
    state["param_groups"][0]["control"] = torch.zeros(3)
    with pytest.raises(InputError, match="another version of this optimizer made it"):
        optimizer.load_state_dict(state)


def test_the_state_of_another_optimizer_is_refused() -> None:
    model = small_model()
    other = torch.optim.AdamW(model.parameters())
    with pytest.raises(InputError, match="another optimizer made it"):
        AdaptiveOptimizer(model.parameters()).load_state_dict(other.state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_train(dtype: torch.dtype) -> None:
    model = small_model().to(dtype)
    losses = train(model, AdaptiveOptimizer(model.parameters()), 100)
    assert losses[-1] < 0.5 * losses[0]


def test_it_runs_compiled_and_gives_the_same() -> None:
    def run(wrap: Callable[[Any], Any]) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(600, 600, bias=False))  # the plain path: no eigenbases
        optimizer = AdaptiveOptimizer(model.parameters())
        step = wrap(optimizer.step)
        for number in range(5):
            x = torch.randn(8, 600, generator=torch.Generator().manual_seed(number))
            optimizer.zero_grad()
            model(x).square().mean().backward()
            step()
        return weights(model)

    plain, compiled = run(lambda step: step), run(lambda step: torch.compile(step, backend="aot_eager"))
    torch.testing.assert_close(plain, compiled, rtol=1e-4, atol=1e-5)


def test_regularisation_follows_the_gap() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.Linear(4, 1), nn.Dropout(0.0))
    optimizer = AdaptiveOptimizer(model.parameters())
    handle = optimizer.attach(model)
    assert (model[1].p, handle.label_smoothing, handle.decay_factor) == (0.2, 0.0, 1.0)
    optimizer.report(train_loss=1.0, val_loss=1.0)
    for number in range(5):  # training goes on, validation does not
        optimizer.report(train_loss=0.9 - 0.1 * number, val_loss=1.2)
    assert model[1].p == pytest.approx(0.3)
    assert handle.label_smoothing == pytest.approx(0.05)
    assert model[3].p == 0.0
    optimizer.report(train_loss=0.3, val_loss=0.5)
    assert model[1].p < 0.3


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="val_loss is nan"):
        AdaptiveOptimizer(small_model().parameters()).report(train_loss=1.0, val_loss=math.nan)
