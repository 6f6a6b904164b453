"""AdaptiveOptimizer for Keras 3, on its torch, TensorFlow and JAX backends.

    from deepseek.optimizers.keras import AdaptiveOptimizer
    model.compile(optimizer=AdaptiveOptimizer(initial_lr=0.001), loss="sparse_categorical_crossentropy")

Where nothing has chosen Keras' backend yet (KERAS_BACKEND is unset and Keras not imported), the import chooses torch,
on which the torch optimizer itself takes the steps. TensorFlow and JAX compile them (keras_compiled.py); a test holds
these to the torch optimizer's, step by step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepseek.optimizers.keras_backend import choose_backend, import_keras, keras_on_torch

if TYPE_CHECKING:
    from deepseek.optimizers.keras_torch import AdaptiveOptimizer

__all__ = ["AdaptiveOptimizer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if choose_backend() == "torch":
        keras_on_torch()
        from deepseek.optimizers.keras_torch import AdaptiveOptimizer

        return AdaptiveOptimizer
    import_keras()
    from deepseek.optimizers.keras_compiled import AdaptiveOptimizer as CompiledOptimizer

    return CompiledOptimizer
