"""Where alarms begin: limits are kept by their bounds on the rows that set them, costs choose among what keeps them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from deepseek.data.table.values import DAY_MS
from deepseek.errors import CheckError, InputError
from deepseek.explain.report.curves import curve_plots
from deepseek.look import operating_point as point_words
from deepseek.look.words import english
from deepseek.operating_point import OperatingPoint, Rate
from deepseek.recipes.fraud_decision import (
    DecisionLimits,
    ErrorCosts,
    JudgedRows,
    choose_alarms,
    measure_money,
    money_curve,
    read_costs,
)
from deepseek.train.tabular.intervals import exact_interval

NUM, DAYS = 40_000, 20


@pytest.fixture(scope="module")
def rows() -> JudgedRows:
    """Scores that are rounded, so that some are equal, and amounts that say nothing of them."""
    rng = np.random.default_rng(0)
    fraud = rng.random(NUM) < 0.01
    score = np.round(1 / (1 + np.exp(-rng.normal(np.where(fraud, 1.0, -4.0), 1.5))), 3)
    time = np.sort(rng.integers(0, DAYS * DAY_MS, NUM))
    return JudgedRows(score, fraud, rng.lognormal(3, 1, NUM).round(2), time, NUM / DAYS)


def alarms_of(rows: JudgedRows, limits: DecisionLimits) -> np.ndarray:
    return np.asarray(rows.score >= choose_alarms(rows, limits).threshold.value)


@pytest.mark.parametrize("max_fpr", [0.0005, 0.002, 0.05, 0.9])
def test_the_rate_is_kept_by_its_bound_and_the_next_threshold_would_not(rows: JudgedRows, max_fpr: float) -> None:
    chosen = choose_alarms(rows, DecisionLimits(max_fpr))
    genuine = rows.score[~rows.fraud]
    assert exact_interval(int((genuine >= chosen.threshold.value).sum()), len(genuine))[1] <= max_fpr
    lower = rows.score[rows.score < chosen.threshold.value].max(initial=0.0)
    assert exact_interval(int((genuine >= lower).sum()), len(genuine))[1] > max_fpr


@pytest.mark.parametrize("queue", [1.0, 12.5, 300.0])
def test_a_queue_is_kept_by_the_bound_of_its_mean(rows: JudgedRows, queue: float) -> None:
    alert = alarms_of(rows, DecisionLimits(queue=queue))
    money = measure_money(rows, alert, DecisionLimits(queue=queue))
    assert money["alerts_per_day"]["value"] == pytest.approx(alert.sum() / DAYS)
    assert money["alerts_per_day"]["high"] <= queue
    assert money["num_alerts"] > 0


def test_costs_take_the_threshold_of_least_cost_of_those_that_keep_the_limits(rows: JudgedRows) -> None:
    for costs in (ErrorCosts(None, 5.0), ErrorCosts(40.0, 5.0), ErrorCosts(None, 400.0)):
        losses = rows.amount if costs.missed is None else np.full(NUM, costs.missed)

        def cost_of(alert: Any, losses: Any = losses, costs: ErrorCosts = costs) -> float:
            return float(losses[rows.fraud & ~alert].sum() + costs.false_alarm * (alert & ~rows.fraud).sum())

        every = {float(value): cost_of(rows.score >= value) for value in np.unique(rows.score)}
        alert = alarms_of(rows, DecisionLimits(costs=costs))
        assert cost_of(alert) == pytest.approx(min([*every.values(), cost_of(np.zeros(NUM, bool))]))
        assert measure_money(rows, alert, DecisionLimits(costs=costs))["cost"] == pytest.approx(cost_of(alert))
        limited = DecisionLimits(max_fpr=0.001, queue=3.0, costs=costs)
        alert = alarms_of(rows, limited)
        chosen = choose_alarms(rows, limited)
        assert chosen.rate is not None
        assert chosen.alerts is not None
        assert (alert & ~rows.fraud).sum() <= chosen.rate.num_alarms
        assert alert.sum() <= chosen.alerts.num_alarms


def test_what_the_rows_cannot_show_is_refused(rows: JudgedRows) -> None:
    with pytest.raises(CheckError, match="cannot show a false-positive rate"):
        choose_alarms(rows, DecisionLimits(0.00005))
    with pytest.raises(CheckError, match=r"cannot show 0\.1 alerts a day"):
        choose_alarms(rows, DecisionLimits(queue=0.1))
    few = replace(rows, fraud=rows.fraud & (np.cumsum(rows.fraud) <= 29))
    with pytest.raises(CheckError, match="29 frauds weigh the costs"):
        choose_alarms(few, DecisionLimits(costs=ErrorCosts(None, 5.0)))
    with pytest.raises(InputError, match="nothing says where alarms begin"):
        DecisionLimits()


@pytest.mark.parametrize(
    "text", ["", "fraud=5", "alarm=5", "fraud=amount,alarm=0", "fraud=-1,alarm=5", "fraud=amount,alarm=nan",
             "fraud=amount,alarm=5,x=1", "fraud=much,alarm=5", "fraud=inf,alarm=1"],
)  # fmt: skip
def test_costs_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="the costs are"):
        read_costs(text)


def test_money_by_hand() -> None:
    rows = JudgedRows(
        np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, True]), np.array([10.0, 20.0, 30.0, 40.0]),
        np.array([0, 1, DAY_MS, 2 * DAY_MS]), 2.0,
    )  # fmt: skip
    limits = DecisionLimits(queue=1.0, costs=ErrorCosts(None, 5.0))
    money = measure_money(rows, rows.score >= 0.7, limits)
    assert (money["amount_caught"], money["amount_lost"], money["amount_false_alarms"]) == (40.0, 40.0, 20.0)
    assert (money["cost"], money["cost_without_alarms"]) == (45.0, 80.0)
    assert (money["most_alerts_in_a_day"], money["num_days_above_queue"]) == (2, 1)
    assert money["alerts_per_day"]["value"] == 1.5
    many = JudgedRows(*(np.tile(values, 50) for values in (rows.score, rows.fraud, rows.amount, rows.time_ms)), 2.0)
    curve = money_curve(many, limits.costs)
    assert [point[0] for point in curve] == sorted({point[0] for point in curve})
    assert curve[0] == [0.01, 0.1, 0.1]


def test_the_page_draws_money_against_alerts(rows: JudgedRows) -> None:
    (plot,) = curve_plots({"num_rows": NUM, "metrics": {}, "money": money_curve(rows, ErrorCosts(None, 5.0))}, None)
    assert "Money a day against alerts a day" in plot
    assert "less the cost of false alarms" in plot
    (plot,) = curve_plots({"num_rows": NUM, "metrics": {}, "money": money_curve(rows, None)}, None)
    assert "less the cost" not in plot


def test_the_rule_says_what_was_asked_and_what_keeps_it() -> None:
    rate = Rate(0.5, 0.4, 0.6)
    point = OperatingPoint(
        "fraud", 0.5, "alerts a day <= 50, least cost", 9, 1, 1, 0, rate, rate, rate, rate,
        max_fpr=0.002, num_negatives_set=7_133, max_alerts_per_day=50, num_alarms_set=6,
    )  # fmt: skip
    assert english(point_words.rule_words(point)) == (
        "a false-positive rate of at most 0.002 (the upper end of the 95 % interval of 6 alarms in the 7,133 rows that "
        "set it) and at most 50 alerts a day and the least cost"
    )


def test_a_threshold_lies_between_two_chances_so_that_rounding_moves_no_alarm() -> None:
    rng = np.random.default_rng(3)
    score = rng.random(20_000).astype(np.float32).astype(np.float64)
    fraud = rng.random(20_000) < score**20
    rows = JudgedRows(score, fraud, np.ones(20_000), np.zeros(20_000), 1_000.0)
    threshold = choose_alarms(rows, DecisionLimits(max_fpr=0.01)).threshold.value
    assert threshold not in score
    alarms = score >= threshold
    assert ((score * (1 - 1e-9) >= threshold) == alarms).all()
    assert ((score * (1 + 1e-9) >= threshold) == alarms).all()
