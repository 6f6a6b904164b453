"""Training with rounded weights: the loss falls in every method, and int4 wins back what rounding cost."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.compress.quantize import (
    QatResult,
    QuantizeConfig,
    pack,
    quantize_weights,
    scan,
    train_quantized,
    unpack,
    worst,
)
from deepseek.compress.quantize.grid import QuantizeMethod
from deepseek.errors import CheckError, InputError
from deepseek.train import ArrayStream, TrainConfig, fit


def rows(num: int, seed: int) -> tuple[Tensor, Tensor]:
    """16 numbers each, 4 classes: the largest of four sums of products."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(num, 16, generator=draw)
    mixed = torch.tanh(x @ torch.randn(16, 32, generator=torch.Generator().manual_seed(99)))
    return x, (mixed @ torch.randn(32, 4, generator=torch.Generator().manual_seed(98))).argmax(1)


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))


def stream(seed: int = 0) -> ArrayStream:
    return ArrayStream(rows(2_000, 0), 50, torch.Generator().manual_seed(seed))


def loss_on(model: nn.Module) -> float:
    """On the rows that it was trained on."""
    x, y = rows(2_000, 0)
    with torch.no_grad():
        return float(functional.cross_entropy(model.eval()(x), y))


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    model = net()
    fit(model, stream(), TrainConfig(epochs=8, lr=3e-3), loss=functional.cross_entropy)
    return model


@pytest.mark.parametrize("method", ["int8", "int4", "fp8", "fp8_e5m2"])
@pytest.mark.parametrize("activations", ["none", "token"])
def test_the_loss_falls_from_the_start_as_in_float32(method: QuantizeMethod, activations: Any) -> None:
    config = TrainConfig(epochs=4, lr=3e-3)
    plain = fit(net(), stream(), config, loss=functional.cross_entropy).losses
    quantize = QuantizeConfig(method, activations)
    losses = train_quantized(net(), stream(), quantize, config, loss=functional.cross_entropy).fit.losses
    fell, should = losses[0] - losses[-1], plain[0] - plain[-1]
    assert fell > (0.75 if method == "int4" else 0.9) * should


@pytest.mark.parametrize("method", ["int4", "fp8_e5m2"])
def test_training_wins_back_what_rounding_cost(trained: nn.Module, method: QuantizeMethod) -> None:
    rounded, again = copy.deepcopy(trained), copy.deepcopy(trained)
    quantize_weights(rounded, QuantizeConfig(method))
    config = TrainConfig(epochs=2, lr=5e-4)
    done = train_quantized(again, stream(1), QuantizeConfig(method), config, loss=functional.cross_entropy)
    cost, left = (loss_on(model) - loss_on(trained) for model in (rounded, again))
    assert cost > 0
    assert left < 0.5 * cost
    for name, weight in done.weights.items():  # and what was scored is what is stored
        assert torch.equal(again.get_parameter(name), weight.dequantize())


def test_a_convolutional_network_is_folded_then_trained() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(1, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14, 4)
    )  # fmt: skip
    x, y = rows(1_000, 0)
    data = ArrayStream((x[:, None], y), 50, torch.Generator().manual_seed(0))
    fit(model, data, TrainConfig(epochs=3, lr=3e-3), loss=functional.cross_entropy)
    config = TrainConfig(epochs=3, lr=1e-3)
    done = train_quantized(model, data, QuantizeConfig("int8"), config, loss=functional.cross_entropy)
    assert done.folded == ("1",)
    assert isinstance(model[1], nn.Identity)
    assert done.fit.losses[-1] < done.fit.losses[0]


