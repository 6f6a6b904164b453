"""Rows as an Arrow IPC stream: the body of :predict with content-type application/vnd.apache.arrow.stream.

    rows = read_arrow_rows(body, model, max_rows)     # ColumnarRows: a matrix where all is numbers, else typed columns
    body = encode_arrow(prediction)             # prediction, probability_LABEL ...; or prediction, lower, upper

The answer is a stream too when Accept names one, else JSON by column.

What is hostile about a stream is checked before pyarrow allocates anything for it: buffers that are compressed inside
of it (a few bytes may stand for gigabytes; content-encoding does the same with a bound) and more rows than the limit.

Source: Apache Arrow, Columnar Format, "IPC streaming format"; format/Message.fbs for the place of each field.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from deepseek.contracts import Prediction
from deepseek.data.table.arrow import from_arrow
from deepseek.data.table.columns import ColumnarRows
from deepseek.data.table.values import Values
from deepseek.errors import InputError, MalformedError, TooLargeError
from deepseek.extras import need
from deepseek.serve.models.served_model import ServedModel
from deepseek.serve.protocols.rows import check_num_rows
from deepseek.serve.protocols.tensor_rows import column_datatype

ARROW_TYPE = b"application/vnd.apache.arrow.stream"
#: Indices of fields in tables of Message.fbs, counted from 0.
_HEADER, _LENGTH, _COMPRESSION, _DATA = 2, 0, 3, 1
MAX_SCHEMA_BYTES = 2 << 20
_STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
#: pyarrow's names of types that fit one float64 matrix. Halves and booleans do not, uint64 only with a loss.
_NUMBER_TYPE = re.compile(r"int\d+|uint8|uint16|uint32|float|double")


def is_arrow(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the content-type is an Arrow stream."""
    media = headers.get(b"content-type", b"").lower()
    return media.startswith(ARROW_TYPE) and media.split(b";")[0].strip() == ARROW_TYPE


