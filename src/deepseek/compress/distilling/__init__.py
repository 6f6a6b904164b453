"""Distillation: a small module learns what a large one answers, on labelled rows and on rows that nobody labelled.

    student = layer_initialised(teacher, layers=2)                  # every third of six layers, copied
    done = distill(teacher, student, batches, DistillConfig(temperature=2.0, alpha=0.9), TrainConfig(epochs=5, lr=5e-4))
    done.share                                                      # of the teacher's parameters that the student has

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazily

if TYPE_CHECKING:
    from deepseek.compress.distilling.config import DistillConfig
    from deepseek.compress.distilling.start import layer_initialised
    from deepseek.compress.distilling.texts import TextRows, augmented
    from deepseek.compress.distilling.training import Distilled, distill

__all__ = ["DistillConfig", "Distilled", "TextRows", "augmented", "distill", "layer_initialised"]

_MODULES = {
    "DistillConfig": "config",
    "Distilled": "training",
    "TextRows": "texts",
    "augmented": "texts",
    "distill": "training",
    "layer_initialised": "start",
}

__getattr__ = lazily(__name__, _MODULES)
