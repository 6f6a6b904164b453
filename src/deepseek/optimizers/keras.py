"""AdaptiveOptimizer for Keras 3, on its torch backend.

    from deepseek.optimizers.keras import AdaptiveOptimizer
    model.compile(optimizer=AdaptiveOptimizer(initial_lr=0.001), loss="sparse_categorical_crossentropy")

Where nothing has chosen Keras' backend yet (KERAS_BACKEND is unset and Keras not imported), the import chooses torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepseek.optimizers.keras_backend import keras_on_torch

if TYPE_CHECKING:
    from deepseek.optimizers.keras_torch import AdaptiveOptimizer

__all__ = ["AdaptiveOptimizer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    keras_on_torch()
    from deepseek.optimizers.keras_torch import AdaptiveOptimizer

    return AdaptiveOptimizer
