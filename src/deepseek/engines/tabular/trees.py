"""The engine for large batches of boosted trees: xgboost boosters made in memory from the TreeTables.

    score: each part's raw score (N, K) -> nn.model.combine

Trees run in xgboost's block-wise predictor, other parts by their twins in numpy. xgboost sums leaves in float32,
which is exact for the shares of a forest (train/tabular/convert.py).
"""

from __future__ import annotations

import numpy as np

from deepseek.contracts import Engine, Float32, Float64, Scores
from deepseek.engines.registry import Source
from deepseek.engines.tabular.booster import booster_bytes
from deepseek.engines.tabular.libxgboost import NativeBooster
from deepseek.nn.model import Model, combine
from deepseek.nn.trees import TreeTable


class TreeMargin:
    """One margin of a table, and the booster that sums it."""

    def __init__(self, table: TreeTable, margin: int, *, num_features: int, num_threads: int = 1) -> None:
        self._bias = float(table.bias[margin])
        data = booster_bytes(table, margin, num_features=num_features)
        self._booster = NativeBooster(data, num_threads=num_threads)

    def score(self, features: Float32) -> Float64:
        """Raw scores (N,) of features (N, F)."""
        return self._booster.margin(features).astype(np.float64) + self._bias

    def close(self) -> None:
        self._booster.close()


class TreesEngine:
    """Safe to share between threads. `num_threads` is for one call; 0 means all cores."""

    kind = "trees"

    def __init__(self, model: Model, *, num_features: int, num_threads: int = 1) -> None:
        self._model = model
        self._trees: dict[int, list[TreeMargin]] = {
            index: [
                TreeMargin(part.weights, margin, num_features=num_features, num_threads=num_threads)
                for margin in range(model.num_margins)
            ]
            for index, part in enumerate(model.parts)
            if isinstance(part.weights, TreeTable)
        }

    @classmethod
    def open(cls, source: Source) -> Engine:
        return cls(source.load_model(), num_features=source.num_features, num_threads=source.num_threads)

    @staticmethod
    def supports(model: Model) -> bool:
        """Whether there are trees to run, none of them with vector leaves: those would be stored once a class, and run
        three times slower than in onnxruntime."""
        tables = [part.weights for part in model.parts if isinstance(part.weights, TreeTable)]
        return bool(tables) and all(table.leaves.shape[1] == 1 for table in tables)

    def score(self, features: Float32) -> Scores:
        """Scores for prepared features (N, F)."""
        rows = np.ascontiguousarray(features, np.float32)
        return combine(self._model, {index: self._raw(index, rows) for index in range(len(self._model.parts))})

    def _raw(self, index: int, rows: Float32) -> Float64:
        if index in self._trees:
            return np.stack([tree.score(rows) for tree in self._trees[index]], axis=1)
        return self._model.parts[index].weights.margin(rows)

    def close(self) -> None:
        """Give the boosters' memory back."""
        for trees in self._trees.values():
            for tree in trees:
                tree.close()
        self._trees = {}
