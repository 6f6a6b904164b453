"""From scores to answers: threshold, cost matrix, intervals, as decision.json states them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Flag, Float32, Float64, Prediction, Task
from deepseek.errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Decision:
    """How a model's output becomes an answer.

    >>> Decision("binary", ("no", "yes"), threshold=0.2).apply(np.array([[0.7, 0.3]], np.float32)).labels.tolist()
    ['yes']
    """

    task: Task
    labels: tuple[str, ...]  # classes in order; empty for regression
    threshold: float | None = None  # binary: "yes" from this chance on; 0.5 when absent
    costs: Float64 | None = None  # multiclass (C, C): costs[truth][decision]
    half_width: float | None = None  # regression: of the interval
    level: float | None = None  # the share of values that the interval should hold
    _names: NDArray[np.str_] = field(init=False, repr=False, compare=False)
    _least: np.float32 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", np.asarray(self.labels))
        # in float32, as the chances are: rounding both keeps a chance that equals the threshold on its side
        object.__setattr__(self, "_least", np.float32(0.5 if self.threshold is None else self.threshold))

    @classmethod
    def from_bytes(cls, data: bytes, *, task: Task, labels: tuple[str, ...]) -> Decision:
        """From decision.json: {"threshold", "costs", "interval": {"level", "half_width"}}, each null or absent."""
        try:
            told = json.loads(data)
            interval = told.get("interval") or {}
            costs = told.get("costs")
            return cls(
                task, labels, told.get("threshold"), None if costs is None else np.asarray(costs, np.float64),
                interval.get("half_width"), interval.get("level"),
            )  # fmt: skip
        except (ValueError, AttributeError, TypeError) as error:
            raise IntegrityError(
                f"decision.json does not say how to decide: {error}",
                expected="the rules that ship writes",
                fix="make the bundle again, or take an unharmed copy",
            ) from error

    def apply(self, output: Float32, flags: Sequence[Flag] = ()) -> Prediction:
        """Answers for outputs (N, C) or (N, 1)."""
        if self.task == "regression":
            return Prediction(values=output[:, 0], intervals=self._intervals(output[:, 0]), flags=tuple(flags))
        return Prediction(self.labels, self._names[self.classes(output)], output, flags=tuple(flags))

    def classes(self, output: Float32) -> NDArray[np.int64]:
        """The class number of each row of outputs (N, C)."""
        if self.task == "binary":
            positive: NDArray[np.int64] = (output[:, 1] >= self._least).astype(np.int64)
            return positive
        gain = output if self.costs is None else -(output.astype(np.float64) @ self.costs)
        best: NDArray[np.int64] = gain.argmax(axis=1).astype(np.int64)
        return best

    def _intervals(self, values: Float32) -> Float32 | None:
        if self.half_width is None:
            return None
        half = np.float32(self.half_width)
        return np.stack([values - half, values + half], axis=1)
