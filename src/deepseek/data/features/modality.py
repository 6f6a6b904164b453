"""The seam between a column's kind and its features. A modality knows one family of kinds; a coder is what it fitted.

    find_kinds: each modality in turn may claim a column  -> its kind
    fit:        modality.fit(values, kind)                -> a coder, which is data and not code
    use:        coder.encode(column, out)  or, for one row, coder.quick / coder.careful: bit for bit the same numbers

Text, image or audio columns join as one more modality (registry.py); nothing else in this room has to know them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.data.table.table import ColumnFormat, ColumnType, Table
from deepseek.data.table.values import Values, level_names
from deepseek.errors import InputError
from deepseek.extras import renamed_attributes

FeatureKind = Literal[
    "numeric", "code", "onehot", "missing", "datetime", "similarity",
    "word", "word_weight", "pair", "pair_weight", "ngram", "ngram_weight",
]  # fmt: skip
FeatureValues = tuple[float, ...]  # the features of one value
ReplacementReason = Literal["imputed", "unseen", "truncated", "unreadable"]


@dataclass(frozen=True, slots=True)
class EncodedFeature:
    """One feature of a column; `label` is appended to the name of the column."""

    label: str
    kind: FeatureKind
    num_levels: int = 0  # of a code, a word or an n-gram: 1 + its largest value


@dataclass(frozen=True, slots=True)
class ReplacedRows:
    """The rows, by number, whose value was replaced: missing ones were imputed, unknown levels are unseen, long texts
    are truncated, texts that say nothing in a column of numbers or dates are unreadable."""

    imputed: Sequence[int] = ()
    unseen: Sequence[int] = ()
    truncated: Sequence[int] = ()
    unreadable: Sequence[int] = ()


class ColumnEncoder(Protocol):
    """A fitted column: a frozen dataclass of JSON values, whose fields are its whole state."""

    dtype: ClassVar[str]  # what a request sends: "float64", "bool", "str", "datetime64[ms]"
    expected: ClassVar[str]  # in words, for the error of a value that does not fit

    @property
    def parts(self) -> tuple[EncodedFeature, ...]:
        """The f features of the column, in their order."""
        ...

    def encode(self, values: Values, out: Float32) -> ReplacedRows:
        """Write the features of N values into out (N, f). BadValueError for a value that does not fit."""
        ...

    def quick(self) -> Callable[[Any], FeatureValues | None]:
        """A function for the usual values of one row; None sends a value to careful()."""
        ...

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        """The features of any one value. ValueError, TypeError or OverflowError when it does not fit."""
        ...

    def example(self) -> Any:
        """A typical value as JSON would hold it."""
        ...


class Modality(Protocol):
    """A family of column kinds: claims columns, and fits an encoder for each."""

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]  # the column kinds that it encodes
    coder: ClassVar[type]  # the class of its encoders, which bundle.fields.parse builds from JSON

    def claims(self, profile: ColumnProfile) -> str | None:
        """The kind of a column that this modality wants, or None."""
        ...

    def fit(self, profile: ColumnProfile, kind: str) -> ColumnEncoder:
        """A coder for a training column. BadValueError when a value is not of the kind."""
        ...


@dataclass(frozen=True, eq=False)
class ColumnProfile:
    """A training column, and the facts about it that several modalities need."""

    name: str
    type: ColumnType
    values: NDArray[Any]  # (N,)
    missing: NDArray[np.bool_]  # (N,)
    format: ColumnFormat | None = None  # of a column whose texts were read as numbers or dates

    @classmethod
    def from_table(cls, table: Table, name: str) -> ColumnProfile:
        values = table.column(name)
        return cls(name, table.types[name], values, table.missing_mask(name), table.formats.get(name))

    @property
    def num_rows(self) -> int:
        return len(self.values)

    @cached_property
    def present(self) -> NDArray[Any]:
        """The values that are not missing, in the order of the rows."""
        return self.values[~self.missing]

    @cached_property
    def counts(self) -> dict[Any, int]:
        """Rows of each value, the most frequent first, ties in the values' order."""
        if self.values.dtype == object:
            return dict(sorted(Counter(self.present.tolist()).items(), key=lambda item: (-item[1], item[0])))
        distinct, counts = np.unique(self.present, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return dict(zip(distinct[order].tolist(), counts[order].tolist(), strict=True))

    def level_counts(self) -> dict[str, int]:
        """Rows of each value by its name as a level, the most frequent first, ties by name."""
        totals: Counter[str] = Counter()
        distinct, counts = list(self.counts), self.counts.values()
        if self.values.dtype.kind == "M":
            distinct = list(np.array(distinct, "datetime64[ms]"))
        if self.type == "boolean":
            distinct = [bool(value) for value in distinct]
        for level, count in zip(level_names(distinct), counts, strict=True):
            totals[level or ""] += count
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))


class FinishedModelKind:
    """A kind that claims no column of a training table: only a finished model brings it."""

    def claims(self, profile: ColumnProfile) -> str | None:
        return None

    def fit(self, profile: ColumnProfile, kind: str) -> ColumnEncoder:
        raise InputError(
            f"column {profile.name!r} cannot be fitted as {kind}: a finished model brings such columns",
            expected="numeric",
            fix=f"give {profile.name!r} the kind numeric",
        )


#: Names of the last release, for modalities of others.
__getattr__ = renamed_attributes(
    __name__, {"Coder": "ColumnEncoder", "Marks": "ReplacedRows", "Part": "EncodedFeature", "Profile": "ColumnProfile"}
)
