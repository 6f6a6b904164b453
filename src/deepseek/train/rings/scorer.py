"""A scorer of cards that learns from planted rings: three models in a row, each trained on worlds of its own.

    scorer = fit_scorer(payments, ScorerConfig())
    scores = scorer.score(look_at(payments))                 # Scores: of cards and of edges, 0 to 1

    edges       are both cards in one ring?       from the meetings of the pair
    edges again                                   and from what the first model says of the edges around it
    cards       is the card in a ring?            from its edges

No payment has to be labelled: rings and decoys are planted into the user's own payments (features/graph/planting.py),
so chance is the chance of these very cards and terminals. First each card's days are turned by a number of its own,
which parts the rings that may be in there: else they would be taught as none, and count as false alarms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepseek.extras import need
from deepseek.features.graph.cards import CardGraph, describe_cards
from deepseek.features.graph.edges import Edges, join_meetings
from deepseek.features.graph.meetings import MeetingLimits, Meetings, find_meetings
from deepseek.features.graph.neighbors import card_features, neighbor_features
from deepseek.features.graph.payments import Floats, Mask, Payments
from deepseek.features.graph.planting import (
    LEVELS,
    PlantedWorld,
    PlantingPlan,
    RingLevel,
    plant_levels,
    shift_days,
)

NUM_STAGES = 3
GENUINE_EDGES_EVERY = 4  # one edge in so many of those of no planted card is an example: there are plenty


@dataclass(frozen=True, slots=True)
class TreeShape:
    """Boosted trees of one stage."""

    num_rounds: int
    max_depth: int


@dataclass(frozen=True, slots=True)
class ScorerConfig:
    """How the scorer is taught. The defaults were chosen on development worlds."""

    levels: tuple[RingLevel, ...] = tuple(LEVELS.values())
    plan: PlantingPlan = field(default_factory=lambda: PlantingPlan(num_rings=32))
    worlds_per_stage: int = 4
    limits: MeetingLimits = field(default_factory=MeetingLimits)
    edge_trees: TreeShape = TreeShape(200, 6)
    card_trees: TreeShape = TreeShape(150, 4)
    num_threads: int = 1
    seed: int = 10_000  # worlds have the seeds from here on


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Payments with their graph."""

    payments: Payments
    meetings: Meetings
    edges: Edges
    cards: CardGraph

    @property
    def features(self) -> Floats:
        """Features (P, F) of each edge, with those of both its cards."""
        both = (self.cards.degree_twice, self.cards.most_rarity, self.cards.degree)
        ends = [(values[self.edges.card_a], values[self.edges.card_b]) for values in both]
        columns = [choose(*values) for values in ends for choose in (np.minimum, np.maximum)]
        return np.column_stack([self.edges.features, *columns])


@dataclass(frozen=True, eq=False)
class Scores:
    """From 0 to 1; the higher, the more likely in a ring. They order cards, and are no probabilities."""

    of_cards: Floats  # (C,)
    of_edges: Floats  # (P,)


def look_at(payments: Payments, limits: MeetingLimits | None = None) -> Surroundings:
    """The graph of the cards that met."""
    limits = limits or MeetingLimits()
    meetings = find_meetings(payments, limits)
    edges = join_meetings(payments, meetings, limits)
    return Surroundings(payments, meetings, edges, describe_cards(payments, meetings, edges))


@dataclass(frozen=True, eq=False)
class RingScorer:
    """The three fitted models (xgboost's Booster)."""

    edge_model: Any
    neighbor_model: Any
    card_model: Any
    limits: MeetingLimits

    def score(self, around: Surroundings) -> Scores:
        """Scores of all cards and edges."""
        first, second = _edge_strengths(around, self.edge_model, self.neighbor_model)
        return Scores(_predict(self.card_model, _card_inputs(around, first, second)), second)


def fit_scorer(payments: Payments, config: ScorerConfig | None = None) -> RingScorer:
    """Teach a scorer with rings that are planted into `payments`. InputError where there are too few cards."""
    config = config or ScorerConfig()
    num_worlds = NUM_STAGES * config.worlds_per_stage
    worlds = (plant_world(payments, config, number) for number in range(num_worlds))
    return fit_on_worlds(worlds, num_worlds, config)


