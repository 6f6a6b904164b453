"""The back half of `ship`, the same for tables and for rows of files: decide, measure, write down, pack.

    decision = choose_decision(task, labels, target, output, weight, options)      # on held-out rows
    result = pack_bundle(FinishedRun(data, options, ..., decision, test), clock)    # evidence, manifest, bundle

tabular_pack.py and multimodal_run.py bring what is theirs: the graph, its parity, the evidence of their kind.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl import evidence
from deepseek.automl.cluster.workers import Workers
from deepseek.automl.comparison.against import EVIDENCE_FILE, RunSplit, compare_with_old
from deepseek.automl.comparison.differences import ComparedRows, group_codes
from deepseek.automl.comparison.models import ScoredModel
from deepseek.automl.comparison.results import ComparisonResult
from deepseek.automl.constraints import row_weights
from deepseek.automl.evaluate import files_root
from deepseek.automl.naming import default_name
from deepseek.automl.options import ShipOptions
from deepseek.automl.shipped import RunClock, ShipResult
from deepseek.automl.split_data import SplitData, rows_per_day
from deepseek.bundle import EngineEntry, Input, Lineage, Manifest, Output, now, write_bundle
from deepseek.bundle.last_fit import LastFit
from deepseek.bundle.promises import Promises
from deepseek.contracts import Figure, Float64, JsonObject, Task
from deepseek.data import Table
from deepseek.data.table.formats import TARGET_FORMAT
from deepseek.data.table.readings import ColumnReading
from deepseek.engines.decide import Decision
from deepseek.train.tabular.contradictions import find_contradictions
from deepseek.train.tabular.decide import Threshold, check_costs, choose_threshold
from deepseek.train.tabular.group_intervals import ConformalInterval
from deepseek.train.tabular.metrics import PairedFigures, default_metric
from deepseek.train.tabular.operating_point import DecisionRule, measure_operating_point


@dataclass(frozen=True, slots=True, eq=False)
class ChosenDecision:
    """How outputs become answers, as set on held-out rows; what a task has not is None."""

    threshold: Threshold | None = None  # of two classes
    num_negatives_set: int | None = None  # rows of the first class that the threshold was set on
    costs: Float64 | None = None  # (C, C): costs[truth][decision]
    interval: ConformalInterval | None = None  # of regression
    num_alarms_set: int | None = None  # by a bound: how many of num_negatives_set may be alarms
    max_alerts_per_day: float | None = None  # a limit that the threshold was set for
    range: tuple[float, float] | None = None  # of regression: what a value may be

    @property
    def threshold_value(self) -> float | None:
        """The probability from which on the positive class is chosen."""
        return None if self.threshold is None else self.threshold.value

    def to_dict(self) -> JsonObject:
        """decision.json."""
        return {
            "threshold": self.threshold_value,
            "threshold_rule": None if self.threshold is None else self.threshold.to_dict(),
            "costs": None if self.costs is None else self.costs.tolist(),
            "interval": None if self.interval is None else self.interval.to_dict(),
            **({} if self.range is None else {"range": list(self.range)}),
        }

    def classes(self, task: Task, labels: tuple[str, ...], output: Float64) -> NDArray[np.int64]:
        """Class numbers (N,) that are served for outputs (N, C); zeros for regression."""
        if task == "regression":
            return np.zeros(len(output), np.int64)
        rule = Decision(task, labels, threshold=self.threshold_value, costs=self.costs)
        return rule.classes(output.astype(np.float32))


def choose_decision(
    task: Task, labels: tuple[str, ...], target: NDArray[Any], output: Float64, weight: Float64, options: ShipOptions
) -> ChosenDecision:
    """Threshold, costs or interval by what the options demand, set on held-out rows: their targets (M,), calibrated
    outputs (M, C) or (M, 1) and weights (M,). CheckError when no threshold meets the limits."""
    if task == "regression":
        return ChosenDecision(interval=ConformalInterval.fit(target, output[:, 0], options.interval))
    costs = None if options.costs is None else check_costs(options.costs, labels)
    threshold = None
    if task == "binary":
        threshold = choose_threshold(
            target, output[:, 1], weight, max_fpr=options.max_fpr, min_recall=options.min_recall, costs=costs
        )
    num_negatives = None if threshold is None else int(np.sum(target == 0))
    return ChosenDecision(threshold, num_negatives, costs)


@dataclass(frozen=True, slots=True, eq=False)
class TestFigures:
    """What the exported model answers to the N test rows, and how good that is."""

    target: NDArray[Any]  # (N,) class numbers or values
    output: Float64  # (N, C) probabilities or (N, 1) values
    weight: Float64  # (N,)
    figures: PairedFigures  # of the model, then of the baseline
    baseline_name: str

    @property
    def metrics(self) -> dict[str, Figure]:
        return self.figures.first

    @property
    def baseline(self) -> dict[str, Figure]:
        return self.figures.second


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A trained and exported model with all that its bundle needs."""

    data: SplitData
    options: ShipOptions
    kinds: dict[str, str]  # of the columns, by name
    warnings: list[str]
    model: str  # as a person calls it
    num_trials: int  # trials of the search, or epochs of a net
    lineage: JsonObject  # what the run adds to the options in bundle.json: {"trials"} or {"epochs"}
    inputs: tuple[Input, ...]  # columns that a request may have
    engines: tuple[EngineEntry, ...]  # the first one answers single rows
    decision: ChosenDecision
    test: TestFigures
    validation: PairedFigures  # of the model, then of the baseline, on the rows that they were chosen on
    files: dict[str, bytes]  # weights, graph, preprocessing, by path in the bundle
    documents: dict[str, object]  # further JSON files, by path in the bundle
    fitted_rows: Table | None = None  # of the last fit; None: those for development
    last_fit: LastFit | None = None  # how many these are, and how many the measured model had
    metrics_details: JsonObject = field(default_factory=dict)  # added to evidence/metrics.json
    data_details: JsonObject = field(default_factory=dict)  # added to evidence/data.json
    workers: Workers | None = None  # of the cluster that has fitted
    rows_per_day: float | None = None  # where the rows of the run are not all that there were; None: counted in them


