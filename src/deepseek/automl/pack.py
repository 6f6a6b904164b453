"""From a developed model to the files of its bundle: weights, graph, decision, card and evidence."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl import evidence
from deepseek.automl.develop import DevelopedModel, search_report
from deepseek.automl.shipped import ShipResult
from deepseek.bundle import Lineage, Manifest, Output, now, write_bundle
from deepseek.contracts import Figure, Float32, Float64
from deepseek.data import make_card
from deepseek.engines import Source, Tuning, autotune, check_parity, export_onnx
from deepseek.engines.checks.edges import rows_with_missing_columns
from deepseek.engines.decide import Decision
from deepseek.explain import explainer_for
from deepseek.nn.model import Model
from deepseek.train.candidates import FitData
from deepseek.train.tabular.decide import check_costs, choose_threshold, conformal_half_width
from deepseek.train.tabular.metrics import measure_figures

if TYPE_CHECKING:
    from deepseek.automl.tabular_run import TabularRun

PARITY_ROWS = 512
EXPLAIN_ROWS = 100
REFERENCE_ROWS = 200  # of the opt-in file of real training rows


@dataclass(frozen=True)
class BundleContents:
    manifest: Manifest
    files: dict[str, bytes]
    metrics: dict[str, Figure]
    baseline: dict[str, Figure]
    model_name: str
    engine: str


def write_tabular_bundle(work: TabularRun, developed: DevelopedModel, clock: tuple[float, float]) -> ShipResult:
    """Evidence and files, then the bundle. `clock`: perf_counter and process_time when the work began."""
    if work.asked.progress:
        work.asked.progress("exporting, checking, explaining", 0.96)
    packed = export_tabular(work, developed)
    out = Path(work.asked.out or packed.manifest.name)
    bundle = write_bundle(out, packed.manifest, packed.files, overwrite=work.asked.overwrite, key=work.asked.key)
    if work.asked.progress:
        work.asked.progress("done", 1.0)
    return ShipResult(
        path=bundle.path, digest=bundle.digest, task=work.task, target=work.asked.target,
        model=packed.model_name, engine=packed.engine, metrics=packed.metrics, baseline=packed.baseline,
        size_bytes=bundle.size_bytes, cpu_s=time.process_time() - clock[1], wall_s=time.perf_counter() - clock[0],
        seed=work.asked.seed, num_trials=len(developed.trials), warnings=tuple(work.warnings),
    )  # fmt: skip


def export_tabular(work: TabularRun, developed: DevelopedModel) -> BundleContents:
    """Files and manifest. Raises CheckError when the exported graph or a stated limit does not hold."""
    model, test = developed.model, work.fit_data(work.test)
    graph = export_onnx(model, test.features.shape[1])
    missing = rows_with_missing_columns(work.preprocessor)
    parity = check_parity(model, graph, test.features, max_rows=PARITY_ROWS, missing=missing)
    source = Source(lambda: model, lambda: graph, test.features.shape[1], 1)
    tuning = autotune(source, parity, test.features, budget_s=1.0)
    decision = choose_decision(work, developed)
    output = graph_outputs(model, graph, test.features)
    baseline_output = developed.baseline.score(test.features).output.astype(np.float64)
    metrics = measure_figures(work.task, test.target, output, test.weight, seed=work.asked.seed)
    baseline = measure_figures(work.task, test.target, baseline_output, test.weight, seed=work.asked.seed)
    files = {**model.to_files(), "model.onnx": graph, "preprocess.json": work.preprocessor.to_bytes()}
    documents = {
        "decision.json": decision,
        "card.json": make_card(work.development, work.kinds, work.asked.target),
        "example.json": work.preprocessor.example(),
        "evidence/metrics.json": _metrics_report(work, metrics, baseline, test, output, decision),
        "evidence/validation.json": _validation_report(work, developed),
        "evidence/search.json": search_report(developed),
        "evidence/parity.json": {**parity.to_dict(), "timings": tuning.to_dict()},
        "evidence/explanation.json": explanation_report(work, model, test.features),
        "evidence/environment.json": evidence.environment(work.asked.command),
        "evidence/data.json": {
            "warnings": work.warnings,
            "kinds": work.kinds,
            "digest": work.development.digest(),
            **({"rows": work.reading.to_dict()} if work.reading else {}),
        },
        **_group_reports(work, test, output, decision),
    }
    files |= {name: as_json(document) for name, document in documents.items()}
    if work.asked.reference:
        files["reference.parquet"] = _reference_rows(work)
    manifest = _manifest(work, developed, tuning, decision["threshold"])
    return BundleContents(manifest, files, metrics, baseline, _model_name(developed), manifest.engines[0].kind)


def graph_outputs(model: Model, graph: bytes, features: Float32) -> Float64:
    """Outputs (N, C) or (N, 1) of the exported graph: the figures are those of what will be served."""
    from deepseek.engines import open_engine

    engine = open_engine("onnxruntime", Source(lambda: model, lambda: graph, features.shape[1], 1))
    output = engine.score(features).output.astype(np.float64)
    engine.close()
    return output


def decided_classes(work: TabularRun, output: Float64, decision: dict[str, Any]) -> NDArray[np.int64]:
    """Class numbers (N,) by the threshold or the costs in force; zeros for regression."""
    if work.task == "regression":
        return np.zeros(len(output), np.int64)
    rule = Decision.from_bytes(as_json(decision), task=work.task, labels=work.labels)
    return rule.classes(output.astype(np.float32))


def choose_decision(work: TabularRun, developed: DevelopedModel) -> dict[str, Any]:
    """decision.json, set on the held rows: threshold, costs, interval."""
    asked, held, output = work.asked, developed.held, developed.held_output
    decision: dict[str, Any] = {"threshold": None, "threshold_rule": None, "costs": None, "interval": None}
    if work.task == "regression":
        half_width = conformal_half_width(held.target, output[:, 0], asked.interval)
        decision["interval"] = {"level": asked.interval, "half_width": half_width, "num_rows": len(held.target)}
        return decision
    costs = None if asked.costs is None else check_costs(asked.costs, work.labels)
    if work.task == "binary":
        found = choose_threshold(
            held.target, output[:, 1], held.weight, max_fpr=asked.max_fpr, min_recall=asked.min_recall, costs=costs
        )
        decision |= {"threshold": found.value, "threshold_rule": found.to_dict()}
    decision["costs"] = None if costs is None else costs.tolist()
    return decision


def explanation_report(work: TabularRun, model: Model, features: Float32) -> dict[str, Any]:
    """How explanations of this model are made and how exactly they add up, on test rows spread evenly."""
    rows = np.unique(np.linspace(0, len(features) - 1, min(EXPLAIN_ROWS, len(features))).round().astype(np.int64))
    found = explainer_for(model, work.preprocessor.owners()).explain(features[rows])
    importance = np.abs(found.values).mean(axis=0)
    order = np.argsort(-importance, kind="stable")
    return {
        "method": found.method,
        "scale": found.scale,
        "target": found.target,
        "num_rows": len(rows),
        "max_residual": float(np.abs(found.residual).max()),
        "importance": {found.names[i]: float(importance[i]) for i in order},
    }


def _metrics_report(
    work: TabularRun,
    metrics: dict[str, Figure],
    baseline: dict[str, Figure],
    test: FitData,
    output: Float64,
    decision: dict[str, Any],
) -> dict[str, Any]:
    report: dict[str, Any] = {
        "rows": "test",
        "num_rows": len(test.target),
        "metrics": {name: found.to_dict() for name, found in metrics.items()},
        "baseline": {name: found.to_dict() for name, found in baseline.items()},
        "baseline_name": "HistGradientBoosting with its defaults, the same rows",
    }
    report |= evidence.diagnostic_curves(
        work.task, test.target, output, decided_classes(work, output, decision), work.labels
    )
    if work.task != "regression":
        report["num_rows_by_label"] = {
            label: int(np.sum(test.target == index)) for index, label in enumerate(work.labels)
        }
    return report


def _validation_report(work: TabularRun, developed: DevelopedModel) -> dict[str, Any]:
    """Figures on the held rows, by models that had not seen them; the blend and its calibration were chosen on them."""
    held, seed = developed.held, work.asked.seed
    ours = measure_figures(work.task, held.target, developed.held_output, held.weight, seed=seed)
    yardstick = measure_figures(work.task, held.target, developed.baseline_output, held.weight, seed=seed)
    return {
        "num_rows": len(held.target),
        "metrics": {name: found.to_dict() for name, found in ours.items()},
        "baseline": {name: found.to_dict() for name, found in yardstick.items()},
        "note": "the blend, its calibration and the threshold were chosen on these rows",
    }


def _group_reports(work: TabularRun, test: FitData, output: Float64, decision: dict[str, Any]) -> dict[str, Any]:
    """Evidence by segment and group, where asked."""
    made: dict[str, Any] = {}
    if work.asked.segments:
        made["evidence/segments.json"] = evidence.segment_figures(
            work.task, work.test, work.asked.segments, test.target, output
        )
    if work.asked.fairness:
        decided = decided_classes(work, output, decision)
        made["evidence/fairness.json"] = evidence.fairness_gaps(
            work.task, work.test, work.asked.fairness, test.target, output, decided
        )
    return made


def _manifest(work: TabularRun, developed: DevelopedModel, tuning: Tuning, threshold: float | None) -> Manifest:
    classes = len(work.labels)
    outputs = (
        (Output("value", "float32", ()),)
        if work.task == "regression"
        else (Output("label", "str", ()), Output("probabilities", "float32", (classes,)))
    )
    config = work.asked.config() | {"trials": len(developed.trials)}
    from deepseek.automl.naming import default_name

    return Manifest(
        name=default_name(work.asked, work.source),
        version="1",
        created=now(),
        task=work.task,
        target=work.asked.target,
        inputs=work.preprocessor.inputs(),
        outputs=outputs,
        labels=work.labels,
        threshold=threshold,
        engines=tuning.entries,
        lineage=Lineage(
            parent=None,
            data=work.development.digest(),
            config=config,
            seed=work.asked.seed,
            versions=evidence.package_versions(),
        ),
    )


def _model_name(developed: DevelopedModel) -> str:
    """'xgboost', or the families of a blend by falling weight: 'blend of extra_trees, mlp'."""
    total: dict[str, float] = {}
    for trial, weight in zip(developed.blend.trials, developed.blend.weights, strict=True):
        total[trial.family] = total.get(trial.family, 0.0) + weight
    families = sorted(total, key=lambda family: -total[family])
    return families[0] if len(families) == 1 else "blend of " + ", ".join(families)


def _reference_rows(work: TabularRun) -> bytes:
    """A seeded sample of real training rows: the columns that the model reads, so no target, weight or identifier."""
    import io

    from deepseek.extras import need

    pa, parquet = need("pyarrow", extra="tabular"), need("pyarrow.parquet", extra="tabular")
    pick = np.random.default_rng(work.asked.seed).permutation(work.development.num_rows)[:REFERENCE_ROWS]
    read = {column.name for column in work.preprocessor.columns}
    rows = work.development.take(np.sort(pick)).drop([n for n in work.development.names if n not in read])
    sink = io.BytesIO()
    parquet.write_table(pa.table({name: pa.array(v, from_pandas=True) for name, v in rows.columns.items()}), sink)
    return sink.getvalue()


def as_json(document: Any) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, default=float) + "\n").encode()
