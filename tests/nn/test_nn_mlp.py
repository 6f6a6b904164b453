"""The torch module and the arrays taken out of it say the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepseek.nn.dense import Perceptron
from deepseek.nn.mlp import MLP, drop


def make(num_margins: int, *, codes: bool = True, numeric: bool = True, clip: float = 3.0) -> MLP:
    torch.manual_seed(3)
    model = MLP(
        numeric=[1, 2] if numeric else [],
        centre=np.array([0.5, -1.0][: 2 * numeric], np.float32),
        scale=np.array([2.0, 0.1][: 2 * numeric], np.float32),
        codes=[0, 3] if codes else [],
        num_levels=[4, 9] if codes else [],
        widths=[8, 5],
        num_margins=num_margins,
        num_members=3,
        dropout=0.5,
        logged=[False, True][: 2 * numeric],
        clip=clip,
    )
    with torch.no_grad():
        model.skip.uniform_(-0.5, 0.5)  # it starts at zero, where a mistake would not show
    return model.eval()


def rows(num_rows: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(num_rows, 4)).astype(np.float32)
    table[:, 0] = rng.integers(0, 7, num_rows)  # 4 to 6 were never seen
    table[:, 3] = rng.integers(-2, 9, num_rows)
    table[0, 1:3] = 1e30, -1e30
    return table


@pytest.mark.parametrize("num_margins", [1, 5])
@pytest.mark.parametrize(("codes", "numeric"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("clip", [3.0, math.inf])
def test_the_arrays_of_each_member_answer_as_the_module_does(
    num_margins: int, codes: bool, numeric: bool, clip: float
) -> None:
    model, features = make(num_margins, codes=codes, numeric=numeric, clip=clip), rows()
    features = features if clip == 3.0 else features[1:]
    with torch.no_grad():
        exact = model(torch.as_tensor(features)).numpy()
    members = model.members(features)
    with torch.no_grad():
        rounded = model(torch.as_tensor(features)).numpy()
    np.testing.assert_allclose(rounded, exact, rtol=5e-3, atol=5e-3 * np.abs(exact).max())
    for member, margin in zip(members, rounded, strict=True):
        np.testing.assert_allclose(member.margin(features), margin, rtol=1e-4, atol=1e-5)


def test_members_of_a_classifier_are_stored_in_half_the_room() -> None:
    stored = make(5).members(rows())[0].arrays()
    for name in ("embedding_0", "embedding_1", "weight_0", "weight_1", "weight_2", "skip"):
        assert stored[name].dtype == np.float16


@pytest.mark.parametrize(("scale", "mean"), [(3e7, 1e7), (1e-5, -2e-5)])
def test_a_target_beyond_the_range_of_float16_keeps_its_digits(scale: float, mean: float) -> None:
    model, features = make(1), rows()
    plain = model.members(features)
    for unscaled, member in zip(plain, model.members(features, target_scale=scale, target_mean=mean), strict=True):
        wanted = mean + scale * unscaled.margin(features)
        stored = Perceptron.from_arrays(member.arrays())
        np.testing.assert_allclose(stored.margin(features), wanted, rtol=1e-5, atol=1e-5 * scale)


def test_margins_come_back_in_the_units_of_the_target() -> None:
    model, features = make(1), rows()
    plain, scaled = model.members(features)[0], model.members(features, target_scale=250.0, target_mean=1000.0)[0]
    np.testing.assert_allclose(scaled.margin(features), 1000 + 250 * plain.margin(features), rtol=1e-4, atol=0.01)


def test_the_baseline_is_the_mean_joined_input_of_the_training_rows() -> None:
    model, features = make(1), rows()
    for member in model.members(features):
        np.testing.assert_allclose(member.baseline, member.join(features).mean(axis=0), atol=1e-5)


def test_members_start_apart() -> None:
    members = make(1).members(rows())
    assert np.abs(members[0].margin(rows()) - members[1].margin(rows())).max() > 1e-3


@pytest.mark.parametrize("share", [0.1, 0.15, 0.5])
def test_dropout_keeps_the_mean_and_drops_its_share_anew_each_time(share: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(3, 111, 101, requires_grad=True)  # not a multiple of eight
    first, second = drop(x, share), drop(x, share)
    num = x.numel()
    for dropped in (first, second):
        is_zero = dropped.detach() == 0
        kept = 1 - round(256 * share) / 256
        assert abs(float(is_zero.float().mean()) - (1 - kept)) < 5 * math.sqrt(kept * (1 - kept) / num)
        torch.testing.assert_close(dropped.detach()[~is_zero], torch.full((int((~is_zero).sum()),), 1 / kept))
    assert not torch.equal(first, second)
    first.sum().backward()
    assert torch.equal(x.grad, first.detach())


def test_without_a_share_nothing_is_dropped_nor_once_training_is_over() -> None:
    x = torch.ones(5, 7)
    assert drop(x, 0.0) is x
    model, features = make(2), torch.as_tensor(rows()[1:])
    assert torch.equal(model(features), model(features))
    model.train()
    assert not torch.equal(model(features), model(features))
