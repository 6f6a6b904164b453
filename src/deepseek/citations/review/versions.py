"""Two versions of a document: which clauses were added, taken out, changed or moved, and what that did to each line.

    comparison = compare_versions(old_report, new_report)
    comparison.changes[0].kind, comparison.lines[0].before      # "changed", "holds"

Clauses are paired by their words (difflib's longest matching runs of whole clauses first, then the most alike of what
is left, in order of likeness); a number that changed because a clause came in above is no change.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Literal

from deepseek.citations.documents import Clause
from deepseek.citations.review.findings import ReviewReport
from deepseek.contracts import JsonObject

ChangeKind = Literal["added", "removed", "changed", "moved"]
Edit = Literal["same", "added", "removed"]
#: Least share of common words of two clauses that are versions of one.
MIN_ALIKE = 0.5
MAX_PAIRS = 250_000  # of changed clauses that are compared
MAX_EDITED_WORDS, MAX_COMPARED = 3000, 2000


@dataclass(frozen=True, slots=True)
class ClauseChange:
    """One clause that is not as it was."""

    kind: ChangeKind
    before: int | None  # index of the clause in the old document
    after: int | None
    number: str
    edits: tuple[tuple[Edit, str], ...]  # words in their order

    def to_dict(self) -> JsonObject:
        """As JSON."""
        return {**asdict(self), "edits": [list(edit) for edit in self.edits]}


@dataclass(frozen=True, slots=True)
class LineChange:
    """A line whose verdict is another one now."""

    id: str
    name: str
    before: str
    after: str
    is_worse: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is new in a version."""

    old_name: str
    old_sha256: str
    changes: tuple[ClauseChange, ...]  # in the order of the new document, what was taken out where it stood
    lines: tuple[LineChange, ...]
    num_same: int

    def to_dict(self) -> JsonObject:
        """As JSON."""
        return {
            "old": {"name": self.old_name, "sha256": self.old_sha256}, "num_same": self.num_same,
            "changes": [change.to_dict() for change in self.changes], "lines": [asdict(line) for line in self.lines],
        }  # fmt: skip


def compare_versions(old: ReviewReport, new: ReviewReport) -> Comparison:
    """What has changed from one reviewed document to another, by the same checklist."""
    pairs = pair_clauses(old.document.clauses, new.document.clauses)
    before, after = old.document.clauses, new.document.clauses
    ordered = _in_order(pairs)
    changes: list[tuple[float, ClauseChange]] = []
    num_same = 0
    for first, second in sorted(pairs.items()):
        is_same = _plain(before[first].text) == _plain(after[second].text)
        number = after[second].number or after[second].parent or ""
        if is_same and first in ordered:
            num_same += 1
        elif is_same:
            changes.append((second, ClauseChange("moved", first, second, number, (("same", after[second].text),))))
        else:
            edits = edit_words(before[first].text, after[second].text)
            changes.append((second, ClauseChange("changed", first, second, number, edits)))
    for second in sorted(set(range(len(after))) - set(pairs.values())):
        number = after[second].number or after[second].parent or ""
        changes.append((second, ClauseChange("added", None, second, number, (("added", after[second].text),))))
    for first in sorted(set(range(len(before))) - set(pairs)):
        number = before[first].number or before[first].parent or ""
        place = max((pairs[index] for index in pairs if index < first), default=-1) + 0.5
        changes.append((place, ClauseChange("removed", first, None, number, (("removed", before[first].text),))))
    lines = tuple(
        LineChange(now.line.id, now.line.name, then.verdict, now.verdict, now.risk > then.risk)
        for then, now in zip(old.findings, new.findings, strict=True)
        if then.verdict != now.verdict
    )
    ranked = tuple(change for _, change in sorted(changes, key=lambda entry: entry[0]))
    return Comparison(old.document.source, old.sha256, ranked, lines, num_same)


def pair_clauses(before: tuple[Clause, ...], after: tuple[Clause, ...]) -> dict[int, int]:
    """The clause of the new document that each of the old one has become, by index."""
    first, second = [_plain(clause.text) for clause in before], [_plain(clause.text) for clause in after]
    pairs: dict[int, int] = {}
    # Of a long document clauses that come again and again are not compared: it would take the square of their number.
    matcher = SequenceMatcher(None, first, second, autojunk=len(second) > MAX_COMPARED)
    for block in matcher.get_matching_blocks():
        pairs |= {block.a + step: block.b + step for step in range(block.size)}
    left = [index for index in range(len(before)) if index not in pairs]
    free = [index for index in range(len(after)) if index not in pairs.values()]
    if len(left) * len(free) > MAX_PAIRS:
        return pairs
    bags = {(0, index): Counter(_words(before[index].text)) for index in left}
    bags |= {(1, index): Counter(_words(after[index].text)) for index in free}
    scored = sorted(
        (
            -_common_share(bags[0, one], bags[1, other]) - 0.1 * (before[one].number == after[other].number),
            one,
            other,
        )
        for one in left
        for other in free
    )
    taken: set[int] = set()
    for score, one, other in scored:
        if -score < MIN_ALIKE:
            break
        if one not in pairs and other not in taken:
            pairs[one] = other
            taken.add(other)
    return pairs


def edit_words(before: str, after: str) -> tuple[tuple[Edit, str], ...]:
    """Words that stayed, came in and went, in their order.

    >>> edit_words("within 30 days of notice", "within 60 days of notice")
    (('same', 'within'), ('removed', '30'), ('added', '60'), ('same', 'days of notice'))
    """
    first, second = _words(before), _words(after)
    if len(first) + len(second) > MAX_EDITED_WORDS:
        return (("removed", before), ("added", after))
    joint = "" if _is_chinese(after) else " "
    edits: list[tuple[Edit, str]] = []
    for name, a, b, c, d in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if name == "equal":
            edits.append(("same", joint.join(first[a:b])))
            continue
        edits += [("removed", joint.join(first[a:b]))] if b > a else []
        edits += [("added", joint.join(second[c:d]))] if d > c else []
    return tuple(edits)


def _in_order(pairs: dict[int, int]) -> set[int]:
    """The clauses that kept their order: the longest rising run of places (patience sorting)."""
    order = sorted(pairs)
    tails: list[int] = []  # by length, the clause that ends the run with the least place
    before: dict[int, int | None] = {}
    for index in order:
        low, high = 0, len(tails)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if pairs[tails[middle]] < pairs[index] else (low, middle)
        before[index] = tails[low - 1] if low else None
        tails[low : low + 1] = [index]
    kept: set[int] = set()
    last = tails[-1] if tails else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return kept


def _common_share(first: Counter[str], second: Counter[str]) -> float:
    return 2 * (first & second).total() / max(first.total() + second.total(), 1)


def _words(text: str) -> list[str]:
    return list("".join(text.split())) if _is_chinese(text) else text.split()


def _is_chinese(text: str) -> bool:
    return sum("一" <= letter <= "鿿" for letter in text) > 0.3 * len(text)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
