"""Rows of several modalities as a server sends them: what each column adds, and where it is asked for what parts add.

explainer = PartsExplainer(ModalityExplainer(runtime))
explainer.explain(explainer.unpack(arrays))         # as data.sent packs them; with TEXTS each row has "parts"
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Attribution, Tensors
from deepseek.data.samples.requests import TEXTS
from deepseek.explain.media.modalities import ModalityExplainer
from deepseek.explain.media.parts import parts_of
from deepseek.explain.shapley.partition import SERVED, Budget


@dataclass(frozen=True, slots=True)
class Rows:
    """N samples, and of each its texts by column, as JSON; None where no parts are asked for."""

    samples: Tensors
    texts: NDArray[np.bytes_] | None

    def __getitem__(self, rows: NDArray[np.int64]) -> Rows:
        return Rows(self.samples[rows], None if self.texts is None else self.texts[rows])


class PartsExplainer:
    """Meets contracts.Explainer, with Rows for features. Safe to call from several threads."""

    def __init__(self, explainer: ModalityExplainer, budget: Budget = SERVED) -> None:
        """`budget` has the answers for each file and text, and the time for all of a row."""
        self._explainer, self._budget = explainer, budget
        if budget.time_limit_s is not None:
            share_s = budget.time_limit_s / max(1, len(explainer.preparer.media))
            self._budget = replace(budget, time_limit_s=share_s)

    def unpack(self, arrays: Arrays) -> Rows:
        """Rows as data.sent packs them. Raises why one of them cannot be read."""
        return Rows(self._explainer.unpack(arrays), arrays.get(TEXTS))

    def explain(self, features: Rows, *, target: str | None = None) -> Attribution:
        """As ModalityExplainer, of rows of one target."""
        found = self._explainer.explain(features.samples, target=target)
        if features.texts is None:
            return found
        parts = tuple(self._parts(features, row, found) for row in range(len(found.values)))
        return replace(found, parts=parts, is_partial=any(part["is_partial"] for row in parts for part in row))

    def _parts(self, features: Rows, row: int, found: Attribution) -> tuple[dict[str, Any], ...]:
        assert features.texts is not None  # noqa: S101  (asked before)
        sample, texts = features.samples[row : row + 1], json.loads(features.texts[row])
        return tuple(parts_of(self._explainer, sample, texts, found.values[row], found.target, self._budget))
