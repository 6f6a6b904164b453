"""A model that its own framework has loaded, and the ways in which it can be written as a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deepseek.contracts import Arrays
from deepseek.engines.onnx_file.operators import OperatorLibrary
from deepseek.engines.onnx_file.signature import TensorSpec

#: What frameworks raise for a model that they cannot load, run or export.
FRAMEWORK_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Export:
    """One way to a graph. `write(path, arrays)` writes it; the arrays are rows that the model takes."""

    name: str
    write: Callable[[Path, Arrays], None]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Names and types of a model's ends, its own answers, and the ways to a graph, the best first."""

    inputs: tuple[TensorSpec, ...]  # the first axis is the rows
    outputs: tuple[str, ...]
    answer: Callable[[Arrays], Arrays]  # (N, ...) by the inputs' names -> (N, ...) by the outputs' names
    exports: tuple[Export, ...]
    versions: dict[str, str] = field(default_factory=dict)
    operators: OperatorLibrary | None = None  # that the graph is computed with
