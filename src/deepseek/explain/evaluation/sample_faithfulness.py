"""How far the explanations of a bundle of several modalities can be trusted: its columns, and the parts of each.

    report = sample_faithfulness(explainer, rows, limit_s=60.0)      rows: ExplainedSample

Columns are taken away by their masks, as the explanation does. Their Shapley values come of every set of them where
they are few (modalities.py), so KernelSHAP would find the same numbers: the second method leaves one out at a time.

The parts of a text, picture, sound or series have figures of their own. Their players are the tokens or regions that
the explanation tells apart, and what answers to a mask is the mean of its two contexts: without any other column, and
with all. Infidelity is of how the parts share what they change. Two things are no matter of it, and are taken out of
the values evenly: that these two contexts are not all, and what the column adds by being there at all, all grey or all
silent, which no part of it tells ("presence").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, Record, Tensors
from deepseek.data.samples.preparer import TABLE_ARRAY
from deepseek.explain.evaluation.masking_curves import FaithfulnessConfig, infidelity
from deepseek.explain.evaluation.masking_faithfulness import (
    AUTO_LIMIT_S,
    FEW_PLAYERS,
    LEAVE_ONE_OUT_NAME,
    CachedValueFunction,
    RowCost,
    ValueFunction,
    curve_class,
    fastest_call_s,
    fit_time_limit,
    leave_one_out_agreement,
    measure_masking,
    plan_notes,
    skipped_report,
)
from deepseek.explain.evaluation.minimal_evidence import find_minimal_evidence
from deepseek.explain.evaluation.perturbation import perturb_sample
from deepseek.explain.evaluation.records import Faithfulness, FaithfulnessReport, PartFaithfulness, RowFaithfulness
from deepseek.explain.evaluation.sample_randomization import SampleRandomization
from deepseek.explain.media.modalities import MAX_EXACT_COLUMNS, NUM_ORDERS, Masks, ModalityExplainer
from deepseek.explain.media.parts import ColumnParts
from deepseek.explain.records import CounterfactualReport, RowExplanation
from deepseek.explain.shapley.partition import OwenValues

UNIT_NAMES = {"text": "tokens", "image": "regions", "series": "stretches", "audio": "cells"}
NO_SENSITIVITY_NOTE = "no sensitivity of parts: each row nearby would have to be explained anew, part by part"
_NUM_TRIAL_MASKS = 16  # masks


@dataclass(frozen=True, slots=True)
class ExplainedSample:
    """One explained row of a bundle of several modalities."""

    sample: Tensors  # of this row
    record: Record  # in words
    row: RowExplanation
    parts: list[tuple[ColumnParts, OwenValues]]  # of each column that falls into parts

    @property
    def target(self) -> str | None:
        """The class that is explained."""
        return self.row.target


def sample_faithfulness(
    explainer: ModalityExplainer,
    rows: Sequence[ExplainedSample],
    *,
    limit_s: float | None = None,
    target: str | None = None,
    checks: FaithfulnessConfig | None = None,
) -> Faithfulness:
    """How far the explanations of `rows` hold, as column_faithfulness() measures it: "unit" columns are "taken_away" as
    "missing". Each row has "parts", whose second method is "parts_second"."""
    began_s, config = perf_counter(), checks or FaithfulnessConfig()
    most_s = AUTO_LIMIT_S if limit_s is None else limit_s
    mask_s = _seconds_per_mask(explainer, rows)
    costs = [_column_cost(explainer, row, mask_s, config) for row in rows]
    parts_s = sum(_part_cost(*part, mask_s).seconds(config) for row in rows for part in row.parts)
    randomization = SampleRandomization(
        explainer, [(row.sample, row.record, row.target) for row in rows], most_s / 3, mask_s
    )
    left_s = most_s - randomization.seconds
    expected_s = sum(cost.seconds(config) for cost in costs) + parts_s
    if limit_s is None and expected_s > left_s:
        return skipped_report(expected_s + most_s - left_s)
    plan = _plan_measurement(rows, costs, mask_s, config, left_s)
    measures = []
    count = 0
    for place, row in enumerate(rows[: plan.num_rows]):
        parts: list[PartFaithfulness] = []
        curves_of = _curve_class(explainer, row, target)
        for column, owen in row.parts if place < plan.num_parted else ():
            part, num_evaluations = _measure_part(column, owen, plan.config, curves_of[1])
            parts.append(part)
            count += num_evaluations
        measure, num_evaluations = _measure_columns(explainer, row, tuple(parts), plan.config, curves_of)
        measures.append(measure)
        count += num_evaluations
    steps, why = randomization.lines(config.seed)
    notes = _measurement_notes(explainer, rows[: plan.num_rows])
    notes += plan_notes(config, plan.config, plan.num_rows, len(rows))
    if plan.num_parted < plan.num_rows and any(row.parts for row in rows):
        notes.append(
            f"parts of only the first {plan.num_parted} of {plan.num_rows} rows were measured, for the same reason"
        )
    return FaithfulnessReport(
        rows=tuple(measures), randomization=tuple(steps), num_rows=plan.num_rows, num_others=0,
        others_of="no other rows: columns are masked", second=LEAVE_ONE_OUT_NAME, parts_second=LEAVE_ONE_OUT_NAME,
        num_evaluations=count + randomization.count, seconds=perf_counter() - began_s, seed=config.seed,
        limit_s=most_s, unit="columns", taken_away="missing", notes=(*notes, *why),
    )  # fmt: skip


def _seconds_per_mask(explainer: ModalityExplainer, rows: Sequence[ExplainedSample]) -> dict[str, float]:
    """Seconds of one mask of the parts of each column, and under "" of one mask of columns."""
    sample, target = rows[0].sample, rows[0].target
    rng = np.random.default_rng(0)
    seen = np.tile(explainer.present(sample), (_NUM_TRIAL_MASKS, 1))
    mask_s = {"": fastest_call_s(lambda: explainer.answers(sample, seen, target)) / _NUM_TRIAL_MASKS}
    for row in rows:
        for column, _ in row.parts:
            if column.name not in mask_s:
                masks = rng.random((_NUM_TRIAL_MASKS, column.parts.tree.num_players + 1)) < 0.5
                mask_s[column.name] = fastest_call_s(lambda: column.value(masks)) / _NUM_TRIAL_MASKS  # noqa: B023  (called at once)
    return mask_s


def _column_cost(
    explainer: ModalityExplainer, row: ExplainedSample, mask_s: dict[str, float], checks: FaithfulnessConfig
) -> RowCost:
    num = int(explainer.present(row.sample).sum())
    near = checks.num_near * (2**num if num <= MAX_EXACT_COLUMNS else NUM_ORDERS * num)
    return RowCost(num, mask_s[""], besides=near + 2 * num, has_second=False)


def _part_cost(column: ColumnParts, owen: OwenValues, mask_s: dict[str, float]) -> RowCost:
    num = len(_part_players(column, owen)[1])
    return RowCost(num, 2 * mask_s[column.name], besides=num, has_second=False)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is affordable."""

    config: FaithfulnessConfig
    num_rows: int  # whose columns are measured
    num_parted: int  # whose parts are, too


