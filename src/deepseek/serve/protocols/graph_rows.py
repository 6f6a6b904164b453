"""Rows of a bare ONNX graph (serve/models/graph.py) from messages: tensors of any number of axes, and rows of them.

tensors = read_tensors(tensors, adapter)             # an infer request: the graph's own names, types and shapes
rows = read_positional_rows(body, adapter, copy=...) # :predict: {"instances": [{"x": [[...], ...]}, ...]}
                                                     # {"rows": [[1.5, 2.0], ...]} where there is one input of lists
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import JsonObject, Prediction, Record, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.errors import InputError
from deepseek.http_errors import MediaTypeError
from deepseek.serve.models.graph import CELL_VALUES, GraphAdapter, cast_to_input
from deepseek.serve.models.served_model import ServedModel
from deepseek.serve.protocols.rows import read_columns, read_numeric_columns
from deepseek.serve.protocols.tensors import MAX_COLUMN_RANK, Tensor, TensorMetadata, array_datatype

if TYPE_CHECKING:
    from deepseek.engines.onnx_file import TensorSpec

MAX_RANK = 16
PLATFORM, GRAPH_PLATFORM = "deepseek_bundle", "onnxruntime_onnx"  # the second is Triton's name for it


def graph_adapter(model: ServedModel) -> GraphAdapter | None:
    """The adapter of a model that is a bare graph; None for other models."""
    return model.adapter if isinstance(model.adapter, GraphAdapter) else None


def platform_name(model: ServedModel) -> str:
    """The protocol's name for the kind of a model."""
    return PLATFORM if graph_adapter(model) is None else GRAPH_PLATFORM


def max_rank(model: ServedModel) -> int:
    """The largest number of axes of a tensor in an infer request."""
    return MAX_COLUMN_RANK if graph_adapter(model) is None else MAX_RANK


def count_rows(tensor: Tensor, model: ServedModel) -> int:
    """How many rows a tensor counts for in the limit of rows."""
    adapter = graph_adapter(model)
    return tensor.shape[0] if adapter is None or (adapter.is_joinable and tensor.shape) else 1


def tensor_metadata(specs: Sequence[TensorSpec]) -> list[TensorMetadata]:
    """The protocol's description of a graph's inputs or outputs; -1 is any size."""
    return [
        TensorMetadata(spec.name, _tensor_datatype(spec), [dim if isinstance(dim, int) else -1 for dim in spec.shape])
        for spec in specs
    ]


def example_tensors(adapter: GraphAdapter) -> list[JsonObject]:
    """The inputs of an example infer request."""
    tensors = []
    for spec in adapter.signature.inputs:
        array = np.array(adapter.example[spec.name])
        array = array if adapter.is_whole else array[None]
        entry = {"name": spec.name, "datatype": _tensor_datatype(spec), "shape": list(array.shape)}
        tensors.append(entry | {"data": array.ravel().tolist()})
    return tensors


def read_tensors(tensors: Sequence[Tensor], adapter: GraphAdapter) -> Tensors:
    """The rows of an infer request. InputError for a name, a type or a number of axes that the graph does not have."""
    arrays: dict[str, NDArray[Any]] = {}
    for tensor in tensors:
        spec = adapter.signature.input(tensor.name)
        if tensor.name in arrays:
            raise InputError(
                f"the input {tensor.name[:100]!r} stands twice", expected="one of a name", fix="keep one of them"
            )
        if tensor.datatype != _tensor_datatype(spec):
            raise InputError(
                f"the input {spec.name!r} is {tensor.datatype}",
                expected=f"{_tensor_datatype(spec)}: the graph takes {spec.describe()}",
                fix="send it in the datatype of the model's metadata",
            )
        if len(tensor.shape) != len(spec.shape):
            raise InputError(
                f"the input {spec.name!r} has the shape {list(tensor.shape)}",
                expected=spec.describe(),
                fix="give it as many axes as the graph has",
            )
        values = tensor.values
        elements = (
            values if isinstance(values, np.ndarray) else np.array(values, object if spec.dtype == "str" else None)
        )
        array = cast_to_input(elements, spec).reshape(tensor.shape)
        if not adapter.is_whole and not len(array):
            raise InputError(
                "the inputs hold no row", expected="at least one", fix="send no request where there is none"
            )
        arrays[spec.name] = array[None] if adapter.is_whole else array
    if adapter.signature.rows == "single" and any(len(array) != 1 for array in arrays.values()):
        raise InputError(
            "the graph takes one row a call", expected="a first axis of 1", fix="send rows to :predict, or one by one"
        )
    return Tensors(arrays, adapter.is_whole)


def read_numeric_rows(data: bytes, adapter: GraphAdapter, max_rows: int) -> Tensors | None:
    """Positional rows of numbers for a graph with one input of lists; None for any other body."""
    spec = adapter.matrix
    width = None if spec is None else adapter.signature.row_shape(spec)[0]
    if spec is None or not isinstance(width, int):
        return None
    numbers = read_numeric_columns(data, tuple(map(str, range(width))), max_rows)
    # A body that names its columns names inputs, of which one is no list.
    if numbers is None or numbers[1] or b'"columns"' in data or spec.numpy.kind != "f":
        return None
    matrix = np.asarray(numbers[0].values, np.float64)
    return Tensors({spec.name: cast_to_input(matrix, spec)}, adapter.is_whole)


def read_positional_rows(body: JsonObject, adapter: GraphAdapter, *, copy: str) -> Sequence[Record]:
    """Positional rows: a value for each input; or lists, for a graph with one input of lists and no "columns"."""
    names = [spec.name for spec in adapter.signature.inputs]
    rows = body.get("rows")
    if adapter.matrix is None or "columns" in body or not isinstance(rows, list):
        return read_columns(body, names, copy=copy)
    return ColumnarRows(names, [rows]) if rows else read_columns(body, names, copy=copy)


def check_explainable(model: ServedModel) -> None:
    """InputError for a bare graph: nothing says what its numbers stand for."""
    if graph_adapter(model) is not None:
        raise InputError(
            f"{model.name!r} is a bare ONNX graph, and there is nothing to explain its answers with",
            expected="a bundle, which says what its columns and answers are, or an xgboost file",
            fix="ask :predict without reasons; to have explanations, make a bundle: deepseek ship --help",
        )


def check_columns(model: ServedModel) -> None:
    """MediaTypeError where rows come as an Arrow stream or a form, whose columns are no tensors."""
    if graph_adapter(model) is not None:
        raise MediaTypeError(
            f"{model.name!r} takes tensors, and an Arrow stream or a form holds columns",
            expected="JSON, or the binary tensors of /v2",
            fix=f"POST application/json, or /v2/models/{model.quoted}/infer",
        )


def response_cells(prediction: Prediction, num_rows: int, row_cells: int) -> int:
    """The cost of encoding a response, in cells of served_model.MAX_INLINE_CELLS."""
    if prediction.tensors is None:
        return num_rows * row_cells
    return sum(array.size for array in prediction.tensors.arrays.values()) // CELL_VALUES


def output_arrays(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """The output arrays in the shapes of the graph."""
    return {name: array[0] if tensors.is_whole else array for name, array in tensors.arrays.items()}


def _tensor_datatype(spec: TensorSpec) -> str:
    return array_datatype(np.empty(0, spec.numpy))
