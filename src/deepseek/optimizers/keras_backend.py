"""Keras on its torch backend, or an error that says what to set."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from deepseek.errors import InputError
from deepseek.extras import need


def keras_on_torch() -> ModuleType:
    """Keras. ExtraError when it or torch is not installed, InputError when it runs on another backend."""
    need("torch", extra="train")
    running = sys.modules.get("keras")
    backend = running.config.backend() if running else os.environ.setdefault("KERAS_BACKEND", "torch")
    if backend != "torch":
        raise InputError(
            f"Keras runs on {backend}",
            expected="its torch backend: the steps are those of the torch optimizer",
            fix="set KERAS_BACKEND=torch before Keras is imported",
        )
    return need("keras", extra="keras")
