"""From typed columns to features: fitted once on training rows, stored as JSON, the same for training and serving.

    kinds = find_kinds(table, target="default")
    preprocessor = fit_preprocessor(table.take(train), kinds, target="default")
    preprocessor.table(table).features       # (N, F) float32, finite
    preprocessor.rows([{"age": 31, ...}])    # the same numbers, bit for bit, from records

Rows are counted from 0 in errors and flags, as in the row_id of an answer.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.fields import parse_value
from deepseek.bundle.manifest import Input
from deepseek.contracts import Batch, Float32, Float64, JsonObject, Record
from deepseek.data.features.categories import CategoryEncoder
from deepseek.data.features.datetimes import DatetimeEncoder
from deepseek.data.features.kinds import group_reason, identifier_reason
from deepseek.data.features.level_order import MIN_LEVELS, rank_levels
from deepseek.data.features.modality import ColumnEncoder, ColumnProfile, FeatureKind, Modality
from deepseek.data.features.numerics import NumberEncoder
from deepseek.data.features.registry import modality, modality_of_kind
from deepseek.data.features.rows import NumberPlan, RowEncoder
from deepseek.data.features.support import TrainingSupport
from deepseek.data.features.text_pairs import PairEncoder, TextPair, make_pairs
from deepseek.data.features.texts import TextEncoder, Texts
from deepseek.data.table.table import ColumnFormat, Table, unknown_column_error
from deepseek.data.table.values import BadValueError, Values
from deepseek.errors import InputError, IntegrityError, TooLargeError

VERSION = 1
MAX_FEATURES = 20_000
_UNNAMED = re.compile(r"Unnamed: ([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class Column:
    """A raw column that the model reads."""

    name: str
    kind: str
    modality: str
    coder: ColumnEncoder


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the model: a number that is computed from a raw column."""

    name: str
    column: str
    kind: FeatureKind
    num_levels: int = 0  # of a code, 0 (missing, unseen or rare) counted; of a word or an n-gram, how many are known


