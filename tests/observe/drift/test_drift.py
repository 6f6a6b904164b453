"""Drift: a column that moved is named, one that did not is not; what the model hardly looks at is told apart; how good
it is without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import deepseek as ds
from deepseek.bundle.read import open_bundle
from deepseek.cli.observe.drift import command
from deepseek.data import read_table
from deepseek.data.view.card import make_card
from deepseek.errors import InputError
from deepseek.observe.drift.drift import DriftReport, find_drift
from deepseek.observe.drift.page import render_page
from deepseek.observe.drift.performance import AnsweredSample, estimate_performance, expected_auc
from deepseek.observe.drift.reference import read_reference
from deepseek.observe.drift.since import DriftStart
from deepseek.observe.drift.words import answer_words, fault_words, joint_words, performance_words
from deepseek.observe.reading.labels import join_labels
from deepseek.observe.reading.tables import ReadLimits, open_logs
from deepseek.observe.why.windows import moment_text
from support.servers.fixtures import build

pytest.importorskip("duckdb")
START_S, NUM_ROWS = 1_767_225_600.0, 2_000
Columns = dict[str, Any]


@pytest.fixture(scope="module")
def training_rows(cancer_bundle: Path) -> Columns:
    """Rows drawn from the table that the bundle was shipped from, answered by it, as a prediction log has them."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer(as_frame=True).frame.rename(columns=lambda name: name.replace(" ", "_"))
    rows = table.sample(NUM_ROWS, replace=True, random_state=0).reset_index(drop=True)
    names = [each.name for each in open_bundle(cancer_bundle).manifest.inputs]
    prediction = ds.load(cancer_bundle).predict(rows[names])
    assert prediction.labels is not None
    assert prediction.probabilities is not None
    columns: Columns = {
        "time": START_S + 60.0 * np.arange(NUM_ROWS), "request_id": [f"r{number}" for number in range(NUM_ROWS)],
        "row": [0] * NUM_ROWS, "model": ["cancer"] * NUM_ROWS, "version": ["1"] * NUM_ROWS,
        "digest": [open_bundle(cancer_bundle).digest] * NUM_ROWS, "prediction": prediction.labels.tolist(),
        "truth": np.array(["malignant", "benign"])[rows["target"]],
    }  # fmt: skip
    for index, label in enumerate(prediction.labels_known):
        columns[f"probability.{label}"] = prediction.probabilities[:, index].astype(float)
    return columns | {f"input.{name}": rows[name].to_numpy().copy() for name in names}


def drift_of(bundle: Path, folder: Path, columns: Columns, labels: Path | None = None, **options: Any) -> DriftReport:
    pq.write_table(
        pa.table({name: values for name, values in columns.items() if name != "truth"}), folder / "log.parquet"
    )
    with open_logs([folder / "log.parquet"], ReadLimits(threads=1)) as logs:
        if labels is not None:
            join_labels(logs, labels)
        return find_drift(open_bundle(bundle), logs, **options)


def important_and_idle(bundle: Path) -> tuple[str, str]:
    """The columns that move the answers most and least."""
    columns = sorted(read_reference(open_bundle(bundle)).columns, key=lambda each: each.importance or 0)
    return columns[-1].name, columns[0].name


def test_rows_like_those_of_training_have_not_drifted(
    cancer_bundle: Path, tmp_path: Path, training_rows: Columns
) -> None:
    report = drift_of(cancer_bundle, tmp_path, training_rows)
    assert report.drifted_columns == ()
    assert report.joint is not None
    assert report.joint.p_value is not None
    assert report.joint.p_value > 1e-4
    assert not report.joint.changes.is_alarm
    assert "None of 30 columns" in answer_words(report).en


