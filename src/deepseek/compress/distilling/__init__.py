"""Distillation: a small module is trained to reproduce a large one's outputs, on labeled and on unlabeled rows.

    student = init_student_from_layers(teacher, layers=2)                  # every third of six layers, copied
    done = distill(teacher, student, batches, DistillConfig(temperature=2.0, alpha=0.9), TrainConfig(epochs=5, lr=5e-4))
    done.share                                                      # of the teacher's parameters that the student has

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.compress.distilling.config import DistillConfig
    from deepseek.compress.distilling.start import init_student_from_layers
    from deepseek.compress.distilling.texts import TextBatches, augment_texts
    from deepseek.compress.distilling.training import DistillationResult, distill

__all__ = ["DistillConfig", "DistillationResult", "TextBatches", "augment_texts", "distill", "init_student_from_layers"]

_MODULES = {
    "DistillConfig": "config", "DistillationResult": "training", "TextBatches": "texts", "augment_texts": "texts",
    "distill": "training", "init_student_from_layers": "start",
}  # fmt: skip

__getattr__ = lazy_attributes(__name__, _MODULES)
