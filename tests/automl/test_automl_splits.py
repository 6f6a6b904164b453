"""Which rows teach and which judge: the user's own files, time, groups; and what happens when a class is scarce."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from deepseek.automl.options import ShipOptions
from deepseek.automl.shipped import ShipResult
from deepseek.automl.split_data import open_data
from deepseek.automl.tabular_run import TabularRun
from deepseek.errors import CheckError, InputError
from support.rows.loans import for_task, make_loans

Ship = Callable[..., ShipResult]


def read(shipped: ShipResult, name: str) -> dict:
    return json.loads((shipped.path / name).read_text())


def refusal_of(act: Callable[[], ShipResult]) -> InputError | None:
    """None when it ships; anything but a refusal with words passes through and fails the test."""
    try:
        act()
    except InputError as refusal:
        return refusal
    return None


def tabular_run(frame: pd.DataFrame, **fields: object) -> TabularRun:
    options = ShipOptions(target="default", trials=1, **fields)  # type: ignore[arg-type]
    return TabularRun.of(open_data(frame, options), options)


def test_no_household_is_both_learned_from_and_judged_by() -> None:
    frame = for_task(make_loans(), "binary", keep=("household",))
    run = tabular_run(frame, split="group:household")
    names = run.data.development.column("household")
    assert set(names).isdisjoint(run.data.test.column("household"))
    for fit, held in run.folds():
        assert set(names[fit]).isdisjoint(names[held])
    assert "household" not in [c.name for c in run.preprocessor.columns]


@pytest.mark.slow
def test_a_group_column_need_not_be_given_when_answers_are_asked(quick_ship: Ship) -> None:
    from deepseek.engines import Runtime

    frame = for_task(make_loans(150), "binary", keep=("household",))
    shipped = quick_ship(frame, split="group:household")
    with Runtime.open(shipped.path) as runtime:
        assert len(runtime.predict(frame.drop(columns=["default", "household"]))) == 150


def test_by_time_every_judging_row_is_later_than_those_that_teach() -> None:
    frame = for_task(make_loans(), "binary", keep=("since",)).sample(frac=1, random_state=0)
    run = tabular_run(frame, split="time:since")
    when = run.data.development.column("since")
    assert when.max() < run.data.test.column("since").min()
    for fit, held in run.folds():
        assert when[fit].max() < when[held].min()


def test_every_development_row_is_held_once_at_random() -> None:
    run = tabular_run(for_task(make_loans(), "binary"))
    held = np.concatenate([held for _, held in run.folds()])
    assert sorted(held) == list(range(run.data.development.num_rows))
    for fit, rows in run.folds():
        assert set(fit).isdisjoint(rows)


def test_own_validation_and_test_rows_are_the_ones_that_judge(quick_ship: Ship) -> None:
    frame = for_task(make_loans(), "binary")
    shipped = quick_ship(frame[:200], validation=frame[200:250], test=frame[250:])
    assert read(shipped, "evidence/validation.json")["num_rows"] == 50
    assert read(shipped, "evidence/metrics.json")["num_rows"] == 150


def test_own_validation_rows_alone_leave_the_test_rows_to_the_split(quick_ship: Ship) -> None:
    frame = for_task(make_loans(), "binary")
    shipped = quick_ship(frame[:200], validation=frame[200:])
    assert read(shipped, "evidence/validation.json")["num_rows"] == 200
    assert read(shipped, "evidence/metrics.json")["num_rows"] == 40


def test_own_test_rows_with_other_columns_are_refused(quick_ship: Ship) -> None:
    frame = for_task(make_loans(100), "binary")
    with pytest.raises(InputError, match=r"the table of test rows has no column 'age', which the data has"):
        quick_ship(frame[:60], test=frame[60:].drop(columns="age"))


def test_a_class_that_only_test_rows_have_is_named(quick_ship: Ship) -> None:
    frame = for_task(make_loans(100), "multiclass")
    test = frame[60:].assign(grade="unheard of")
    with pytest.raises(InputError, match="unheard of"):
        quick_ship(frame[:60], target="grade", test=test)


def test_a_class_that_only_own_validation_rows_have_is_named(quick_ship: Ship) -> None:
    frame = for_task(make_loans(100), "multiclass")
    with pytest.raises(InputError, match="unheard of"):
        quick_ship(frame[:60], target="grade", validation=frame[60:].assign(grade="unheard of"))


@pytest.mark.slow
def test_a_class_of_a_single_row_is_learned_from_and_said(quick_ship: Ship) -> None:
    frame = for_task(make_loans(120), "multiclass")
    frame.loc[7, "grade"] = "singular"
    shipped = quick_ship(frame, target="grade", candidates=("linear", "xgboost", "extra_trees"), trials=4)
    assert any("singular" in warning for warning in shipped.warnings)
    assert "singular" in read(shipped, "bundle.json")["labels"]


@pytest.mark.slow
def test_two_positives_are_enough_or_the_refusal_says_how_many_are_needed(quick_ship: Ship) -> None:
    frame = for_task(make_loans(120), "binary").assign(default="no")
    for num_positives in (1, 2, 3, 6):
        frame.loc[: num_positives - 1, "default"] = "yes"
        refusal = refusal_of(lambda: quick_ship(frame))
        if refusal is not None:
            assert num_positives < 4
            assert "yes" in refusal.message
            assert refusal.expected


@pytest.mark.slow
def test_a_class_that_comes_late_in_time_or_in_one_group_is_survived_or_named(quick_ship: Ship) -> None:
    frame = for_task(make_loans(120), "binary", keep=("since", "household"))
    frame.loc[:39, "default"] = "no"
    assert quick_ship(frame, split="time:since").task == "binary"
    frame["branch"] = np.repeat(["a", "b", "c", "d"], 30)
    frame["default"] = np.where((frame["branch"] == "d") & (frame["debt"] > 15), "yes", "no")
    with pytest.raises(InputError, match="yes"):
        quick_ship(frame, split="group:branch")


@pytest.mark.slow
def test_a_leak_is_refused_by_name_and_can_be_accepted_by_name(quick_ship: Ship) -> None:
    frame = for_task(make_loans(150), "binary")
    frame["outcome_code"] = np.where(frame["default"] == "yes", "A", "B")
    with pytest.raises(CheckError, match="outcome_code") as refusal:
        quick_ship(frame)
    assert "outcome_code" in refusal.value.fix
    shipped = quick_ship(frame, allow=("outcome_code",))
    assert any("outcome_code" in warning for warning in shipped.warnings)
    assert not any("found nothing" in warning for warning in shipped.warnings)
    misspelt = quick_ship(frame, drop=("outcome_code",), allow=("outcome_cod",))
    assert any("'outcome_cod'" in warning and "found nothing" in warning for warning in misspelt.warnings)
    assert quick_ship(frame, drop=("outcome_code",)).metrics["log_loss"].value > shipped.metrics["log_loss"].value


def test_all_leaks_are_named_at_once_with_the_options_that_go_on(quick_ship: Ship) -> None:
    frame = for_task(make_loans(150), "binary")
    is_late = frame["default"] == "yes"
    frame["outcome code"] = np.where(is_late, "A", "B")
    frame["stage"] = np.where(is_late, np.arange(150) % 3, 3 + np.arange(150) % 4)
    with pytest.raises(CheckError) as refusal:
        quick_ship(frame, test=frame[:50])
    message, fix = refusal.value.message, refusal.value.fix
    assert all(name in message for name in ("outcome code", "stage", "test rows"))
    assert "--drop 'outcome code' --drop stage" in fix
    assert "--allow 'outcome code' --allow stage" in fix
    assert "split by group" in fix  # of the rows that stand in both files


@pytest.mark.slow
def test_training_rows_among_own_test_rows_are_refused_and_can_be_accepted(quick_ship: Ship) -> None:
    frame = for_task(make_loans(150), "binary")
    with pytest.raises(CheckError, match="test rows"):
        quick_ship(frame, test=frame[:50])
    assert quick_ship(frame, test=frame[:50], allow=("test rows",)).task == "binary"


@pytest.mark.slow
def test_rows_without_a_target_are_left_out_on_request_in_own_files_too(quick_ship: Ship) -> None:
    frame = for_task(make_loans(150), "binary")
    frame.loc[[3, 120], "default"] = None
    with pytest.raises(InputError, match="--drop-missing-target"):
        quick_ship(frame)
    assert quick_ship(frame, drop_missing_target=True).task == "binary"
    shipped = quick_ship(frame[:100], test=frame[100:], drop_missing_target=True)
    assert read(shipped, "evidence/metrics.json")["num_rows"] == 49


@pytest.mark.slow
@pytest.mark.parametrize("num_rows", [6, 12, 25])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_tiny_tables_ship_or_say_what_they_lack(quick_ship: Ship, num_rows: int, task: str) -> None:
    frame = for_task(make_loans(num_rows, seed=3), task)
    target = {"binary": "default", "regression": "price"}[task]
    refusal = refusal_of(lambda: quick_ship(frame, target=target, interval=0.5))
    assert refusal is None or refusal.expected


@pytest.mark.slow
def test_thirty_classes_ship(quick_ship: Ship) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 30, 300)
    frame = pd.DataFrame({"x": np.cos(truth) + 0.1 * rng.normal(size=300), "y": np.sin(truth) + rng.normal(size=300)})
    frame["default"] = [f"class {t:02d}" for t in truth]
    shipped = quick_ship(frame[:240], validation=frame[240:], candidates=("linear",), trials=2)
    assert shipped.metrics["accuracy"].value > 2 / 30


@pytest.mark.slow
@pytest.mark.parametrize("column", ["debt", "region"])
def test_a_single_column_is_enough(quick_ship: Ship, column: str) -> None:
    frame = make_loans(200)[[column, "default"]]
    shipped = quick_ship(frame, candidates=("linear", "xgboost"), trials=3)
    assert [entry["name"] for entry in read(shipped, "bundle.json")["inputs"]] == [column]


@pytest.mark.slow
def test_regression_on_numbers_far_from_one_keeps_its_scale(quick_ship: Ship) -> None:
    frame = for_task(make_loans(200), "regression")
    plain = quick_ship(frame, target="price").metrics["rmse"].value
    for factor in (1e-9, 1e12):
        scaled = quick_ship(frame.assign(price=frame["price"] * factor), target="price").metrics["rmse"].value
        assert scaled == pytest.approx(plain * factor, rel=0.02)
