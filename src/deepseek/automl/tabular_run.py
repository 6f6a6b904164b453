"""The steps of `ship` with what they share: the table, its split, the fitted preprocessing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl import evidence
from deepseek.automl.constraints import check_classes, check_constraints, order_labels, row_weights
from deepseek.automl.develop import DevelopedModel, develop
from deepseek.automl.large import RowSample, memory_budget, read_rows
from deepseek.automl.naming import default_name
from deepseek.automl.options import ShipOptions
from deepseek.automl.search import BASELINE_FAMILY, Budget, Fold
from deepseek.automl.trial import Trial
from deepseek.bundle import check_name, check_target
from deepseek.contracts import Task
from deepseek.data import (
    Finding,
    Preprocessor,
    Split,
    Table,
    TargetInfo,
    check_leaks,
    concat,
    drop_missing_target,
    encode_target,
    find_kinds,
    fit_preprocessor,
    infer_task,
    make_folds,
    read_table,
    split_table,
)
from deepseek.data.table.table import unknown_column_error
from deepseek.errors import CheckError, InputError
from deepseek.extras import install_advice, is_installed
from deepseek.plugins import find, names
from deepseek.train.candidates import Candidate, FitData
from deepseek.train.tabular.metrics import default_metric, find_metric

#: Folds by the number of development rows below which they apply: few rows are judged by nearly all of them, many need
#: few fits. Rare classes want every row judged: on one fold in four of a fraud week the choice was mostly noise.
FOLDS_BY_ROWS = ((300, 10), (20_000, 5), (200_000, 3))
NUM_FOLDS_LARGE = 4  # above, one of four judges


@dataclass(frozen=True)
class SplitData:
    """Data that was read and split, before anything is known of its columns."""

    source: Any  # what it was read from
    budget: Budget
    table: Table
    split: Split
    info: TargetInfo
    labels: tuple[str, ...]
    hidden: tuple[str, ...]  # columns that are no inputs
    reading: RowSample | None = None  # of a large file

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person must know of the rows and the target; first, whether rows were left out."""
        sampled = self.reading.words() if self.reading else None
        return (*((sampled,) if sampled else ()), *self.table.notes, *self.info.notes)

    @property
    def development(self) -> Table:
        """Rows to search and fit on: training, then the user's own validation rows."""
        return self.table.take(self.development_rows)

    @property
    def development_rows(self) -> NDArray[np.int64]:
        return np.concatenate([self.split.train, self.split.validation])

    @property
    def test(self) -> Table:
        return self.table.take(self.split.test)


def open_data(data: Any, asked: ShipOptions) -> SplitData:
    """Read and split. Whatever makes the run impossible is told first."""
    budget = Budget(None if asked.trials else asked.budget_s)
    name = default_name(asked, data)
    check_target(asked.out or name, overwrite=asked.overwrite, key=asked.key)
    check_name(name)
    if asked.progress:
        asked.progress("reading", 0.0)
    _choose_candidates(asked)
    table, split, reading = _read_and_split(data, asked)
    info = infer_task(table, asked.target, task=asked.task)
    labels = order_labels(info.labels, asked.positive)
    if split is None:
        split = split_table(
            table, split=asked.split, target=asked.target, task=info.task, seed=asked.seed, validation_share=0.0
        )
    hidden = (*asked.drop, *([asked.weights] if asked.weights else []), *_group_columns(asked))
    opened = SplitData(data, budget, table, split, info, labels, hidden, reading)
    check_classes(opened.development, asked.target, info.labels)
    return opened


