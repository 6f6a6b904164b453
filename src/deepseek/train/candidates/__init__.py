"""The families that compete. The yardstick, which no result may fall below, is the first of them, and TEXT_BASELINE
wherever there is text."""

from __future__ import annotations

from deepseek.extras import renamed_attributes
from deepseek.train.candidates.base import Candidate, FitData, FittedCandidate, Params
from deepseek.train.candidates.boosting import HistGradientBoosting, XGBoost
from deepseek.train.candidates.catboost_model import CatBoost
from deepseek.train.candidates.forest import Forest
from deepseek.train.candidates.lightgbm_model import LightGBM
from deepseek.train.candidates.linear import LinearModel
from deepseek.train.candidates.perceptron import PerceptronModel
from deepseek.train.candidates.texts import TextLinear

BUILT_IN: tuple[Candidate, ...] = (
    HistGradientBoosting(),
    LinearModel(),
    XGBoost(),
    CatBoost(),
    LightGBM(),
    Forest("random_forest", "RandomForest", looked_at=10, bootstrap=True),
    Forest("extra_trees", "ExtraTrees", looked_at=15, bootstrap=False),
    PerceptronModel(),
    TextLinear("text_logistic", is_plain=True),
    TextLinear("text_linear", is_plain=False),
)

#: The plain way, always tried first: of a table of numbers, and wherever there is text.
BASELINE = BUILT_IN[0].name
TEXT_BASELINE = "text_logistic"

__all__ = ["BASELINE", "BUILT_IN", "TEXT_BASELINE", "Candidate", "FitData", "FittedCandidate", "Params", "XGBoost"]

__getattr__ = renamed_attributes(__name__, {"Fitted": "FittedCandidate"})
