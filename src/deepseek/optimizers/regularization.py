"""Dropout, label smoothing and weight decay by the gap between training and validation loss.

    handle = optimizer.attach(model)
    optimizer.report(train_loss=0.31, val_loss=0.47)
    loss = F.cross_entropy(output, target, label_smoothing=handle.label_smoothing)

The level s in [0, 1] rises by RISE when the validation loss is above its best while the training loss is below its own
(the model learns what does not carry over), and falls by FALL when the validation loss is at a new best. From it:

    dropout p = p_0 + s (max(p_0, min(2 p_0, 0.5)) - p_0)     label smoothing = 0.1 s     weight decay times 1 + 9 s
"""

from __future__ import annotations

import math
from typing import TypedDict

from torch import nn

from deepseek.optimizers.regularization_level import RegularizationLevel

MAX_DROPOUT = 0.5


class RegularizationState(TypedDict, total=False):
    """What a checkpoint holds of Regularization."""

    level: float  # 0 to 1
    best_train: float  # the least training loss so far
    best_val: float


class Regularization(RegularizationLevel):
    """The level of regularization, and the dropout, label smoothing and weight decay that follow from it."""

    def __init__(self) -> None:
        super().__init__()
        self._dropouts: list[tuple[nn.modules.dropout._DropoutNd, float]] = []

    def attach(self, model: nn.Module) -> None:
        """Move this model's dropout from now on; a layer with p = 0 stays as it is."""
        dropouts = (module for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd))
        self._dropouts = [(module, module.p) for module in dropouts]
        self._apply()

    def report(self, train_loss: float, val_loss: float) -> None:
        """Take in two losses. InputError when one is not a number."""
        super().report(train_loss, val_loss)
        self._apply()

    def state_dict(self) -> RegularizationState:
        """What a checkpoint holds of it."""
        return {"level": self.level, "best_train": self._best_train, "best_val": self._best_val}

    def load_state_dict(self, state: RegularizationState) -> None:
        """Take up what state_dict() gave; {} begins anew."""
        self.load([state.get("level", 0.0), state.get("best_train", math.inf), state.get("best_val", math.inf)])
        self._apply()

    def _apply(self) -> None:
        for module, first in self._dropouts:
            module.p = first + self.level * (max(first, min(2 * first, MAX_DROPOUT)) - first)
