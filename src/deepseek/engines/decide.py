"""From scores to answers: threshold, cost matrix, intervals, as decision.json states them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.agreement import DECISION
from deepseek.bundle.fields import parse_json_object
from deepseek.bundle.manifest import THRESHOLD_RANGE, is_threshold
from deepseek.contracts import Flag, Float32, Float64, Prediction, Task
from deepseek.errors import IntegrityError

FloatT = TypeVar("FloatT", np.float32, np.float64)
MAX_FLOAT32 = float(np.finfo(np.float32).max)
MAX_GROUPS = 1_000  # of intervals


@dataclass(frozen=True, slots=True, eq=False)
class TabularPrediction(Prediction):
    """Classes or values, which a notebook shows as a table of the first rows."""

    def _repr_html_(self) -> str:
        from deepseek.look.notebook.answers import prediction_card
        from deepseek.look.summary import flag_lines

        flags = flag_lines(Counter((flag.column, flag.what) for flag in self.flags))
        ends = None if self.intervals is None else self.intervals.tolist()
        if self.labels is None or self.probabilities is None:
            values = [] if self.values is None else self.values.tolist()
            return prediction_card(values=values, intervals=ends, flags=flags)
        return prediction_card(
            classes=self.labels_known, labels=self.labels.tolist(), probabilities=self.probabilities.tolist(),
            flags=flags,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decision:
    """How a model's output becomes an answer.

    >>> Decision("binary", ("no", "yes"), threshold=0.2).apply(np.array([[0.7, 0.3]], np.float32)).labels.tolist()
    ['yes']
    """

    task: Task
    labels: tuple[str, ...]  # classes in order; empty for regression
    threshold: float | None = None  # binary: "yes" from this probability on; 0.5 when absent
    costs: Float64 | None = None  # multiclass (C, C): costs[truth][decision]
    half_width: float | None = None  # regression: of the interval
    level: float | None = None  # the share of values that the interval should hold
    group_starts: tuple[float, ...] = ()  # regression: values from which on the next width holds, ascending
    group_half_widths: tuple[float, ...] = ()  # one more than starts; () where half_width is that of all
    interval_floor: float | None = None  # regression: no lower end is below it, unless the value itself is
    low: float | None = None  # regression: values and intervals end here
    high: float | None = None
    _names: NDArray[np.str_] = field(init=False, repr=False, compare=False)
    _positive_from: np.float32 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", np.asarray(self.labels))
        # in float32, as the probabilities are: rounding both keeps one that equals the threshold on its side
        object.__setattr__(self, "_positive_from", np.float32(0.5 if self.threshold is None else self.threshold))

    @classmethod
    def from_bytes(cls, data: bytes, *, task: Task, labels: tuple[str, ...]) -> Decision:
        """From decision.json: {"threshold", "costs", "interval": {"level", "half_width", "groups", "floor"},
        "range"}, each null or absent. IntegrityError for rules that cannot be followed: a threshold that is no
        probability, costs that are not one number for each pair of labels, an interval without a width, a range whose
        ends are turned."""
        document = parse_json_object(data, DECISION)
        threshold, costs, interval = document.get("threshold"), document.get("costs"), document.get("interval")
        if threshold is not None and not (_is_number(threshold) and is_threshold(threshold)):
            raise _invalid_decision_error(f"threshold is {repr(threshold)[:80]}", THRESHOLD_RANGE)
        if interval is not None and not _is_interval(interval):
            raise _invalid_decision_error(
                f"interval is {repr(interval)[:80]}", "a level between 0 and 1 and a half_width from 0 on"
            )
        interval = interval or {}
        half_width = None if interval.get("half_width") is None else float(interval["half_width"])
        matrix = None if costs is None else _parse_cost_matrix(costs, len(labels))
        starts, widths = _parse_groups(interval.get("groups"))
        low, high = _parse_range(document.get("range"))
        level, floor = interval.get("level"), interval.get("floor")
        return cls(task, labels, threshold, matrix, half_width, level, starts, widths, floor, low, high)

    def apply(self, output: Float32, flags: Sequence[Flag] = ()) -> Prediction:
        """Answers for outputs (N, C) or (N, 1)."""
        if self.task == "regression":
            values = self.clip(output[:, 0])
            return TabularPrediction(values=values, intervals=self._intervals(values), flags=tuple(flags))
        return TabularPrediction(self.labels, self._names[self.classes(output)], output, flags=tuple(flags))

    def classes(self, output: Float32) -> NDArray[np.int64]:
        """The class number (N,) of each row of outputs (N, C), by threshold, costs or the largest probability."""
        if self.task == "binary":
            positive: NDArray[np.int64] = (output[:, 1] >= self._positive_from).astype(np.int64)
            return positive
        gain = output if self.costs is None else -(output.astype(np.float64) @ self.costs)
        best: NDArray[np.int64] = gain.argmax(axis=1).astype(np.int64)
        return best

    def _intervals(self, values: Float32) -> Float32 | None:
        if self.half_width is None:
            return None
        half: Any = np.float32(self.half_width)
        if self.group_half_widths:
            place = np.searchsorted(np.array(self.group_starts, np.float32), values, side="right")
            half = np.array(self.group_half_widths, np.float32)[place]
        lower, upper = values - half, values + half
        if self.interval_floor is not None:
            lower = np.maximum(lower, np.minimum(values, np.float32(self.interval_floor)))
        return self.clip(np.stack([lower, upper], axis=1))

    def clip(self, values: NDArray[FloatT]) -> NDArray[FloatT]:
        """Numbers within the range of the target, NaN as it is."""
        if self.low is None and self.high is None:
            return values
        return np.clip(values, self.low, self.high).astype(values.dtype)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_interval(interval: object) -> bool:
    """Whether it is an object whose half width, level and floor, where given, can be used."""
    if not isinstance(interval, dict):
        return False
    half_width, level = interval.get("half_width"), interval.get("level")
    has_width = half_width is None or (_is_number(half_width) and 0 <= half_width <= MAX_FLOAT32)
    floor = interval.get("floor")
    has_width = has_width and (floor is None or (_is_number(floor) and abs(floor) <= MAX_FLOAT32))
    return bool(has_width and (level is None or (_is_number(level) and 0 < level < 1)))


def _parse_groups(groups: object) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Starts (G - 1) and half widths (G) of decision.json's groups [{"start": null or number, "half_width"}, ...], of
    which the first alone has no start. IntegrityError for anything else."""
    if groups is None:
        return (), ()
    entries = groups if isinstance(groups, list) else []
    starts: list[Any] = [entry.get("start") for entry in entries if isinstance(entry, dict)]
    widths: list[Any] = [entry.get("half_width") for entry in entries if isinstance(entry, dict)]
    good = bool(entries) and len(starts) == len(entries) <= MAX_GROUPS and starts[0] is None
    good = good and all(_is_number(start) and abs(start) <= MAX_FLOAT32 for start in starts[1:])
    good = good and all(_is_number(width) and 0 <= width <= MAX_FLOAT32 for width in widths)
    if not good or sorted(starts[1:]) != starts[1:]:
        raise _invalid_decision_error(
            f"interval.groups is {repr(groups)[:80]}", "groups with ascending starts, and a half_width from 0 on each"
        )
    return tuple(map(float, starts[1:])), tuple(map(float, widths))


def _parse_range(ends: object) -> tuple[float | None, float | None]:
    """The two ends of decision.json's range [low, high]. IntegrityError for anything else."""
    if ends is None:
        return None, None
    if not (isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends)) and ends[0] < ends[1]):
        raise _invalid_decision_error(f"range is {repr(ends)[:80]}", "two numbers, the smaller first, or null")
    return float(ends[0]), float(ends[1])


def _parse_cost_matrix(costs: Any, size: int) -> Float64:
    """The costs of decision.json as (C, C) finite numbers. IntegrityError for anything else."""
    try:
        matrix = np.asarray(costs, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise _invalid_decision_error(
            f"costs is no table of numbers ({str(error)[:80]})", f"{size} rows of {size} numbers"
        ) from error
    if matrix.shape != (size, size) or not np.isfinite(matrix).all():
        raise _invalid_decision_error(
            f"costs has the shape {list(matrix.shape)}", f"{size} rows of {size} finite numbers"
        )
    return matrix


def _invalid_decision_error(what: str, expected: str) -> IntegrityError:
    return IntegrityError(
        f"{DECISION} does not say how to decide: {what}",
        expected=expected,
        fix="make the bundle again, or take an unharmed copy",
    )
