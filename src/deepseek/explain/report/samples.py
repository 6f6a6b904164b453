"""`explain` of a bundle that reads files and texts: which columns matter, why single rows were answered as they were.

explain_samples(runtime, table, (17,), root=Path("scans")).rows[0].contributions      {"scan": 0.8, ...}

The object and the page are those of a table's bundle (bundle.py); what a column is, and how it is taken away, stands in
modalities.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from deepseek.contracts import Prediction, Record, Tensors
from deepseek.data.samples.preparer import BrokenPolicy
from deepseek.data.samples.requests import describe_record
from deepseek.engines.checks.finite import check_attribution
from deepseek.engines.parity import spread_indices
from deepseek.explain.evaluation.sample_faithfulness import ExplainedSample, sample_faithfulness
from deepseek.explain.media.modalities import ModalityExplainer
from deepseek.explain.media.parts import split_columns
from deepseek.explain.media.previews import add_previews
from deepseek.explain.records import AblationCheck, GlobalReport, RowExplanation, RowReport
from deepseek.explain.report import page
from deepseek.explain.report.document import BundleProvenance
from deepseek.explain.report.explanation import Findings
from deepseek.explain.report.summary import (
    MAX_CLASSES,
    by_class_entries,
    importance_entries,
    leading_columns,
    mean_abs,
    row_reports,
)
from deepseek.explain.shapley.partition import Budget
from deepseek.explain.tabular.additivity import additivity

if TYPE_CHECKING:
    from deepseek.data import Table
    from deepseek.engines import MultimodalRuntime

# An importance is a mean over so many rows: each takes 2 to the number of its columns answers.
MAX_IMPORTANCE_ROWS = 50
MIN_IMPORTANCE_ROWS = 5
IMPORTANCE_LIMIT_S = 20.0  # for those
PARTS_LIMIT_S = 60.0  # for the parts of all texts, pictures, sounds and series, unless a time limit is given
METHOD_REASON = "any model answers without a column, and these answers divide what they all add together"
ABLATION_SKIPPED = AblationCheck(passes=None, why="each contribution is made of answers without the column")


def explain_samples(
    runtime: MultimodalRuntime,
    table: Table,
    rows: Sequence[int],
    *,
    target: str | None = None,
    root: Path | None = None,
    broken: BrokenPolicy = "fail",
    budget: Budget | None = None,
    with_faithfulness: bool = False,
    limit_s: float | None = None,
) -> Findings:
    """Findings of a bundle of several modalities on `table`, with its `rows` one by one: the parts of their texts,
    pictures, sounds and series, each within `budget`, and where it is wanted their faithfulness within `limit_s`.

    `root`: the folder that paths of files lie below. InputError for a class that is not there; what the readers raise
    unless `broken` is "mask".
    """
    explainer = ModalityExplainer(runtime)
    records, samples = _prepare_rows(runtime, table, rows, root, broken)
    began_s = perf_counter()
    explainer.explain(samples[:1], target=target)
    row_s = (perf_counter() - began_s) * max(1, len(runtime.labels) - 1)
    most = int(np.clip(IMPORTANCE_LIMIT_S / max(row_s, 1e-9), MIN_IMPORTANCE_ROWS, MAX_IMPORTANCE_ROWS))
    many = spread_indices(table.num_rows, most).tolist()
    report = _global_report(runtime, explainer, _prepare_rows(runtime, table, many, root, broken)[1], target, many)
    prediction = runtime.decision.apply(runtime.score(samples).output, ())
    reports = _explain_rows(runtime, explainer, records, samples, prediction, target, rows)
    raw = table.take(np.array(rows)).records()
    row_budget = _limit_budget(budget or Budget(), len(rows) * len(runtime.preparer.media))
    explained = [
        explain_row_parts(explainer, samples[place : place + 1], record, row_report.explanation(), row_budget)
        for place, (row_report, record) in enumerate(zip(reports, raw, strict=True))
    ]
    reports = [replace(row_report, parts=row.row.parts) for row_report, row in zip(reports, explained, strict=True)]
    media = runtime.preparer.media
    page_rows = [
        replace(row_report, parts=add_previews(row_report.parts or (), record, media, samples, place, root=root))
        for place, (row_report, record) in enumerate(zip(reports, raw, strict=True))
    ]
    faithfulness = None
    if with_faithfulness:
        faithfulness = sample_faithfulness(explainer, explained, limit_s=limit_s, target=target)
    return Findings(
        model=BundleProvenance.of(runtime.manifest, runtime.bundle.digest),
        report=replace(report, num_rows_given=table.num_rows, outcome=runtime.manifest.target),
        rows=tuple(reports), page_rows=tuple(page_rows),
        why=METHOD_REASON, faithfulness=faithfulness,
    )  # fmt: skip


def explain_row_parts(
    explainer: ModalityExplainer, sample: Tensors, record: Record, row: RowExplanation, budget: Budget
) -> ExplainedSample:
    """One row (`sample` of one, its raw `record`) with what the parts of its files and texts add."""
    values = np.array([row.contributions[name] for name in explainer.names])
    columns = split_columns(explainer, sample, record, values, row.target)
    parts = [(column, column.owen(budget)) for column in columns]
    documents = tuple(column.parts.report(owen).document() for column, owen in parts)
    return ExplainedSample(sample, record, replace(row, parts=documents), parts)


def _limit_budget(budget: Budget, num_inputs: int) -> Budget:
    """A reader waits for all of them together: a net of pictures may take seconds for the regions of one."""
    if budget.time_limit_s is not None:
        return budget
    return replace(budget, time_limit_s=PARTS_LIMIT_S / max(1, num_inputs))


def _prepare_rows(
    runtime: MultimodalRuntime, table: Table, rows: Sequence[int], root: Path | None, broken: BrokenPolicy
) -> tuple[list[Record], Tensors]:
    """(records in words, samples). What a broken file raises names its row in the table."""
    samples: list[Tensors] = []
    described: list[Record] = []
    for row in rows:
        record = table.take(np.array([row])).records()[0]
        samples.append(runtime.preparer.rows([record], root=root, broken=broken, first_row=row).tensors)
        described.append(describe_record(runtime.preparer, record))
    arrays = {name: np.concatenate([sample.arrays[name] for sample in samples]) for name in samples[0].arrays}
    return described, Tensors(arrays)


def _global_report(
    runtime: MultimodalRuntime, explainer: ModalityExplainer, samples: Tensors, target: str | None, rows: Sequence[int]
) -> GlobalReport:
    """Importance over all samples, which are `rows` of the table; of many classes the mean over each, which stand in
    "by_class"."""
    labels = runtime.labels if len(runtime.labels) > 2 else ()
    if labels and target is None:
        predicted = runtime.score(samples).output.argmax(1)
        target = labels[int(np.bincount(predicted).argmax())]
    attribution = explainer.explain(samples, target=target)
    check_attribution(attribution, rows, model=runtime.name)
    classes = labels if len(labels) <= MAX_CLASSES else ()
    by_class = {
        name: mean_abs(attribution if name == target else explainer.explain(samples, target=name)) for name in classes
    }
    importance = np.mean(list(by_class.values()), axis=0) if by_class else mean_abs(attribution)
    order = np.argsort(-importance, kind="stable")
    return GlobalReport(
        method=attribution.method, scale=attribution.scale, target=attribution.target,
        base_value=float(attribution.base_value[0]), num_rows=len(samples),
        importance=importance_entries(attribution, importance, order), by_class=by_class_entries(attribution, by_class),
        leading=leading_columns(attribution), additivity=additivity(attribution), ablation=ABLATION_SKIPPED,
    )  # fmt: skip


def _explain_rows(
    runtime: MultimodalRuntime,
    explainer: ModalityExplainer,
    records: Sequence[Record],
    samples: Tensors,
    prediction: Prediction,
    target: str | None,
    rows: Sequence[int],
) -> list[RowReport]:
    """Each row by the class that is asked for, or of many by the one that is predicted for it. `rows`: their numbers in
    the table."""
    targets = [target] * len(records)
    if target is None and len(runtime.labels) > 2 and prediction.labels is not None:
        targets = prediction.labels.tolist()
    answers, reports = page.format_answers(prediction), []
    for row, (record, row_target) in enumerate(zip(records, targets, strict=True)):
        attribution = explainer.explain(samples[row : row + 1], target=row_target)
        check_attribution(attribution, [rows[row]], model=runtime.name)
        (report,) = row_reports(attribution, [record], outcome=runtime.manifest.target)
        contributions = dict(zip(attribution.names, attribution.values[0].tolist(), strict=True))
        reports.append(replace(report, row_id=rows[row], prediction=answers[row], contributions=contributions))
    return reports
