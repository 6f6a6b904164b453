"""Tables to try everything with, none of them downloaded: two that scikit-learn carries, and our own simulator's.

>>> table, target, description = load_example("cancer")
>>> table.num_rows, target
(569, 'diagnosis')
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek.data.table.synth import simulate_fraud
from deepseek.data.table.table import ColumnType, Table
from deepseek.errors import MissingError
from deepseek.extras import need
from deepseek.plugins import did_you_mean

Example = tuple[Table, str, str]


def load_example(name: str) -> Example:
    """The table, its target and where it comes from. MissingError for a name that is not in EXAMPLES."""
    if name not in EXAMPLES:
        raise MissingError(
            f"there is no example {name!r}.{did_you_mean(name, EXAMPLES)}",
            expected=", ".join(EXAMPLES),
            fix="choose one of these",
        )
    return EXAMPLES[name]()


def _load_cancer() -> Example:
    data = need("sklearn.datasets", extra="tabular").load_breast_cancer()
    words = np.array(data.target_names, object)[data.target]
    what = "Breast Cancer Wisconsin (Diagnostic): 569 tumours, 30 measures of their cell nuclei (Street et al. 1993)"
    return _example_table(data, "diagnosis", "text", words), "diagnosis", what


def _load_digits() -> Example:
    data = need("sklearn.datasets", extra="tabular").load_digits()
    what = "handwritten digits: 1,797 pictures of 8 x 8 grey values (Alpaydin and Kaynak 1998)"
    return _example_table(data, "digit", "number", data.target.astype(np.float64)), "digit", what


def _load_fraud() -> Example:
    table = simulate_fraud()
    return table, "fraud", f"{table.num_rows} simulated card payments; no real person or card is in them"


def _example_table(data: Any, target: str, kind: ColumnType, answers: Any) -> Table:
    names = [str(name).replace(" ", "_") for name in data.feature_names]
    columns = {name: data.data[:, place].astype(np.float64) for place, name in enumerate(names)}
    types: dict[str, ColumnType] = dict.fromkeys(names, "number")
    return Table({**columns, target: answers}, {**types, target: kind})


EXAMPLES: dict[str, Callable[[], Example]] = {"cancer": _load_cancer, "digits": _load_digits, "fraud": _load_fraud}
