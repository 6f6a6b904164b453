"""Rules and a model of the items together: what each item is, when rules that know little of it are not alone.

    weighed = weigh_votes(votes, num_classes, dense=features.dense)
    weighed.chances                                # (N, C)

A linear model learns from what the rules say and is asked about items that it has not learned from; as one vote more it
tells which of two rules that contradict each other is right here. (Raykar et al. 2010 learn a classifier and how right
annotators are together so.) How right a rule is, it is not asked: it has learned from that rule, and would praise those
that speak most. For the same reason its chances are scaled so that all items together have the geometric mean of two
shares of the classes: the prior, and how often rules speak of each. The prior alone would make rare classes common; by
the rules alone, the class that they speak of most would win all conflicts. With labels of people the prior is their
count, and what rules speak of fades.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.label.choose.learner import fit_learner
from deepseek.automl.label.rules.label_model import PRIOR_GOLD, LabelModel, fit_label_model, majority_vote
from deepseek.contracts import Float64

NUM_PASSES = 4
NUM_FOLDS = 3
LEAST_ROWS = 30  # items with a vote, below which rules are alone
SPOKEN = 0.5  # 0: all items together have the shares of the prior; 1: those of the votes; without people's labels
LEAST_SHARE = 1e-6  # of a class that no rule speaks of
LEAST_CHANCE = 0.02  # of a class of an item, below which it is not learned from


@dataclass(frozen=True, slots=True)
class WeighedVotes:
    """What is believed of rules and of items."""

    model: LabelModel
    chances: Float64  # (N, C)


def weigh_votes(
    votes: NDArray[np.int64], num_classes: int, *, gold: NDArray[np.int64] | None = None, dense: Float64 | None = None,
    is_held: NDArray[np.bool_] | None = None, seed: int = 0,
) -> WeighedVotes:  # fmt: skip
    """`votes` (N, J), -1 for none; `gold` (N,) what people said, -1 for nothing; `dense` (N, D) numbers of the items;
    `is_held` (N,) items that nothing is learned from."""
    num_items = len(votes)
    held = np.zeros(num_items, bool) if is_held is None else is_held
    known = np.full(num_items, -1) if gold is None else np.where(held, -1, gold)
    taught = np.flatnonzero(~held)
    model = fit_label_model(votes[taught], num_classes, known[taught])
    chances = model.probabilities(votes)
    rows = np.flatnonzero(~held & ((votes >= 0).any(axis=1) | (known >= 0)))
    if dense is None or len(rows) < LEAST_ROWS:
        return WeighedVotes(model, chances)
    fold_of = np.random.default_rng(seed).integers(0, NUM_FOLDS, num_items)
    people = np.flatnonzero(known >= 0)
    shares = _shares_of_classes(votes, known, rows, model.prior)
    for _ in range(NUM_PASSES):
        lessons = chances.copy()
        lessons[people] = np.eye(num_classes)[known[people]]
        learned = _ask_learner(dense, lessons, rows, fold_of)
        learned *= shares / np.maximum(learned[rows].mean(axis=0), LEAST_SHARE)
        chances = model.probabilities(votes, learned / learned.sum(axis=1, keepdims=True))
    return WeighedVotes(model, chances)


def _shares_of_classes(
    votes: NDArray[np.int64], known: NDArray[np.int64], rows: NDArray[np.int64], prior: Float64
) -> Float64:
    """(C,): between the prior and what is said of `rows`; the more people have labeled, the nearer to the prior, which
    is then their count."""
    said = majority_vote(votes, len(prior))
    people = np.flatnonzero(known >= 0)
    said[people] = np.eye(len(prior))[known[people]]
    spoken = SPOKEN * PRIOR_GOLD / (PRIOR_GOLD + len(people))
    shares = np.maximum(said[rows].mean(axis=0), LEAST_SHARE) ** spoken * prior ** (1 - spoken)
    return np.asarray(shares / shares.sum())


def _ask_learner(
    dense: Float64, chances: Float64, rows: NDArray[np.int64], fold_of: NDArray[np.int64]
) -> Float64:  # fmt: skip
    """(N, C): what models of the other folds' rows say of each item."""
    num_classes = chances.shape[1]
    learned = np.empty_like(chances)
    for fold in range(NUM_FOLDS):
        others = rows[fold_of[rows] != fold]
        places, codes = np.nonzero(chances[others] >= LEAST_CHANCE)
        weight = chances[others[places], codes]
        learner = fit_learner(dense[others[places]], codes.astype(np.int64), weight, num_classes)
        is_held = fold_of == fold
        learned[is_held] = learner.probabilities(dense[is_held])
    return learned
