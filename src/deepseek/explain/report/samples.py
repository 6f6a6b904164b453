"""`explain` of a bundle that reads files and texts: which columns matter, why single rows were answered as they were.

explain_samples(runtime, table, rows=(17,), root=Path("scans"))["explanations"][0]["values"]      {"scan": 0.8, ...}

The object and the page are those of a table's bundle (bundle.py); what a column is, and how it is taken away, stands in
modalities.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.contracts import Attribution, Prediction, Record, Tensors
from deepseek.data.samples.preparer import BrokenPolicy
from deepseek.data.samples.requests import describe_record
from deepseek.engines.checks.finite import check_attribution
from deepseek.engines.parity import spread_indices
from deepseek.explain.evaluation.sample_faithfulness import ExplainedSample, sample_faithfulness
from deepseek.explain.media.modalities import ModalityExplainer
from deepseek.explain.media.parts import split_columns
from deepseek.explain.media.previews import add_previews
from deepseek.explain.report import page as report
from deepseek.explain.report.summary import MAX_CLASSES, importance_entries, leading_columns, mean_abs, row_reports
from deepseek.explain.shapley.partition import Budget
from deepseek.explain.tabular.additivity import additivity

if TYPE_CHECKING:
    from deepseek.data import Table
    from deepseek.engines import MultimodalRuntime

MAX_IMPORTANCE_ROWS = (
    50  # over which the influence of a column is a mean: each takes 2 to the number of its columns answers
)
MIN_IMPORTANCE_ROWS = 5
IMPORTANCE_LIMIT_S = 20.0  # for those
PARTS_LIMIT_S = 60.0  # for the parts of all texts, pictures, sounds and series, unless a time limit is given
METHOD_REASON = "any model answers without a column, and these answers divide what they all add together"
ABLATION_SKIPPED = {"passes": None, "why": "each contribution is made of answers without the column"}


def explain_samples(
    runtime: MultimodalRuntime,
    table: Table,
    chosen: Sequence[int],
    *,
    target: str | None = None,
    root: Path | None = None,
    broken: BrokenPolicy = "fail",
    budget: Budget | None = None,
    with_trust: bool = False,
    limit_s: float | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]], dict[str, Any] | None]:
    """The general report; row_reports() of the rows `chosen` with "row_id", "prediction", "values" and "parts" (of
    texts, pictures, sounds and series, each within `budget`); these rows as a page shows them, with their texts and
    pictures; and sample_faithfulness() within `limit_s` where it is wanted. InputError for a class that is not there;
    what the readers raise unless `broken` is "mask"."""
    explainer = ModalityExplainer(runtime)
    records, samples = _prepare_rows(runtime, table, chosen, root, broken)
    began_s = perf_counter()
    explainer.explain(samples[:1], target=target)
    row_s = (perf_counter() - began_s) * max(1, len(runtime.labels) - 1)
    most = int(np.clip(IMPORTANCE_LIMIT_S / max(row_s, 1e-9), MIN_IMPORTANCE_ROWS, MAX_IMPORTANCE_ROWS))
    many = spread_indices(table.num_rows, most).tolist()
    general = _global_report(runtime, explainer, _prepare_rows(runtime, table, many, root, broken)[1], target, many)
    general |= {"num_rows_given": table.num_rows}
    prediction = runtime.decision.apply(runtime.score(samples).output, ())
    rows = _explain_rows(runtime, explainer, records, samples, prediction, target, chosen)
    raw = table.take(np.array(chosen)).records()
    single = [{"row_id": row_id, **row} for row_id, row in zip(chosen, rows, strict=True)]
    bounded = _limit_budget(budget or Budget(), len(chosen) * len(runtime.preparer.media))
    explained = [
        _explain_parts(explainer, samples[place : place + 1], record, row, bounded)
        for place, (row, record) in enumerate(zip(single, raw, strict=True))
    ]
    shown = [
        {name: value for name, value in row.items() if name != "values"}
        | {"parts": add_previews(row["parts"], record, runtime.preparer.media, samples, place)}
        for place, (row, record) in enumerate(zip(single, raw, strict=True))
    ]
    trust = sample_faithfulness(explainer, explained, limit_s=limit_s) if with_trust else None
    return general, single, shown, trust


def _explain_parts(
    explainer: ModalityExplainer, sample: Tensors, record: Record, row: dict[str, Any], budget: Budget
) -> ExplainedSample:
    """Gives the row its "parts"."""
    values = np.array([row["values"][name] for name in explainer.names])
    columns = split_columns(explainer, sample, record, values, row["target"])
    parts = [(column, column.owen(budget)) for column in columns]
    row["parts"] = [column.parted.told(found) for column, found in parts]
    return ExplainedSample(sample, record, row, parts)


def _limit_budget(budget: Budget, num_inputs: int) -> Budget:
    """A reader waits for all of them together: a net of pictures may take seconds for the regions of one."""
    if budget.time_limit_s is not None:
        return budget
    return replace(budget, time_limit_s=PARTS_LIMIT_S / max(1, num_inputs))


def _prepare_rows(
    runtime: MultimodalRuntime, table: Table, rows: Sequence[int], root: Path | None, broken: BrokenPolicy
) -> tuple[list[Record], Tensors]:
    """Records in words, and samples. A broken file is told with its row in the table."""
    found: list[Tensors] = []
    told: list[Record] = []
    for row in rows:
        record = table.take(np.array([row])).records()[0]
        found.append(runtime.preparer.rows([record], root=root, broken=broken, first_row=row).tensors)
        told.append(describe_record(runtime.preparer, record))
    return told, Tensors({name: np.concatenate([each.arrays[name] for each in found]) for name in found[0].arrays})


def _global_report(
    runtime: MultimodalRuntime, explainer: ModalityExplainer, samples: Tensors, target: str | None, rows: Sequence[int]
) -> dict[str, Any]:
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
    return {
        "method": attribution.method, "scale": attribution.scale, "target": attribution.target,
        "base_value": float(attribution.base_value[0]), "num_rows": len(samples),
        "importance": importance_entries(attribution, importance, order),
        "by_class": {
            name: dict(zip(attribution.names, values.tolist(), strict=True)) for name, values in by_class.items()
        },
        "leading": leading_columns(attribution), "additivity": additivity(attribution), "ablation": ABLATION_SKIPPED,
    }  # fmt: skip


def _explain_rows(
    runtime: MultimodalRuntime,
    explainer: ModalityExplainer,
    records: Sequence[Record],
    samples: Tensors,
    prediction: Prediction,
    target: str | None,
    rows: Sequence[int],
) -> list[dict[str, Any]]:
    """Each row by the class that is asked for, or of many by the one that is predicted for it. `rows`: their numbers in
    the table."""
    targets = [target] * len(records)
    if target is None and len(runtime.labels) > 2 and prediction.labels is not None:
        targets = prediction.labels.tolist()
    answers, found = report.format_answers(prediction), []
    for row, (record, wanted) in enumerate(zip(records, targets, strict=True)):
        attribution: Attribution = explainer.explain(samples[row : row + 1], target=wanted)
        check_attribution(attribution, [rows[row]], model=runtime.name)
        (told,) = row_reports(attribution, [record], outcome=runtime.manifest.target)
        values = dict(zip(attribution.names, attribution.values[0].tolist(), strict=True))
        found.append({"prediction": answers[row], **told, "values": values})
    return found
