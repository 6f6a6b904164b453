"""An infer message to rows, and a prediction to the message that answers it.

Raw contents are read where they lie; typed contents are taken when a request has no raw ones. An answer is raw or typed
as its request is.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial
from typing import Any

import numpy as np

from deepseek.contracts import Prediction, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.data.table.values import Values
from deepseek.errors import InputError, MissingError
from deepseek.serve.core.bodies.offload import INLINE_BYTES, offload
from deepseek.serve.core.request import Request
from deepseek.serve.grpc.messages import ModelInferResponse
from deepseek.serve.models.served_model import ServedModel
from deepseek.serve.protocols.graph_rows import count_rows, max_rank, response_cells
from deepseek.serve.protocols.oip import apply_allow_infinite, apply_timeout
from deepseek.serve.protocols.rows import check_num_rows
from deepseek.serve.protocols.tensor_rows import (
    check_output_parameters,
    check_outputs,
    file_columns,
    output_tensors,
    rows_from_tensors,
)
from deepseek.serve.protocols.tensors import (
    DTYPES,
    Tensor,
    check_datatype_and_shape,
    check_integers,
    count_error,
    decode_raw,
    encode_raw,
    file_element,
)

#: Datatype -> field of typed contents. FP16 has none.
CONTENTS_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
SLICE_VALUES = 1 << 14  # converted in one call
ROW_CELLS = 2  # cost of reading or writing a row, in cells of served_model.MAX_INLINE_CELLS


async def infer(request: Request, model: ServedModel, message: Any) -> Any:
    """The ModelInferResponse to a ModelInferRequest. InputError for tensors that do not fit."""
    check_version(model, message.model_version)
    if "timeout" in message.parameters:
        apply_timeout(request, message.parameters["timeout"].int64_param)
    if "allow_infinite" in message.parameters:
        apply_allow_infinite(request, message.parameters["allow_infinite"].bool_param)
    names = [output.name for output in message.outputs]
    check_outputs(names, model)
    for output in message.outputs:
        check_output_parameters(output.parameters)
    read = partial(read_request_rows, message, model, request.settings.max_rows)
    num_bytes = len(request.body)
    rows = await (model.offload(num_bytes // 32, read) if num_bytes <= INLINE_BYTES else offload(num_bytes, read))
    _, prediction = await model.predict(request, rows)
    return await model.offload(
        response_cells(prediction, len(rows), ROW_CELLS), build_response, message, model, names, prediction
    )


def check_version(model: ServedModel, version: str) -> None:
    """Raise MissingError unless the requested version is the model's, or empty."""
    if version and version != model.version:
        raise MissingError(
            f"the model {model.name!r} has no version {version[:40]!r}",
            expected=model.version,
            fix="leave the version out for the one that is served",
        )


def read_request_rows(message: Any, model: ServedModel, max_rows: int) -> ColumnarRows | Tensors:
    """The rows of a request. InputError when its tensors do not fit, TooLargeError above `max_rows`."""
    raws = message.raw_input_contents
    if not message.inputs or (raws and len(raws) != len(message.inputs)):
        raise InputError(
            f"{len(message.inputs)} inputs have {len(raws)} raw contents",
            expected="inputs, and for each its raw_input_contents or its contents",
            fix="give one raw content for each input, in their order, or none at all",
        )
    tensors, files = [], file_columns(model)
    for index, entry in enumerate(message.inputs):
        name = entry.name
        datatype, shape = check_datatype_and_shape(name, entry.datatype, list(entry.shape), max_rank(model))
        num_values = math.prod(shape)
        if raws:
            values = decode_raw(name, datatype, raws[index], num_values, files)
        else:
            values = _typed_values(name, datatype, entry.contents, num_values, files)
        tensors.append(Tensor(name, datatype, tuple(shape), values))
        check_num_rows(count_rows(tensors[-1], model), max_rows)
    return rows_from_tensors(tensors, model)


def _typed_values(name: str, datatype: str, contents: Any, num_values: int, files: Collection[str]) -> Values:
    """The elements of a tensor from typed contents."""
    if datatype not in CONTENTS_FIELDS:
        raise InputError(
            f"{name[:100]!r} is {datatype} in typed contents",
            expected="raw_input_contents for this datatype",
            fix="send the raw bytes of the tensor",
        )
    elements = getattr(contents, CONTENTS_FIELDS[datatype])
    if len(elements) != num_values:
        raise count_error(name, f"{len(elements)} values in {CONTENTS_FIELDS[datatype]}", num_values)
    if datatype != "BYTES":
        check_integers(name, datatype, elements)
        return _numeric_values(elements, datatype)
    if name in files:
        return [file_element(bytes(element)) for element in elements]
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name[:100]!r} holds bytes that are not UTF-8", expected="text", fix="write each element as UTF-8"
        ) from error


def _numeric_values(elements: Any, datatype: str) -> Values:
    """Numbers of typed contents as an array, some thousand at a time: one call for all would hold Python's lock."""
    if len(elements) <= SLICE_VALUES:
        return np.array(elements, bool if datatype == "BOOL" else None)
    wide = {"b": np.dtype(bool), "f": np.dtype(np.float64), "u": np.dtype(np.uint64), "i": np.dtype(np.int64)}
    array = np.empty(len(elements), wide[DTYPES[datatype].kind])
    for start in range(0, len(elements), SLICE_VALUES):
        array[start : start + SLICE_VALUES] = elements[start : start + SLICE_VALUES]
    return array


def build_response(message: Any, model: ServedModel, names: list[str], prediction: Prediction) -> Any:
    """The response message with the outputs `names`, or with all."""
    response = ModelInferResponse(model_name=model.name, model_version=model.version, id=message.id)
    arrays = output_tensors(prediction)
    for name in names or arrays:
        array = arrays[name]
        datatype, raw = encode_raw(array)
        output = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if message.raw_input_contents:
            response.raw_output_contents.append(raw)
        elif datatype == "BYTES":
            output.contents.bytes_contents.extend(text.encode() for text in array.ravel().tolist())
        else:
            getattr(output.contents, CONTENTS_FIELDS[datatype]).extend(array.ravel().astype(DTYPES[datatype]).tolist())
    return response
