"""Rows of a model from input tensors, and output tensors from a prediction, over HTTP and gRPC.

rows = rows_from_tensors(tensors, model)                  # one tensor for each column, or one [N, P] of all of them
arrays = output_tensors(prediction)             # label and probabilities, or value and interval
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepseek.contracts import Prediction, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.errors import InputError
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.models.served_model import ServedModel
from deepseek.serve.protocols.form import FILE_MODALITIES
from deepseek.serve.protocols.graph_rows import graph_adapter, output_arrays, read_tensors, tensor_metadata
from deepseek.serve.protocols.tensors import Tensor, TensorMetadata, array_datatype

#: dtype of a column in a manifest -> datatype of the protocol.
COLUMN_DATATYPES = {"float64": "FP64", "float32": "FP32", "int64": "INT64", "bool": "BOOL"}


def column_datatype(dtype: str) -> str:
    """The protocol's datatype for a column; text, dates and categories travel as BYTES."""
    return COLUMN_DATATYPES.get(dtype, "BYTES")


def file_columns(model: ServedModel) -> frozenset[str]:
    """Names of the columns whose values are files: their BYTES elements are not decoded."""
    return frozenset(item.name for item in model.card.inputs if item.modality in FILE_MODALITIES)


def input_metadata(model: ServedModel) -> list[TensorMetadata]:
    """The inputs of infer: one tensor for each column, or those of a graph."""
    if (graph := graph_adapter(model)) is not None:
        return tensor_metadata(graph.signature.inputs)
    return [TensorMetadata(item.name, column_datatype(item.dtype), [-1]) for item in model.card.inputs]


def output_metadata(model: ServedModel) -> list[TensorMetadata]:
    """The outputs of infer, as the typical prediction shows them."""
    if (graph := graph_adapter(model)) is not None:
        return tensor_metadata(graph.signature.outputs)
    return [
        TensorMetadata(name, array_datatype(array), [-1, *array.shape[1:]])
        for name, array in output_tensors(model.typical_prediction).items()
    ]


def output_tensors(prediction: Prediction) -> dict[str, np.ndarray[Any, Any]]:
    """A prediction as named arrays: label and probabilities, value and interval, embedding, entities or defects as
    JSON, or the outputs of a graph."""
    if prediction.tensors is not None:
        return output_arrays(prediction.tensors)
    arrays = {
        "label": prediction.labels,
        "probabilities": prediction.probabilities,
        "value": prediction.values,
        "interval": prediction.intervals,
        "embedding": prediction.embeddings,
        "entities": None if prediction.entities is None else _encode_entities(prediction.entities),
        "defects": None if prediction.defects is None else _encode_entities(prediction.defects),
    }
    return {name: array for name, array in arrays.items() if array is not None}


def _encode_entities(entities: Sequence[Any]) -> np.ndarray[Any, Any]:
    """The entities of each text, or the defects of each picture, as one JSON text, because they differ in number."""
    return np.array([encode_json(row_entities).decode() for row_entities in entities], object)


def check_outputs(names: Sequence[Any], model: ServedModel) -> None:
    """Raise InputError for an output that the model does not have."""
    known = output_tensors(model.typical_prediction)
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise InputError(
                "an output that is asked for does not exist",
                expected=", ".join(known),
                fix='name one of these, or leave "outputs" out for all',
            )


def check_output_parameters(parameters: Any) -> None:
    """Raise InputError for an output parameter that is not supported, so that nobody takes the whole tensor for the
    classes that were requested."""
    for name in ("classification", "shared_memory_region"):
        if isinstance(parameters, Mapping) and name in parameters:
            raise InputError(
                f"an output is asked for with the parameter {name!r}, which is not known here",
                expected="the tensor itself",
                fix="leave it out; a model that knows classes has them in the output label",
            )


def rows_from_tensors(tensors: Sequence[Tensor], model: ServedModel) -> ColumnarRows | Tensors:
    """The rows of an infer request. InputError when the tensors do not fit the model or one another."""
    if (graph := graph_adapter(model)) is not None:
        return read_tensors(tensors, graph)
    if len(tensors) == 1 and len(tensors[0].shape) == 2 and tensors[0].name not in model.columns:
        return _rows_from_matrix(tensors[0], model)
    return _rows_from_columns(tensors)


def _rows_from_matrix(tensor: Tensor, model: ServedModel) -> ColumnarRows:
    """Rows of one tensor [N, P]: all columns, in their order."""
    words = [item.name for item in model.card.inputs if column_datatype(item.dtype) == "BYTES"]
    if words or tensor.datatype == "BYTES":
        raise InputError(
            f"the tensor {tensor.name[:100]!r} holds all columns, but {words[0] if words else 'it'} is no number",
            expected="one tensor per column, shape [N]",
            fix=metadata_hint(model),
        )
    num_rows, width = tensor.shape
    if width != len(model.columns):
        raise InputError(
            f"{tensor.name[:100]!r} has {width} columns",
            expected=f"{len(model.columns)}, in their order",
            fix=metadata_hint(model),
        )
    _check_not_empty(num_rows)
    values = tensor.values
    if not isinstance(values, np.ndarray):
        try:
            values = np.array(values, np.float64)
        except OverflowError:  # an integer beyond float64: its column's coder decides
            return ColumnarRows(model.columns, [values[index::width] for index in range(width)])
    return ColumnarRows(model.columns, values.reshape(num_rows, width))


def _rows_from_columns(tensors: Sequence[Tensor]) -> ColumnarRows:
    """Rows of one tensor per column."""
    names = [tensor.name for tensor in tensors]
    num_rows = tensors[0].shape[0]
    _check_not_empty(num_rows)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the input {twice[:100]!r} stands twice", expected="one per column", fix="keep one of them")
    for tensor in tensors:
        if tensor.shape not in ((num_rows,), (num_rows, 1)):
            raise InputError(
                f"the shape of {tensor.name[:100]!r} is {list(tensor.shape)}",
                expected=f"[{num_rows}] or [{num_rows}, 1]",
                fix="give every input as many rows as the first has",
            )
    return ColumnarRows(names, [tensor.values for tensor in tensors])


def _check_not_empty(num_rows: int) -> None:
    if num_rows == 0:
        raise InputError("the inputs hold no row", expected="at least one", fix="send no request where there is no row")


def metadata_hint(model: ServedModel) -> str:
    """The advice of an error about tensors: where the model's columns are listed."""
    return f"GET /v2/models/{model.quoted} lists the columns; /docs has an example"
