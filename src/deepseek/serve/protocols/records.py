"""Rows as JSON records by column name: /v1/models, :predict and :explain.

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
from deepseek.data.table.columns import Columns
from deepseek.engines.process.attributions import Explained
from deepseek.errors import InputError, TooLargeError
from deepseek.plugins import did_you_mean
from deepseek.serve.batching.jobs import Part
from deepseek.serve.core.bodies.slices import let_go
from deepseek.serve.core.bodies.turns import INLINE_BYTES, offload
from deepseek.serve.core.json_body import encode, kind_of, read_object
from deepseek.serve.core.json_numbers import numbers
from deepseek.serve.core.request import JSON, Answer, Call
from deepseek.serve.models.adapter import Prepared
from deepseek.serve.models.registry import Models, ServedModel, learn
from deepseek.serve.protocols.arrow import MEDIA, accepts_arrow, is_arrow, read_rows, write_answer
from deepseek.serve.protocols.content_coding import inflate
from deepseek.serve.protocols.explanation_rows import encode_explanations, sums_of
from deepseek.serve.protocols.form import is_form, read_form
from deepseek.serve.protocols.graph_rows import (
    cells_of,
    check_columns,
    check_explainable,
    graph_of,
    read_numeric,
    read_positional,
)
from deepseek.serve.protocols.rows import INLINE_BYTES as ROWS_INLINE_BYTES
from deepseek.serve.protocols.rows import KEYS, check_rows, encode_columns, from_body, read_numbers

if TYPE_CHECKING:
    from deepseek.serve.openai.generation import GenerativeModel

MAX_REASONS = 100
COLUMN_CELLS = 2  # what encoding a row by column costs, in cells of models.INLINE_CELLS
CELLS = 20  # the same as a record
ARROW_INLINE_BYTES = 256 * 1024  # of a stream, which is hardly read: most of it is taken as it lies there


def list_models(models: Models, writers: Iterable[GenerativeModel] = ()) -> Answer:
    """GET /v1/models"""
    data = [_card(model) for model in models.values()]
    data += [{"id": writer.name} | writer.card for writer in writers]
    return Answer.json({"object": "list", "data": data})


def describe(model: ServedModel) -> Answer:
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
    return Answer.json(_card(model) | detail)


def example(model: ServedModel) -> Answer:
    """GET /v1/models/M/example: a body that :predict and :explain both take as it is."""
    return Answer.json(example_body(model))


def example_body(model: ServedModel) -> dict[str, Any]:
    """One typical record, in the form that is posted."""
    return {"instances": [dict(model.face.example)]}


def predict(call: Call, model: ServedModel) -> Awaitable[Answer] | None:
    """POST /v1/models/M:predict"""
    body, headers = call.body, call.headers
    if len(body) <= INLINE_BYTES and headers.get(b"content-type", JSON) == JSON and b"content-encoding" not in headers:
        found = read_object(body)
        if len(found) == 1 and "instances" in found:  # as nearly always: no task and no future for it
            model.submit(call, _instances(found, model, call.settings.max_rows), partial(_predicted, call, model))
            return None
    return _predict(call, model)


def _predicted(call: Call, model: ServedModel, found: Part | Exception) -> None:
    """What was computed has come."""
    if isinstance(found, Exception):
        call.tell(found)
        return
    learn(call, found.job)
    try:
        told: Answer | Exception = Answer(encode({"predictions": model.rows(found, prediction_rows)}))
    except Exception as error:  # noqa: BLE001  (a bug of ours is this request's alone, not its batch's)
        told = error
    call.tell(told)


async def _predict(call: Call, model: ServedModel) -> Answer:
    if b"content-encoding" in call.headers:
        await inflate(call)
    data = call.body
    if is_arrow(call.headers):
        check_columns(model)
        num_reasons = 0
        num_bytes = len(data) if len(data) > ARROW_INLINE_BYTES else 0
        records: Sequence[Record] | Tensors = await offload(num_bytes, read_rows, data, model, call.settings.max_rows)
    elif is_form(call.headers):
        check_columns(model)
        num_reasons = 0
        records = await offload(len(data), read_form, data, call.headers, model, call.settings.max_rows)
    else:
        call.check_media_type()
        numbers = _numbers(data, model, call.settings.max_rows) if len(data) <= ROWS_INLINE_BYTES else None
        read = offload(len(data), _asked, data, model, call.settings.max_rows)
        records, num_reasons = await read if numbers is None else numbers
    if num_reasons:
        check_explainable(model)
        _check_explained(len(records), call.settings.max_explain_rows)
        await model.explanations.turn(call)
    batch, prediction = await model.predict(call, records)
    by_column = type(records) in (Columns, Tensors)
    if num_reasons:
        write = encode_columns if by_column else _encode_predictions

        def render(explained: Explained) -> bytes:
            return write(prediction, _reasons(model, explained, cast("Sequence[Record]", records), num_reasons))

        asked = _questions(model, batch, cast("Sequence[Record]", records))
        explained = await model.explanations.make(call, asked, _targets(model, prediction))
        return Answer(await model.offload(_explained_cells(model, len(records)), render, explained))
    if not by_column:
        return Answer(await model.offload(cells_of(prediction, len(records), CELLS), _encode_predictions, prediction))
    if accepts_arrow(call.headers) and prediction.tensors is None:
        body = await model.offload(len(records) * COLUMN_CELLS, write_answer, prediction)
        return Answer(body, media_type=MEDIA)
    cells = cells_of(prediction, len(records), COLUMN_CELLS)
    return Answer(await model.offload(cells, encode_columns, prediction))


def _numbers(data: bytes, model: ServedModel, max_rows: int) -> tuple[Sequence[Record] | Tensors, int] | None:
    """The rows of a body of numbers alone, and how many reasons are wanted for each; None for any other body."""
    graph = graph_of(model)
    if graph is not None:
        tensors = read_numeric(data, graph, max_rows)
        return None if tensors is None else (tensors, 0)
    numbers = read_numbers(data, model.columns, max_rows)
    return None if numbers is None else (numbers[0], _num_reasons({"reasons": numbers[1]}))


def _asked(data: bytes, model: ServedModel, max_rows: int) -> tuple[Sequence[Record] | Tensors, int]:
    """The rows of a body in either form, and how many reasons are wanted for each."""
    graph = graph_of(model)
    numbers = _numbers(data, model, max_rows) if len(data) > ROWS_INLINE_BYTES else None
    if numbers is not None:
        return numbers
    body = read_object(data)
    if "rows" not in body and "columns" not in body:
        _check_keys(body, {"instances", "reasons"}, model)
        return _instances(body, model, max_rows), _num_reasons(body)
    _check_keys(body, KEYS, model)
    if isinstance(body.get("rows"), list):
        check_rows(len(body["rows"]), max_rows)
    if graph is not None:
        return read_positional(body, graph, copy=copy_example(model)), _num_reasons(body)
    try:
        return from_body(body, model.columns, copy=copy_example(model)), _num_reasons(body)
    finally:
        if len(data) > INLINE_BYTES:
            let_go(body)


async def explain(call: Call, model: ServedModel) -> Answer:
    """POST /v1/models/M:explain"""
    check_explainable(model)
    await model.explanations.turn(call)
    if b"content-encoding" in call.headers:
        await inflate(call)
    with_parts = getattr(model.face, "with_parts", None)
    body = await _read(call, model, {"instances", "target"} | ({"parts"} if with_parts is not None else set()))
    records = _instances(body, model, call.settings.max_rows)
    _check_explained(len(records), call.settings.max_explain_rows)
    target = _target(body, model)
    if (target is None and len(model.card.labels) > 2) or model.fault is not None:
        batch, prediction = await model.predict(call, records)
        targets = _targets(model, prediction) if target is None else [target] * len(records)
    else:  # what is explained is known without the answers
        model.explanations.check(call, len(records))
        batch, targets = await model.prepare(call, records), [target] * len(records)
    if with_parts is not None and _wants_parts(body):
        asked = with_parts(batch.features, records)
    else:
        asked = _questions(model, batch, records)
    explained = await model.explanations.make(call, asked, targets)
    return Answer(await model.offload(_explained_cells(model, len(records)), encode_explanations, explained))


def _wants_parts(body: Mapping[str, Any]) -> bool:
    found = body.get("parts", False)
    if not isinstance(found, bool):
        raise InputError(f'"parts" is {kind_of(found)}', expected="true or false", fix="say true, or leave it out")
    return found


def prediction_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """One JSON object per row of a Prediction."""
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
        rows = [{"embedding": numbers(embedding)} for embedding in prediction.embeddings]
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
    return encode({"predictions": rows})


def _explained_cells(model: ServedModel, num_rows: int) -> int:
    """What writing explanations costs: each names all columns."""
    return num_rows * (CELLS + 2 * len(model.columns))


def _reasons(
    model: ServedModel, explained: Explained, records: Sequence[Record], num_reasons: int
) -> list[list[dict[str, Any]]]:
    """For each row the columns that moved its answer most, largest first; none that contribute nothing."""
    rows = []
    told = getattr(model.face, "told", dict)  # files are not sent back
    for (attribution, at), adds_up, record in zip(explained, sums_of(explained), map(told, records), strict=True):
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


def _questions(model: ServedModel, batch: Prepared, records: Sequence[Record]) -> Any:
    """What an explainer is given of rows: as they are computed, or the texts of a text model."""
    ask = getattr(model.face, "questions", None)
    return batch.features if ask is None else ask(records)


def _targets(model: ServedModel, prediction: Prediction) -> list[str | None]:
    """The class that each row's explanation speaks of: its own answer among many, the positive class of two."""
    if len(model.card.labels) > 2 and prediction.labels is not None:
        return list(prediction.labels.tolist())
    return [None] * len(prediction)


