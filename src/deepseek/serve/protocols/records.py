"""Rows as JSON records by column name: /v1/models, :predict and :explain.

{"instances": [{"age": 61, "income": 48000}], "reasons": 3}
-> {"predictions": [{"label": "yes", "probabilities": {"no": 0.1, "yes": 0.9}, "reasons": [...]}]}

:predict also takes positional arrays (rows.py) and Arrow streams (arrow.py), which it answers by column, and forms with
files (form.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from functools import partial
from typing import Any, cast

import msgspec
import numpy as np

from deepseek.contracts import Attribution, JsonObject, Prediction, Record, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.engines.process.attributions import RowAttributions
from deepseek.errors import InputError, TooLargeError
from deepseek.plugins import did_you_mean
from deepseek.serve.batching.jobs import JobOutputs
from deepseek.serve.core.bodies.offload import INLINE_BYTES, offload
from deepseek.serve.core.bodies.slices import free_in_slices
from deepseek.serve.core.json_body import decode_object, encode_json, json_type_name
from deepseek.serve.core.json_numbers import encode_floats
from deepseek.serve.core.request import JSON_TYPE, Request, Response
from deepseek.serve.models.adapter import PreparedRows
from deepseek.serve.models.served_model import ServedModel, record_job
from deepseek.serve.protocols.arrow import ARROW_TYPE, accepts_arrow, encode_arrow, is_arrow, read_arrow_rows
from deepseek.serve.protocols.content_coding import inflate_body
from deepseek.serve.protocols.explanation_rows import check_sums, encode_explanations
from deepseek.serve.protocols.form import is_form, read_form
from deepseek.serve.protocols.graph_rows import (
    check_columns,
    check_explainable,
    graph_adapter,
    read_numeric_rows,
    read_positional_rows,
    response_cells,
)
from deepseek.serve.protocols.rows import INLINE_ROWS_BYTES as ROWS_INLINE_BYTES
from deepseek.serve.protocols.rows import ROW_KEYS, check_num_rows, encode_columns, read_columns, read_numeric_columns

MAX_REASONS = 100
COLUMN_CELLS = 2  # cost of encoding a row by column, in cells of served_model.MAX_INLINE_CELLS
RECORD_CELLS = 20  # cost of encoding a row as a record
ARROW_INLINE_BYTES = 256 * 1024  # of a stream, most of which is used without a copy


class Reason(msgspec.Struct, frozen=True):
    """A column that moved a prediction. `adds_up` is False where the explanation is not complete, else left out."""

    column: str
    value: Any
    contribution: float
    text: str
    adds_up: bool | msgspec.UnsetType = msgspec.UNSET


def predict(request: Request, model: ServedModel) -> Awaitable[Response] | None:
    """POST /v1/models/M:predict"""
    body, headers = request.body, request.headers
    if (
        len(body) <= INLINE_BYTES
        and headers.get(b"content-type", JSON_TYPE) == JSON_TYPE
        and b"content-encoding" not in headers
    ):
        document = decode_object(body)
        if len(document) == 1 and "instances" in document:  # nearly always: no task and no future needed
            model.submit(
                request,
                _read_instances(document["instances"], model, request.settings.max_rows),
                partial(_respond, request, model),
            )
            return None
    return _predict_any(request, model)


def _respond(request: Request, model: ServedModel, result: JobOutputs | Exception) -> None:
    """Answer a request of records with its outputs, or with the error."""
    if isinstance(result, Exception):
        request.respond(result)
        return
    record_job(request, result.job)
    try:
        response: Response | Exception = Response(encode_json({"predictions": model.rows(result, prediction_rows)}))
    except Exception as error:  # noqa: BLE001  (a bug of ours is this request's alone, not its batch's)
        response = error
    request.respond(response)


async def _predict_any(request: Request, model: ServedModel) -> Response:
    if b"content-encoding" in request.headers:
        await inflate_body(request)
    data = request.body
    if is_arrow(request.headers):
        check_columns(model)
        num_reasons = 0
        num_bytes = len(data) if len(data) > ARROW_INLINE_BYTES else 0
        records: Sequence[Record] | Tensors = await offload(
            num_bytes, read_arrow_rows, data, model, request.settings.max_rows
        )
    elif is_form(request.headers):
        check_columns(model)
        num_reasons = 0
        records = await offload(len(data), read_form, data, request.headers, model, request.settings.max_rows)
    else:
        request.check_media_type()
        numeric_rows = (
            _read_numeric_body(data, model, request.settings.max_rows) if len(data) <= ROWS_INLINE_BYTES else None
        )
        read = offload(len(data), _read_json_rows, data, model, request.settings.max_rows)
        records, num_reasons = await read if numeric_rows is None else numeric_rows
    if num_reasons:
        check_explainable(model)
        _check_explained_rows(len(records), request.settings.max_explain_rows)
        await model.explanations.wait_for_turn(request)
    batch, prediction = await model.predict(request, records)
    by_column = type(records) in (ColumnarRows, Tensors)
    if num_reasons:
        write = encode_columns if by_column else _encode_predictions

        def render(explained: RowAttributions) -> bytes:
            return write(prediction, reason_rows(model, explained, cast("Sequence[Record]", records), num_reasons))

        inputs = _explainer_inputs(model, batch, cast("Sequence[Record]", records))
        explained = await model.explanations.explain(request, inputs, _explained_labels(model, prediction))
        return Response(await model.offload(_explanation_cells(model, len(records)), render, explained))
    if not by_column:
        return Response(
            await model.offload(response_cells(prediction, len(records), RECORD_CELLS), _encode_predictions, prediction)
        )
    if accepts_arrow(request.headers) and prediction.tensors is None:
        body = await model.offload(len(records) * COLUMN_CELLS, encode_arrow, prediction)
        return Response(body, media_type=ARROW_TYPE)
    cells = response_cells(prediction, len(records), COLUMN_CELLS)
    return Response(await model.offload(cells, encode_columns, prediction))


def _read_numeric_body(data: bytes, model: ServedModel, max_rows: int) -> tuple[Sequence[Record] | Tensors, int] | None:
    """The rows of a body of numbers alone, and the number of reasons for each; None for any other body."""
    graph = graph_adapter(model)
    if graph is not None:
        tensors = read_numeric_rows(data, graph, max_rows)
        return None if tensors is None else (tensors, 0)
    numbers = read_numeric_columns(data, model.columns, max_rows)
    return None if numbers is None else (numbers[0], _check_num_reasons(numbers[1]))


def _read_json_rows(data: bytes, model: ServedModel, max_rows: int) -> tuple[Sequence[Record] | Tensors, int]:
    """The rows of a JSON body, records or positional, and the number of reasons for each."""
    graph = graph_adapter(model)
    numeric_rows = _read_numeric_body(data, model, max_rows) if len(data) > ROWS_INLINE_BYTES else None
    if numeric_rows is not None:
        return numeric_rows
    body = decode_object(data)
    if "rows" not in body and "columns" not in body:
        _check_keys(body, {"instances", "reasons"}, model)
        return _read_instances(body.get("instances"), model, max_rows), _check_num_reasons(body.get("reasons", 0))
    _check_keys(body, ROW_KEYS, model)
    if isinstance(body.get("rows"), list):
        check_num_rows(len(body["rows"]), max_rows)
    if graph is not None:
        return read_positional_rows(body, graph, copy=example_hint(model)), _check_num_reasons(body.get("reasons", 0))
    try:
        return read_columns(body, model.columns, copy=example_hint(model)), _check_num_reasons(body.get("reasons", 0))
    finally:
        if len(data) > INLINE_BYTES:
            free_in_slices(body)


async def explain(request: Request, model: ServedModel) -> Response:
    """POST /v1/models/M:explain"""
    check_explainable(model)
    await model.explanations.wait_for_turn(request)
    if b"content-encoding" in request.headers:
        await inflate_body(request)
    with_parts = getattr(model.adapter, "with_parts", None)
    body = await _read_body(request, model, {"instances", "target"} | ({"parts"} if with_parts is not None else set()))
    records = _read_instances(body.get("instances"), model, request.settings.max_rows)
    _check_explained_rows(len(records), request.settings.max_explain_rows)
    target = _check_target(body.get("target"), model)
    if (target is None and len(model.card.labels) > 2) or model.fault is not None:
        batch, prediction = await model.predict(request, records)
        targets = _explained_labels(model, prediction) if target is None else [target] * len(records)
    else:  # the explained class is known without a prediction
        model.explanations.check(request, len(records))
        batch, targets = await model.prepare(request, records), [target] * len(records)
    if with_parts is not None and _check_wants_parts(body.get("parts", False)):
        inputs = with_parts(batch.features, records)
    else:
        inputs = _explainer_inputs(model, batch, records)
    explained = await model.explanations.explain(request, inputs, targets)
    return Response(await model.offload(_explanation_cells(model, len(records)), encode_explanations, explained))


def _check_wants_parts(wanted: Any) -> bool:
    """The value of "parts". InputError unless it is true or false."""
    if not isinstance(wanted, bool):
        raise InputError(
            f'"parts" is {json_type_name(wanted)}', expected="true or false", fix="say true, or leave it out"
        )
    return wanted


def prediction_rows(prediction: Prediction) -> list[JsonObject]:
    """One JSON object per row of a Prediction."""
    if prediction.labels is not None and prediction.probabilities is not None:
        labels = prediction.labels_known
        rows: list[JsonObject] = [
            {"label": label, "probabilities": dict(zip(labels, shares, strict=True))}
            for label, shares in zip(prediction.labels.tolist(), prediction.probabilities.tolist(), strict=True)
        ]
    elif prediction.values is not None:
        rows = [{"value": value} for value in prediction.values.tolist()]
    elif prediction.tensors is not None:
        lists = {name: array.tolist() for name, array in prediction.tensors.arrays.items()}
        rows = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    elif prediction.embeddings is not None:
        rows = [{"embedding": encode_floats(embedding)} for embedding in prediction.embeddings]
    elif prediction.defects is not None:
        rows = [dict(answer) for answer in prediction.defects]
    else:
        rows = [{"entities": entities} for entities in prediction.entities or ()]
    if prediction.intervals is not None:
        for row, interval in zip(rows, prediction.intervals.tolist(), strict=True):
            row["interval"] = interval
    for flag in prediction.flags:
        rows[flag.row].setdefault("flags", []).append({"column": flag.column, "what": flag.what})
    return rows


def _encode_predictions(prediction: Prediction, reasons: Sequence[Sequence[Reason]] = ()) -> bytes:
    rows = prediction_rows(prediction)
    for row, why in zip(rows, reasons, strict=False):
        row["reasons"] = why
    return encode_json({"predictions": rows})


def _explanation_cells(model: ServedModel, num_rows: int) -> int:
    """The cost of encoding explanations: each names all columns."""
    return num_rows * (RECORD_CELLS + 2 * len(model.columns))


def reason_rows(
    model: ServedModel, explained: RowAttributions, records: Sequence[Record], num_reasons: int
) -> list[list[Reason]]:
    """For each row the columns that moved its prediction most, largest first; none that contribute nothing."""
    rows = []
    describe = getattr(model.adapter, "describe_record", dict)  # files are not sent back
    for (attribution, row), adds_up, record in zip(
        explained, check_sums(explained), map(describe, records), strict=True
    ):
        sentences = model.explanations.sentences(attribution, row, record, num_reasons)
        rows.append(rank_reasons(attribution, row, adds_up, record, sentences))
    return rows


def rank_reasons(
    attribution: Attribution, row: int, adds_up: bool, record: Record, sentences: Sequence[str]
) -> list[Reason]:
    """As many columns as there are sentences on them, those that moved the row's prediction most first."""
    contributions = attribution.values[row]
    largest = np.argsort(-np.abs(contributions), kind="stable").tolist()
    return [
        Reason(
            (name := attribution.names[index]), record.get(name), float(contributions[index]), sentence,
            adds_up=msgspec.UNSET if adds_up else False,
        )
        for index, sentence in zip(largest, sentences, strict=False)
    ]  # fmt: skip


