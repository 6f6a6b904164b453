"""A fitted estimator, Pipeline or search of scikit-learn, LightGBM, CatBoost or XGBoost -> a bundle.

    to_bundle(search, X_test, y_test, out="loans")      # served, explained and watched like every other bundle

Main path: the live object, never a pickle -> its steps checked by name -> ONNX by each route -> the answers of the
bundle compared with those of the estimator on the rows of X -> written, or nothing is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from deepseek.automl import evidence
from deepseek.automl.pack import as_json
from deepseek.automl.run_bundle.exported import prior_outputs
from deepseek.automl.shipped import RunClock, ShipResult
from deepseek.bundle import EngineEntry, Lineage, Manifest, Output, check_name, check_target, now, write_bundle
from deepseek.bundle.promises import Promises
from deepseek.contracts import Float32, Float64, JsonObject, Task
from deepseek.data import Table, encode_target
from deepseek.data.view.card import make_card
from deepseek.engines import check_parity, export_onnx
from deepseek.engines.decide import Decision
from deepseek.engines.onnx import GRAPH, OnnxEngine
from deepseek.engines.parity import ParityReport
from deepseek.engines.registry import REFERENCE
from deepseek.engines.tabular.graph_part import GraphWeights
from deepseek.errors import CheckError, ComputeError, DeepseekError, InputError, IntegrityError
from deepseek.extras import need
from deepseek.integrations.sklearn.columns import ModelColumns, read_columns
from deepseek.integrations.sklearn.graphs import Route, make_graph, routes
from deepseek.integrations.sklearn.probes import make_probes
from deepseek.integrations.sklearn.steps import check_converters, fitted_model, split_steps, unseen_warnings, walk
from deepseek.integrations.sklearn.tables import class_names, read_any_rows
from deepseek.nn.model import Model, Part
from deepseek.train.tabular.metrics import PairedFigures, measure_pair

#: Most that an answer may differ from the estimator's: of a probability, and of a value relative to max(1, its size).
SOURCE_LIMIT = 1e-5
FLOOR = 1e-7  # keeps the logarithm of a probability finite, and moves it by less than float32 can say
NOTE = "the rows that were passed with the estimator; whether it was fitted on them is not known"


@dataclass(frozen=True, slots=True, eq=False)
class ConvertedModel:
    """A model by one route, and how far its answers are from the estimator's on the rows that were passed, and on
    probes that were made of them."""

    model: Model
    graph: bytes
    route: Route
    output: Float64  # (N, C) or (N, 1) of the graph, for the rows that were passed
    difference: float  # the largest of all rows, as SOURCE_LIMIT counts it
    num_different: int  # rows beyond the limit
    num_compared: int  # rows and probes


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedAnswers:
    """What the estimator says to the rows that were passed, then to the probes."""

    features: Float32  # (M, F)
    output: Float64  # (M, C) or (M, 1)
    num_rows: int  # that were passed; the others are probes


def to_bundle(
    estimator: Any, X: Any, y: Any = None, *, out: str | Path, name: str | None = None, target: str = "target",
    overwrite: bool = False, key: Path | None = None,
) -> ShipResult:  # fmt: skip
    """Write the bundle of a fitted estimator to the folder `out`.

    `X`: rows (N, F) as the estimator takes them, on which the bundle must answer as it does; `y`: their targets, for
    figures with intervals. `target`: what the bundle calls what is predicted. `key`: a private key that signs.
    InputError names a step without a converter or a column that cannot be read; CheckError where the answers differ
    (nothing is written then); ExtraError without skl2onnx.
    """
    need("skl2onnx", extra="sklearn")
    clock = RunClock()
    check_target(out, overwrite=overwrite, key=key)
    check_name(name or Path(out).resolve().name)
    model = fitted_model(estimator)
    check_converters(model)
    table = read_any_rows(X)
    columns = read_columns(table, model, target)
    task, labels = _task_of(model)
    features = columns.preprocessor.table(table).features
    expected = _with_probes(model, X, columns, ExpectedAnswers(features, _ask(model, X), len(features)))
    converted = _convert_by_best_route(model, columns, expected, task, labels)
    _check_classes(model, X, converted.output, task, labels)
    parity = check_parity(converted.model, converted.graph, features, kinds=(REFERENCE,))
    figures, report = _measure(y, converted.output, task, labels, target)
    names = list(dict.fromkeys(type(step).__name__ for _, step in walk(model)))
    warnings = unseen_warnings(model)
    documents = _documents(table, columns, converted, parity, names, target, report, warnings)
    files = {
        **converted.model.to_files(), GRAPH: converted.graph, "preprocess.json": columns.preprocessor.to_bytes(),
        **{path: as_json(document) for path, document in documents.items()},
    }  # fmt: skip
    entry = EngineEntry(REFERENCE, GRAPH, parity.engines[REFERENCE].output_difference or 0.0, parity.num_rows)
    classes = (Output("label", "str", ()), Output("probabilities", "float32", (len(labels),)))
    manifest = Manifest(
        name=name or Path(out).resolve().name, version="1", created=now(), task=task, target=target,
        inputs=columns.preprocessor.inputs(), outputs=classes if labels else (Output("value", "float32", ()),),
        labels=labels, threshold=None, engines=(entry,),
        lineage=Lineage(
            parent=None, data=table.digest(), config={"estimator": names}, seed=0, versions=evidence.package_versions()
        ),
    )  # fmt: skip
    bundle = write_bundle(out, manifest, files, overwrite=overwrite, key=key)
    return ShipResult(
        path=bundle.path, digest=bundle.digest, task=task, target=target, model=" > ".join(names), engine=REFERENCE,
        metrics={} if figures is None else figures.first, baseline={} if figures is None else figures.second,
        size_bytes=bundle.size_bytes, cpu_s=clock.cpu_s(), wall_s=clock.wall_s(), seed=0, num_trials=0,
        warnings=warnings,
    )  # fmt: skip


def _task_of(model: Any) -> tuple[Task, tuple[str, ...]]:
    if not is_classifier(model):
        return "regression", ()
    classes = np.asarray(model.classes_)
    if classes.ndim != 1:
        raise InputError("the classifier has several targets", expected="one target", fix="convert one per target")
    labels = class_names(classes)
    return ("binary" if len(labels) == 2 else "multiclass"), labels


def _ask(model: Any, X: Any) -> Float64:
    """The estimator's own answers (N, C) or (N, 1). InputError where they are not finite or of several targets."""
    answers = np.asarray(model.predict_proba(X) if is_classifier(model) else model.predict(X), np.float64)
    answers = answers[:, None] if answers.ndim == 1 else answers
    if answers.ndim != 2 or (not is_classifier(model) and answers.shape[1] != 1):
        raise InputError("the estimator has several targets", expected="one target", fix="convert one per target")
    if not np.isfinite(answers).all():
        raise InputError("the estimator answers NaN or infinity", expected="finite answers", fix="mend it or its rows")
    return answers