@dataclass
class TabularRun:
    """One run of `ship`."""

    asked: ShipOptions
    source: Any  # what the data was read from
    budget: Budget
    task: Task
    labels: tuple[str, ...]
    development: Table  # rows to search and fit on: training, then the user's own validation rows
    num_validation: int  # how many of them, at the end, are the user's own validation rows
    test: Table
    kinds: dict[str, str]
    warnings: list[str]
    preprocessor: Preprocessor
    candidates: tuple[Candidate, ...]
    reading: RowSample | None = None  # of a large file

    @classmethod
    def of(cls, opened: SplitData, asked: ShipOptions) -> TabularRun:
        """Check the data; fit the preprocessing on the development rows."""
        table, split, info = opened.table, opened.split, opened.info
        candidates, left_out = _choose_candidates(asked)
        development, test = opened.development, opened.test
        # a column with a direction must enter as one number: one-hot levels could not be held to it
        overrides = {**dict.fromkeys(asked.monotone or {}, "numeric"), **(asked.kinds or {})}
        kinds = find_kinds(development, target=asked.target, overrides=overrides)
        hidden = opened.hidden
        read = {name: kind for name, kind in kinds.items() if name not in hidden}
        warnings = [*opened.notes, *check_findings(asked, find_leaks(asked, table, split, info.task, read))]
        preprocessor = fit_preprocessor(development, kinds, target=asked.target, drop=hidden)
        warnings += [
            *preprocessor.notes,
            *left_out,
            *evidence.small_sample_warnings(test, asked.segments, asked.fairness),
        ]
        return cls(
            asked, opened.source, opened.budget, info.task, opened.labels, development, len(split.validation), test,
            kinds, warnings, preprocessor, candidates, opened.reading,
        )  # fmt: skip

    def fit_data(self, table: Table) -> FitData:
        """Prepared rows of a table with its target and weights."""
        features = self.preprocessor.features
        monotone = self.asked.monotone or {}
        for column in monotone:
            if {f.kind for f in features if f.column == column} - {"missing"} != {"numeric"}:
                raise InputError(
                    f"monotone names {column!r}, which is not a numeric input",
                    expected="a numeric column that the model reads",
                    fix=f"take {column!r} out of monotone",
                )
        return FitData(
            features=self.preprocessor.table(table).features,
            target=encode_target(table, self.asked.target, self.labels),
            weight=row_weights(table, self.asked.weights),
            task=self.task,
            num_classes=len(self.labels),
            kinds=tuple(f.kind for f in features),
            num_levels=tuple(f.num_levels for f in features),
            monotone=tuple(monotone.get(f.column, 0) if f.kind == "numeric" else 0 for f in features),
        )

    def folds(self) -> Sequence[Fold]:
        """Rows to fit on and rows to judge on: the user's own validation rows, else folds of the stated split."""
        num_rows = self.development.num_rows
        if self.num_validation:
            first = num_rows - self.num_validation
            return self._taught([(np.arange(first), np.arange(first, num_rows))])
        num_folds = next((number for below, number in FOLDS_BY_ROWS if num_rows < below), None)
        made = make_folds(
            self.development, split=self.asked.split, target=self.asked.target, task=self.task,
            num_folds=num_folds or NUM_FOLDS_LARGE, seed=self.asked.seed,
        )  # fmt: skip
        taught = self._taught(made)
        return taught if num_folds else taught[-1:]

    def _taught(self, made: Sequence[Fold]) -> Sequence[Fold]:
        """The folds whose rows to fit on hold every class. At random, the only row of a class teaches in every fold."""
        if not self.labels:
            return made
        target = encode_target(self.development, self.asked.target, self.labels)
        if self.asked.split == "random" and not self.num_validation:
            alone = np.flatnonzero(np.bincount(target)[target] == 1)
            made = [(np.union1d(fit, alone), np.setdiff1d(held, alone)) for fit, held in made]
        whole = [(fit, held) for fit, held in made if len(held) and len(np.unique(target[fit])) == len(self.labels)]
        judged = {int(label) for _, held in whole for label in target[held]}
        if len(self.labels) == 2 and len(judged) == 1:
            raise InputError(
                f"class {self.labels[1 - judged.pop()]!r} is not among the rows that judge",
                expected=f"rows of both classes to judge by, by {self.asked.split}",
                fix="move the boundary, split at random, or bring more rows of that class",
            )
        if not whole:
            missing = sorted(set(range(len(self.labels))) - set(target[made[-1][0]].tolist()))
            raise InputError(
                f"class {self.labels[missing[0]]!r} is only among the rows that judge",
                expected=f"rows of every class to fit on, by {self.asked.split}",
                fix="move the boundary, split at random, or bring more rows of that class",
            )
        return whole

    def develop(self) -> DevelopedModel:
        data = self.fit_data(self.development)
        check_constraints(self.asked, self.task, self.labels)
        if not any(candidate.supports(data) for candidate in self.candidates):
            raise InputError(
                "none of the candidates can keep the monotone constraints",
                expected="xgboost among them; for two classes and regression also the forests",
                fix="add one of these to candidates, or leave monotone out",
            )
        metric = find_metric(self.task, self.asked.metric or default_metric(self.task, data.target))
        return develop(
            data, self.folds(), self.labels, metric=metric, candidates=self.candidates, seed=self.asked.seed,
            budget=self.budget, num_trials=self.asked.trials, progress=self._told(),
        )  # fmt: skip

    def _told(self) -> Callable[[Trial], None]:
        say, best = self.asked.progress, [float("inf")]

        def told(trial: Trial) -> None:
            best[0] = min(best[0], trial.loss)
            if say:
                done = (trial.number + 1) / self.asked.trials if self.asked.trials else 0.0
                share = min(0.95, done or self.budget.used_s() / self.asked.budget_s)
                say(f"trial {trial.number + 1}: {trial.family} {trial.loss:.4g}, best {best[0]:.4g}", share)

        return told


