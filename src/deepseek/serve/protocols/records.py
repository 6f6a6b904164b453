"""Rows as JSON_TYPE records by column name: /v1/models, :predict and :explain.

{"instances": [{"age": 61, "income": 48000}], "reasons": 3}
-> {"predictions": [{"label": "yes", "probabilities": {"no": 0.1, "yes": 0.9}, "reasons": [...]}]}

:predict also takes rows as positional arrays (rows.py) or as an Arrow stream (arrow.py), and answers those by column;
and as a form with files (form.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deepseek.contracts import Prediction, Record, Tensors
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
from deepseek.serve.models.registry import ModelRegistry, ServedModel, record_job
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

if TYPE_CHECKING:
    from deepseek.serve.openai.generation import GenerativeModel

MAX_REASONS = 100
COLUMN_CELLS = 2  # what encoding a row by column costs, in cells of models.INLINE_CELLS
RECORD_CELLS = 20  # the same as a record
ARROW_INLINE_BYTES = 256 * 1024  # of a stream, which is hardly read: most of it is taken as it lies there


def list_models(models: ModelRegistry, writers: Iterable[GenerativeModel] = ()) -> Response:
    """GET /v1/models"""
    data = [_model_entry(model) for model in models.values()]
    data += [{"id": writer.name} | writer.card for writer in writers]
    return Response.json({"object": "list", "data": data})


def describe_model(model: ServedModel) -> Response:
    """GET /v1/models/M"""
    manifest = model.card
    inputs = [
        {"name": item.name, "modality": item.modality, "dtype": item.dtype, "required": item.required}
        for item in manifest.inputs
    ]
    detail = {
        "target": manifest.target,
        "labels": list(manifest.labels),
        "threshold": manifest.threshold,
        "explainable": model.face.runtime is not None,
        "inputs": inputs,
        "example": example_body(model),
    }
    return Response.json(_model_entry(model) | detail)


def get_example(model: ServedModel) -> Response:
    """GET /v1/models/M/example: a body that :predict and :explain both take as it is."""
    return Response.json(example_body(model))


def example_body(model: ServedModel) -> dict[str, Any]:
    """One typical record, in the form that is posted."""
    return {"instances": [dict(model.face.example)]}


def predict(call: Request, model: ServedModel) -> Awaitable[Response] | None:
    """POST /v1/models/M:predict"""
    body, headers = call.body, call.headers
    if (
        len(body) <= INLINE_BYTES
        and headers.get(b"content-type", JSON_TYPE) == JSON_TYPE
        and b"content-encoding" not in headers
    ):
        found = decode_object(body)
        if len(found) == 1 and "instances" in found:  # as nearly always: no task and no future for it
            model.submit(call, _read_instances(found, model, call.settings.max_rows), partial(_respond, call, model))
            return None
    return _predict_any(call, model)


def _respond(call: Request, model: ServedModel, found: JobOutputs | Exception) -> None:
    """What was computed has come."""
    if isinstance(found, Exception):
        call.tell(found)
        return
    record_job(call, found.job)
    try:
        told: Response | Exception = Response(encode_json({"predictions": model.rows(found, prediction_rows)}))
    except Exception as error:  # noqa: BLE001  (a bug of ours is this request's alone, not its batch's)
        told = error
    call.tell(told)


async def _predict_any(call: Request, model: ServedModel) -> Response:
    if b"content-encoding" in call.headers:
        await inflate_body(call)
    data = call.body
    if is_arrow(call.headers):
        check_columns(model)
        num_reasons = 0
        num_bytes = len(data) if len(data) > ARROW_INLINE_BYTES else 0
        records: Sequence[Record] | Tensors = await offload(
            num_bytes, read_arrow_rows, data, model, call.settings.max_rows
        )
    elif is_form(call.headers):
        check_columns(model)
        num_reasons = 0
        records = await offload(len(data), read_form, data, call.headers, model, call.settings.max_rows)
    else:
        call.check_media_type()
        numbers = _read_numeric_body(data, model, call.settings.max_rows) if len(data) <= ROWS_INLINE_BYTES else None
        read = offload(len(data), _read_json_rows, data, model, call.settings.max_rows)
        records, num_reasons = await read if numbers is None else numbers
    if num_reasons:
        check_explainable(model)
        _check_explained_rows(len(records), call.settings.max_explain_rows)
        await model.explanations.turn(call)
    batch, prediction = await model.predict(call, records)
    by_column = type(records) in (ColumnarRows, Tensors)
    if num_reasons:
        write = encode_columns if by_column else _encode_predictions

        def render(explained: RowAttributions) -> bytes:
            return write(prediction, _reason_rows(model, explained, cast("Sequence[Record]", records), num_reasons))

        asked = _explainer_inputs(model, batch, cast("Sequence[Record]", records))
        explained = await model.explanations.make(call, asked, _explained_labels(model, prediction))
        return Response(await model.offload(_explanation_cells(model, len(records)), render, explained))
    if not by_column:
        return Response(
            await model.offload(response_cells(prediction, len(records), RECORD_CELLS), _encode_predictions, prediction)
        )
    if accepts_arrow(call.headers) and prediction.tensors is None:
        body = await model.offload(len(records) * COLUMN_CELLS, encode_arrow, prediction)
        return Response(body, media_type=ARROW_TYPE)
    cells = response_cells(prediction, len(records), COLUMN_CELLS)
    return Response(await model.offload(cells, encode_columns, prediction))


def _read_numeric_body(data: bytes, model: ServedModel, max_rows: int) -> tuple[Sequence[Record] | Tensors, int] | None:
    """The rows of a body of numbers alone, and how many reasons are wanted for each; None for any other body."""
    graph = graph_adapter(model)
    if graph is not None:
        tensors = read_numeric_rows(data, graph, max_rows)
        return None if tensors is None else (tensors, 0)
    numbers = read_numeric_columns(data, model.columns, max_rows)
    return None if numbers is None else (numbers[0], _read_num_reasons({"reasons": numbers[1]}))


def _read_json_rows(data: bytes, model: ServedModel, max_rows: int) -> tuple[Sequence[Record] | Tensors, int]:
    """The rows of a body in either form, and how many reasons are wanted for each."""
    graph = graph_adapter(model)
    numbers = _read_numeric_body(data, model, max_rows) if len(data) > ROWS_INLINE_BYTES else None
    if numbers is not None:
        return numbers
    body = decode_object(data)
    if "rows" not in body and "columns" not in body:
        _check_keys(body, {"instances", "reasons"}, model)
        return _read_instances(body, model, max_rows), _read_num_reasons(body)
    _check_keys(body, ROW_KEYS, model)
    if isinstance(body.get("rows"), list):
        check_num_rows(len(body["rows"]), max_rows)
    if graph is not None:
        return read_positional_rows(body, graph, copy=example_hint(model)), _read_num_reasons(body)
    try:
        return read_columns(body, model.columns, copy=example_hint(model)), _read_num_reasons(body)
    finally:
        if len(data) > INLINE_BYTES:
            free_in_slices(body)


async def explain(call: Request, model: ServedModel) -> Response:
    """POST /v1/models/M:explain"""
    check_explainable(model)
    await model.explanations.turn(call)
    if b"content-encoding" in call.headers:
        await inflate_body(call)
    with_parts = getattr(model.face, "with_parts", None)
    body = await _read_body(call, model, {"instances", "target"} | ({"parts"} if with_parts is not None else set()))
    records = _read_instances(body, model, call.settings.max_rows)
    _check_explained_rows(len(records), call.settings.max_explain_rows)
    target = _read_target(body, model)
    if (target is None and len(model.card.labels) > 2) or model.fault is not None:
        batch, prediction = await model.predict(call, records)
        targets = _explained_labels(model, prediction) if target is None else [target] * len(records)
    else:  # what is explained is known without the answers
        model.explanations.check(call, len(records))
        batch, targets = await model.prepare(call, records), [target] * len(records)
    if with_parts is not None and _wants_parts(body):
        asked = with_parts(batch.features, records)
    else:
        asked = _explainer_inputs(model, batch, records)
    explained = await model.explanations.make(call, asked, targets)
    return Response(await model.offload(_explanation_cells(model, len(records)), encode_explanations, explained))


def _wants_parts(body: Mapping[str, Any]) -> bool:
    found = body.get("parts", False)
    if not isinstance(found, bool):
        raise InputError(
            f'"parts" is {json_type_name(found)}', expected="true or false", fix="say true, or leave it out"
        )
    return found


def prediction_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """One JSON_TYPE object per row of a Prediction."""
    if prediction.labels is not None and prediction.probabilities is not None:
        known = prediction.labels_known
        rows: list[dict[str, Any]] = [
            {"label": label, "probabilities": dict(zip(known, shares, strict=True))}
            for label, shares in zip(prediction.labels.tolist(), prediction.probabilities.tolist(), strict=True)
        ]
    elif prediction.values is not None:
        rows = [{"value": value} for value in prediction.values.tolist()]
    elif prediction.tensors is not None:
        lists = {name: array.tolist() for name, array in prediction.tensors.arrays.items()}
        rows = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    elif prediction.embeddings is not None:
        rows = [{"embedding": encode_floats(embedding)} for embedding in prediction.embeddings]
    else:
        rows = [{"entities": entities} for entities in prediction.entities or ()]
    if prediction.intervals is not None:
        for row, interval in zip(rows, prediction.intervals.tolist(), strict=True):
            row["interval"] = interval
    for flag in prediction.flags:
        rows[flag.row].setdefault("flags", []).append({"column": flag.column, "what": flag.what})
    return rows


def _encode_predictions(prediction: Prediction, reasons: Sequence[Sequence[Mapping[str, Any]]] = ()) -> bytes:
    rows = prediction_rows(prediction)
    for row, why in zip(rows, reasons, strict=False):
        row["reasons"] = why
    return encode_json({"predictions": rows})


def _explanation_cells(model: ServedModel, num_rows: int) -> int:
    """What writing explanations costs: each names all columns."""
    return num_rows * (RECORD_CELLS + 2 * len(model.columns))


def _reason_rows(
    model: ServedModel, explained: RowAttributions, records: Sequence[Record], num_reasons: int
) -> list[list[dict[str, Any]]]:
    """For each row the columns that moved its answer most, largest first; none that contribute nothing."""
    rows = []
    told = getattr(model.face, "told", dict)  # files are not sent back
    for (attribution, at), adds_up, record in zip(explained, check_sums(explained), map(told, records), strict=True):
        contributions = attribution.values[at]
        largest = np.argsort(-np.abs(contributions), kind="stable").tolist()
        sentences = model.explanations.sentences(attribution, at, record, num_reasons)
        rows.append(
            [
                {
                    "column": attribution.names[index],
                    "value": record.get(attribution.names[index]),
                    "contribution": float(contributions[index]),
                    "text": sentence,
                    **({} if adds_up else {"adds_up": False}),
                }
                for index, sentence in zip(largest, sentences, strict=False)
            ]
        )
    return rows


def _explainer_inputs(model: ServedModel, batch: PreparedRows, records: Sequence[Record]) -> Any:
    """What an explainer is given of rows: as they are computed, or the texts of a text model."""
    ask = getattr(model.face, "questions", None)
    return batch.features if ask is None else ask(records)


def _explained_labels(model: ServedModel, prediction: Prediction) -> list[str | None]:
    """The class that each row's explanation speaks of: its own answer among many, the positive class of two."""
    if len(model.card.labels) > 2 and prediction.labels is not None:
        return list(prediction.labels.tolist())
    return [None] * len(prediction)


