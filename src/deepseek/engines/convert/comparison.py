"""How far the answers of a graph are from those of the model that it was made of, on the same rows.

    agreement = compare_graph(Path("model.onnx"), arrays, expected, num_rows)
    agreement.difference, agreement.holds

The graph computes all rows in one call, then a few by themselves: a size that an export has frozen shows at another
number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, JsonObject
from deepseek.engines.onnx import open_session
from deepseek.engines.onnx_file.engine import OnnxruntimeGraph, run_rows
from deepseek.engines.onnx_file.operators import OperatorLibrary
from deepseek.engines.onnx_file.row_mode import row_mode_by_shape
from deepseek.engines.onnx_file.signature import Signature, tensor_specs
from deepseek.errors import InputError

#: Most that an answer may differ from the model's, as a share of the largest number of its output.
LIMIT = 1e-4
MIN_SCALE = 1e-6  # of an output whose numbers are all nearly zero
CALL_SIZES = (1, 3)  # of the calls beside the one of all rows
MAX_CALL_CELLS = 1 << 24  # values of the inputs of one call


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest difference of all rows and outputs, as LIMIT counts it, and how many rows are beyond it."""

    difference: float
    num_different: int
    num_compared: int  # rows, the probes among them

    @property
    def holds(self) -> bool:
        return self.num_different == 0

    def to_dict(self) -> JsonObject:
        return {
            "max_difference": self.difference if np.isfinite(self.difference) else None,
            "num_different": self.num_different, "num_compared": self.num_compared, "limit": LIMIT,
        }  # fmt: skip


def read_signature(path: Path, operators: OperatorLibrary | None = None) -> Signature:
    """Inputs and outputs of a graph as onnxruntime reads them. IntegrityError, InputError."""
    session = open_session(
        str(path), path.name, num_threads=1, configure=None if operators is None else operators.register
    )
    signature = Signature(tensor_specs(path, session.get_inputs()), tensor_specs(path, session.get_outputs()))
    return Signature(signature.inputs, signature.outputs, row_mode_by_shape(signature))


def compare_graph(
    path: Path, arrays: Arrays, expected: Arrays, num_rows: int, operators: OperatorLibrary | None = None
) -> Agreement:
    """`arrays` (M, ...) and `expected` (M, ...) by name, the first `num_rows` those of the user; the graph is computed
    with the library of `operators`. InputError for a graph that does not take them, or has other outputs."""
    signature = read_signature(path, operators)
    names = [spec.name for spec in signature.outputs]
    if names != list(expected) or {spec.name for spec in signature.inputs} != set(arrays):
        raise InputError(
            f"the graph has the outputs {', '.join(names)[:200]}", expected=", ".join(expected)[:200],
            fix="report it as a bug",
        )  # fmt: skip
    engine = OnnxruntimeGraph(path, signature, ("CPUExecutionProvider",), operators)
    total = len(next(iter(arrays.values())))
    worst, different = 0.0, np.zeros(total, bool)
    for rows in _calls(arrays, total):
        outputs = run_rows(engine, signature, {name: array[rows] for name, array in arrays.items()})
        for name, array in expected.items():
            apart = _differences(array, rows, outputs[name], num_rows)
            worst = max(worst, float(apart.max(initial=0.0)))
            different[rows] |= apart > LIMIT
    engine.close()
    return Agreement(worst, int(different.sum()), total)


def _calls(arrays: Arrays, total: int) -> list[slice]:
    cells = sum(array[0].size for array in arrays.values())
    size = max(1, min(total, MAX_CALL_CELLS // max(cells, 1)))
    large = [slice(start, min(start + size, total)) for start in range(0, total, size)]
    return [*large, *(slice(0, few) for few in CALL_SIZES if few < total and few != size)]


def _differences(expected: NDArray[Any], rows: slice, actual: NDArray[Any], num_rows: int) -> NDArray[np.float64]:
    """Of each row (n,): infinity for another shape, type or truth."""
    part = expected[rows]
    if part.shape != actual.shape or part.dtype.kind != actual.dtype.kind:
        return np.full(len(part), np.inf)
    if part.dtype.kind != "f":
        is_same = (part == actual).reshape(len(part), -1).all(axis=1)
        return np.where(is_same, 0.0, np.inf)
    reference, values = part.astype(np.float64), actual.astype(np.float64)
    is_same = (reference == values) | (np.isnan(reference) & np.isnan(values))
    with np.errstate(invalid="ignore"):
        errors = np.nan_to_num(np.where(is_same, 0.0, np.abs(reference - values)), nan=np.inf)
    scales = np.empty(len(expected))
    for group in (slice(0, num_rows), slice(num_rows, None)):  # a probe may be larger than any of the user's rows
        numbers = np.abs(expected[group].astype(np.float64))
        scales[group] = max(numbers[np.isfinite(numbers)].max(initial=0.0), MIN_SCALE)
    return np.asarray(errors.reshape(len(part), -1).max(axis=1, initial=0.0) / scales[rows])
