"""One house's rows of a vertical study: ids that both sides write alike, inputs of its own columns, and the target.

rows = read_house(study, "columns", table)             # ids (N,), inputs (N, D) by the schema of the study
shared = rows.take(places)                             # the rows that both have, in the order of their ids
split = split_rows(study, len(shared))                 # the same on both sides: learn from, calibrate, test
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.data import Table, encode_target
from deepseek.errors import InputError
from deepseek.privacy.encrypted.cross_products import LARGEST_FACTOR
from deepseek.privacy.parties.inputs import MIN_SPREAD, check_types, joiner
from deepseek.privacy.study.definition import Study, VerticalColumns
from deepseek.privacy.study.vertical import HouseRole, half_study, vertical_columns

MIN_SHARED_ROWS = 50


@dataclass(frozen=True, slots=True)
class HouseRows:
    """In the order of the ids, as both houses sort them."""

    ids: tuple[str, ...]
    inputs: Float64  # (N, D)
    target: NDArray[Any] | None  # (N,) class numbers, or values in the study's scale; of the house with the target

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: NDArray[np.int64]) -> HouseRows:
        ids = tuple(self.ids[place] for place in places.tolist())
        return HouseRows(ids, self.inputs[places], None if self.target is None else self.target[places])


@dataclass(frozen=True, slots=True)
class RowSplit:
    """Places of the shared rows; both houses draw the same."""

    training: NDArray[np.int64]
    calibration: NDArray[np.int64]  # held back from training: to scale scores to probabilities
    test: NDArray[np.int64]  # held back from both: for figures

    @property
    def held_rows(self) -> NDArray[np.int64]:
        """Whose partial scores cross once, at the end."""
        return np.concatenate([self.calibration, self.test])


@dataclass(frozen=True, slots=True)
class HouseScaling:
    """Means and scales (D,) of a house's inputs over its training rows. They stay in the house until they are folded
    into its half of the model."""

    mean: Float64
    scale: Float64

    @classmethod
    def of(cls, inputs: Float64) -> HouseScaling:
        """So that no input of these rows is beyond LARGEST_FACTOR."""
        mean = inputs.mean(axis=0)
        away = np.abs(inputs - mean).max(axis=0, initial=0.0) / LARGEST_FACTOR
        scale = np.maximum(inputs.std(axis=0), 1.000001 * away)
        return cls(mean, np.where(scale > MIN_SPREAD, scale, 1.0))

    def apply(self, inputs: Float64) -> Float64:
        return np.asarray((inputs - self.mean) / self.scale, np.float64)


def read_house(study: Study, role: HouseRole, table: Table, *, with_target: bool = True) -> HouseRows:
    """A house's table, sorted by id. InputError for a table of another schema, by the column; for ids that are missing,
    that stand twice or are of another kind; for a target that is missing or of a class that the study does not know."""
    columns, half = vertical_columns(study), half_study(study, role)
    ids = read_ids(columns, table)
    target: NDArray[Any] | None = None
    if role == "labels" and with_target:
        if study.target not in table.columns:
            raise InputError(
                f"the data has no column {study.target!r}, the target of the study",
                expected=f"the table of the house with the target, {_house_name(study, 0)}", fix="bring that column",
            )  # fmt: skip
        target = encode_target(table, study.target, study.labels)
        if study.task == "regression":
            target = (target - study.target_centre) / study.target_scale
    check_types(half, table)
    known = {column.name for column in half.preprocessor.columns} | set(half.preprocessor.ignored)
    features = half.preprocessor.table(table.drop([name for name in table.names if name not in known])).features
    inputs = joiner(half).join(features).astype(np.float64)
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    return HouseRows(ids, inputs, target).take(order)


def split_rows(study: Study, num_rows: int) -> RowSplit:
    """The same in both houses, by the seed and the digest of the study. InputError for fewer than MIN_SHARED_ROWS."""
    if num_rows < MIN_SHARED_ROWS:
        raise InputError(
            f"the houses share {num_rows} ids" if num_rows else "the houses share no id",
            expected=f"at least {MIN_SHARED_ROWS} that both have", fix="check that both write ids alike",
        )  # fmt: skip
    order = np.random.default_rng([study.settings.rounds.seed, int(study.digest[:12], 16)]).permutation(num_rows)
    num_held = max(2, round(study.settings.rounds.held_share * num_rows))
    num_calibration = num_held // 2 if study.task == "binary" else 0
    held, training = order[:num_held], order[num_held:]
    return RowSplit(np.sort(training), np.sort(held[:num_calibration]), np.sort(held[num_calibration:]))


def read_ids(columns: VerticalColumns, table: Table) -> tuple[str, ...]:
    """The ids of a table as texts, in the order of its rows. InputError for ids that are missing, stand twice or are of
    another kind than the study says."""
    name = columns.id_column
    values = table.column(name)
    if table.types[name] != columns.id_kind:
        raise InputError(
            f"the id {name!r} is {table.types[name]}", expected=f"{columns.id_kind}, as the study says",
            fix="write the ids as in the sample of the study, such as 00017 or 17 in both houses",
        )  # fmt: skip
    missing = np.flatnonzero(table.missing_mask(name))
    if len(missing):
        raise InputError(f"row {missing[0]} has no {name!r}", expected="an id in every row", fix="leave the row out")
    if columns.id_kind == "number":
        numbers = values.astype(np.float64)
        odd = np.flatnonzero((numbers != np.floor(numbers)) | (np.abs(numbers) > 2.0**53))
        if len(odd):
            raise InputError(
                f"the id {name!r} of row {odd[0]} is no whole number", expected="whole numbers below 2^53",
                fix="write the ids as texts in both houses",
            )  # fmt: skip
        ids = tuple(str(int(number)) for number in numbers.tolist())
    else:
        ids = tuple(str(value) for value in values.tolist())
    places: dict[str, int] = {}
    for place, each in enumerate(ids):
        if each in places:
            raise InputError(
                f"rows {places[each]} and {place} have the same {name!r}", expected="one row for each id",
                fix="join the rows of an id into one",
            )  # fmt: skip
        places[each] = place
    return ids


def _house_name(study: Study, place: int) -> str:
    return study.parties[place].name if study.parties else "the first of the two"