def _plan_measurement(
    rows: Sequence[ExplainedSample],
    costs: Sequence[RowCost],
    mask_s: dict[str, float],
    checks: FaithfulnessConfig,
    left_s: float,
) -> _Plan:
    """What fits into `left_s`: columns first, for they cost less."""
    config, num_rows = fit_time_limit(costs, checks, left_s)
    left_s -= sum(cost.seconds(config) for cost in costs[:num_rows])
    part_costs = [_TotalCost(tuple(_part_cost(*part, mask_s) for part in row.parts)) for row in rows[:num_rows]]
    fewer, num_parted = fit_time_limit(part_costs, config, left_s)
    if part_costs[0].seconds(fewer) > left_s:
        return _Plan(config, num_rows, 0)
    return _Plan(fewer, num_rows, num_parted)


@dataclass(frozen=True, slots=True)
class _TotalCost:
    """The costs of several parts of one row together."""

    jobs: tuple[RowCost, ...]

    def seconds(self, checks: FaithfulnessConfig) -> float:
        return sum(job.seconds(checks) for job in self.jobs)


def _curve_class(
    explainer: ModalityExplainer, row: ExplainedSample, wanted_class: str | None
) -> tuple[str | None, int]:
    """curve_class() of one row."""
    if len(explainer.labels) != 2:
        return row.target, 1
    own = int(explainer.classes(row.sample, explainer.present(row.sample)[None])[0])
    return curve_class(row.target, explainer.labels[own], explainer.labels, wanted_class)


