"""The target: which task it sets, its labels, and the array that a model is fitted to.

    info = infer_task(table, "default")              # TargetInfo(task="binary", labels=("no", "yes"), notes=())
    y = encode_target(table, "default", info.labels) # int64 (N,) places among the labels; float64 for regression

Text, and true or false, are classes. Numbers are classes when there are two of them, or when they are whole, at most
MAX_NUMBER_CLASSES different ones, each with MIN_CLASS_ROWS rows on average; else the task is regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Task
from deepseek.data.features.modality import ColumnProfile
from deepseek.data.table.table import Table, is_integral
from deepseek.data.table.values import level_name, parse_boolean, parse_number
from deepseek.errors import InputError

MAX_NUMBER_CLASSES = 20
MIN_CLASS_ROWS = 5
MAX_CLASSES = 1_000
LARGEST_TARGET = 1e37  # answers are float32, which ends at 3.4e38, and an interval lies around each


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """The task of a target. `labels` have a stable order: numbers rising, false before true, else by name. None for
    regression."""

    task: Task
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def infer_task(table: Table, target: str, *, task: Task | None = None) -> TargetInfo:
    """The task that a target column sets, or the given one with its labels.

    InputError for missing values, a single class, a column of dates or of free text, or a `task` that does not fit.
    """
    profile = ColumnProfile.from_table(table, target)
    _check_complete(profile, "leave these rows out with drop_missing_target=True (--drop-missing-target in the shell)")
    if profile.type == "datetime":
        raise InputError(
            f"the target {target!r} is a column of dates",
            expected="classes or numbers",
            fix="predict a number, such as days until then",
        )
    task = task or _guess_task(profile)
    if task == "regression":
        _check_numbers(profile)
        return TargetInfo("regression", ())
    counts = profile.level_counts()
    if len(counts) < 2:
        only = next(iter(counts), "none")
        raise InputError(
            f"the target {target!r} has one class only: {only!r}",
            expected="rows of at least two classes",
            fix="bring rows of another class, or choose another target",
        )
    if len(counts) > MAX_CLASSES or (profile.type == "text" and 2 * len(counts) > profile.num_rows >= MIN_CLASS_ROWS):
        raise InputError(
            f"the target {target!r} has {len(counts)} different values in {profile.num_rows} rows",
            expected=f"classes that repeat, at most {MAX_CLASSES}",
            fix="choose another target, or join its rare values",
        )
    if task == "binary" and len(counts) > 2:
        raise InputError(
            f"the target {target!r} has {len(counts)} classes",
            expected="two for a binary task",
            fix="leave the task to be found, or ask for multiclass",
        )
    alone = [label for label, count in counts.items() if count == 1]
    notes = [f"class {label!r} of {target!r} has a single row: it is learned from, never tested" for label in alone[:5]]
    return TargetInfo("binary" if len(counts) == 2 else "multiclass", _sort_labels(counts), tuple(notes))


def encode_target(table: Table, target: str, labels: Sequence[str]) -> NDArray[Any]:
    """Class numbers (indices into `labels`), int64 (N,); without labels the numbers, float64 (N,).

    InputError for a missing value or a class that is not among the labels. 1 and "1", true and "True", yes and "Yes"
    are the same class.
    """
    profile = ColumnProfile.from_table(table, target)
    _check_complete(profile, "leave these rows out of the data, or fill in the answers")
    if not labels:
        return _check_numbers(profile)
    label_codes = {label: code for code, label in enumerate(labels)}
    truths = (
        {parse_boolean(label): code for label, code in label_codes.items() if _is_boolean(label)}
        if len(labels) == 2
        else {}
    )
    values = [bool(value) for value in profile.values] if profile.type == "boolean" else profile.values.tolist()
    code_of: dict[Any, int] = {}
    for value in dict.fromkeys(values):
        code = label_codes.get(level_name(value) or "")
        code = truths.get(parse_boolean(value)) if code is None and _is_boolean(value) else code
        if code is None:
            raise InputError(
                f"the target {target!r} has a class {value!r} that is not known",
                expected=f"one of {', '.join(labels[:20])}",
                fix="mend the value, or leave these rows out",
            )
        code_of[value] = code
    return np.array([code_of[value] for value in values], np.int64)


def drop_missing_target(table: Table, target: str) -> Table:
    """The rows whose target is there, with a note of how many were not."""
    missing = table.missing_mask(target)
    if not missing.any():
        return table
    kept = table.take(~missing)
    return replace(kept, notes=(*kept.notes, f"{int(missing.sum())} rows without {target!r} were left out"))


def _check_complete(profile: ColumnProfile, fix: str) -> None:
    num_missing = int(profile.missing.sum())
    if num_missing:
        raise InputError(
            f"the target {profile.name!r} is missing in {num_missing} of {profile.num_rows} rows",
            expected="a value in every row",
            fix=fix,
        )


def _check_numbers(profile: ColumnProfile) -> NDArray[np.float64]:
    """The target as float64. InputError for text that is no number and for numbers that float32 could not answer."""
    values = profile.values
    if profile.type == "text":
        if not all(map(_is_number, profile.counts)):
            unparsable = next(text for text in profile.counts if not _is_number(text))
            raise InputError(
                f"the target {profile.name!r} has {unparsable!r}",
                expected="numbers for a regression",
                fix="mend the value, or choose another task",
            )
        values = np.array([parse_number(text) for text in values.tolist()], np.float64)
    wrong = np.flatnonzero(~(np.abs(values) <= LARGEST_TARGET))
    if len(wrong):
        value = float(values[wrong[0]])
        problem = "too large" if np.isfinite(value) else "infinite"
        raise InputError(
            f"the target {profile.name!r}, row {wrong[0]}, is {problem}: {value:g}",
            expected=f"numbers between -{LARGEST_TARGET:g} and {LARGEST_TARGET:g}",
            fix="mend the value, or predict it in a larger unit, or its logarithm",
        )
    return np.asarray(values, np.float64)


def _guess_task(profile: ColumnProfile) -> Task:
    num_values = len(profile.counts)
    if profile.type == "boolean" or num_values <= 2:
        return "binary"
    if profile.type == "text":
        numbers = num_values > MAX_NUMBER_CLASSES and all(map(_is_number, profile.counts))
        return "regression" if numbers else "multiclass"
    few = num_values <= MAX_NUMBER_CLASSES and num_values * MIN_CLASS_ROWS <= profile.num_rows
    return "multiclass" if few and is_integral(profile.values) else "regression"


def _sort_labels(labels: Sequence[str] | dict[str, int]) -> tuple[str, ...]:
    if all(map(_is_number, labels)):
        return tuple(sorted(labels, key=lambda label: (parse_number(label), label)))
    return tuple(sorted(labels))


def _is_number(text: str) -> bool:
    try:
        parse_number(text)
    except ValueError:
        return False
    return True


def _is_boolean(value: Any) -> bool:
    try:
        return parse_boolean(value) in (0.0, 1.0)
    except ValueError:
        return False
