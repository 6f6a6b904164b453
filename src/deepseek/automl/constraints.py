"""What a person may demand of the rows, the classes and the decision: checked before the search begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.options import ShipOptions
from deepseek.contracts import Task
from deepseek.data import Table, encode_target
from deepseek.errors import InputError
from deepseek.train.tabular.decide import check_costs


def check_classes(development: Table, target: str, labels: tuple[str, ...]) -> None:
    """Every class must be among the rows that teach."""
    if not labels:
        return
    counts = np.bincount(encode_target(development, target, labels), minlength=len(labels))
    least = 2 if len(labels) == 2 else 1  # of two classes each must teach and judge; a rare one of many need not judge
    for label, count in zip(labels, counts, strict=True):
        if count < least:
            raise InputError(
                f"class {label!r} of {target!r} has {count} training rows",
                expected=f"at least {least}, besides the test rows",
                fix="bring more of them, move the boundary of the split, or leave the class out",
            )


def order_labels(labels: tuple[str, ...], positive: str | None) -> tuple[str, ...]:
    """The labels with the positive one of two at the end."""
    if positive is None:
        return labels
    if len(labels) != 2 or positive not in labels:
        raise InputError(
            f"positive is {positive!r}",
            expected=f"one of two classes; the target has {', '.join(labels[:20]) or 'none'}",
            fix="name one of its two classes, or leave positive out",
        )
    return (*(label for label in labels if label != positive), positive)


def check_constraints(options: ShipOptions, task: Task, labels: tuple[str, ...]) -> None:
    """What a decision may be asked for, by the task. InputError for a wish that would be passed over."""
    limits = [name for name in ("max_fpr", "min_recall") if getattr(options, name) is not None]
    if limits and task != "binary":
        fix = "use costs for several classes" if task == "multiclass" else "leave it out"
        raise InputError(f"{limits[0]} needs a target of two classes", expected=f"no limit for {task}", fix=fix)
    if options.costs is None:
        return
    if task == "regression":
        raise InputError("costs need a target of classes", expected="no costs for regression", fix="leave them out")
    if limits:
        raise InputError(
            f"costs and {limits[0]} both set the threshold", expected="one of them", fix="leave one of them out"
        )
    check_costs(options.costs, labels)


def row_weights(table: Table, column: str | None) -> NDArray[np.float64]:
    """Sample weights of mean 1."""
    if column is None:
        return np.ones(table.num_rows)
    weight = check_weights(table, column)
    if not weight.any():
        raise _weights_error(column)
    weight = weight / weight.max()  # a sum of large ones would be infinite
    return np.asarray(weight / weight.mean(), np.float64)


def check_weights(table: Table, column: str) -> NDArray[np.float64]:
    """Sample weights as they stand in the table. InputError for what are no weights."""
    weight = table.column(column)
    if weight.dtype.kind != "f" or not np.isfinite(weight).all() or (weight < 0).any():
        raise _weights_error(column)
    return weight


def _weights_error(column: str) -> InputError:
    return InputError(
        f"the weights in {column!r} are not all numbers >= 0",
        expected="finite numbers, not all zero",
        fix="mend the column, or use another one",
    )
