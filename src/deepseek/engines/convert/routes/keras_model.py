"""A .keras file in Keras, on whatever backend the process has: what goes in, what comes out, and its answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.convert.routes.loaded import FRAMEWORK_ERRORS
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError
from deepseek.extras import need

CALL_ROWS = 16


def load_keras(path: Path) -> Any:
    """The model of a file that check_keras_file() has passed. InputError in Keras' words."""
    keras = need("keras", extra="keras")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except FRAMEWORK_ERRORS as error:
        raise InputError(
            f"Keras does not load {path.name}: {' '.join(str(error).split())[:300]}",
            expected=f"a file that Keras {keras.__version__} loads without further code",
            fix="save it anew with that release, or build it of Keras' own layers",
        ) from error
    if not getattr(model, "inputs", None):
        raise InputError(
            f"{path.name} does not say what it takes", expected="a model with an Input",
            fix="begin it with keras.Input(shape), call it once, and save it again",
        )  # fmt: skip
    return model


def input_specs(model: Any) -> tuple[TensorSpec, ...]:
    """The model's inputs. InputError for a number of rows that is fixed above 1, or a type that no graph has."""
    specs = []
    for tensor in model.inputs:
        if tensor.shape and tensor.shape[0] not in (None, 1):
            raise InputError(
                f"the input {tensor.name!r} takes {tensor.shape[0]} rows at a time", expected="any number of rows",
                fix="build it with Input(shape=...) instead of batch_shape, and load the weights",
            )  # fmt: skip
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
            raise InputError(
                f"the input {tensor.name!r} is sparse or ragged",
                expected="dense tensors",
                fix="pad it, or make it dense",
            )
        dtype = "str" if tensor.dtype == "string" else tensor.dtype
        specs.append(TensorSpec(tensor.name, dtype, (None, *tensor.shape[1:])))
    if len({spec.name for spec in specs}) != len(specs):
        raise InputError("two inputs have one name", expected="a name each", fix="Input(shape, name=...)")
    return tuple(specs)


def output_names(model: Any) -> tuple[str, ...]:
    """A name for each output: Keras' own, or output_0, ... where they are not each once."""
    tree = need("keras", extra="keras").tree
    names = list(getattr(model, "output_names", None) or [])
    count = len(tree.flatten(model.outputs))
    if len(names) != count or len(set(names)) != count:
        names = [f"output_{place}" for place in range(count)]
    taken = {tensor.name for tensor in model.inputs}
    return tuple(f"{name}_output" if name in taken else name for name in names)


def in_structure(model: Any, tensors: list[Any]) -> Any:
    """The inputs as the model's call takes them: alone, as a list, or by name."""
    tree = need("keras", extra="keras").tree
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        return tensors[0] if len(tensors) == 1 else tensors
    return tree.pack_sequence_as(structure, tensors)


def answer_by(
    model: Any, outputs: tuple[str, ...], to_tensor: Callable[[Any], Any], to_array: Callable[[Any], Any]
) -> Callable[[Arrays], Arrays]:
    """A function of rows that asks the model, some rows at a time."""
    tree = need("keras", extra="keras").tree

    def answer(arrays: Arrays) -> Arrays:
        total = len(next(iter(arrays.values())))
        parts: list[list[Any]] = []
        for start in range(0, total, CALL_ROWS):
            tensors = [to_tensor(arrays[tensor.name][start : start + CALL_ROWS]) for tensor in model.inputs]
            flat = tree.flatten(model(in_structure(model, tensors), training=False))
            parts.append([to_array(each) for each in flat])
        return {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(outputs)}

    return answer
