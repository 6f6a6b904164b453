"""`explain` of a bundle: which columns matter, why single rows were answered as they were, on request as a page.

explain_bundle("loans", "new.csv", rows=(17,))["explanations"][0]["values"]      {"age": 0.8, ...}
explain_bundle("loans", "new.csv", html="why.html", json_file="why.json", key="release-key")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.contracts import Float32, Scores
from deepseek.data import Table, read_table
from deepseek.data.table.formats import apply_formats
from deepseek.data.table.table import ColumnFormat
from deepseek.engines import Runtime, open_runtime
from deepseek.engines.checks.finite import check_attribution
from deepseek.engines.parity import spread_indices
from deepseek.errors import InputError
from deepseek.explain.evaluation.column_faithfulness import column_faithfulness
from deepseek.explain.evaluation.masking_faithfulness import REQUESTED_LIMIT_S
from deepseek.explain.options import ExplainOptions
from deepseek.explain.records import RowFlag, RowReport
from deepseek.explain.report import page
from deepseek.explain.report.document import (
    BundleProvenance,
    build_provenance,
    check_output_paths,
    command_line,
    sign_outputs,
    write_document,
)
from deepseek.explain.report.explanation import BundleExplanation, Findings
from deepseek.explain.report.summary import MAX_ROWS, answer_counts, global_report, row_reports
from deepseek.explain.report.texts import explain_text_model, is_text_model
from deepseek.explain.tabular.bundle_layers import explain_bundle_layers
from deepseek.explain.tabular.explainer import ModelExplainer, explainer_for
from deepseek.explain.tabular.interactions import interactions, strongest_pairs
from deepseek.explain.tabular.row_context import check_fixed_columns

if TYPE_CHECKING:
    from deepseek.explain.modules.layer_records import BundleLayerPath

DEFAULT_NUM_ROWS = 5  # explained one by one unless rows are named
METHOD_REASON = "every part of the model has a rule whose values sum to its answer, so nothing is sampled"


@dataclass(frozen=True, slots=True)
class _Job:
    """One call of explain_bundle(), its inputs read and checked."""

    path: str | Path  # of the bundle
    data: Any  # as the caller gave it
    table: Table
    rows: list[int]  # to explain one by one
    training: Table | None
    options: ExplainOptions

    def with_formats(self, formats: Mapping[str, ColumnFormat]) -> _Job:
        """The same, its rows read as those that the model was made of."""
        training = None if self.training is None else apply_formats(self.training, formats)
        return replace(self, table=apply_formats(self.table, formats), training=training)

    @property
    def measures_faithfulness(self) -> bool:
        """Whether faithfulness is measured, if it is cheap enough."""
        wanted = self.options.wants_faithfulness
        return bool(self.options.outputs) if wanted is None else wanted

    @property
    def faithfulness_limit_s(self) -> float | None:
        """Seconds that measuring faithfulness may take; None where the caller did not request it, and few are spent."""
        return REQUESTED_LIMIT_S if self.options.wants_faithfulness else None


def explain_bundle(
    path: str | Path, data: Any, options: ExplainOptions | None = None, **changes: Any
) -> BundleExplanation:
    """The object that `explain --json` prints: {"warnings", "bundle", "digest", "num_rows", "num_rows_explained",
    "method", "scale", "target", "importance", "by_class", "additivity", "ablation", "explanations", "format",
    "summary"}, and "provenance" where something is written: the page to `html`, the object to `json_file` (by
    schema()), and with `key` (a private key's PEM file) a signature beside each.

    `data` is what read_table takes: a path, a frame, a Table. `changes` are fields of ExplainOptions by name, in place
    of those of `options`: rows, target, html, files, broken, layers, trust, training, fixed, json_file, key, budget,
    interactions, bundle_key. Each of `rows` (counted from 0; by default the first 5)
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
    options = replace(options or ExplainOptions(), **changes)
    private_key = None if options.key is None else Path(options.key)
    check_output_paths(options.outputs, private_key)
    began_s = perf_counter()
    table = read_table(data)
    training = None if options.training is None else read_table(options.training)
    job = _Job(path, data, table, _select_rows(options.rows, table.num_rows), training, options)
    public_key = None if options.bundle_key is None else Path(options.bundle_key)
    findings = _explain_texts(job, public_key) if is_text_model(path) else _explain_opened_bundle(job, public_key)
    explanation = BundleExplanation.from_findings(path, table.num_rows, findings)
    if options.outputs:  # what is only printed is the same each time
        explanation = _write_outputs(job, findings, explanation, perf_counter() - began_s)
        sign_outputs(options.outputs, private_key)
    return explanation


def _write_outputs(job: _Job, findings: Findings, explanation: BundleExplanation, seconds: float) -> BundleExplanation:
    """The explanation with its provenance, written as a page and as a document."""
    options = job.options
    command = command_line(Path(job.path), job.data, options.rows, options.command_options(), options.html)
    provenance = build_provenance(
        findings.model, job.table, method=findings.report.method, why=findings.why,
        evaluations=findings.num_evaluations, seconds=seconds, command=command,
    )  # fmt: skip
    explanation = replace(explanation, provenance=provenance)
    if options.html is not None:
        page.write_report(
            options.html, findings.report, findings.page_rows, manifest=findings.manifest,
            trust=findings.faithfulness, command=command, evidence=findings.evidence, layers=findings.layers,
            provenance=provenance,
        )  # fmt: skip
    if options.json_file is not None:
        write_document(Path(options.json_file), explanation)
    return explanation


def _explain_texts(job: _Job, public_key: Path | None) -> Findings:
    """Findings of a text model. InputError where a signature is asked for, which its folder cannot have."""
    if public_key is not None:
        raise InputError(
            f"{job.path} is no bundle, so nobody has signed it", expected="a signed bundle",
            fix="leave the public key out",
        )  # fmt: skip
    _check_table_only_options(job.options, "a text model")
    return explain_text_model(
        job.path, job.table, job.rows, target=job.options.target, budget=job.options.budget,
        with_faithfulness=job.measures_faithfulness, limit_s=job.faithfulness_limit_s,
    )  # fmt: skip


def _explain_opened_bundle(job: _Job, public_key: Path | None) -> Findings:
    """Findings of a bundle, of a table or of several modalities."""
    options = job.options
    with open_runtime(job.path, key=public_key) as runtime:
        job = job.with_formats(runtime.formats)
        if isinstance(runtime, Runtime):
            findings = _explain_table(runtime, job)
        else:
            _check_table_only_options(options, "a bundle of several modalities")
            from deepseek.explain.report.samples import explain_samples

            root = options.files and Path(options.files)
            if options.files is None and isinstance(job.data, (str, Path)):
                root = Path(job.data).parent
            findings = explain_samples(
                runtime, job.table, job.rows, target=options.target, root=root or None, broken=options.broken,
                budget=options.budget, with_faithfulness=job.measures_faithfulness, limit_s=job.faithfulness_limit_s,
            )  # fmt: skip
        evidence = page.read_evidence(runtime.bundle) if options.outputs else {}
        return replace(findings, manifest=runtime.manifest, evidence=evidence)


def _check_table_only_options(options: ExplainOptions, what: str) -> None:
    """InputError for options that mean something for tables alone. `what`: the model in words."""
    if options.interactions:
        raise InputError(
            f"{what} has no trees, whose pairs could be told apart", expected="a bundle of a table with trees",
            fix="leave --interactions out",
        )  # fmt: skip
    if options.layers:
        raise InputError(
            f"{what} is not explained layer by layer", expected="a bundle of a table",
            fix="leave --layers out, or give its torch module to deepseek.explain.layer_path",
        )  # fmt: skip
    if options.training is not None or options.fixed:
        flag = "fixed" if options.fixed else "training"
        raise InputError(
            f"{what} has no rows of values, whose nearest could be found or some of which could be held",
            expected="a bundle of a table", fix=f"leave --{flag} out; --trust measures without it",
        )  # fmt: skip


class _CountingScore:
    """The engine's score function, and how many rows it has answered."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.num_rows = runtime, 0

    def __call__(self, features: Float32) -> Scores:
        self.num_rows += len(features)
        return self.runtime.score(features)


def _explain_layers(runtime: Runtime, job: _Job) -> tuple[BundleLayerPath, ...]:
    """The layer path of each perceptron in the model, on the job's rows."""
    labels, owners, target = runtime.model.labels, runtime.preprocessor.owners(), job.options.target
    margin = labels.index(target) if target in labels and runtime.model.task == "multiclass" else 0
    features = runtime.prepare_table(job.table.take(np.array(job.rows))).features
    return explain_bundle_layers(runtime.model, owners, features, margin)


def _explain_table(runtime: Runtime, job: _Job) -> Findings:
    """Findings of a table's bundle: importance over many rows, and the job's rows one by one."""
    options = job.options
    row_table = job.table.take(np.array(job.rows, int))
    check_fixed_columns(runtime, options.fixed)
    layers = _explain_layers(runtime, job) if options.layers else None  # may refuse: before the work
    score = _CountingScore(runtime)
    owners = runtime.preprocessor.owners()
    explainer = explainer_for(runtime.model, owners, score=score, num_threads=0)  # one reader waits: all cores
    many = job.table.take(spread_indices(job.table.num_rows, MAX_ROWS))
    dates = [column.name for column in runtime.preprocessor.columns if column.kind == "datetime"]
    batch = runtime.prepare_table(many)
    report = global_report(explainer, batch.features, many.records(), target=options.target, dates=dates)
    answers = answer_counts(runtime.decide(score(batch.features), batch.flags))
    rows = _explain_rows(runtime, explainer, row_table, job)
    faithfulness = None
    if job.measures_faithfulness:
        faithfulness = column_faithfulness(
            runtime, explainer, row_table, [row.explanation() for row in rows], others=job.table, training=job.training,
            fixed=options.fixed, limit_s=job.faithfulness_limit_s, target=options.target,
        )  # fmt: skip
    return Findings(
        model=BundleProvenance.of(runtime.manifest, runtime.bundle.digest),
        report=replace(
            report, num_rows_given=job.table.num_rows, answers=answers, outcome=runtime.manifest.target
        ),
        rows=rows, page_rows=rows, why=METHOD_REASON, num_evaluations=score.num_rows, layers=layers,
        faithfulness=faithfulness,
    )  # fmt: skip


def _explain_rows(runtime: Runtime, explainer: ModelExplainer, table: Table, job: _Job) -> tuple[RowReport, ...]:
    """The report of every row of `table`, with its prediction in words and the contributions of all columns. Without a
    target each row of many classes is explained by the class that is predicted for it."""
    target = job.options.target
    batch, records = runtime.prepare_table(table), table.records()
    prediction = runtime.decide(runtime.score(batch.features), batch.flags)
    targets = [target] * len(records)
    if target is None and runtime.manifest.task == "multiclass" and prediction.labels is not None:
        targets = prediction.labels.tolist()
    answers = page.format_answers(prediction)
    reports: dict[int, RowReport] = {}
    for name in dict.fromkeys(targets):
        places = [place for place, row_target in enumerate(targets) if row_target == name]
        features = batch.features[places]
        attribution = explainer.explain(features, target=name)
        check_attribution(attribution, [job.rows[place] for place in places], model=runtime.name)
        some = row_reports(attribution, [records[place] for place in places], outcome=runtime.manifest.target)
        matrices = interactions(explainer, features, name) if job.options.interactions else None
        for row, (place, report) in enumerate(zip(places, some, strict=True)):
            reports[place] = replace(
                report, row_id=job.rows[place], prediction=answers[place],
                contributions=dict(zip(attribution.names, attribution.values[row].tolist(), strict=True)),
                interactions=None if matrices is None else strongest_pairs(matrices[row], explainer.names),
                flags=tuple(RowFlag(flag.column, flag.what) for flag in batch.flags if flag.row == place) or None,
            )  # fmt: skip
    return tuple(reports[place] for place in range(len(records)))


def _select_rows(rows: Sequence[int], num_rows: int) -> list[int]:
    """The rows to explain one by one: those named, else the first few. InputError for too many, and for one that a
    table of `num_rows` does not have."""
    if len(rows) > page.MAX_ROWS:
        raise InputError(
            f"{len(rows)} rows are asked for", expected=f"at most {page.MAX_ROWS}", fix="ask in several runs"
        )
    for row in rows:
        if not 0 <= row < num_rows:
            raise InputError(
                f"there is no row {row}",
                expected=f"0 to {num_rows - 1}; rows are counted from 0",
                fix="ask for a row that the file has",
            )
    return list(rows) or list(range(min(DEFAULT_NUM_ROWS, num_rows)))
