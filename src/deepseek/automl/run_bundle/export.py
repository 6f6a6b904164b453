"""The module of a finished run as a bundle: served, predicted with, evaluated, explained and compressed like any other.

    result = export_run("runs/first", RunBundleOptions(shape=(30,), labels=("no", "yes"), out="churn"))

Main path: open the run -> ask the module for a few of its own rows -> export and check -> measure on the validation
rows -> write the bundle, whole or not at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from deepseek.automl import evidence
from deepseek.automl.pack import as_json
from deepseek.automl.run_bundle.exported import ExportedModule, class_targets, prior_outputs
from deepseek.automl.run_bundle.options import RunBundleOptions
from deepseek.automl.run_bundle.rows import DataRows, check_shape, training_rows, validation_rows
from deepseek.automl.run_bundle.trained import TrainedRun, open_run
from deepseek.automl.shipped import RunClock, ShipResult
from deepseek.bundle import Lineage, Manifest, Output, check_name, check_target, now, write_bundle
from deepseek.bundle.promises import Promises
from deepseek.contracts import JsonObject, Task
from deepseek.engines.decide import Decision
from deepseek.extras import need
from deepseek.look.tables import to_json_values
from deepseek.train.tabular.metrics import PairedFigures, measure_pair

VALIDATION_NOTE = "the validation rows of the run; its epochs may have been chosen on them"


def export_run(folder: str | Path, options: RunBundleOptions) -> ShipResult:
    """Write the bundle of a run. InputError, MissingError and IntegrityError for a run that cannot be used, a shape or
    labels that do not fit the module, and a module that cannot be exported; CheckError for a graph that answers
    otherwise than the module."""
    need("torch", extra="train")
    need("onnxscript", extra="compress")
    clock = RunClock()
    check_target(options.out, overwrite=options.overwrite, key=options.key)
    name = options.name or Path(options.out).resolve().name
    check_name(name)
    run = open_run(Path(folder))
    training = training_rows(run)
    check_shape(training, options.shape)
    task = _find_task(run, options, training)
    target = options.target or run.job.data.target
    exported = _export(run, options, task, target, training)
    figures, report = _measure(run, options, task, exported, training)
    warnings = [*exported.warnings]
    if figures is None:
        warnings.append("there are no figures: the run has no validation rows with class numbers or values as targets")
    documents: dict[str, object] = exported.documents | {
        "decision.json": {"threshold": None, "threshold_rule": None, "costs": None, "interval": None},
        "evidence/environment.json": evidence.environment(options.command),
        "evidence/data.json": {"warnings": warnings, "kinds": exported.kinds, "digest": _data_digest(run)},
        "evidence/run.json": to_json_values({"job": run.record.job, "report": run.record.report}),
        **_privacy_evidence(run),
        **({} if report is None else {"evidence/metrics.json": report}),
    }
    files = exported.files | {path: as_json(document) for path, document in documents.items()}
    manifest = _manifest(run, options, name, task, target, exported)
    bundle = write_bundle(options.out, manifest, files, overwrite=options.overwrite, key=options.key)
    return ShipResult(
        path=bundle.path, digest=bundle.digest, task=task, target=target, model=run.job.model.build,
        engine=exported.engine.kind, metrics={} if figures is None else figures.first,
        baseline={} if figures is None else figures.second, size_bytes=bundle.size_bytes, cpu_s=clock.cpu_s(),
        wall_s=clock.wall_s(), seed=run.job.train.seed, num_trials=int((run.record.report or {}).get("num_epochs", 0)),
        warnings=tuple(warnings),
    )  # fmt: skip


def _find_task(run: TrainedRun, options: RunBundleOptions, training: DataRows) -> Task:
    import torch

    from deepseek.automl.run_bundle.answers import count_outputs, task_of

    return task_of(count_outputs(run.module, torch.from_numpy(training.inputs)), options.labels)


def _export(run: TrainedRun, options: RunBundleOptions, task: Task, target: str, training: DataRows) -> ExportedModule:
    if options.is_picture:
        from deepseek.automl.run_bundle.pictures import export_pictures

        return export_pictures(run, options, task, target, training)
    from deepseek.automl.run_bundle.tables import export_table

    return export_table(run, options, task, target, training)


def _measure(
    run: TrainedRun, options: RunBundleOptions, task: Task, exported: ExportedModule, training: DataRows
) -> tuple[PairedFigures | None, JsonObject | None]:
    """Figures of the exported graph and of the class shares (or the mean) on the validation rows, and
    evidence/metrics.json; None where there are no such rows."""
    rows, num_classes = validation_rows(run), len(options.labels)
    truth = None if rows is None else class_targets(rows.target, num_classes)
    if rows is None or truth is None:
        return None, None
    output = exported.outputs(rows.inputs)
    prior = prior_outputs(class_targets(training.target, num_classes), num_classes)
    baseline = np.tile(prior, (len(output), 1))
    figures = measure_pair(task, truth, output, baseline, np.ones(len(truth)), seed=run.job.train.seed)
    decided = np.zeros(len(truth), np.int64)
    if num_classes:
        decided = Decision(task, options.labels).classes(output.astype(np.float32))
    return figures, {
        "rows": "validation", "num_rows": len(truth), "note": VALIDATION_NOTE,
        "metrics": evidence.figures_to_dict(figures.first), "baseline": evidence.figures_to_dict(figures.second),
        "baseline_name": f"{'the class shares' if num_classes else 'the mean'} of the {_described_rows(run)} rows",
        **evidence.diagnostic_curves(task, truth, output, decided, options.labels), **Promises().to_dict(),
    }  # fmt: skip


def _described_rows(run: TrainedRun) -> str:
    return "training" if run.job.dp is None else "validation"


def _data_digest(run: TrainedRun) -> str | None:
    """sha256 of the file that the run was trained on; None where a function gave the batches, and under a privacy
    budget, where it would prove a guess of all rows right."""
    if run.job.dp is not None:
        return None
    path = run.home / run.job.data.train
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _privacy_evidence(run: TrainedRun) -> dict[str, object]:
    """evidence/privacy.json of a run with a budget."""
    spent = (run.record.report or {}).get("privacy")
    if spent is None:
        return {}
    return {
        "evidence/privacy.json": {**spent, "shown_rows": "the validation rows of the run, which it does not protect"}
    }


def _manifest(
    run: TrainedRun, options: RunBundleOptions, name: str, task: Task, target: str, exported: ExportedModule
) -> Manifest:
    labels = options.labels
    classes = (Output("label", "str", ()), Output("probabilities", "float32", (len(labels),)))
    config: JsonObject = to_json_values(  # a clip_norm may be infinite, which JSON cannot say
        {
            "run": run.folder.resolve().name, "model": run.job.model.build, "model_args": dict(run.job.model.args),
            "loss": run.job.loss, "train": asdict(run.job.train), "shape": list(options.shape),
            "weights": (run.record.report or {}).get("digest"),
            **({} if run.job.dp is None else {"privacy": (run.record.report or {}).get("privacy")}),
        }
    )  # fmt: skip
    return Manifest(
        name=name, version="1", created=now(), task=task, target=target, inputs=exported.inputs,
        outputs=classes if labels else (Output("value", "float32", ()),), labels=labels, threshold=None,
        engines=(exported.engine,),
        lineage=Lineage(
            parent=None, data=_data_digest(run), config=config, seed=run.job.train.seed,
            versions=evidence.package_versions(),
        ),
    )  # fmt: skip