def _explainer_inputs(model: ServedModel, batch: PreparedRows, records: Sequence[Record]) -> Any:
    """The input of an explainer: the prepared rows, or the texts of a text model."""
    ask = getattr(model.adapter, "explainer_inputs", None)
    return batch.features if ask is None else ask(records)


def _explained_labels(model: ServedModel, prediction: Prediction) -> list[str | None]:
    """The explained class of each row: its predicted class of many, None (the positive class) of two."""
    if len(model.card.labels) > 2 and prediction.labels is not None:
        return list(prediction.labels.tolist())
    return [None] * len(prediction)


async def _read_body(request: Request, model: ServedModel, known: set[str]) -> JsonObject:
    """The JSON object of a body. InputError for a key that is not in `known`."""
    request.check_media_type()
    data = request.body
    body = await offload(len(data), decode_object, data)
    _check_keys(body, known, model)
    return body


def _check_keys(body: Iterable[str], known: set[str], model: ServedModel) -> None:
    unknown = next((key for key in body if key not in known), None)
    if unknown is not None:
        raise InputError(
            f"the body has an unknown key {unknown[:100]!r}.{did_you_mean(unknown[:100], known)}",
            expected=", ".join(sorted(known)),
            fix=example_hint(model),
        )


def _read_instances(records: Any, model: ServedModel, max_rows: int) -> list[Record]:
    """The value of "instances". InputError unless it is a list of objects, TooLargeError above `max_rows`."""
    if type(records) is not list:
        raise InputError(
            'the body has no "instances"' if records is None else f'"instances" is {json_type_name(records)}',
            expected='{"instances": [{column: value, ...}, ...]}',
            fix=example_hint(model),
        )
    if not records:
        raise InputError('"instances" is empty', expected="at least one row", fix=example_hint(model))
    check_num_rows(len(records), max_rows)
    if set(map(type, records)) != {dict}:
        index, record = next((index, record) for index, record in enumerate(records) if type(record) is not dict)
        raise InputError(
            f"instances[{index}] is {json_type_name(record)}",
            expected="an object {column: value, ...}",
            fix=example_hint(model),
        )
    checked: list[Record] = records
    return checked