def test_values_that_repeat_have_not_drifted_from_the_rows_that_they_are(tmp_path: Path) -> None:
    """Counts, ages, and amounts of which many are 0: where a quantile is one of many equal values, the share below it
    is not what the quantile is called."""
    rng = np.random.default_rng(0)
    columns: Columns = {
        "count": rng.poisson(4, NUM_ROWS).astype(float), "age": rng.integers(18, 80, NUM_ROWS).astype(float),
        "amount": np.where(rng.random(NUM_ROWS) < 0.08, 0.0, rng.gamma(2, 10, NUM_ROWS)),
        "tenth": rng.integers(0, 10, NUM_ROWS) / 10,
    }  # fmt: skip
    kinds = dict.fromkeys(columns, "numeric")
    table = columns | {"risk": np.where(columns["count"] > 4, "bad", "good").astype(object)}
    card = make_card(read_table(table), kinds, "risk")
    bundle = build(
        tmp_path / "b", table, target="risk", labels=("good", "bad"), kinds=kinds,
        more_files={"card.json": json.dumps(card).encode()},
    )  # fmt: skip
    log = {f"input.{name}": values for name, values in columns.items()} | {"time": START_S + np.arange(NUM_ROWS)}
    report = drift_of(bundle, tmp_path, log)
    assert {each.name: each.psi for each in report.columns} == pytest.approx(dict.fromkeys(columns, 0.0), abs=1e-9)
    log["input.count"] = log["input.count"] + 1
    assert [each.name for each in drift_of(bundle, tmp_path, log).drifted_columns] == ["count"]


def test_a_log_of_hashes_is_refused(cancer_bundle: Path, tmp_path: Path, training_rows: Columns) -> None:
    hashes = {
        name: [f"{abs(hash(value)):016x}"[:16] for value in values.tolist()] if name.startswith("input.") else values
        for name, values in training_rows.items()
    }
    with pytest.raises(InputError, match="hashes"):
        drift_of(cancer_bundle, tmp_path, hashes)


def test_a_drift_that_touches_the_answers_is_told_apart_from_one_that_does_not(
    cancer_bundle: Path, tmp_path: Path, training_rows: Columns
) -> None:
    first, last = important_and_idle(cancer_bundle)
    moved = {name: training_rows[f"input.{name}"] * 1.25 for name in (first, last)}
    columns = training_rows | {f"input.{name}": values for name, values in moved.items()}
    report = drift_of(cancer_bundle, tmp_path, columns)
    assert {each.name: each.touches_answers for each in report.drifted_columns} == {first: True, last: False}
    assert report.columns[0].name == first
    page = render_page(report, "log", "cancer")
    assert "hardly depend on it" in page
    assert "几乎不影响回答" in page


def test_missing_values_are_drift(cancer_bundle: Path, tmp_path: Path, training_rows: Columns) -> None:
    values = training_rows["input.worst_area"].copy()
    values[::2] = np.nan
    report = drift_of(cancer_bundle, tmp_path, training_rows | {"input.worst_area": values})
    (column,) = report.drifted_columns
    assert column.name == "worst_area"
    assert column.missing_share == pytest.approx(0.5, abs=0.01)  # the window is a day of the log


def test_all_columns_together_are_held_against_earlier_rows(
    cancer_bundle: Path, tmp_path: Path, training_rows: Columns
) -> None:
    columns = dict(training_rows)
    shuffled = columns["input.mean_area"].copy()
    shuffled[-1_000:] = np.random.default_rng(0).permutation(shuffled[-1_000:])  # no column's own shares change
    columns["input.mean_area"] = shuffled
    report = drift_of(cancer_bundle, tmp_path, columns, since_s=60.0 * 999.5)
    assert report.drifted_columns == ()
    assert report.joint is not None
    assert report.joint.p_value is not None
    assert report.joint.p_value < 1e-6
    assert report.joint.changes.is_alarm
    words = joint_words(report)[0]
    assert "mean_area" in words.en
    assert "关系变化：" in words.zh
    assert report.to_dict()["change"]["alarm"]


