"""Everything that looks wrong with a table, each with its evidence and what could be done.

findings = find_problems(table, target="kind", kinds=kinds, root=folder, group="customer", seed=0)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deepseek.automl.clean.label_errors import find_label_errors
from deepseek.automl.clean.near_duplicates import find_near
from deepseek.automl.clean.out_of_fold import score_out_of_fold
from deepseek.automl.clean.outliers import find_outliers
from deepseek.data import Table, infer_task
from deepseek.data.media.kinds import find_media
from deepseek.data.media.source import is_missing
from deepseek.data.view.media_card import FILE_KINDS, describe_file
from deepseek.errors import DeepseekError

FindingKind = Literal[
    "wrong_label", "label_conflict", "near_duplicate", "group_leak", "outlier", "empty_row", "broken_file"
]
Action = Literal["relabel", "drop", "look"]
ORDER: tuple[FindingKind, ...] = (
    "wrong_label", "label_conflict", "near_duplicate", "group_leak", "outlier", "broken_file", "empty_row",
)  # fmt: skip
TEXT_CHARS = 80  # of a value that is told


@dataclass(frozen=True, slots=True)
class CleanFinding:
    """One thing about one row. `old` and `new` are labels, where one is to be changed."""

    row: int  # counted from 1, as in errors of files
    kind: FindingKind
    action: Action
    score: float  # 0..1, within its kind: the higher, the surer
    evidence: str
    old: str = ""
    new: str = ""


@dataclass(frozen=True, slots=True)
class CleanReport:
    """Findings by kind and score, and what could not be looked at."""

    findings: tuple[CleanFinding, ...]
    notes: tuple[str, ...]


def find_problems(
    table: Table, kinds: Mapping[str, str], *, root: Path, target: str | None, group: str | None, seed: int
) -> CleanReport:
    """Look at labels, copies, groups, empty rows and files. InputError for a column that is not there."""
    notes: list[str] = []
    findings = [*_empty_rows(table, target), *_broken_files(table, kinds, root)]
    inputs = {name: kind for name, kind in kinds.items() if kind not in FILE_KINDS and name not in (target, group)}
    if inputs:
        near = find_near(table, inputs, target)
        findings += _copies(table, near, target)
        if group is not None:
            findings += _leaks(table, near, group)
    if target is not None:
        findings += _wrong_labels(table, target, inputs, seed, notes)
    findings += _outliers(table, inputs, target)
    order = {kind: place for place, kind in enumerate(ORDER)}
    findings.sort(key=lambda each: (order[each.kind], -each.score, each.row))
    return CleanReport(tuple(findings), tuple(notes))


def _wrong_labels(
    table: Table, target: str, kinds: Mapping[str, str], seed: int, notes: list[str]
) -> list[CleanFinding]:
    missing = table.missing_mask(target)
    rows = np.flatnonzero(~missing)
    part = table.take(rows)
    info = infer_task(part, target)
    if info.task == "regression":
        notes.append(f"{target!r} holds numbers: only those that are far from all others are looked for")
        return []
    scored = score_out_of_fold(part, target, info.labels, kinds, seed) if kinds else None
    if scored is None:
        notes.append("labels were not looked at: no column says anything, or fewer than two classes have five rows")
        return []
    if scored.num_left_out:
        notes.append(f"{scored.num_left_out:,} rows of classes with fewer than five rows were not looked at")
    errors = find_label_errors(scored.codes, scored.probabilities)
    findings = []
    for place in np.flatnonzero(errors.is_finding).tolist():
        old, new = scored.labels[scored.codes[place]], scored.labels[errors.better[place]]
        own, other = scored.probabilities[place, scored.codes[place]], scored.probabilities[place, errors.better[place]]
        evidence = f"models that have not seen the row: {new} {other:.2f}, {old} {own:.2f}"
        number = int(rows[scored.rows[place]]) + 1
        findings.append(CleanFinding(number, "wrong_label", "relabel", float(errors.score[place]), evidence, old, new))
    return findings


def _copies(table: Table, near: list[list[int]], target: str | None) -> list[CleanFinding]:
    """Of near rows all but the first could go; where their labels differ, somebody has to look."""
    labels = None if target is None else [_format_value(value) for value in table.column(target).tolist()]
    findings = []
    for rows in near:
        differ = labels is not None and len({labels[row] for row in rows}) > 1
        for row in rows[1:]:
            evidence = f"nearly the same as row {rows[0] + 1}"
            if differ and labels is not None:
                own = labels[row]
                words = f"{evidence}, which is {labels[rows[0]]}"
                findings.append(CleanFinding(row + 1, "label_conflict", "look", 1.0, words, own))
            else:
                findings.append(CleanFinding(row + 1, "near_duplicate", "drop", 1.0, evidence))
    return findings


def _leaks(table: Table, near: list[list[int]], group: str) -> list[CleanFinding]:
    """Near rows of two groups: split by group, one would be learned from and the other tested on."""
    names = [_format_value(value) for value in table.column(group).tolist()]
    return [
        CleanFinding(
            row + 1, "group_leak", "look", 1.0,
            f"nearly the same as row {rows[0] + 1}, which is of another {group}: {names[rows[0]]}, not {names[row]}",
        )
        for rows in near
        for row in rows[1:]
        if names[row] != names[rows[0]]
    ]  # fmt: skip


def _outliers(table: Table, kinds: Mapping[str, str], target: str | None) -> list[CleanFinding]:
    """Cells and rows that are far from all others, and numbers to predict that are."""
    columns = dict(kinds)
    if target is not None and infer_task(table.take(np.flatnonzero(~table.missing_mask(target))), target).task == (
        "regression"
    ):
        columns[target] = "numeric"
    return [
        CleanFinding(each.row + 1, "outlier", "look", each.score, each.evidence)
        for each in find_outliers(table, columns)
    ]


def _empty_rows(table: Table, target: str | None) -> list[CleanFinding]:
    inputs = [name for name in table.names if name != target]
    masks = [table.missing_mask(name) for name in inputs]
    empty = np.flatnonzero(np.all(masks, axis=0)) if masks else np.zeros(0, np.int64)
    return [CleanFinding(int(row) + 1, "empty_row", "drop", 1.0, "no column has a value") for row in empty]


def _broken_files(table: Table, kinds: Mapping[str, str], root: Path) -> list[CleanFinding]:
    from deepseek.data.media.source import Limits
    from deepseek.data.samples.preparer import open_cell

    findings = []
    for name in find_media(table, root=root):
        kind = kinds.get(name, "")
        if kind not in FILE_KINDS:
            continue
        for row, value in enumerate(table.column(name).tolist()):
            if is_missing(value):
                continue
            try:
                describe_file(open_cell(value, kind, root=root, row=row, column=name, limits=Limits()), kind)
            except DeepseekError as error:
                findings.append(CleanFinding(row + 1, "broken_file", "drop", 1.0, f"{name}: {error.message}"))
    return findings


def _format_value(value: object) -> str:
    return str(value)[:TEXT_CHARS]
