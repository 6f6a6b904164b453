"""The report in Chinese: evidence, notes and reasons that are kept in English have no English left over on the page."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.automl.tabular_pack import BASELINE_TITLES
from deepseek.explain import explainer_for, global_report, row_reports
from deepseek.explain.evaluation.records import FaithfulnessReport, SkippedFaithfulness
from deepseek.explain.evaluation.sample_faithfulness import NO_SENSITIVITY_NOTE
from deepseek.explain.media.serialize import part_notes
from deepseek.explain.report.page import write_report
from deepseek.explain.shapley.partition import OwenValues
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.nn.dense import Linear
from deepseek.nn.model import Model, Part
from deepseek.train.candidates import BUILT_IN
from support.pages.chinese import english_left_over, english_words

COLUMNS = ["debt", "age", "income"]
WARNINGS = (
    "there are 20 test rows: figures of fewer than 30 may be far from those in use",
    (
        "column 'id' was left out: it counts the rows (400 values in 400 rows), which says nothing of a new one; to "
        "use it as a category: kinds={'id': 'integer_category'} (in the shell --kind id=integer_category)"
    ),
    (
        "rows are dated by 'day', but they are split at random: figures may promise too much; split by time:day "
        "(in the shell --split time:day) to test on later rows, as in use"
    ),
    (
        "column 'age' alone nearly tells the target 'late': it gives the class of 99.8% of the rows, each class "
        "weighing the same; leave it out (drop=['age']; in the shell --drop age) unless it is known before "
        "the target is"
    ),
    (
        "whether 'note' is there tells the class (balanced accuracy 0.98 by that alone; there in 0%, 97% of the rows "
        "of each class); leave 'note' out (--drop), or bring rows of every class that have it"
    ),
)
FORMATS = (
    "column 'debt' is read as numbers: '$1,499' is 1499; '?' count as missing; its commas could be decimal commas, too",
    "column 'debt' is read as numbers: '33%' is 33; 2 of 90 cells are no numbers and count as missing: '!'",
    "column 'day' is read as dates: '13/01/2020' is 2020-01-13; 1 of 90 cells are no dates and count as missing: '!'",
    (
        "column 'day' is read as dates: '3/4/2020' is 2020-03-04; nothing in it tells the day from the month: the "
        "month is taken to come first"
    ),
    "column 'debt' stays text: 9 of 90 cells are no numbers: '!'; mend them, or name the words that mean missing",
    "column 'debt' has 999 in 12 rows, far from all others; if it means not known, say --missing 999",
    "column 'debt': 999 counts as missing",
    (
        "column 'debt': 999 count as missing; 999 stands in 12 rows, far from all others; to keep it as a number: "
        "kinds={'debt': 'numeric'} (in the shell --kind debt=numeric)"
    ),
    "column 'debt': 999 stands in 12 rows, far from all others; if it means not known, say --missing 999",
    (
        "column 'debt' stays text: 9 of 90 cells are no numbers: '!'; mend them, or name the words that mean missing "
        "(missing=[...]; in the shell --missing WORD)"
    ),
    "column 'debt': 2 cells cannot be read as training was and count as missing: '!'",
    (
        "column 'id' is read, though it names groups of rows (120 values in 400 rows): where new rows are of groups "
        "that training did not have, split='group:id' (in the shell --split group:id) leaves it out and measures that"
    ),
    (
        "column 'id' was left out: it names groups of rows (300 values in 900 rows), more than a category has levels; "
        "split by group:id where new rows are of new ones; to use it as a category: kinds={'id': 'integer_category'} "
        "(in the shell --kind id=integer_category)"
    ),
    (
        "the target 'late' is the sum of the columns 'debt' and 'age' (R² 1.00000 over 400 rows, with equal weights); "
        "leave them out (drop=['debt', 'age']; in the shell --drop debt --drop age) unless both are known before the "
        "target is"
    ),
    (
        "column 'note' has a value in 120 rows, 120 of them of the class 'yes' of 'late', as if filled in after it; "
        "leave it out (drop=['note']; in the shell --drop note) unless it is known before the target is"
    ),
    (
        "column 'age' alone parts all 28 rows by the classes of 'late', which would happen by chance in 5e-08 of such "
        "tables; leave it out (drop=['age']; in the shell --drop age) unless it is known before the target is"
    ),
)  # fmt: skip
NOTES = (
    "there are so few columns, and orders of them, that hardly one lies beyond 95 % of random ones",
    "only the first 3 of 5 rows were measured, to keep to the time limit",
    "nearest rows were looked for among 5,000 of 280,000 training rows",
    "no counterfactual: the model predicts a value, not a class",
    "the model was not shuffled, to keep to the time limit",
    NO_SENSITIVITY_NOTE,
)
NAMES = {
    *COLUMNS, "yes", "no", "late", "loans", "note", "day", "id", "time", "drop=", "kinds=", "integer_category",
    "numeric", "group", "missing=", "split",
}  # fmt: skip


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def evidence() -> dict[str, Any]:
    families = [candidate.name for candidate in BUILT_IN]
    return {
        "metrics": {
            "num_rows": 143, "metrics": {"auc": figure(0.98)}, "baseline": {"auc": figure(0.97)},
            "baseline_name": f"{next(iter(BASELINE_TITLES.values()))} with its defaults, the same rows",
        },
        "search": {
            "trials": [{"number": i, "family": name, "loss": 0.2, "fit_cpu_s": 0.5} for i, name in enumerate(families)],
            "yardstick": {"family": families[0], "held_loss": 0.15},
        },
        "data": {"warnings": [*WARNINGS, *FORMATS]},
    }  # fmt: skip


def page(trust: FaithfulnessReport | SkippedFaithfulness) -> str:
    """A report of a linear model of three columns."""
    features = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    linear = Linear(np.array([[1.0], [2.0], [-1.0]]), np.zeros(1), features.mean(axis=0).astype(np.float64))
    explainer = explainer_for(Model("binary", ("no", "yes"), "log-odds", (Part("linear", linear),)), COLUMNS)
    records: list[dict[str, Any]] = [dict(zip(COLUMNS, row, strict=True)) for row in features.tolist()]
    rows = row_reports(explainer.explain(features[:2]), records[:2])
    return write_report(None, global_report(explainer, features, records), rows, evidence=evidence(), trust=trust)  # type: ignore[arg-type]


def test_evidence_and_notes_have_no_english_left_over() -> None:
    report = FaithfulnessReport(
        rows=(), randomization=(), num_rows=0, num_others=20, others_of="the typical record of the bundle",
        second="KernelSHAP by masking columns, above 64 leaving out one at a time", num_evaluations=100, seconds=1.0,
        seed=0, limit_s=10.0, notes=NOTES,
    )  # fmt: skip
    assert english_left_over(page(report), NAMES) == {}


def test_what_a_limit_left_undone_is_said_in_chinese() -> None:
    owen = OwenValues(np.zeros(2), np.zeros(2), base=0.5, output=0.5, regions=(), num_evaluations=512, is_partial=True)
    notes = [in_both_languages(note).zh for note in part_notes(owen)]
    assert notes[0] == "不完整：在达到所要求的误差之前已到上限，共计算 512 次"
    assert [word for note in notes for word in english_words(note)] == []


def test_names_out_of_the_data_stay_as_they_are() -> None:
    assert in_both_languages("no group of 'linear' has 30 rows to test on: there are no figures by 'linear'").zh == (
        "'linear' 没有任何分组有 30 行测试数据：不给出按 'linear' 的指标"
    )
    assert in_both_languages("text has learned from 3 of these 9 rows, which flatters it: give rows that no bundle has "
                             "seen").zh.startswith("text 已从")  # fmt: skip


def test_why_nothing_was_measured_is_said_in_chinese() -> None:
    html = page(SkippedFaithfulness(None, 42.0, "it would take more than 10 s"))
    assert "原因：预计用时超过 10 秒。" in html
    assert english_left_over(html, NAMES) == {}
