"""Figures of the test rows that contradict those of the rows that a model was chosen on."""

from __future__ import annotations

from deepseek.contracts import Figure, Task
from deepseek.look.contradictions import Contradiction
from deepseek.operating_point import Rate
from deepseek.train.tabular.metrics import METRICS, PairedFigures

#: Beside the metric that was searched by, these are compared: each further one is one more chance to be wrong.
_ALWAYS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


def find_contradictions(
    task: Task, searched: str, test: PairedFigures, validation: PairedFigures
) -> tuple[Contradiction, ...]:
    """Of the metric that was searched by and of the log loss (or RMSE): where the baseline is better on the test rows
    by more than chance, although it was not on the validation rows; and where the model is worse on the test rows
    than both intervals allow."""
    contradictions = []
    for name in dict.fromkeys((_ALWAYS[task], searched)):
        if name not in test.first or name not in validation.first:
            continue
        sign = 1 if METRICS[task][name].higher_is_better else -1
        ours, before = test.first[name], validation.first[name]
        if name in test.differences and name in validation.second:
            difference, other = test.differences[name], validation.second[name]
            is_worse = max(sign * difference.low, sign * difference.high) < 0
            if is_worse and sign * (before.value - other.value) >= 0:
                contradictions.append(
                    Contradiction(
                        "baseline", name, _rate(ours), _rate(test.second[name]), _rate(difference),
                        (before.value, other.value),
                    )
                )  # fmt: skip
        if max(sign * ours.low, sign * ours.high) < min(sign * before.low, sign * before.high):
            contradictions.append(Contradiction("validation", name, _rate(ours), _rate(before)))
    return tuple(contradictions)


def _rate(figure: Figure) -> Rate:
    return Rate(figure.value, figure.low, figure.high)
