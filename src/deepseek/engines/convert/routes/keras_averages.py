"""Averages over a window that reaches beyond one end: Keras on torch answers otherwise than Keras elsewhere.

TensorFlow and JAX divide by the cells that are there. On torch, Keras repeats the cells at the end where the padding of
its two ends differs (keras/src/backend/torch/nn.py, average_pool; seen with 3.12 to 3.15), so a model that was trained
elsewhere would answer wrongly, and agree with itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from deepseek.errors import InputError

_AVERAGES = frozenset(["AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AveragePool"])


def check_averages(model: Any) -> None:
    """InputError that names the first such layer of a Keras model."""
    for operation in _operations_of(model):
        if type(operation).__name__ in _AVERAGES and operation.padding == "same" and _pads_one_end(operation):
            raise InputError(
                f'Keras on torch averages otherwise than on TensorFlow in {operation.name!r} (padding "same")',
                expected="one answer on every backend",
                fix="convert it with TensorFlow: --python PYTHON_WITH_TENSORFLOW",
            )


def _operations_of(model: Any) -> Iterator[Any]:
    """Layers and bare operations, those of models within models, too."""
    parts: Iterable[Any] = getattr(model, "operations", None) or getattr(model, "layers", None) or ()
    for operation in parts:
        yield operation
        yield from _operations_of(operation)


def _pads_one_end(operation: Any) -> bool:
    """Whether some axis of some call gets other numbers of cells before and behind it; True where no shape tells."""
    shapes = [node.input_tensors[0].shape for node in operation._inbound_nodes]
    return not shapes or any(_is_uneven(shape, operation) for shape in shapes)


def _is_uneven(shape: tuple[int | None, ...], operation: Any) -> bool:
    num_axes = len(shape) - 2
    sizes = shape[1:-1] if operation.data_format != "channels_first" else shape[2:]
    windows = _per_axis(operation.pool_size, num_axes)
    steps = _per_axis(operation.strides or operation.pool_size, num_axes)
    return any(map(_is_odd_padding, sizes, windows, steps))


def _per_axis(value: int | tuple[int, ...], num_axes: int) -> tuple[int, ...]:
    """A number for each axis of what may be one for all."""
    return (value,) * num_axes if isinstance(value, int) else tuple(value)


def _is_odd_padding(size: int | None, window: int, step: int) -> bool:
    """Whether the cells that are padded along an axis cannot be halved.

    >>> _is_odd_padding(12, 3, 2), _is_odd_padding(12, 3, 1), _is_odd_padding(12, 2, 2), _is_odd_padding(None, 3, 1)
    (True, False, False, False)
    """
    if size is None:
        return step != 1 or window % 2 == 0
    num_padded = max((-(-size // step) - 1) * step + window - size, 0)
    return num_padded % 2 == 1