@dataclass(frozen=True)
class Preprocessor:
    """Fitted columns. `ignored` are names that training had and the model does not read: accepted, and passed over."""

    columns: tuple[Column, ...]
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # which columns were left out, and why
    text_pairs: tuple[TextPair, ...] = ()  # columns of texts that are compared
    support: TrainingSupport | None = None  # where the training rows were; None in bundles of earlier versions

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """The F features in their order."""
        taken: set[str] = set()
        features: list[Feature] = []
        for column in self.columns:
            for part in column.coder.parts:
                name = _unique_name(column.name + part.label, taken)
                features.append(Feature(name, column.name, part.kind, part.num_levels))
        for encoder in self._pair_encoders:
            for part in encoder.parts:
                name = _unique_name(encoder.pair.right + part.label, taken)
                features.append(Feature(name, encoder.pair.right, part.kind, part.num_levels))
        return tuple(features)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def owners(self) -> tuple[str, ...]:
        """The raw column of each feature (F,)."""
        return tuple(feature.column for feature in self.features)

    def table(self, table: Table, first_row: int = 0) -> Batch:
        """Features (N, F) of a table's rows. InputError names a column that is missing or unknown, or the value that
        does not fit, by its row: `first_row` is the number of the table's first."""
        known = {column.name for column in self.columns} | set(self.ignored)
        table = _rename_unnamed(table, known)
        for column in self.columns:
            if column.name not in table.columns:
                raise unknown_column_error(
                    column.name, table.names, where="the data", fix=f"add {column.name!r} to the data"
                )
        for name in table.names:
            if name not in known:
                raise unknown_column_error(
                    name, self._encoder.names, where="the model", fix="leave it out of the data, or rename it"
                )
        columns = [_column_values(table, column) for column in self.columns]
        return self._flag_beyond(self._compare_texts(self._encoder.encode_columns(columns, table.num_rows, first_row)))

    def rows(self, records: Sequence[Record]) -> Batch:
        """Features (N, F) of records by column name, equal to table() of the same rows. InputError as there."""
        return self._flag_beyond(self._compare_texts(self._encoder.encode(records)))

    def features_of(self, records: Sequence[Record]) -> Float32:
        """Features (N, F) as rows() gives them, for who reads no flags: what is beyond training costs more to say than
        all the rest."""
        return self._compare_texts(self._encoder.encode(records)).features

    @property
    def number_plan(self) -> NumberPlan | None:
        """How the columns become features, where all of them are numbers and nothing else."""
        return None if self.text_pairs else self._encoder.number_plan

    def with_support(self, features: Float32) -> Preprocessor:
        """The same, which also flags what is beyond these training features (N, F): its own, of the training rows."""
        numbers = {column.name for column in self.columns if isinstance(column.coder, NumberEncoder)}
        places = [
            place
            for place, feature in enumerate(self.features)
            if feature.kind == "numeric" and feature.column in numbers
        ]
        return replace(self, support=TrainingSupport.of(features, places))

    def order_levels(self, table: Table, target: NDArray[Any], weight: Float64, num_classes: int) -> Preprocessor:
        """The same with codes of a category's levels in the order of the target, of classes or values, in the rows of
        this table, with weights (N,). `num_classes`: 0 of values."""

        def order(column: Column) -> Column:
            coder = column.coder
            if not isinstance(coder, CategoryEncoder) or len(coder.levels) < MIN_LEVELS:
                return column
            encoded = np.empty((table.num_rows, len(coder.parts)), np.float32)
            coder.encode(_column_values(table, column), encoded)
            numbers = coder.numbers_of(encoded[:, 0])
            ranks = rank_levels(numbers, len(coder.levels) + 1, target, weight, num_classes)
            return replace(column, coder=replace(coder, ranks=tuple(ranks[1:].tolist())))

        return replace(self, columns=tuple(map(order, self.columns)))

    def _flag_beyond(self, batch: Batch) -> Batch:
        flags = () if self.support is None else self.support.flags(batch.features, self._owners)
        return Batch(batch.features, (*batch.flags, *flags)) if flags else batch

    @property
    def formats(self) -> dict[str, ColumnFormat]:
        """How texts say numbers and dates, of the columns where training found that."""
        coders = {column.name: column.coder for column in self.columns}
        return {
            name: coder.format for name, coder in coders.items()
            if isinstance(coder, NumberEncoder | DatetimeEncoder) and coder.format is not None
        }  # fmt: skip

    def inputs(self) -> tuple[Input, ...]:
        """The raw columns, as a manifest lists them."""
        return tuple(Input(column.name, column.kind, column.coder.dtype) for column in self.columns)

    def example(self) -> JsonObject:
        """A typical record: medians and the most frequent levels, never a real row."""
        return {column.name: column.coder.example() for column in self.columns}

    def to_bytes(self) -> bytes:
        """The preprocessing as JSON; equal fits give equal bytes."""
        columns = [
            {"name": c.name, "kind": c.kind, "modality": c.modality, "coder": asdict(c.coder)}  # type: ignore[call-overload]
            for c in self.columns
        ]
        document = {"version": VERSION, "columns": columns, "ignored": list(self.ignored), "notes": list(self.notes)}
        if self.text_pairs:
            document["text_pairs"] = [[pair.left, pair.right] for pair in self.text_pairs]
        document |= {} if self.support is None else {"support": asdict(self.support)}
        return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Preprocessor:
        """The inverse of to_bytes(). IntegrityError when the bytes are not that, InputError for a newer version."""
        try:
            document = json.loads(data)
            if document["version"] != VERSION:
                raise InputError(
                    f"the preprocessing is of version {document['version']}",
                    expected=str(VERSION),
                    fix="update the clone of this project",
                )
            columns = tuple(_column_from_json(item) for item in document["columns"])
            pairs = tuple(TextPair(str(left), str(right)) for left, right in document.get("text_pairs", []))
            texts = {column.name for column in columns if isinstance(column.coder, TextEncoder)}
            if not all({pair.left, pair.right} <= texts for pair in pairs):
                raise ValueError("text_pairs names a column that holds no texts")
            prepared = cls(columns, tuple(map(str, document["ignored"])), tuple(map(str, document["notes"])), pairs)
            return prepared if document.get("support") is None else prepared._read_support(document["support"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError(
                f"the preprocessing cannot be read: {error!r}",
                expected="preprocess.json as ship wrote it",
                fix="make the bundle again",
            ) from error

    def _read_support(self, document: Any) -> Preprocessor:
        support = parse_value(TrainingSupport, document, "support")
        support.check(len(self.features))
        return replace(self, support=support)

    @cached_property
    def _owners(self) -> tuple[str, ...]:
        return self.owners()

    @cached_property
    def _pair_encoders(self) -> tuple[PairEncoder, ...]:
        sizes = [len(column.coder.parts) for column in self.columns]
        starts = dict(zip((column.name for column in self.columns), accumulate([0, *sizes]), strict=False))
        coders = {column.name: column.coder for column in self.columns}
        return tuple(
            PairEncoder(pair, (coders[pair.left], coders[pair.right]), (starts[pair.left], starts[pair.right]))  # type: ignore[arg-type]
            for pair in self.text_pairs
        )

    def _compare_texts(self, batch: Batch) -> Batch:
        """The rows with the features of the pairs behind those of the columns."""
        if not self.text_pairs:
            return batch
        pairs = [encoder.encode(batch.features) for encoder in self._pair_encoders]
        return Batch(np.concatenate([batch.features, *pairs], axis=1), batch.flags)

    @cached_property
    def _encoder(self) -> RowEncoder:
        return RowEncoder({column.name: column.coder for column in self.columns}, self.ignored)


def fit_preprocessor(
    table: Table, kinds: Mapping[str, str], *, target: str, drop: Collection[str] = ()
) -> Preprocessor:
    """Fit on training rows. Identifiers and constants are left out with a note; the columns of `drop` and
    those without a kind are left out as asked.

    InputError when a value is not of its column's kind or no column is left, TooLargeError above MAX_FEATURES.
    """
    for name in drop:
        table.column(name)
    used: list[Column] = []
    notes: list[str] = []
    for name in table.names:
        if name == target or name in drop or name not in kinds:
            continue
        kind = kinds[name]
        coding = modality_of_kind(kind)
        if coding is None:
            notes.append(_note_left_out(ColumnProfile.from_table(table, name), kind))
        else:
            profile = ColumnProfile.from_table(table, name)
            notes += _note_group(profile)
            used.append(_fit_column(profile, kind, coding))
    used, pairs = _join_texts(table, used)
    if not any(column.coder.parts for column in used):
        raise InputError(
            "no column is left to learn from",
            expected="at least one column besides the target",
            fix="; ".join([*notes, "bring a column of numbers, categories, dates or texts"]),
        )
    num_features = sum(len(column.coder.parts) for column in used)
    if num_features > MAX_FEATURES:
        raise TooLargeError(
            f"{len(used)} columns make {num_features} features",
            expected=f"at most {MAX_FEATURES}",
            fix="drop columns, or join the rare levels of the categories",
        )
    read = {column.name for column in used}
    ignored = tuple(name for name in table.names if name not in read)
    return Preprocessor(tuple(used), ignored, tuple(notes), pairs)


def _join_texts(table: Table, columns: list[Column]) -> tuple[list[Column], tuple[TextPair, ...]]:
    """Columns of texts, where there are several, with one list of terms, and the pairs of them that are compared."""
    names = [column.name for column in columns if isinstance(column.coder, TextEncoder)]
    if len(names) < 2:
        return columns, ()
    encoders = Texts().fit_together([ColumnProfile.from_table(table, name) for name in names])
    joined = dict(zip(names, encoders, strict=True))
    kept = [replace(column, coder=joined.get(column.name, column.coder)) for column in columns]
    return kept, make_pairs(names)


def _note_left_out(profile: ColumnProfile, kind: str) -> str:
    """Why a column is no input, with its figures, and the option that keeps it where one can."""
    start = f"column {profile.name!r} was left out: "
    if kind == "constant":
        num = len(profile.present)
        return f"{start}{'it has no value' if not num else 'it has the same value in every row'}"
    kept = "integer_category" if profile.type == "number" else "category"
    if kind == "identifier":
        why = identifier_reason(profile) or "it was called an identifier"
    else:
        return f"{start}it is of the kind {kind!r}, which this model does not read"
    option = shlex.quote(f"{profile.name}={kept}")
    return f"{start}{why}; to use it as a category: kinds={{{profile.name!r}: {kept!r}}} (in the shell --kind {option})"


def _note_group(profile: ColumnProfile) -> list[str]:
    """That a column that is read names groups of rows, and what to do where new rows are of new groups."""
    why = group_reason(profile)
    if not why:
        return []
    by_group = f"group:{profile.name}"
    start = f"column {profile.name!r} is read, though {why}: where new rows are of groups that training did not have,"
    return [
        f"{start} split={by_group!r} (in the shell --split {shlex.quote(by_group)}) leaves it out and measures that"
    ]


def _fit_column(profile: ColumnProfile, kind: str, coding: Modality) -> Column:
    try:
        return Column(profile.name, kind, coding.name, coding.fit(profile, kind))
    except BadValueError as error:
        expected = coding.coder.expected  # type: ignore[attr-defined]
        raise InputError(
            f"column {profile.name!r}, row {error.row}: {repr(error.value)[:80]} is not {kind}",
            expected=expected,
            fix=f"mend the value, or give {profile.name!r} another kind",
        ) from error


def _column_from_json(item: Any) -> Column:
    name, coding = str(item["name"]), modality(str(item["modality"]))
    return Column(name, str(item["kind"]), coding.name, parse_value(coding.coder, item["coder"], f"column {name!r}"))


def _rename_unnamed(table: Table, known: Collection[str]) -> Table:
    """The table with columns that have no name in their file called as earlier versions called them (`unnamed_1`),
    where a bundle of such a version knows them so."""
    old_names = {}
    for name in table.names:
        match = _UNNAMED.fullmatch(name)
        old_name = f"unnamed_{int(match[1]) + 1}" if match else ""
        if name not in known and old_name in known:
            old_names[name] = old_name
    if not old_names:
        return table
    columns = {old_names.get(name, name): values for name, values in table.columns.items()}
    return replace(
        table, columns=columns, types={old_names.get(name, name): kind for name, kind in table.types.items()}
    )


def _column_values(table: Table, column: Column) -> Values:
    """The values of a column; booleans as true and false, not 1 and 0, where they are the levels of a category."""
    values = table.column(column.name)
    if table.types[column.name] == "boolean" and column.coder.dtype == "str":
        return [None if value != value else bool(value) for value in values.tolist()]  # noqa: PLR0124 - NaN
    return values


def _unique_name(name: str, taken: set[str]) -> str:
    """`name`, with apostrophes appended until it is not among `taken`, to which it is added."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name
