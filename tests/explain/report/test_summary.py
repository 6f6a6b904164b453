"""Reports as data: JSON-able, complete, bounded in rows, time and size."""

from __future__ import annotations

import json
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest

from deepseek.contracts import Attribution, Float32, Record
from deepseek.errors import InputError
from deepseek.explain import explainer_for, global_report, reason_codes, row_reports
from deepseek.nn.model import Model


def test_a_global_report_shows_every_column_in_order(models: Any, cancer: Any, records: list[Record]) -> None:
    model, rows = models["blend"]
    explainer = explainer_for(model, cancer[2], score=model.score)
    report = global_report(explainer, rows, records)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False)) == report
    importance = report["importance"]
    assert {item["column"] for item in importance} == set(cancer[2])
    assert [item["mean_abs"] for item in importance] == sorted((item["mean_abs"] for item in importance), reverse=True)
    assert sum(item["share"] for item in importance) == pytest.approx(1.0)
    chosen = np.linspace(0, 568, report["num_rows"]).round().astype(int)
    expected = np.abs(explainer.explain(rows[chosen]).values).mean(axis=0).max()
    assert importance[0]["mean_abs"] == pytest.approx(expected)
    assert report["num_rows"] == 500
    assert report["num_rows_given"] == 569
    assert report["target"] == "benign"
    assert report["scale"] == "log-odds"
    assert report["additivity"]["passes"]
    assert report["ablation"]["passes"]
    assert len(json.dumps(report.to_dict())) < 500_000


def test_points_of_plots_belong_to_their_rows(models: Any, cancer: Any, records: list[Record]) -> None:
    model, rows = models["linear"]
    report = global_report(explainer_for(model, cancer[2]), rows, records)
    weights = model.parts[0].weights
    for swarm in report["beeswarm"][:3]:
        place = cancer[2].index(swarm["column"])
        expected = weights.coef[place, 0] * (np.array(swarm["value"]) - weights.mean[place])
        assert swarm["attribution"] == pytest.approx(expected.tolist())
        assert min(swarm["rank"]) == 0.0
        assert max(swarm["rank"]) == 1.0
        assert swarm["rank"][int(np.argmax(swarm["value"]))] == 1.0
    assert report["dependence"][0]["kind"] == "numeric"


def test_many_classes_have_an_importance_each(models: Any, digits: Any) -> None:
    model, rows = models["forest, ten classes"]
    names = [f"pixel {place}" for place in range(64)]
    records = [dict(zip(names, row.tolist(), strict=True)) for row in digits[0]]
    report = global_report(explainer_for(model, names), rows, records, max_rows=40)
    assert list(report["by_class"]) == list(model.labels)
    mean = np.mean([[values[name] for name in names] for values in report["by_class"].values()], axis=0)
    assert report["importance"][0]["mean_abs"] == pytest.approx(mean.max())
    assert report["num_rows"] == 40


def test_a_slow_model_gets_fewer_rows(models: Any, cancer: Any, records: list[Record]) -> None:
    model, rows = models["boosted"]
    explainer = explainer_for(model, cancer[2])
    quick = explainer.explain

    def slow(features: Float32, *, target: str | None = None) -> Attribution:
        sleep(0.01 * len(features))
        return quick(features, target=target)

    explainer.explain = slow  # type: ignore[method-assign]
    started_s = perf_counter()
    report = global_report(explainer, rows, records, limit_s=0.6)
    assert 20 <= report["num_rows"] <= 60
    assert perf_counter() - started_s < 3


def test_a_pause_of_the_machine_costs_no_rows(models: Any, cancer: Any, records: list[Record]) -> None:
    model, rows = models["boosted"]
    explainer = explainer_for(model, cancer[2])
    quick, pauses = explainer.explain, iter([0.0, 0.5])

    def paused(features: Float32, *, target: str | None = None) -> Attribution:
        sleep(next(pauses, 0.0))
        return quick(features, target=target)

    explainer.explain = paused  # type: ignore[method-assign]
    assert global_report(explainer, rows, records)["num_rows"] == 500


def test_categories_missing_values_and_dates_are_shown(models: Any, cancer: Any, records: list[Record]) -> None:
    model, rows = models["linear"]
    odd: list[Record] = [
        {**record, cancer[2][0]: ["a", None, float("nan"), np.datetime64("2026-01-02")][place % 4]}
        for place, record in enumerate(records)
    ]
    owners = [cancer[2][0]] * 30
    report = global_report(explainer_for(model, owners), rows, odd)
    values = report["beeswarm"][0]["value"]
    assert {"a", None, "2026-01-02"} == set(values)
    assert report["dependence"][0]["kind"] == "category"
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("num_records", [0, 3])
def test_rows_without_their_records_are_refused(
    models: Any, cancer: Any, records: list[Record], num_records: int
) -> None:
    model, rows = models["linear"]
    with pytest.raises(InputError, match="records"):
        global_report(explainer_for(model, cancer[2]), rows[: min(num_records, 2)], records[:num_records])


def test_a_waterfall_adds_up(model_and_rows: tuple[Model, Float32]) -> None:
    model, rows = model_and_rows
    names = [f"c{place}" for place in range(rows.shape[1])]
    records = [dict(zip(names, row.tolist(), strict=True)) for row in rows[:5]]
    reports = row_reports(explainer_for(model, names).explain(rows[:5]), records, num_bars=4)
    assert json.loads(json.dumps([report.to_dict() for report in reports], allow_nan=False)) == reports
    for report in reports:
        bars = [bar["contribution"] for bar in report["bars"]]
        assert len(bars) == 4
        assert [abs(bar) for bar in bars] == sorted((abs(bar) for bar in bars), reverse=True)
        total = report["base_value"] + sum(bars) + report["other"]["contribution"] + report["residual"]
        assert total == pytest.approx(report["output"], abs=1e-9)
        assert report["other"]["num_columns"] == len(names) - 4


def one_row(values: list[float], target: str | None, scale: str = "log-odds") -> Attribution:
    return Attribution(("age", "town"), np.array([values]), np.zeros(1), np.array([sum(values)]), scale, "", target)


def test_reason_codes_say_column_value_direction_and_size() -> None:
    reasons = reason_codes(one_row([0.8, -1.2], "default"), {"age": 61.0, "town": "Graz"})
    assert reasons == [
        "town = Graz lowers the log-odds of default by 1.20",
        "age = 61.0 raises the log-odds of default by 0.800",
    ]
    assert reason_codes(one_row([0.8, -1.2], "default"), {"age": 61.0, "town": "Graz"}, 1) == reasons[:1]


def test_reason_codes_in_chinese_and_for_values() -> None:
    assert reason_codes(one_row([3.0, 0.0], None, "target units"), {"age": None}, outcome="price") == [
        "age (missing) raises price by 3.00"
    ]
    assert reason_codes(one_row([3.0, 0.0], "违约"), {"age": 61}, language="zh") == [
        "age = 61 使违约的对数几率升高 3.00"
    ]
    with pytest.raises(InputError, match="reason codes"):
        reason_codes(one_row([1.0, 0.0], "x"), {}, language="fr")  # type: ignore[arg-type]