def test_what_cannot_be_compared_is_said(cancer_bundle: Path, tmp_path: Path, training_rows: Columns) -> None:
    columns = dict(training_rows) | {"input.zip": ["x"] * NUM_ROWS}
    del columns["input.mean_radius"]
    columns["digest"] = ["of another model"] * 3 + columns["digest"][3:]
    report = drift_of(cancer_bundle, tmp_path, columns)
    assert (report.unknown, report.absent, report.num_other_models) == (("zip",), ("mean_radius",), 3)
    assert len(fault_words(report)) == 3
    with pytest.raises(InputError, match=r"no row of the log was answered by.*cancer 1.*--any-version"):
        drift_of(cancer_bundle, tmp_path, columns | {"digest": ["other"] * NUM_ROWS})
    bare = {name: columns[name] for name in ("time", "request_id", "digest")}
    with pytest.raises(InputError, match="none of the columns"):
        drift_of(cancer_bundle, tmp_path, bare)


def test_delayed_labels_are_joined_and_set_the_estimate_right(
    cancer_bundle: Path, tmp_path: Path, training_rows: Columns
) -> None:
    wrong = np.random.default_rng(0).random(NUM_ROWS) < 0.3  # the world has changed, and no input shows it
    others = np.where(training_rows["truth"] == "benign", "malignant", "benign")
    truth = np.where(wrong, others, training_rows["truth"])
    labels = tmp_path / "labels.csv"
    lines = [f"r{number},0,{label}\n" for number, label in enumerate(truth) if number % 4 == 0]
    labels.write_text("request_id,row,label\n" + "".join(lines) + "nobody,0,benign\n")
    blind = drift_of(cancer_bundle, tmp_path, training_rows, since_s=1e6)
    seeing = drift_of(cancer_bundle, tmp_path, training_rows, labels, since_s=1e6)
    accuracy = float((np.array(training_rows["prediction"]) == truth).mean())
    assert blind.performance is not None
    assert seeing.performance is not None
    assert blind.performance.estimated["accuracy"].low > accuracy + 0.1
    assert seeing.performance.estimated["accuracy"].low < accuracy < seeing.performance.estimated["accuracy"].high
    assert seeing.performance.num_labels == NUM_ROWS // 4


@pytest.mark.slow
def test_the_estimate_covers_what_calibrated_probabilities_come_true_as() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(30):
        positive = rng.beta(0.6, 0.6, 400)
        probabilities, truth = np.column_stack([1 - positive, positive]), (rng.random(400) < positive).astype(np.int64)
        answers = (positive >= 0.5).astype(np.int64)
        sample = AnsweredSample(probabilities, answers, np.full(400, -1), np.zeros((400, 0)))
        result = estimate_performance(sample)
        assert result is not None
        figure = result.estimated["accuracy"]
        inside += figure.low <= (answers == truth).mean() <= figure.high
    assert inside >= 22  # of 30 at 90 %: by chance fewer once in a thousand times
    few = AnsweredSample(probabilities[:9], answers[:9], np.full(9, -1), np.zeros((9, 0)))
    assert estimate_performance(few) is None
    assert expected_auc(np.array([1.0, 1.0]), np.array([0.0, 1.0])) == 0.5


def test_a_drift_is_dated_by_the_windows_of_the_log_that_show_it(
    cancer_bundle: Path, tmp_path: Path, training_rows: Columns
) -> None:
    name, idle = important_and_idle(cancer_bundle)
    columns = dict(training_rows)
    late, early = np.arange(NUM_ROWS) >= NUM_ROWS // 2, np.arange(NUM_ROWS) < NUM_ROWS // 4
    columns[f"input.{name}"] = np.where(late, 3.0, 1.0) * columns[f"input.{name}"]
    columns[f"input.{idle}"] = np.where(early, 1.0, 3.0) * columns[f"input.{idle}"]
    since_s = 60.0 * NUM_ROWS / 8  # of the eight windows four show the one, six the other
    report = drift_of(cancer_bundle, tmp_path, columns, since_s=since_s)
    assert {name, idle} <= {each.name for each in report.drifted_columns}
    for moved, share in ((name, 1 / 2), (idle, 1 / 4)):
        assert report.starts[moved].start_s == pytest.approx(START_S + 60.0 * NUM_ROWS * share, abs=120.0)
        assert not report.starts[moved].is_open
    (row,) = [row for row in report.to_dict()["columns"] if row["column"] == name]
    assert row["drifted_since"] == moment_text(report.starts[name].start_s)
    columns[f"input.{name}"] = 3.0 * training_rows[f"input.{name}"]
    assert drift_of(cancer_bundle, tmp_path, columns, since_s=since_s).starts[name] == DriftStart(START_S, is_open=True)


