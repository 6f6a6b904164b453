"""The Open Inference Protocol, version 2, over HTTP: health, metadata and infer, with the binary-tensor extension.

An infer request holds one tensor per raw column, shape [N] or [N, 1]; or, when every column is a number, one tensor
[N, number of columns] of any name, columns in the order of the model's metadata. A missing value is null (NaN in raw
bytes).

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepseek import __version__
from deepseek.contracts import Prediction, Record
from deepseek.errors import InputError
from deepseek.serve.call import Answer, Call, malformed_header
from deepseek.serve.models import ServedModel
from deepseek.serve.protocols.json_body import encode, kind_of, read_object
from deepseek.serve.protocols.records import CELLS, INLINE_BYTES, check_rows
from deepseek.serve.protocols.tensors import Tensor, read_tensor, write_tensor

HEADER_LENGTH = b"inference-header-content-length"
#: dtype of a column in a manifest -> datatype of the protocol.
COLUMN_DATATYPES = {"float64": "FP64", "float32": "FP32", "int64": "INT64", "bool": "BOOL"}


def server_metadata() -> Answer:
    """GET /v2"""
    return Answer.json({"name": "deepseek", "version": __version__, "extensions": ["binary_tensor_data"]})


def metadata(model: ServedModel) -> Answer:
    """GET /v2/models/M"""
    manifest = model.runtime.manifest
    inputs = [{"name": item.name, "datatype": column_datatype(item.dtype), "shape": [-1]} for item in manifest.inputs]
    return Answer.json(
        {
            "name": model.name,
            "versions": [model.version],
            "platform": "deepseek_bundle",
            "inputs": inputs,
            "outputs": output_metadata(model),
        }
    )


def model_ready(model: ServedModel) -> Answer:
    """GET /v2/models/M/ready"""
    return Answer.json({"name": model.name, "ready": True})


async def infer(call: Call, model: ServedModel) -> Answer:
    """POST /v2/models/M/infer"""
    header, tail = await _read(call, model)
    _check_id(header)
    records = await model.offload(len(call.body) // 4, _records, header, tail, model, call.settings.max_rows)
    wanted = _wanted(header.get("outputs"), model)
    _, prediction = await model.predict(call, records)
    return await model.offload(len(records) * CELLS, _answer, model, header, wanted, prediction)


def column_datatype(dtype: str) -> str:
    """The protocol's datatype for a column; text, dates and categories travel as BYTES."""
    return COLUMN_DATATYPES.get(dtype, "BYTES")


def output_tensors(prediction: Prediction) -> dict[str, np.ndarray[Any, Any]]:
    """The answers as named arrays: label and probabilities, or value and interval."""
    found = {
        "label": prediction.labels,
        "probabilities": prediction.probabilities,
        "value": prediction.values,
        "interval": prediction.intervals,
    }
    return {name: array for name, array in found.items() if array is not None}


def output_metadata(model: ServedModel) -> list[dict[str, Any]]:
    """What infer answers with, as the model's own example shows it."""
    found = []
    for name, array in output_tensors(model.typical).items():
        entry, _ = write_tensor(name, array, binary=False)
        found.append({"name": name, "datatype": entry["datatype"], "shape": [-1, *entry["shape"][1:]]})
    return found


async def _read(call: Call, model: ServedModel) -> tuple[dict[str, Any], memoryview]:
    """The JSON of a request, and the raw bytes behind it."""
    length = call.headers.get(HEADER_LENGTH)
    if length is None:
        call.check_media_type()
    else:
        call.check_encoding()
    data = call.body
    if length is None:
        stop = len(data)
    elif length.isdigit() and int(length[:12]) <= len(data):
        stop = int(length[:12])
    else:
        raise malformed_header(HEADER_LENGTH.decode(), length, "the length of the JSON in the body, in bytes")
    body = await model.offload(0 if stop <= INLINE_BYTES else 1 << 30, read_object, data[:stop])
    return body, memoryview(data)[stop:]


def _records(header: Mapping[str, Any], tail: memoryview, model: ServedModel, max_rows: int) -> list[Record]:
    entries = header.get("inputs")
    if not isinstance(entries, list) or not entries:
        raise InputError(
            'the body has no "inputs"',
            expected='"inputs": [{"name", "shape", "datatype", "data"}, ...]',
            fix=_see(model),
        )
    tensors: list[Tensor] = []
    at = 0
    for entry in entries:
        tensor, at = read_tensor(entry, tail, at)
        check_rows(tensor.shape[0], max_rows)
        tensors.append(tensor)
    if at != len(tail):
        raise InputError(
            f"{len(tail) - at} raw bytes belong to no input",
            expected="as many bytes as the inputs' binary_data_size add up to",
            fix=f"correct binary_data_size, or the header {HEADER_LENGTH.decode()}",
        )
    if len(tensors) == 1 and len(tensors[0].shape) == 2 and tensors[0].name not in model.columns:
        return _from_matrix(tensors[0], model)
    return _from_columns(tensors)


