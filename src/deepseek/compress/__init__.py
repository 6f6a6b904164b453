"""Model -> smaller model, with figures: quantise, prune, distil, and a guard that keeps only what meets the limits.

    found = optimise("resnet.onnx", data, Limits(keep=0.99, min_speedup=2.0), out="small")
    found.verdicts          # each variant: MB, accuracy with interval, latency, accepted or why not

Nothing is returned that is slower or larger than what was given. Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazily

if TYPE_CHECKING:
    from deepseek.compress.distilling import DistillConfig, Distilled, distill, layer_initialised
    from deepseek.compress.limits import Limits
    from deepseek.compress.search import Found, optimise

__all__ = ["DistillConfig", "Distilled", "Found", "Limits", "distill", "layer_initialised", "optimise"]

_MODULES = {
    "DistillConfig": "distilling",
    "Distilled": "distilling",
    "Found": "search",
    "Limits": "limits",
    "distill": "distilling",
    "layer_initialised": "distilling",
    "optimise": "search",
}

__getattr__ = lazily(__name__, _MODULES)