def example_hint(model: ServedModel) -> str:
    """The advice of an error about the form of a body."""
    return f"GET /v1/models/{model.quoted}/example gives a body to copy"


def _check_explained_rows(num_rows: int, max_rows: int) -> None:
    if num_rows > max_rows:
        raise TooLargeError(
            f"{num_rows} rows are to be explained", expected=f"at most {max_rows}", fix="send them in several requests"
        )


def _check_num_reasons(num_reasons: Any) -> int:
    """The value of "reasons". InputError unless it is a whole number up to MAX_REASONS."""
    if type(num_reasons) is not int or not 0 <= num_reasons <= MAX_REASONS:
        shown = num_reasons if type(num_reasons) in (int, float) else json_type_name(num_reasons)
        raise InputError(
            f'"reasons" is {shown}', expected=f"a whole number from 0 to {MAX_REASONS}", fix="leave it out for none"
        )
    return int(num_reasons)


def _check_target(target: Any, model: ServedModel) -> str | None:
    """The value of "target". InputError unless it is null or a class of the model."""
    if target is None:
        return None
    labels = model.card.labels
    if not labels:
        raise InputError('"target" is given, but the model has no classes', expected="no target", fix="leave it out")
    if not isinstance(target, str) or target not in labels:
        shown = repr(target[:100]) if isinstance(target, str) else json_type_name(target)
        raise InputError(
            f'"target" is {shown}', expected=", ".join(labels[:20]), fix="name one of these, or leave it out"
        )
    return target