def _measure_columns(
    explainer: ModalityExplainer,
    row: ExplainedSample,
    parts: tuple[PartFaithfulness, ...],
    checks: FaithfulnessConfig,
    curves_of: tuple[str | None, int],
) -> tuple[RowFaithfulness, int]:
    """(how far the values of the columns that a row has hold, number of answers); `parts` are put beside them."""
    present = explainer.present(row.sample)
    values = np.array([row.row.contributions[name] for name in explainer.names])[present]

    def value(masks: Masks) -> Float64:
        return explainer.answers(row.sample, _scatter_masks(masks, present), row.target)

    evaluate = CachedValueFunction(value)
    sensitivity, num_sensitivity = _max_sensitivity(explainer, row, values, present, checks)
    counterfactual, num_counterfactual = _column_counterfactual(explainer, row, values, present)
    measures = measure_masking(evaluate, values, checks, sign=curves_of[1])
    measure = RowFaithfulness(
        row_id=row.row.row_id, prediction=row.row.prediction, num_players=measures.num_players,
        deletion=measures.deletion, insertion=measures.insertion, infidelity=measures.infidelity,
        sensitivity=sensitivity, agreement=leave_one_out_agreement(evaluate, values), counterfactual=counterfactual,
        parts=parts, curve_class=curves_of[0],
    )  # fmt: skip
    return measure, evaluate.count + num_sensitivity + num_counterfactual


def _scatter_masks(masks: Masks, present: Masks) -> Masks:
    """Masks (S, k) over the columns that are present as masks (S, P) over all."""
    seen = np.zeros((len(masks), len(present)), bool)
    seen[:, present] = masks
    return seen


def _max_sensitivity(
    explainer: ModalityExplainer, row: ExplainedSample, values: Float64, present: Masks, checks: FaithfulnessConfig
) -> tuple[float | None, int]:
    """Sensitivity: (largest change of the values for samples nearby, as a share of their size; number of answers)."""
    size = float(np.linalg.norm(values))
    near = perturb_sample(explainer.preparer, row.sample, checks) if size else None
    if near is None:
        return None, 0
    moved = explainer.explain(near, target=row.target).values[:, present]
    num = len(values)
    return float(np.linalg.norm(moved - values, axis=1).max() / size), len(near) * (
        2**num if num <= MAX_EXACT_COLUMNS else NUM_ORDERS * (num - 1)
    )


