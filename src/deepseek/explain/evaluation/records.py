"""How far explanations hold, as records: what evaluation/ measures, and the "trust" of the document.

What each measure means stands in faithfulness.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from deepseek.contracts import Figure
from deepseek.explain.records import OPTIONAL, CounterfactualReport, JsonRecord, NearestRow


@dataclass(frozen=True, slots=True, eq=False)
class MaskingCurve(JsonRecord):
    """The explained answer of one row from all values to none or back, S steps, beside that of random orders."""

    area: float  # under the answer
    random: Figure  # area of random orders: the mean, and between which 95 % lie
    points: tuple[float, ...]  # (S,) the answer at each step
    passes: bool  # the area lies beyond those of random orders, on the right side
    at: tuple[float, ...] = ()  # (S,) share of the values that each step stands for
    low: tuple[float, ...] = ()  # (S,) between low and high lie 95 % of random orders
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class AttributionAgreement(JsonRecord):
    """How two explanations of a row agree."""

    rank_correlation: float  # Spearman's, -1..1
    shared_of_5: float  # share of the five strongest that both name


@dataclass(frozen=True, slots=True, eq=False)
class RandomizationStep(JsonRecord):
    """A layer whose weights, with all before it, are shuffled, and how like the explanation still is."""

    layer: str
    similarity: float  # rank correlation of the sizes of contributions with those of the model as it is


@dataclass(frozen=True, slots=True, eq=False)
class ModuleFaithfulness(JsonRecord):
    """How far the explanation of one row of a torch module holds; evaluation/faithfulness.py says what each means."""

    deletion: MaskingCurve
    insertion: MaskingCurve
    infidelity: float | None
    sensitivity: float | None
    agreement: AttributionAgreement | None
    num_evaluations: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PartFaithfulness(JsonRecord):
    """How far the explanation of one column's parts holds, in one row."""

    column: str
    kind: str
    unit: str  # "tokens", "regions", "stretches" or "cells"
    presence: float  # what the column adds by being there at all
    num_players: int
    deletion: MaskingCurve
    insertion: MaskingCurve
    infidelity: float | None
    sensitivity: float | None
    agreement: AttributionAgreement | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RowFaithfulness(JsonRecord):
    """How far the explanation of one row holds."""

    row_id: int | None
    prediction: str | None
    num_players: int
    deletion: MaskingCurve
    insertion: MaskingCurve
    infidelity: float | None
    sensitivity: float | None
    agreement: AttributionAgreement | None
    nearest: tuple[NearestRow, ...] | None = None
    counterfactual: CounterfactualReport | None = None
    parts: tuple[PartFaithfulness, ...] | None = field(default=None, metadata=OPTIONAL)
    curve_class: str | None = field(default=None, metadata=OPTIONAL)  # whose answer the curves show; None of values


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FaithfulnessReport(JsonRecord):
    """How far the explanations of some rows hold, and what that took."""

    rows: tuple[RowFaithfulness, ...]
    randomization: tuple[RandomizationStep, ...] = field(metadata={"key": "randomised"})
    num_rows: int  # that were measured
    num_others: int  # rows whose values stand in for what is taken away
    others_of: str  # where these come from
    second: str  # the second method
    parts_second: str | None = field(default=None, metadata=OPTIONAL)
    num_evaluations: int  # answers of the model
    seconds: float
    seed: int
    limit_s: float
    unit: str | None = field(default=None, metadata=OPTIONAL)  # what is taken away; None for columns of a table
    taken_away: str | None = field(default=None, metadata=OPTIONAL)  # "mask", "attention", "missing"; None: by others
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SkippedFaithfulness(JsonRecord):
    """Why nothing was measured."""

    rows: None
    expected_s: float  # what it would have taken; 0 where more time would not help
    why: str


Faithfulness = FaithfulnessReport | SkippedFaithfulness
