"""explain(): values that are those of the definitions and of captum, with an error that is one, in bounded memory."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.explain import attribute
from deepseek.explain.modules.gradient_methods import Limits
from deepseek.explain.shapley.kernel import kernel_shap
from support.nets.explainednets import Tokens, make_net

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


def rows(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def test_deeplift_over_many_baselines_is_captums(net: nn.Module) -> None:
    from captum.attr import DeepLiftShap

    attribution = attribute(net, rows(3), rows(20, 2), 1)
    theirs = DeepLiftShap(net).attribute(rows(3), rows(20, 2), target=1).detach()
    np.testing.assert_allclose(attribution.values, theirs, atol=1e-5)
    np.testing.assert_allclose(attribution.output, net(rows(3))[:, 1].detach(), atol=1e-6)
    np.testing.assert_allclose(attribution.base_value, net(rows(20, 2))[:, 1].mean().item(), atol=1e-6)
    assert np.abs(attribution.residual).max() < 1e-5
    assert attribution.method.startswith("DeepLIFT")
    assert "within 1 %" in attribution.why
    few = attribute(net, rows(3), rows(20, 2), 1, limits=Limits(max_rows=7))  # in parts of 7 pairs
    np.testing.assert_allclose(few.values, attribution.values, atol=1e-6)


def test_integrated_gradients_take_as_many_steps_as_the_error_asks_for() -> None:
    from captum.attr import IntegratedGradients

    smooth, inputs, baseline = make_net("blocks")
    attribution = attribute(smooth, inputs, baseline, 0, method="integrated", limits=Limits(tolerance=1e-3))
    theirs = IntegratedGradients(smooth).attribute(inputs, baseline.expand(3, 4, 64), target=0, n_steps=300)
    np.testing.assert_allclose(attribution.values, theirs.detach().flatten(1), atol=2e-3)
    assert (np.abs(attribution.residual) <= 1e-3 * np.abs(attribution.output - attribution.base_value)).all()
    coarse = attribute(smooth, inputs, baseline, 0, method="integrated", limits=Limits(tolerance=1e-6, max_steps=9))
    assert coarse.is_partial
    assert "partial: a limit" in coarse.notes[-1]


def test_expected_gradients_come_with_standard_errors_that_hold(net: nn.Module) -> None:
    truth = attribute(net, rows(1), rows(10, 2), 0, method="gradient", limits=Limits(num_samples=4000)).values[0]
    away = []
    for seed in range(20):
        limits = Limits(num_samples=100, seed=seed, max_rows=64)
        attribution = attribute(net, rows(1), rows(10, 2), 0, method="gradient", limits=limits)
        assert attribution.error is not None
        away.append((attribution.values[0] - truth) / attribution.error[0])
    assert 0.05 < np.square(away).mean() < 2  # spread evenly, samples miss by less than their error says
    np.testing.assert_allclose(attribution.base_value, net(rows(10, 2))[:, 0].mean().item(), atol=1e-6)


def exact_shapley(f: object, row: NDArray[np.float64], base: NDArray[np.float64]) -> NDArray[np.float64]:
    count, values = len(row), np.zeros(len(row))
    for place in range(count):
        others = [other for other in range(count) if other != place]
        for size in range(count):
            for members in combinations(others, size):
                without = base.copy()
                without[list(members)] = row[list(members)]
                with_it = without.copy()
                with_it[place] = row[place]
                weight = factorial(size) * factorial(count - size - 1) / factorial(count)
                values[place] += weight * (f(with_it[None]) - f(without[None]))[0]  # type: ignore[operator]
    return values


def bent(x: NDArray[np.floating]) -> NDArray[np.float64]:
    threes = np.sin(3 * x[:, :3].prod(axis=1)) + np.maximum(x[:, 3] + x[:, 1] * x[:, 2] - x[:, 0], 0) ** 3
    return np.asarray(threes - x[:, 4] ** 2 + x.sum(axis=1) ** 2 / 9)


def test_a_black_box_gets_shapley_values_exactly_or_within_its_errors() -> None:
    rng = np.random.default_rng(0)
    row, base = rng.normal(size=8), rng.normal(size=8)
    truth = exact_shapley(bent, row, base)
    whole = attribute(bent, row[None], base[None])
    np.testing.assert_allclose(whole.values[0], truth, atol=1e-8)  # 254 coalitions are all there are
    assert whole.error is not None
    assert not whole.error.any()
    away = []
    for seed in range(20):
        attribution = kernel_shap(bent, row, base[None], num_evaluations=120, tolerance=0.0, seed=seed)
        assert attribution.is_partial
        assert attribution.values.sum() == pytest.approx(attribution.output - attribution.base)
        away.append((attribution.values - truth) / attribution.error)
    assert 0.3 < np.square(away).mean() < 3


def test_sampling_stops_when_the_error_is_small_enough() -> None:
    rng = np.random.default_rng(1)
    row, base = rng.normal(size=14), rng.normal(size=(2, 14))
    attribution = kernel_shap(bent, row, base, num_evaluations=14_000, tolerance=0.05)
    assert not attribution.is_partial
    assert attribution.num_evaluations < 14_000
    assert 0 < attribution.error.max() <= 0.05 * np.abs(attribution.values).max()
    assert kernel_shap(bent, row, base, num_evaluations=400, tolerance=1e-9, time_limit_s=0.0).is_partial


def test_tokens_get_one_value_each() -> None:
    torch.manual_seed(0)
    tokens, ids = Tokens().eval(), torch.tensor([[3, 7, 5, 9], [1, 2, 3, 4]])
    for method in ("auto", "integrated", "gradient"):
        attribution = attribute(tokens, ids, torch.zeros(1, 4, dtype=torch.int64), 1, method=method)  # type: ignore[arg-type]
        assert attribution.values.shape == (2, 4)
        zeros = torch.zeros(1, 4, dtype=torch.int64)
        np.testing.assert_allclose(attribution.base_value, tokens(zeros)[0, 1].item(), atol=1e-5)
    assert np.abs(attribute(tokens, ids, target=1).residual).max() < 1e-5


def test_ten_thousand_features_stay_within_bounded_memory() -> None:
    wide = nn.Sequential(nn.Linear(10_000, 2))
    largest: list[int] = []
    wide.register_forward_pre_hook(lambda _, hook_inputs: largest.append(hook_inputs[0].numel()))
    attribution = attribute(wide, torch.randn(2, 10_000), torch.randn(300, 10_000), 0)
    assert max(largest) <= 256 * 10_000
    np.testing.assert_allclose(attribution.base_value + attribution.values.sum(axis=1), attribution.output, atol=1e-4)
    with pytest.raises(InputError, match="2048 evaluations cannot tell 10000 features apart"):
        attribute(lambda x: x.sum(axis=1), np.zeros((1, 10_000)), np.ones((1, 10_000)), method="kernel")


class Stepped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).float()


class Cumulative(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid().cumprod(1)


def test_auto_says_what_it_took_and_why() -> None:
    row = torch.tensor([[0.5, 2.0, -1.0]])
    stepped = attribute(Stepped(), row, target=0)
    assert stepped.method.startswith("KernelSHAP")
    assert "no gradient" in stepped.why
    bend = attribute(Cumulative(), row, target=2)
    assert bend.method.startswith("integrated")
    assert "cumprod" in bend.why
    assert attribute(bent, np.ones((1, 5))).why == "the model is a function of arrays, which has no gradients"
    still = attribute(nn.Sequential(nn.Linear(3, 1)), row, row)
    assert "every contribution is 0" in still.notes[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"baselines": torch.zeros(4, 5)}, r"shape \(4, 5\). Expected: \(6,\)"),
        ({"method": "magic"}, "no method 'magic'. Expected: auto, deeplift"),
        ({"names": ["a"]}, "there are 1 names. Expected: 6"),
        ({"target": 7}, "no output 7"),
    ],
)
def test_what_does_not_fit_is_refused(net: nn.Module, more: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        attribute(net, rows(2), **more)  # type: ignore[arg-type]


def test_gradient_methods_refuse_what_has_no_gradient_and_nan_is_refused(net: nn.Module) -> None:
    for method in ("deeplift", "integrated", "gradient"):
        with pytest.raises(InputError, match=r'no gradient .*method="kernel"'):
            attribute(Stepped(), rows(1), target=0, method=method)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="finite numbers"):
        attribute(lambda x: np.full(len(x), np.nan), np.ones((1, 3)))
    with pytest.raises(InputError, match="needs gradients"):
        attribute(bent, np.ones((1, 5)), method="gradient")
