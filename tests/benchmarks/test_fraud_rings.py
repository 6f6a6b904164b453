"""The measure of the benchmark of rings, by hand."""

from __future__ import annotations

import fraud_rings
import numpy as np

from deepseek.features.graph.planting import LEVELS, PlantedWorld


def test_recall_is_of_cards_above_what_the_allowed_false_alarms_leave() -> None:
    num_others = 400  # .5 % of them are two
    ring_of_card = np.concatenate([np.full(num_others, -1), np.repeat(np.arange(len(LEVELS)), 2)])
    others = np.concatenate([[0.9, 0.8, 0.7], np.zeros(num_others - 3)])
    rings = [0.95, 0.71, 0.95, 0.7, 0.69, 0.1, 0.85, 0.75]  # two cards of each level; the third other is at .7
    world = PlantedWorld(None, ring_of_card, np.zeros(len(ring_of_card), bool))
    recall = fraud_rings.recall_by_level(world, np.concatenate([others, rings]))
    assert recall == {"easy": 1.0, "mid": 0.5, "hard": 0.0, "local": 1.0}


def test_the_reported_worlds_are_not_those_of_development() -> None:
    assert not set(fraud_rings.SEEDS) & set(fraud_rings.DEVELOPMENT_SEEDS)
    assert fraud_rings.REPORTED_MONTH not in fraud_rings.DEVELOPMENT_MONTHS
