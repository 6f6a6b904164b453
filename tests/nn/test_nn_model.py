"""A finished model: files that come back byte for byte, links, calibration."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.errors import ExtraError, IntegrityError
from deepseek.nn.dense import Linear
from deepseek.nn.model import Model, Part, combine, log_odds, sigmoid, softmax


def linear(num_margins: int, seed: int = 0) -> Linear:
    rng = np.random.default_rng(seed)
    return Linear(rng.normal(size=(3, num_margins)), rng.normal(size=num_margins), np.zeros(3))


def model(task: str = "binary", num_margins: int = 1, **changed: object) -> Model:
    labels = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    parts = (Part("one", linear(num_margins), 0.7), Part("two", linear(num_margins, 1), 0.3))
    scale = "target units" if task == "regression" else "log-odds"
    new_model = Model(task, labels, scale, parts, bias=(0.0,) * num_margins)  # type: ignore[arg-type]
    return replace(new_model, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(("task", "num_margins"), [("binary", 1), ("multiclass", 3), ("regression", 1)])
def test_files_come_back_byte_for_byte_and_score_the_same(task: str, num_margins: int) -> None:
    loan_model = model(task, num_margins, slope=1.25, bias=tuple(0.1 * i for i in range(num_margins)), floor=1e-3)
    files = loan_model.to_files()
    assert set(files) == {"model.json", "weights/part-0.safetensors", "weights/part-1.safetensors"}
    again = Model.from_files(files.__getitem__)
    assert again.to_files() == files
    features = np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.score(features).output, loan_model.score(features).output)


def test_a_kind_of_part_that_no_installed_package_brings_is_named() -> None:
    files = model().to_files()
    files["model.json"] = files["model.json"].replace(b'"kind": "linear"', b'"kind": "curves"')
    with pytest.raises(ExtraError, match="kind 'curves'") as caught:
        Model.from_files(files.__getitem__)
    assert caught.value.expected.startswith("one of trees, linear, mlp")


def test_more_parts_than_a_model_may_have_are_refused_before_one_is_read() -> None:
    files = model().to_files()
    top = json.loads(files["model.json"])
    top["parts"] *= 4_500
    read: list[str] = []

    def load(name: str) -> bytes:
        read.append(name)
        return json.dumps(top).encode() if name == "model.json" else files[name]

    with pytest.raises(IntegrityError, match=r"names 9,000 parts\. Expected: at most 64"):
        Model.from_files(load)
    assert read == ["model.json"]


def test_labels_outside_ascii_survive() -> None:
    loan_model = model(labels=("否", "是"))
    files = loan_model.to_files()
    assert "是" in files["model.json"].decode()
    assert Model.from_files(files.__getitem__).labels == ("否", "是")


def test_a_file_of_floats_is_exact() -> None:
    loan_model = model(slope=0.1 + 0.2)
    assert json.loads(loan_model.to_files()["model.json"])["calibration"]["slope"] == 0.1 + 0.2


def test_parts_are_added_with_their_weights_before_calibration() -> None:
    loan_model = model(slope=2.0, bias=(-1.0,))
    scores = combine(loan_model, {0: np.array([[1.0]]), 1: np.array([[2.0]])})
    assert scores.margin.tolist() == [[pytest.approx(1.3)]]
    assert scores.output[0, 1] == pytest.approx(1 / (1 + np.exp(-(2 * 1.3 - 1))))
    assert scores.output.sum() == pytest.approx(1)


def test_votes_enter_as_log_odds_with_their_own_floor() -> None:
    loan_model = model(parts=(Part("forest", linear(1), 2.0, "log_odds", 0.01),))
    margin = combine(loan_model, {0: np.array([[0.0], [0.5], [1.0]])}).margin[:, 0]
    edge = 2 * np.log(0.99 / 0.01)
    np.testing.assert_allclose(margin, [-edge, 0, edge], atol=1e-6)


def test_votes_for_many_classes_enter_as_logarithms_of_lifted_shares() -> None:
    raw = np.array([[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(np.exp(log_odds(raw, 0.01)), [[0.98, 0.01, 0.01]])


def test_a_probability_scale_is_calibrated_through_its_log_odds() -> None:
    loan_model = model(scale="probability", parts=(Part("forest", linear(1)),), slope=1.0, floor=1e-4)
    scores = combine(loan_model, {0: np.array([[0.25]])})
    assert scores.margin.tolist() == [[0.25]], "the margin stays a share: that is what is explained"
    assert scores.output[0, 1] == pytest.approx(1e-4 + (1 - 2e-4) * 0.25, abs=1e-7)


def test_no_chance_falls_below_the_smoothing_and_none_overtakes_another() -> None:
    loan_model = model(smoothing=0.01)
    output = combine(loan_model, {0: np.array([[-1e3], [0.0], [0.5], [1e3]]), 1: np.zeros((4, 1))}).output
    np.testing.assert_allclose(output[[0, -1], 1], [0.01, 0.99], atol=1e-6)
    assert (np.diff(output[:, 1]) > 0).all()
    np.testing.assert_allclose(output.sum(axis=1), 1, atol=1e-6)
    assert Model.from_files(loan_model.to_files().__getitem__).smoothing == 0.01


def test_regression_answers_with_the_margin() -> None:
    scores = combine(model("regression"), {0: np.array([[10.0]]), 1: np.array([[20.0]])})
    assert scores.output.tolist() == scores.margin.tolist() == [[pytest.approx(13.0)]]


@settings(max_examples=80)
@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_chances_are_finite_and_sum_to_one_however_large_the_score(a: float, b: float) -> None:
    shares = softmax(np.array([[a, b]]))
    assert np.isfinite(shares).all()
    assert shares.sum() == pytest.approx(1)
    assert sigmoid(np.array([a])) == pytest.approx(1 - sigmoid(np.array([-a])), abs=1e-12)
    assert 0 <= sigmoid(np.array([a]))[0] <= 1
