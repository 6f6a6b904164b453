"""The rows of a file that did not fit into memory, as blocks for the last fit: prepared by workers, kept by Ray.

    rest = RestRows(data, sample, options, preprocessor)
    references = rest.blocks(workers, has_test_rows=True)      # of arrays as last_fit.pack_block() makes them

The file is read here, a part at a time, for a column has one type over the whole of it. Left out are the rows that were
drawn for the search, which are in memory, and with `has_test_rows` what the split keeps from training: rows of a group
that is tested on, moments from the first test row on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.cluster.workers import MAX_RETRIES, Workers, get_results
from deepseek.automl.constraints import check_weights
from deepseek.automl.large import RowSample
from deepseek.automl.options import ShipOptions
from deepseek.automl.split_data import SplitData, apply_own_formats
from deepseek.contracts import Float32
from deepseek.data import Preprocessor, Table, drop_missing_target, encode_target
from deepseek.data.batches import open_table
from deepseek.data.split.split import moments, parse_split
from deepseek.data.table.values import level_names

IsTraining = Callable[[Table], NDArray[np.bool_]]  # of each row, whether it may be fitted on


@dataclass(frozen=True)
class RestRows:
    """What of a large file is not in memory."""

    data: SplitData
    sample: RowSample  # which rows are in memory
    options: ShipOptions
    preprocessor: Preprocessor

    def blocks(self, workers: Workers, *, has_test_rows: bool) -> list[Any]:
        """References to blocks that have rows, in the order of the file. The errors of reading the whole: a row without
        a target, a class that the drawn rows do not have, weights that are none."""
        import ray

        task = ray.remote(num_cpus=1, max_retries=MAX_RETRIES, num_returns=2)(_pack_part)
        recipe = ray.put(self._recipe(has_test_rows=has_test_rows))
        running: deque[Any] = deque()
        blocks: list[Any] = []

        def finish_first() -> None:
            block, reference = running.popleft()
            (facts,) = get_results([reference], "a part of the file")
            workers.last_fit_rows += facts.num_rows
            workers.spent_s += facts.cpu_s
            blocks.extend([block] if facts.num_rows else [])

        for part in self._parts():
            running.append(task.remote(recipe, part))
            if len(running) >= 2 * workers.num_workers:
                finish_first()
        while running:
            finish_first()
        return blocks

    def _parts(self) -> Iterator[Table]:
        """The rows that were not drawn, a part of the file at a time."""
        drawn = self.sample.rows
        with open_table(Path(self.data.source)) as file:
            start = 0
            for part in file.parts():
                first, end = np.searchsorted(drawn, [start, start + part.num_rows])
                rest = np.setdiff1d(np.arange(part.num_rows), drawn[first:end] - start)
                start += part.num_rows
                if len(rest):
                    yield part.take(rest)

    def _recipe(self, *, has_test_rows: bool) -> _Recipe:
        data, options = self.data, replace(self.options, progress=None, test=None, validation=None, key=None)
        scale = 1.0 if options.weights is None else float(data.development.column(options.weights).mean())
        no_rows = data.table.take(np.arange(0))  # its types and formats
        is_training = _by_split(data) if has_test_rows and self.options.test is None else None
        return _Recipe(no_rows, options, data.labels, self.preprocessor.to_bytes(), scale, is_training)


@dataclass(frozen=True)
class _Recipe:
    """How a worker makes a block of a part."""

    read_as: Table
    options: ShipOptions
    labels: tuple[str, ...]
    preprocessor: bytes
    weight_scale: float  # the mean of the weights in memory
    is_training: IsTraining | None


@dataclass(frozen=True)
class _Facts:
    num_rows: int
    cpu_s: float


def _by_split(data: SplitData) -> IsTraining | None:
    """Which rows the split would train on, of those that it has not seen; None: all of them."""
    method, column = parse_split(data.method, data.table)
    if method == "time":
        return partial(_is_before, column=column, moment=moments(data.test, column).min())
    if method == "group":
        return partial(_is_of_others, column=column, groups=frozenset(level_names(data.test.column(column))))
    return None


def _is_before(part: Table, column: str, moment: Any) -> NDArray[np.bool_]:
    return np.asarray(moments(part, column) < moment)


def _is_of_others(part: Table, column: str, groups: frozenset[str | None]) -> NDArray[np.bool_]:
    return np.array([name not in groups for name in level_names(part.column(column))], bool)


def _pack_part(recipe: _Recipe, part: Table) -> tuple[Float32, _Facts]:
    """In a worker: the block of a part of the file, as last_fit.pack_block() makes them of rows in memory."""
    start_s, options = time.process_time(), recipe.options
    part = apply_own_formats(part, recipe.read_as, options)
    if options.drop_missing_target:
        part = drop_missing_target(part, options.target)
    if recipe.is_training is not None:
        part = part.take(recipe.is_training(part))
    preprocessor = Preprocessor.from_bytes(recipe.preprocessor)
    weight = np.ones(part.num_rows)
    if options.weights is not None:
        weight = check_weights(part, options.weights) / recipe.weight_scale
    target = encode_target(part, options.target, recipe.labels)
    block = np.column_stack([preprocessor.table(part).features, target, weight]).astype(np.float32)
    return block, _Facts(part.num_rows, time.process_time() - start_s)
