"""N rows held by column: what a tensor, an Arrow batch or a message of many rows brings, without a record for each row.

    rows = ColumnarRows(("age", "income"), np.array([[61.0, 48000.0], [33.5, np.nan]]))    # one matrix of numbers
    rows = ColumnarRows(("age", "purpose"), [[61.0, 33.5], ["car", None]])                 # or one sequence for each
    column

To who asks for a row they are a sequence of records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Record
from deepseek.data.table.values import Values, to_python


class ColumnarRows(Sequence[Record]):
    """Rows by column, in any order of the columns.

    `values` is a matrix (N, P) of numbers or booleans, NaN where one is missing; or N values for each of the P names.

    >>> rows = ColumnarRows(("age", "purpose"), [[61.0, float("nan")], ["car", None]])
    >>> len(rows), rows[1]
    (2, {'age': None, 'purpose': None})
    """

    __slots__ = ("names", "values")

    def __init__(self, names: Sequence[str], values: NDArray[Any] | Sequence[Values]) -> None:
        self.names = tuple(names)
        self.values = values

    def __len__(self) -> int:
        if isinstance(self.values, np.ndarray):
            return len(self.values)
        return len(self.values[0]) if self.values else 0

    @overload
    def __getitem__(self, row: int) -> Record: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Record]: ...
    def __getitem__(self, row: int | slice) -> Record | Sequence[Record]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        values = self.values[row] if isinstance(self.values, np.ndarray) else [column[row] for column in self.values]
        return {name: to_python(value) for name, value in zip(self.names, values, strict=True)}

    def select(self, names: Sequence[str]) -> ColumnarRows:
        """The same rows with the columns `names` alone, in this order. KeyError for a name that is not there."""
        index_of = {name: index for index, name in enumerate(self.names)}
        indices = [index_of[name] for name in names]
        if isinstance(self.values, np.ndarray):
            return ColumnarRows(names, self.values[:, indices])
        return ColumnarRows(names, [self.values[index] for index in indices])
