"""The Python in which a framework lives: this one, or another that the user names.

interpreter = find_interpreter("saved-model", Path(".venv-tensorflow/bin/python"))
interpreter.environment(folder)      # with which the worker is started there
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import deepseek
from deepseek.errors import ExtraError, MissingError
from deepseek.extras import install_advice, is_installed

#: What a worker imports whatever it loads.
_WORKER = ("numpy", "onnxruntime", "safetensors")
#: What a loader imports beside it.
MODULES = {
    "keras-torch": ("keras", "torch", "onnxscript"), "keras-tensorflow": ("tensorflow", "tf2onnx"),
    "saved-model": ("tensorflow", "tf2onnx"), "tflite": ("tensorflow", "tf2onnx"),
    "torch-export": ("torch", "onnxscript"), "onnx": ("onnxruntime",),
}  # fmt: skip
EXTRAS = {
    "keras-torch": "keras-convert", "keras-tensorflow": "tensorflow", "saved-model": "tensorflow",
    "tflite": "tensorflow", "torch-export": "compress", "onnx": "serve",
}  # fmt: skip
_BACKENDS = {"keras-torch": "torch", "keras-tensorflow": "tensorflow"}
_ASK_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that has what a loader imports."""

    python: Path
    loader: str

    def environment(self, folder: Path) -> dict[str, str]:
        """The process's environment: this package's sources first, no GPU, and no settings of the user's Keras."""
        sources = str(Path(deepseek.__file__).parents[1])
        path = os.pathsep.join(filter(None, (sources, os.environ.get("PYTHONPATH", ""))))
        return os.environ | {
            "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "KERAS_BACKEND": _BACKENDS.get(self.loader, "tensorflow"),
            "KERAS_HOME": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0",
            "CUDA_VISIBLE_DEVICES": "-1", "TF_USE_LEGACY_KERAS": "0",
        }  # fmt: skip


def find_interpreter(loader: str, other: Path | None) -> Interpreter | None:
    """`other` where it is named and has the modules, else this Python; None where neither has. MissingError for an
    `other` that is no Python."""
    if other is not None and _has_modules(other, (*MODULES[loader], *_WORKER)):
        return Interpreter(other, loader)
    return Interpreter(Path(sys.executable), loader) if all(map(is_installed, (*MODULES[loader], *_WORKER))) else None


def missing_error(loaders: tuple[str, ...], other: Path | None) -> ExtraError:
    """What to install, where no Python has what the first of these loaders imports."""
    first = loaders[0]
    where = f"{other} has" if other is not None else "this Python has"
    extra = EXTRAS[first]
    own = " into an environment of its own, and name its Python with --python" if extra == "tensorflow" else ""
    return ExtraError(
        f"{where} no {' or no '.join((*MODULES[first], *_WORKER))}",
        expected=f"the extra {extra!r}",
        fix=install_advice(extra) + own,
    )


def _has_modules(python: Path, modules: tuple[str, ...]) -> bool:
    code = f"import importlib.util as u, sys; sys.exit(0 if all(map(u.find_spec, {modules!r})) else 9)"
    try:
        code_of_exit = subprocess.run(
            [str(python), "-P", "-c", code], check=False, capture_output=True, timeout=_ASK_LIMIT_S
        ).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(
            f"{python} is no Python that starts: {error}", expected="the path of a Python of 3.11 or later",
            fix="name it as .venv-tensorflow/bin/python",
        ) from error  # fmt: skip
    return code_of_exit == 0