async def _read(call: Call, model: ServedModel, known: set[str]) -> dict[str, Any]:
    """The body as an object that has no other keys than `known`."""
    call.check_media_type()
    data = call.body
    body = await offload(len(data), read_object, data)
    _check_keys(body, known, model)
    return body


def _check_keys(body: Mapping[str, Any], known: set[str], model: ServedModel) -> None:
    unknown = next((key for key in body if key not in known), None)
    if unknown is not None:
        raise InputError(
            f"the body has an unknown key {unknown[:100]!r}.{did_you_mean(unknown[:100], known)}",
            expected=", ".join(sorted(known)),
            fix=copy_example(model),
        )


def _instances(body: Mapping[str, Any], model: ServedModel, max_rows: int) -> list[Record]:
    """The records of a body. InputError unless they are a list of at least one object, TooLargeError above max_rows."""
    found = body.get("instances")
    if type(found) is not list:
        raise InputError(
            'the body has no "instances"' if found is None else f'"instances" is {kind_of(found)}',
            expected='{"instances": [{column: value, ...}, ...]}',
            fix=copy_example(model),
        )
    if not found:
        raise InputError('"instances" is empty', expected="at least one row", fix=copy_example(model))
    check_rows(len(found), max_rows)
    if set(map(type, found)) != {dict}:
        index, record = next((index, record) for index, record in enumerate(found) if type(record) is not dict)
        raise InputError(
            f"instances[{index}] is {kind_of(record)}",
            expected="an object {column: value, ...}",
            fix=copy_example(model),
        )
    return found