def test_the_scan_puts_the_layer_first_whose_rounding_costs_most_and_leaves_the_module_as_it_was() -> None:
    """By hand: the middle layer multiplies by 1, exactly representable; the last holds weights that int4 cannot."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[1].weight.copy_(torch.tensor([[7.0, 0.4], [7.0, 3.3]]))
    before = {name: each.clone() for name, each in model.state_dict().items()}
    x = torch.eye(2)
    expected = x @ model[1].weight.detach().T

    def error(net: nn.Module) -> float:
        return float((net(x).detach() - expected).abs().sum())

    ranking = scan(model, error, QuantizeConfig("int4", clip="max"), goal="min")
    assert [each.layer for each in ranking] == ["1", "0"]
    assert ranking[0].loss == pytest.approx(0.4 + 0.3, abs=1e-5)
    assert ranking[1].loss == pytest.approx(0, abs=1e-6)
    assert worst(ranking, most=0.1) == ("1",)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    quantize_weights(model, QuantizeConfig("int4", clip="max", keep=worst(ranking, most=0.1)))
    assert torch.equal(model[1].weight, before["1.weight"])


def test_a_scan_that_starts_from_nan_or_has_no_layer_is_refused() -> None:
    with pytest.raises(CheckError, match="gives nan"):
        scan(net(), lambda _: float("nan"), QuantizeConfig())
    with pytest.raises(InputError, match="keep names"):
        scan(net(), lambda _: 0.0, QuantizeConfig(keep=("9",)))


def test_an_evaluation_that_fails_leaves_the_module_as_it_was() -> None:
    model = net()
    before = model[0].weight.detach().clone()

    def fail_later(module: nn.Module) -> float:
        if not torch.equal(module[0].weight, before):  # type: ignore[index]
            raise InputError("the data ended")
        return 0.0

    with pytest.raises(InputError, match="the data ended"):
        scan(model, fail_later, QuantizeConfig("int4"))
    assert torch.equal(model[0].weight, before)
    assert type(model[0]) is nn.Linear


def test_training_that_is_no_better_on_the_validation_is_undone_to_the_bit(trained: nn.Module) -> None:
    """Steps far too large: what comes back is what rounding alone gives, whatever training did."""
    rounded, again = copy.deepcopy(trained), copy.deepcopy(trained)
    quantize_weights(rounded, QuantizeConfig("fp8"))
    done = train_quantized(
        again, stream(1), QuantizeConfig("fp8"), TrainConfig(epochs=1, lr=0.5), loss=functional.cross_entropy,
        validation=[rows(500, 7)],
    )  # fmt: skip
    assert not done.is_kept
    assert done.rounded is not None
    assert done.trained is not None
    assert done.trained > done.rounded
    assert done.fit.validations[-1]["loss"] == pytest.approx(done.trained)
    assert all(torch.equal(mine, other) for mine, other in zip(again.parameters(), rounded.parameters(), strict=True))
    assert torch.equal(done.weights["0.weight"].dequantize(), again[0].weight)  # type: ignore[arg-type]


def test_training_that_is_better_on_the_validation_is_kept_and_by_as_much_as_was_asked(trained: nn.Module) -> None:
    held, config = [rows(500, 7)], TrainConfig(epochs=2, lr=5e-4, ema_decay=0.9)

    def run(config: TrainConfig) -> tuple[QatResult, nn.Module]:
        module = copy.deepcopy(trained)
        return train_quantized(
            module, stream(1), QuantizeConfig("int4"), config, loss=functional.cross_entropy, validation=held
        ), module

    done, module = run(config)
    assert done.is_kept
    assert done.rounded is not None
    assert done.trained is not None
    gain = done.rounded - done.trained
    assert gain > 0
    x, y = held[0]
    with torch.no_grad():
        assert float(functional.cross_entropy(module(x), y)) == pytest.approx(done.trained, rel=1e-5)
    stopped_early, same = run(replace(config, min_delta=gain * 1.01))
    assert not stopped_early.is_kept
    quantize_weights(rounded := copy.deepcopy(trained), QuantizeConfig("int4"))
    assert torch.equal(same[0].weight, rounded[0].weight)  # type: ignore[index]


def test_packing_stores_what_training_saw_and_what_rounding_gives_to_the_bit(
    trained: nn.Module, tmp_path: Path
) -> None:
    rounded, again = copy.deepcopy(trained), copy.deepcopy(trained)
    quantize_weights(rounded, QuantizeConfig("fp8"))
    config = TrainConfig(epochs=1, lr=5e-4)
    train_quantized(again, stream(1), QuantizeConfig("fp8"), config, loss=functional.cross_entropy)
    for module, source in ((rounded, trained), (rounded, rounded), (again, again)):
        packed = unpack(pack(source.state_dict(), tmp_path / "packed", overwrite=True).out)
        for name, each in module.named_parameters():
            assert torch.equal(packed[name], each), name


def test_a_validation_may_be_any_measure_of_the_module(trained: nn.Module) -> None:
    x, y = rows(500, 7)

    def accuracy(model: nn.Module) -> dict[str, float]:
        return {"accuracy": float((model(x).argmax(1) == y).float().mean())}

    config = TrainConfig(epochs=1, lr=0.5, metric="accuracy", goal="max")
    module = copy.deepcopy(trained)
    done = train_quantized(
        module, stream(1), QuantizeConfig("int8"), config, loss=functional.cross_entropy, validation=accuracy
    )
    assert not done.is_kept
    assert accuracy(module)["accuracy"] == done.rounded
