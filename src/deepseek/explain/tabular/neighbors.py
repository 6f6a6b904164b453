"""Rows beside an explanation: the nearest of the training data, and the least that would have changed the answer.

    nearest(row, training, kinds)                                    places and distances
    counterfactual(predict, row, training, kinds, fixed=("age",))    {"changes": {"income": (20, 45)}, ...}

A counterfactual is made of values that real rows have: a category stays one of those there are, a whole number whole,
and what the user has fixed is never touched. Each column that it changes is needed: with its old value alone the answer
is not reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from deepseek.contracts import Float64, Record
from deepseek.errors import InputError
from deepseek.explain.records import JsonRecord

ColumnKind = Literal["number", "category"]
PredictFunction = Callable[[Sequence[Record]], Sequence[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Counterfactual(JsonRecord):
    """A row near to another that gets another answer."""

    changes: Mapping[str, tuple[Any, Any]]  # column: (old value, new value)
    answer: Any  # that the changed row gets
    old_answer: Any = field(metadata={"key": "from"})
    row: Record  # the changed row
    num_predicted: int  # rows that the model answered


def nearest(
    row: Record, training: Sequence[Record], kinds: Mapping[str, ColumnKind], *, count: int = 5
) -> list[tuple[int, float]]:
    """The nearest training rows, as (place, distance). The distance is Gower's: of numbers the difference over the
    range, of categories 0 or 1, their mean over the columns; a value that is missing on one side counts 1.

    >>> rows = [{"age": 20, "job": "cook"}, {"age": 40, "job": "clerk"}, {"age": 60, "job": "clerk"}]
    >>> nearest({"age": 30, "job": "clerk"}, rows, {"age": "number", "job": "category"}, count=2)
    [(1, 0.125), (2, 0.375)]
    """
    far = gower_distances(row, training, kinds)
    return [(place, float(far[place])) for place in np.argsort(far, kind="stable")[:count].tolist()]


def gower_distances(row: Record, training: Sequence[Record], kinds: Mapping[str, ColumnKind]) -> Float64:
    """Gower distances (N,) of a row to the training rows."""
    if not training:
        raise InputError("there are no training rows", expected="one or more", fix="give rows that the model has seen")
    total = np.zeros(len(training))
    for name, kind in kinds.items():
        if kind == "number":
            column = np.array([_to_float(each.get(name)) for each in training])
            own = _to_float(row.get(name))
            known = column[np.isfinite(column)]
            wide = float(np.ptp(known)) if len(known) else 0.0
            far = np.abs(column - own) / (wide or 1.0)
            both = np.isnan(column) & np.isnan(own)
            total += np.where(both, 0.0, np.where(np.isfinite(far), np.minimum(far, 1.0), 1.0))
        else:
            total += np.array([float(each.get(name) != row.get(name)) for each in training])
    return total / max(1, len(kinds))


def counterfactual(
    predict: PredictFunction,
    row: Record,
    training: Sequence[Record],
    kinds: Mapping[str, ColumnKind],
    *,
    wanted: Any = None,
    fixed: Sequence[str] = (),
    groups: Sequence[Sequence[str]] = (),
    num_tried: int = 20,
) -> Counterfactual | None:
    """The fewest changes that were found to give another answer: {"changes": {column: (old, new)}, "answer", "from",
    "to", "num_predicted"}; None where no training row with its values in place of the row's gives it.

    `wanted` is the answer to reach, by default any other. Starts from the `num_tried` nearest training rows that have
    it and takes their values back, the smallest difference first, as long as the answer stays. It is minimal in that
    nothing can be taken back alone, not the best of all. Columns of one of the `groups` change together, to the values
    that one training row has in all of them, or not at all: so a group with a `fixed` column stays as it is.
    """
    unknown = [name for name in fixed if name not in kinds]
    if unknown:
        raise InputError(
            f"there is no column {unknown[0]!r} to fix", expected=", ".join(kinds), fix="name one of these"
        )
    units = _joined_columns(kinds, groups, fixed)
    old = predict([row])[0]
    answers = predict(training)
    good = np.array([answer == wanted if wanted is not None else answer != old for answer in answers])
    far = np.where(good, gower_distances(row, training, kinds), np.inf)
    count, best = 1 + len(training), None
    for place in np.argsort(far, kind="stable")[:num_tried].tolist():
        if not np.isfinite(far[place]):
            break
        candidate = dict(row) | {name: training[place].get(name) for unit in units for name in unit}
        count += 1
        if not _is_reached(predict([candidate])[0], old, wanted):
            continue
        changed = [unit for unit in units if any(candidate[name] != row.get(name) for name in unit)]
        changed.sort(key=lambda unit: float(gower_distances(row, [candidate], {name: kinds[name] for name in unit})[0]))
        for unit in list(changed):
            back = candidate | {name: row.get(name) for name in unit}
            count += 1
            if _is_reached(predict([back])[0], old, wanted):
                candidate = back
                changed.remove(unit)
        if best is None or len(changed) < len(best[1]):
            best = candidate, changed
    if best is None:
        return None
    candidate, changed = best
    names = [name for unit in changed for name in unit if candidate[name] != row.get(name)]
    changes = {name: (row.get(name), candidate[name]) for name in names}
    return Counterfactual(changes, predict([candidate])[0], old, candidate, count)


def _joined_columns(
    kinds: Mapping[str, ColumnKind], groups: Sequence[Sequence[str]], fixed: Sequence[str]
) -> list[tuple[str, ...]]:
    """What changes as one: the groups, and each other column by itself; without those that are fixed.

    >>> _joined_columns(dict.fromkeys("abcd", "number"), [("a", "b")], ["d"])
    [('a', 'b'), ('c',)]
    """
    grouped = {name for group in groups for name in group}
    units = [*map(tuple, groups), *((name,) for name in kinds if name not in grouped)]
    return [unit for unit in units if not set(unit) & set(fixed)]


def _is_reached(answer: Any, old: Any, wanted: Any) -> bool:
    return bool(answer == wanted if wanted is not None else answer != old)


def _to_float(value: Any) -> float:
    return float("nan") if value is None else float(value)
