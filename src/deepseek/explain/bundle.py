"""`explain` of a bundle: which columns matter, why single rows were answered as they were, on request as a page.

explain_bundle("loans", "new.csv", rows=(17,))["explanations"][0]["values"]      {"age": 0.8, ...}
explain_bundle("loans", "new.csv", html="why.html")
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Attribution, Prediction
from deepseek.data import Table, read_table
from deepseek.engines import Runtime
from deepseek.engines.parity import spread
from deepseek.errors import InputError
from deepseek.explain import report
from deepseek.explain.explainer import explainer_for
from deepseek.explain.summary import MAX_ROWS, global_report, row_reports
from deepseek.look.numbers import number

NUM_ROWS = 5  # explained one by one unless rows are named
_GENERAL = ("method", "scale", "target", "importance", "additivity", "ablation")
_SINGLE = ("row_id", "prediction", "target", "scale", "base_value", "values", "output", "residual", "reasons")


def explain_bundle(
    path: str | Path, data: Any, *, rows: Sequence[int] = (), target: str | None = None, html: str | Path | None = None
) -> dict[str, Any]:
    """The object that `explain --json` prints: {"bundle", "digest", "num_rows", "num_rows_explained", "method",
    "scale", "target", "importance", "additivity", "ablation", "explanations"}; also writes the page to `html`.

    `data` is what read_table takes: a path, a frame, a Table. Each of `rows` (counted from 0; by default the first 5)
    is explained as base_value + sum of values + residual = output, on the scale of the margin, before calibration.
    `target` is a class: by default the positive one of two; of many the one predicted most often, and for single rows
    the one predicted for the first of them. InputError for a row or a class that is not there, and for a folder of
    `html` that is not there.
    """
    if html is not None and not Path(html).parent.is_dir():
        raise InputError(f"{Path(html).parent}: there is no such folder", fix=f"mkdir -p {Path(html).parent}")
    with Runtime.open(path) as runtime:
        return {"bundle": str(path), **_explain(runtime, read_table(data), rows, target, html)}


def _explain(
    runtime: Runtime, table: Table, rows: Sequence[int], target: str | None, html: str | Path | None
) -> dict[str, Any]:
    chosen = np.array(_rows(rows, table.num_rows))
    explainer = explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)
    many, few = table.take(spread(table.num_rows, MAX_ROWS)), table.take(chosen)
    dates = [column.name for column in runtime.preprocessor.columns if column.kind == "datetime"]
    features = runtime.prepare_table(many).features
    general = global_report(explainer, features, many.records(), target=target, dates=dates)
    batch = runtime.prepare_table(few)
    attribution = explainer.explain(batch.features, target=target)
    answers = _answers(runtime.decide(runtime.score(batch.features), batch.flags))
    single = [
        {"row_id": row_id, "prediction": answer, **row}
        for row_id, answer, row in zip(
            chosen.tolist(),
            answers,
            row_reports(attribution, few.records(), outcome=runtime.manifest.target),
            strict=True,
        )
    ]
    if html is not None:
        command = shlex.join(["deepseek", "explain", str(runtime.bundle.path), "DATA", "--html", Path(html).name])
        evidence = report.bundle_evidence(runtime.bundle)
        report.write_report(html, general, single, manifest=runtime.manifest, evidence=evidence, command=command)
    return {
        "digest": runtime.bundle.digest,
        "num_rows": table.num_rows,
        "num_rows_explained": general["num_rows"],
        **{name: general[name] for name in _GENERAL},
        "explanations": [
            {name: found[name] for name in _SINGLE}
            for found in (row | {"values": _by_name(attribution, place)} for place, row in enumerate(single))
        ],
    }


def _rows(asked: Sequence[int], num_rows: int) -> list[int]:
    """The rows to explain one by one."""
    if len(asked) > report.MAX_ROWS:
        raise InputError(f"{len(asked)} rows are asked for", expected=f"at most {report.MAX_ROWS}")
    for row in asked:
        if not 0 <= row < num_rows:
            raise InputError(f"there is no row {row}", expected=f"0 to {num_rows - 1}; rows are counted from 0")
    return list(asked) or list(range(min(NUM_ROWS, num_rows)))


def _by_name(attribution: Attribution, row: int) -> dict[str, float]:
    return dict(zip(attribution.names, attribution.values[row].tolist(), strict=True))


def _answers(prediction: Prediction) -> list[str]:
    """Each row's answer in words."""
    if prediction.labels is None or prediction.probabilities is None:
        return [number(value) for value in prediction.values.tolist()] if prediction.values is not None else []
    place = {label: index for index, label in enumerate(prediction.labels_known)}
    return [
        f"{label} ({number(chances[place[label]])})"
        for label, chances in zip(prediction.labels.tolist(), prediction.probabilities.tolist(), strict=True)
    ]
