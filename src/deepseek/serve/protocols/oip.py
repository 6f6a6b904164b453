"""The Open Inference Protocol, version 2, over HTTP: health, metadata and infer, with the binary-tensor extension,
and the configuration of a model, which Triton's clients request.

An infer request holds one tensor per raw column, shape [N] or [N, 1]; or, when every column is a number, one tensor
[N, number of columns] of any name, columns in the order of the model's metadata. A missing value is null (NaN in raw
bytes). Elements of a column of files are the files themselves, an empty one a missing value; in JSON, data URLs.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from deepseek.contracts import JsonObject, Prediction, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.engines.checks.finite import check_numbers
from deepseek.errors import InputError, TooLargeError
from deepseek.serve.core.bodies.offload import INLINE_BYTES, offload
from deepseek.serve.core.json_body import decode_object, encode_json, json_type_name
from deepseek.serve.core.request import Request, Response, malformed_header_error, parse_header_integer
from deepseek.serve.models.served_model import ServedModel
from deepseek.serve.protocols.content_coding import compress_response, inflate_body
from deepseek.serve.protocols.graph_rows import count_rows, max_rank, platform_name, response_cells
from deepseek.serve.protocols.records import RECORD_CELLS
from deepseek.serve.protocols.rows import check_num_rows
from deepseek.serve.protocols.tensor_rows import (
    check_output_parameters,
    check_outputs,
    file_columns,
    input_metadata,
    metadata_hint,
    output_metadata,
    output_tensors,
    rows_from_tensors,
)
from deepseek.serve.protocols.tensors import OutputTensor, Tensor, encode_tensor, read_tensor
from deepseek.version import __version__

JSON_LENGTH_HEADER = b"inference-header-content-length"
MAX_TIMEOUT_MS = 10**9  # far above the server's own limit
MAX_INPUTS = 1_024  # of a body, at the least that are read
EXTENSIONS = ["binary_tensor_data"]


def server_metadata() -> Response:
    """GET /v2"""
    return Response.json({"name": "deepseek", "version": __version__, "extensions": EXTENSIONS})


def model_metadata(model: ServedModel, versions: Iterable[str] = ()) -> Response:
    """GET /v2/models/M"""
    return Response.json(
        {
            "name": model.name,
            "versions": list(versions) or [model.version],
            "platform": platform_name(model),
            "inputs": input_metadata(model),
            "outputs": output_metadata(model),
        }
    )


def model_config(model: ServedModel) -> Response:
    """GET /v2/models/M/config, which Triton's clients and its load tester request."""
    ends = {"input": input_metadata(model), "output": output_metadata(model)}
    listed = {
        end: [{"name": entry.name, "data_type": config_type(entry.datatype), "dims": entry.shape} for entry in entries]
        for end, entries in ends.items()
    }
    top = {"name": model.name, "platform": platform_name(model), "backend": platform_name(model), "max_batch_size": 0}
    return Response.json(top | listed)


def config_type(datatype: str) -> str:
    """The name of a datatype in a model's configuration.

    >>> config_type("FP64"), config_type("BYTES")
    ('TYPE_FP64', 'TYPE_STRING')
    """
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def model_ready(model: ServedModel) -> Response:
    """GET /v2/models/M/ready"""
    return Response.json({"name": model.name, "ready": True})


class InferHeader(msgspec.Struct, frozen=True):
    """The JSON of an infer request. Tensors are not checked yet; `id` and `parameters` are repeated in the response."""

    inputs: Any = None
    outputs: Any = None
    id: str | msgspec.UnsetType = msgspec.UNSET
    parameters: JsonObject | msgspec.UnsetType = msgspec.UNSET

    def parameter(self, name: str, default: Any = None) -> Any:
        return default if self.parameters is msgspec.UNSET else self.parameters.get(name, default)


