"""A Keras model on its torch backend as a torch module: as many tensors in as it has inputs, in their order.

module = as_torch_module(model)                        # torch modules and functions come back as they are
module = load_keras_module(Path("model.keras"))        # a file whose code, if it holds any, is never run
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.engines.convert.keras_file import check_keras_file
from deepseek.engines.convert.routes.keras_averages import check_averages
from deepseek.engines.convert.routes.keras_model import in_structure, load_keras
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.optimizers.keras_backend import keras_on_torch


def is_keras_model(model: object) -> bool:
    """Whether it is a model of Keras, on whatever backend. Keras is not imported for it."""
    keras = sys.modules.get("keras")
    return keras is not None and hasattr(keras, "Model") and isinstance(model, keras.Model)


def as_torch_module(model: Any) -> Any:
    """A module that takes the inputs of a Keras model one by one, and what is no Keras model as it is. InputError for
    Keras on another backend, and for a model that was never called, so that it has no inputs yet."""
    if not is_keras_model(model):
        return model
    backend = sys.modules["keras"].config.backend()
    if backend != "torch":
        raise InputError(
            f"this model of Keras runs on {backend}", expected="Keras on torch",
            fix="save it, and load it where KERAS_BACKEND=torch is set; or deepseek convert model.keras",
        )  # fmt: skip
    if not getattr(model, "inputs", None):
        raise InputError(
            f"the model {model.name!r} does not say what it takes", expected="a model with an Input",
            fix="begin it with keras.Input(shape)",
        )  # fmt: skip
    return _separate_inputs(model)


def load_keras_module(path: Path) -> Any:
    """The model of a .keras file as a torch module. InputError for what check_keras_file() refuses, for texts, and
    where torch averages otherwise than TensorFlow."""
    if check_keras_file(path).takes_texts:
        raise InputError(
            f"{path} takes texts, which torch has not", expected="a model of numbers",
            fix="split and look up before the model is called, or deepseek convert it with TensorFlow",
        )  # fmt: skip
    keras_on_torch()
    model = load_keras(path).to("cpu")
    check_averages(model)
    return as_torch_module(model)


def to_tensors(inputs: Any) -> Any:
    """Arrays, alone or in a sequence, as the tensors that a Keras model on torch takes; tensors as they are."""
    if isinstance(inputs, np.ndarray):
        return need("torch", extra="explain").from_numpy(np.ascontiguousarray(inputs))
    if isinstance(inputs, Sequence) and not isinstance(inputs, str):
        return tuple(map(to_tensors, inputs))
    return inputs


def _separate_inputs(model: Any) -> Any:
    """A module of as many tensors as the model has inputs, and of no further arguments: torch.export would ask for
    them."""
    torch = need("torch", extra="explain")

    class KerasModule(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

    class OfOneInput(KerasModule):
        def forward(self, rows: Any) -> Any:
            return self.model(in_structure(model, [rows]), training=False)

    class OfSeveralInputs(KerasModule):
        def forward(self, *tensors: Any) -> Any:
            if len(tensors) != len(model.inputs):
                raise InputError(
                    f"the model takes {len(model.inputs)} inputs, and {len(tensors)} came",
                    expected=", ".join(each.name for each in model.inputs),
                    fix="give one tensor for each, in this order",
                )  # fmt: skip
            return self.model(in_structure(model, list(tensors)), training=False)

    return (OfOneInput() if len(model.inputs) == 1 else OfSeveralInputs()).eval()
