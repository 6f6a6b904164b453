"""Model -> smaller model, with figures: quantise, prune, distil, and a guard that keeps only what meets the limits.

    found = optimise("resnet.onnx", data, Limits(keep=0.99, min_speedup=2.0), out="small")
    found.verdicts          # each variant: MB, accuracy with interval, latency, accepted or why not

Nothing is returned that is slower or larger than what was given. Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazily

if TYPE_CHECKING:
    from deepseek.compress.pruning.apply import GroupReport, Pruned, PruningReport, prune, prune_to
    from deepseek.compress.pruning.knobs import Pruning
    from deepseek.compress.pruning.repair import Repaired, Teaching, prune_and_repair, repair

__all__ = [
    "GroupReport", "Pruned", "Pruning", "PruningReport", "Repaired", "Teaching", "prune", "prune_and_repair",
    "prune_to", "repair",
]  # fmt: skip

_MODULES = {
    "GroupReport": "pruning.apply",
    "Pruned": "pruning.apply",
    "Pruning": "pruning.knobs",
    "PruningReport": "pruning.apply",
    "Repaired": "pruning.repair",
    "Teaching": "pruning.repair",
    "prune": "pruning.apply",
    "prune_and_repair": "pruning.repair",
    "prune_to": "pruning.apply",
    "repair": "pruning.repair",
}

__getattr__ = lazily(__name__, _MODULES)
