"""The console's part of drift: which columns, how far, since when; and what to do where nobody has measured."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepseek.observe.drift.console import (
    DriftPage,
    InputDrift,
    MovedColumn,
    draw_drift,
    drift_of_events,
    read_document,
)
from deepseek.serve import Settings
from deepseek.serve.core.request import Request

NOW_S = 1_793_440_800.0
DAY_S = 86_400.0


def row(name: str, psi: float | None, *, matters: bool = False) -> dict[str, Any]:
    since = {"drifted_since": "2026-10-20 00:00:00 UTC", "drifted_before_log": matters} if (psi or 0) > 0.25 else {}
    return {"column": name, "psi": psi, "drifted": bool(since), "touches_answers": matters, **since}


def document(**changed: Any) -> dict[str, Any]:
    rows = [row("idle", 0.9), row("income", 0.4, matters=True), row("age", 0.01), row("free text", None)]
    return {
        "since": "2026-10-30 00:00:00 UTC", "until": "2026-10-31 00:00:00 UTC", "num_rows": 12_345, "columns": rows,
        "digest": "d1",
    } | changed  # fmt: skip


def write(folder: Path, content: Any) -> Path:
    path = folder / "loans.drift.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_document_tells_columns_that_matter_first_and_its_window(tmp_path: Path) -> None:
    drift = read_document("loans", write(tmp_path, document()), "d1")
    assert [column.name for column in drift.columns] == ["income", "idle", "age"]
    assert [column.name for column in drift.drifted_columns] == ["income", "idle"]
    assert drift.start_s is not None
    html = str(draw_drift([drift], drift.start_s + 1.5 * DAY_S, has_log=True))
    assert "2 of 3 columns have drifted; the answers depend on 1 of them." in html
    assert "3 列中有 2 列发生漂移，其中 1 列影响回答。" in html
    assert "12,345 rows from" in html
    assert html.count("(2026-10-20 00:00 UTC) or before") == 1
    assert "2026-10-31 00:00 UTC" in html
    assert "measure again" not in html


def test_a_document_of_another_version_or_of_long_ago_says_so(tmp_path: Path) -> None:
    drift = read_document("loans", write(tmp_path, document()), "d2")
    assert drift.end_s is not None
    html = str(draw_drift([drift], drift.end_s + 30 * DAY_S, has_log=True))
    assert "Another version was measured" in html
    assert "These rows are old" in html


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"columns": 3}', json.dumps(document(since="soon"))])
def test_a_document_that_cannot_be_read_is_told_and_stops_nothing(content: str, tmp_path: Path) -> None:
    drift = read_document("loans", write(tmp_path, content), "d1")
    assert (drift.problem, drift.columns) == ("unreadable", ())
    assert "cannot be read" in str(draw_drift([drift], NOW_S, has_log=True))


def figures(**changed: Any) -> Any:
    plain = {"feature_psi": {"amount": 0.6, "hour": 0.15, "age": 0.02}, "num_sampled": 4_096,
             "feature_since_s": {"amount": NOW_S - 3_600}, "sampled_since_s": NOW_S - 7_200}  # fmt: skip
    return SimpleNamespace(**plain | changed)


def test_events_tell_since_when_a_column_has_moved() -> None:
    html = str(draw_drift([drift_of_events("cards", figures(), NOW_S)], NOW_S, has_log=False))
    assert "1 of 3 columns has drifted." in html
    assert "1 h 0 min ago" in html
    assert "or before" not in html
    assert "moves: look" in html
    assert "4,096 events since 2 h 0 min ago" in html
    before = figures(feature_since_s={"amount": NOW_S - 7_200})
    assert "or before" in str(draw_drift([drift_of_events("cards", before, NOW_S)], NOW_S, has_log=False))


def test_few_events_are_no_drift_and_no_calm() -> None:
    few = drift_of_events("cards", figures(feature_psi={}, num_sampled=12, feature_since_s={}), NOW_S)
    html = str(draw_drift([few], NOW_S, has_log=False))
    assert "too few events to say" in html
    assert "none of" not in html


def test_where_nobody_measured_it_says_what_to_do() -> None:
    none = read_document("loans", Path("nowhere.drift.json"), "d1")
    html = str(draw_drift([none], NOW_S, has_log=False))
    assert "Nobody has measured the drift of loans." in html
    assert "deepseek serve BUNDLE" in html
    assert "predictions/loans.drift.json" in html
    assert "deepseek serve BUNDLE" not in str(draw_drift([none], NOW_S, has_log=True))


def test_a_name_is_text_and_no_markup() -> None:
    hostile = InputDrift("<img src=x>", "events", (MovedColumn("<b>", 1.0, is_drifted=True),), 600)
    html = str(draw_drift([hostile, InputDrift("<i>", "none")], NOW_S, has_log=False))
    assert "<img" not in html
    assert "<b>" not in html
    assert "<i>" not in html


def test_a_model_that_has_drifted_comes_first_and_numbers_come_with_the_page() -> None:
    calm = InputDrift("a", "document", (MovedColumn("x", 0.0, is_drifted=False),), 10, NOW_S, NOW_S)
    moved = drift_of_events("z", figures(), NOW_S)
    answer = json.loads(
        DriftPage(lambda: [calm, moved], has_log=False)(Request("GET", "/v1/drift", {}, Settings())).body
    )
    assert answer["html"].index(">z<") < answer["html"].index(">a<")
    assert [(each["model"], each["num_drifted"]) for each in answer["models"]] == [("a", 0), ("z", 1)]
    assert answer["models"][1]["columns"][0] == {
        "name": "amount", "psi": 0.6, "is_drifted": True, "since_s": NOW_S - 3_600, "is_open": False, "matters": None
    }  # fmt: skip
