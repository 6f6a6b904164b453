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

from deepseek.data import Table, read_table
from deepseek.data.fuse import Broken
from deepseek.engines import Runtime, open_runtime
from deepseek.engines.parity import spread
from deepseek.errors import InputError
from deepseek.explain import report
from deepseek.explain.bundle_layers import bundle_layers
from deepseek.explain.explainer import ModelExplainer, explainer_for
from deepseek.explain.partition import Budget
from deepseek.explain.summary import MAX_ROWS, global_report, row_reports
from deepseek.explain.text_bundle import explain_text_model, is_text_model
from deepseek.files import check_place

NUM_ROWS = 5  # explained one by one unless rows are named
_GENERAL = ("method", "scale", "target", "importance", "by_class", "additivity", "ablation")
_SINGLE = ("row_id", "prediction", "target", "scale", "base_value", "values", "output", "residual", "reasons")


def explain_bundle(
    path: str | Path,
    data: Any,
    *,
    rows: Sequence[int] = (),
    target: str | None = None,
    html: str | Path | None = None,
    files: str | Path | None = None,
    broken: Broken = "fail",
    layers: bool = False,
    budget: Budget | None = None,
) -> dict[str, Any]:
    """The object that `explain --json` prints: {"bundle", "digest", "num_rows", "num_rows_explained", "method",
    "scale", "target", "importance", "by_class", "additivity", "ablation", "explanations"}; writes the page to `html`.

    `data` is what read_table takes: a path, a frame, a Table. Each of `rows` (counted from 0; by default the first 5)
    is explained as base_value + sum of values + residual = output, on the scale of the margin, before calibration.
    `target` is a class: by default the positive one of two; of many the one predicted most often, and for a single row
    the one predicted for it. Of many classes the importance is the mean over them, and "by_class" has each.

    A bundle of several modalities is explained by its columns of files and texts, and its table as one (samples.py);
    each row has "parts": what tokens and sentences of its texts and regions of its pictures add, each within `budget`.
    So has a text model, a folder of Hugging Face's layout, for the column "text" (text_bundle.py).
    `files` is the folder that their paths lie below, by default that of the data; with `broken` "mask" a file that
    cannot be read counts as missing.
    `layers` adds "layers": of each perceptron in the model the same rows, layer by layer (see layer_path), with a
    ledger; of many classes for the one that is explained, else the first.

    InputError for a row or a class that is not there, and when `html` cannot be written.
    """
    if html is not None:
        check_place(Path(html))
    if is_text_model(path):
        return _texts(path, data, rows, target, html, budget, layers=layers)
    with open_runtime(path) as runtime:
        table = read_table(data)
        chosen = _rows(rows, table.num_rows)
        if isinstance(runtime, Runtime):
            paths = {"layers": _layers(runtime, table, chosen, target)} if layers else {}  # may refuse: before the page
            general, single = _explain(runtime, table, chosen, target, html)
        elif layers:
            raise InputError(
                "a bundle of several modalities is not explained layer by layer", expected="a bundle of a table",
                fix="leave --layers out, or give its torch module to deepseek.explain.layer_path",
            )  # fmt: skip
        else:
            paths = {}
            from deepseek.explain.samples import explain_samples

            root = Path(data).parent if files is None and isinstance(data, (str, Path)) else files and Path(files)
            general, single = explain_samples(
                runtime,
                table,
                chosen,
                target=target,
                html=html,
                root=root or None,
                broken=broken,
                budget=budget,
            )
        return {
            "bundle": str(path), "digest": runtime.bundle.digest, "num_rows": table.num_rows,
            "num_rows_explained": general["num_rows"], **{name: general[name] for name in _GENERAL},
            "explanations": [_row(row) for row in single], **paths,
        }  # fmt: skip


