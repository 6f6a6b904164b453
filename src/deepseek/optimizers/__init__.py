"""Optimizers for torch that adjust themselves while they train.

from deepseek.optimizers import AdaptiveOptimizer
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepseek.optimizers.adaptive import AdaptiveOptimizer

__all__ = ["AdaptiveOptimizer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from deepseek.extras import need

    need("torch", extra="train")
    from deepseek.optimizers.adaptive import AdaptiveOptimizer

    return AdaptiveOptimizer
