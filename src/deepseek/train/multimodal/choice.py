"""Which of the models that read the same rows answers: the multimodal net, or a linear model of frozen encoders.

    comparison = HeldOutComparison("binary", target, metric="log_loss", scale=(1.0, 0.0), seed=0)
    calibrated = [comparison.of("fused", margin), comparison.of("embeddings", trial.margin, trial)]
    best_of(calibrated).output                     # calibrated, (M, C)

Each is calibrated on the held-out rows as it would be served, and the least loss of the metric on them decides.
Shapes: M rows held out, K margins or logits, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, JsonObject, Task
from deepseek.train.tabular.calibrate import Calibration, fit_calibration
from deepseek.train.tabular.metrics import find_metric

if TYPE_CHECKING:
    from deepseek.nn.fusion import MultimodalNet
    from deepseek.nn.multimodal import AnswersModalities
    from deepseek.train.multimodal.linear_text import LinearTextTrial

FUSED = "fused"
WORDS_TITLE = "linear model of words"
#: What a linear model of texts is called in evidence, by its family.
TITLES = {
    "words": WORDS_TITLE, "embeddings": "linear model of embeddings",
    "embeddings and words": "linear model of embeddings and words",
}  # fmt: skip


@dataclass(frozen=True)
class CalibratedCandidate:
    """A model, calibrated."""

    name: str
    calibration: Calibration
    output: Float64  # (M, C) probabilities or (M, 1) values of the held-out rows
    loss: float
    trial: LinearTextTrial | None = None  # None: the multimodal net

    def build(self, net: MultimodalNet) -> AnswersModalities:
        """The module that answers so: `net` itself, or a linear model with its encoders."""
        from deepseek.train.multimodal.linear_text import frozen_text_encoders

        return net if self.trial is None else self.trial.build(frozen_text_encoders(net) or {})

    def to_dict(self) -> JsonObject:
        """One entry of "candidates" in evidence/training.json."""
        fit = {} if self.trial is None else {"strength": self.trial.strength, "fit_cpu_s": round(self.trial.fit_s, 3)}
        return {"name": self.name, "loss": self.loss, **fit}


@dataclass(frozen=True)
class HeldOutComparison:
    """The held-out rows."""

    task: Task
    target: NDArray[Any]  # (M,) class numbers or values
    metric: str
    scale: tuple[float, float]  # deviation and mean that bring a standardized value back
    seed: int

    def of(self, name: str, margin: Float64, trial: LinearTextTrial | None = None) -> CalibratedCandidate:
        """A model by its logits (M, K) or values (M, 1) on these rows."""
        calibration = self._calibrate(margin)
        output = apply_calibration(calibration, margin)
        loss = find_metric(self.task, self.metric).loss(self.target, output, np.ones(len(self.target)))
        return CalibratedCandidate(name, calibration, output, loss, trial)

    def _calibrate(self, margin: Float64) -> Calibration:
        if margin.shape[1] == 1:
            return Calibration(self.scale[0], (self.scale[1],))
        return fit_calibration(_log_odds(margin), self.target, np.ones(len(self.target)), seed=self.seed)


def apply_calibration(calibration: Calibration, logits: Float64) -> Float64:
    """Probabilities (N, C) of logits (N, C), or values (N, 1) of standardized ones."""
    if logits.shape[1] == 1:
        value: Float64 = logits * calibration.slope + calibration.bias[0]
        return value
    return calibration.apply(_log_odds(logits))


def _log_odds(logits: Float64) -> Float64:
    return logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits


def best_of(candidates: Sequence[CalibratedCandidate]) -> CalibratedCandidate:
    """The one of least loss. Words alone are the yardstick of the others, and never it."""
    return min((each for each in candidates if each.name != WORDS_TITLE), key=lambda each: each.loss)


def standardize_target(
    target: NDArray[Any], fit_rows: NDArray[np.int64], num_outputs: int
) -> tuple[NDArray[Any], tuple[float, float]]:
    """What is learned, and (deviation, mean) that bring a value back."""
    if num_outputs > 1:
        return target, (1.0, 0.0)
    mean, deviation = float(target[fit_rows].mean()), float(target[fit_rows].std()) or 1.0
    return (target - mean) / deviation, (deviation, mean)
