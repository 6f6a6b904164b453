"""Evidence on tables that a pencil can check."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.automl.evidence import (
    diagnostic_curves,
    environment,
    fairness_gaps,
    reliability_bins,
    rows_by_group,
    segment_figures,
    segments_to_dict,
    small_sample_warnings,
)
from deepseek.data import Table, read_table
from deepseek.errors import InputError


def two_groups() -> tuple[Table, np.ndarray, np.ndarray, np.ndarray]:
    """40 rows of "a", 40 of "b", 5 of "c". Decisions: a flags 20 (10 of 20 positives), b flags 10 (all its 10)."""
    sex = ["a"] * 40 + ["b"] * 40 + ["c"] * 5
    target = np.array([1] * 20 + [0] * 20 + [1] * 10 + [0] * 30 + [1] * 5)
    decided = np.array([1] * 10 + [0] * 10 + [1] * 10 + [0] * 10 + [1] * 10 + [0] * 30 + [0] * 5)
    chance = np.where(decided == 1, 0.8, 0.3)
    table = read_table({"sex": sex, "age": np.arange(85.0)})
    return table, target, np.stack([1 - chance, chance], axis=1), decided


def test_gaps_are_those_of_the_groups_that_are_large_enough() -> None:
    table, target, output, decided = two_groups()
    fairness = fairness_gaps("binary", table, "sex", target, output, decided).to_dict()
    by_group = {row["group"]: row for row in fairness["groups"]}
    assert by_group["a"] == {
        "group": "a", "num_rows": 40, "positive_share": 0.5, "recall": 0.5, "false_positive_rate": 0.5,
    }  # fmt: skip
    assert by_group["b"]["positive_share"] == 0.25
    assert by_group["b"]["recall"] == 1.0
    assert by_group["b"]["false_positive_rate"] == 0.0
    assert by_group["c"] == {"group": "c", "num_rows": 5}, "too few rows to speak of"
    assert fairness["gaps"] == {"positive_share": 0.25, "recall": 0.5, "false_positive_rate": 0.5}


def test_a_group_without_positives_has_no_recall_rather_than_a_wrong_one() -> None:
    table, target, output, decided = two_groups()
    target = target.copy()
    target[40:80] = 0
    fairness = fairness_gaps("binary", table, "sex", target, output, decided).to_dict()
    assert {row["group"]: row.get("recall") for row in fairness["groups"]}["b"] is None
    assert fairness["gaps"]["recall"] is None


def test_mean_errors_by_group_for_values() -> None:
    table, target, _, decided = two_groups()
    output = target[:, None] + np.where(np.arange(85) < 40, 2.0, -1.0)[:, None]
    fairness = fairness_gaps("regression", table, "sex", target, output, decided).to_dict()
    assert fairness["gaps"] == {"mean_error": pytest.approx(3.0)}


def test_segment_figures_are_of_their_rows() -> None:
    table, target, output, _ = two_groups()
    groups = segment_figures("binary", table, ("sex",), target, output)
    rows = {row["group"]: row for row in segments_to_dict(groups)["sex"]}
    assert rows["a"]["metrics"]["accuracy"]["value"] == 0.5
    assert rows["b"]["metrics"]["accuracy"]["value"] == 1.0
    assert "metrics" not in rows["c"]


def test_numbers_of_many_values_become_quarters_that_hold_every_row() -> None:
    values = np.arange(100.0)
    values[7] = np.nan
    groups = rows_by_group(read_table({"x": values}), "x")
    assert set(groups) == {"-inf to 25.5", "25.5 to 50", "50 to 74.5", "74.5 to inf", "missing"}
    assert groups["missing"].tolist() == [7]
    assert sorted(np.concatenate(list(groups.values()))) == list(range(100))


def test_the_rarest_of_many_levels_are_one_group_and_no_row_is_left_out() -> None:
    levels = [f"town {number}" for number in range(30) for _ in range(30 - number)]
    groups = rows_by_group(read_table({"town": levels}), "town")
    assert len(groups) == 20
    assert len(groups["town 0"]) == 30
    assert len(groups["11 other values"]) == sum(range(1, 12))
    assert sorted(np.concatenate(list(groups.values())).tolist()) == list(range(len(levels)))


def test_missing_levels_are_a_group() -> None:
    groups = rows_by_group(read_table({"x": ["a", None, "b", "a"]}), "x")
    assert {name: rows.tolist() for name, rows in groups.items()} == {"a": [0, 3], "b": [2], "missing": [1]}


def test_figures_for_want_of_rows_are_warned_of() -> None:
    many = read_table({"x": ["a"] * 30 + ["b"] * 29, "y": ["a"] * 30 + ["b"] * 29})
    assert small_sample_warnings(many, ["x"]) == []
    assert ["'y'" in warning for warning in small_sample_warnings(many, ["x"], "y")] == [True]
    few = read_table({"x": ["a"] * 29, "y": ["a", "b"] * 14 + ["a"]})
    warnings = small_sample_warnings(few, ["x"], "y")
    assert len(warnings) == 3
    assert "29 test rows" in warnings[0]
    assert "'x'" in warnings[1]
    assert "'y'" in warnings[2]


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="'y'"):
        rows_by_group(read_table({"x": [1.0, 2.0]}), "y")


def test_a_model_that_means_what_it_says_lies_on_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(20_000)
    target = (rng.random(20_000) < chance).astype(int)
    bins = reliability_bins(target, np.stack([1 - chance, chance], axis=1))
    assert sum(b["num_rows"] for b in bins) == 20_000
    assert all(abs(b["predicted"] - b["observed"]) < 0.04 for b in bins)


def test_the_confusion_counts_add_up() -> None:
    _, target, output, decided = two_groups()
    curves = diagnostic_curves("binary", target, output, decided, ("no", "yes"))
    assert curves["confusion"] == {"labels": ["no", "yes"], "counts": [[40, 10], [15, 20]]}


def test_the_environment_names_a_version_and_a_licence_for_each_part() -> None:
    versions = environment("deepseek ship x.csv")
    assert versions["command"] == "deepseek ship x.csv"
    assert all(part["version"] and part["licence"] for part in versions["packages"].values())
    assert {"numpy", "scikit-learn"} <= set(versions["packages"])
