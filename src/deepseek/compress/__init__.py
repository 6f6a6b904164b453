"""Model -> smaller model, with figures: quantise, prune, distil, and a guard that keeps only what meets the limits.

    found = optimise("resnet.onnx", "validation.npz", Limits(keep=0.99, min_speedup=2.0), out="small")
    found.rows              # each variant: MB, score with interval, latency, accepted or why not
    pruned = prune(module, example, Pruning(drop=0.3))          # the parts by themselves, for torch modules

Nothing is written that is slower or larger than what was given. Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazily

if TYPE_CHECKING:
    from deepseek.compress.distilling import DistillConfig, Distilled, distill, layer_initialised
    from deepseek.compress.limits import Limits
    from deepseek.compress.pruning.apply import GroupReport, Pruned, PruningReport, prune, prune_to
    from deepseek.compress.pruning.knobs import Pruning
    from deepseek.compress.pruning.repair import Repaired, Teaching, prune_and_repair, repair
    from deepseek.compress.results import Found
    from deepseek.compress.search import optimise

__all__ = [
    "DistillConfig", "Distilled", "Found", "GroupReport", "Limits", "Pruned", "Pruning", "PruningReport", "Repaired",
    "Teaching", "distill", "layer_initialised", "optimise", "prune", "prune_and_repair", "prune_to", "repair",
]  # fmt: skip

_MODULES = {
    "DistillConfig": "distilling",
    "Distilled": "distilling",
    "Found": "search",
    "GroupReport": "pruning.apply",
    "Limits": "limits",
    "Pruned": "pruning.apply",
    "Pruning": "pruning.knobs",
    "PruningReport": "pruning.apply",
    "Repaired": "pruning.repair",
    "Teaching": "pruning.repair",
    "distill": "distilling",
    "layer_initialised": "distilling",
    "optimise": "search",
    "prune": "pruning.apply",
    "prune_and_repair": "pruning.repair",
    "prune_to": "pruning.apply",
    "repair": "pruning.repair",
}

__getattr__ = lazily(__name__, _MODULES)
