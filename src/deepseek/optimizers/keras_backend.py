"""Keras on a backend that this package's optimizer runs on, or an error that says what to set."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from deepseek.errors import InputError
from deepseek.extras import need

BACKENDS = ("torch", "tensorflow", "jax")


def choose_backend() -> str:
    """The backend that Keras runs on, or will run on: torch where nothing has chosen yet. InputError for another than
    BACKENDS."""
    running = sys.modules.get("keras")
    backend = running.config.backend() if running else os.environ.setdefault("KERAS_BACKEND", "torch")
    if backend not in BACKENDS:
        raise InputError(
            f"Keras runs on {backend}", expected=f"one of {', '.join(BACKENDS)}",
            fix="set KERAS_BACKEND=torch before Keras is imported",
        )  # fmt: skip
    return str(backend)


def import_keras() -> ModuleType:
    """Keras. ExtraError when it is not installed, InputError when it runs on another backend."""
    choose_backend()
    return need("keras", extra="keras")


def keras_on_torch() -> ModuleType:
    """Keras. ExtraError when it or torch is not installed, InputError when it runs on another backend."""
    need("torch", extra="train")
    if (backend := choose_backend()) != "torch":
        raise InputError(
            f"Keras runs on {backend}", expected="its torch backend",
            fix="set KERAS_BACKEND=torch before Keras is imported",
        )  # fmt: skip
    return need("keras", extra="keras")
