"""Leaks are refused or warned of by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepseek.data import Finding, Split, check_leaks, find_kinds, read_table, split_table

RNG = np.random.default_rng(0)
N = 500
Y = RNG.integers(0, 2, N)


def check(columns: dict[str, Any], split: Split | None = None, *, task: Any = "binary", **more: Any) -> list[Finding]:
    table = read_table(columns)
    kinds = find_kinds(table, target="y")
    split = split or split_table(table, target="y", task=task, seed=0)
    return check_leaks(table, split, target="y", task=task, kinds=kinds, **more)


def clean() -> dict[str, Any]:
    return {"x": RNG.normal(size=N), "c": RNG.choice(["u", "v", "w"], N), "y": Y}


def parts(*sizes: int) -> Split:
    ends = np.cumsum([0, *sizes])
    return Split(*(np.arange(ends[i], ends[i + 1]) for i in range(3)))


def test_clean_data_has_no_findings() -> None:
    assert check(clean()) == []
    assert check({"x": RNG.normal(size=N), "y": RNG.normal(size=N)}, task="regression") == []


def test_test_rows_that_are_training_rows_are_refused_with_their_number() -> None:
    columns = {name: np.concatenate([values[:300], values[:100]]) for name, values in clean().items()}
    found = check(columns, parts(300, 0, 100))
    assert [(finding.level, finding.name) for finding in found] == [("refuse", "test rows")]
    assert "100 of 100" in found[0].message


def test_a_few_equal_rows_are_a_warning() -> None:
    columns = clean()
    columns = {name: np.concatenate([values[:300], values[:5], values[300:395]]) for name, values in columns.items()}
    found = check(columns, parts(300, 0, 100))
    assert [finding.level for finding in found] == ["warn"]
    assert "5 of 100" in found[0].message


def test_rows_that_repeat_everywhere_are_a_warning() -> None:
    found = check({"c": RNG.choice(["u", "v", "w"], N), "d": RNG.choice(["p", "q", "r"], N), "y": Y})
    assert {finding.level for finding in found} == {"warn"}


def test_an_identifier_does_not_hide_equal_rows() -> None:
    columns = {name: np.concatenate([values[:300], values[:100]]) for name, values in clean().items()}
    assert check({"id": np.arange(400), **columns}, parts(300, 0, 100))[0].level == "refuse"


@pytest.mark.parametrize(
    "copy", [Y, Y == 1, 1 - Y, Y * 7 + 3, np.where(Y == 1, "bad", "good"), np.where(Y == 1, "bad", None)]
)
def test_a_column_that_is_the_target_is_refused_by_name(copy: Any) -> None:
    found = check({**clean(), "outcome": list(copy)})
    assert [(finding.level, finding.name) for finding in found] == [("refuse", "outcome")]
    assert "--drop outcome" in found[0].fix


def test_a_copy_of_many_classes_is_refused() -> None:
    y = RNG.integers(0, 40, N)
    found = check(
        {"x": RNG.normal(size=N), "copy": [f"c{label}" for label in y], "y": [f"k{label}" for label in y]},
        task="multiclass",
    )
    assert [(finding.level, finding.name) for finding in found] == [("refuse", "copy")]


def test_a_column_of_levels_that_each_have_one_class_is_a_warning() -> None:
    scenario = np.where(Y == 1, RNG.integers(1, 4, N), 0)
    assert [(f.level, f.name) for f in check({**clean(), "scenario": scenario})] == [("warn", "scenario")]


def test_a_number_that_separates_the_classes_is_a_warning() -> None:
    score = Y * 10 + RNG.uniform(size=N)
    assert [(f.level, f.name) for f in check({**clean(), "score": score})] == [("warn", "score")]
    score[3] = 5 + 100 * (1 - 2 * Y[3])
    assert check({**clean(), "score": score}) == []


def test_a_large_table_is_looked_at_whole() -> None:
    y = RNG.integers(0, 2, 20_000)
    almost = y.copy()
    almost[7] = 1 - almost[7]
    found = check({"x": RNG.normal(size=20_000), "copy": y * 3, "almost": almost, "y": y})
    assert [(f.level, f.name) for f in found] == [("refuse", "copy")]
    value = RNG.normal(size=20_000)
    almost = value + 0.05 * RNG.normal(size=20_000)
    found = check({"copy": 2 * value, "almost": almost, "y": value}, task="regression")
    assert [(f.level, f.name) for f in found] == [("refuse", "copy")]


def test_dates_that_are_text_are_dates() -> None:
    columns = {"when": [f"{2020 - row // 300}-01-{1 + row % 28:02}" for row in range(N)], **clean()}
    found = check(columns, parts(300, 0, 200), method="time:when", own_files=True)
    assert [(finding.level, finding.name) for finding in found] == [("refuse", "when")]


def test_one_row_in_500_of_another_class_is_no_leak() -> None:
    almost = Y.copy()
    almost[3] = 1 - almost[3]
    assert check({**clean(), "almost": almost}) == []


@pytest.mark.parametrize("follow", [lambda y: y, lambda y: 3 - 2 * y, np.exp, lambda y: y + 1e-6 * np.sin(y)])
def test_a_number_that_follows_a_numeric_target_is_refused(follow: Any) -> None:
    y = RNG.normal(size=N)
    found = check({"x": RNG.normal(size=N), "copy": follow(y), "y": y}, task="regression")
    assert [(finding.level, finding.name) for finding in found] == [("refuse", "copy")]


def test_a_strong_feature_of_a_regression_is_no_leak() -> None:
    y = RNG.normal(size=N)
    assert check({"x": y + 0.05 * RNG.normal(size=N), "y": y}, task="regression") == []


def days(first: str, size: int) -> np.ndarray[Any, Any]:
    return np.datetime64(first, "ms") + np.arange(size).astype("timedelta64[D]")


def test_time_that_runs_backwards_is_refused_for_a_split_by_time() -> None:
    columns = {"when": np.concatenate([days("2020-06-01", 300), days("2020-01-01", 200)]), **clean()}
    found = check(columns, parts(300, 0, 200), method="time:when", own_files=True)
    assert [(finding.level, finding.name) for finding in found] == [("refuse", "when")]
    assert "2020-01-01" in found[0].message
    assert check(columns, parts(300, 0, 200), own_files=True)[0].level == "warn"


def test_time_that_runs_forwards_is_fine() -> None:
    columns = {"when": days("2020-01-01", N), **clean()}
    assert check(columns, parts(300, 0, 200), method="time:when", own_files=True) == []
    assert check(columns, parts(300, 0, 200), own_files=True) == []


def test_a_random_split_of_dated_rows_is_a_warning() -> None:
    found = check({"when": days("2020-01-01", N), **clean()})
    assert [(finding.level, finding.name) for finding in found] == [("warn", "when")]
    assert "--split time:when" in found[0].fix


def test_a_group_on_two_sides_is_refused() -> None:
    columns = {"group": [f"g{n % 7}" for n in range(N)], **clean()}
    found = check(columns, parts(300, 0, 200), method="group:group", own_files=True)
    assert ("refuse", "group") in [(finding.level, finding.name) for finding in found]


def test_a_column_that_is_dropped_is_not_looked_at() -> None:
    table = read_table({**clean(), "copy": Y})
    kinds = find_kinds(table, target="y")
    del kinds["copy"]
    split = split_table(table, target="y", task="binary")
    assert check_leaks(table, split, target="y", task="binary", kinds=kinds) == []
