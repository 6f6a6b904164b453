"""A torch module of the user's own: FILE.py:NAME of a function that gives it.

module = load_module("net.py:build")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.train.loop.object_loader import load_object

if TYPE_CHECKING:
    from torch import nn


def is_module_name(name: str | Path) -> bool:
    """Whether what was given names an object in a Python file.

    >>> is_module_name("net.py:build"), is_module_name("net.onnx")
    (True, False)
    """
    return str(name).rpartition(":")[0].endswith(".py")


def load_module(name: str | Path, what: str = "the model") -> nn.Module:
    """What calling FILE.py:NAME gives, ready to answer; `what` is its name in errors.

    InputError unless it is a torch module; MissingError for a file or a name that is not there.
    """
    torch = need("torch", extra="compress")
    made = load_object(what, str(name), Path.cwd(), call=True)
    if not isinstance(made, torch.nn.Module):
        raise InputError(
            f"{name} gives {type(made).__name__}", expected="a torch.nn.Module with its weights",
            fix="return the module itself",
        )  # fmt: skip
    module: nn.Module = made.eval()
    return module
