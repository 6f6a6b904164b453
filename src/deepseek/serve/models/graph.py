"""The adapter of an ONNX file: rows of tensors by the graph's own names, and its outputs as they are.

adapter = GraphAdapter(open_file(Path("model.onnx"), cache), "model")
adapter.prepare([{"x": [0.5, 1.0]}]).features.arrays["x"]         # (1, 2), in the type of the input
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.manifest import Input
from deepseek.contracts import Arrays, Flag, Prediction, Record, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.errors import InputError

if TYPE_CHECKING:
    from deepseek.bundle.report import Signature
    from deepseek.engines.onnx_file import GraphEngines, OnnxFile, TensorSpec
    from deepseek.serve.batching.processes import EngineSpec

GRAPH_TASK = "tensors"
GRAPH_MODALITY = "tensor"
CELL_VALUES = 20  # numbers of a nested list that cost as much as a cell of a table
MAX_JOINED_ROW_BYTES = 1 << 20  # of a row; a larger one is not joined with rows of other requests
MAX_JOINED_CHARACTERS = 256  # of a text; a longer one is not joined
MAX_TEXT_BYTES = 1 << 26  # of a tensor of texts, all as wide as the longest


@dataclass(frozen=True, slots=True)
class GraphCard:
    """The card of a graph: its digest and inputs; everything else is empty."""

    digest: str
    inputs: tuple[Input, ...]
    task: str = GRAPH_TASK
    labels: tuple[str, ...] = ()
    created: str = ""
    target: str = ""
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class PreparedTensors:
    """Rows as tensors that fit the graph."""

    features: Tensors
    flags: tuple[Flag, ...] = ()


class GraphAdapter:
    """The adapter of a file that engines.onnx_file has opened."""

    runtime = None  # a bare graph does not say what its numbers mean, so nothing can be explained
    version = "1"
    row_units = 1

    def __init__(self, file: OnnxFile, name: str) -> None:
        self.name = name
        self.bundle_signature: Signature = "none"  # of the bundle around it, if there is one
        self.file = file
        self.signature = signature = file.signature
        self.is_whole = signature.rows == "whole"
        self.is_joinable = signature.rows == "joined"
        inputs = tuple(
            Input(
                spec.name, GRAPH_MODALITY, spec.dtype, tuple(-1 if not isinstance(dim, int) else dim for dim in shape)
            )
            for spec, shape in ((spec, signature.row_shape(spec)) for spec in signature.inputs)
        )
        self.card = GraphCard(file.digest, inputs)
        sample = signature.sample(1).values()
        self.row_cells = max(1, sum(array.size for array in sample) // CELL_VALUES)
        self._is_large = sum(array.nbytes for array in sample) > MAX_JOINED_ROW_BYTES
        self._engines: GraphEngines | None = None

    @cached_property
    def example(self) -> Record:
        return {name: _readable_values(array[0]) for name, array in self.signature.sample(1).items()}

    @property
    def spec(self) -> EngineSpec:
        return {"kind": "onnx", **self.file.spec()}

    @property
    def typical_prediction(self) -> Prediction:
        """Outputs of zeros; free sizes are 1."""
        arrays = {
            spec.name: np.zeros((1, *(dim if isinstance(dim, int) else 1 for dim in self.signature.row_shape(spec))),
                                spec.numpy)
            for spec in self.signature.outputs
        }  # fmt: skip
        return Prediction(tensors=Tensors(arrays, self.is_whole))

    @property
    def matrix(self) -> TensorSpec | None:
        """The input, when there is one and each row of it is a list of numbers: rows by position are such lists."""
        first, *others = self.signature.inputs
        is_list = len(self.signature.row_shape(first)) == 1 and first.dtype != "str"
        return first if is_list and not others else None

    def prepare(self, records: Sequence[Record] | Tensors) -> PreparedTensors:
        """Rows as arrays that fit. InputError names the row, the input and the expected value."""
        if isinstance(records, Tensors):
            tensors = records
        elif isinstance(records, ColumnarRows):
            tensors = self._from_columns(records)
        else:
            tensors = self._from_records(records)
        self.signature.check(tensors)
        return PreparedTensors(tensors)

    def warm_up_rows(self, num_rows: int) -> Tensors:
        return Tensors(self.signature.sample(1 if self._is_large else num_rows), self.is_whole)

    def can_join(self, rows: Tensors, others: Tensors) -> bool:
        """Whether rows of two requests can stand in one array: their free sizes are the same, they are so small that
        joining is faster, and no long text makes the others as wide as itself."""
        return all(_can_join(array, others.arrays[name]) for name, array in rows.arrays.items())

    @property
    def is_deterministic(self) -> bool:
        return not self.file.is_random

    def identity(self, features: Tensors) -> tuple[tuple[str, str, tuple[int, ...], bytes], ...]:
        arrays = features.arrays
        return tuple(
            (name, arrays[name].dtype.str, arrays[name].shape, arrays[name].tobytes()) for name in sorted(arrays)
        )

    def cost(self, features: Tensors) -> int:
        return len(features)

    def join(self, rows: list[Tensors]) -> Arrays:
        if len(rows) == 1:
            return rows[0].arrays
        return {name: np.concatenate([part.arrays[name] for part in rows]) for name in rows[0].arrays}

    def concat(self, outputs: list[Arrays]) -> Arrays:
        from deepseek.engines.onnx_file.engine import concatenate_outputs

        return concatenate_outputs(outputs)

    def run(self, arrays: Arrays) -> Arrays:
        if self._engines is None:
            from deepseek.engines.onnx_file import GraphEngines

            self._engines = GraphEngines.open(self.file.spec())
        return self._engines.run(arrays)

    def decide(self, outputs: Arrays, rows: Sequence[Any], flags: Sequence[Flag]) -> Prediction:
        return Prediction(tensors=Tensors(outputs, self.is_whole), flags=tuple(flags))

    def close(self) -> None:
        if self._engines is not None:
            self._engines.close()

    def _from_records(self, records: Sequence[Record]) -> Tensors:
        names = {spec.name for spec in self.signature.inputs}
        for row, record in enumerate(records):
            if record.keys() != names:
                for name in record:
                    self.signature.input(str(name))
                absent = next(spec for spec in self.signature.inputs if spec.name not in record)
                raise InputError(
                    f"row {row} has no {absent.name!r}", expected=absent.describe(), fix="give every input of the graph"
                )
        return self._tensors({name: [record[name] for record in records] for name in names})

    def _from_columns(self, columns: ColumnarRows) -> Tensors:
        values = columns.values.T if isinstance(columns.values, np.ndarray) else columns.values
        for name in columns.names:
            self.signature.input(name)
        return self._tensors({name: list(column) for name, column in zip(columns.names, values, strict=True)})

    def _tensors(self, values: Mapping[str, list[Any]]) -> Tensors:
        specs = [spec for spec in self.signature.inputs if spec.name in values]
        return Tensors(
            {spec.name: rows_to_array(values[spec.name], spec, self.signature.row_shape(spec)) for spec in specs},
            self.is_whole,
        )


def rows_to_array(values: list[Any], spec: TensorSpec, shape: Sequence[Any] = ()) -> NDArray[Any]:
    """Rows of nested lists as an array. InputError, which names the row, for other types, or none of one shape.
    `shape`: that of a row, where sizes that are no numbers are free."""
    try:
        return _to_array(values, spec)
    except InputError:
        for row, value in enumerate(values) if len(values) > 1 else ():
            _check_row(value, row, spec, shape)
        raise


def _check_row(value: Any, row: int, spec: TensorSpec, shape: Sequence[Any]) -> None:
    """InputError when this row by itself is at fault."""
    try:
        row_shape = _to_array([value], spec).shape[1:]
    except InputError as error:
        raise InputError(f"row {row}: {error.message}", expected=error.expected, fix=error.fix) from error
    fits = len(row_shape) == len(shape) and all(
        size == dim for size, dim in zip(row_shape, shape, strict=True) if isinstance(dim, int)
    )
    if not fits:
        raise InputError(
            f"row {row}: the input {spec.name!r} has the shape {list(row_shape)} there",
            expected=f"{spec.describe()}, of which a row is {[dim if isinstance(dim, int) else '?' for dim in shape]}",
            fix="let every row have the shape of the graph",
        )


def _to_array(values: list[Any], spec: TensorSpec) -> NDArray[Any]:
    try:
        array = np.array(values, object if spec.dtype == "str" else None)
    except (ValueError, OverflowError) as error:
        raise _ragged_error(spec) from error
    return cast_to_input(array, spec)


def cast_to_input(values: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Decoded values (None: a missing number) in the type of an input. InputError for those that it cannot hold."""
    kind = spec.numpy.kind
    if spec.dtype == "str" or values.dtype == object:
        return _cast_objects(values, spec)
    if values.dtype == spec.numpy or (not values.size and values.dtype == np.float64):
        return np.asarray(values, spec.numpy)
    allowed = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}[kind]
    if values.dtype.kind not in allowed:
        raise _wrong_values_error(spec, f"{values.dtype.name} values")
    if kind in "iu" and values.size:
        limits = np.iinfo(spec.numpy)
        if int(values.min()) < limits.min or int(values.max()) > limits.max:
            raise _wrong_values_error(spec, "a number beyond its range")
    with np.errstate(over="ignore"):
        array = np.asarray(values, spec.numpy)
    if kind == "f" and (np.isinf(array) & np.isfinite(values)).any():
        raise _wrong_values_error(spec, "a number beyond its range")
    return array


