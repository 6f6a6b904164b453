"""How good remaining lives are, as the field measures it: root mean square error, the PHM08 score, coverage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepseek.contracts import Float64, JsonObject
from deepseek.train.tabular.group_intervals import IntervalGroup, half_widths

if TYPE_CHECKING:
    from deepseek.automl.pack import FinishedRun
    from deepseek.features.machines.definition import WindowDefinition

EARLY, LATE = 13.0, 10.0  # of the PHM08 score: too late costs more than too early


@dataclass(frozen=True, slots=True)
class LifeFigures:
    """Of rows whose remaining life is known, told up to the cap."""

    rmse: float
    score: float  # PHM08, as if there were a hundred rows
    coverage: float  # share inside the interval, 0..1
    mean_width: float  # of the interval
    num_rows: int
    num_machines: int

    def to_dict(self) -> JsonObject:
        return asdict(self)


def phm_score(target: Float64, value: Float64) -> float:
    """The sum over rows of exp(-d / 13) - 1 for d < 0 and exp(d / 10) - 1 else, d = value - target (Saxena et al. 2008,
    "Damage propagation modeling", section V).

    >>> round(phm_score(np.array([50.0, 50.0]), np.array([50.0, 60.0])), 3)
    1.718
    """
    late = value - target
    return float(np.where(late < 0, np.exp(-late / EARLY) - 1, np.exp(late / LATE) - 1).sum())


def measure_lives(
    finished: FinishedRun, definition: WindowDefinition, groups: tuple[IntervalGroup, ...]
) -> LifeFigures:
    """Of the exported model on the rows to test on."""
    value = np.clip(finished.test.output[:, 0], 0.0, definition.cap)
    target = finished.test.target
    width = half_widths(groups, value)
    low, high = np.maximum(value - width, 0.0), np.minimum(value + width, definition.cap)
    return LifeFigures(
        rmse=float(np.sqrt(np.mean((value - target) ** 2))),
        score=100 * phm_score(target, value) / len(target),
        coverage=float(np.mean((low <= target) & (target <= high))),
        mean_width=float(np.mean(high - low)),
        num_rows=len(target),
        num_machines=len(set(finished.data.test.column(definition.unit).tolist())),
    )
