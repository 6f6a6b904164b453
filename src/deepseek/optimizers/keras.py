"""AdaptiveOptimizer for Keras 3, on its torch backend.

    from deepseek.optimizers.keras import AdaptiveOptimizer
    model.compile(optimizer=AdaptiveOptimizer(initial_lr=0.001), loss="sparse_categorical_crossentropy")

Where nothing has chosen Keras' backend yet (KERAS_BACKEND is unset and Keras not imported), the import chooses torch.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deepseek.errors import InputError
from deepseek.extras import need

if TYPE_CHECKING:
    from deepseek.optimizers.keras_torch import AdaptiveOptimizer

__all__ = ["AdaptiveOptimizer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    keras_on_torch()
    from deepseek.optimizers.keras_torch import AdaptiveOptimizer

    return AdaptiveOptimizer


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