def _from_matrix(tensor: Tensor, model: ServedModel) -> list[Record]:
    """Rows of one tensor [N, P]: all columns, in their order."""
    words = [item.name for item in model.runtime.manifest.inputs if column_datatype(item.dtype) == "BYTES"]
    if words or tensor.datatype == "BYTES":
        raise InputError(
            f"the tensor {tensor.name[:100]!r} holds all columns, but {words[0] if words else 'it'} is no number",
            expected="one tensor per column, shape [N]",
            fix=_see(model),
        )
    num_rows, width = tensor.shape
    if width != len(model.columns):
        raise InputError(
            f"{tensor.name[:100]!r} has {width} columns",
            expected=f"{len(model.columns)}, in their order",
            fix=_see(model),
        )
    _check_some(num_rows)
    rows = (tensor.values[at : at + width] for at in range(0, num_rows * width, width))
    return [dict(zip(model.columns, row, strict=True)) for row in rows]


def _from_columns(tensors: Sequence[Tensor]) -> list[Record]:
    """Rows of one tensor per column."""
    names = [tensor.name for tensor in tensors]
    num_rows = tensors[0].shape[0]
    _check_some(num_rows)
    for tensor in tensors:
        if names.count(tensor.name) > 1:
            raise InputError(
                f"the input {tensor.name[:100]!r} stands twice", expected="one per column", fix="keep one of them"
            )
        if tensor.shape not in ((num_rows,), (num_rows, 1)):
            raise InputError(
                f"the shape of {tensor.name[:100]!r} is {list(tensor.shape)}",
                expected=f"[{num_rows}] or [{num_rows}, 1]",
                fix="give every input as many rows as the first has",
            )
    columns = [tensor.values for tensor in tensors]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _check_id(header: Mapping[str, Any]) -> None:
    for key, kind in (("id", str), ("parameters", dict)):
        if not isinstance(header.get(key, kind()), kind):
            raise InputError(
                f'"{key}" is {kind_of(header[key])}',
                expected="a string" if kind is str else "an object",
                fix="correct it, or leave it out",
            )


def _see(model: ServedModel) -> str:
    return f"GET /v2/models/{model.quoted} lists the columns; /docs has an example"


def _check_some(num_rows: int) -> None:
    if num_rows == 0:
        raise InputError("the inputs hold no row", expected="at least one", fix="send no request where there is no row")


def _wanted(entries: Any, model: ServedModel) -> dict[str, bool | None] | None:
    """The outputs that are asked for, and whether each is wanted as raw bytes; None for all."""
    if entries is None:
        return None
    known = [entry["name"] for entry in output_metadata(model)]
    found: dict[str, bool | None] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in known:
            raise InputError(
                "an output that is asked for does not exist",
                expected=", ".join(known),
                fix='name one of these, or leave "outputs" out for all',
            )
        found[name] = _flag(entry.get("parameters"), "binary_data")
    return found or None


def _flag(parameters: Any, name: str) -> bool | None:
    value = parameters.get(name) if isinstance(parameters, dict) else None
    return value if isinstance(value, bool) else None


def _answer(
    model: ServedModel, header: Mapping[str, Any], wanted: Mapping[str, bool | None] | None, prediction: Prediction
) -> Answer:
    all_binary = bool(_flag(header.get("parameters"), "binary_data_output"))
    arrays = output_tensors(prediction)
    entries, raws = [], []
    for name in wanted or arrays:
        chosen = (wanted or {}).get(name)
        entry, raw = write_tensor(name, arrays[name], all_binary if chosen is None else chosen)
        entries.append(entry)
        raws.append(raw)
    top: dict[str, Any] = {"model_name": model.name, "model_version": model.version, "outputs": entries}
    for key in ("id", "parameters"):
        if key in header:
            top[key] = header[key]
    content = encode(top)
    if not any("parameters" in entry for entry in entries):
        return Answer(content)
    length = str(len(content)).encode()
    return Answer(
        b"".join([content, *raws]), media_type=b"application/octet-stream", headers=((HEADER_LENGTH, length),)
    )
