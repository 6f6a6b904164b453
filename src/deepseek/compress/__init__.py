"""Model -> smaller model, with figures: quantize, prune, distill, and a guard that keeps only what meets the limits.

    result = optimize("resnet.onnx", "validation.npz", Limits(keep=0.99, min_speedup=2.0), out="small")
    result.rows             # each variant: MB, score with interval, latency, accepted or why not
    pruned = prune(module, example, Pruning(drop=0.3))          # the parts by themselves, for torch modules

No variant is written that is slower or larger than the original model. Names are imported when they are first used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.compress.distilling import DistillationResult, DistillConfig, distill, init_student_from_layers
    from deepseek.compress.limits import Limits
    from deepseek.compress.pruning.apply import GroupReport, PruningReport, PruningResult, prune, prune_to
    from deepseek.compress.pruning.config import Pruning
    from deepseek.compress.pruning.repair import RepairResult, TeacherConfig, prune_and_repair, repair
    from deepseek.compress.results import CompressionResult
    from deepseek.compress.search import ProgressCallback, optimize

__all__ = [
    "CompressionResult", "DistillConfig", "DistillationResult", "GroupReport", "Limits", "Pruning", "PruningReport",
    "PruningResult", "RepairResult", "TeacherConfig", "distill", "init_student_from_layers", "optimize", "prune",
    "prune_and_repair", "prune_to", "repair",
]  # fmt: skip

_MODULES = {
    "CompressionResult": "results", "DistillConfig": "distilling", "DistillationResult": "distilling",
    "GroupReport": "pruning.apply", "Limits": "limits", "Pruning": "pruning.config", "PruningReport": "pruning.apply",
    "PruningResult": "pruning.apply", "RepairResult": "pruning.repair", "TeacherConfig": "pruning.repair",
    "distill": "distilling", "init_student_from_layers": "distilling", "optimize": "search", "prune": "pruning.apply",
    "prune_and_repair": "pruning.repair", "prune_to": "pruning.apply", "repair": "pruning.repair",
}  # fmt: skip

#: Names of the last release.
_RENAMED = {
    "Distilled": "DistillationResult",
    "Found": "CompressionResult",
    "Pruned": "PruningResult",
    "Repaired": "RepairResult",
    "Teaching": "TeacherConfig",
    "layer_initialised": "init_student_from_layers",
    "optimise": "optimize",
}

__getattr__ = lazy_attributes(__name__, _MODULES, _RENAMED)


class _CallablePackage(ModuleType):
    """`deepseek.compress(...)` is `deepseek.compress.optimize(...)`; docs/decisions/0014 says why a package can be
    called."""

    def __call__(
        self,
        model: str | Path,
        data: str | Path | None,
        limits: Limits | None = None,
        *,
        train: str | Path | None = None,
        student: str | None = None,
        methods: Sequence[str] | None = None,
        out: str | Path | None = None,
        overwrite: bool = False,
        seed: int = 0,
        budget_s: float = 6.0,
        progress: ProgressCallback | None = None,
    ) -> CompressionResult:
        """See optimize()."""
        from deepseek.compress.search import optimize

        return optimize(
            model, data, limits, train=train, student=student, methods=methods, out=out, overwrite=overwrite,
            seed=seed, budget_s=budget_s, progress=progress,
        )  # fmt: skip


sys.modules[__name__].__class__ = _CallablePackage