async def _read_body(call: Request, model: ServedModel, known: set[str]) -> dict[str, Any]:
    """The body as an object that has no other keys than `known`."""
    call.check_media_type()
    data = call.body
    body = await offload(len(data), decode_object, data)
    _check_keys(body, known, model)
    return body


def _check_keys(body: Mapping[str, Any], known: set[str], model: ServedModel) -> None:
    unknown = next((key for key in body if key not in known), None)
    if unknown is not None:
        raise InputError(
            f"the body has an unknown key {unknown[:100]!r}.{did_you_mean(unknown[:100], known)}",
            expected=", ".join(sorted(known)),
            fix=example_hint(model),
        )


def _read_instances(body: Mapping[str, Any], model: ServedModel, max_rows: int) -> list[Record]:
    """The records of a body. InputError unless they are a list of at least one object, TooLargeError above max_rows."""
    found = body.get("instances")
    if type(found) is not list:
        raise InputError(
            'the body has no "instances"' if found is None else f'"instances" is {json_type_name(found)}',
            expected='{"instances": [{column: value, ...}, ...]}',
            fix=example_hint(model),
        )
    if not found:
        raise InputError('"instances" is empty', expected="at least one row", fix=example_hint(model))
    check_num_rows(len(found), max_rows)
    if set(map(type, found)) != {dict}:
        index, record = next((index, record) for index, record in enumerate(found) if type(record) is not dict)
        raise InputError(
            f"instances[{index}] is {json_type_name(record)}",
            expected="an object {column: value, ...}",
            fix=example_hint(model),
        )
    return found


