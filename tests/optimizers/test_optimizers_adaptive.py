"""AdaptiveOptimizer: equal to its slow twin, a torch optimizer in every respect, and able to find its own way."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.optim import lr_scheduler

from deepseek.errors import InputError
from deepseek.optimizers import AdaptiveOptimizer
from deepseek.optimizers.adaptive_reference import AdaptiveReference
from deepseek.optimizers.config import CLIP_FROM_STEP, MAX_RATE, AdaptiveConfig


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


def found_rate(optimizer: AdaptiveOptimizer) -> float:
    """Before the bounds of a step."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) * math.exp(group["control"][0].item())


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
@pytest.mark.parametrize(
    ("initial_lr", "trust_steps", "total_steps"),
    [(1e-3, 50.0, None), (1e-1, 50.0, None), (1e-1, 5.0, None), (1e-2, 5.0, 90), (1e-2, 50.0, 70)],
)
@pytest.mark.filterwarnings("ignore:.*not finite", "ignore:.*of a training of 70")
def test_it_equals_its_slow_twin(foreach: bool, initial_lr: float, trust_steps: float, total_steps: int | None) -> None:
    torch.manual_seed(0)
    shapes = [(6, 5), (4, 2, 3, 3), (40, 3), (7,), (), (1, 6), (600, 4)]
    params = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    twin = [param.detach().clone() for param in params]
    optimizer = AdaptiveOptimizer(
        params, initial_lr=initial_lr, trust_steps=trust_steps, total_steps=total_steps, foreach=foreach
    )
    reference = AdaptiveReference(twin, AdaptiveConfig(initial_lr=initial_lr, trust_steps=trust_steps), total_steps)
    goal = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    for step in range(80):
        if step in (1, 30, 55):  # nothing of such a step may be kept
            broken = [torch.full(shape, math.nan if step == 30 else math.inf, dtype=torch.float64) for shape in shapes]
            for param, grad in zip(params, broken, strict=True):
                param.grad = grad
            optimizer.step()
            reference.step(broken)
        spike = 50.0 if step == CLIP_FROM_STEP + 5 else 1.0
        noise = [0.3 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
        grads = [(2 * (p - g) + n) * spike for p, g, n in zip(twin, goal, noise, strict=True)]
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad.clone()
        optimizer.step()
        reference.step(grads)
        assert optimizer.get_current_lr() == pytest.approx(reference.effective_rate, rel=1e-4)
        assert found_rate(optimizer) == pytest.approx(reference.rate, rel=1e-4)
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
    before = found_rate(optimizer)
    for step in range(300, 320):
        train(model, optimizer, 1, start=step)
        now = found_rate(optimizer)
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
     ("dynamic_threshold", 1.5), ("weight_decay", -0.1), ("trust_steps", 0.0),
     ("betas", (0.9, 1.0)), ("betas", (0.9,))],
)  # fmt: skip
def test_an_argument_out_of_range_is_named(argument: str, value: Any) -> None:
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


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda _: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [3]),
    "ConstantLR": lr_scheduler.ConstantLR,
    "LinearLR": lr_scheduler.LinearLR,
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 20),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 1e-4, 1e-3, step_size_up=3),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 1e-3, total_steps=20),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "SWALR": lambda o: torch.optim.swa_utils.SWALR(o, swa_lr=1e-4, anneal_epochs=3),
}


def test_every_scheduler_of_torch_is_tried() -> None:
    classes = {name for name in lr_scheduler.__all__ if name not in ("LRScheduler", "_LRScheduler")}
    assert classes <= set(SCHEDULERS)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_of_torch_drives_it(name: str) -> None:
    """Its rates and betas are those that the same scheduler gives AdamW, and a step heeds them."""
    model, other = small_model(), small_model()
    optimizer = AdaptiveOptimizer(model.parameters(), lr=1e-3)
    twin = torch.optim.AdamW(other.parameters(), lr=1e-3, betas=(0.9, 0.99))
    pairs = [(optimizer, SCHEDULERS[name](optimizer)), (twin, SCHEDULERS[name](twin))]
    seen: list[list[Any]] = [[], []]
    for step in range(18):
        for place, (each, scheduler) in enumerate(pairs):
            train(model if each is optimizer else other, each, 1, start=step)
            scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
            seen[place] += [each.param_groups[0]["lr"], *each.param_groups[0]["betas"]]
    assert seen[0] == pytest.approx(seen[1])
    assert all(torch.isfinite(weight).all() for weight in weights(model))


def test_the_betas_that_a_scheduler_cycles_are_those_of_the_step() -> None:
    models = small_model(), small_model()
    for model, beta1 in zip(models, (0.9, 0.5), strict=True):
        optimizer = AdaptiveOptimizer(model.parameters())
        for group in optimizer.param_groups:
            group["betas"] = (beta1, group["betas"][1])
        train(model, optimizer, 4)
    assert not torch.equal(models[0][0].weight, models[1][0].weight)


def test_the_bound_of_the_rate_holds_where_a_scheduler_raises_it() -> None:
    model = small_model()
    optimizer = AdaptiveOptimizer(model.parameters(), dynamic_threshold=0.0)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=200)
    for step in range(150):
        train(model, optimizer, 1, start=step)
        assert optimizer.get_current_lr() <= MAX_RATE * (1 + 1e-5)
        scheduler.step()


