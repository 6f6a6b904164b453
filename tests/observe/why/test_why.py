"""Causes of a window against its past: a slice that became worse is named, and nothing is where nothing changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from deepseek.cli.observe.why import command
from deepseek.errors import InputError
from deepseek.observe.reading.clocks import set_clocks_right
from deepseek.observe.reading.tables import ReadLimits, open_logs
from deepseek.observe.why.causes import Findings, find_causes
from deepseek.observe.why.page import render_page
from deepseek.observe.why.report import make_report
from deepseek.observe.why.scoring import SliceCounts, bound_false_discoveries, score_slices
from deepseek.observe.why.windows import WindowChoice, parse_duration
from deepseek.observe.why.words import action_words, condition_words

pytest.importorskip("duckdb")
START_S, NUM_ROWS, PAST_S = 1_767_225_600.0, 14_000, 6_000.0
Columns = dict[str, Any]


def clean_columns(seed: int = 0) -> Columns:
    """A log of 110 minutes: tenant t1 fails at all times, tenants and hosts are asked unevenly."""
    rng = np.random.default_rng(seed)
    time = START_S + np.sort(rng.random(NUM_ROWS)) * (PAST_S + 600)
    tenant = rng.choice([f"t{number}" for number in range(8)], NUM_ROWS, p=np.array([8, 7, 6, 5, 4, 3, 2, 1]) / 36)
    status = np.where(rng.random(NUM_ROWS) < np.where(tenant == "t1", 0.1, 0.005), 503, 200)
    return {
        "time": time, "request_id": [f"r{number}" for number in range(NUM_ROWS)], "status": status,
        "client": tenant, "host": rng.choice(["a", "b", "c"], NUM_ROWS), "version": np.full(NUM_ROWS, "7"),
        "input.amount": rng.lognormal(5, 1, NUM_ROWS), "input.age": rng.normal(40, 10, NUM_ROWS).round(),
        "duration_s": rng.lognormal(-5, 0.3, NUM_ROWS),
    }  # fmt: skip


def in_window(columns: Columns) -> np.ndarray:
    return np.asarray(columns["time"] >= START_S + PAST_S)


def causes_of(tmp_path: Path, columns: Columns, **options: Any) -> Findings:
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    with open_logs([tmp_path / "log.parquet"], ReadLimits(threads=1)) as logs:
        return find_causes(logs, WindowChoice(600.0), **options)


def named(findings: Findings) -> list[dict[str, str]]:
    return [{each.field: each.value or each.kind for each in cause.conditions} for cause in findings.causes]


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_named_where_nothing_changed(tmp_path: Path, seed: int) -> None:
    assert named(causes_of(tmp_path, clean_columns(seed))) == []


def test_the_tenant_that_became_worse_is_named_and_not_the_one_that_always_was_bad(tmp_path: Path) -> None:
    columns = clean_columns()
    rng = np.random.default_rng(5)
    columns["status"][in_window(columns) & (columns["client"] == "t4") & (rng.random(NUM_ROWS) < 0.5)] = 503
    findings = causes_of(tmp_path, columns)
    assert named(findings)[0] == {"client": "t4"}
    assert findings.causes[0].evidence[0].rate == pytest.approx(0.5, abs=0.15)


def test_a_text_where_a_number_should_stand_is_named(tmp_path: Path) -> None:
    columns = clean_columns()
    amount = columns["input.amount"].astype(str).astype(object)
    worse = in_window(columns) & (np.random.default_rng(5).random(NUM_ROWS) < 0.1)
    amount[worse] = "broken"
    columns["status"][worse] = 422
    [cause, *others] = causes_of(tmp_path, columns | {"input.amount": amount}).causes
    assert [(each.field, each.kind, each.value) for each in cause.conditions] == [("input.amount", "is", "broken")]
    assert all(each.echo_of for each in others)
    amount[worse] = [f"{number} EUR" for number in range(worse.sum())]  # a text of its own in each row
    [cause, *others] = causes_of(tmp_path, columns | {"input.amount": amount}).causes
    assert [(each.field, each.kind) for each in cause.conditions] == [("input.amount", "text")]
    assert condition_words(cause.conditions[0]).en == "amount is no number"


def test_a_burst_is_not_told_as_what_comes_each_minute(tmp_path: Path) -> None:
    columns = clean_columns()
    since_s = columns["time"] - START_S - PAST_S
    burst = (since_s >= 305) & (since_s < 325)
    columns["status"][burst] = 503
    fields = [condition.field for cause in causes_of(tmp_path, columns).causes for condition in cause.conditions]
    assert "second of the minute" not in fields
    columns = clean_columns()
    each_minute = in_window(columns) & (np.mod(columns["time"], 60) >= 5) & (np.mod(columns["time"], 60) < 15)
    columns["status"][each_minute] = 503
    assert list(named(causes_of(tmp_path, columns))[0]) == ["second of the minute"]


def test_what_slows_all_rows_is_not_told_as_a_range_that_nearly_all_are_in(tmp_path: Path) -> None:
    columns = clean_columns()
    rng = np.random.default_rng(7)
    columns["input.size"] = rng.normal(0, 1, NUM_ROWS)
    slow = in_window(columns) & (rng.random(NUM_ROWS) < 0.06) & (columns["input.size"] > -1.5)  # by chance none there
    columns["duration_s"][slow] *= 8
    findings = causes_of(tmp_path, columns)
    assert findings.causes[0].conditions == ()


def test_what_was_refused_before_it_came_to_a_worker_is_no_fault_of_a_missing_worker(tmp_path: Path) -> None:
    columns = clean_columns()
    worker = np.random.default_rng(3).choice(["1", "2"], NUM_ROWS).astype(object)
    refused = in_window(columns) & (columns["client"] == "t4")
    columns["status"][refused] = 422
    worker[refused] = None
    findings = causes_of(tmp_path, columns | {"worker": worker})
    assert named(findings)[0] == {"client": "t4"}
    assert "worker" not in {condition.field for cause in findings.causes for condition in cause.conditions}


def test_a_wide_slice_that_holds_the_rows_of_a_narrow_one_is_no_cause_of_its_own(tmp_path: Path) -> None:
    columns = clean_columns()
    worse = in_window(columns) & (columns["client"] == "t4")
    columns["status"][worse & (np.random.default_rng(5).random(NUM_ROWS) < 0.5)] = 503
    findings = causes_of(tmp_path, columns)
    failed = [each for each in findings.causes if each.evidence[0].badness.kind == "failed"]
    assert [[one.field for one in each.conditions] for each in failed] == [["client"]]


def test_two_conditions_are_named_where_they_hold_together_alone(tmp_path: Path) -> None:
    columns = clean_columns()
    both = in_window(columns) & (columns["client"] == "t0") & (columns["host"] == "b")
    columns["status"][both & (np.random.default_rng(5).random(NUM_ROWS) < 0.8)] = 503
    assert named(causes_of(tmp_path, columns))[0] == {"client": "t0", "host": "b"}


def test_a_range_of_an_input_is_named_with_its_ends_and_when_it_began(tmp_path: Path) -> None:
    columns = clean_columns()
    began_s = START_S + PAST_S + 200
    columns["duration_s"][(columns["time"] >= began_s) & (columns["input.amount"] > 300)] *= 8
    cause = causes_of(tmp_path, columns).causes[0]
    (condition,) = cause.conditions
    assert (condition.field, condition.high) == ("input.amount", None)
    assert condition.low == pytest.approx(300, rel=0.25)
    assert cause.began_s == pytest.approx(began_s, abs=20)


def test_a_new_version_is_named_where_it_answers_everything(tmp_path: Path) -> None:
    columns = clean_columns()
    columns["version"] = np.where(in_window(columns), "8", "7")
    columns["status"][in_window(columns) & (np.random.default_rng(5).random(NUM_ROWS) < 0.2)] = 500
    findings = causes_of(tmp_path, columns)
    assert named(findings)[0] == {"version": "8"}
    assert action_words(findings.causes[0]).en == "Roll version 8 back."


def test_an_old_version_is_not_to_be_rolled_back(tmp_path: Path) -> None:
    columns = clean_columns()
    columns["version"] = np.where(np.random.default_rng(6).random(NUM_ROWS) < 0.5, "8", "7")
    old = in_window(columns) & (columns["version"] == "7")
    columns["status"][old & (np.random.default_rng(5).random(NUM_ROWS) < 0.4)] = 500
    cause = causes_of(tmp_path, columns).causes[0]
    assert [each.value for each in cause.conditions] == ["7"]
    assert "Roll" not in action_words(cause).en


def test_what_is_bad_can_be_said(tmp_path: Path) -> None:
    columns = clean_columns()
    columns["input.age"][in_window(columns) & (columns["host"] == "c")] += 70
    findings = causes_of(tmp_path, columns, bad='"input.age" > 90')
    assert named(findings)[0] == {"host": "c"}
    with pytest.raises(InputError, match=r"--bad 'nonsense >' cannot be used.*columns time"):
        causes_of(tmp_path, columns, bad="nonsense >")


def test_an_expression_reads_no_file(tmp_path: Path) -> None:
    pq.write_table(pa.table(clean_columns()), tmp_path / "log.parquet")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    expression = f"(SELECT count(*) FROM read_csv('{tmp_path / 'secret.csv'}')) > 0"
    result = CliRunner().invoke(command, [str(tmp_path / "log.parquet"), "--bad", expression])
    assert isinstance(result.exception, InputError)


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    columns = {name: values[:20] for name, values in clean_columns().items()}
    with pytest.raises(InputError, match=r"has 20 rows in the window, which begins at .* UTC.*at least 30"):
        causes_of(tmp_path, columns)
    columns = {name: values[-300:] for name, values in clean_columns().items()}
    with pytest.raises(InputError, match=r"has 0 rows before the window, which begins at .* UTC.*a shorter --since"):
        causes_of(tmp_path, columns)
    with pytest.raises(InputError, match="no span"):
        parse_duration("10 x")


def doubts_of(tmp_path: Path, columns: Columns, **choice: Any) -> str:
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    with open_logs([tmp_path / "log.parquet"], ReadLimits(threads=1)) as logs:
        set_clocks_right(logs)
        return " ".join(note.en for note in make_report(logs, find_causes(logs, WindowChoice(600.0, **choice))).notes)


def test_a_host_that_is_not_in_the_window_is_named(tmp_path: Path) -> None:
    columns = clean_columns()
    assert "answered shortly before" not in doubts_of(tmp_path, columns)
    columns["host"] = np.where(columns["host"] == "c", "b", columns["host"])  # of two, nobody can say which is right
    columns["time"] = columns["time"] + np.where(columns["host"] == "b", 1_800, 0)
    assert "no row of a, which answered shortly before" in doubts_of(tmp_path, columns)


def test_rows_of_the_future_are_counted_and_not_dropped_in_silence(tmp_path: Path) -> None:
    columns = clean_columns()
    now_s = START_S + PAST_S + 500
    num_later = int((columns["time"] > now_s).sum())
    assert f"{num_later:,} rows are later" in doubts_of(tmp_path, columns, now_s=now_s)
    assert "rows are later" not in doubts_of(tmp_path, columns, now_s=now_s, until_s=now_s)


def test_what_the_past_is_too_short_for_is_said(tmp_path: Path) -> None:
    columns = clean_columns()
    chosen = in_window(columns) | (np.cumsum(~in_window(columns)) <= 60)
    short = {name: np.asarray(values)[chosen] for name, values in columns.items()}
    short["time"] = np.maximum(short["time"], START_S + PAST_S - 300)
    assert "60 rows with duration_s, and 100 are needed: late answers" in doubts_of(tmp_path, short)
    assert "are needed" not in doubts_of(tmp_path, columns)


def test_a_class_that_is_a_number_is_the_same_with_and_without_its_point(tmp_path: Path) -> None:
    columns = clean_columns()
    rng = np.random.default_rng(6)
    columns["prediction"] = rng.choice(["0", "1"], NUM_ROWS)
    wrong = in_window(columns) & (columns["host"] == "c") & (rng.random(NUM_ROWS) < 0.5)
    columns["label"] = np.where((columns["prediction"] == "1") ^ wrong, "1.0", "0.0")
    findings = causes_of(tmp_path, columns)
    assert named(findings)[0] == {"host": "c"}
    assert findings.causes[0].evidence[0].badness.kind == "wrong"


def test_the_page_and_json_say_cause_action_and_rows(tmp_path: Path) -> None:
    columns = clean_columns()
    columns["client"] = np.where(columns["client"] == "t4", "<b>t4</b>", columns["client"])
    worse = in_window(columns) & (columns["client"] == "<b>t4</b>")
    columns["status"][worse & (np.random.default_rng(5).random(NUM_ROWS) < 0.5)] = 503
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    with open_logs([tmp_path / "log.parquet"], ReadLimits(threads=1)) as logs:
        report = make_report(logs, find_causes(logs, WindowChoice(600.0)))
    cause = json.loads(json.dumps(report.to_dict()))["causes"][0]
    assert cause["conditions"] == [{"field": "client", "kind": "is", "value": "<b>t4</b>"}]
    assert "limit its rate" in cause["action"]
    assert {row["status"] for row in cause["examples"]} == {"503"}
    page = render_page(report, "log.parquet")
    assert "<b>t4</b>" not in page
    assert "限制其速率" in page


def test_the_command_prints_one_object(tmp_path: Path) -> None:
    pq.write_table(pa.table(clean_columns()), tmp_path / "log.parquet")
    result = CliRunner().invoke(
        command, [str(tmp_path / "log.parquet"), "--json", "--html", str(tmp_path / "why.html")]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["causes"] == []
    assert "No cause stands out" in (tmp_path / "why.html").read_text()


def test_the_score_is_the_log_likelihood_ratio_that_can_be_computed_by_hand() -> None:
    one = np.array([[10.0, 10.0, 10.0, 10.0]])
    counts = SliceCounts(
        np.array([100.0]), np.array([50.0]), np.array([[10.0, 10.0, 10.0, 10.0, 10.0]]), one * 10, one, 100.0, 50.0,
        one[0] * 10, one[0],
    )  # fmt: skip
    scores = score_slices(counts)
    assert scores.score[0] == pytest.approx(100 * (0.5 * np.log(0.5 / 0.1) + 0.5 * np.log(0.5 / 0.9)))
    assert scores.excess[0] == pytest.approx(40)
    assert scores.p_value[0] < 1e-6
    assert bound_false_discoveries(np.array([0.9, 0.8]), 0.01) == 0.0
