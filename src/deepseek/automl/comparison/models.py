"""Bundles that are compared: opened, checked that they answer the same question, scored on the same rows.

names = display_names(paths)
check_comparable(names, [Question.of(manifest) for manifest in manifests])
model = score_model(names[1], runtime, table, labels, root, broken, faults)    # outputs in the order of `labels`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.evaluate import score_table
from deepseek.bundle import Manifest
from deepseek.contracts import Float64
from deepseek.data import Table
from deepseek.data.samples.preparer import BrokenPolicy, Fault
from deepseek.engines import MultimodalRuntime, Runtime
from deepseek.errors import InputError, MissingError

MAX_NAMES_LISTED = 20


@dataclass(frozen=True, slots=True, eq=False)
class ScoredModel:
    """What one model answers to the N rows."""

    name: str
    path: str
    digest: str  # "" for a model that is not packed yet
    output: Float64  # (N, C) probabilities in the order of the labels of the comparison, or (N, 1) values
    decided: NDArray[np.int64]  # (N,) class numbers by its own threshold or costs; zeros for regression
    size_bytes: int | None = None

    def take(self, rows: NDArray[np.int64]) -> ScoredModel:
        """What it answers to some of the rows."""
        return replace(self, output=self.output[rows], decided=self.decided[rows])

    def same_answers(self, other: ScoredModel) -> bool:
        """Whether it is the same model, or answers every row exactly alike."""
        if self.digest and self.digest == other.digest:
            return True
        return np.array_equal(self.output, other.output) and np.array_equal(self.decided, other.decided)


@dataclass(frozen=True, slots=True)
class Question:
    """What a model answers."""

    task: str
    target: str
    labels: tuple[str, ...]  # classes; empty for regression

    @classmethod
    def of(cls, manifest: Manifest) -> Question:
        """What a bundle answers."""
        return cls(manifest.task, manifest.target, tuple(manifest.labels))


def display_names(paths: Sequence[str | Path]) -> list[str]:
    """A short name for each bundle: the last part of its path, or the whole path where two share that.

    >>> display_names(["models/v1", "models/v2/"]), display_names(["old/loans", "new/loans"]), display_names(["a", "a"])
    (['v1', 'v2'], ['old/loans', 'new/loans'], ['a', 'a (2)'])
    """
    whole = [str(path).rstrip("/") or str(path) for path in paths]
    short = [Path(path).name or path for path in whole]
    names = short if len(set(short)) == len(set(whole)) else whole
    return [name if name not in names[:place] else f"{name} ({place + 1})" for place, name in enumerate(names)]


def check_comparable(names: Sequence[str], questions: Sequence[Question]) -> None:
    """InputError unless all predict the same target with the same classes; everything that differs is named."""
    reference = questions[0]
    problems = []
    for name, question in zip(names[1:], questions[1:], strict=True):
        for what, theirs, ours in (
            ("task", reference.task, question.task),
            ("target", reference.target, question.target),
        ):
            if theirs != ours:
                problems.append(f"the {what} of {names[0]} is {theirs!r}, that of {name} {ours!r}")
        if set(reference.labels) != set(question.labels):
            for holder, labels, others in (
                (names[0], reference.labels, question.labels), (name, question.labels, reference.labels)
            ):  # fmt: skip
                if only := [label for label in labels if label not in others]:
                    problems.append(f"only {holder} knows the class {_join_names(only)}")
    if problems:
        raise InputError(
            f"these bundles do not answer the same question: {'; '.join(problems)}",
            expected="bundles of one task, one target and the same classes (their order does not matter)",
            fix="compare bundles that predict the same; `deepseek inspect BUNDLE` says what one predicts",
        )


def check_columns(name: str, manifest: Manifest, table: Table) -> None:
    """MissingError unless the rows have the target and every column that the bundle needs; all that miss are named."""
    if manifest.target not in table.names:
        raise MissingError(
            f"the data has no column {manifest.target!r}, the target of the bundles",
            expected=f"a column {manifest.target!r} with the true answers",
            fix="add the true answers: without them no model can be called better",
        )
    absent = [column.name for column in manifest.inputs if column.required and column.name not in table.names]
    if absent:
        raise MissingError(
            f"the data lacks {_join_names(absent)}, which {name} reads",
            expected="every column that one of the bundles reads",
            fix="add these columns to the data",
        )


def score_model(
    name: str,
    path: str | Path,
    runtime: Runtime | MultimodalRuntime,
    table: Table,
    labels: tuple[str, ...],
    *,
    root: Path | None,
    broken: BrokenPolicy,
    faults: list[Fault],
) -> ScoredModel:
    """The answers of an open bundle to the rows of a table, classes in the order of `labels`."""
    inputs = input_table(runtime.manifest, table)
    output = score_table(runtime, inputs, root, broken, faults)
    own = runtime.labels
    decided = np.zeros(len(output), np.int64)
    if own:
        decided = np.array([labels.index(label) for label in own])[runtime.decision.classes(output)]
        output = output[:, [own.index(label) for label in labels]]
    size_bytes = runtime.bundle.size_bytes
    return ScoredModel(name, str(path), runtime.bundle.digest, output.astype(np.float64), decided, size_bytes)


def input_table(manifest: Manifest, table: Table) -> Table:
    """The columns of a table that a bundle reads."""
    inputs = {column.name for column in manifest.inputs}
    return table.drop([name for name in table.names if name not in inputs])


def _join_names(names: Sequence[str]) -> str:
    """Names in a sentence; beyond MAX_NAMES_LISTED only how many more."""
    more = f" and {len(names) - MAX_NAMES_LISTED} more" if len(names) > MAX_NAMES_LISTED else ""
    return ", ".join(map(repr, names[:MAX_NAMES_LISTED])) + more