def test_lr_is_another_name_of_initial_lr() -> None:
    optimizer = AdaptiveOptimizer(small_model().parameters(), lr=0.02)
    assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["initial_lr"] == 0.02
    assert optimizer.get_current_lr() == pytest.approx(0.02)
    with pytest.raises(InputError, match="two names of one rate"):
        AdaptiveOptimizer(small_model().parameters(), initial_lr=0.1, lr=0.02)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("foreach", [True, False])
def test_a_gradient_that_is_not_finite_changes_nothing_and_is_said_once(value: float, foreach: bool) -> None:
    model, other = small_model(), small_model()
    optimizer = AdaptiveOptimizer(model.parameters(), foreach=foreach)
    twin = AdaptiveOptimizer(other.parameters(), foreach=foreach)
    train(model, optimizer, 5)
    train(other, twin, 5)
    before = copy.deepcopy(optimizer.state_dict())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            for param in model.parameters():
                param.grad = torch.zeros_like(param)
            model[2].weight.grad[1, 2] = value
            optimizer.step()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "the step was skipped" in str(caught[0].message)
    assert ("(3, 12)" in str(caught[0].message)) == (not math.isfinite(value))
    assert optimizer.num_skipped_steps == 3
    before["param_groups"][0] |= {"num_skipped": 3, "num_calls": 8}
    torch.testing.assert_close(optimizer.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    train(model, optimizer, 20, start=5)
    train(other, twin, 20, start=5)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(other), strict=True))


def test_a_first_gradient_that_is_not_finite_leaves_the_run_as_if_it_had_not_been() -> None:
    model, other = small_model(), small_model()
    optimizer, twin = AdaptiveOptimizer(model.parameters()), AdaptiveOptimizer(other.parameters())
    (model(data()[0]).sum() * math.nan).backward()
    with pytest.warns(UserWarning, match="not finite"):
        optimizer.step()
    assert train(model, optimizer, 10) == train(other, twin, 10)


def test_the_count_of_skipped_steps_is_in_the_state_and_an_older_state_has_none() -> None:
    optimizer = AdaptiveOptimizer(small_model().parameters())
    optimizer.param_groups[0]["num_skipped"] = 7
    state = copy.deepcopy(optimizer.state_dict())
    resumed = AdaptiveOptimizer(small_model().parameters())
    resumed.load_state_dict(copy.deepcopy(state))
    assert resumed.num_skipped_steps == 7
    for group in state["param_groups"]:
        del group["num_skipped"], group["betas"]
    resumed.load_state_dict(state)
    assert resumed.num_skipped_steps == 0
    assert resumed.param_groups[0]["betas"] == (0.9, 0.99)


def test_float16_gradients_above_256_are_no_overflow() -> None:
    param = nn.Parameter(torch.ones(4, dtype=torch.float16))
    optimizer = AdaptiveOptimizer([param])
    for _ in range(3):
        param.grad = torch.full_like(param, 300.0)
        optimizer.step()
    assert optimizer.num_skipped_steps == 0
    assert torch.isfinite(param).all()


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


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_it_runs_compiled_and_gives_the_same(dtype: torch.dtype | None) -> None:
    def run(wrap: Callable[[Any], Any]) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(600, 600, bias=False))  # the plain path: no eigenbases
        optimizer = AdaptiveOptimizer(model.parameters(), state_dtype=dtype)
        step = wrap(optimizer.step)
        for number in range(5):
            x = torch.randn(8, 600, generator=torch.Generator().manual_seed(number))
            optimizer.zero_grad()
            model(x).square().mean().backward()
            step()
        return weights(model)

    plain, compiled = run(lambda step: step), run(lambda step: torch.compile(step, backend="aot_eager"))
    if dtype is None:
        torch.testing.assert_close(plain, compiled, rtol=1e-4, atol=1e-5)
    # A moment may be rounded to the other neighbor of bfloat16 here and there; steps are some thousandths.
    assert float((plain[0] - compiled[0]).abs().mean()) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("total_steps", [None, 60])
def test_a_compiled_step_is_compiled_once_for_all_counts_of_steps(total_steps: int | None) -> None:
    def run(wrap: Callable[[Any], Any]) -> tuple[list[Tensor], list[int]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 8), nn.ReLU(), nn.Linear(8, 1)).double()
        optimizer = AdaptiveOptimizer(model.parameters(), total_steps=total_steps)
        step, num_graphs = wrap(optimizer.step), []
        for number in range(49):
            x = torch.randn(8, 600, generator=torch.Generator().manual_seed(number)).double()
            optimizer.zero_grad()
            (model(x) - x[:, :1]).square().mean().backward()
            step()
            num_graphs.append(counters["stats"]["unique_graphs"])
        return weights(model), num_graphs

    counters.clear()
    plain, _ = run(lambda step: step)
    compiled, num_graphs = run(lambda step: torch.compile(step, backend="eager"))
    torch.testing.assert_close(plain, compiled)
    assert 0 < num_graphs[CLIP_FROM_STEP + 2] == num_graphs[-1]


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
