"""Loads a user's torch module from FILE.py:NAME, a function that returns it.

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
    """Whether `name` has the form FILE.py:NAME.

    >>> is_module_name("net.py:build"), is_module_name("net.onnx")
    (True, False)
    """
    return str(name).rpartition(":")[0].endswith(".py")


def load_module(name: str | Path, what: str = "the model") -> nn.Module:
    """The module that calling FILE.py:NAME returns, in eval mode; `what` is its name in errors.

    InputError unless it is a torch module; MissingError for a file or a name that is not there.
    """
    torch = need("torch", extra="compress")
    built = load_object(what, str(name), Path.cwd(), call=True)
    if not isinstance(built, torch.nn.Module):
        raise InputError(
            f"{name} gives {type(built).__name__}", expected="a torch.nn.Module with its weights",
            fix="return the module itself",
        )  # fmt: skip
    module: nn.Module = built.eval()
    return module
