"""A torch module of the user's own, FILE.py:NAME, for the tiers: as it is for ExecuTorch, as ONNX for the others."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Float32
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.train.imported import load_object

OPSET = 17
INPUT, OUTPUT = "input", "output"


def is_module(path: Path) -> bool:
    """Whether what was given names an object in a Python file."""
    return ".py:" in str(path)


def load_module(name: str) -> Any:
    """What calling FILE.py:NAME gives, ready to answer. InputError unless that is a torch module."""
    torch = need("torch", extra="compress")
    made = load_object("BUNDLE", name, Path.cwd(), call=True)
    if not isinstance(made, torch.nn.Module):
        raise InputError(
            f"{name} gives {type(made).__name__}", expected="a torch.nn.Module", fix="return the module from it"
        )
    return made.eval()


def answers(module: Any, rows: Float32) -> Float32:
    """What the module gives for each row alone (N, O). InputError when it fails, or gives more than one tensor."""
    torch = need("torch", extra="compress")
    try:
        with torch.no_grad():
            found = [module(torch.as_tensor(row[None])).reshape(1, -1).numpy() for row in rows]
        return np.concatenate(found).astype(np.float32)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the module fails on a row of the shape {list(rows.shape[1:])}: {str(error)[:300]}",
            expected="a module that makes one tensor of one tensor", fix="check the module and the rows in --data",
        ) from error  # fmt: skip


def to_onnx(module: Any, shape: tuple[int, ...]) -> bytes:
    """The graph of a module for rows (N, *shape). InputError for what torch cannot record."""
    torch = need("torch", extra="compress")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter is the older one
        path = Path(folder) / "module.onnx"
        try:
            torch.onnx.export(
                module, (torch.zeros(1, *shape),), str(path), input_names=[INPUT], output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "N"}, OUTPUT: {0: "N"}}, opset_version=OPSET, dynamo=False,
            )  # fmt: skip
        except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
            raise InputError(
                f"torch cannot record the module for rows of the shape {list(shape)}: {str(error)[:300]}",
                expected="a module of one tensor that ONNX can hold", fix="check the shape of the rows in --data",
            ) from error  # fmt: skip
        return path.read_bytes()