def example_hint(model: ServedModel) -> str:
    """What to do about a body that is none."""
    return f"GET /v1/models/{model.quoted}/example gives a body to copy"


def _check_explained_rows(num_rows: int, max_rows: int) -> None:
    if num_rows > max_rows:
        raise TooLargeError(
            f"{num_rows} rows are to be explained", expected=f"at most {max_rows}", fix="send them in several requests"
        )


def _read_num_reasons(body: Mapping[str, Any]) -> int:
    found = body.get("reasons", 0)
    if type(found) is not int or not 0 <= found <= MAX_REASONS:
        shown = found if type(found) in (int, float) else json_type_name(found)
        raise InputError(
            f'"reasons" is {shown}', expected=f"a whole number from 0 to {MAX_REASONS}", fix="leave it out for none"
        )
    return found


def _read_target(body: Mapping[str, Any], model: ServedModel) -> str | None:
    found = body.get("target")
    if found is None:
        return None
    labels = model.card.labels
    if not labels:
        raise InputError('"target" is given, but the model has no classes', expected="no target", fix="leave it out")
    if not isinstance(found, str) or found not in labels:
        shown = repr(found[:100]) if isinstance(found, str) else json_type_name(found)
        raise InputError(
            f'"target" is {shown}', expected=", ".join(labels[:20]), fix="name one of these, or leave it out"
        )
    return found


def _model_entry(model: ServedModel) -> dict[str, Any]:
    manifest = model.card
    return {
        "id": model.name, "object": "model", "version": model.version, "task": manifest.task,
        "digest": manifest.digest, "created": manifest.created,
    }  # fmt: skip
