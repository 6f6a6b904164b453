"""`deepseek ship DATA --dp epsilon=3,delta=1e-6`: a linear model or a perceptron, under a budget of the rows.

    result = ship_privately(Path("loans.csv"), PrivateShipOptions("default", PrivacyBudget(3.0, 1e-6), out="loans"))

Main path: read -> a coin for each row: test or not -> describe the columns, by noised counts or by rows that may be
shown -> preprocessing of that description -> noised steps -> export and parity on drawn rows -> noised figures on the
test rows -> bundle. What ship does beyond reads rows without noise, and is not done: search, calibration, thresholds,
leak checks, explanations.

Description and steps are one Gaussian mechanism each; together they have the noise that the budget asks of one release.
The test rows were in neither: what their figures cost is no more than what the others' parameters do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.automl import evidence
from deepseek.automl.pack import as_json
from deepseek.automl.shipped import RunClock, ShipResult
from deepseek.bundle import EngineEntry, Lineage, Manifest, Output, check_name, check_target, now, write_bundle
from deepseek.contracts import Figure, Float64, JsonObject
from deepseek.data import Table, find_kinds, infer_task, make_card, read_table
from deepseek.data.table.table import unknown_column_error
from deepseek.engines import check_parity, export_onnx
from deepseek.engines.checks.edges import rows_with_missing_columns
from deepseek.engines.registry import REFERENCE
from deepseek.errors import InputError
from deepseek.privacy.bundles.pack import GRAPH, finish_model, schema_rows
from deepseek.privacy.owner.figures import noised_figures
from deepseek.privacy.owner.learning import LearningSettings, learn
from deepseek.privacy.owner.marginals import describe_columns
from deepseek.privacy.parties.inputs import InputRows, read_rows
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.rounds.state import begin_study
from deepseek.privacy.study.definition import Study
from deepseek.privacy.study.request import StudyRequest, make_study
from deepseek.privacy.study.settings import ModelSettings, StudySettings
from deepseek.train.private.accountant import Sampling
from deepseek.train.private.budget import PrivacyBudget
from deepseek.train.private.noise import secure_uniform
from deepseek.train.private.plan import PrivacySpent, plan_steps

TEST_SHARE = 0.2
DESCRIPTION_SHARE = 0.15  # of the squared signal of the budget, where the columns are described by counts
DELTA_SHARE = 0.1  # of delta, for values of text that one row alone may have
MIN_ROWS = 100
WIDTHS = (16,)
NOT_DONE = (
    "under --dp nothing reads rows without noise: no search, no calibration, no threshold, no leak check, no "
    "explanation; columns that give the target away have to be dropped by hand"
)


@dataclass(frozen=True)
class PrivateShipOptions:
    """What may be asked for."""

    target: str
    budget: PrivacyBudget
    out: str | Path
    name: str | None = None
    model: Literal["linear", "perceptron"] = "linear"
    drop: tuple[str, ...] = ()
    public_rows: Path | None = None  # rows that may be shown, which describe the columns for nothing
    learning: LearningSettings = field(default_factory=LearningSettings)
    seed: int = 0  # of the first parameters
    key: Path | None = None
    overwrite: bool = False
    command: str | None = None


@dataclass(frozen=True, slots=True)
class NoiseParts:
    """What a budget is spent on: standard deviations for a change of length 1 by a row."""

    description: float | None  # None where public rows describe the columns
    step: float
    figures: float


def ship_privately(source: str | Path | Table, options: PrivateShipOptions) -> ShipResult:
    """Learn and write the bundle. InputError for data or options that cannot be used, BudgetSpentError for what the
    budget does not pay for, CheckError where its noise hides everything."""
    clock, out = RunClock(), Path(options.out)
    name = options.name or out.resolve().name
    check_target(out, overwrite=options.overwrite, key=options.key)
    check_name(name)
    table = _read(source, options)
    is_test = secure_uniform(table.num_rows) < TEST_SHARE
    table_of_training = table.take(np.flatnonzero(~is_test))
    extra_delta = 0.0 if options.public_rows else DELTA_SHARE * options.budget.delta
    plan, spent = plan_steps(
        options.budget, table.num_rows, Sampling(1.0, 1), run=f"ship {name} {now()}", what=name, extra_delta=extra_delta
    )
    parts = split_noise(plan.noise, options.learning.num_steps, is_described=options.public_rows is None)
    study, sample = _make_study(table_of_training, name, options, parts, extra_delta)
    rows = read_rows(study, table_of_training)
    parameters = learn(
        Objective.of(study), rows, options.learning, clip_norm=plan.clip_norm, noise=parts.step, seed=options.seed
    )
    test = read_rows(study, table.take(np.flatnonzero(is_test)))
    metrics, baseline = _measure(study, parameters, test, parts.figures)
    spent = replace(spent, num_steps=options.learning.num_steps, sample_rate=1.0, noise=parts.step)
    return _pack(_Learned(study, sample, parameters, metrics, baseline, spent, parts, len(test)), name, options, clock)


def split_noise(noise: float, num_steps: int, *, is_described: bool) -> NoiseParts:
    """One release of that noise as a description and steps, which together say as much (Dong et al. 2022, corollary
    3.3: squares of 1 / noise add up)."""
    share = DESCRIPTION_SHARE if is_described else 0.0
    step = noise * math.sqrt(num_steps / (1 - share))
    return NoiseParts(noise / math.sqrt(share) if is_described else None, step, noise)


@dataclass(frozen=True, slots=True)
class _Learned:
    study: Study
    sample: Table
    parameters: Float64
    metrics: Mapping[str, Figure]
    baseline: Mapping[str, Figure]
    spent: PrivacySpent
    parts: NoiseParts
    num_test: int


def _read(source: str | Path | Table, options: PrivateShipOptions) -> Table:
    table = source if isinstance(source, Table) else read_table(source)
    for name in (options.target, *options.drop):
        if name not in table.columns:
            raise unknown_column_error(name, table.names, where="the data")
    table = table.drop(options.drop)
    table = table.take(np.flatnonzero(~table.missing_mask(options.target)))
    if table.num_rows < MIN_ROWS:
        raise InputError(
            f"the data has fewer than {MIN_ROWS} rows with a target", expected="more rows: noise for so few hides all",
            fix="bring more rows",
        )  # fmt: skip
    return table


def _make_study(
    training: Table, name: str, options: PrivateShipOptions, parts: NoiseParts, delta: float
) -> tuple[Study, Table]:
    """Schema, preprocessing and model, and the rows that they come from, none of which is one of the training rows."""
    info = infer_task(training, options.target)
    if options.public_rows is not None:
        sample = read_table(options.public_rows)
        sample = sample.drop([column for column in sample.names if column not in training.columns])
    else:
        described = training if not info.labels else training.drop([options.target])
        sample = describe_columns(described, parts.description or 0.0, delta)
        sample = _with_labels(sample, training, options.target) if info.labels else sample
    model = ModelSettings(options.model, WIDTHS if options.model == "perceptron" else ())
    study = make_study(sample, StudyRequest(name, options.target), StudySettings(model=model))
    if study.labels != info.labels:
        raise InputError(
            f"{options.public_rows} has the classes {', '.join(study.labels)}", expected=", ".join(info.labels),
            fix="bring a row of every class",
        )  # fmt: skip
    return study, sample


def _with_labels(sample: Table, training: Table, target: str) -> Table:
    """The sample with every class of the target in turn: the names of classes are taken as known."""
    values = training.column(target)
    levels = np.unique(values.astype(str) if values.dtype == object else values).astype(values.dtype)
    column: NDArray[Any] = levels[np.arange(sample.num_rows) % len(levels)]
    return replace(
        sample, columns={**sample.columns, target: column}, types={**sample.types, target: training.types[target]}
    )


def _measure(
    study: Study, parameters: Float64, test: InputRows, noise: float
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    output = Objective.of(study).probabilities(parameters, test.inputs)
    metrics, baseline = noised_figures(study.task, test.target, output, noise=noise)
    if study.task != "regression":
        return metrics, baseline
    scale = study.target_scale
    return tuple(
        {name: Figure(*(scale * value for value in asdict(figure).values())) for name, figure in figures.items()}
        for figures in (metrics, baseline)
    )  # type: ignore[return-value]


def _pack(learned: _Learned, name: str, options: PrivateShipOptions, clock: RunClock) -> ShipResult:
    study = learned.study
    model = finish_model(study, replace(begin_study(study), parameters=learned.parameters))
    drawn = schema_rows(study)
    graph = export_onnx(model, drawn.shape[1])
    missing = rows_with_missing_columns(study.preprocessor)
    parity = check_parity(model, graph, drawn, missing=missing, kinds=(REFERENCE,))
    privacy: JsonObject = {
        **asdict(learned.spent), "noise_of": asdict(learned.parts),
        "columns_described_by": "noised counts" if learned.parts.description else "rows that may be shown",
        "test_rows": "in neither description nor steps; their figures are counts with noise",
        "not_done": NOT_DONE,
    }  # fmt: skip
    kinds = find_kinds(learned.sample, target=study.target)
    documents: dict[str, object] = {
        "card.json": make_card(learned.sample, kinds, study.target),
        "example.json": study.preprocessor.example(),
        "decision.json": {"threshold": None, "threshold_rule": None, "costs": None, "interval": None},
        "evidence/parity.json": parity.to_dict(),
        "evidence/environment.json": evidence.environment(options.command),
        "evidence/privacy.json": privacy,
        "evidence/metrics.json": {
            "rows": "test", "num_rows": learned.num_test, "note": "counts with noise, which their intervals hold",
            "metrics": evidence.figures_to_dict(learned.metrics), "baseline_name": "the commonest class, or the mean",
            "baseline": evidence.figures_to_dict(learned.baseline),
        },
    }  # fmt: skip
    files = {**model.to_files(), GRAPH: graph, "preprocess.json": study.preprocess.encode()}
    files |= {path: as_json(document) for path, document in documents.items()}
    engine = EngineEntry(REFERENCE, GRAPH, parity.engines[REFERENCE].output_difference or 0.0, parity.num_rows)
    manifest = _manifest(study, name, options, engine, learned.spent)
    bundle = write_bundle(Path(options.out), manifest, files, overwrite=options.overwrite, key=options.key)
    return ShipResult(
        path=bundle.path, digest=bundle.digest, task=study.task, target=study.target, model=options.model,
        engine=REFERENCE, metrics=dict(learned.metrics), baseline=dict(learned.baseline),
        size_bytes=bundle.size_bytes, cpu_s=clock.cpu_s(), wall_s=clock.wall_s(), seed=options.seed, num_trials=1,
        warnings=(NOT_DONE,), privacy=learned.spent,
    )  # fmt: skip


def _manifest(
    study: Study, name: str, options: PrivateShipOptions, engine: EngineEntry, spent: PrivacySpent
) -> Manifest:
    classes = (Output("label", "str", ()), Output("probabilities", "float32", (len(study.labels),)))
    config: JsonObject = {
        "model": options.model, "drop": list(options.drop), "learning": asdict(options.learning),
        "privacy": asdict(spent),
    }  # fmt: skip
    return Manifest(
        name=name, version="1", created=now(), task=study.task, target=study.target,
        inputs=study.preprocessor.inputs(), outputs=classes if study.labels else (Output("value", "float32", ()),),
        labels=study.labels, threshold=None, engines=(engine,),
        lineage=Lineage(
            parent=None, data=None, config=config, seed=options.seed, versions=evidence.package_versions()
        ),
    )  # fmt: skip