def _read_and_split(data: Any, asked: ShipOptions) -> tuple[Table, Split | None, RowSample | None]:
    """All rows in one table, or as many as fit into memory; the user's own test rows set the split, else it is still to
    be made. Test and validation rows of the user's own are read whole."""

    def rows_of(source: Any, called: str) -> Table:
        return checked(read_table(source), called)

    def checked(found: Table, called: str) -> Table:
        if asked.target not in found.columns:
            raise unknown_column_error(asked.target, found.names, where=called)
        return drop_missing_target(found, asked.target) if asked.drop_missing_target else found

    called = [_source_name(*part) for part in (("data", data), ("validation", asked.validation), ("test", asked.test))]
    reading = None
    if isinstance(data, (str, os.PathLike)):
        found, reading = read_rows(
            Path(data), target=asked.target, seed=asked.seed, memory_bytes=memory_budget(asked.memory_bytes)
        )
        table = checked(found, called[0])
    else:
        table = rows_of(data, called[0])
    for column in (asked.weights, asked.fairness, *asked.segments, *asked.drop, *(asked.monotone or {})):
        if column is not None and column not in table.columns:
            raise unknown_column_error(column, table.names, where=called[0])
    if asked.test is None and asked.validation is None:
        return table, None, reading
    none = table.take(np.arange(0))
    validation_rows = none if asked.validation is None else rows_of(asked.validation, called[1])
    test_rows = none if asked.test is None else rows_of(asked.test, called[2])
    parts = [table, validation_rows, test_rows]
    ends = np.cumsum([part.num_rows for part in parts])
    train, validation, test = (np.arange(end - part.num_rows, end) for end, part in zip(ends, parts, strict=True))
    if asked.test is None:
        task = infer_task(table, asked.target, task=asked.task).task
        made = split_table(
            table, split=asked.split, target=asked.target, task=task, seed=asked.seed, validation_share=0.0
        )
        train, test = made.train, made.test
    return concat(parts, called), Split(train, validation, test), reading


def _source_name(what: str, source: Any) -> str:
    """What errors call a table: the file where there is one."""
    if isinstance(source, (str, os.PathLike)):
        return f"the {what} file {source}"
    return "the data" if what == "data" else f"the table of {what} rows"


def _group_columns(asked: ShipOptions) -> list[str]:
    """A column that groups rows is no input: its values do not come again."""
    method, _, column = asked.split.partition(":")
    return [column] if method == "group" else []


def find_leaks(asked: ShipOptions, table: Table, split: Split, task: Task, kinds: dict[str, str]) -> list[Finding]:
    """What the leak checks of a table find."""
    return check_leaks(
        table, split, target=asked.target, task=task, kinds=kinds, method=asked.split,
        own_files=asked.test is not None,
    )  # fmt: skip


def check_findings(asked: ShipOptions, found: Sequence[Finding]) -> list[str]:
    """Warnings of the leak checks; a finding that refuses is an error unless it is allowed by name."""
    for finding in found:
        if finding.level == "refuse" and finding.name not in asked.allow:
            accept = f"allow=[{finding.name!r}]; in the shell --allow {shlex.quote(finding.name)}"
            raise CheckError(
                finding.message, expected="rows and columns that do not give the answer away",
                fix=f"{finding.fix}; or accept it ({accept})",
            )  # fmt: skip
    known = {finding.name for finding in found}
    idle = [f"allow names {name!r}, by which the leak check found nothing" for name in asked.allow if name not in known]
    return [f"{finding.message}; {finding.fix}" for finding in found] + idle


def _choose_candidates(asked: ShipOptions) -> tuple[tuple[Candidate, ...], list[str]]:
    """The candidates that were asked for and can run, the yardstick first; and who was left out."""
    wanted = list(asked.candidates or names("candidates"))
    wanted = [BASELINE_FAMILY, *(name for name in wanted if name != BASELINE_FAMILY)]
    kept, left_out = [], []
    for name in wanted:
        candidate: Candidate = find("candidates", name)
        absent = [module for module in candidate.needs if not is_installed(module)]
        if absent:
            left_out.append(f"{name} was left out: {', '.join(absent)} is not installed ({install_advice('train')})")
        else:
            kept.append(candidate)
    return tuple(kept), left_out