def test_the_document_is_what_expose_reads(cancer_bundle: Path, tmp_path: Path, training_rows: Columns) -> None:
    table = {name: values for name, values in training_rows.items() if name != "truth"}
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    result = CliRunner().invoke(command, [str(cancer_bundle), str(tmp_path / "log.parquet"), "--json"])
    assert result.exit_code == 0, result.output
    columns = json.loads(result.stdout)["columns"]
    assert {"column", "psi", "impact", "drifted"} <= columns[0].keys()
    assert len(columns) == 30


def test_logs_without_rows_are_refused(cancer_bundle: Path, tmp_path: Path, training_rows: Columns) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"no log in .* 0 files"):
        open_logs([empty], ReadLimits(threads=1))
    names = [name for name in training_rows if name != "truth"]
    pq.write_table(pa.table({name: training_rows[name][:0] for name in names}), empty / "none.parquet")
    with pytest.raises(InputError, match=r"no row of .* has a time"):
        open_logs([empty], ReadLimits(threads=1))
    (tmp_path / "empty.ndjson").write_text("")
    with pytest.raises(InputError, match="none with rows in it"):
        open_logs([tmp_path / "empty.ndjson"], ReadLimits(threads=1))
    with pytest.raises(InputError, match=r"the window has no row.*--since"):
        drift_of(cancer_bundle, tmp_path, training_rows, until_s=START_S + 1e7)


def test_labels_of_unknown_requests_are_said(cancer_bundle: Path, tmp_path: Path, training_rows: Columns) -> None:
    names = [name for name in training_rows if name != "truth"]
    pq.write_table(pa.table({name: training_rows[name] for name in names}), tmp_path / "log.parquet")
    labels = tmp_path / "labels.csv"
    labels.write_text("request_id,row,label\nr1,0,benign\nnobody,0,benign\nnor,0,benign\n")
    result = CliRunner().invoke(command, [str(cancer_bundle), str(tmp_path / "log.parquet"), "--labels", str(labels)])
    assert result.exit_code == 0, result.output
    assert "2 of 3 labels are of requests that the log does not have" in " ".join(result.output.split())


def test_labels_of_earlier_rows_set_the_estimate_right(
    cancer_bundle: Path, tmp_path: Path, training_rows: Columns
) -> None:
    """A model that is too sure, as labels of earlier rows say."""
    rng = np.random.default_rng(0)
    wrong = rng.random(NUM_ROWS) < 0.2
    others = np.where(training_rows["truth"] == "benign", "malignant", "benign")
    truth = np.where(wrong, others, training_rows["truth"])
    half = NUM_ROWS // 2
    labels = tmp_path / "labels.csv"
    lines = [f"r{number},0,{truth[number]}\n" for number in range(half)]
    labels.write_text("request_id,row,label\n" + "".join(lines))
    report = drift_of(cancer_bundle, tmp_path, training_rows, labels, since_s=60.0 * (half - 0.5))
    assert report.performance is not None
    assert (report.performance.num_labels, report.performance.num_past_labels) == (0, half)
    accuracy = float((np.array(training_rows["prediction"])[half:] == truth[half:]).mean())
    assert report.performance.estimated["accuracy"].value == pytest.approx(accuracy, abs=0.05)
    assert f"{half:,} earlier rows" in " ".join(line.en for line in performance_words(report))
