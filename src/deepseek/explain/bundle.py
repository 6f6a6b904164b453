"""`explain` of a bundle: which columns matter, why single rows were answered as they were, on request as a page.

explain_bundle("loans", "new.csv", rows=(17,))["explanations"][0]["values"]      {"age": 0.8, ...}
explain_bundle("loans", "new.csv", html="why.html", json_file="why.json", key="release-key")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from deepseek.bundle.manifest import Manifest
from deepseek.contracts import Float32, Scores
from deepseek.data import Table, read_table
from deepseek.data.samples.preparer import BrokenPolicy
from deepseek.engines import MultimodalRuntime, Runtime, open_runtime
from deepseek.engines.checks.finite import check_attribution
from deepseek.engines.parity import spread_indices
from deepseek.errors import InputError
from deepseek.explain.evaluation.column_faithfulness import column_faithfulness
from deepseek.explain.evaluation.masking_faithfulness import REQUESTED_LIMIT_S
from deepseek.explain.report import page as report
from deepseek.explain.report.document import (
    FORMAT_VERSION,
    build_provenance,
    check_output_paths,
    command_line,
    model_provenance,
    sign_outputs,
    write_document,
)
from deepseek.explain.report.summary import MAX_ROWS, answer_counts, global_report, row_reports
from deepseek.explain.report.texts import METHOD_REASON as TEXT_WHY
from deepseek.explain.report.texts import explain_text_model, is_text_model
from deepseek.explain.shapley.partition import Budget
from deepseek.explain.tabular.additivity import additivity_warnings
from deepseek.explain.tabular.bundle_layers import explain_bundle_layers
from deepseek.explain.tabular.explainer import ModelExplainer, explainer_for
from deepseek.explain.tabular.interactions import interactions as find_interactions
from deepseek.explain.tabular.interactions import strongest_pairs
from deepseek.explain.tabular.row_context import check_fixed_columns

DEFAULT_NUM_ROWS = 5  # explained one by one unless rows are named
METHOD_REASON = "every part of the model has a rule whose values sum to its answer, so nothing is sampled"
_SUMMARY_KEYS = ("method", "scale", "target", "importance", "by_class", "additivity", "ablation")
_ROW_KEYS = (
    "row_id", "prediction", "target", "scale", "base_value", "values", "output", "residual", "adds_up", "reasons",
    "reasons_zh", "parts", "interactions",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _ExplainRequest:
    """What one call asks for."""

    rows: list[int]
    target: str | None
    layers: bool
    trust: bool | None  # None: where it is written down and cheap
    is_written: bool
    training: Table | None
    fixed: tuple[str, ...]
    budget: Budget | None
    interactions: bool

    @property
    def with_trust(self) -> bool:
        """Whether it is measured if it is cheap enough."""
        return bool(self.trust) or (self.trust is None and self.is_written)

    @property
    def limit_s(self) -> float | None:
        """Of that; None where nobody asked for it."""
        return REQUESTED_LIMIT_S if self.trust else None


@dataclass(frozen=True, slots=True)
class _Findings:
    """What one call answers."""

    model: dict[str, Any]  # as build_provenance() takes it
    general: dict[str, Any]
    single: list[dict[str, Any]]
    shown: list[dict[str, Any]]  # the rows as a page shows them
    why: str
    evaluations: int | None = None
    layers: list[dict[str, Any]] | None = None
    trust: dict[str, Any] | None = None
    manifest: Manifest | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


def explain_bundle(
    path: str | Path,
    data: Any,
    *,
    rows: Sequence[int] = (),
    target: str | None = None,
    html: str | Path | None = None,
    files: str | Path | None = None,
    broken: BrokenPolicy = "fail",
    layers: bool = False,
    trust: bool | None = None,
    training: Any = None,
    fixed: Sequence[str] = (),
    json_file: str | Path | None = None,
    key: str | Path | None = None,
    budget: Budget | None = None,
    interactions: bool = False,
    bundle_key: str | Path | None = None,
) -> dict[str, Any]:
    """The object that `explain --json` prints: {"warnings", "bundle", "digest", "num_rows", "num_rows_explained",
    "method", "scale", "target", "importance", "by_class", "additivity", "ablation", "explanations", "format",
    "summary"}, and "provenance" where something is written: the page to `html`, the object to `json_file` (by
    schema()), and with `key` (a private key's PEM file) a signature beside each.

    `data` is what read_table takes: a path, a frame, a Table. Each of `rows` (counted from 0; by default the first 5)
    is explained as base_value + sum of values + residual = output, on the scale of the margin, before calibration;
    "adds_up" says whether the residual is within the limit, and "warnings" what does not add up.
    `target` is a class: by default the positive one of two; of many the one predicted most often, and for a single row
    the one predicted for it. Of many classes the importance is the mean over them, and "by_class" has each.

    A bundle of several modalities is explained by its columns of files and texts, and its table as one (samples.py);
    each row has "parts": what tokens and sentences of its texts and regions of its pictures add. So has a text model, a
    folder of Hugging Face's layout, for the column "text" (texts.py).
    `files`: the folder that their paths lie below, by default that of the data; `broken`: "mask" one that is not read.
    `layers` adds "layers": of each perceptron in the model the same rows, layer by layer (see layer_path), with a
    ledger; of many classes for the one that is explained, else the first.
    `trust` adds "trust", how far the rows' explanations hold (evaluation/): by default where something is written and
    it takes at most 5 s; True, or where `training` or `fixed` is given, in at most a minute; False never.
    `training`: the data that the model was made of, for nearest rows; no counterfactual changes columns in `fixed`.
    `budget`: of the answers for parts of one text or picture. `interactions`: each row's strongest pairs, of trees.
    `bundle_key`: the public key (a PEM file) that must have signed the bundle; IntegrityError when it has not.
    InputError for a row or class that is not there, what cannot be written, and a key with nothing to sign.
    """
    places, private = [Path(each) for each in (html, json_file) if each is not None], None if key is None else Path(key)
    check_output_paths(places, private)
    began_s = perf_counter()
    table = read_table(data)
    wanted = True if trust is None and (training is not None or fixed) else trust  # only the panel reads them
    seen, chosen = None if training is None else read_table(training), _select_rows(rows, table.num_rows)
    asked = _ExplainRequest(chosen, target, layers, wanted, bool(places), seen, tuple(fixed), budget, interactions)
    public = None if bundle_key is None else Path(bundle_key)
    of_bundle = partial(_explain_opened_bundle, data=data, files=files, broken=broken)
    found = (_explain_texts if is_text_model(path) else of_bundle)(path, table, asked, public)
    result = _build_result(path, table, found)
    if places:  # what is only printed is the same each time
        command = command_line(Path(path), data, rows, _command_options(asked, files, broken, training), html)
        result["provenance"] = _build_provenance(found, table, perf_counter() - began_s, command)
        _write_outputs(found, result, html, json_file)
        sign_outputs(places, private)
    return result


def _build_provenance(found: _Findings, table: Table, seconds: float, command: str) -> dict[str, Any]:
    """Where an explanation comes from, and what it cost."""
    return build_provenance(
        found.model, table, method=found.general["method"], why=found.why, evaluations=found.evaluations,
        seconds=seconds, command=command,
    )  # fmt: skip


def _write_outputs(
    found: _Findings, result: dict[str, Any], html: str | Path | None, json_file: str | Path | None
) -> None:
    """The page and the document."""
    if html is not None:
        origin = result["provenance"]
        report.write_report(
            html, found.general, found.shown, manifest=found.manifest, trust=found.trust, command=origin["command"],
            evidence=found.evidence, layers=found.layers, provenance=origin,
        )  # fmt: skip
    if json_file is not None:
        write_document(Path(json_file), result)


def _command_options(asked: _ExplainRequest, files: Any, broken: str, training: Any) -> dict[str, Any]:
    """As the command line has them."""
    masked = {"broken": broken} if broken != "fail" else {}
    found = {
        "target": asked.target, "layers": asked.layers, "trust": asked.trust, "fixed": list(asked.fixed),
        "interactions": asked.interactions, "budget": asked.budget and str(asked.budget.num_evaluations),
    }  # fmt: skip
    return found | masked | {"files": files, "training": training}


def _build_result(path: str | Path, table: Table, found: _Findings) -> dict[str, Any]:
    """What explain_bundle() gives."""
    general = found.general
    warnings = [warning.en for warning in additivity_warnings(general["additivity"], found.single, general["scale"])]
    told = {
        "warnings": warnings, "bundle": str(path), "digest": found.model["digest"], "num_rows": table.num_rows,
        "num_rows_explained": general["num_rows"], **{name: general[name] for name in _SUMMARY_KEYS},
        "explanations": [{name: row[name] for name in _ROW_KEYS if name in row} for row in found.single],
        "format": FORMAT_VERSION, "summary": {"answers": general.get("answers", {}), "leading": general["leading"]},
    }  # fmt: skip
    told |= {} if found.layers is None else {"layers": found.layers}
    return told | ({} if found.trust is None else {"trust": found.trust})


def _explain_texts(path: str | Path, table: Table, asked: _ExplainRequest, key: Path | None) -> _Findings:
    """Of a text model. InputError where a signature is asked for, which its folder cannot have."""
    if key is not None:
        raise InputError(
            f"{path} is no bundle, so nobody has signed it", expected="a signed bundle", fix="leave the public key out"
        )
    _check_table_only_options(asked, "a text model")
    model, general, single, trust = explain_text_model(
        path, table, asked.rows, target=asked.target, budget=asked.budget, with_trust=asked.with_trust,
        limit_s=asked.limit_s,
    )  # fmt: skip
    shown = [{name: value for name, value in row.items() if name != "values"} for row in single]
    asked_for = sum(part["num_evaluations"] for row in single for part in row["parts"])
    asked_for += trust["num_evaluations"] if trust and trust["rows"] else 0
    return _Findings(model, general, single, shown, TEXT_WHY, asked_for, trust=trust)


def _explain_opened_bundle(
    path: str | Path,
    table: Table,
    asked: _ExplainRequest,
    key: Path | None,
    data: Any,
    files: str | Path | None,
    broken: BrokenPolicy,
) -> _Findings:
    with open_runtime(path, key=key) as runtime:
        if isinstance(runtime, Runtime):
            found = _explain_table(runtime, table, asked)
        else:
            _check_table_only_options(asked, "a bundle of several modalities")
            from deepseek.explain.report.samples import METHOD_REASON as BY_MASKS
            from deepseek.explain.report.samples import explain_samples

            root = Path(data).parent if files is None and isinstance(data, (str, Path)) else files and Path(files)
            general, single, shown, trust = explain_samples(
                runtime, table, asked.rows, target=asked.target, root=root or None, broken=broken,
                budget=asked.budget, with_trust=asked.with_trust, limit_s=asked.limit_s,
            )  # fmt: skip
            found = _Findings(_model_provenance(runtime), general, single, shown, BY_MASKS, trust=trust)
        evidence = report.read_evidence(runtime.bundle) if asked.is_written else {}
        return replace(found, manifest=runtime.manifest, evidence=evidence)


def _model_provenance(runtime: Runtime | MultimodalRuntime) -> dict[str, Any]:
    return model_provenance(runtime.manifest, runtime.bundle.digest)


def _check_table_only_options(asked: _ExplainRequest, what: str) -> None:
    """InputError for what is said of tables alone."""
    if asked.interactions:
        raise InputError(
            f"{what} has no trees, whose pairs could be told apart", expected="a bundle of a table with trees",
            fix="leave --interactions out",
        )  # fmt: skip
    if asked.layers:
        raise InputError(
            f"{what} is not explained layer by layer", expected="a bundle of a table",
            fix="leave --layers out, or give its torch module to deepseek.explain.layer_path",
        )  # fmt: skip
    if asked.training is not None or asked.fixed:
        flag = "fixed" if asked.fixed else "training"
        raise InputError(
            f"{what} has no rows of values, whose nearest could be found or some of which could be held",
            expected="a bundle of a table", fix=f"leave --{flag} out; --trust measures without it",
        )  # fmt: skip


class _CountingScore:
    """The engine's score, with the rows that it was asked for."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.count = runtime, 0

    def __call__(self, features: Float32) -> Scores:
        self.count += len(features)
        return self.runtime.score(features)


def _explain_layers(runtime: Runtime, table: Table, rows: Sequence[int], target: str | None) -> list[dict[str, Any]]:
    """bundle_layers() of some rows."""
    labels, owners = runtime.model.labels, runtime.preprocessor.owners()
    margin = labels.index(target) if target in labels and runtime.model.task == "multiclass" else 0
    return explain_bundle_layers(
        runtime.model, owners, runtime.prepare_table(table.take(np.array(rows))).features, margin
    )


def _explain_table(runtime: Runtime, table: Table, asked: _ExplainRequest) -> _Findings:
    """The general report and those of the rows, of a table's bundle."""
    few = table.take(np.array(asked.rows, int))
    paths = None
    check_fixed_columns(runtime, asked.fixed)
    if asked.layers:  # may refuse: before the work
        paths = _explain_layers(runtime, table, asked.rows, asked.target)
    score = _CountingScore(runtime)
    owners = runtime.preprocessor.owners()
    explainer = explainer_for(runtime.model, owners, score=score, num_threads=0)  # one reader waits: all cores
    many = table.take(spread_indices(table.num_rows, MAX_ROWS))
    dates = [column.name for column in runtime.preprocessor.columns if column.kind == "datetime"]
    batch = runtime.prepare_table(many)
    general = global_report(explainer, batch.features, many.records(), target=asked.target, dates=dates)
    general["num_rows_given"] = table.num_rows
    general["answers"] = answer_counts(runtime.decide(score(batch.features), batch.flags))
    single = [
        {"row_id": row_id, **row}
        for row_id, row in zip(asked.rows, _explain_rows(runtime, explainer, few, asked), strict=True)
    ]
    shown = [{name: value for name, value in row.items() if name != "values"} for row in single]
    trust = None
    if asked.with_trust:
        trust = column_faithfulness(
            runtime, explainer, few, single, others=table, training=asked.training,
            fixed=asked.fixed, limit_s=asked.limit_s,
        )  # fmt: skip
    return _Findings(_model_provenance(runtime), general, single, shown, METHOD_REASON, score.count, paths, trust)


def _explain_rows(
    runtime: Runtime, explainer: ModelExplainer, table: Table, asked: _ExplainRequest
) -> list[dict[str, Any]]:
    """row_reports() of every row, with its "prediction" in words and the "values" of all columns. Without a target each
    row of many classes is explained by the class that is predicted for it."""
    target = asked.target
    batch, records = runtime.prepare_table(table), table.records()
    prediction = runtime.decide(runtime.score(batch.features), batch.flags)
    targets = [target] * len(records)
    if target is None and runtime.manifest.task == "multiclass" and prediction.labels is not None:
        targets = prediction.labels.tolist()
    answers = report.format_answers(prediction)
    found: dict[int, dict[str, Any]] = {}
    for name in dict.fromkeys(targets):
        places = [place for place, wanted in enumerate(targets) if wanted == name]
        attribution = explainer.explain(batch.features[places], target=name)
        check_attribution(attribution, [asked.rows[place] for place in places], model=runtime.name)
        rows = row_reports(attribution, [records[place] for place in places], outcome=runtime.manifest.target)
        for place, row, values in zip(places, rows, attribution.values.tolist(), strict=True):
            by_name = dict(zip(attribution.names, values, strict=True))
            found[place] = {"prediction": answers[place], **row, "values": by_name}
        if asked.interactions:
            for place, matrix in zip(places, find_interactions(explainer, batch.features[places], name), strict=True):
                found[place]["interactions"] = strongest_pairs(matrix, explainer.names)
    return [found[place] for place in range(len(records))]


def _select_rows(asked: Sequence[int], num_rows: int) -> list[int]:
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
    return list(asked) or list(range(min(DEFAULT_NUM_ROWS, num_rows)))