class InferResponse(msgspec.Struct, frozen=True):
    """The JSON of an infer response."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | msgspec.UnsetType = msgspec.UNSET
    parameters: JsonObject | msgspec.UnsetType = msgspec.UNSET


async def infer(request: Request, model: ServedModel) -> Response:
    """POST /v2/models/M/infer"""
    if b"content-encoding" in request.headers:
        await inflate_body(request)
    document, tail = await _split_body(request)
    header = _read_header(document)
    timeout_us = header.parameter("timeout")
    if timeout_us is not None:
        apply_timeout(request, timeout_us)
    apply_allow_infinite(request, header.parameter("allow_infinite", False))
    read = partial(_read_inputs, header.inputs, tail, model, request.settings.max_rows)
    num_bytes = len(request.body)
    records = await (model.offload(num_bytes // 4, read) if num_bytes <= INLINE_BYTES else offload(num_bytes, read))
    requested = _requested_outputs(header.outputs, model)
    _, prediction = await model.predict(request, records)
    cells = response_cells(prediction, len(records), RECORD_CELLS)
    return await model.offload(cells, _encode_response, request, model, header, requested, prediction)


async def _split_body(request: Request) -> tuple[JsonObject, memoryview]:
    """The JSON of a request, and the raw bytes that follow it."""
    length = request.headers.get(JSON_LENGTH_HEADER)
    if length is None:
        request.check_media_type()
    else:
        request.check_encoding()
    data = request.body
    if length is None:
        stop = len(data)
    elif length.isdigit() and int(length[:12]) <= len(data):
        stop = int(length[:12])
    else:
        raise malformed_header_error(
            JSON_LENGTH_HEADER.decode(), length, "the length of the JSON in the body, in bytes"
        )
    body = await offload(stop, decode_object, data[:stop])
    return body, memoryview(data)[stop:]


def _read_inputs(entries: Any, tail: memoryview, model: ServedModel, max_rows: int) -> ColumnarRows | Tensors:
    """The rows of the "inputs" of a request. InputError, TooLargeError above `max_rows`."""
    if not isinstance(entries, list) or not entries:
        raise InputError(
            'the body has no "inputs"',
            expected='"inputs": [{"name", "shape", "datatype", "data"}, ...]',
            fix=metadata_hint(model),
        )
    if len(entries) > max(MAX_INPUTS, 2 * len(model.columns)):
        raise TooLargeError(
            f"the body has {len(entries)} inputs",
            expected=f"one for each of {len(model.columns)}",
            fix=metadata_hint(model),
        )
    tensors: list[Tensor] = []
    offset, files = 0, file_columns(model)
    for entry in entries:
        tensor, offset = read_tensor(entry, tail, offset, max_rank(model), files)
        check_num_rows(count_rows(tensor, model), max_rows)
        tensors.append(tensor)
    if offset != len(tail):
        raise InputError(
            f"{len(tail) - offset} raw bytes belong to no input",
            expected="as many bytes as the inputs' binary_data_size add up to",
            fix=f"correct binary_data_size, or the header {JSON_LENGTH_HEADER.decode()}",
        )
    return rows_from_tensors(tensors, model)


def _read_header(document: JsonObject) -> InferHeader:
    """The fields of a request that are read here. InputError for an id or parameters of another type."""
    for key, kind in (("id", str), ("parameters", dict)):
        if not isinstance(document.get(key, kind()), kind):
            raise InputError(
                f'"{key}" is {json_type_name(document[key])}',
                expected="a string" if kind is str else "an object",
                fix="correct it, or leave it out",
            )
    return InferHeader(**{name: document[name] for name in InferHeader.__struct_fields__ if name in document})


def apply_timeout(request: Request, timeout_us: Any) -> None:
    """Apply the parameter "timeout" (microseconds) of Triton's clients like the header x-timeout-ms."""
    if type(timeout_us) is not int or timeout_us <= 0:
        raise InputError(
            'the parameter "timeout" is not one',
            expected="whole microseconds, above 0",
            fix="correct it, or leave it out",
        )
    shorten_timeout(request, timeout_us // 1_000)


def apply_allow_infinite(request: Request, allowed: Any) -> None:
    """Apply the parameter "allow_infinite": outputs of a bare graph may then be infinite, in raw bytes alone."""
    if type(allowed) is not bool:
        raise InputError(
            f'the parameter "allow_infinite" is {json_type_name(allowed)}',
            expected="true or false",
            fix="leave it out for no",
        )
    request.allow_infinite = allowed


def shorten_timeout(request: Request, limit_ms: int) -> None:
    """Shorten the time limit of a request to `limit_ms`, unless its x-timeout-ms is shorter."""
    limit = b"%d" % min(max(1, limit_ms), MAX_TIMEOUT_MS)
    header = request.headers.get(b"x-timeout-ms", limit)
    if header.isdigit():  # the deadline refuses what is no number
        header = min(header, limit, key=parse_header_integer)
    request.headers = {**request.headers, b"x-timeout-ms": header}


def _requested_outputs(entries: Any, model: ServedModel) -> dict[str, bool | None] | None:
    """The requested outputs, and for each whether as raw bytes (None: the request's default); None for all outputs."""
    if entries is None:
        return None
    requested: dict[str, bool | None] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        name = entry.get("name") if isinstance(entry, dict) else ""
        check_outputs([name], model)
        parameters = entry.get("parameters")
        check_output_parameters(parameters)
        flag = parameters.get("binary_data") if isinstance(parameters, dict) else None
        requested[str(name)] = flag if isinstance(flag, bool) else None
    return requested or None


def _encode_response(
    request: Request,
    model: ServedModel,
    header: InferHeader,
    requested: Mapping[str, bool | None] | None,
    prediction: Prediction,
) -> Response:
    all_binary = header.parameter("binary_data_output") is True
    arrays = output_tensors(prediction)
    entries, raws = [], []
    for name in requested or arrays:
        chosen = (requested or {}).get(name)
        is_binary = all_binary if chosen is None else chosen
        if request.allow_infinite and not is_binary:  # JSON has no infinity
            check_numbers(arrays[name], f"the output {name!r}", model=model.name)
        entry, raw = encode_tensor(name, arrays[name], is_binary)
        entries.append(entry)
        raws.append(raw)
    content = encode_json(InferResponse(model.name, model.version, entries, header.id, header.parameters))
    if all(entry.parameters is msgspec.UNSET for entry in entries):
        return compress_response(Response(content), request.headers)
    length = str(len(content)).encode()
    whole = Response(
        b"".join([content, *raws]), media_type=b"application/octet-stream", headers=((JSON_LENGTH_HEADER, length),)
    )
    return compress_response(whole, request.headers)
