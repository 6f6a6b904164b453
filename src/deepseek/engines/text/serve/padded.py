"""A text engine whose graph computes padded rows, also what stands behind the end of a text: rows of a batch are
therefore computed in MAX_GROUPS of rows of like length, one call each.

    class MyEngine(PaddedEngine): ...               # has _infer(ids, mask) -> (N, L, H) or logits
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.text.serve.engine import TextEngine
from deepseek.engines.text.serve.length_groups import group_by_length, padded_width
from deepseek.engines.text.source.pooling import Pooling, pool_tokens
from deepseek.errors import IntegrityError

#: Batches of mixed lengths run at .49 of sorted ones in one call, at .86 in three and at .92 in four.
MAX_GROUPS = 4


class PaddedEngine(TextEngine):
    """Has an architecture, a pooling and the name of its output."""

    _pooling: Pooling

    @abstractmethod
    def _infer(self, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(N, L) int64 twice -> (N, L, H) float32, or logits (N, C), (N, L, C)."""

    @abstractmethod
    def _unfit(self, why: str) -> IntegrityError:
        """What to raise for an output of another shape."""

    def run(self, arrays: Arrays) -> Arrays:
        """As TextEngine.run()."""
        ids, mask = self._checked(arrays)
        lengths = (mask * np.arange(1, mask.shape[1] + 1)).max(axis=1).clip(1)
        parts = [(rows, self._part(ids[rows], mask[rows], lengths[rows])) for rows in self._groups(lengths.tolist())]
        if self.architecture.task == "token-classification":
            found = np.zeros((*ids.shape, len(self.architecture.labels)), np.float32)
            for rows, made in parts:
                found[rows, : made.shape[1]] = made[:, : ids.shape[1]]
        else:
            found = np.empty((len(ids), parts[0][1].shape[1]), np.float32)
            for rows, made in parts:
                found[rows] = made
        return {self._output: found}

    def _groups(self, lengths: list[int]) -> list[Any]:
        return list(group_by_length(lengths, most=MAX_GROUPS))

    def _part(self, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> Any:
        """One call: (N, D), (N, C) or (N, L, C)."""
        width = min(padded_width(int(lengths.max())), self.architecture.max_tokens)
        columns = min(width, ids.shape[1])
        wide = np.full((len(ids), width), self.architecture.pad_id, np.int64)
        wide[:, :columns] = ids[:, :columns]
        seen = np.zeros((len(ids), width), np.int64)
        seen[:, :columns] = mask[:, :columns]
        made = self._infer(wide, seen)
        task = self.architecture.task
        last = self.architecture.hidden if task == "embedding" else len(self.architecture.labels)
        shape = (len(ids), last) if task == "sequence-classification" else (len(ids), width, last)
        if made.shape != shape:
            raise self._unfit(f"its output is {list(made.shape)}, not {list(shape)}")
        return pool_tokens(made, seen, self._pooling) if task == "embedding" else made
