"""Answers that hold NaN or an infinite number are refused, with the row and the output named.

    check_answers(prediction, model="loans")      # NonFiniteError, or nothing
    check_attribution(attribution, rows=[17, 4])  # of two rows, which are 17 and 4 of a file

JSON has no sign for such a number and would show null, CSV would show "nan", and a class would be chosen by comparing
with it: none of that is an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Attribution, Prediction
from deepseek.errors import DeepseekError, InputError, NonFiniteError

_FIX = (
    "look at what that row holds; where it is in order, the model is at fault: make it again with this release, which "
    "tries such rows before it writes a bundle"
)


def are_finite(arrays: Arrays) -> bool:
    """Whether every number of these arrays is finite; texts, whole numbers and booleans always are.

    >>> are_finite({"x": np.array([1.0]), "y": np.array(["a"])}), are_finite({"x": np.array([-np.inf])})
    (True, False)
    """
    return all(bool(np.isfinite(array).all()) for array in arrays.values() if array.dtype.kind in "fc")


def check_numbers(
    numbers: NDArray[Any],
    output: str,
    *,
    model: str = "",
    first_row: int = 0,
    rows: Sequence[int] | None = None,
    allow_infinite: bool = False,
) -> None:
    """NonFiniteError unless all of `numbers` (N, ...) are finite, or, where that is allowed, at least none is NaN.

    `output` names them, `model` says whose they are; rows are counted from `first_row`, or are known as `rows` says.
    """
    if numbers.dtype.kind not in "fc":
        return
    is_refused = np.isnan(numbers) if allow_infinite else ~np.isfinite(numbers)
    if not is_refused.any():
        return
    row_is_refused = is_refused.reshape(len(is_refused), -1).any(axis=1) if numbers.ndim else is_refused[None]
    first, count = int(row_is_refused.argmax()), int(row_is_refused.sum())
    kind = "NaN" if np.isnan(numbers[first] if numbers.ndim else numbers).any() else "an infinite number"
    raise NonFiniteError(
        f"{f'the model {model!r}' if model else 'the model'} gives {kind} as {output} for row "
        f"{first_row + first if rows is None else rows[first]}"
        + (f", and so for {count - 1} more" if count > 1 else ""),
        expected="finite numbers in every answer",
        fix=_FIX,
    )


def check_answers(prediction: Prediction, *, model: str = "", first_row: int = 0, allow_infinite: bool = False) -> None:
    """NonFiniteError where an answer for a row holds NaN or an infinite number. `allow_infinite`: the tensors of a bare
    graph may, as a mask or a logarithm does; NaN is refused all the same."""
    allow_infinite = allow_infinite and prediction.tensors is not None
    for output, numbers in _output_arrays(prediction):
        check_numbers(numbers, output, model=model, first_row=first_row, allow_infinite=allow_infinite)


def blame_inputs(error: NonFiniteError, inputs: Arrays) -> DeepseekError:
    """The error to tell of: an InputError where the model was given what none can be expected to answer with a number,
    NaN (as which a graph gets a null) or numbers whose square is beyond their type; else the error itself."""
    for name, array in inputs.items():
        if array.dtype.kind != "f":
            continue
        reach = np.sqrt(np.finfo(array.dtype).max)
        if np.isnan(array).any() or (np.abs(array) > reach).any():
            what = "a value that is not known" if np.isnan(array).any() else f"a number beyond {reach:.2g}"
            return InputError(
                f"{error.message}, and {name!r} holds {what}",
                expected="numbers that the model can compute with", fix="give the value, or leave that row out",
            )  # fmt: skip
    return error


def check_attribution(attribution: Attribution, rows: Sequence[int], *, model: str = "") -> None:
    """NonFiniteError where an explanation, or the output that it explains, holds such a number. `rows`: the number that
    the caller knows each of the explained rows by."""
    for output, numbers in (
        ("the explained output", attribution.output),
        ("the base value of its explanation", attribution.base_value),
        ("a contribution to its answer", attribution.values),
    ):
        check_numbers(numbers, output, model=model, rows=rows)


def _output_arrays(prediction: Prediction) -> Iterator[tuple[str, NDArray[Any]]]:
    for output in ("probabilities", "values", "intervals", "embeddings"):
        numbers = getattr(prediction, output)
        if numbers is not None:
            yield output, numbers
    if prediction.tensors is not None:
        for name, array in prediction.tensors.arrays.items():
            yield f"the output {name!r}", array
    if prediction.entities is not None:
        probabilities = [[entity["probability"] for entity in row] for row in prediction.entities]
        yield "the probability of an entity", np.array([sum(row) for row in probabilities], np.float64)
