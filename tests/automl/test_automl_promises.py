"""What a threshold does is told where it is set: in the summary, --json, inspect, evaluate and on the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepseek.automl.evidence import curve_points, diagnostic_curves
from deepseek.automl.ship import ship
from deepseek.automl.shipped import ShipResult
from deepseek.bundle import inspect_bundle, open_bundle
from deepseek.bundle.inspect import read_promises
from deepseek.cli import main
from deepseek.cli.inspect import report
from deepseek.errors import InputError
from deepseek.explain.report.evidence import evidence_sections, headline
from deepseek.explain.report.page import read_evidence
from deepseek.look.summary import render_text
from deepseek.look.words import english


def payments(num_rows: int = 900) -> pd.DataFrame:
    """Dated rows, 30 a day, a tenth of them fraud, which only larger amounts are."""
    rng = np.random.default_rng(5)
    amount = rng.normal(size=num_rows)
    fraud = (amount + rng.normal(0, 0.5, num_rows)) > 1.4
    when = pd.Timestamp("2021-03-01") + pd.to_timedelta(np.arange(num_rows) * 48, unit="min")
    return pd.DataFrame({"when": when, "amount": amount, "noise": rng.normal(size=num_rows), "fraud": fraud})


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> ShipResult:
    out = tmp_path_factory.mktemp("promises") / "payments"
    return ship(
        payments(), target="fraud", split="time", max_fpr=0.0002, out=out, trials=2, candidates=("linear",), seed=0
    )


def test_a_limit_that_the_rows_cannot_show_leads_the_summary_and_the_warnings(shipped: ShipResult) -> None:
    first = shipped.summary().splitlines()[0]
    assert first.startswith("warning: ")
    assert shipped.warnings[0] in first
    assert any("takes 18,443 rows" in warning for warning in shipped.alarms)
    assert shipped.to_dict()["warnings"][0] == shipped.warnings[0]


def test_the_operating_point_is_in_the_summary_and_in_json(shipped: ShipResult) -> None:
    point = shipped.operating_point
    assert point is not None
    assert point.num_rows == 180  # the newest fifth
    assert point.rows_per_day == pytest.approx(30.0)
    summary = shipped.summary()
    assert "a false-positive rate of at most 0.0002" in summary
    assert f"{point.num_caught} of {point.num_positives}" in summary
    assert "alerts a day" in summary
    assert json.loads(json.dumps(shipped.to_dict()))["operating_point"]["recall"] == {
        "value": point.recall.value, "low": point.recall.low, "high": point.recall.high
    }  # fmt: skip


def test_inspect_says_the_same(shipped: ShipResult) -> None:
    inspected = inspect_bundle(shipped.path)
    assert inspected.promises.operating_point == shipped.operating_point
    assert inspected.to_dict()["warnings"] == list(shipped.alarms)
    text = render_text(report(inspected))
    assert text.splitlines()[0] == f"warning: {shipped.alarms[0]}"
    assert "false-positive rate" in text
    assert inspected.summary().startswith("warning: ")


def test_a_point_that_was_measured_at_another_threshold_is_not_shown(shipped: ShipResult) -> None:
    bundle = open_bundle(shipped.path)
    assert read_promises(bundle).operating_point == shipped.operating_point
    changed = replace(bundle, manifest=replace(bundle.manifest, threshold=0.123))
    assert read_promises(changed).operating_point is None


def test_the_page_says_the_same_and_marks_it_on_both_curves(shipped: ShipResult) -> None:
    evidence = read_evidence(open_bundle(shipped.path))
    point = shipped.operating_point
    assert point is not None
    assert f"it catches {point.num_caught} of {point.num_positives}" in english(headline(evidence))
    section = next(section for section in evidence_sections(evidence) if section.id == "figures")
    assert "Operating point" in section.body
    assert section.body.count("the threshold in force") >= 2
    assert [point.recall.value, point.precision.value] in evidence["metrics"]["precision_recall"]
    assert [point.false_positive_rate.value, point.recall.value] in evidence["metrics"]["roc"]


def test_evaluate_has_the_point_on_rows_of_its_own(shipped: ShipResult, tmp_path: Path, capsys) -> None:
    path = tmp_path / "rows.csv"
    payments().iloc[:300].to_csv(path, index=False)
    assert main(["evaluate", str(shipped.path), str(path), "--json"]) == 0
    point = json.loads(capsys.readouterr().out)["operating_point"]
    assert point["num_rows"] == 300
    assert point["max_fpr"] == 0.0002
    assert point["threshold"] == shipped.operating_point.threshold


def test_a_split_by_time_alone_takes_the_one_column_of_dates(shipped: ShipResult) -> None:
    config = inspect_bundle(shipped.path).manifest.lineage.config
    assert config["split"] == "time:when"


@pytest.mark.parametrize(("dates", "words"), [([], "no columns hold dates"), (["a", "b"], "time:a or time:b")])
def test_a_split_by_time_names_the_columns_when_there_is_not_one(
    dates: list[str], words: str, quick_ship: Callable[..., ShipResult]
) -> None:
    rows = payments(100)
    table = rows.drop(columns="when").assign(**dict.fromkeys(dates, rows["when"]))
    with pytest.raises(InputError) as caught:
        quick_ship(table, target="fraud", split="time")
    assert words in str(caught.value)


def test_curves_have_their_points_where_few_rows_are_flagged() -> None:
    rng = np.random.default_rng(0)
    target = (rng.random(50_000) < 0.01).astype(np.int64)
    score = 1 / (1 + np.exp(-rng.normal(size=50_000) - 3 * target + 4))
    output = np.stack([1 - score, score], axis=1)
    decided = (score >= np.sort(score)[-11]).astype(np.int64)  # eleven alerts
    curves = diagnostic_curves("binary", target, output, decided, ("no", "yes"))
    assert len(curves["roc"]) <= 204
    assert sum(fpr <= 0.0005 for fpr, _ in curves["roc"]) >= 20
    caught = int((decided & target).sum())
    assert [caught / target.sum(), caught / 11] in curves["precision_recall"]
    drawn = np.array([recall for recall, _ in curves["precision_recall"]])
    assert np.diff(drawn).max() < 0.03
    assert curve_points(np.array([0.0, 1.0]), 1).tolist() == [0, 1]
