"""Slices of the requests: a value of a field, a range of numbers, or two of these at once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.observe.system.events import SYSTEM_FIELD
from deepseek.observe.why.coding import CodedField

#: Last parts of names of what answers: a request without one was refused before it came there, or lost with it, which
#: follows from what happened.
WORKER_NAMES = frozenset(["worker", "pid"])


@dataclass(frozen=True, slots=True)
class Condition:
    """What a field must be. One of: a value; any of `values` (which the past did not know); from `low` to before
    `high`; missing; a rare value; any text in the place of a number."""

    field: str
    kind: str  # is, unseen, range, length, second, missing, rare, text
    value: str = ""
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    is_whole: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The same for ranges of one field, which differ a little from one kind of bad row to another."""
        return (self.field, self.value if self.kind == "is" else self.kind)


@dataclass(frozen=True, slots=True)
class FieldSlices:
    """The slices of one field: conditions (S) and which codes each has (S, K)."""

    conditions: tuple[Condition, ...]
    masks: NDArray[np.bool_]

    @property
    def num_ends(self) -> NDArray[np.int64]:
        """How many ends each condition states (S,): of two that explain as much, the simpler one is told."""
        return np.array([(each.low is not None) + (each.high is not None) for each in self.conditions])


def list_slices(field: CodedField) -> FieldSlices:
    """All slices of a field that one condition can say."""
    num_codes = field.num_codes
    conditions: list[Condition] = []
    masks: list[NDArray[np.bool_]] = []

    def add(condition: Condition, codes: list[int]) -> None:
        mask = np.zeros(num_codes, np.bool_)
        mask[codes] = True
        conditions.append(condition)
        masks.append(mask)

    if field.kind == "category":
        for code, value in enumerate(field.values[:-3]):
            add(Condition(field.name, "is", value), [code])
        if field.name == SYSTEM_FIELD:  # each event stands for itself, and that nothing happened is no cause
            return FieldSlices(tuple(conditions), np.array(masks))
        names = tuple(field.values[code] for code in field.unseen if field.values[code])
        add(Condition(field.name, "unseen", values=names), list(field.unseen))
        add(Condition(field.name, "rare"), [field.other])
    else:
        num_ranges = len(field.edges) + 1
        kind = {"number": "range"}.get(field.kind, field.kind)
        for first, last in itertools.combinations_with_replacement(range(num_ranges), 2):
            if last - first + 1 < num_ranges:
                low = field.edges[first - 1] if first else None
                high = field.edges[last] if last < num_ranges - 1 else None
                condition = Condition(field.name, kind, low=low, high=high, is_whole=field.is_whole)
                add(condition, list(range(first, last + 1)))
        first_text = field.missing + 1
        for place, text in enumerate(field.texts[:-1]):
            add(Condition(field.name, "is", text), [first_text + place])
        if field.texts:
            add(Condition(field.name, "text"), list(range(first_text, first_text + len(field.texts))))
    if field.missing >= 0 and field.name.rpartition(".")[2].lower() not in WORKER_NAMES:
        add(Condition(field.name, "missing"), [field.missing])
    return FieldSlices(tuple(conditions), np.array(masks))
