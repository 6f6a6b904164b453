"""What an explanation promises, measured by taking values away: in numpy, for whatever answers to masks.

    masking_curve(evaluate, values, FaithfulnessConfig(), rng, deletes=True)

evaluate(masks (M, P)) -> (M,); a mask is true where a value stays. What the measures mean stands in
faithfulness.py. Shapes: P values, M masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, Float64
from deepseek.explain.evaluation.records import AttributionAgreement, MaskingCurve


@dataclass(frozen=True, slots=True)
class FaithfulnessConfig:
    """How much measuring faithfulness may ask of the model."""

    num_steps: int = 20  # of a curve
    num_random: int = 40  # random orders, and random sets of infidelity
    num_near: int = 10  # inputs nearby
    radius: float = 0.02  # of "nearby", as a share of the distance from input to baseline, in every value
    seed: int = 0


def masking_curve(
    evaluate: Callable[[NDArray[np.bool_]], Float64],
    values: Float64,
    checks: FaithfulnessConfig,
    rng: np.random.Generator,
    *,
    deletes: bool,
) -> MaskingCurve:
    """Deletion passes where its area is below that of random orders, insertion where it is above."""
    width = len(values)
    counts = np.unique(np.linspace(0, width, min(checks.num_steps, width) + 1).round().astype(int))
    orders = [np.argsort(-values, kind="stable"), *(rng.permutation(width) for _ in range(checks.num_random))]
    ranks = np.stack([np.argsort(order) for order in orders])
    chosen = ranks[:, None] < counts[:, None]  # (orders, steps, P)
    answers = evaluate((~chosen if deletes else chosen).reshape(-1, width)).reshape(len(orders), -1)
    areas: Float64 = np.asarray(np.trapezoid(answers, counts / width, axis=1))
    # Of single orders, not of their mean, which half of all noise would beat.
    low, high = np.quantile(areas[1:], [0.025, 0.975])
    random = Figure(float(areas[1:].mean()), float(low), float(high))
    passes = areas[0] < random.low if deletes else areas[0] > random.high
    ends = np.quantile(answers[1:], [0.025, 0.975], axis=0).tolist()
    at = (counts / width).tolist()
    return MaskingCurve(float(areas[0]), random, tuple(answers[0].tolist()), bool(passes), tuple(at), *map(tuple, ends))


def infidelity(
    evaluate: Callable[[NDArray[np.bool_]], Float64],
    values: Float64,
    checks: FaithfulnessConfig,
    rng: np.random.Generator,
) -> float | None:
    """Infidelity of `values` (P,), 0 is perfect; None where no random set changes the answer."""
    away = rng.random((checks.num_random, len(values))) < rng.uniform(0.1, 0.9, (checks.num_random, 1))
    answers = evaluate(np.concatenate([np.ones((1, len(values)), bool), ~away]))
    falls = answers[0] - answers[1:]
    if not falls.any():
        return None
    return float(np.square(away @ values - falls).mean() / np.square(falls).mean())


def attribution_agreement(values: Float64, other: Float64) -> AttributionAgreement:
    """How two explanations (P,) of a row agree.

    >>> attribution_agreement(np.array([3.0, 1.0, 2.0]), np.array([30.0, 10.0, 20.0]))
    AttributionAgreement(rank_correlation=1.0, shared_of_5=1.0)
    """
    num_strongest = min(5, len(values))
    strongest = [set(np.argsort(-np.abs(sizes), kind="stable")[:num_strongest].tolist()) for sizes in (values, other)]
    return AttributionAgreement(rank_correlation(values, other), len(strongest[0] & strongest[1]) / num_strongest)


def rank_correlation(values: Float64, other: Float64) -> float:
    """Spearman's rank correlation; 0 where one of both is constant."""
    ranks = [_average_ranks(each) for each in (values, other)]
    centered = [each - each.mean() for each in ranks]
    size = np.sqrt((centered[0] ** 2).sum() * (centered[1] ** 2).sum())
    return float(centered[0] @ centered[1] / size) if size else 0.0


def _average_ranks(values: Float64) -> Float64:
    """Ranks (P,), where equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Float64 = (ends - (counts - 1) / 2)[inverse]
    return ranks
