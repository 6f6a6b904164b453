"""The training loop: it learns, it repeats itself exactly, it names what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepseek.errors import CheckError, InputError
from deepseek.train.fit import ArrayStream, TensorBatch, TrainConfig, fit


def squared(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return ((output[:, 0] - target) ** 2 * weight).mean()


def stream(*, seed: int = 0, num_rows: int = 64, broken: int | None = None) -> ArrayStream:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(num_rows, 3, generator=generator)
    target = inputs @ torch.tensor([1.0, -2.0, 0.5]) + 3
    if broken is not None:
        target[broken] = float("nan")
    return ArrayStream(inputs, target, torch.ones(num_rows), 16, torch.Generator().manual_seed(seed))


def module(seed: int = 0, *, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(3, 1))


def test_a_line_is_learned() -> None:
    model = module()
    result = fit(model, stream(), TrainConfig(epochs=150, lr=0.1, weight_decay=0.0), loss=squared)
    assert result.losses[-1] < 1e-3 < result.losses[0]
    assert result.num_steps == 150 * 4
    assert len(result.losses) == 150
    assert not model.training


def test_equal_seeds_give_equal_weights_and_another_seed_others() -> None:
    """The seed of the configuration alone sets the dropout: nothing outside `fit` has to be seeded."""

    def weights(seed: int, *, drawn_before: int = 0) -> Tensor:
        model = module(dropout=0.5)
        torch.rand(drawn_before)
        fit(model, stream(), TrainConfig(epochs=5, seed=seed), loss=squared)
        return next(p for p in model.parameters()).detach()

    torch.testing.assert_close(weights(1), weights(1, drawn_before=3), rtol=0, atol=0)
    assert not torch.equal(weights(1), weights(2))


def test_each_pass_is_another_permutation_of_all_rows() -> None:
    batches = stream()
    first, second = (torch.cat([target for _, target, _ in batches]) for _ in range(2))
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.sort().values, second.sort().values)
    assert len(batches) == 4


def test_rows_of_no_weight_teach_nothing() -> None:
    base = stream()
    weight = torch.ones(64)
    weight[:32] = 0
    target = base.target.clone()
    target[:32] = 1e6
    data = ArrayStream(base.inputs, target, weight, 16, torch.Generator().manual_seed(0))
    model = module()
    fit(model, data, TrainConfig(epochs=150, lr=0.1, weight_decay=0.0), loss=squared)
    bias = list(model.parameters())[1]
    assert bias.item() == pytest.approx(3, abs=0.05)


def test_a_gradient_that_is_not_finite_is_named_by_batch_and_epoch() -> None:
    with pytest.raises(CheckError, match=r"batch \d+ in epoch 0 is not finite"):
        fit(module(), stream(broken=5), TrainConfig(epochs=3), loss=squared)


def test_no_step_is_taken_on_a_gradient_that_is_not_finite() -> None:
    model = module()
    with pytest.raises(CheckError):
        fit(model, stream(broken=5, num_rows=16), TrainConfig(), loss=squared)
    assert all(torch.isfinite(p).all() for p in model.parameters())


class Empty:
    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[TensorBatch]:
        return iter(())


def test_a_stream_without_batches_is_refused() -> None:
    with pytest.raises(InputError):
        fit(module(), Empty(), TrainConfig(epochs=1), loss=squared)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 0, "at least 1"),
        ("lr", 0.0, "above 0"),
        ("lr", float("nan"), "above 0"),
        ("weight_decay", -0.1, "at least 0"),
        ("warmup", 1.5, "between 0 and 1"),
        ("warmup", -0.1, "between 0 and 1"),
        ("clip_norm", 0.0, "above 0"),
    ],
)
def test_a_knob_outside_its_bounds_is_named_with_them(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InputError, match=rf"train\.{name} is {value}.*{expected}"):
        TrainConfig(**{name: value})


def test_the_rate_rises_to_its_peak_and_falls_to_near_zero() -> None:
    config = TrainConfig(warmup=0.1)
    rates = [config.rate(step, 100) for step in range(100)]
    assert rates[9] == 1.0 == max(rates)
    assert all(a < b for a, b in pairwise(rates[:10]))
    assert all(a >= b for a, b in pairwise(rates[9:]))
    assert rates[-1] < 0.01


def test_the_optimizer_is_a_free_choice() -> None:
    model = module()
    result = fit(
        model, stream(), TrainConfig(epochs=60), loss=squared,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )  # fmt: skip
    assert result.losses[-1] < 0.05
