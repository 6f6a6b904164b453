"""Pairs of questions that were labelled as asking the same or not: read from a table, checked, and cut for figures.

    pairs = read_pairs(read_table("pairs.csv"))
    held = held_rows(pairs, share=0.2, seed=0)          # (N,) True: nothing is learned from it

Pairs hang together where they share a question: a question that stands in a learned pair says much of the others it
stands in. So the cut goes between the components of that graph, and no held question was learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.assistant.questions import column_texts
from deepseek.data.table.table import Table
from deepseek.engines.assistant.terms import question_form, split_words
from deepseek.errors import InputError
from deepseek.extras import need

FIRST_NAMES = ("question_a", "question1", "sentence1", "text_a", "text1", "问题1", "句子1")
SECOND_NAMES = ("question_b", "question2", "sentence2", "text_b", "text2", "问题2", "句子2")
SAME_NAMES = ("same", "is_duplicate", "duplicate", "label", "相同", "标签")
YES = frozenset({"1", "true", "yes", "same", "是", "相同"})
NO = frozenset({"0", "false", "no", "different", "否", "不同"})
MIN_PAIRS = 100  # of the first table, to learn anything from
MAX_PAIRS = 50_000  # of a table, that are learned from: the states of their questions take some 10 kB each


@dataclass(frozen=True, slots=True)
class PairColumns:
    """Which columns hold what; empty: by the names that are usual."""

    first: str = ""
    second: str = ""
    same: str = ""


@dataclass(frozen=True, eq=False)
class LabelledPairs:
    """N pairs of questions."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    same: NDArray[np.bool_]  # (N,)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.first)


def read_pairs(table: Table, columns: PairColumns | None = None) -> LabelledPairs:
    """The pairs of a table. A pair that comes again (in either order) counts once, and not at all where its labels
    differ; rows without words are left out, both with a warning. InputError for columns that are not there, for labels
    that say neither yes nor no, and for fewer than MIN_PAIRS or pairs of one kind alone."""
    columns = columns or PairColumns()
    first = column_texts(table, columns.first, FIRST_NAMES, "the first questions", option="question-a")
    second = column_texts(table, columns.second, SECOND_NAMES, "the second questions", option="question-b")
    labels = _read_labels(column_texts(table, columns.same, SAME_NAMES, "whether they ask the same", option="same"))
    warnings: list[str] = []
    label_of: dict[tuple[str, str], bool] = {}
    row_of: dict[tuple[str, str], int] = {}
    conflicts: set[tuple[str, str]] = set()
    num_empty = 0
    for row, (one, other, label) in enumerate(zip(first, second, labels, strict=True)):
        if not (split_words(one) and split_words(other)):
            num_empty += 1
            continue
        key = _pair_key(one, other)
        if label_of.setdefault(key, label) != label:
            conflicts.add(key)
        row_of.setdefault(key, row)
    if num_empty:
        warnings.append(f"{num_empty} pairs without words on one side are left out")
    if conflicts:
        warnings.append(f"{len(conflicts)} pairs stand twice with different labels: none of them is learned")
    rows = [row for key, row in row_of.items() if key not in conflicts]
    if len(rows) > MAX_PAIRS:
        warnings.append(f"{MAX_PAIRS} of {len(rows)} pairs are learned, the first ones")
    rows = rows[:MAX_PAIRS]
    same = np.array([labels[row] for row in rows], bool)
    if len(rows) < MIN_PAIRS or same.all() or not same.any():
        raise InputError(
            f"there are {len(rows)} pairs of questions, {int(same.sum())} of which ask the same",
            expected=f"at least {MIN_PAIRS} pairs of both kinds", fix="bring more pairs, or leave --pairs out",
        )  # fmt: skip
    return LabelledPairs(
        tuple(first[row] for row in rows), tuple(second[row] for row in rows), same, tuple(warnings)
    )  # fmt: skip


def _read_labels(texts: Sequence[str]) -> list[bool]:
    labels = []
    for row, text in enumerate(texts):
        word = text.casefold()
        if word not in YES | NO:
            raise InputError(
                f"row {row} says {text[:40]!r} of whether its questions ask the same", expected="1 or 0, yes or no",
                fix="correct the row, or name the column with --same",
            )  # fmt: skip
        labels.append(word in YES)
    return labels


def _pair_key(first: str, second: str) -> tuple[str, str]:
    """One key for both orders."""
    one, other = sorted((question_form(first), question_form(second)))
    return one, other


def held_rows(pairs: LabelledPairs, *, share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) True for about `share` of the pairs, whole components in an order that is drawn. A component that would
    more than fill what is left to hold is learned from, so a table that hangs together as one has nothing held."""
    root_of = _components(pairs)
    names, component = np.unique(root_of, return_inverse=True)
    sizes = np.bincount(component, minlength=len(names))
    is_held = np.zeros(len(names), bool)
    room = int(share * len(pairs))
    for place in np.random.default_rng((seed, 5)).permutation(len(names)).tolist():
        if sizes[place] <= room:
            is_held[place] = True
            room -= int(sizes[place])
    return np.asarray(is_held[component])


def _components(pairs: LabelledPairs) -> NDArray[np.int64]:
    """(N,) a number of each pair's component."""
    sides = [list(map(question_form, side)) for side in (pairs.first, pairs.second)]
    names, place_of = np.unique([*sides[0], *sides[1]], return_inverse=True)
    first, second = np.split(place_of, 2)
    sparse = need("scipy.sparse", extra="tabular")
    edges = sparse.coo_array((np.ones(len(first), bool), (first, second)), shape=(len(names), len(names)))
    _, label = need("scipy.sparse.csgraph", extra="tabular").connected_components(edges, directed=False)
    return np.asarray(label[first], np.int64)


def without_questions(pairs: LabelledPairs, questions: Sequence[str]) -> LabelledPairs:
    """The pairs in which none of the questions stands."""
    forms = {question_form(question) for question in questions}
    kept = [
        row for row in range(len(pairs))
        if question_form(pairs.first[row]) not in forms and question_form(pairs.second[row]) not in forms
    ]  # fmt: skip
    return take_pairs(pairs, kept)


def take_pairs(pairs: LabelledPairs, rows: Sequence[int]) -> LabelledPairs:
    """These rows alone."""
    return LabelledPairs(
        tuple(pairs.first[row] for row in rows), tuple(pairs.second[row] for row in rows),
        pairs.same[np.asarray(rows, np.int64)], pairs.warnings,
    )  # fmt: skip
