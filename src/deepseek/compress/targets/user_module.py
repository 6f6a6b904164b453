"""Loads a user's torch module from FILE.py:NAME, a function that returns it, or from a .keras file.

module = load_module("net.py:build")
module = load_module("model.keras")      # Keras' own layers alone; no code of the file is run
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.engines.keras_module import as_torch_module, load_keras_module
from deepseek.errors import InputError, MissingError
from deepseek.extras import need
from deepseek.train.loop.object_loader import load_object

if TYPE_CHECKING:
    from torch import nn


def is_module_name(name: str | Path) -> bool:
    """Whether `name` has the form FILE.py:NAME or FILE.keras.

    >>> is_module_name("net.py:build"), is_module_name("net.onnx")
    (True, False)
    """
    return is_keras_file(name) or str(name).rpartition(":")[0].endswith(".py")


def is_keras_file(name: str | Path) -> bool:
    """Whether `name` is that of a model which Keras has saved."""
    return str(name).endswith(".keras")


def load_module(name: str | Path, what: str = "the model") -> nn.Module:
    """The module that calling FILE.py:NAME returns, or that a .keras file holds, in eval mode; `what` is its name in
    errors.

    InputError unless it is a torch module or a model of Keras on torch; MissingError for a file or a name that is not
    there.
    """
    torch = need("torch", extra="compress")
    if is_keras_file(name):
        path = Path(name)
        if not path.is_file():
            raise MissingError(f"there is no model at {path}", expected="a .keras file", fix="check the path")
        built = load_keras_module(path)
    else:
        built = as_torch_module(load_object(what, str(name), Path.cwd(), call=True))
    if not isinstance(built, torch.nn.Module):
        raise InputError(
            f"{name} gives {type(built).__name__}", expected="a torch.nn.Module with its weights",
            fix="return the module itself",
        )  # fmt: skip
    module: nn.Module = built.eval()
    return module
