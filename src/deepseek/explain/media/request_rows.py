"""Rows of several modalities as a server sends them: what each column adds, and where it is asked for what parts add.

explainer = PartsExplainer(ModalityExplainer(runtime))
explainer.explain(explainer.unpack(arrays))         # as data.sent packs them; with TEXTS_ARRAY each row has "parts"
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Attribution, Tensors
from deepseek.data.samples.requests import TEXTS_ARRAY
from deepseek.explain.media.modalities import ModalityExplainer
from deepseek.explain.media.parts import explain_parts
from deepseek.explain.records import PartDocument
from deepseek.explain.shapley.partition import SERVING_BUDGET, Budget


@dataclass(frozen=True, slots=True)
class RequestRows:
    """N samples, and the texts of each by column, as JSON; None where no parts are requested."""

    samples: Tensors
    texts: NDArray[np.bytes_] | None

    def __getitem__(self, rows: NDArray[np.int64]) -> RequestRows:
        return RequestRows(self.samples[rows], None if self.texts is None else self.texts[rows])


class PartsExplainer:
    """Meets contracts.Explainer, with RequestRows for features. Safe to call from several threads."""

    def __init__(self, explainer: ModalityExplainer, budget: Budget = SERVING_BUDGET) -> None:
        """`budget` has the answers for each file and text, and the time for all of a row."""
        self._explainer, self._budget = explainer, budget
        if budget.time_limit_s is not None:
            share_s = budget.time_limit_s / max(1, len(explainer.preparer.media))
            self._budget = replace(budget, time_limit_s=share_s)

    def unpack(self, arrays: Arrays) -> RequestRows:
        """Rows as data.sent packs them. Raises why one of them cannot be read."""
        return RequestRows(self._explainer.unpack(arrays), arrays.get(TEXTS_ARRAY))

    def explain(self, features: RequestRows, *, target: str | None = None) -> Attribution:
        """Attributions as ModalityExplainer gives them, of rows of one target, with parts where the rows have texts."""
        attribution = self._explainer.explain(features.samples, target=target)
        if features.texts is None:
            return attribution
        parts = tuple(self._parts(features, row, attribution) for row in range(len(attribution.values)))
        return replace(attribution, parts=parts, is_partial=any(part["is_partial"] for row in parts for part in row))

    def _parts(self, features: RequestRows, row: int, attribution: Attribution) -> tuple[PartDocument, ...]:
        assert features.texts is not None  # noqa: S101  (asked before)
        sample, texts = features.samples[row : row + 1], json.loads(features.texts[row])
        parts = explain_parts(self._explainer, sample, texts, attribution.values[row], attribution.target, self._budget)
        return tuple(part.document() for part in parts)