def accepts_arrow(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the header Accept names an Arrow stream."""
    return any(part.split(b";")[0].strip() == ARROW_TYPE for part in headers.get(b"accept", b"").lower().split(b","))


def read_arrow_rows(body: bytes, model: ServedModel, max_rows: int) -> ColumnarRows:
    """The rows of a stream. MalformedError when the body is none, InputError for columns that cannot be read here,
    TooLargeError above `max_rows`."""
    pa = need("pyarrow", extra="tabular")
    try:
        schema, batches = _read_batches(pa, body, max_rows)
        batches = [batch for batch in batches if batch.num_rows]
        for batch in batches:
            batch.validate(full=True)
        return _read_columns(pa, schema, batches, model)
    except (pa.ArrowException, OSError, struct.error, UnicodeDecodeError) as error:
        raise MalformedError(
            f"the body is no Arrow stream: {' '.join(str(error).split())[:200]}",
            expected="an Arrow IPC stream: a schema, then record batches",
            fix="write it with pyarrow.ipc.new_stream",
        ) from error


def _read_columns(pa: Any, schema: Any, batches: list[Any], model: ServedModel) -> ColumnarRows:
    if not batches:
        raise InputError(
            "the stream holds no row", expected="at least one", fix="send no request where there is no row"
        )
    names = [str(name) for name in schema.names]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the column {twice[:100]!r} stands twice", expected="each once", fix="keep one of them")
    words = any(column_datatype(item.dtype) == "BYTES" for item in model.card.inputs)
    if words or not all(_NUMBER_TYPE.fullmatch(str(kind)) for kind in set(schema.types)):
        return _typed_columns(pa.Table.from_batches(batches, schema))
    # One call for all columns: a call for each costs more than the rows of a small message.
    parts = [batch.to_tensor(null_to_nan=True).to_numpy() for batch in batches]
    return ColumnarRows(names, parts[0] if len(parts) == 1 else np.concatenate(parts))


def _typed_columns(table: Any) -> ColumnarRows:
    """Columns of any type that a table file may have. InputError names one that is nested or binary."""
    columns = from_arrow(table)
    values: list[Values] = []
    for name in columns.names:
        column = columns.column(name)
        # True and false stay such: a category may have them for levels.
        flags = columns.types[name] == "boolean"
        values.append([None if np.isnan(value) else bool(value) for value in column.tolist()] if flags else column)
    return ColumnarRows(columns.names, values)


def _read_batches(pa: Any, body: bytes, max_rows: int) -> tuple[Any, list[Any]]:
    """The schema and the batches. InputError for a batch that is compressed inside, TooLargeError for more rows than
    the limit; both before a batch is read."""
    data = pa.py_buffer(body)
    schema, *messages = list(pa.ipc.MessageReader.open_stream(data)) or [None]
    if schema is None:
        raise pa.ArrowInvalid("it holds no message")
    if len(memoryview(schema.metadata)) > MAX_SCHEMA_BYTES:
        raise TooLargeError(
            "the stream's schema is too large", expected=f"at most {MAX_SCHEMA_BYTES >> 20} MiB, some thousand columns",
            fix="send the columns of the model alone",
        )  # fmt: skip
    num_rows, has_dictionaries = 0, False
    for message in messages:
        metadata = memoryview(message.metadata)
        batch = _table_offset(metadata, _follow_offset(metadata, 0), _HEADER)
        if message.type == "dictionary":
            has_dictionaries = True
            batch = _table_offset(metadata, batch, _DATA)
        if _field_offset(metadata, batch, _COMPRESSION):
            raise InputError(
                "the stream's buffers are compressed",
                expected="buffers as they are; the whole body may be compressed, as content-encoding: gzip says",
                fix="write the stream without IpcWriteOptions(compression=...)",
            )
        offset = _field_offset(metadata, batch, _LENGTH)
        rows = struct.unpack_from("<q", metadata, batch + offset)[0] if offset else 0
        # A dictionary may have as many entries as there may be rows, and each is bounded by itself.
        num_rows = num_rows if message.type == "dictionary" else num_rows + rows
        check_num_rows(max(num_rows, rows), max_rows)
    if has_dictionaries:
        reader = pa.ipc.open_stream(data, options=pa.ipc.IpcReadOptions(use_threads=False))
        return reader.schema, list(reader)
    read_schema = pa.ipc.read_schema(schema)
    return read_schema, [pa.ipc.read_record_batch(message, read_schema) for message in messages]


def _field_offset(metadata: memoryview, table: int, field: int) -> int:
    """The offset of a field in a flatbuffer's table; 0 for one that is left out."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    if vtable < 0 or 4 + 2 * field >= struct.unpack_from("<H", metadata, vtable)[0]:
        return 0
    return int(struct.unpack_from("<H", metadata, vtable + 4 + 2 * field)[0])


def _table_offset(metadata: memoryview, table: int, field: int) -> int:
    """The offset of the table that a field refers to."""
    return _follow_offset(metadata, table + _field_offset(metadata, table, field))


def _follow_offset(metadata: memoryview, offset: int) -> int:
    return offset + int(struct.unpack_from("<I", metadata, offset)[0])


def encode_arrow(prediction: Prediction) -> bytes:
    """The answer as a stream of one batch, with the columns of `deepseek predict`. Values that were changed on the way
    in stand in the schema's metadata under "flags", as JSON."""
    pa = need("pyarrow", extra="tabular")
    columns: dict[str, object] = {}
    if prediction.labels is not None and prediction.probabilities is not None:
        columns["prediction"] = pa.array(prediction.labels.tolist(), pa.string())
        for index, label in enumerate(prediction.labels_known):
            columns[f"probability_{label}"] = np.ascontiguousarray(prediction.probabilities[:, index])
    elif prediction.values is not None:
        columns["prediction"] = prediction.values
    if prediction.intervals is not None:
        columns["lower"], columns["upper"] = (np.ascontiguousarray(end) for end in prediction.intervals.T)
    batch = pa.record_batch(columns)
    if prediction.flags:
        flags = [{"row": flag.row, "column": flag.column, "what": flag.what} for flag in prediction.flags]
        batch = batch.replace_schema_metadata({"flags": json.dumps(flags)})
    # A stream is its messages and a mark of the end; a writer for it would cost as much again.
    return b"".join((batch.schema.serialize(), batch.serialize(), _STREAM_END))
