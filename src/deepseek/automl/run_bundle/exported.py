"""What the export of a module gives, whatever its rows are: the files of a bundle, and how to ask its graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import EngineEntry, Input
from deepseek.contracts import Float64


@dataclass(frozen=True, slots=True, eq=False)
class ExportedModule:
    """A module as the files of a bundle, held to the module on real rows and on rows at the edge."""

    inputs: tuple[Input, ...]
    engine: EngineEntry
    files: dict[str, bytes]  # by path in the bundle
    documents: dict[str, object]  # further JSON files
    kinds: dict[str, str]  # of the columns
    #: Rows as the run's data has them -> outputs (N, C) or (N, 1) of the exported graph.
    outputs: Callable[[NDArray[Any]], Float64]
    warnings: tuple[str, ...] = field(default=())


def class_targets(target: NDArray[Any], num_classes: int) -> NDArray[Any] | None:
    """Targets of a loss as class numbers (N,), or as values (N,) without classes; None for what is neither, such as
    shares of classes.

    >>> class_targets(np.array([[0.0], [1.0]]), 2).tolist(), class_targets(np.eye(3), 3)
    ([0, 1], None)
    """
    flat = target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target
    if flat.ndim != 1 or not len(flat):
        return None
    if not num_classes:
        return flat.astype(np.float64)
    codes = flat.astype(np.int64)
    return codes if (codes == flat).all() and codes.min() >= 0 and codes.max() < num_classes else None


def prior_outputs(target: NDArray[Any] | None, num_classes: int) -> Float64:
    """What is known of a row of which nothing is: (C,) the share of each class, never 0, or (1,) the mean. `target`:
    class numbers or values of the training rows; None where they are neither."""
    if not num_classes:
        return np.array([0.0 if target is None else float(target.mean())])
    counts = np.zeros(num_classes) if target is None else np.bincount(target, minlength=num_classes)
    share: Float64 = (counts + 1) / (counts.sum() + num_classes)
    return share
