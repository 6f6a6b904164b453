"""What a person may demand of a model: constraints, weights, costs, limits, intervals; checked on shipped bundles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepseek.automl.evaluate import evaluate_bundle
from deepseek.automl.shipped import ShipResult
from deepseek.engines import Runtime
from deepseek.errors import CheckError, InputError
from support.rows.loans import for_task, make_loans

Ship = Callable[..., ShipResult]


def chances(shipped: ShipResult, frame: pd.DataFrame) -> np.ndarray:
    with Runtime.open(shipped.path) as runtime:
        predictions = runtime.predict(frame)
    output = predictions.values[:, None] if predictions.values is not None else predictions.probabilities
    assert output is not None
    return output


def grid(column: str, values: np.ndarray, num_rows: int = 25) -> pd.DataFrame:
    """Each of a few rows with every value of one column, side by side."""
    rows = for_task(make_loans(num_rows, seed=9), "binary").drop(columns="default")
    frame = rows.loc[rows.index.repeat(len(values))].reset_index(drop=True)
    frame[column] = np.tile(values, num_rows)
    return frame


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_answer_only_rises_or_only_falls_with_a_constrained_column(quick_ship: Ship, task: str, sign: int) -> None:
    target = {"binary": "default", "regression": "price"}[task]
    shipped = quick_ship(
        for_task(make_loans(200), task),
        validation=for_task(make_loans(100, seed=1), task),
        target=target, monotone={"age": sign}, trials=4,
        candidates=("xgboost", "random_forest", "extra_trees"),
    )  # fmt: skip
    values = np.linspace(10, 90, 60)
    predictions = chances(shipped, grid("age", values))[:, -1].reshape(-1, len(values))
    assert (sign * np.diff(predictions, axis=1) >= -1e-6 * np.abs(predictions).max()).all()


@pytest.mark.slow
def test_a_constraint_holds_for_whole_numbers_of_few_values_too(quick_ship: Ship) -> None:
    """0 to 5 are read as a number and as levels; the levels must not go around the constraint."""
    rng = np.random.default_rng(0)
    steps, other = rng.integers(0, 6, 400), rng.normal(size=400)
    bump = np.array([0, 1.5, 0.2, 1.8, 2, 1.0])[steps]
    frame = pd.DataFrame({"steps": steps.astype(float), "other": other})
    frame["default"] = np.where(rng.random(400) < 1 / (1 + np.exp(1 - bump - other)), "yes", "no")
    shipped = quick_ship(frame, monotone={"steps": 1}, candidates=("xgboost",), trials=2)
    predictions = chances(shipped, pd.DataFrame({"steps": np.arange(6.0), "other": np.zeros(6)}))[:, 1]
    assert (np.diff(predictions) >= -1e-7).all(), predictions


def test_a_constraint_on_a_column_that_is_to_be_read_by_its_levels_is_refused(quick_ship: Ship) -> None:
    with pytest.raises(InputError, match="children"):
        quick_ship(for_task(make_loans(), "binary"), monotone={"children": 1}, kinds={"children": "integer_category"})


@pytest.mark.parametrize("column", ["region", "since", "nowhere"])
def test_a_constraint_on_what_is_no_number_is_refused(quick_ship: Ship, column: str) -> None:
    with pytest.raises(InputError, match=column):
        quick_ship(for_task(make_loans(100), "binary", keep=("since",)), monotone={column: 1})


def test_families_that_cannot_keep_a_constraint_are_refused_when_no_other_is_left(quick_ship: Ship) -> None:
    with pytest.raises(InputError, match="monotone"):
        quick_ship(for_task(make_loans(150), "multiclass"), target="grade", monotone={"age": 1}, candidates=("linear",))


@pytest.mark.slow
def test_weights_change_the_model_and_are_no_input(quick_ship: Ship) -> None:
    frame = for_task(make_loans(), "binary")
    probe = frame.drop(columns="default")
    plain = chances(quick_ship(frame), probe)[:, 1]
    frame["weight"] = np.where(frame["default"] == "yes", 8.0, 1.0)
    shipped = quick_ship(frame, weights="weight")
    assert "weight" not in [entry["name"] for entry in json.loads((shipped.path / "bundle.json").read_text())["inputs"]]
    assert chances(shipped, probe)[:, 1].mean() > plain.mean() + 0.1


@pytest.mark.slow
def test_a_row_without_weight_is_as_if_it_were_not_there(quick_ship: Ship) -> None:
    """Poisoned rows of no weight do not move the answers away from the truth."""
    frame = for_task(make_loans(400), "binary")
    frame["weight"] = 1.0
    poison = frame.sample(200, random_state=0)
    poison = poison.assign(default=np.where(poison["default"] == "yes", "no", "yes"), weight=0.0)
    both = pd.concat([frame, poison.assign(age=poison["age"] + 0.5)], ignore_index=True)
    shipped = quick_ship(both, weights="weight")
    predictions = chances(shipped, frame.drop(columns=["default", "weight"]))[:, 1]
    truth = frame["default"] == "yes"
    assert predictions[truth].mean() > predictions[~truth].mean() + 0.1


@pytest.mark.slow
def test_mostly_weightless_rows_are_survived(quick_ship: Ship) -> None:
    frame = for_task(make_loans(80), "binary")
    frame["weight"] = np.where(np.arange(80) % 4 == 0, 1.0, 0.0)
    assert np.isfinite(quick_ship(frame, weights="weight").metrics["log_loss"].value)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-300, 1e307])
def test_the_size_of_weights_does_not_matter(quick_ship: Ship, factor: float) -> None:
    frame = for_task(make_loans(150), "binary").assign(weight=lambda f: 1 + (f["age"] > 40))
    log_loss = quick_ship(frame.assign(weight=frame["weight"] * factor), weights="weight").metrics["log_loss"].value
    assert log_loss == pytest.approx(quick_ship(frame, weights="weight").metrics["log_loss"].value, rel=1e-3)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, "heavy"])
def test_weights_that_are_no_weights_are_refused(quick_ship: Ship, bad: Any) -> None:
    frame = for_task(make_loans(60), "binary")
    frame["weight"] = [bad, *[1.0] * 59]
    with pytest.raises(InputError, match="weight"):
        quick_ship(frame, weights="weight")


def test_the_target_cannot_be_its_own_weight(quick_ship: Ship) -> None:
    frame = for_task(make_loans(60), "binary").assign(default=lambda f: (f["default"] == "yes") * 1.0)
    with pytest.raises(InputError, match="default"):
        quick_ship(frame, weights="default")


def decision(shipped: ShipResult) -> dict:
    return json.loads((shipped.path / "decision.json").read_text())


@pytest.mark.slow
def test_a_limit_on_false_positives_sets_the_threshold_that_is_served(quick_ship: Ship) -> None:
    frame = for_task(make_loans(500), "binary")
    shipped = quick_ship(frame, max_fpr=0.05)
    rule = decision(shipped)["threshold_rule"]
    assert rule["false_positive_rate"] <= 0.05
    assert 0 < rule["recall"] < 1
    with Runtime.open(shipped.path) as runtime:
        predictions = runtime.predict(frame.drop(columns="default"))
        assert runtime.manifest.threshold == rule["value"]
    assert predictions.labels is not None
    assert predictions.probabilities is not None
    np.testing.assert_array_equal(
        predictions.labels == "yes", predictions.probabilities[:, 1] >= np.float32(rule["value"])
    )


@pytest.mark.slow
def test_a_least_recall_holds_on_the_held_rows(quick_ship: Ship) -> None:
    rule = decision(quick_ship(for_task(make_loans(), "binary"), min_recall=0.9))["threshold_rule"]
    assert rule["recall"] >= 0.9
    assert rule["value"] < 0.5


def test_limits_that_no_model_meets_leave_no_bundle(quick_ship: Ship, tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="no threshold"):
        quick_ship(for_task(make_loans(), "binary"), max_fpr=0.0, min_recall=1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_costs_of_two_classes_set_the_threshold_by_elkan(quick_ship: Ship) -> None:
    costs = {"yes": {"no": 20}, "no": {"yes": 1}}
    shipped = quick_ship(for_task(make_loans(), "binary"), costs=costs)
    assert decision(shipped)["threshold"] == pytest.approx(1 / 21)
    assert json.loads((shipped.path / "bundle.json").read_text())["lineage"]["config"]["costs"] == costs


@pytest.mark.slow
def test_costs_of_several_classes_move_decisions_to_the_cheap_side(quick_ship: Ship) -> None:
    frame = for_task(make_loans(), "multiclass")
    probe = frame.drop(columns="grade")
    plain, wary = quick_ship(frame, target="grade"), {"bad": {"good": 30, "fair": 30}, "fair": {"bad": 1, "good": 1}}
    with Runtime.open(plain.path) as runtime:
        before = runtime.predict(probe)
    shipped = quick_ship(frame, target="grade", costs={**wary, "good": {"bad": 1, "fair": 1}})
    with Runtime.open(shipped.path) as runtime:
        predictions = runtime.predict(probe)
    assert predictions.labels is not None
    assert before.labels is not None
    assert np.mean(predictions.labels == "bad") > np.mean(before.labels == "bad") + 0.2
    matrix = np.array([[0, 30, 30], [1, 0, 1], [1, 1, 0]], float)  # bad, fair, good
    cheapest = (predictions.probabilities.astype(float) @ matrix).argmin(axis=1)  # type: ignore[union-attr]
    assert predictions.labels.tolist() == [("bad", "fair", "good")[i] for i in cheapest]


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("multiclass", {"max_fpr": 0.1}),
        ("multiclass", {"min_recall": 0.9}),
        ("regression", {"max_fpr": 0.1}),
        ("regression", {"min_recall": 0.9}),
        ("regression", {"costs": [[0, 1], [1, 0]]}),
        ("binary", {"costs": [[0, 1], [1, 0]], "max_fpr": 0.1}),
        ("binary", {"costs": [[0, 1]]}),
        ("binary", {"metric": "rmse"}),
        ("binary", {"fairness": "nowhere"}),
        ("binary", {"segments": ("nowhere",)}),
    ],
    ids=str,
)
def test_a_demand_that_does_not_fit_is_refused_before_anything_is_trained(
    quick_ship: Ship, task: str, options: dict[str, Any]
) -> None:
    target = {"binary": "default", "multiclass": "grade", "regression": "price"}[task]
    progress_calls: list[str] = []
    with pytest.raises(InputError):
        quick_ship(
            for_task(make_loans(120), task),
            target=target,
            progress=lambda what, _: progress_calls.append(what),
            **options,
        )
    assert not any(what.startswith("trial") for what in progress_calls), "it was refused only after the search"


@pytest.mark.parametrize("what", ["out", "key"])
def test_where_to_write_and_what_to_sign_with_is_checked_before_anything_is_trained(
    quick_ship: Ship, tmp_path: Path, what: str
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "precious.txt").write_text("mine")
    options: dict[str, Any] = {
        "out": {"overwrite": False},
        "key": {"key": tmp_path / "none.pem", "out": tmp_path / "b"},
    }[what]
    progress_calls: list[str] = []
    with pytest.raises(InputError):
        quick_ship(for_task(make_loans(120), "binary"), progress=lambda say, _: progress_calls.append(say), **options)
    assert not any(say.startswith("trial") for say in progress_calls)
    assert (tmp_path / "bundle" / "precious.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_hold_about_as_many_new_values_as_promised(quick_ship: Ship, level: float) -> None:
    frame = for_task(make_loans(1400), "regression")
    shipped = quick_ship(frame[:400], target="price", interval=level)
    with Runtime.open(shipped.path) as runtime:
        predictions = runtime.predict(frame[400:].drop(columns="price"))
    assert predictions.intervals is not None
    inside = (frame["price"][400:] >= predictions.intervals[:, 0]) & (
        frame["price"][400:] <= predictions.intervals[:, 1]
    )
    assert inside.mean() == pytest.approx(level, abs=0.05)


@pytest.mark.slow
def test_intervals_widen_with_the_value_where_errors_do_and_stay_above_zero(quick_ship: Ship) -> None:
    rng = np.random.default_rng(5)
    area = rng.uniform(1, 100, 3000)
    frame = pd.DataFrame({"area": area, "price": area * rng.lognormal(0, 0.3, len(area))})
    shipped = quick_ship(frame[:1000], target="price")
    evaluated = evaluate_bundle(shipped.path, frame[1000:])
    assert evaluated.interval is not None
    by_fifth = evaluated.interval.coverage_by_fifth
    assert len(by_fifth) == 5
    assert min(by_fifth) > 0.8  # one width for all holds .6 of the largest
    assert evaluated.to_dict()["interval"]["coverage_by_fifth"] == list(by_fifth)
    with Runtime.open(shipped.path) as runtime:
        predictions = runtime.predict(frame[1000:].drop(columns="price"))
    assert predictions.intervals is not None
    assert predictions.intervals.min() >= 0
    widths = np.diff(predictions.intervals, axis=1)[:, 0]
    assert np.median(widths[area[1000:] > 80]) > 3 * np.median(widths[area[1000:] < 20])


def test_a_signed_bundle_verifies_with_its_key(quick_ship: Ship, tmp_path: Path) -> None:
    from deepseek.bundle import verify_bundle
    from deepseek.cli import main

    assert main(["keygen", str(tmp_path / "key")]) == 0
    private = next(p for p in tmp_path.iterdir() if p.is_file() and "PRIVATE" in p.read_text())
    public = next(p for p in tmp_path.iterdir() if p.is_file() and "PUBLIC" in p.read_text())
    shipped = quick_ship(for_task(make_loans(80), "binary"), key=private)
    assert verify_bundle(shipped.path, key=public) == []


@pytest.mark.slow
def test_evaluate_weighs_rows_where_the_bundle_was_made_with_weights(quick_ship: Ship) -> None:
    frame = for_task(make_loans(150), "binary").assign(weight=1.0)
    shipped = quick_ship(frame, weights="weight")
    half = frame.assign(weight=np.where(np.arange(len(frame)) < 60, 3.0, 0.0))
    weighed = evaluate_bundle(shipped.path, half)
    alone = evaluate_bundle(shipped.path, half[:60].drop(columns="weight"))
    assert weighed["weights"] == "weight"
    assert "weights" not in alone
    assert weighed["metrics"]["log_loss"]["value"] == pytest.approx(alone["metrics"]["log_loss"]["value"], rel=1e-9)
    assert weighed["threshold"]["recall"] == pytest.approx(alone["threshold"]["recall"])
