"""What a row of a graph is, and whether rows of several requests may be computed in one call: tried on made-up rows.

    signature = find_row_mode(path, engine, bare, may_join=not why_mixed(path))

The second lock: the first reads the graph (mixing/). What is tried here is what shows most often: rows of several
sizes, large ones and zeros beside ordinary ones, and several numbers of rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.onnx_file.engine import GraphEngine, run_rows
from deepseek.engines.onnx_file.signature import RowMode, Signature, TensorSpec
from deepseek.errors import DeepseekError, InputError

#: The largest difference between rows computed together and each by itself, as a share of the largest number of the
#: row: matrices of another size are summed in another order.
TOLERANCE = 1e-3
MIN_SHARE = 1e-2  # of an ordinary answer, below which a row's numbers are what is left of larger ones
FREE_SIZES = (32, 64, 16, 8, 128, 224, 256, 1)  # sizes tried for axes that are free, but that of the rows
NUM_ORDINARY_ROWS = 3  # ordinary rows that are computed together and alone
#: What ordinary rows stand beside. Their own answers are compared up to MAX_COMPARED_SCALE: beyond it rounding alone
#: moves them.
TRIED_SCALES = (0.0, 1e-3, 30.0, 1e4)
MAX_COMPARED_SCALE = 100.0
MAX_ROW_CELLS = 1 << 26  # values of one row that can be asked for at all; no body is longer


def find_row_mode(path: Path, engine: GraphEngine, signature: Signature, *, may_join: bool) -> Signature:
    """The signature with its row mode, and a size for free axes with which the graph runs. InputError for a graph that
    runs on nothing made up."""
    last_error: DeepseekError | None = None
    num_cells = sum(math.prod(dim if isinstance(dim, int) else 1 for dim in spec.shape) for spec in signature.inputs)
    if num_cells > MAX_ROW_CELLS:
        raise InputError(
            f"the inputs of {path} hold {num_cells} values",
            expected=f"at most {MAX_ROW_CELLS}",
            fix="export smaller ones",
        )
    by_shape = row_mode_by_shape(signature)
    kinds: tuple[RowMode, ...] = (by_shape,) if may_join or by_shape != "joined" else ()
    for free_size in FREE_SIZES if _has_free_axes(signature) else FREE_SIZES[:1]:
        for row_mode in dict.fromkeys((*kinds, "whole")):
            candidate = Signature(signature.inputs, signature.outputs, row_mode, free_size)
            try:
                answers = [
                    run_rows(engine, candidate, candidate.sample(1, seed=seed)) for seed in range(NUM_ORDINARY_ROWS)
                ]
            except InputError as error:
                last_error = error
                continue
            if row_mode == "joined" and not _are_rows_independent(engine, candidate, answers):
                continue
            return Signature(
                signature.inputs, _observed_specs(signature.outputs, answers[0], row_mode), row_mode, free_size
            )
    raise InputError(
        f"{path} could not be tried: {last_error.message if last_error else 'it gives no rows'}",
        expected=f"a graph that runs on made-up inputs: normal numbers, 0 and 1, free sizes up to {max(FREE_SIZES)}",
        fix="export it with fixed sizes for the axes that have to fit each other",
    )


def _has_free_axes(signature: Signature) -> bool:
    return any(not isinstance(dim, int) for spec in signature.inputs for dim in spec.shape)


def row_mode_by_shape(signature: Signature) -> RowMode:
    """The row mode that the shapes of inputs and outputs alone promise."""
    firsts = [spec.shape[0] if spec.shape else 0 for spec in (*signature.inputs, *signature.outputs)]
    # An output without a shape is looked at when it is there.
    unknown = [not spec.shape for spec in signature.outputs]
    dims = firsts[: len(signature.inputs)] + [
        dim for dim, is_unknown in zip(firsts[len(signature.inputs) :], unknown, strict=True) if not is_unknown
    ]
    if not any(isinstance(dim, int) for dim in dims):
        return "joined"
    return "single" if all(dim == 1 for dim in firsts) else "whole"


def _are_rows_independent(engine: GraphEngine, signature: Signature, ordinary: Sequence[Arrays]) -> bool:
    """Whether rows computed together answer as each by itself. `ordinary`: the answers of the first samples."""
    samples = [signature.sample(1, seed=seed) for seed in range(NUM_ORDINARY_ROWS)]
    answers: list[Arrays | None] = list(ordinary)
    for scale in TRIED_SCALES:
        samples.append(_scale_sample(signature.sample(1, seed=len(samples)), scale))
        try:
            answers.append(run_rows(engine, signature, samples[-1]))
        except InputError:  # beyond what the graph takes
            answers.append(None)
    answered = [index for index, answer in enumerate(answers) if answer is not None]
    usual_size = {name: max(_largest_finite(answer[name]) for answer in ordinary) for name in ordinary[0]}
    for order in (range(NUM_ORDINARY_ROWS), answered, answered[-1::-2], (0, answered[-1])):
        batch = {name: np.concatenate([samples[index][name] for index in order]) for name in samples[0]}
        try:
            outputs = run_rows(engine, signature, batch)
        except InputError:
            return False
        for row, index in enumerate(order):
            answer = answers[index]
            scale = 1.0 if index < NUM_ORDINARY_ROWS else TRIED_SCALES[index - NUM_ORDINARY_ROWS]
            if answer is not None and not _is_same_row(
                answer, outputs, row, usual_size, is_compared=scale < MAX_COMPARED_SCALE
            ):
                return False
    return True


def _scale_sample(sample: Arrays, scale: float) -> Arrays:
    """A sample whose floats are multiplied by `scale`; whole numbers become 0 where it is 0, and stay as they are
    else."""
    kinds = "f" if scale else "fiu"
    return {
        name: np.asarray(array * scale, array.dtype) if array.dtype.kind in kinds else array
        for name, array in sample.items()
    }


def _is_same_row(
    answer: Arrays, outputs: Arrays, row: int, usual_size: Mapping[str, float], *, is_compared: bool
) -> bool:
    """Whether a row's answer among others is that by itself; its shape alone where it is not to be compared."""
    for name, expected in answer.items():
        row_output = outputs[name][row : row + 1]
        if row_output.shape != expected.shape:
            return False
        least = MIN_SHARE * float(usual_size[name])
        if is_compared and relative_difference(expected, row_output, least=least) > TOLERANCE:
            return False
    return True