def _texts(
    path: str | Path,
    data: Any,
    rows: Sequence[int],
    target: str | None,
    html: str | Path | None,
    budget: Budget | None,
    *,
    layers: bool,
) -> dict[str, Any]:
    """The object of a text model."""
    if layers:
        raise InputError(
            "a text model is not explained layer by layer here", expected="a bundle of a table",
            fix="leave --layers out, or give its torch module to deepseek.explain.layer_path",
        )  # fmt: skip
    table = read_table(data)
    digest, general, single = explain_text_model(
        path, table, _rows(rows, table.num_rows), target=target, html=html, budget=budget
    )
    return {
        "bundle": str(path), "digest": digest, "num_rows": table.num_rows, "num_rows_explained": general["num_rows"],
        **{name: general[name] for name in _GENERAL}, "explanations": [_row(row) for row in single],
    }  # fmt: skip


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """What --json has of a row."""
    return {name: row[name] for name in (*_SINGLE, "parts") if name in row}


def _layers(runtime: Runtime, table: Table, rows: Sequence[int], target: str | None) -> list[dict[str, Any]]:
    """bundle_layers() of some rows."""
    labels, owners = runtime.model.labels, runtime.preprocessor.owners()
    margin = labels.index(target) if target in labels and runtime.model.task == "multiclass" else 0
    return bundle_layers(runtime.model, owners, runtime.prepare_table(table.take(np.array(rows))).features, margin)


def _explain(
    runtime: Runtime, table: Table, rows: Sequence[int], target: str | None, html: str | Path | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The general report and those of the rows, of a table's bundle."""
    chosen = np.array(rows)
    owners = runtime.preprocessor.owners()
    explainer = explainer_for(runtime.model, owners, score=runtime.score, num_threads=0)  # one reader waits: all cores
    many, few = table.take(spread(table.num_rows, MAX_ROWS)), table.take(chosen)
    dates = [column.name for column in runtime.preprocessor.columns if column.kind == "datetime"]
    features = runtime.prepare_table(many).features
    general = global_report(explainer, features, many.records(), target=target, dates=dates)
    general["num_rows_given"] = table.num_rows
    single = [
        {"row_id": row_id, **row}
        for row_id, row in zip(chosen.tolist(), _single(runtime, explainer, few, target), strict=True)
    ]
    if html is not None:
        command = shlex.join(["deepseek", "explain", str(runtime.bundle.path), "DATA", "--html", Path(html).name])
        shown = [{name: value for name, value in row.items() if name != "values"} for row in single]
        evidence = report.bundle_evidence(runtime.bundle)
        report.write_report(html, general, shown, manifest=runtime.manifest, evidence=evidence, command=command)
    return general, single


def _single(runtime: Runtime, explainer: ModelExplainer, table: Table, target: str | None) -> list[dict[str, Any]]:
    """row_reports() of every row, with its "prediction" in words and the "values" of all columns. Without a `target`
    each row of many classes is explained by the class that is predicted for it."""
    batch, records = runtime.prepare_table(table), table.records()
    prediction = runtime.decide(runtime.score(batch.features), batch.flags)
    targets = [target] * len(records)
    if target is None and runtime.manifest.task == "multiclass" and prediction.labels is not None:
        targets = prediction.labels.tolist()
    answers = report.answers(prediction)
    found: dict[int, dict[str, Any]] = {}
    for name in dict.fromkeys(targets):
        places = [place for place, wanted in enumerate(targets) if wanted == name]
        attribution = explainer.explain(batch.features[places], target=name)
        rows = row_reports(attribution, [records[place] for place in places], outcome=runtime.manifest.target)
        for place, row, values in zip(places, rows, attribution.values.tolist(), strict=True):
            by_name = dict(zip(attribution.names, values, strict=True))
            found[place] = {"prediction": answers[place], **row, "values": by_name}
    return [found[place] for place in range(len(records))]


def _rows(asked: Sequence[int], num_rows: int) -> list[int]:
    """The rows to explain one by one."""
    if len(asked) > report.MAX_ROWS:
        raise InputError(
            f"{len(asked)} rows are asked for", expected=f"at most {report.MAX_ROWS}", fix="ask in several runs"
        )
    for row in asked:
        if not 0 <= row < num_rows:
            raise InputError(
                f"there is no row {row}",
                expected=f"0 to {num_rows - 1}; rows are counted from 0",
                fix="ask for a row that the file has",
            )
    return list(asked) or list(range(min(NUM_ROWS, num_rows)))
