"""Which rows of a table a bundle has learned from: figures on these flatter it.

A bundle holds no rows, but the digest of those that it learned from, and how they were drawn: where the same split of
this table has that digest, these are the rows.
"""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import Manifest
from deepseek.contracts import Task
from deepseek.data import Table, split_table
from deepseek.errors import DeepseekError


def learned_rows(manifest: Manifest, table: Table) -> NDArray[np.int64] | None:
    """The rows of `table` (M,) that the bundle has learned from; None where nobody can say, as for another table."""
    lineage = manifest.lineage
    if lineage.data is None:
        return None
    if table.digest() == lineage.data:
        return np.arange(table.num_rows)
    split = lineage.config.get("split")
    if not isinstance(split, str):
        return None
    with suppress(DeepseekError):  # this table cannot be split like that one
        parts = split_table(
            table, split=split, target=manifest.target, task=cast("Task", manifest.task), seed=lineage.seed,
            validation_share=0.0,
        )  # fmt: skip
        rows = np.concatenate([parts.train, parts.validation])
        if table.take(rows).digest() == lineage.data:
            return rows
    return None
