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
    leaks = check(columns, parts(300, 0, 100))
    assert [(finding.level, finding.name) for finding in leaks] == [("refuse", "test rows")]
    assert "100 of 100" in leaks[0].message


def test_a_few_equal_rows_are_a_warning() -> None:
    columns = clean()
    columns = {name: np.concatenate([values[:300], values[:5], values[300:395]]) for name, values in columns.items()}
    leaks = check(columns, parts(300, 0, 100))
    assert [finding.level for finding in leaks] == ["warn"]
    assert "5 of 100" in leaks[0].message


def test_rows_that_repeat_because_columns_have_few_values_are_no_finding() -> None:
    assert check({"c": RNG.choice(["u", "v", "w"], N), "d": RNG.choice(["p", "q", "r"], N), "y": Y}) == []


def test_rows_that_repeat_everywhere_are_a_warning() -> None:
    twice = {name: np.concatenate([values[: N // 2]] * 2) for name, values in clean().items()}
    order = RNG.permutation(N)
    leaks = check({name: values[order] for name, values in twice.items()})
    assert {finding.level for finding in leaks} <= {"warn", "refuse"}
    assert {finding.name for finding in leaks} == {"validation rows", "test rows"}


def test_an_identifier_does_not_hide_equal_rows() -> None:
    columns = {name: np.concatenate([values[:300], values[:100]]) for name, values in clean().items()}
    assert check({"id": np.arange(400), **columns}, parts(300, 0, 100))[0].level == "refuse"


@pytest.mark.parametrize(
    "copy", [Y, Y == 1, 1 - Y, Y * 7 + 3, np.where(Y == 1, "bad", "good"), np.where(Y == 1, "bad", None)]
)
def test_a_column_that_is_the_target_is_refused_by_name(copy: Any) -> None:
    leaks = check({**clean(), "outcome": list(copy)})
    assert [(finding.level, finding.name) for finding in leaks] == [("refuse", "outcome")]
    assert "--drop outcome" in leaks[0].fix


def test_a_copy_of_many_classes_is_refused() -> None:
    y = RNG.integers(0, 40, N)
    leaks = check(
        {"x": RNG.normal(size=N), "copy": [f"c{label}" for label in y], "y": [f"k{label}" for label in y]},
        task="multiclass",
    )
    assert [(finding.level, finding.name) for finding in leaks] == [("refuse", "copy")]


def test_a_column_of_levels_that_each_have_one_class_is_refused() -> None:
    scenario = np.where(Y == 1, RNG.integers(1, 4, N), 0)
    (leak,) = check({**clean(), "scenario": scenario})
    assert (leak.level, leak.name) == ("refuse", "scenario")
    assert leak.message == "each value of column 'scenario' has one class of 'y' only"


def test_levels_of_one_class_by_chance_are_none() -> None:
    rare = np.zeros(N, int)
    rare[:2] = 1  # each of twenty levels but one or two has no rare row
    assert (
        check({"x": RNG.normal(size=N), "level": [f"l{row % 19}" if row > 1 else "l0" for row in range(N)], "y": rare})
        == []
    )


def test_a_number_that_separates_the_classes_is_refused() -> None:
    score = Y * 10 + RNG.uniform(size=N)
    score[3] = 5 + 100 * (1 - 2 * Y[3])  # nearly
    (leak,) = check({**clean(), "score": score})
    assert (leak.level, leak.name) == ("refuse", "score")
    assert "'score' alone nearly tells the target 'y'" in leak.message


def test_a_rare_class_is_told_apart_although_it_hardly_counts() -> None:
    y = (np.arange(6_000) % 100 == 0).astype(int)
    strong = RNG.normal(size=6_000) + 3 * y  # balanced accuracy .93
    rare_flag = np.where(RNG.random(6_000) < 0.01, RNG.integers(0, 2, 6_000), y)
    leaks = check({"strong": strong, "told": rare_flag, "y": y})
    assert [(finding.level, finding.name) for finding in leaks] == [("refuse", "told")]


def test_a_value_that_stands_in_one_class_alone_is_refused() -> None:
    closed = np.where(Y == 1, RNG.normal(size=N), np.nan)
    dates = np.datetime64("2021-01-01", "ms") + RNG.integers(0, 9e9, N).astype("timedelta64[ms]")
    date = np.where(Y == 1, dates, np.datetime64("NaT"))
    leaks = check({**clean(), "closed": closed, "date": date})
    assert {finding.name for finding in leaks if finding.level == "refuse"} == {"closed", "date"}


def test_a_value_that_one_of_three_classes_has_is_refused_and_a_number_that_tells_one_is_not() -> None:
    y = RNG.integers(0, 3, N)
    closed = np.where(y == 2, RNG.normal(size=N), np.nan)
    leaks = check({"x": RNG.normal(size=N) + 20 * (y == 0), "closed": closed, "y": y}, task="multiclass")
    assert [(finding.level, finding.name) for finding in leaks] == [("refuse", "closed")]


def test_a_code_whose_part_is_the_class_is_refused() -> None:
    codes = [f"{'D' if label else 'N'}-{RNG.integers(100, 300)}" for label in Y]
    table = {**clean(), "code": codes, "branch": [f"B-{RNG.integers(100, 300)}" for _ in Y]}
    assert find_kinds(read_table(table), target="y")["code"] == "category"
    assert [(finding.level, finding.name) for finding in check(table)] == [("refuse", "code")]


def test_columns_that_are_no_inputs_give_nothing_away() -> None:
    order = np.argsort(Y, kind="stable")
    table = {name: values[order] for name, values in clean().items()}
    assert check({"row": np.arange(N), "id": [f"u{row:05}" for row in range(N)], **table}) == []


def test_a_group_that_has_one_class_may_be_split_by() -> None:
    patient = RNG.integers(0, 40, N)
    (leak,) = check({"x": RNG.normal(size=N), "patient": patient, "y": patient % 2})
    assert "--drop patient" in leak.fix
    assert "split by group:patient" in leak.fix


@pytest.mark.parametrize(
    "derived",
    [
        lambda y: y + 0.02 * RNG.normal(size=N),
        lambda y: np.digitize(y, np.quantile(y, np.arange(0.1, 1, 0.1))),
        lambda y: np.where(y > np.median(y), RNG.normal(size=N), np.nan),
        lambda y: [f"about {value:.3f} EUR" for value in y],
        lambda y: np.where(y > 0, "high", "low"),
    ],
)
def test_a_number_that_is_made_of_a_numeric_target_is_refused(derived: Any) -> None:
    y = RNG.normal(size=N)
    table = read_table({"x": y + 0.1 * RNG.normal(size=N), "made": derived(y), "y": y})
    kinds = {"x": "numeric", "made": "category"}
    leaks = check_leaks(
        table, split_table(table, target="y", task="regression"), target="y", task="regression", kinds=kinds
    )
    assert [(finding.level, finding.name) for finding in leaks] == [("refuse", "made")]


def test_a_large_table_is_looked_at_whole() -> None:
    y = RNG.integers(0, 2, 20_000)
    almost = y.copy()
    almost[7] = 1 - almost[7]
    leaks = check({"x": RNG.normal(size=20_000), "copy": y * 3, "almost": almost, "y": y})
    assert [(f.level, f.name) for f in leaks] == [("refuse", "copy"), ("refuse", "almost")]
    assert "under another name" in leaks[0].message
    assert "nearly" in leaks[1].message
    value = RNG.normal(size=20_000)
    almost = value + 0.05 * RNG.normal(size=20_000)
    leaks = check({"copy": 2 * value, "almost": almost, "y": value}, task="regression")
    assert [(f.level, f.name) for f in leaks] == [("refuse", "copy")]


def test_dates_that_are_text_are_dates() -> None:
    columns = {"when": [f"{2020 - row // 300}-01-{1 + row % 28:02}" for row in range(N)], **clean()}
    leaks = check(columns, parts(300, 0, 200), method="time:when", own_files=True)
    assert [(finding.level, finding.name) for finding in leaks] == [("refuse", "when")]


def test_one_row_in_500_of_another_class_hides_nothing() -> None:
    almost = Y.copy()
    almost[3] = 1 - almost[3]
    assert [(f.level, f.name) for f in check({**clean(), "almost": almost})] == [("refuse", "almost")]


def test_a_strong_feature_of_a_class_is_no_leak() -> None:
    wrong = RNG.random(N) < 0.04
    assert check({**clean(), "strong": np.where(wrong, 1 - Y, Y)}) == []
    assert check({**clean(), "strong": 3.5 * Y + RNG.normal(size=N)}) == []  # AUC .993


@pytest.mark.parametrize("follow", [lambda y: y, lambda y: 3 - 2 * y, np.exp, lambda y: y + 1e-6 * np.sin(y)])
def test_a_number_that_follows_a_numeric_target_is_refused(follow: Any) -> None:
    y = RNG.normal(size=N)
    leaks = check({"x": RNG.normal(size=N), "copy": follow(y), "y": y}, task="regression")
    assert [(finding.level, finding.name) for finding in leaks] == [("refuse", "copy")]


def test_a_strong_feature_of_a_regression_is_no_leak() -> None:
    y = RNG.normal(size=N)
    assert check({"x": y + 0.05 * RNG.normal(size=N), "y": y}, task="regression") == []


def days(first: str, size: int) -> np.ndarray[Any, Any]:
    return np.datetime64(first, "ms") + np.arange(size).astype("timedelta64[D]")


def test_time_that_runs_backwards_is_refused_for_a_split_by_time() -> None:
    columns = {"when": np.concatenate([days("2020-06-01", 300), days("2020-01-01", 200)]), **clean()}
    leaks = check(columns, parts(300, 0, 200), method="time:when", own_files=True)
    assert [(finding.level, finding.name) for finding in leaks] == [("refuse", "when")]
    assert "2020-01-01" in leaks[0].message
    assert check(columns, parts(300, 0, 200), own_files=True)[0].level == "warn"


def test_time_that_runs_forwards_is_fine() -> None:
    columns = {"when": days("2020-01-01", N), **clean()}
    assert check(columns, parts(300, 0, 200), method="time:when", own_files=True) == []
    assert check(columns, parts(300, 0, 200), own_files=True) == []


def test_a_random_split_of_dated_rows_is_a_warning() -> None:
    leaks = check({"when": days("2020-01-01", N), **clean()})
    assert [(finding.level, finding.name) for finding in leaks] == [("warn", "when")]
    assert "--split time:when" in leaks[0].fix


def test_a_group_on_two_sides_is_refused() -> None:
    columns = {"group": [f"g{n % 7}" for n in range(N)], **clean()}
    leaks = check(columns, parts(300, 0, 200), method="group:group", own_files=True)
    assert ("refuse", "group") in [(finding.level, finding.name) for finding in leaks]


def test_a_column_that_is_dropped_is_not_looked_at() -> None:
    table = read_table({**clean(), "copy": Y})
    kinds = find_kinds(table, target="y")
    del kinds["copy"]
    split = split_table(table, target="y", task="binary")
    assert check_leaks(table, split, target="y", task="binary", kinds=kinds) == []


def test_a_number_that_parts_few_rows_without_an_exception_is_refused() -> None:
    classes = np.repeat(["no", "yes"], 14)
    told = np.where(classes == "yes", 5.0, 1.0) + RNG.random(28)
    table = {"told": told, "x": RNG.normal(size=28), "y": classes.astype(object)}
    (finding,) = check(table, parts(20, 0, 8))
    assert finding.column == "told"
    assert "parts all 28 rows" in finding.message
    told[0] = 5.5  # one exception: a strong feature of few rows
    assert check(table, parts(20, 0, 8)) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_two_columns_that_add_up_to_the_target_are_refused_together(sign: int) -> None:
    casual, registered = RNG.gamma(2, 50, N), RNG.gamma(2, 150, N)
    y = casual + sign * registered + RNG.normal(size=N)
    (finding,) = check({"casual": casual, "x": RNG.normal(size=N), "registered": registered, "y": y}, task="regression")
    assert ("sum" if sign > 0 else "difference") in finding.message
    assert "'casual', 'registered'" in finding.fix


def test_two_good_predictors_are_no_sum() -> None:
    a, b = RNG.normal(size=(2, N))
    assert check({"a": a, "b": b, "y": 3 * a + b + 0.01 * RNG.normal(size=N)}, task="regression") == []
    assert check({"a": a, "b": b, "y": a + b + 0.2 * RNG.normal(size=N)}, task="regression") == []


def test_a_column_that_is_filled_in_after_the_answer_is_refused_though_not_always_filled() -> None:
    filled = np.where((Y == 1) & (RNG.random(N) < 0.3), RNG.random(N), np.nan)
    (finding,) = check({**clean(), "boat": filled})
    assert finding.column == "boat"
    assert "as if filled in after it" in finding.message
    by_chance = np.where(RNG.random(N) < 0.3, RNG.random(N), np.nan)
    assert check({**clean(), "cabin": by_chance}) == []