def _with_probes(model: Any, X: Any, columns: ModelColumns, expected: ExpectedAnswers) -> ExpectedAnswers:
    """The same with probes behind them, where the estimator answers such rows."""
    probes = make_probes(X)
    if probes is None:
        return expected
    try:
        answers = _ask(model, probes)
        features = columns.preprocessor.table(read_any_rows(probes)).features
    except (ValueError, TypeError, InputError):  # it refuses a value that it has not seen, or answers NaN
        return expected
    both = np.concatenate([expected.features, features]), np.concatenate([expected.output, answers])
    return ExpectedAnswers(*both, expected.num_rows)


def _convert_by_best_route(
    model: Any, columns: ModelColumns, expected: ExpectedAnswers, task: Task, labels: tuple[str, ...]
) -> ConvertedModel:
    """The first route that agrees with the estimator within SOURCE_LIMIT. CheckError with the figures of the best where
    none does, InputError where none could be converted and run."""
    closest: ConvertedModel | None = None
    problem: DeepseekError | None = None
    for route in routes(split_steps(model)[1]):
        try:
            converted = _convert_by(route, model, columns, expected, task, labels)
        except (InputError, IntegrityError, ComputeError) as error:  # of the last route, the plainest
            problem = error
            continue
        if not converted.num_different:
            return converted
        if closest is None or converted.num_different < closest.num_different:
            closest = converted
    if closest is None:
        raise problem or InputError("there is no route", expected="one route at least", fix="report it as a bug")
    raise CheckError(
        f"the converted model answers otherwise than the estimator on {closest.num_different} of "
        f"{closest.num_compared} rows, by {closest.difference:.2g} at the most",
        expected=f"differences of at most {SOURCE_LIMIT:g} on the rows of X, and on others made of them",
        fix="fit on float32 (X.astype('float32')), or replace the step whose converter rounds; nothing was written",
    )


