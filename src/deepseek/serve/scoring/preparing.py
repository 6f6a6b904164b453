"""Features of the store to inputs of a model, compiled, where the model reads numbers of the store alone.

    prepare = CompiledPreparer.of(preprocessor, store.names)       # None where it reads something else
    prepare.inputs(features)                                       # (N, F), the bits of preprocessor.rows()

One way through the numbers of a row instead of ten through all rows, and no sentence about a number that is missing or
beyond training, which nobody reads here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.contracts import Float32
from deepseek.data import Preprocessor
from deepseek.data.features.rows import NumberPlan
from deepseek.data.table.values import FLOAT32_MAX
from deepseek.features.core.compilation import compile_cached
from deepseek.features.events import Longs
from deepseek.features.status import Doubles


@dataclass(frozen=True, slots=True, eq=False)
class CompiledPreparer:
    """P columns of a model among those of a store."""

    plan: NumberPlan
    columns: Longs  # (P,) where each stands among the features of the store

    @classmethod
    def of(cls, preprocessor: Preprocessor, names: Sequence[str]) -> CompiledPreparer | None:
        """For features of these names; None where the model reads another column, or one that is more than a number."""
        plan = preprocessor.number_plan
        if plan is None or not set(plan.names) <= set(names):
            return None
        return cls(plan, np.array([list(names).index(name) for name in plan.names], np.int64))

    def inputs(self, features: Doubles) -> Float32:
        """Inputs (N, F) of features (N, V)."""
        plan, inputs = self.plan, np.zeros((len(features), self.plan.num_features), np.float32)
        values = np.require(features, np.float64, ["C", "W"])  # the one form that is compiled
        fill_inputs(values, self.columns, plan.offsets, plan.medians, plan.places, plan.gap_places, FLOAT32_MAX, inputs)
        return inputs


@compile_cached
def fill_inputs(
    values: Any, columns: Any, offsets: Any, medians: Any, places: Any, gap_places: Any, largest: float, inputs: Any
) -> None:
    """Fills inputs (N, F), zeros before, from values (N, V): of each of P columns the number less its offset, or the
    median where it is missing or larger than `largest`, then with a 1 at its gap place where it has one (0 or more)."""
    for row in range(len(values)):
        for column in range(len(columns)):
            number = values[row, columns[column]] - offsets[column]
            if not abs(number) <= largest:
                number = medians[column] - offsets[column]
                if gap_places[column] >= 0:
                    inputs[row, gap_places[column]] = 1.0
            inputs[row, places[column]] = number + 0.0
