"""The explanation of a bundle as an object: fields, keys, JSON, text and a notebook's excerpt say the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from deepseek.explain import BundleExplanation
from deepseek.explain.records import (
    AblationCheck,
    AdditivityCheck,
    AnswerDistribution,
    ColumnImportance,
    CounterfactualReport,
    RowExplanation,
)
from deepseek.explain.report.explanation import BatchSummary
from deepseek.results import Result

HOSTILE = "<script>document.title='owned'</script>"


@pytest.fixture
def explanation() -> BundleExplanation:
    row = RowExplanation(
        row_id=3, prediction="yes (0.9)", target="yes", scale="log-odds", base_value=0.0,
        contributions={HOSTILE: 1.5, "age": -0.5}, output=1.0, residual=0.0, adds_up=True,
        reasons=(f"{HOSTILE} = 2 raises the log-odds of yes by 1.50",), reasons_zh=("…",),
    )  # fmt: skip
    return BundleExplanation(
        warnings=(), bundle="loans", digest="ab" * 32, num_rows=40, num_rows_explained=40, method="linear",
        scale="log-odds", target="yes", importance=(ColumnImportance(HOSTILE, 1.5, 0.75, 1.5),), by_class={},
        additivity=AdditivityCheck(0.0, 0.0, 0.0, 1e-3, 40, True),
        ablation=AblationCheck(passes=None, why="it needs two rows and two columns"), rows=(row,),
        batch=BatchSummary(AnswerDistribution(quantiles={"0.5": 1.0}), ()),
    )  # fmt: skip


def test_it_reads_by_attribute_by_key_and_as_json_alike(explanation: BundleExplanation) -> None:
    document = explanation.to_dict()
    assert isinstance(explanation, Mapping)
    assert isinstance(explanation, Result)
    assert explanation == document
    assert list(explanation) == list(document)
    assert explanation["explanations"][0]["values"]["age"] == explanation.rows[0].contributions["age"] == -0.5
    assert document["summary"] == {"answers": {"quantiles": {"0.5": 1.0}}, "leading": []}
    assert document["ablation"] == {"passes": None, "why": "it needs two rows and two columns"}
    assert not {"layers", "trust", "provenance"} & document.keys()
    with pytest.raises(KeyError):
        explanation["provenance"]


def test_the_text_begins_with_what_does_not_add_up(explanation: BundleExplanation) -> None:
    text = replace(explanation, warnings=("row 3 does not add up",)).summary().splitlines()
    assert text[:2] == ["WARNING: row 3 does not add up", "Mean influence on the log-odds of yes, over 40 rows"]
    assert "row 3: yes (0.9); 0 at the start, +1.00 in all" in text


def test_a_notebook_runs_nothing_of_the_data(explanation: BundleExplanation) -> None:
    html = explanation._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "75.0 %" in html


def test_words_of_python_are_keys_in_json() -> None:
    report = CounterfactualReport(changes={"age": [20, 60]}, from_class="no", to_class="yes", num_predicted=5)
    assert report.to_dict() == {"changes": {"age": [20, 60]}, "from": "no", "to": "yes", "num_predicted": 5}
