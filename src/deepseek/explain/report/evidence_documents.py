"""What evidence/ of a bundle holds, as far as a page reads it: the shapes of its JSON documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Required, TypedDict

from deepseek.contracts import JsonObject


class Metric(TypedDict):
    """A measured figure with its 95 % interval."""

    value: float
    low: float
    high: float


class ReliabilityBin(TypedDict):
    """Test rows of one bin of predicted probability."""

    predicted: float
    observed: float
    num_rows: int


class Confusion(TypedDict):
    """Test rows of each true class by predicted class."""

    labels: list[str]
    counts: list[list[int]]


class Residuals(TypedDict, total=False):
    """A histogram of truth minus prediction; "interval" is half the width of the prediction interval."""

    edges: Required[list[float]]
    counts: Required[list[int]]
    interval: float


class MetricsEvidence(TypedDict, total=False):
    """evidence/metrics.json: figures of the model and of its baseline on the test rows, and what is drawn of them."""

    num_rows: Required[int]
    metrics: Required[dict[str, Metric]]
    baseline: dict[str, Metric]
    baseline_name: str
    reliability: list[ReliabilityBin]
    confusion: Confusion
    roc: list[list[float]]  # [[false-positive rate, true-positive rate], ...]
    precision_recall: list[list[float]]  # [[recall, precision], ...]
    residuals: Residuals
    money: list[list[float]]  # [[alerts a day, money caught a day, less what false alarms cost], ...]
    operating_point: JsonObject  # what operating_point.py reads
    contradictions: list[JsonObject]  # what look/contradictions.py reads
    last_fit: JsonObject  # what bundle/last_fit.py reads


class Segment(TypedDict, total=False):
    """The metrics of one group of a column; a group that is too small has none."""

    group: Required[str]  # a value, or a range of numbers: "34 to 47", "-inf to 34"
    num_rows: Required[int]
    metrics: dict[str, Metric]


class FairnessEvidence(TypedDict):
    """evidence/fairness.json: rates of each group of one column, and their gaps."""

    column: str
    groups: list[Mapping[str, Any]]  # {"group", "num_rows"} and a rate by the name of each measure
    gaps: dict[str, float | None]
    min_rows: int


class Trial(TypedDict):
    """One trial of the search."""

    number: int
    family: str
    loss: float
    fit_cpu_s: float


class SearchEvidence(TypedDict, total=False):
    """evidence/search.json."""

    trials: Required[list[Trial]]
    ended_families: list[str]  # that were far behind on their first folds, and tried no further
    leaderboard: JsonObject  # bundle.leaderboard.Leaderboard; bundles of older releases have none
    yardstick: dict[str, Any]  # "family" and "held_loss" of the baseline


class Evidence(TypedDict, total=False):
    """Every evidence/NAME.json of a bundle by NAME, as far as a page reads it."""

    metrics: MetricsEvidence
    segments: dict[str, list[Segment]]
    fairness: FairnessEvidence
    search: SearchEvidence
    against: JsonObject  # the comparison with an older bundle, as `compare --json` prints it
    parity: JsonObject  # {"engines": {KIND: {"passes", "max_abs_difference": {"output"}}}}
    data: JsonObject  # {"warnings"}
    environment: JsonObject  # {"command"}
