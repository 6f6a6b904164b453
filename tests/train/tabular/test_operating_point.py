"""A threshold's rates come with intervals that hold the true rate, however few the errors, and say what is not kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binom

from deepseek.bundle.promises import Promises
from deepseek.contracts import Figure
from deepseek.look.operating_point import fact_rows, warnings
from deepseek.look.words import english
from deepseek.operating_point import OperatingPoint, highest_rate_of_none, num_rows_for_rate
from deepseek.train.tabular.contradictions import find_contradictions
from deepseek.train.tabular.intervals import exact_interval
from deepseek.train.tabular.metrics import PairedFigures, measure_figures, measure_pair
from deepseek.train.tabular.operating_point import DecisionRule, measure_operating_point


def measure(
    target: list[int], decided: list[int], *, weight: list[float] | None = None, rows_per_day: float | None = None,
    max_fpr: float | None = None, min_recall: float | None = None, num_negatives_set: int | None = None,
) -> OperatingPoint:  # fmt: skip
    rule = DecisionRule("fraud", 0.7, "0.5", max_fpr, min_recall, num_negatives_set)
    weights = np.ones(len(target)) if weight is None else np.array(weight)
    return measure_operating_point(np.array(target), np.array(decided), weights, rule, rows_per_day=rows_per_day)


def test_counts_and_rates_are_those_of_the_decisions() -> None:
    point = measure([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0, 0, 0, 0], rows_per_day=50.0)
    assert (point.num_caught, point.num_positives, point.num_false_alarms, point.num_negatives) == (3, 4, 1, 6)
    assert point.recall is not None
    assert point.false_positive_rate is not None
    assert point.precision is not None
    assert point.alerts_per_day is not None
    assert (point.recall.value, point.false_positive_rate.value, point.precision.value) == (0.75, 1 / 6, 0.75)
    assert point.alerts_per_day.value == pytest.approx(20.0)  # 4 of 10 rows, 50 rows a day
    assert Promises.from_metrics({"operating_point": point.to_dict()}).operating_point == point


def test_weights_count_as_rows_that_say_as_much() -> None:
    point = measure([1, 1, 0], [1, 0, 0], weight=[3.0, 1.0, 1.0])
    assert point.recall is not None
    assert point.is_weighted
    assert point.recall.value == 0.75
    assert (point.recall.low, point.recall.high) == pytest.approx(exact_interval(0.75 * 1.6, 1.6))  # 16 / 10 rows


@pytest.mark.parametrize("num_rows", [3, 30, 114])
@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5, 0.97])
def test_an_exact_interval_holds_the_true_rate_in_at_least_95_of_100(num_rows: int, rate: float) -> None:
    hits = np.arange(num_rows + 1)
    ends = np.array([exact_interval(num, num_rows) for num in hits.tolist()])
    holds = (ends[:, 0] <= rate) & (rate <= ends[:, 1])
    assert binom.pmf(hits, num_rows, rate) @ holds >= 0.95


def test_the_rows_that_a_limit_needs_are_those_whose_interval_reaches_it() -> None:
    for limit in (0.0002, 0.01, 0.3):
        needed = num_rows_for_rate(limit)
        assert needed is not None
        assert highest_rate_of_none(needed) <= limit < highest_rate_of_none(needed - 1)
        assert highest_rate_of_none(needed) == pytest.approx(exact_interval(0, needed)[1])


def perfect(num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    target = np.arange(num_rows) % 3 // 2
    positive = np.where(target == 1, 0.9, 0.1) + np.linspace(0, 0.05, num_rows)
    return target, np.stack([1 - positive, positive], axis=1)


def test_a_perfect_score_has_an_interval() -> None:
    target, output = perfect(114)
    figures = measure_figures("binary", target, output)
    for name in ("accuracy", "auc", "average_precision", "macro_f1"):
        assert figures[name].value == 1
        assert 0.5 < figures[name].low < 0.99, name
        assert figures[name].high == 1
    assert figures["accuracy"].low == pytest.approx(exact_interval(114, 114)[0])
    assert figures["auc"].low == pytest.approx(exact_interval(38, 38)[0])  # as many disjoint pairs as positive rows


def test_one_error_in_114_may_be_none_of_them() -> None:
    target, output = perfect(114)
    output[0] = output[0, ::-1]
    accuracy = measure_figures("binary", target, output)["accuracy"]
    assert (accuracy.low, accuracy.high) == pytest.approx(exact_interval(113, 114))


def test_a_pair_has_the_figures_of_each_and_a_narrower_difference() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 400)
    first = np.clip(0.3 + 0.4 * target + rng.normal(0, 0.2, 400), 0.01, 0.99)
    outputs = [np.stack([1 - p, p], axis=1) for p in (first, np.clip(first + 0.02, 0.01, 0.99))]
    pair = measure_pair("binary", target, *outputs, np.ones(400))
    assert pair.first == measure_figures("binary", target, outputs[0])
    assert pair.second == measure_figures("binary", target, outputs[1])
    difference, alone = pair.differences["log_loss"], pair.first["log_loss"]
    assert difference.value == pair.first["log_loss"].value - pair.second["log_loss"].value
    assert difference.low < difference.value < difference.high
    assert difference.high - difference.low < (alone.high - alone.low) / 3


def test_a_threshold_that_catches_nothing_says_so_first() -> None:
    point = measure([1] * 20 + [0] * 80, [0] * 100, max_fpr=0.0002, num_negatives_set=400)
    texts = warnings(point)
    assert texts[0].en.startswith("the threshold catches 0 of 20 rows that are 'fraud'")
    assert "takes 18,443 rows" in texts[1].en
    assert "set on 400 and measured on 80" in texts[1].en
    assert all(text.zh != text.en for text in texts)
    assert "max_fpr" in warnings(measure([1, 0], [0, 0]))[0].en  # without a limit: how to set one


def test_a_limit_that_rows_can_show_and_that_holds_is_no_warning() -> None:
    point = measure([1] * 20 + [0] * 400, [1] * 20 + [0] * 400, max_fpr=0.01, num_negatives_set=400)
    assert warnings(point) == []
    assert "a false-positive rate of at most 0.01" in [english(value) for _, value in fact_rows(point)]


def test_limits_that_the_test_rows_contradict_are_said() -> None:
    missed = measure(
        [1] * 100 + [0] * 400, [1] * 50 + [0] * 50 + [1] * 40 + [0] * 360, max_fpr=0.01, num_negatives_set=400
    )
    assert warnings(missed)[0].en.startswith("the false-positive rate is 0.100 [")
    missed = measure([1] * 100 + [0] * 100, [1] * 50 + [0] * 150, min_recall=0.9)
    assert warnings(missed)[0].en.startswith("recall is 0.500 [")
    near = measure(
        [1] * 100 + [0] * 400, [1] * 90 + [0] * 10 + [1] * 5 + [0] * 395, max_fpr=0.01, num_negatives_set=400
    )
    assert warnings(near) == []  # .0125, but .01 is well within its interval


def figures(value: float, half: float) -> dict[str, Figure]:
    return {"log_loss": Figure(value, value - half, value + half)}


def test_a_baseline_that_wins_on_the_test_rows_alone_is_said() -> None:
    validation = PairedFigures(figures(0.020, 0.004), figures(0.022, 0.004), figures(-0.002, 0.001))
    worse = PairedFigures(figures(0.0233, 0.004), figures(0.0156, 0.004), figures(0.0077, 0.002))
    (contradiction,) = find_contradictions("binary", "log_loss", worse, validation)
    assert contradiction.kind == "baseline"
    assert "log loss 0.0233 against 0.0156" in contradiction.words().en
    assert Promises.from_metrics(
        {"contradictions": [json.loads(json.dumps(contradiction.to_dict()))]}
    ).contradictions == (contradiction,)
    by_chance = PairedFigures(figures(0.0233, 0.004), figures(0.0156, 0.004), figures(0.0077, 0.008))
    assert find_contradictions("binary", "log_loss", by_chance, validation) == ()


def test_a_validation_figure_that_does_not_hold_is_said() -> None:
    validation = PairedFigures(figures(0.010, 0.002), figures(0.012, 0.002), figures(-0.002, 0.001))
    later = PairedFigures(figures(0.023, 0.004), figures(0.024, 0.004), figures(-0.001, 0.001))
    (contradiction,) = find_contradictions("binary", "log_loss", later, validation)
    assert contradiction.kind == "validation"
    assert "0.0230 [0.0190, 0.0270] on the test rows, and was 0.0100" in contradiction.words().en
