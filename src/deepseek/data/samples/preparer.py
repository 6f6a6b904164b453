"""Samples of several modalities: a record whose cells are numbers, texts and files -> named arrays, with masks.

    preparer = fit_samples(table, kinds, target="covid", root=Path("patients"))
    samples = preparer.rows(records, root=Path("patients"))     # training: paths below the folder of the data
    samples = preparer.rows(records)                            # serving: bytes in the request, the same numbers
    samples.arrays["ct"], samples.arrays["ct.there"]            # (N, C, H, W), (N,) false where the value is missing

The fitted readers are data (JSON) and go into the bundle. A missing value is a mask: its array holds zeros that nobody
may look at, for `there` says so. A broken file fails the run, or is masked and counted, as the user chose.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.fields import parse_value
from deepseek.bundle.manifest import Input
from deepseek.contracts import Flag, Float32, Record, Tensors
from deepseek.data.features.prepare import Preprocessor, fit_preprocessor
from deepseek.data.features.registry import modality_of_kind
from deepseek.data.media.readers import READERS, reader_class
from deepseek.data.media.source import BrokenError, Limits, Reader, Source, is_missing, open_source
from deepseek.data.media.text import TextReader
from deepseek.data.table.table import Table
from deepseek.errors import InputError, IntegrityError, MissingError, TooLargeError
from deepseek.plugins import did_you_mean

TABLE_ARRAY = "table"  # the name of the array of all columns that are no media
PRESENT_SUFFIX = ".there"  # appended to a name: which rows have a value (N,)
SOUND_SUFFIX = ".sound"  # appended to the name of a video column: its sound
MAX_VIDEO_S = 10.0  # seconds of a video that are read, unless a reader says otherwise
VERSION = 1
MAX_FITTED_FILES = 64  # files that a reader is fitted on, at most
BrokenPolicy = Literal["fail", "mask"]


@dataclass(frozen=True)
class MediaColumn:
    """A column whose values are files or texts, and what reads them."""

    name: str
    kind: str
    reader: Any  # a Reader, or for texts a TextReader

    @property
    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of one sample, by modality. A film with sound is two: NAME and NAME.sound."""
        arrays = {self.name: (self.reader.shape, self.reader.dtype)}
        if self.kind == "video" and self.reader.sound_rate and self.reader.seconds:
            arrays[self.name + SOUND_SUFFIX] = ((1, round(self.reader.seconds * self.reader.sound_rate)), "float32")
        return arrays

    def read(self, value: Any, *, root: Path | None, row: int, limits: Limits) -> dict[str, NDArray[Any]]:
        """The arrays of one value; those that it does not have, a film's sound, are left out."""
        if self.kind == "text":
            return {self.name: self.read_text(value, row)}
        source = open_cell(value, self.kind, root=root, row=row, column=self.name, limits=limits)
        arrays = {self.name: self.reader.read(source)}
        if (key := self.name + SOUND_SUFFIX) in self.arrays and (sound := self.reader.read_sound(source)) is not None:
            arrays[key] = np.zeros(self.arrays[key][0], np.float32)
            length = min(sound.shape[1], arrays[key].shape[1])
            arrays[key][:, :length] = sound[:, :length]
        return arrays

    def read_text(self, value: Any, row: int) -> NDArray[np.int64]:
        """The token ids of a text. InputError for a value that is not text."""
        if not isinstance(value, str):
            raise InputError(
                f"row {row}, column {self.name!r}: {type(value).__name__} is no text", expected="text",
                fix=f"give {self.name!r} a text",
            )  # fmt: skip
        ids: NDArray[np.int64] = self.reader.read(value)
        return ids

    def value_of(self, record: Record, row: int, columns: Sequence[str]) -> Any:
        """This column's value in a record. InputError, which names all `columns`, where the record lacks the column."""
        if self.name not in record:
            raise InputError(
                f"row {row} has no column {self.name!r}", expected=f"columns {', '.join(columns)}",
                fix=f"give {self.name!r}; null stands for a value that is missing",
            )  # fmt: skip
        return record[self.name]


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that was masked because it could not be read."""

    row: int
    column: str
    message: str


@dataclass(frozen=True)
class Samples:
    """N samples. `faults`: what was masked though there was a value; `flags`: what was replaced in the table."""

    tensors: Tensors
    faults: tuple[Fault, ...] = ()
    flags: tuple[Flag, ...] = ()

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        return self.tensors.arrays

    def __len__(self) -> int:
        return len(self.tensors)


@dataclass(frozen=True)
class SamplePreparer:
    """Fitted columns: those of files and texts, and the preprocessor of the others (None where there are none)."""

    media: tuple[MediaColumn, ...]
    table: Preprocessor | None = None
    ignored: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities of a sample, in the order of the arrays."""
        return tuple(self.shapes)

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of one sample, by modality."""
        shapes = {name: spec for column in self.media for name, spec in column.arrays.items()}
        if self.table is not None:
            shapes[TABLE_ARRAY] = ((len(self.table.feature_names),), "float32")
        return shapes

    def rows(
        self,
        records: Sequence[Record],
        *,
        root: Path | None = None,
        broken: BrokenPolicy = "fail",
        first_row: int = 0,
        row_numbers: Sequence[int] | None = None,
        keep_empty: bool = False,
    ) -> Samples:
        """Samples of records by column name. `root`: the folder that paths lie below; without it no path is read.
        `first_row`: what errors call the first of them, or `row_numbers`: each. `keep_empty`: a sample in which every
        modality is missing is given as such, for who leaves it out later.

        InputError for a column that is missing or a sample in which every modality is; what open_source() and the
        readers raise, unless `broken` is "mask".
        """
        row_numbers = range(first_row, first_row + len(records)) if row_numbers is None else row_numbers
        self.check_names(records, row_numbers)
        arrays: dict[str, NDArray[Any]] = {}
        faults: list[Fault] = []
        for column in self.media:
            arrays |= self._column(column, records, root, broken, faults, row_numbers)
        flags: tuple[Flag, ...] = ()
        if self.table is not None:
            arrays[TABLE_ARRAY], flags = self.table_rows(records, row_numbers)
            arrays[TABLE_ARRAY + PRESENT_SUFFIX] = np.ones(len(records), bool)
        if not keep_empty:
            self.check_not_empty([arrays[name + PRESENT_SUFFIX] for name in self.names], row_numbers, faults)
        return Samples(Tensors(arrays), tuple(faults), flags)

    def table_rows(self, records: Sequence[Record], row_numbers: Sequence[int]) -> tuple[Float32, tuple[Flag, ...]]:
        """Features (N, F) of the columns that are no media. `row_numbers`: what an error calls each row."""
        assert self.table is not None  # noqa: S101  (else it is not called)
        names = {column.name for column in self.media}
        table_records = [{name: value for name, value in record.items() if name not in names} for record in records]
        try:
            batch = self.table.rows(table_records)
            return batch.features, batch.flags
        except InputError:
            for row, record in enumerate(table_records):
                try:
                    self.table.rows([record])
                except InputError as error:  # of one row, which is row 0
                    error.message = error.message.replace("row 0", f"row {row_numbers[row]}", 1)
                    raise
            raise

    def check_names(self, records: Sequence[Record], row_numbers: Sequence[int]) -> None:
        """InputError for a column that the model does not know."""
        known = {*self.columns(), *self.ignored}
        for row, record in enumerate(records):
            if not known.issuperset(record):
                name = next(str(name) for name in record if name not in known)[:100]
                raise InputError(
                    f"row {row_numbers[row]} has a column {name!r} that the model does not know."
                    f"{did_you_mean(name, known)}",
                    expected=f"columns {', '.join(self.columns())}", fix="leave it out",
                )  # fmt: skip

    def _column(
        self,
        column: MediaColumn,
        records: Sequence[Record],
        root: Path | None,
        broken: BrokenPolicy,
        faults: list[Fault],
        row_numbers: Sequence[int],
    ) -> dict[str, NDArray[Any]]:
        values = {name: np.zeros((len(records), *shape), dtype) for name, (shape, dtype) in column.arrays.items()}
        is_present = {name: np.zeros(len(records), bool) for name in values}
        for row, record in enumerate(records):
            value = column.value_of(record, row_numbers[row], self.columns())
            if is_missing(value):
                continue
            try:
                for name, array in column.read(value, root=root, row=row_numbers[row], limits=self.limits).items():
                    values[name][row], is_present[name][row] = array, True
            except (BrokenError, TooLargeError, MissingError) as error:
                if broken == "fail":
                    raise
                faults.append(Fault(row, column.name, str(error)))
        return {**values, **{name + PRESENT_SUFFIX: present for name, present in is_present.items()}}

    def check_not_empty(
        self, presence: Sequence[NDArray[np.bool_]], row_numbers: Sequence[int], faults: Sequence[Fault] = ()
    ) -> None:
        """InputError for a sample in which every modality is missing. `presence`: (N,) of each modality."""
        empty = np.flatnonzero(~np.any(presence, axis=0))
        if len(empty):
            row = int(empty[0])
            why = next((f": {fault.message}" for fault in faults if fault.row == row), "")
            raise InputError(
                f"row {row_numbers[row]} has no value in any of {', '.join(self.names)}{why}",
                expected="at least one of them", fix="leave the row out",
            )  # fmt: skip

    def columns(self) -> tuple[str, ...]:
        """The raw columns that are read."""
        rest = () if self.table is None else tuple(column.name for column in self.table.columns)
        return (*(column.name for column in self.media), *rest)

    def inputs(self) -> tuple[Input, ...]:
        """The raw columns, as a manifest lists them."""
        media = (Input(c.name, c.kind, "str" if c.kind == "text" else "bytes") for c in self.media)
        return (*media, *(self.table.inputs() if self.table else ()))

    def to_bytes(self) -> bytes:
        """The preparer as JSON; equal fits give equal bytes."""
        top = {
            "version": VERSION,
            "media": [{"name": c.name, "kind": c.kind, "reader": asdict(c.reader)} for c in self.media],
            "table": json.loads(self.table.to_bytes()) if self.table else None,
            "ignored": list(self.ignored),
            "limits": asdict(self.limits),
        }
        return (json.dumps(top, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> SamplePreparer:
        """The inverse of to_bytes(). IntegrityError when the bytes are not that, InputError for a newer version."""
        try:
            top = json.loads(data)
            if top["version"] != VERSION:
                raise InputError(
                    f"the preprocessing of samples is of version {top['version']}", expected=str(VERSION),
                    fix="update the clone of this project",
                )  # fmt: skip
            media = tuple(
                MediaColumn(
                    str(m["name"]), str(m["kind"]), parse_value(reader_class(m["kind"]), m["reader"], m["name"])
                )
                for m in top["media"]
            )
            table = Preprocessor.from_bytes(json.dumps(top["table"]).encode()) if top["table"] else None
            return cls(media, table, tuple(map(str, top["ignored"])), parse_value(Limits, top["limits"], "limits"))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError(
                f"the preprocessing of samples cannot be read: {error!r}", expected="samples.json as ship wrote it",
                fix="make the bundle again",
            ) from error  # fmt: skip


def fit_samples(
    table: Table,
    kinds: Mapping[str, str],
    *,
    target: str,
    root: Path | None = None,
    drop: Collection[str] = (),
    readers: Mapping[str, Reader | TextReader] | None = None,
    limits: Limits | None = None,
) -> SamplePreparer:
    """Fit on training rows. `kinds`: of each column, as find_kinds() and media_kinds.find_media() give them; `readers`:
    fitted ones, by column, instead of those that would be fitted here.

    InputError when no column is left, or a column has no value to fit on; what open_source() and the readers raise.
    """
    fitted_readers, limits = readers or {}, limits or Limits()
    used = [name for name in table.names if name != target and name not in drop and name in kinds]
    media = tuple(
        MediaColumn(name, kinds[name], fitted_readers.get(name) or _fit_reader(table, name, kinds[name], root, limits))
        for name in used
        if kinds[name] in READERS
    )
    _check_array_names(media)
    table_kinds = {name: kinds[name] for name in used if kinds[name] not in READERS}
    has_features = any(modality_of_kind(kind) for kind in table_kinds.values())
    if not media and not has_features:
        raise InputError(
            "no column is left to learn from", expected="at least one column besides the target",
            fix="bring a column of files, texts, numbers, categories or dates",
        )  # fmt: skip
    preprocessor = None
    if has_features:
        columns = table.drop([m.name for m in media])
        preprocessor = fit_preprocessor(columns, table_kinds, target=target, drop=drop)
        preprocessor = preprocessor.with_support(preprocessor.table(columns).features)
    read_names = {column.name for column in media} | {c.name for c in (preprocessor.columns if preprocessor else ())}
    return SamplePreparer(media, preprocessor, tuple(name for name in table.names if name not in read_names), limits)


def _check_array_names(media: Sequence[MediaColumn]) -> None:
    """InputError for a column whose name is that of another array of the samples."""
    taken = {TABLE_ARRAY}
    for column in media:
        for name in column.arrays:
            if name in taken or name.endswith(PRESENT_SUFFIX):
                raise InputError(
                    f"a column of files or texts is called {column.name!r}",
                    expected=f"another name than {TABLE_ARRAY!r}, one in {PRESENT_SUFFIX!r}, or NAME{SOUND_SUFFIX} "
                    "beside films in NAME",
                    fix=f"rename {column.name!r}",
                )
            taken.add(name)


def table_records(table: Table, start: int, max_rows: int) -> list[Record]:
    """Up to `max_rows` rows of a table from `start` on, as records."""
    return table.take(np.arange(start, min(start + max_rows, table.num_rows))).records()


def _fit_reader(table: Table, name: str, kind: str, root: Path | None, limits: Limits) -> Any:
    values = [value for value in table.column(name).tolist() if not is_missing(value)]
    if not values:
        raise InputError(
            f"column {name!r} has no value in the training rows", expected="some to learn from",
            fix=f"leave {name!r} out, or bring rows that have it",
        )  # fmt: skip
    reader = reader_class(kind)
    if kind == "text":
        return reader.fit([str(value) for value in values])
    sources = _open_sources(table.column(name).tolist(), name, kind, root, limits)
    options = {"seconds": MAX_VIDEO_S} if kind == "video" else {}
    try:
        return reader.fit(sources, **options)
    except (BrokenError, TooLargeError):
        whole = [source for source in sources if _can_fit(reader, source)]
        if not whole:
            raise
        return reader.fit(whole, **options)


def _can_fit(reader: Any, source: Source) -> bool:
    """Whether a reader can be fitted on a source. One that cannot is reported when it is decoded, or masked."""
    try:
        reader.fit([source])
    except (BrokenError, TooLargeError):
        return False
    return True


def open_cell(value: Any, kind: str, *, root: Path | None, row: int, column: str, limits: Limits) -> Source:
    """The bytes behind one cell of a column of this kind, as open_source() or open_series() finds them."""
    if kind == "series":
        from deepseek.data.media.series import open_series

        return open_series(value, root=root, row=row, column=column, limits=limits)
    return open_source(value, root=root, row=row, column=column, limits=limits)


def _open_sources(values: Sequence[Any], column: str, kind: str, root: Path | None, limits: Limits) -> list[Source]:
    """Up to MAX_FITTED_FILES of the values that are there, evenly chosen. Those that cannot be opened are passed over,
    unless that is all of them."""
    present_rows = [row for row, value in enumerate(values) if not is_missing(value)]
    step = max(1, len(present_rows) // MAX_FITTED_FILES)
    sources: list[Source] = []
    first: InputError | None = None
    for row in present_rows[::step][:MAX_FITTED_FILES]:
        try:
            sources.append(open_cell(values[row], kind, root=root, row=row, column=column, limits=limits))
        except (BrokenError, TooLargeError, MissingError) as error:
            first = first or error
    if not sources and first is not None:
        raise first
    return sources
