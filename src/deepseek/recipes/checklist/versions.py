"""A checklist against the one of the regulation as it was: what a person decided is kept where the rule is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from deepseek.recipes.checklist.lines import RuleLine

#: From which likeness on two clauses are one that has changed, 0..1.
LIKENESS = 0.6
#: What a person may have written into a line.
EDITED = ("text", "expect", "risk", "status", "evidence", "question", "title")


@dataclass(frozen=True, slots=True)
class ChangedLine:
    """A line whose clause has changed."""

    id: str
    before: str  # the clause as it was
    after: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a new version of a regulation changes."""

    unchanged: tuple[str, ...]  # ids
    changed: tuple[ChangedLine, ...]
    new: tuple[str, ...]
    removed: tuple[RuleLine, ...]


def compare_versions(lines: Sequence[RuleLine], previous: Sequence[RuleLine]) -> tuple[list[RuleLine], Comparison]:
    """The lines with the ids and decisions of the previous ones, and what has changed. A line whose clause has changed
    is proposed again."""
    left = list(previous)
    pairs: dict[int, RuleLine] = {}
    for is_alike in (_is_same, _is_moved, _is_changed):
        for place, line in enumerate(lines):
            if place in pairs:
                continue
            other = next((each for each in left if is_alike(line, each)), None)
            if other is not None:
                pairs[place] = other
                left.remove(other)
    merged, unchanged, changed, new = [], [], [], []
    taken = {each.id for each in previous}
    for place, line in enumerate(lines):
        other = pairs.get(place)
        if other is None:
            fresh = replace(line, id=_free_id(line.id, taken))
            taken.add(fresh.id)
            new.append(fresh.id)
            merged.append(fresh)
        elif other.quote == line.quote:
            merged.append(replace(line, id=other.id, **{name: getattr(other, name) for name in EDITED}))
            unchanged.append(other.id)
        else:
            note = f"{line.note}; changed, was: {other.quote[:300]}".removeprefix("; ")
            merged.append(replace(line, id=other.id, status="proposed", note=note))
            changed.append(ChangedLine(other.id, other.quote, line.quote))
    return merged, Comparison(tuple(unchanged), tuple(changed), tuple(new), tuple(left))


def _is_same(line: RuleLine, other: RuleLine) -> bool:
    same = (line.kind, line.quote, line.source) == (other.kind, other.quote, other.source)
    return same and (line.subject, line.condition) == (other.subject, other.condition)


def _is_moved(line: RuleLine, other: RuleLine) -> bool:
    return (line.kind, line.quote, line.subject, line.condition) == (
        other.kind, other.quote, other.subject, other.condition,
    )  # fmt: skip


def _is_changed(line: RuleLine, other: RuleLine) -> bool:
    if line.kind != other.kind or line.source != other.source:
        return False
    return SequenceMatcher(None, line.quote, other.quote, autojunk=False).ratio() >= LIKENESS


def _free_id(name: str, taken: set[str]) -> str:
    """The id, or one beside it where the previous list has it."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
