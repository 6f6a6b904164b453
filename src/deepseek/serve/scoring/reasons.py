"""The reasons of alerts, as JSON: which features moved the chance most, in numbers and in words.

    reasons = AlertReasons(scorer, explainer, reason_codes)
    reasons.explain(scored.alert_inputs, scored.alert_values)      # one JSON list for each alert

Serving explains nothing by itself: the explainer of the bundle and the words are given to it.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from deepseek.contracts import Explainer, Float32
from deepseek.errors import DeepseekError
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.models.explanations import ReasonCodes
from deepseek.serve.protocols.records import rank_reasons
from deepseek.serve.scoring.scorer import EventScorer

#: Reasons of an alert.
NUM_REASONS = 3


class AlertExplainer(Protocol):
    """What a scorer of messages asks for the reasons of alerts."""

    def explain(self, inputs: Float32, values: np.ndarray[Any, np.dtype[np.float64]]) -> list[bytes]:
        """JSON for each alert: prepared rows (N, F), and the features as the store gave them (N, features)."""
        ...


class AlertReasons:
    """Explains alerts of one scorer."""

    def __init__(self, scorer: EventScorer, explainer: Explainer, reason_codes: ReasonCodes) -> None:
        self._scorer, self._explainer, self._reason_codes = scorer, explainer, reason_codes

    def explain(self, inputs: Float32, values: np.ndarray[Any, np.dtype[np.float64]]) -> list[bytes]:
        """A JSON list of reasons, largest first, for each alert: prepared rows (N, F), and the features as the store
        gave them. Where they cannot be explained an object that says why: the answer itself stands."""
        try:
            attribution = self._explainer.explain(inputs)
            outcome = self._scorer.runtime.manifest.target
            texts = []
            for row, (adds_up, features) in enumerate(zip(attribution.adds_up.tolist(), values.tolist(), strict=True)):
                record = self._scorer.describe(features)
                sentences = self._reason_codes(attribution, record, NUM_REASONS, row=row, outcome=outcome)
                texts.append(encode_json(rank_reasons(attribution, row, adds_up, record, sentences)))
        except DeepseekError as error:
            return [encode_json({"error": str(error)})] * len(inputs)
        return texts

    def warm_up(self) -> None:
        """Prepare what the first alert would wait for."""
        blank = self._scorer.blank_inputs()
        if blank is not None:
            self.explain(blank, np.zeros((1, len(self._scorer.definition.names))))