def _cast_objects(objects: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Texts, or numbers of which some are missing or very large, in the type of an input."""
    types = {type(value) for value in objects.ravel().tolist()}
    if list in types:
        raise _ragged_error(spec)
    if spec.dtype == "str":
        if types - {str}:
            raise _wrong_values_error(spec, "what is no text")
        texts = objects.ravel().tolist()
        if any(text.endswith("\0") for text in texts):  # which numpy takes for padding
            raise _wrong_values_error(spec, "a text that ends with the character 0")
        widest = max(map(len, texts), default=0)
        if widest * objects.size * 4 > MAX_TEXT_BYTES:
            raise _wrong_values_error(spec, f"{objects.size} texts of up to {widest} characters")
        return objects.astype(np.str_)
    if spec.numpy.kind != "f" or types - {int, float, type(None)}:
        raise _wrong_values_error(spec, "null" if type(None) in types else "values of several types")
    try:
        return cast_to_input(objects.astype(np.float64), spec)
    except OverflowError as error:
        raise _wrong_values_error(spec, "a number beyond its range") from error


def _can_join(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.dtype.kind == "U" and max(one.itemsize, other.itemsize) > 4 * MAX_JOINED_CHARACTERS:
        return False
    return one.shape[1:] == other.shape[1:] and one[:1].nbytes <= MAX_JOINED_ROW_BYTES


def _readable_values(array: NDArray[Any]) -> Any:
    """A sample as JSON: 0.13, not the float32 next to it, which is read as the same."""
    return (array.astype(np.float64).round(2) if array.dtype.kind == "f" else array).tolist()


def _ragged_error(spec: TensorSpec) -> InputError:
    return InputError(
        f"the input {spec.name!r} is not of one shape",
        expected=spec.describe(),
        fix="let lists of one depth have one length, and rows that are sent together one shape",
    )


def _wrong_values_error(spec: TensorSpec, problem: str) -> InputError:
    return InputError(
        f"the input {spec.name!r} holds {problem}", expected=spec.describe(), fix="send values of that type"
    )
