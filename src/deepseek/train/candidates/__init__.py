"""The families that compete. The first is the yardstick that no result may fall below."""

from __future__ import annotations

from deepseek.extras import renamed_attributes
from deepseek.train.candidates.base import Candidate, FitData, FittedCandidate, Params
from deepseek.train.candidates.boosting import HistGradientBoosting, XGBoost
from deepseek.train.candidates.forest import Forest
from deepseek.train.candidates.linear import LinearModel
from deepseek.train.candidates.perceptron import PerceptronModel

BUILT_IN: tuple[Candidate, ...] = (
    HistGradientBoosting(),
    LinearModel(),
    XGBoost(),
    Forest("random_forest", "RandomForest", looked_at=10, bootstrap=True),
    Forest("extra_trees", "ExtraTrees", looked_at=15, bootstrap=False),
    PerceptronModel(),
)

__all__ = ["BUILT_IN", "Candidate", "FitData", "FittedCandidate", "Params"]

__getattr__ = renamed_attributes(__name__, {"Fitted": "FittedCandidate"})