def _convert_by(
    route: Route, model: Any, columns: ModelColumns, expected: ExpectedAnswers, task: Task, labels: tuple[str, ...]
) -> ConvertedModel:
    typical = columns.preprocessor.rows([columns.preprocessor.example()]).features[0]
    weights = GraphWeights.of(make_graph(model, columns, route), typical)
    num_margins = len(labels) if task == "multiclass" else 1
    part = Part("estimator", weights, 1.0, "log_odds" if labels else "identity", FLOOR)
    whole_model = Model(
        task, labels, "log-odds" if labels else "target units", (part,), bias=(0.0,) * num_margins, floor=FLOOR
    )
    graph = export_onnx(whole_model, expected.features.shape[1])
    output = OnnxEngine(graph).score(expected.features).output.astype(np.float64)
    if output.shape != expected.output.shape:
        raise InputError(
            f"the converted model answers {output.shape}", expected=f"{expected.output.shape}", fix="report it as a bug"
        )
    scale = 1.0 if labels else np.maximum(1.0, np.abs(expected.output))
    apart = np.nan_to_num(np.abs(output - expected.output) / scale, nan=np.inf).max(axis=1)
    return ConvertedModel(
        whole_model, graph, route, output[: expected.num_rows], float(apart.max()), int((apart > SOURCE_LIMIT).sum()),
        len(apart),
    )  # fmt: skip


def _check_classes(model: Any, X: Any, output: Float64, task: Task, labels: tuple[str, ...]) -> None:
    """CheckError where the estimator decides by another rule than the most probable class."""
    if not labels:
        return
    ordered = np.sort(output, axis=1)
    is_clear = ordered[:, -1] - ordered[:, -2] > 2 * SOURCE_LIMIT
    ours = np.asarray(model.classes_)[Decision(task, labels).classes(output.astype(np.float32))]
    theirs = np.asarray(model.predict(X)).reshape(-1)
    num_other = int((ours[is_clear] != theirs[is_clear]).sum())
    if num_other:
        raise CheckError(
            f"the estimator does not answer with its most probable class in {num_other} rows",
            expected="predict() by the largest of predict_proba()", fix="convert the classifier without its own rule",
        )  # fmt: skip


def _measure(
    y: Any, output: Float64, task: Task, labels: tuple[str, ...], target: str
) -> tuple[PairedFigures | None, JsonObject | None]:
    """Figures of the bundle and of the class shares (or the mean) of the same rows, and evidence/metrics.json."""
    if y is None:
        return None, None
    truth = _encode(y, labels, target)
    if len(truth) != len(output):
        raise InputError(
            f"y has {len(truth)} values for {len(output)} rows", expected="one for each row of X", fix="pass them all"
        )
    baseline = np.tile(prior_outputs(truth, len(labels)), (len(output), 1))
    figures = measure_pair(task, truth, output, baseline, np.ones(len(truth)), seed=0)
    decided = Decision(task, labels).classes(output.astype(np.float32)) if labels else np.zeros(len(truth), np.int64)
    return figures, {
        "rows": "passed", "num_rows": len(truth), "note": NOTE,
        "metrics": evidence.figures_to_dict(figures.first), "baseline": evidence.figures_to_dict(figures.second),
        "baseline_name": "the class shares of these rows" if labels else "the mean of these rows",
        **evidence.diagnostic_curves(task, truth, output, decided, labels), **Promises().to_dict(),
    }  # fmt: skip


def _encode(y: Any, labels: tuple[str, ...], target: str) -> NDArray[Any]:
    values = np.asarray(y).reshape(-1)
    if not labels:
        return values.astype(np.float64)
    distinct, places = np.unique(values, return_inverse=True)
    names = np.array(class_names(distinct), object)[places]
    return encode_target(Table({target: names}, {target: "text"}), target, labels)


def _documents(
    table: Table, columns: ModelColumns, converted: ConvertedModel, parity: ParityReport, names: list[str],
    target: str, report: JsonObject | None, warnings: tuple[str, ...],
) -> dict[str, object]:  # fmt: skip
    route = converted.route
    source: JsonObject = {
        "estimator": names, "num_rows": len(converted.output),
        "num_probes": converted.num_compared - len(converted.output), "max_difference": converted.difference,
        "limit": SOURCE_LIMIT, "precision": {"steps": route.steps, "last": route.last},
    }  # fmt: skip
    return {
        "card.json": make_card(table, columns.kinds, None),
        "example.json": columns.preprocessor.example(),
        "decision.json": {"threshold": None, "threshold_rule": None, "costs": None, "interval": None},
        "evidence/environment.json": evidence.environment(None),
        "evidence/data.json": {
            "warnings": list(warnings),
            "kinds": columns.kinds,
            "digest": table.digest(),
            "target": target,
        },
        "evidence/parity.json": {**parity.to_dict(), "source": source},
        **({} if report is None else {"evidence/metrics.json": report}),
    }