def _column_counterfactual(
    explainer: ModalityExplainer, row: ExplainedSample, values: Float64, present: Masks
) -> tuple[CounterfactualReport | None, int]:
    """(the fewest files and texts without which the class changes, number of answers); None where there are no classes,
    where it stays, and where what is explained says nothing of the class answered. The table stays: no row can be sent
    without it."""
    labels, target = explainer.labels, row.target
    if target is None:
        return None, 0
    own = int(explainer.classes(row.sample, present[None])[0])
    sign = 1 if labels[own] == target else -1 if len(labels) == 2 else 0

    def answers(masks: Masks) -> NDArray[np.int64]:
        codes = np.full(len(masks), own)  # without any column there is no answer
        some = masks.any(1)
        if some.any():
            codes[some] = explainer.classes(row.sample, _scatter_masks(masks[some], present))
        return codes

    can_go = np.array([name != TABLE_ARRAY for name in explainer.names])[present]
    evidence = find_minimal_evidence(answers, sign * values * can_go) if sign else None
    if evidence is None:
        return None, 1
    places, other, count = evidence
    names = [explainer.names[place] for place in np.flatnonzero(present)[places]]
    report = CounterfactualReport(
        changes={name: [row.record.get(name), None] for name in names}, from_class=labels[own],
        to_class=labels[other], num_predicted=count,
    )  # fmt: skip
    return report, 1 + count


def _part_players(column: ColumnParts, owen: OwenValues) -> tuple[Masks, Float64]:
    """The players of a column as (masks (R, M) of their parts, values (R,)): tokens of a text, else regions."""
    tree = column.parts.tree
    if column.kind == "text":
        return np.eye(tree.num_players, dtype=bool), owen.values
    return np.stack([tree.mask(each.box) for each in owen.regions]), np.array([each.value for each in owen.regions])


def _measure_part(
    column: ColumnParts, owen: OwenValues, checks: FaithfulnessConfig, sign: int
) -> tuple[PartFaithfulness, int]:
    """(how far the values of one column's parts hold, number of answers); `sign` is that of curve_class()."""
    members, values = _part_players(column, owen)
    evaluate = CachedValueFunction(_mean_over_contexts(column, column.value, members))
    whole, nothing = evaluate(np.array([[True] * len(values), [False] * len(values)]))
    blank = _mean_over_contexts(column, column.blank, members)(np.zeros((1, len(values)), bool))[0]
    correction = (whole - blank - values.sum()) * members.sum(1) / members.sum()

    def value_if_present(masks: Masks) -> Float64:
        return np.where(masks.any(1), evaluate(masks), blank)

    rng = np.random.default_rng(checks.seed)
    measures = measure_masking(evaluate, values, checks, sign=sign)
    measure = PartFaithfulness(
        column=column.name, kind=column.kind, unit=UNIT_NAMES[column.kind], presence=float(blank - nothing),
        num_players=measures.num_players, deletion=measures.deletion, insertion=measures.insertion,
        infidelity=infidelity(value_if_present, values + correction, checks, rng), sensitivity=None,
        agreement=leave_one_out_agreement(evaluate, values),
    )  # fmt: skip
    return measure, (evaluate.count + 1) * (1 if column.whole is None else 2)


def _mean_over_contexts(column: ColumnParts, answers: ValueFunction, members: Masks) -> ValueFunction:
    """v of masks (S, R): the mean without any other column and with all; `members` (R, M) as _part_players() has it."""

    def value(masks: Masks) -> Float64:
        kept = masks.astype(np.float32) @ members.astype(np.float32) > 0
        if column.whole is None:
            return answers(kept)
        absent = np.zeros((len(kept), 1), bool)
        without, with_all = (answers(np.concatenate([kept, others], axis=1)) for others in (absent, ~absent))
        mean: Float64 = (without + with_all) / 2
        return mean

    return value


def _measurement_notes(explainer: ModalityExplainer, rows: Sequence[ExplainedSample]) -> list[str]:
    notes = []
    most = max(int(explainer.present(row.sample).sum()) for row in rows)
    if most <= FEW_PLAYERS:
        notes.append("there are so few columns, and orders of them, that hardly one lies beyond 95 % of random ones")
    if most <= MAX_EXACT_COLUMNS:
        notes.append("what columns add is exact: every set of them was asked")
    if any(row.parts for row in rows):
        notes.append(NO_SENSITIVITY_NOTE)
    return notes
