"""How far the explanations of a bundle of several modalities can be trusted: its columns, and the parts of each.

    found = sample_faithfulness(explainer, rows, limit_s=60.0)      rows: ExplainedSample; as column_faithfulness()
    gives it

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
from typing import Any

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
    fastest_call_s,
    fit_time_limit,
    leave_one_out_agreement,
    measure_masking,
    plan_notes,
    skipped_report,
)
from deepseek.explain.evaluation.minimal_evidence import find_minimal_evidence
from deepseek.explain.evaluation.perturbation import perturb_sample
from deepseek.explain.evaluation.sample_randomization import SampleRandomization
from deepseek.explain.media.modalities import MAX_EXACT_COLUMNS, NUM_ORDERS, Masks, ModalityExplainer
from deepseek.explain.media.parts import ColumnParts
from deepseek.explain.shapley.partition import OwenValues

UNIT_NAMES = {"text": "tokens", "image": "regions", "series": "stretches", "audio": "cells"}
NO_SENSITIVITY_NOTE = "no sensitivity of parts: each row nearby would have to be explained anew, part by part"
_NUM_TRIAL_MASKS = 16  # masks


@dataclass(frozen=True, slots=True)
class ExplainedSample:
    """One row: its sample, its record in words, what was told of it, and the parts of its columns."""

    sample: Tensors
    record: Record
    told: dict[str, Any]
    parts: list[tuple[ColumnParts, OwenValues]]

    @property
    def target(self) -> str | None:
        """The class that is explained."""
        target: str | None = self.told["target"]
        return target


def sample_faithfulness(
    explainer: ModalityExplainer,
    rows: Sequence[ExplainedSample],
    *,
    limit_s: float | None = None,
    checks: FaithfulnessConfig | None = None,
) -> dict[str, Any]:
    """As column_faithfulness() gives it, of "unit" columns that are "taken_away" as "missing". Each row has "parts", a
    list of {"column", "kind", "unit", "num_players", "deletion", ...}, whose second method is "parts_second"."""
    began_s, given = perf_counter(), checks or FaithfulnessConfig()
    most = AUTO_LIMIT_S if limit_s is None else limit_s
    answers_s = _seconds_per_mask(explainer, rows)
    jobs = [_column_cost(explainer, row, answers_s, given) for row in rows]
    parts = [sum(_part_cost(*each, answers_s).seconds(given) for each in row.parts) for row in rows]
    shuffled = SampleRandomization(
        explainer, [(row.sample, row.record, row.target) for row in rows], most / 3, answers_s
    )
    left_s = most - shuffled.seconds
    expected = sum(job.seconds(given) for job in jobs) + sum(parts)
    if limit_s is None and expected > left_s:
        return skipped_report(expected + most - left_s)
    chosen, num_rows, num_parted = _plan_measurement(rows, jobs, answers_s, given, left_s)
    found = []
    count = 0
    for place, row in enumerate(rows[:num_rows]):
        told, asked = _measure_columns(explainer, row, chosen)
        count += asked
        for column, values in row.parts if place < num_parted else ():
            part, asked = _measure_part(column, values, chosen)
            told["parts"].append(part)
            count += asked
        found.append(told)
    lines, why = shuffled.lines(given.seed)
    notes = [*_measurement_notes(explainer, rows[:num_rows]), *plan_notes(given, chosen, num_rows, len(rows))]
    if num_parted < min(num_rows, len(rows)) and any(row.parts for row in rows):
        notes.append(f"parts of only the first {num_parted} of {num_rows} rows were measured, for the same reason")
    return {
        "rows": found, "randomised": lines, "num_rows": num_rows, "num_others": 0,
        "others_of": "no other rows: columns are masked", "second": LEAVE_ONE_OUT_NAME,
        "parts_second": LEAVE_ONE_OUT_NAME,
        "num_evaluations": count + shuffled.count, "seconds": perf_counter() - began_s, "seed": given.seed,
        "limit_s": most, "unit": "columns", "taken_away": "missing", "notes": [*notes, *why],
    }  # fmt: skip


def _seconds_per_mask(explainer: ModalityExplainer, rows: Sequence[ExplainedSample]) -> dict[str, float]:
    """Seconds of one mask of the parts of each column, and under "" of one mask of columns."""
    sample, target = rows[0].sample, rows[0].target
    rng = np.random.default_rng(0)
    seen = np.tile(explainer.there(sample), (_NUM_TRIAL_MASKS, 1))
    found = {"": fastest_call_s(lambda: explainer.answers(sample, seen, target)) / _NUM_TRIAL_MASKS}
    for row in rows:
        for column, _ in row.parts:
            if column.name not in found:
                masks = rng.random((_NUM_TRIAL_MASKS, column.parted.tree.num_players + 1)) < 0.5
                found[column.name] = fastest_call_s(lambda: column.value(masks)) / _NUM_TRIAL_MASKS  # noqa: B023  (called at once)
    return found


def _column_cost(
    explainer: ModalityExplainer, row: ExplainedSample, answers_s: dict[str, float], checks: FaithfulnessConfig
) -> RowCost:
    num = int(explainer.there(row.sample).sum())
    near = checks.num_near * (2**num if num <= MAX_EXACT_COLUMNS else NUM_ORDERS * num)
    return RowCost(num, answers_s[""], besides=near + 2 * num, has_second=False)


def _part_cost(column: ColumnParts, found: OwenValues, answers_s: dict[str, float]) -> RowCost:
    num = len(_part_players(column, found)[1])
    return RowCost(num, 2 * answers_s[column.name], besides=num, has_second=False)


def _plan_measurement(
    rows: Sequence[ExplainedSample],
    jobs: Sequence[RowCost],
    answers_s: dict[str, float],
    given: FaithfulnessConfig,
    left_s: float,
) -> tuple[FaithfulnessConfig, int, int]:
    """(checks, rows whose columns are measured, rows whose parts are): columns first, for they cost less."""
    chosen, num_rows = fit_time_limit(jobs, given, left_s)
    left_s -= sum(job.seconds(chosen) for job in jobs[:num_rows])
    parted = [_TotalCost(tuple(_part_cost(*each, answers_s) for each in row.parts)) for row in rows[:num_rows]]
    fewer, num_parted = fit_time_limit(parted, chosen, left_s)
    if parted[0].seconds(fewer) > left_s:
        return chosen, num_rows, 0
    return fewer, num_rows, num_parted


@dataclass(frozen=True, slots=True)
class _TotalCost:
    """Several jobs of one row."""

    jobs: tuple[RowCost, ...]

    def seconds(self, checks: FaithfulnessConfig) -> float:
        return sum(job.seconds(checks) for job in self.jobs)


def _measure_columns(
    explainer: ModalityExplainer, row: ExplainedSample, checks: FaithfulnessConfig
) -> tuple[dict[str, Any], int]:
    """(what is told of the columns that a row has, number of answers)."""
    there = explainer.there(row.sample)
    values = np.array([row.told["values"][name] for name in explainer.names])[there]

    def value(masks: Masks) -> Float64:
        return explainer.answers(row.sample, _scatter_masks(masks, there), row.target)

    asked = CachedValueFunction(value)
    sensitivity, count = _max_sensitivity(explainer, row, values, there, checks)
    other, more = _column_counterfactual(explainer, row, values, there)
    told = {
        "row_id": row.told.get("row_id"), "prediction": row.told.get("prediction"), **measure_masking(asked, values, checks),
        "sensitivity": sensitivity, "agreement": leave_one_out_agreement(asked, values), "nearest": None,
        "counterfactual": other, "parts": [],
    }  # fmt: skip
    return told, asked.count + count + more


def _scatter_masks(masks: Masks, there: Masks) -> Masks:
    """(S, k) of the columns that are there -> (S, P)."""
    seen = np.zeros((len(masks), len(there)), bool)
    seen[:, there] = masks
    return seen


def _max_sensitivity(
    explainer: ModalityExplainer, row: ExplainedSample, values: Float64, there: Masks, checks: FaithfulnessConfig
) -> tuple[float | None, int]:
    """(the largest change of the columns' values for samples nearby, as a share of their size; number of answers)."""
    size = float(np.linalg.norm(values))
    near = perturb_sample(explainer.preparer, row.sample, checks) if size else None
    if near is None:
        return None, 0
    moved = explainer.explain(near, target=row.target).values[:, there]
    num = len(values)
    return float(np.linalg.norm(moved - values, axis=1).max() / size), len(near) * (
        2**num if num <= MAX_EXACT_COLUMNS else NUM_ORDERS * (num - 1)
    )


def _column_counterfactual(
    explainer: ModalityExplainer, row: ExplainedSample, values: Float64, there: Masks
) -> tuple[dict[str, Any] | None, int]:
    """The fewest files and texts without which the class changes; None where there are no classes, where it stays, and
    where what is explained says nothing of the class answered. The table stays: no row can be sent without it."""
    labels, target = explainer.labels, row.target
    if target is None:
        return None, 0
    own = int(explainer.classes(row.sample, there[None])[0])
    sign = 1 if labels[own] == target else -1 if len(labels) == 2 else 0

    def answers(masks: Masks) -> NDArray[np.int64]:
        found = np.full(len(masks), own)  # without any column there is no answer
        some = masks.any(1)
        if some.any():
            found[some] = explainer.classes(row.sample, _scatter_masks(masks[some], there))
        return found

    can_go = np.array([name != TABLE_ARRAY for name in explainer.names])[there]
    found = find_minimal_evidence(answers, sign * values * can_go) if sign else None
    if found is None:
        return None, 1
    places, other, count = found
    names = [explainer.names[place] for place in np.flatnonzero(there)[places]]
    return {
        "changes": {name: [row.record.get(name), None] for name in names}, "from": labels[own], "to": labels[other],
        "num_predicted": count,
    }, 1 + count  # fmt: skip


def _part_players(column: ColumnParts, found: OwenValues) -> tuple[Masks, Float64]:
    """((R, M) which parts each player is made of, (R,) what it adds): tokens, and of all else the regions told."""
    tree = column.parted.tree
    if column.kind == "text":
        return np.eye(tree.num_players, dtype=bool), found.values
    return np.stack([tree.mask(each.box) for each in found.regions]), np.array([each.value for each in found.regions])


def _measure_part(column: ColumnParts, found: OwenValues, checks: FaithfulnessConfig) -> tuple[dict[str, Any], int]:
    """(what is told of one column's parts, number of answers)."""
    made_of, values = _part_players(column, found)
    asked = CachedValueFunction(_mean_over_contexts(column, column.value, made_of))
    whole, nothing = asked(np.array([[True] * len(values), [False] * len(values)]))
    blank = _mean_over_contexts(column, column.blank, made_of)(np.zeros((1, len(values)), bool))[0]
    spread = (whole - blank - values.sum()) * made_of.sum(1) / made_of.sum()
    told = {
        "column": column.name, "kind": column.kind, "unit": UNIT_NAMES[column.kind],
        "presence": float(blank - nothing),
        **measure_masking(asked, values, checks), "sensitivity": None, "agreement": leave_one_out_agreement(asked, values),
    }  # fmt: skip

    def stays(masks: Masks) -> Float64:
        return np.where(masks.any(1), asked(masks), blank)

    told["infidelity"] = infidelity(stays, values + spread, checks, np.random.default_rng(checks.seed))
    return told, (asked.count + 1) * (1 if column.whole is None else 2)


def _mean_over_contexts(column: ColumnParts, answers: ValueFunction, made_of: Masks) -> ValueFunction:
    """v of masks (S, R): the mean without any other column and with all."""

    def value(masks: Masks) -> Float64:
        kept = masks.astype(np.float32) @ made_of.astype(np.float32) > 0
        if column.whole is None:
            return answers(kept)
        beside = np.zeros((len(kept), 1), bool)
        without, with_all = (answers(np.concatenate([kept, each], axis=1)) for each in (beside, ~beside))
        found: Float64 = (without + with_all) / 2
        return found

    return value


def _measurement_notes(explainer: ModalityExplainer, rows: Sequence[ExplainedSample]) -> list[str]:
    notes = []
    most = max(int(explainer.there(row.sample).sum()) for row in rows)
    if most <= FEW_PLAYERS:
        notes.append("there are so few columns, and orders of them, that hardly one lies beyond 95 % of random ones")
    if most <= MAX_EXACT_COLUMNS:
        notes.append("what columns add is exact: every set of them was asked")
    if any(row.parts for row in rows):
        notes.append(NO_SENSITIVITY_NOTE)
    return notes