def copy_example(model: ServedModel) -> str:
    """What to do about a body that is none."""
    return f"GET /v1/models/{model.quoted}/example gives a body to copy"


def _check_explained(num_rows: int, max_rows: int) -> None:
    if num_rows > max_rows:
        raise TooLargeError(
            f"{num_rows} rows are to be explained", expected=f"at most {max_rows}", fix="send them in several requests"
        )


def _num_reasons(body: Mapping[str, Any]) -> int:
    found = body.get("reasons", 0)
    if type(found) is not int or not 0 <= found <= MAX_REASONS:
        shown = found if type(found) in (int, float) else kind_of(found)
        raise InputError(
            f'"reasons" is {shown}', expected=f"a whole number from 0 to {MAX_REASONS}", fix="leave it out for none"
        )
    return found


def _target(body: Mapping[str, Any], model: ServedModel) -> str | None:
    found = body.get("target")
    if found is None:
        return None
    labels = model.card.labels
    if not labels:
        raise InputError('"target" is given, but the model has no classes', expected="no target", fix="leave it out")
    if not isinstance(found, str) or found not in labels:
        shown = repr(found[:100]) if isinstance(found, str) else kind_of(found)
        raise InputError(
            f'"target" is {shown}', expected=", ".join(labels[:20]), fix="name one of these, or leave it out"
        )
    return found


def _card(model: ServedModel) -> dict[str, Any]:
    manifest = model.card
    return {
        "id": model.name, "object": "model", "version": model.version, "task": manifest.task,
        "digest": manifest.digest, "created": manifest.created,
    }  # fmt: skip
