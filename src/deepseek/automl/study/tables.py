"""Recipes and results in tables (CSV, Parquet, Arrow): a column for each parameter and each measured quantity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deepseek.automl.study.definition import Definition
from deepseek.automl.study.space import Value
from deepseek.data import read_table
from deepseek.errors import InputError

YES = ("yes", "true", "1", "1.0")


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A row of a table of results. `trial` 0: it names a recipe instead; a failed trial has no values."""

    trial: int = 0
    recipe: dict[str, Value] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    has_failed: bool = False


def read_recipes(path: Path, definition: Definition) -> list[dict[str, Value]]:
    """One recipe a row; each once. InputError for a row outside of the ranges."""
    names = [parameter.name for parameter in definition.parameters]
    recipes: dict[tuple[Value, ...], dict[str, Value]] = {}
    for number, record in _records(path, names):
        with _at_row(path, number):
            recipe = definition.space.check({name: record[name] for name in names})
        recipes.setdefault(tuple(recipe.values()), recipe)
    return list(recipes.values())


def read_results(path: Path, definition: Definition) -> list[ResultRow]:
    """One result a row: by `trial`, or by the whole recipe. A column `failed` says yes where a trial has no result."""
    names = [parameter.name for parameter in definition.parameters]
    results = []
    for number, record in _records(path, ()):
        with _at_row(path, number):
            is_numbered = record.get("trial") is not None
            trial = _trial_number(record["trial"]) if is_numbered else 0
            recipe = {} if is_numbered else definition.space.check({n: record[n] for n in names if n in record})
            if str(record.get("failed")).lower() in YES:
                results.append(ResultRow(trial, recipe, has_failed=True))
                continue
            values = definition.check_values({n: record[n] for n in definition.quantities if n in record})
            results.append(ResultRow(trial, recipe, values))
    return results


def _records(path: Path, names: tuple[str, ...] | list[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    """The rows of a table with their numbers from 1. InputError when it lacks one of the columns."""
    table = read_table(path)
    if missing := [name for name in names if name not in table.names]:
        raise InputError(
            f"{path} has no column {', '.join(missing)}", expected=f"the columns {', '.join(names)}", fix="add them"
        )
    return enumerate(table.records(), start=1)


@contextmanager
def _at_row(path: Path, number: int) -> Iterator[None]:
    """An InputError inside says which row it is of."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"row {number} of {path.name}: {error.message}", expected=error.expected, fix=error.fix
        ) from error


def _trial_number(value: object) -> int:
    try:
        number = float(str(value))
    except ValueError:
        number = 0.5
    if number % 1 or number < 1:
        raise InputError(f"trial is {value}", expected="the number of a trial", fix="mend it")
    return int(number)
