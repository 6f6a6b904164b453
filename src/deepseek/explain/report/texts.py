"""`explain` of a text model: what each token and sentence of its texts has added to the answers.

explain_text_model("./my-classifier", read_table("letters.csv"), (3,)).rows[0].parts[0]["sentences"]

The object is that of a table's bundle (bundle.py) with one column, "text".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deepseek.contracts import Attribution, Prediction
from deepseek.engines.checks.finite import check_attribution
from deepseek.engines.text import TextEngine, TextModel, describe
from deepseek.errors import InputError
from deepseek.explain.evaluation.records import FaithfulnessReport
from deepseek.explain.evaluation.text_faithfulness import text_faithfulness
from deepseek.explain.media.texts import TEXT_COLUMN, TextExplainer
from deepseek.explain.records import AblationCheck, GlobalReport, PartDocument, RowReport
from deepseek.explain.report import page
from deepseek.explain.report.document import ModelProvenance
from deepseek.explain.report.explanation import Findings
from deepseek.explain.report.summary import importance_entries, leading_columns, mean_abs, row_reports
from deepseek.explain.shapley.partition import Budget
from deepseek.explain.tabular.additivity import additivity
from deepseek.explain.tabular.reasons import part_reasons
from deepseek.plugins import did_you_mean

if TYPE_CHECKING:
    from deepseek.data import Table

NUM_REASONS = 4
METHOD_REASON = "the answers without some of the tokens tell what each has added, whatever the model computes"
ABLATION_SKIPPED = AblationCheck(passes=None, why="each contribution is made of answers without the token")


def is_text_model(path: str | Path) -> bool:
    """Whether a folder holds a text model rather than a bundle."""
    place = Path(path)
    return place.is_dir() and not (place / "bundle.json").is_file() and describe(place).kind == "text"


def explain_text_model(
    path: str | Path,
    table: Table,
    rows: Sequence[int],
    *,
    target: str | None = None,
    budget: Budget | None = None,
    with_faithfulness: bool = False,
    limit_s: float | None = None,
) -> Findings:
    """Findings of the text model in a folder on the texts of `rows`: what their tokens add, each within `budget`, and
    where it is wanted their faithfulness within `limit_s`.

    InputError where there is no column "text", or for a class that is not there.
    """
    model = TextModel.open(path)
    texts = _read_texts(table, rows)
    began_s = perf_counter()
    engine = TextEngine.open(path)
    open_s = perf_counter() - began_s
    try:
        explainer = TextExplainer(model, engine.run, budget)
        tokens = model.prepare(texts)
        labels, answers = _predict_texts(model, [engine.run(model.join([row])) for row in tokens], tokens)
        targets = labels if target is None and len(model.labels) > 2 else [target] * len(texts)
        attributions = [explainer.explain([text], target=label) for text, label in zip(texts, targets, strict=True)]
        for row, attribution in zip(rows, attributions, strict=True):
            check_attribution(attribution, [row], model=model.path.name)
        reports = tuple(_explain_row(*row) for row in zip(rows, texts, answers, attributions, strict=True))
        faithfulness = None
        if with_faithfulness:
            rows_explained = [report.explanation() for report in reports]
            faithfulness = text_faithfulness(
                explainer, model.path, rows_explained, limit_s=limit_s, open_s=open_s, target=target
            )
    finally:
        engine.close()
    num_evaluations = sum(part["num_evaluations"] for row in reports for part in row.parts or ())
    if isinstance(faithfulness, FaithfulnessReport):
        num_evaluations += faithfulness.num_evaluations
    return Findings(
        model=ModelProvenance(Path(path).resolve().name, model.digest, "text"),
        report=replace(_global_report(attributions), num_rows_given=table.num_rows), rows=reports, page_rows=reports,
        why=METHOD_REASON, num_evaluations=num_evaluations, faithfulness=faithfulness,
    )  # fmt: skip


def _explain_row(row_id: int, text: str, answer: str, attribution: Attribution) -> RowReport:
    """The report of one text, whose reasons are its tokens."""
    (report,) = row_reports(attribution, [{TEXT_COLUMN: text}])
    return replace(
        report, row_id=row_id, prediction=answer, contributions={TEXT_COLUMN: float(attribution.values[0, 0])},
        reasons=tuple(part_reasons(attribution, 0, NUM_REASONS)),
        reasons_zh=tuple(part_reasons(attribution, 0, NUM_REASONS, "zh")),
        parts=tuple(cast("PartDocument", {"text": text, **part}) for part in attribution.parts[0]),
    )  # fmt: skip


def _read_texts(table: Table, rows: Sequence[int]) -> list[str]:
    if TEXT_COLUMN not in table.names:
        raise InputError(
            f"the data has no column {TEXT_COLUMN!r}{did_you_mean(TEXT_COLUMN, table.names)}",
            expected=f"a column {TEXT_COLUMN!r}, which a text model reads",
            fix=f"rename the column of texts to {TEXT_COLUMN!r}",
        )  # fmt: skip
    records = table.take(np.array(rows)).records()
    for row, record in zip(rows, records, strict=True):
        if not isinstance(record[TEXT_COLUMN], str):
            raise InputError(
                f"row {row} has no text", expected="a text; an empty cell is none", fix="leave the row out"
            )
    return [record[TEXT_COLUMN] for record in records]


def _predict_texts(
    model: TextModel, outputs: Sequence[Any], tokens: Sequence[Any]
) -> tuple[list[str | None], list[str]]:
    """The class of each text, and its answer in words."""
    if not model.labels:
        return [None] * len(outputs), ["an embedding"] * len(outputs)
    shares = np.concatenate([model.probabilities(each, [row]) for each, row in zip(outputs, tokens, strict=True)])
    labels = np.asarray(model.labels)[shares.argmax(1)]
    return list(labels.tolist()), page.format_answers(Prediction(model.labels, labels, shares.astype(np.float32)))


def _global_report(attributions: Sequence[Attribution]) -> GlobalReport:
    """The report of all texts that were explained, each by an attribution of one row."""
    first, targets = attributions[0], {attribution.target for attribution in attributions}
    values, base, output = (
        np.concatenate([getattr(attribution, name) for attribution in attributions])
        for name in ("values", "base_value", "output")
    )
    joined = Attribution(first.names, values, base, output, first.scale, first.method, first.target)
    return GlobalReport(
        method=first.method, scale=first.scale, target=first.target if len(targets) == 1 else None,
        base_value=float(base.mean()), num_rows=len(attributions),
        importance=importance_entries(joined, mean_abs(joined), np.array([0])), by_class={},
        leading=leading_columns(joined), additivity=additivity(joined), ablation=ABLATION_SKIPPED,
    )  # fmt: skip
