"""What a client can ask, without saying how a request travels: each verb yields requests, is sent their answers and
returns what was wanted. Client and AsyncClient drive the same ones.

    steps = verbs.predict(rows, model=None, reasons=0)
    request = next(steps); steps.send(answer) ...          # StopIteration.value is the result

Rows of arrays and tables go as an Arrow stream where pyarrow is installed on both sides, others as JSON_TYPE by
position.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import numpy as np

from deepseek.client.answers import (
    PredictResponse,
    parse_body,
    read_arrow,
    read_attribution,
    read_columns,
    read_embeddings,
    read_models,
    read_predictions,
    takes_tensors,
)  # fmt: skip
from deepseek.contracts import Attribution, Float32
from deepseek.data.table.values import to_python
from deepseek.errors import ExtraError, InputError
from deepseek.extras import is_installed, need
from deepseek.http_errors import MediaTypeError

ARROW_TYPE = "application/vnd.apache.arrow.stream"
JSON_TYPE = "application/json"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. Everything that can be asked here may be asked twice."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    any_status: bool = False  # whether an answer of any status is one


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; `headers` by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


RequestFlow = Generator[Request, Response, Result]


class ApiMethods:
    """The verbs, and what they remember of the server: its models and their columns."""

    def __init__(self) -> None:
        self._arrow = is_installed("pyarrow")
        self._columns: dict[str, tuple[str, ...]] = {}
        self._tensors: set[str] = set()
        self._only = ""

    def ready(self) -> RequestFlow[bool]:
        found = yield Request("GET", "/v2/health/ready", any_status=True)
        return found.status == 200

    def models(self) -> RequestFlow[list[dict[str, Any]]]:
        found = yield Request("GET", "/v1/models")
        return parse_body(read_models, found.body)

    def predict(self, rows: Any, model: str | None, reasons: int) -> RequestFlow[PredictResponse]:
        name = yield from self._name(model)
        path = f"/v1/models/{quote(name)}:predict"
        if self._arrow and not reasons and _is_columnar(rows) and not (yield from self._takes_tensors(name, rows)):
            table = yield from self._table(rows, name)
            try:
                headers = {"content-type": ARROW_TYPE, "accept": ARROW_TYPE}
                found = yield Request("POST", path, _arrow_stream(table), headers)
                return parse_body(read_arrow, found.body)
            except ExtraError:  # the server has no pyarrow: from now on as JSON_TYPE
                self._arrow = False
            except MediaTypeError:  # the model has no columns
                self._tensors.add(name)
        body = positional_body(rows) | ({"reasons": reasons} if reasons else {})
        found = yield Request("POST", path, _encode_json(body), {"content-type": JSON_TYPE})
        return parse_body(read_predictions, found.body)

    def explain(self, rows: Any, model: str | None, target: str | None) -> RequestFlow[Attribution]:
        name = yield from self._name(model)
        given = positional_body(rows)
        names = given.get("columns") or (yield from self._columns_of(name))
        instances = [dict(zip(names, row, strict=True)) for row in given["rows"]]
        body: dict[str, Any] = {"instances": instances} | ({"target": target} if target is not None else {})
        path = f"/v1/models/{quote(name)}:explain"
        found = yield Request("POST", path, _encode_json(body), {"content-type": JSON_TYPE})
        return parse_body(read_attribution, found.body)

    def embed(self, texts: Sequence[str], model: str | None) -> RequestFlow[Float32]:
        name = yield from self._name(model)
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
            raise InputError("texts is no list of texts", expected='["...", ...]', fix="give at least one text")
        body = {"model": name, "input": list(texts), "encoding_format": "base64"}
        found = yield Request("POST", "/v1/embeddings", _encode_json(body), {"content-type": JSON_TYPE})
        return parse_body(read_embeddings, found.body)

    def _name(self, model: str | None) -> RequestFlow[str]:
        """The model that is meant: the one that is named, or the only one."""
        if model or self._only:
            return model or self._only
        known = [entry["id"] for entry in (yield from self.models())]
        if len(known) != 1:
            raise InputError(
                f"the server has {len(known)} models, and none is named",
                expected=", ".join(known[:20]) or "a model",
                fix="name one: model=...",
            )
        self._only = known[0]
        return self._only

    def _columns_of(self, name: str) -> RequestFlow[tuple[str, ...]]:
        if name not in self._columns:
            found = yield Request("GET", f"/v1/models/{quote(name)}")
            self._columns[name] = parse_body(read_columns, found.body)
            if parse_body(takes_tensors, found.body):
                self._tensors.add(name)
        return self._columns[name]

    def _takes_tensors(self, name: str, rows: Any) -> RequestFlow[bool]:
        """Whether a model is known to be a bare graph, whose inputs are no columns. For a matrix it is asked."""
        if isinstance(rows, np.ndarray):
            yield from self._columns_of(name)
        return name in self._tensors

    def _table(self, rows: Any, name: str) -> RequestFlow[Any]:
        pa = need("pyarrow", extra="tabular")
        if isinstance(rows, np.ndarray):
            names = yield from self._columns_of(name)
            if rows.ndim != 2 or rows.shape[1] != len(names):
                raise _shape_error(rows, names)
            rows = dict(zip(names, rows.T, strict=True))
        try:
            return pa.table(rows)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise InputError(
                f"the columns are no table: {str(error)[:200]}",
                expected="columns of one length, each of one type",
                fix="give each column as a list or an array of as many values",
            ) from error


def positional_body(rows: Any) -> dict[str, Any]:
    """Rows as {"columns", "rows"}; InputError for what holds none.

    >>> positional_body([{"age": 61, "income": None}])
    {'columns': ['age', 'income'], 'rows': [[61, None]]}
    >>> positional_body({"age": np.array([61.0, np.nan])})
    {'columns': ['age'], 'rows': [(61.0,), (None,)]}
    """
    if hasattr(rows, "__arrow_c_stream__"):
        rows = need("pyarrow", extra="tabular").table(rows).to_pydict()
    if isinstance(rows, np.ndarray):
        if rows.ndim != 2:
            raise _shape_error(rows, ())
        return {"rows": [[to_python(cell) for cell in row] for row in rows.tolist()]}
    if isinstance(rows, Mapping):
        columns = [[_json_cell(value) for value in column] for column in rows.values()]
        if len({len(column) for column in columns}) != 1:
            raise InputError(
                "the columns are not of one length", expected="as many values in each", fix="give every row a value"
            )
        return {"columns": list(rows), "rows": list(zip(*columns, strict=True))}
    if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)) and rows:
        names = list(rows[0]) if isinstance(rows[0], Mapping) else None
        if names is None:
            return {"rows": [[_json_cell(value) for value in row] for row in rows]}
        return {"columns": names, "rows": [_record_values(record, names, place) for place, record in enumerate(rows)]}
    raise InputError(
        f"rows is {type(rows).__name__}, and holds no row",
        expected="a list of records, columns by name, a numpy matrix or an Arrow table",
        fix='give [{"COLUMN": value, ...}, ...]',
    )


def _record_values(record: Any, names: list[str], place: int) -> list[Any]:
    if not isinstance(record, Mapping) or record.keys() != set(names):
        raise InputError(
            f"row {place} has other columns than row 0",
            expected=", ".join(map(str, names[:20])),
            fix="give each row the same columns, None where a value is not known",
        )
    return [_json_cell(record[name]) for name in names]


def _json_cell(value: Any) -> Any:
    """A value as JSON_TYPE can hold it: dates as ISO text, NaN as null, an array as nested lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    value = to_python(value)
    if isinstance(value, np.datetime64):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _encode_json(body: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, OverflowError) as error:  # half a surrogate pair is a ValueError
        raise InputError(
            f"a value cannot be sent: {str(error)[:200]}",
            expected="numbers, text, booleans, dates, None",
            fix="convert it before, as with float() or str()",
        ) from error


def _is_columnar(rows: Any) -> bool:
    """Whether rows are held by column already, so that an Arrow stream costs no object for a cell."""
    if isinstance(rows, Mapping):
        columns = rows.values()
        return all(isinstance(each, np.ndarray) and each.ndim == 1 and each.dtype.kind in "fiubM" for each in columns)
    if isinstance(rows, np.ndarray):
        return rows.dtype.kind in "fiub"
    return hasattr(rows, "__arrow_c_stream__")


def _arrow_stream(table: Any) -> bytes:
    pa = need("pyarrow", extra="tabular")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def _shape_error(rows: Any, names: Sequence[str]) -> InputError:
    return InputError(
        f"the matrix has the shape {list(rows.shape)}",
        expected=f"[rows, {len(names) or 'columns'}]: {', '.join(names[:20])}".rstrip(": "),
        fix="give one row for each answer, with its columns in the order of the model's inputs",
    )
