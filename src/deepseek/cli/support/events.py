"""The rows that a bundle answers for: of a file as they are, or raw events with the features that its definition says.

with open_rows(bundle, data, history) as rows:
    for part in rows.parts(): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepseek.errors import DeepseekError, InputError

if TYPE_CHECKING:
    from deepseek.bundle import Bundle
    from deepseek.data import Table
    from deepseek.data.batches import TableFile
    from deepseek.features import FeatureDefinition

PART_ROWS = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class EventRows:
    """Events with their features, in memory, read like a TableFile."""

    table: Table

    @property
    def num_rows(self) -> int:
        return self.table.num_rows

    def parts(self) -> Iterator[Table]:
        """All rows in their order, a part at a time."""
        for start in range(0, self.num_rows, PART_ROWS):
            yield self.table.take(np.arange(start, min(start + PART_ROWS, self.num_rows)))


@contextmanager
def open_rows(
    bundle: Bundle, data: Path, history: Sequence[Path], progress: Callable[[int], None]
) -> Iterator[TableFile | EventRows]:
    """The rows of `data`; of a bundle with a definition of features as of the moment of each, by what happened in
    `data` and `history`. InputError where events are given to a model that reads none; `progress` gets rows checked."""
    from deepseek.data.batches import open_table
    from deepseek.features.tables import read_definition

    definition = read_definition(bundle)
    if definition is None:
        if history:
            raise _without_history(bundle.path)
        with open_table(data, progress) as table:
            yield table
        return
    yield EventRows(_compute(bundle, definition, data, history))


def event_table(bundle: Path, data: Path, history: Sequence[Path]) -> Table | None:
    """The columns that the model reads, for each raw event of `data`; None for a model that reads rows as they are,
    and for what is no bundle. InputError where history is given to such a model."""
    from deepseek.bundle import open_bundle
    from deepseek.features.tables import read_definition

    try:
        opened = open_bundle(bundle)
        definition = read_definition(opened)
    except DeepseekError:
        return None  # whoever opens the model says what it lacks
    if definition is not None:
        return _compute(opened, definition, data, history)
    if history:
        raise _without_history(bundle)
    return None


def _without_history(bundle: Path) -> InputError:
    return InputError(
        f"{bundle} computes nothing from history: it reads the columns of a row alone",
        expected="a bundle of deepseek recipe fraud", fix="leave --history out",
    )  # fmt: skip


def _compute(bundle: Bundle, definition: FeatureDefinition, data: Path, history: Sequence[Path]) -> Table:
    """The columns that the model reads, for each row of `data`."""
    from deepseek.data import read_table
    from deepseek.features.tables import add_features

    table = add_features(definition, read_table(data), [read_table(path) for path in history])
    inputs = {column.name for column in bundle.manifest.inputs}
    return table.drop([name for name in table.names if name not in inputs])
