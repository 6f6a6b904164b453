"""How strongly a training is regularized, by the gap between training and validation loss; regularization.py says how.

    level = RegularizationLevel()
    level.report(train_loss=0.31, val_loss=0.47)
    level.level, level.label_smoothing, level.decay_factor

It needs no framework: what moves with it is torch's or Keras' own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from deepseek.errors import InputError

RISE, FALL = 0.1, 0.05
MAX_SMOOTHING, MAX_DECAY_FACTOR = 0.1, 10.0


class RegularizationLevel:
    """The level, 0 to 1, and the least losses so far."""

    MAX_EXTRA_DECAY = MAX_DECAY_FACTOR - 1

    def __init__(self) -> None:
        self.level = 0.0
        self._best_train = self._best_val = math.inf

    @property
    def label_smoothing(self) -> float:
        """The label smoothing to use now, 0 to MAX_SMOOTHING."""
        return MAX_SMOOTHING * self.level

    @property
    def decay_factor(self) -> float:
        """What the weight decay is multiplied by now, 1 to MAX_DECAY_FACTOR."""
        return 1 + self.MAX_EXTRA_DECAY * self.level

    def report(self, train_loss: float, val_loss: float) -> None:
        """Take in two losses. InputError when one is not a number."""
        for name, value in (("train_loss", train_loss), ("val_loss", val_loss)):
            if not math.isfinite(value):
                raise InputError(
                    f"{name} is {value}", expected="a finite loss", fix="lower initial_lr, or look at the data for NaN"
                )
        if val_loss < self._best_val:
            self.level = max(0.0, self.level - FALL)
        elif train_loss < self._best_train:
            self.level = min(1.0, self.level + RISE)
        self._best_train = min(self._best_train, train_loss)
        self._best_val = min(self._best_val, val_loss)

    def values(self) -> list[float]:
        """The level and the least losses, as load() takes them."""
        return [self.level, self._best_train, self._best_val]

    def load(self, values: Sequence[float]) -> None:
        """Take up what values() gave."""
        self.level, self._best_train, self._best_val = (float(value) for value in values)
