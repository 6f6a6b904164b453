"""Rows as a server is sent them: what is cheap is prepared at once, files are bytes until an engine process reads them.

    sent, flags = take(preparer, records)           # a front end: columns, base64, texts, the table; no decoder runs
    arrays = pack_requests([sent, more])                     # to the wire
    samples, faults = read(preparer, arrays)        # an engine process: decoded as in training
    error = first_fault(faults)                        # of a request's own rows: None, or why one has no answer

A file that kills its decoder so kills an engine process, never a front end; and a row that cannot be read costs its own
request an answer, while the rows of others in the same batch get theirs.

Nothing that a row names is opened, neither a path nor an address: `take` knows no folder. Shapes: N rows, K files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek import errors
from deepseek.contracts import Arrays, Flag, Record, Tensors
from deepseek.data.media.source import BrokenError, is_missing
from deepseek.data.samples.preparer import PRESENT_SUFFIX, TABLE_ARRAY, MediaColumn, SamplePreparer, open_cell
from deepseek.errors import DeepseekError, InputError, MissingError, TooLargeError

PRIVATE_PREFIX = "\0"  # before the names of what travels beside the prepared arrays: no column has it
ROW_NUMBERS, FILE_COUNTS, FILE_SIZES, FILE_BYTES, TEXTS_ARRAY = (
    PRIVATE_PREFIX + name for name in ("rows", "files", "sizes", "bytes", "texts")
)
MAX_SHOWN_CHARACTERS = 60  # characters of a text in a sentence
FileContents = tuple[bytes, ...]  # of one value; none where it is missing


@dataclass(frozen=True, slots=True)
class RequestSamples:
    """N rows. `files`: of each column of files, in the preparer's order; `arrays`: of texts and of the table, with
    their masks; `places` (N,): what each row is called in its request."""

    row_numbers: NDArray[np.int64]
    files: tuple[tuple[FileContents, ...], ...]
    arrays: Arrays

    def __len__(self) -> int:
        return len(self.row_numbers)

    def __getitem__(self, rows: slice) -> RequestSamples:
        arrays = {name: array[rows] for name, array in self.arrays.items()}
        return RequestSamples(self.row_numbers[rows], tuple(column[rows] for column in self.files), arrays)

    def __iter__(self) -> Iterator[RequestSamples]:
        return (self[row : row + 1] for row in range(len(self)))

    @property
    def num_bytes(self) -> int:
        """The size of all files together."""
        return sum(len(data) for column in self.files for files in column for data in files)

    def identity(self) -> tuple[Any, ...]:
        """Equal for rows that are the same to the bit, and for no others."""
        return self.row_numbers.tobytes(), self.files, *(self.arrays[name].tobytes() for name in sorted(self.arrays))


def encode_records(preparer: SamplePreparer, records: Sequence[Record]) -> tuple[RequestSamples, tuple[Flag, ...]]:
    """Rows by column name, checked as far as that needs no decoder, and what was replaced in the table.

    InputError for a column that is not known or not there, for a path, an address or a text where a file belongs, and
    for a row in which every modality is missing; MalformedError for what is no base64; TooLargeError.
    """
    records = list(records)  # of rows by column each look makes a record
    row_numbers = range(len(records))
    preparer.check_names(records, row_numbers)
    arrays: dict[str, NDArray[Any]] = {}
    files = []
    for column in preparer.media:
        values = [column.value_of(record, row, preparer.columns()) for row, record in enumerate(records)]
        if column.kind == "text":
            arrays |= _encode_texts(column, values)
        else:
            files.append(tuple(_read_files(column, value, row, preparer) for row, value in enumerate(values)))
    flags: tuple[Flag, ...] = ()
    if preparer.table is not None:
        arrays[TABLE_ARRAY], flags = preparer.table_rows(records, row_numbers)
        arrays[TABLE_ARRAY + PRESENT_SUFFIX] = np.ones(len(records), bool)
    samples = RequestSamples(np.arange(len(records)), tuple(files), arrays)
    presence = [np.array([bool(contents) for contents in column]) for column in samples.files]
    presence += [array for name, array in arrays.items() if name.endswith(PRESENT_SUFFIX)]
    preparer.check_not_empty(presence, row_numbers)
    return samples, flags


def _encode_texts(column: MediaColumn, values: Sequence[Any]) -> dict[str, NDArray[Any]]:
    shape, dtype = column.arrays[column.name]
    ids, is_present = np.zeros((len(values), *shape), dtype), np.zeros(len(values), bool)
    for row, value in enumerate(values):
        if not is_missing(value):
            ids[row], is_present[row] = column.read_text(value, row), True
    return {column.name: ids, column.name + PRESENT_SUFFIX: is_present}


def _read_files(column: MediaColumn, value: Any, row: int, preparer: SamplePreparer) -> FileContents:
    if is_missing(value):
        return ()
    source = open_cell(value, column.kind, root=None, row=row, column=column.name, limits=preparer.limits)
    return tuple(data for _, data in source.files)


def pack_requests(parts: Sequence[RequestSamples]) -> dict[str, NDArray[Any]]:
    """The rows of several requests as one set of arrays, which decode_requests() takes apart again."""
    files = [files for part in parts for column in zip(*part.files, strict=True) for files in column]
    data = [content for files_of_value in files for content in files_of_value]
    row_numbers = np.concatenate([part.row_numbers for part in parts])
    arrays: dict[str, NDArray[Any]] = {
        ROW_NUMBERS: row_numbers,
        FILE_COUNTS: np.array(list(map(len, files)), np.int64).reshape(len(row_numbers), len(parts[0].files)),
        FILE_SIZES: np.array(list(map(len, data)), np.int64),
        FILE_BYTES: np.frombuffer(b"".join(data), np.uint8),
    }
    return arrays | {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}


def pack_texts(preparer: SamplePreparer, records: Sequence[Record]) -> NDArray[np.bytes_]:
    """(N,) the texts of each row by column, as JSON. Explanations of parts of a text need them beside the samples,
    since token ids cannot be turned back into text."""
    columns = [column.name for column in preparer.media if column.kind == "text"]
    return np.array([json.dumps({name: record.get(name) for name in columns}).encode() for record in records])


def decode_requests(preparer: SamplePreparer, arrays: Arrays) -> tuple[Tensors, NDArray[np.bytes_]]:
    """The decoded samples of N rows, and (N,) a fault for each row: b"", or the error as JSON."""
    row_numbers, counts = arrays[ROW_NUMBERS], arrays[FILE_COUNTS]
    columns = [column for column in preparer.media if column.kind != "text"]
    files = _split_files(arrays[FILE_SIZES].tolist(), arrays[FILE_BYTES].data)
    samples = {name: array for name, array in arrays.items() if not name.startswith(PRIVATE_PREFIX)}
    for column in columns:
        for name, (shape, dtype) in column.arrays.items():
            samples[name], samples[name + PRESENT_SUFFIX] = (
                np.zeros((len(row_numbers), *shape), dtype),
                np.zeros(len(row_numbers), bool),
            )
    faults = [b""] * len(row_numbers)
    for row, row_number in enumerate(row_numbers.tolist()):
        for column, count in zip(columns, counts[row].tolist(), strict=True):
            data = tuple(next(files) for _ in range(count))
            if not data or faults[row]:
                continue
            try:
                value = data[0] if len(data) == 1 else data
                decoded = column.read(value, root=None, row=row_number, limits=preparer.limits)
            except (BrokenError, TooLargeError, MissingError) as error:
                faults[row] = _serialize_error(error)
                continue
            for name, array in decoded.items():
                samples[name][row], samples[name + PRESENT_SUFFIX][row] = array, True
    return Tensors(samples), np.array(faults)


def _split_files(sizes: Sequence[int], data: memoryview) -> Iterator[bytes]:
    return (bytes(data[end - size : end]) for size, end in zip(sizes, accumulate(sizes), strict=True))


def _serialize_error(error: InputError) -> bytes:
    return json.dumps(error.to_dict() | {"kind": type(error).__name__}).encode()


def first_fault(faults: NDArray[np.bytes_]) -> DeepseekError | None:
    """The first fault of N rows as the exception that it was; None when no row has one."""
    fault = next((fault for fault in faults.tolist() if fault), None)
    if fault is None:
        return None
    fields: Mapping[str, str] = json.loads(fault)
    kind = getattr(errors, fields["kind"], BrokenError)
    error: DeepseekError = kind(fields["message"], expected=fields["expected"], fix=fields["fix"])
    return error


def describe_record(preparer: SamplePreparer, record: Record) -> dict[str, str | None]:
    """A short description of each modality of a record, for sentences about it: file names (or kinds, for bytes), the
    beginnings of texts, and the values of the table. None for a modality that is missing."""
    descriptions = {column.name: _describe_value(record.get(column.name), column.kind) for column in preparer.media}
    if preparer.table is not None:
        values = ((column.name, record.get(column.name)) for column in preparer.table.columns)
        descriptions[TABLE_ARRAY] = (
            _shorten(", ".join(f"{name} {value}" for name, value in values if not is_missing(value))) or None
        )
    return descriptions


def _describe_value(value: Any, kind: str) -> str | None:
    if not isinstance(value, (Mapping, list, tuple, np.ndarray)) and is_missing(value):
        return None
    is_text = isinstance(value, str) and (kind == "text" or value[:5].lower() != "data:")
    return _shorten(value) if is_text else f"({kind})"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + " ..."