def plant_world(payments: Payments, config: ScorerConfig, number: int) -> PlantedWorld:
    """The world of that number: turned days, rings of all levels, decoys."""
    seed = config.seed + number
    return plant_levels(shift_days(payments, seed=seed), list(config.levels), config.plan, seed=seed)


def fit_on_worlds(worlds: Iterable[PlantedWorld], num_worlds: int, config: ScorerConfig) -> RingScorer:
    """As fit_scorer(), on worlds that are planted already; each is looked at once, and then let go."""
    examples: list[list[tuple[Floats, Mask]]] = [[] for _ in range(NUM_STAGES)]
    models: list[Any] = []
    for number, world in enumerate(worlds):
        stage = number * NUM_STAGES // num_worlds
        if stage > len(models):
            models.append(_fit(examples[stage - 1], config.edge_trees, config))
        around = look_at(world.payments, config.limits)
        examples[stage].append(
            _card_examples(world, around, models) if stage == 2 else _edge_examples(world, around, models)
        )
    return RingScorer(models[0], models[1], _fit(examples[2], config.card_trees, config), config.limits)


def _edge_examples(world: PlantedWorld, around: Surroundings, models: Sequence[Any]) -> tuple[Floats, Mask]:
    """Features and answers of the edges of a world that are examples: all of planted groups, a share of the others."""
    a, b = around.edges.card_a, around.edges.card_b
    planted = world.in_ring | world.decoy_of_card
    kept = planted[a] | planted[b] | ((a + b) % GENUINE_EDGES_EVERY == 0)
    features = around.features
    if models:
        strength = _predict(models[0], features)
        features = np.column_stack(
            [features, neighbor_features(around.payments, around.meetings, around.edges, strength)]
        )
    answers = (world.ring_of_card[a] == world.ring_of_card[b]) & world.in_ring[a]
    return features[kept], answers[kept]


def _card_examples(world: PlantedWorld, around: Surroundings, models: Sequence[Any]) -> tuple[Floats, Mask]:
    """As _edge_examples(), of all cards."""
    first, second = _edge_strengths(around, models[0], models[1])
    return _card_inputs(around, first, second), world.in_ring


def _edge_strengths(around: Surroundings, edge_model: Any, neighbor_model: Any) -> tuple[Floats, Floats]:
    features = around.features
    first = _predict(edge_model, features)
    more = neighbor_features(around.payments, around.meetings, around.edges, first)
    return first, _predict(neighbor_model, np.column_stack([features, more]))


def _card_inputs(around: Surroundings, first: Floats, second: Floats) -> Floats:
    strengths = card_features(around.edges, first, second, around.payments.num_cards)
    return np.column_stack([strengths, around.cards.features])


def _fit(examples: Sequence[tuple[Floats, Mask]], shape: TreeShape, config: ScorerConfig) -> Any:
    xgb = need("xgboost", extra="tabular")
    features = np.concatenate([each for each, _ in examples]).astype(np.float32)
    answers = np.concatenate([each for _, each in examples])
    parameters = {
        "objective": "binary:logistic", "max_depth": shape.max_depth, "eta": 0.08, "subsample": 0.8,
        "colsample_bytree": 0.6, "min_child_weight": 3, "reg_lambda": 2.0, "tree_method": "hist", "max_bin": 128,
        "nthread": config.num_threads, "seed": config.seed % 2**31,
    }  # fmt: skip
    return xgb.train(parameters, xgb.DMatrix(features, label=answers, nthread=config.num_threads), shape.num_rounds)


def _predict(model: Any, features: Floats) -> Floats:
    if not len(features):  # xgboost takes no empty matrix; no two cards met
        return np.empty(0)
    xgb = need("xgboost", extra="tabular")
    return np.asarray(model.predict(xgb.DMatrix(features.astype(np.float32), nthread=1)), np.float64)