def _largest_finite(array: np.ndarray[Any, Any]) -> float:
    """The largest absolute value of a float array's finite numbers; 0 for other arrays."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) if array.dtype.kind == "f" else 0.0


def _observed_specs(specs: Sequence[TensorSpec], outputs: Arrays, row_mode: RowMode) -> tuple[TensorSpec, ...]:
    """Specs of outputs; where the file states another number of axes than the outputs have, or none, the observed
    one."""
    observed = []
    for spec in specs:
        rank = outputs[spec.name].ndim - (row_mode == "whole")
        observed.append(spec if len(spec.shape) == rank else TensorSpec(spec.name, spec.dtype, (None,) * rank))
    return tuple(observed)


def relative_difference(expected: np.ndarray[Any, Any], actual: np.ndarray[Any, Any], *, least: float = 1e-30) -> float:
    """The largest difference as a share of the largest number expected, or of `least` where that is larger; infinity
    where what has to be equal is not.

    >>> relative_difference(np.array([1.0, 2.0]), np.array([1.0, 2.1]))
    0.05...
    >>> relative_difference(np.array([1]), np.array([2]))
    inf
    """
    if expected.shape != actual.shape or expected.dtype.kind != actual.dtype.kind:
        return float("inf")
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(expected, actual) else float("inf")
    reference, values = expected.astype(np.float64), actual.astype(np.float64)
    is_same = (reference == values) | (np.isnan(reference) & np.isnan(values))  # infinities, too
    scale = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        errors = np.where(is_same, 0.0, np.abs(reference - values))
    return float(np.nan_to_num(errors, nan=np.inf).max(initial=0.0) / max(scale, least, 1e-30))
