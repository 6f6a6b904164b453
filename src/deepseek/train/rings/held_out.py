"""The threshold of a scorer of rings, what it finds and whom it wrongly suspects, on worlds that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deepseek.contracts import Figure
from deepseek.features.graph.payments import Floats, Payments
from deepseek.features.graph.planting import LEVELS, MIN_GENUINE, PlantedWorld, PlantingPlan
from deepseek.train.rings.scorer import RingScorer, ScorerConfig, look_at, plant_world
from deepseek.train.tabular.intervals import exact_interval

FULL_PLAN_CARDS = 4_000  # from so many cards on, all of the plan is planted; of fewer a share
FIRST_HELD_WORLD = 500  # the worlds before it are learned from


@dataclass(frozen=True, slots=True)
class LevelRecall:
    """How many cards of planted rings are found."""

    recall: Figure  # 0 to 1, with an exact interval as if cards were independent; those of one ring are not
    num_cards: int
    num_rings: int


@dataclass(frozen=True, slots=True)
class HeldOutFigures:
    """The threshold, and what it does on worlds that the scorer has not learned from."""

    threshold: float
    recall: dict[str, LevelRecall]  # by the name of the level
    num_others: int  # cards in no ring, decoys included
    num_decoys: int
    num_alarms: int  # of the others
    num_decoy_alarms: int


def scale_plan(payments: Payments) -> PlantingPlan:
    """How much is planted into so many cards."""
    num_usable = int((np.bincount(payments.card) >= MIN_GENUINE).sum())
    share, full = min(1.0, num_usable / FULL_PLAN_CARDS), ScorerConfig().plan
    return replace(
        full,
        num_rings=max(len(LEVELS), round(share * full.num_rings)),
        num_crowds=max(1, round(share * full.num_crowds)),
        num_holidays=max(2, round(share * full.num_holidays)),
    )


def measure_held_out(
    payments: Payments, scorer: RingScorer, config: ScorerConfig, *, max_fpr: float, num_worlds: int
) -> HeldOutFigures:
    """The threshold at which at most `max_fpr` of the cards in no ring are suspected, and the recall there by level, on
    worlds that the scorer has not seen."""
    worlds = [plant_world(payments, config, FIRST_HELD_WORLD + number) for number in range(num_worlds)]
    scores = [scorer.score(look_at(world.payments, scorer.limits)).of_cards for world in worlds]
    other_scores = np.concatenate([score[~world.in_ring] for score, world in zip(scores, worlds, strict=True)])
    decoy_scores = np.concatenate([score[world.decoy_of_card] for score, world in zip(scores, worlds, strict=True)])
    threshold = limit_alarms(other_scores, max_fpr)
    return HeldOutFigures(
        threshold, {name: _recall_of_level(worlds, scores, place, threshold) for place, name in enumerate(LEVELS)},
        len(other_scores), len(decoy_scores), int((other_scores > threshold).sum()),
        int((decoy_scores > threshold).sum()),
    )  # fmt: skip


def limit_alarms(other_scores: Floats, max_fpr: float) -> float:
    """The least threshold that at most a share `max_fpr` of the scores of cards in no ring is above.

    >>> limit_alarms(np.array([0.1, 0.2, 0.3, 0.9]), 0.25)
    0.3
    """
    num_allowed = int(max_fpr * len(other_scores))
    return float(np.sort(other_scores)[::-1][num_allowed])


def _recall_of_level(worlds: list[PlantedWorld], scores: list[Floats], place: int, threshold: float) -> LevelRecall:
    num_found, num_cards, num_rings = 0, 0, 0
    for world, score in zip(worlds, scores, strict=True):
        is_level = world.in_ring & (world.ring_of_card % len(LEVELS) == place)
        num_found += int((score[is_level] > threshold).sum())
        num_cards += int(is_level.sum())
        num_rings += len(np.unique(world.ring_of_card[is_level]))
    return LevelRecall(Figure(num_found / num_cards, *exact_interval(num_found, num_cards)), num_cards, num_rings)