def pack_bundle(run: FinishedRun, clock: RunClock) -> ShipResult:
    """Write the bundle, whole or not at all. InputError where it cannot be written."""
    promises = check_promises(run)
    alarms = tuple(text.en for text in promises.warnings())
    run = replace(run, warnings=[*alarms, *run.warnings])
    manifest = _manifest(run)
    options = run.options
    out = Path(options.out or manifest.name)
    against = None if options.against is None else _compare_with_old(run, options.against, out)
    documents = _documents(run, promises) | ({} if against is None else {EVIDENCE_FILE: against.to_dict()})
    files = run.files | {name: as_json(document) for name, document in documents.items()}
    bundle = write_bundle(out, manifest, files, overwrite=options.overwrite, key=options.key)
    if options.progress:
        options.progress("done", 1.0)
    return ShipResult(
        path=bundle.path, digest=bundle.digest, task=run.data.info.task, target=options.target, model=run.model,
        engine=run.engines[0].kind, metrics=run.test.metrics, baseline=run.test.baseline, size_bytes=bundle.size_bytes,
        cpu_s=clock.cpu_s() + run.data.budget.elsewhere_s, wall_s=clock.wall_s(), seed=options.seed,
        num_trials=run.num_trials,
        warnings=(*run.warnings, *(against.warnings if against else ())), against=against,
        operating_point=promises.operating_point, alarms=alarms, columns=_readings(run), last_fit=run.last_fit,
    )  # fmt: skip


def _compare_with_old(run: FinishedRun, old: str | Path, out: Path) -> ComparisonResult:
    """The new model against an older bundle on the test rows; from data that was split by groups these are drawn
    together."""
    data, options, test = run.data, run.options, run.test
    method, _, column = options.split.partition(":")
    groups = group_codes(data.test, column) if method == "group" else None
    rows = ComparedRows(
        data.info.task, options.target, data.labels, data.test, test.target, row_weights(data.test, options.weights),
        weights_name=options.weights, groups=groups, group_name=column if method == "group" else None,
    )  # fmt: skip
    decided = run.decision.classes(data.info.task, data.labels, test.output)
    return compare_with_old(
        old, ScoredModel(str(out), str(out), "", test.output, decided), rows,
        RunSplit(data.table, data.split.test, data.development.digest(), options.test is not None),
        by=options.segments, root=files_root(data.source, options.files),
        broken="mask" if options.broken == "mask" else "fail", seed=options.seed,
    )  # fmt: skip


