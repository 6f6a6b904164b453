"""How far the explanations of a table's bundle can be trusted: masking_curves.py over raw columns, with a bound on the
cost.

    report = column_faithfulness(runtime, explainer, table, rows, limit_s=5.0)
    report.rows[0].deletion.passes

A column is taken away by giving the row the values of up to 8 others and taking the mean of the answers: columns stay
within their own distribution. The others are training rows where they are given, else rows of the data, else the
typical record of the bundle. Without torch.

What it costs is found by a small trial. Above `limit_s` there are fewer of the others, and in the end fewer rows; what
was left out stands in the notes. Shapes: N rows, P raw columns, F prepared features, M masks, B rows of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.data import Table
from deepseek.engines import Runtime
from deepseek.engines.parity import spread_indices
from deepseek.explain.evaluation.masking_curves import FaithfulnessConfig
from deepseek.explain.evaluation.masking_faithfulness import (
    AUTO_LIMIT_S,
    FEW_PLAYERS,
    Masks,
    curve_class,
    fastest_call_s,
    mean_magnitude_correlation,
    measure_masking,
    second_method_agreement,
    second_method_evaluations,
    second_method_name,
    skipped_report,
)
from deepseek.explain.evaluation.records import Faithfulness, FaithfulnessReport, RandomizationStep, RowFaithfulness
from deepseek.explain.records import RowExplanation
from deepseek.explain.tabular.explainer import ModelExplainer
from deepseek.explain.tabular.row_context import RowContext, build_row_context
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.model import Part
from deepseek.nn.trees import LEAF, TreeTable

MAX_DONORS = 8
_PILOT_ROWS = 256
_MAX_CELLS = 1 << 22  # of one call of the model
_RANDOMIZATION_EXPLANATIONS = 5  # what explaining the randomized model about costs, in explanations
_MAX_RANDOMIZATION_ROWS = 20  # that are explained for the randomized model


@dataclass(frozen=True, slots=True)
class MeasurementPlan:
    """How many rows and donors are measured, and how many seconds that should take."""

    num_rows: int
    num_others: int
    seconds: float


def column_faithfulness(
    runtime: Runtime,
    explainer: ModelExplainer,
    table: Table,
    rows: Sequence[RowExplanation],
    *,
    others: Table | None = None,
    training: Table | None = None,
    fixed: Sequence[str] = (),
    limit_s: float | None = None,
    target: str | None = None,
    checks: FaithfulnessConfig | None = None,
) -> Faithfulness:
    """How far the explanations of the rows of `table` hold; `rows` are these explanations. Curves show the answer for
    the class `target`, by default for the one that the row was answered with.

    SkippedFaithfulness where `limit_s` is None, which means that the caller did not request it, and it would take more
    than AUTO_LIMIT_S. `others` and `training`: tables whose rows stand in for columns that are taken away, and for
    nearest rows and counterfactuals, which never change `fixed` columns.
    """
    began_s, config = perf_counter(), checks or FaithfulnessConfig()
    batch = runtime.prepare_table(table)
    features = batch.features
    candidates, source = _donor_rows(runtime, others, training)
    model = _CountingExplainer(explainer)
    plan = _plan_measurement(model, features, candidates, len(explainer.names), config, limit_s)
    if plan is None or plan.num_rows < 1:
        return skipped_report(plan.seconds if plan else 0.0)
    notes = []
    if len(explainer.names) <= FEW_PLAYERS:
        notes.append("there are so few columns, and orders of them, that hardly one lies beyond 95 % of random ones")
    if len(candidates) == 1:
        notes.append("columns are taken away by one typical row alone, which says little: give the training rows")
    if plan.num_rows < len(rows):
        notes.append(f"only the first {plan.num_rows} of {len(rows)} rows were measured, to keep to the time limit")
    measured_rows = rows[: plan.num_rows]
    donors = candidates[spread_indices(len(candidates), plan.num_others)]
    contexts, context_notes = build_row_context(
        runtime, table, plan.num_rows, others=others, training=training, fixed=fixed
    )
    labels = runtime.decide(runtime.score(features), batch.flags).labels
    answers = [None] * len(rows) if labels is None else labels.tolist()
    measures = [
        _measure_row(
            model, features[place], row, context, donors, runtime, config,
            curve_class(row.target, answers[place], runtime.labels, target),
        )
        for place, (row, context) in enumerate(zip(measured_rows, contexts, strict=True))
    ]  # fmt: skip
    many = features
    if others:
        many = runtime.prepare_table(others.take(spread_indices(len(others), _MAX_RANDOMIZATION_ROWS))).features
    return FaithfulnessReport(
        rows=tuple(measures),
        randomization=tuple(randomize_model(explainer, many, measured_rows[0].target, seed=config.seed)),
        num_rows=plan.num_rows, num_others=plan.num_others, others_of=source,
        second=second_method_name([len(explainer.names)], "columns"),
        num_evaluations=model.count, seconds=perf_counter() - began_s, seed=config.seed,
        limit_s=limit_s or AUTO_LIMIT_S, notes=(*notes, *context_notes),
    )  # fmt: skip


class _CountingExplainer:
    """The model, counted in rows."""

    def __init__(self, explainer: ModelExplainer) -> None:
        self.explainer, self.count = explainer, 0

    def margin(self, features: Float32, target: str | None) -> Float64:
        self.count += len(features)
        return self.explainer.margin(features, target=target)

    def explain(self, features: Float32, target: str | None) -> Float64:
        self.count += len(features)
        return self.explainer.explain(features, target=target).values


def _donor_rows(runtime: Runtime, others: Table | None, training: Table | None) -> tuple[Float32, str]:
    """The rows (B, F) whose values stand in for columns that are taken away, and where they come from."""
    read = {column.name for column in runtime.preprocessor.columns}
    for table, of in ((training, "training rows"), (others, "rows of the data")):
        if table is not None and table.num_rows > 1:
            candidates = table.drop([name for name in table.names if name not in read])  # training has the target, too
            return runtime.prepare_table(candidates.take(spread_indices(candidates.num_rows, MAX_DONORS))).features, of
    return runtime.preprocessor.rows([runtime.preprocessor.example()]).features, "the typical record of the bundle"


def _plan_measurement(
    model: _CountingExplainer,
    features: Float32,
    source: Float32,
    num_columns: int,
    checks: FaithfulnessConfig,
    limit_s: float | None,
) -> MeasurementPlan | None:
    """How many rows and donors are affordable within `limit_s`, by a small trial; None where there is no row."""
    if not len(features):
        return None
    size = max(1, min(_PILOT_ROWS, _MAX_CELLS // features.shape[1]))
    trial = np.resize(features, (size, features.shape[1]))
    answer_s = fastest_call_s(lambda: model.margin(trial, None)) / size
    nearby = np.resize(features, (checks.num_near, features.shape[1]))
    explain_s = fastest_call_s(lambda: model.explain(nearby, None))
    steps = min(checks.num_steps, num_columns) + 1
    masks = (2 * steps + 1) * (1 + checks.num_random)
    masks += second_method_evaluations(num_columns)
    once_s = _RANDOMIZATION_EXPLANATIONS * explain_s
    most = AUTO_LIMIT_S if limit_s is None else limit_s
    rows, others = len(features), min(MAX_DONORS, len(source))
    expected = once_s + rows * (masks * others * answer_s + explain_s)
    if expected > most:
        if limit_s is None:
            return MeasurementPlan(0, 0, expected)
        left = (most - once_s) / rows - explain_s
        others = int(np.clip(left / (masks * answer_s), 1, others))
        rows = int(np.clip((most - once_s) / (masks * others * answer_s + explain_s), 1, rows))
    return MeasurementPlan(rows, others, expected)


def _measure_row(
    model: _CountingExplainer,
    features: Float32,
    row: RowExplanation,
    context: RowContext,
    donors: Float32,
    runtime: Runtime,
    checks: FaithfulnessConfig,
    curves_of: tuple[str | None, int],
) -> RowFaithfulness:
    """How far the explanation of one row with `features` (F,) holds; `donors` (B, F) take the place of columns, and
    `curves_of` is what curve_class() says."""
    explainer, target = model.explainer, row.target
    values = np.array([row.contributions[name] for name in explainer.names])

    def evaluate(masks: Masks) -> Float64:
        step = max(1, _MAX_CELLS // (len(features) * len(donors)))
        answers = []
        for start in range(0, len(masks), step):
            keep = masks[start : start + step][:, explainer.column_of]
            mixed = np.where(keep[:, None], features, donors[None]).reshape(-1, len(features))
            answers.append(model.margin(mixed, target).reshape(len(keep), -1).mean(axis=1))
        return np.concatenate(answers)

    measures = measure_masking(evaluate, values, checks, sign=curves_of[1])
    return RowFaithfulness(
        row_id=row.row_id, prediction=row.prediction, num_players=measures.num_players, deletion=measures.deletion,
        insertion=measures.insertion, infidelity=measures.infidelity,
        sensitivity=_max_sensitivity(model, features, values, donors, target, _numeric_mask(runtime), checks),
        agreement=second_method_agreement(evaluate, values, seed=checks.seed), nearest=context.nearest,
        counterfactual=context.counterfactual, curve_class=curves_of[0],
    )  # fmt: skip


def _numeric_mask(runtime: Runtime) -> NDArray[np.bool_]:
    """Mask (F,) of the features that may be moved a little."""
    return np.array([feature.kind in {"numeric", "datetime"} for feature in runtime.preprocessor.features])


def _max_sensitivity(
    model: _CountingExplainer,
    features: Float32,
    values: Float64,
    donors: Float32,
    target: str | None,
    numeric: NDArray[np.bool_],
    checks: FaithfulnessConfig,
) -> float | None:
    """The largest change of the explanation for rows nearby, as a share of its size; None where nothing can be moved.
    Whole numbers of the row become broken ones."""
    size = float(np.linalg.norm(values))
    reach = checks.radius * np.abs(features - donors.mean(axis=0)) * numeric
    if not size or not reach.any():
        return None
    rng = np.random.default_rng(checks.seed)
    near = features + reach * rng.uniform(-1, 1, (checks.num_near, len(features)))
    moved = np.linalg.norm(model.explain(near.astype(np.float32), target) - values, axis=1)
    return float(moved.max() / size)


def randomize_model(
    explainer: ModelExplainer, features: Float32, target: str | None = None, *, seed: int = 0
) -> list[RandomizationStep]:
    """Cascading randomization of the whole model, as randomize_layers() has it,
    the part with the most weight first. Parts of other packages stay as they are; [] where nothing can be shuffled."""
    truth = explainer.explain(features, target=target).values
    owners = [explainer.names[place] for place in explainer.column_of]
    rng = np.random.default_rng(seed)
    model, steps = explainer.model, []
    for place in sorted(range(len(model.parts)), key=lambda place: -abs(model.parts[place].weight)):
        for name, part in _randomize_part(model.parts[place], rng):
            model = replace(model, parts=(*model.parts[:place], part, *model.parts[place + 1 :]))
            shuffled = ModelExplainer(model, owners).explain(features, target=target).values
            similarity = mean_magnitude_correlation(list(truth), list(shuffled))
            steps.append(RandomizationStep(f"{part.name}: {name}", similarity))
    return steps


def _randomize_part(part: Part, rng: np.random.Generator) -> list[tuple[str, Part]]:
    """Steps of shuffling a part: (what is shuffled, the part with that and all before it shuffled)."""
    weights = part.weights
    if isinstance(weights, TreeTable):
        leaves = replace(weights, leaves=rng.permuted(weights.leaves, axis=0))
        inner = np.flatnonzero(weights.feature != LEAF)
        feature, threshold, order = weights.feature.copy(), weights.threshold.copy(), rng.permutation(inner)
        feature[inner], threshold[inner] = feature[order], threshold[order]
        splits = replace(leaves, feature=feature, threshold=threshold)
        return [("leaves", replace(part, weights=leaves)), ("splits", replace(part, weights=splits))]
    if isinstance(weights, Linear):
        return [("coefficients", replace(part, weights=replace(weights, coef=rng.permuted(weights.coef, axis=0))))]
    if not isinstance(weights, Perceptron):
        return []
    stages = []
    for layer in reversed(range(len(weights.weights))):
        many = list(weights.weights)
        many[layer] = rng.permuted(many[layer].ravel()).reshape(many[layer].shape)
        skip = weights.skip
        if layer == len(many) - 1:
            skip = rng.permuted(skip.ravel()).reshape(skip.shape)
        weights = replace(weights, weights=many, skip=skip)
        stages.append((f"layer {layer}", replace(part, weights=weights)))
    return stages
