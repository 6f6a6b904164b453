"""What a score of card payments is worth, in the figures of that field.

figures = measure_scores(score, is_fraud, time_ms, card, max_fpr=0.0002)
figures.average_precision, figures.recall, figures.card_precision
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from deepseek.data.table.values import DAY_MS
from deepseek.train.tabular.metrics import average_precision

Values: TypeAlias = np.ndarray[Any, np.dtype[Any]]
CARDS_A_DAY = 100  # that a team of investigators can look at


@dataclass(frozen=True, slots=True)
class FraudFigures:
    """Of N rows with known verdicts. All are 0..1."""

    num_rows: int
    num_frauds: int
    average_precision: float
    recall: float  # of frauds, where at most `max_fpr` of the genuine rows are alarms; of these very rows
    max_fpr: float
    card_precision: float  # mean over days: of the 100 cards that score highest, the share with a fraud that day


def measure_scores(score: Values, is_fraud: Values, time_ms: Values, card: Values, *, max_fpr: float) -> FraudFigures:
    """The figures of scores (N,), higher for fraud, on rows with verdicts, moments and codes of cards (N,) each."""
    fraud = np.asarray(is_fraud, bool)
    output = np.stack([-score, score], axis=1)
    return FraudFigures(
        num_rows=len(score),
        num_frauds=int(fraud.sum()),
        average_precision=average_precision(fraud.astype(np.int64), output, np.ones(len(score))),
        recall=recall_at_fpr(score, fraud, max_fpr),
        max_fpr=max_fpr,
        card_precision=card_precision(score, fraud, time_ms // DAY_MS, card),
    )


def recall_at_fpr(score: Values, fraud: Values, max_fpr: float) -> float:
    """The share of frauds above the threshold that makes at most `max_fpr` of the genuine rows alarms; 0 without
    frauds.

    >>> recall_at_fpr(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]), 0.0)
    0.5
    """
    genuine = np.sort(score[~fraud])[::-1]
    allowed = int(max_fpr * len(genuine) + 1e-9)
    if not fraud.any() or allowed >= len(genuine):
        return float(fraud.any())
    return float((score[fraud] > genuine[allowed]).mean())


def card_precision(score: Values, fraud: Values, day: Values, card: Values, num_cards: int = CARDS_A_DAY) -> float:
    """Mean over days: of the `num_cards` cards that score highest, the share that has a fraud on that day. A card that
    was among them with a fraud is known, and leaves the rows of later days."""
    shares, known = [], np.zeros(0, card.dtype)
    for each in np.unique(day):
        rows = np.flatnonzero((day == each) & ~np.isin(card, known))
        cards, place = np.unique(card[rows], return_inverse=True)
        highest, has_fraud = np.full(len(cards), -np.inf), np.zeros(len(cards), bool)
        np.maximum.at(highest, place, score[rows])
        np.logical_or.at(has_fraud, place, fraud[rows])
        top = np.argsort(-highest, kind="stable")[:num_cards]
        shares.append(has_fraud[top].sum() / num_cards)
        known = np.append(known, cards[top][has_fraud[top]])
    return float(np.mean(shares)) if shares else 0.0
