"""Where a module reads the values of its data into Python, and may go another way for other data.

    with DataReads() as reads:
        module(*reads.mark_inputs(inputs))
    reads.locations                       places in the code: "gate.item() in model.py, line 12"

An explanation runs the module for several inputs at once. A branch in Python is taken once for all of them, so where
one depends on data, what was computed side by side need not be what the module answers to each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from deepseek.explain.modules.fidelity.signatures import Arguments

#: Calls that hand values to Python.
_READ_NAMES = """
    __bool__ __int__ __float__ __complex__ __index__ __array__ __contains__ item tolist numpy equal allclose is_nonzero
"""
READ_CALLS = frozenset(_READ_NAMES.split())
_MARK = "_deepseek_of_input"
_TORCH = str(Path(torch.__file__).parent)
_PACKAGE = str(Path(__file__).parents[1])


def caller_location() -> str:
    """The line of the user's code that runs now: the innermost that is neither torch's nor this room's."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((_TORCH, _PACKAGE)):
            return f"{Path(name).name}, line {frame.f_lineno}, in {frame.f_code.co_name}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "the module"


class DataReads(TorchFunctionMode):
    """Marks everything that is computed of the inputs, and notes where such values are read."""

    def __init__(self) -> None:
        super().__init__()
        self.locations: dict[str, None] = {}

    @staticmethod
    def mark_inputs(inputs: Sequence[Tensor]) -> list[Tensor]:
        """Copies that know that they are inputs."""
        copies = [each.detach().clone() for each in inputs]
        for each in copies:
            setattr(each, _MARK, True)
        return copies

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Arguments | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if any(map(_is_marked, args)) or any(map(_is_marked, kwargs.values())):
            name = getattr(func, "__name__", "")
            if name in READ_CALLS:
                self.locations[f"{name.strip('_')} ({caller_location()})"] = None
            _mark(result)
            if args and isinstance(args[0], Tensor) and (name == "__setitem__" or name.endswith("_")):
                setattr(args[0], _MARK, True)
        return result


def _is_marked(value: Any) -> bool:
    if isinstance(value, Tensor):
        return hasattr(value, _MARK)
    return isinstance(value, (tuple, list)) and any(map(_is_marked, value))


def _mark(result: Any) -> None:
    if isinstance(result, Tensor):
        setattr(result, _MARK, True)
    elif isinstance(result, (tuple, list)):
        for each in result:
            _mark(each)