def check_promises(run: FinishedRun) -> Promises:
    """The operating point on the test rows, and the figures that these contradict."""
    data, options, test, decision = run.data, run.options, run.test, run.decision
    point = None
    if decision.threshold is not None:
        decided = decision.classes(data.info.task, data.labels, test.output)
        rule = DecisionRule(
            data.labels[1], decision.threshold.value, decision.threshold.rule, options.max_fpr, options.min_recall,
            decision.num_negatives_set, decision.max_alerts_per_day, decision.num_alarms_set,
        )  # fmt: skip
        point = measure_operating_point(
            test.target, decided, test.weight, rule, rows_per_day=run.rows_per_day or rows_per_day(data, run.kinds)
        )
    searched = options.metric or default_metric(data.info.task, test.target)
    return Promises(point, find_contradictions(data.info.task, searched, test.figures, run.validation))


def as_json(document: object) -> bytes:
    """A JSON file of a bundle: sorted keys, so that equal content has an equal digest."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, default=float) + "\n").encode()


def _documents(run: FinishedRun, promises: Promises) -> dict[str, object]:
    """The JSON files of a bundle, by path."""
    data = run.data
    return run.documents | {
        "decision.json": run.decision.to_dict(),
        "evidence/metrics.json": _metrics_report(run, promises),
        "evidence/environment.json": evidence.environment(run.options.command)
        | ({} if run.workers is None else {"cluster": run.workers.to_dict()}),
        "evidence/data.json": {
            "warnings": run.warnings,
            "kinds": run.kinds,
            "columns": [reading.to_dict() for reading in _readings(run)],
            "digest": data.development.digest(),
            **({"rows": data.sample.to_dict()} if data.sample else {}),
            **run.data_details,
        },
    }


def _readings(run: FinishedRun) -> tuple[ColumnReading, ...]:
    """How each column was read, with the kind as which it enters the model."""
    target = run.options.target
    return tuple(
        replace(reading, kind=run.kinds.get(reading.name, "target" if reading.name == target else ""))
        for reading in run.data.table.readings
    )


def _metrics_report(run: FinishedRun, promises: Promises) -> JsonObject:
    task, labels, test = run.data.info.task, run.data.labels, run.test
    decided = run.decision.classes(task, labels, test.output)
    return {
        "rows": "test",
        "num_rows": len(test.target),
        "metrics": evidence.figures_to_dict(test.metrics),
        "baseline": evidence.figures_to_dict(test.baseline),
        "baseline_name": test.baseline_name,
        **evidence.diagnostic_curves(task, test.target, test.output, decided, labels),
        **promises.to_dict(),
        **({} if run.last_fit is None else {"last_fit": run.last_fit.to_dict()}),
        **run.metrics_details,
    }


def _manifest(run: FinishedRun) -> Manifest:
    labels, options = run.data.labels, run.options
    classes = (Output("label", "str", ()), Output("probabilities", "float32", (len(labels),)))
    config = options.config() | {"split": run.data.method} | run.lineage
    target_format = run.data.table.formats.get(options.target)
    if target_format is not None:
        config[TARGET_FORMAT] = asdict(target_format)
    return Manifest(
        name=default_name(options, run.data.source), version="1", created=now(), task=run.data.info.task,
        target=options.target, inputs=run.inputs,
        outputs=classes if labels else (Output("value", "float32", ()),), labels=labels,
        threshold=run.decision.threshold_value, engines=run.engines,
        lineage=Lineage(
            parent=None, data=(run.data.development if run.fitted_rows is None else run.fitted_rows).digest(),
            config=config, seed=options.seed, versions=evidence.package_versions(),
        ),
    )  # fmt: skip
