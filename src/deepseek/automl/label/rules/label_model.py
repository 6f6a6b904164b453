"""Votes of rules -> the chance of each class: how right each rule is, is learned from how the rules agree.

The model. An item has a class y of the prior; rule j, where it speaks, says y with the chance a_j and else one of the
other classes, all alike (Dawid and Skene 1979 with one accuracy for each rule; abstention says nothing). Expectation
and maximization, with a_j drawn to PRIOR_ACCURACY by PRIOR_VOTES votes, so that a rule that nobody meets is believed a
little, and never below chance. The prior of the classes is that of the gold labels, where people gave them, drawn to
equal shares: learned from votes, it runs off to one class as soon as each rule knows a class of its own.

Rules that depend on each other would be counted twice. Of each pair it is measured how much oftener the two are wrong
together than independent rules of their accuracies would be; a rule's vote counts 1 / (1 + the sum of these excesses).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64

PRIOR_ACCURACY, PRIOR_VOTES = 0.75, 10.0
NUM_STEPS, TOLERANCE = 100, 1e-6
MOST_ACCURACY = 0.995
PRIOR_GOLD = 10.0  # gold labels that equal shares of the classes count as
LEAST_SHARED = 10  # items on which two rules meet, below which nothing is said of their dependence


@dataclass(frozen=True, slots=True)
class LabelModel:
    """What is believed of rules."""

    accuracy: Float64  # (J,)
    weight: Float64  # (J,) what a vote counts, 0..1
    prior: Float64  # (C,)

    def probabilities(self, votes: NDArray[np.int64]) -> Float64:
        """(N, J) -> (N, C). Items without a vote have the prior."""
        num_classes = len(self.prior)
        right = np.log(self.accuracy) * self.weight
        wrong = np.log((1 - self.accuracy) / max(num_classes - 1, 1)) * self.weight
        speaks = votes >= 0
        logs = np.log(self.prior) + (speaks @ wrong)[:, None]
        rows, rules = np.nonzero(speaks)
        np.add.at(logs, (rows, votes[rows, rules]), (right - wrong)[rules])
        shares: Float64 = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def fit_label_model(votes: NDArray[np.int64], num_classes: int, gold: NDArray[np.int64] | None = None) -> LabelModel:
    """Fit to votes (N, J) of classes, -1 where a rule abstains; `gold` (N,) classes that people gave, -1 elsewhere."""
    num_rules = votes.shape[1]
    speaks = votes >= 0
    known = np.flatnonzero(gold >= 0) if gold is not None else np.zeros(0, np.int64)
    covered = np.union1d(np.flatnonzero(speaks.any(axis=1)), known)
    counts = np.bincount(gold[known], minlength=num_classes) if gold is not None else np.zeros(num_classes)
    prior = (counts + PRIOR_GOLD / num_classes) / (counts.sum() + PRIOR_GOLD)
    model = LabelModel(np.full(num_rules, PRIOR_ACCURACY), np.ones(num_rules), prior)
    if not len(covered):
        return model
    for is_second in (False, True):
        if is_second:
            model = LabelModel(model.accuracy, _independence(votes, _posterior(model, votes, gold)), model.prior)
        for _ in range(NUM_STEPS):
            posterior = _posterior(model, votes, gold)
            new = _maximize(votes[covered], posterior[covered], model)
            change = float(np.abs(new.accuracy - model.accuracy).max(initial=0.0))
            model = new
            if change < TOLERANCE:
                break
    return model


def majority_vote(votes: NDArray[np.int64], num_classes: int) -> Float64:
    """(N, J) -> (N, C): the share of the votes; equal shares where nobody votes."""
    counts = np.stack([(votes == code).sum(axis=1) for code in range(num_classes)], axis=1).astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), 1 / num_classes)


def _posterior(model: LabelModel, votes: NDArray[np.int64], gold: NDArray[np.int64] | None) -> Float64:
    posterior = model.probabilities(votes)
    if gold is not None:
        rows = np.flatnonzero(gold >= 0)
        posterior[rows] = 0.0
        posterior[rows, gold[rows]] = 1.0
    return posterior


def _maximize(votes: NDArray[np.int64], posterior: Float64, model: LabelModel) -> LabelModel:
    chance = 1 / max(posterior.shape[1], 2)
    accuracy = np.empty(votes.shape[1])
    for rule in range(votes.shape[1]):
        rows = np.flatnonzero(votes[:, rule] >= 0)
        hits = float(posterior[rows, votes[rows, rule]].sum())
        accuracy[rule] = (hits + PRIOR_VOTES * PRIOR_ACCURACY) / (len(rows) + PRIOR_VOTES)
    return LabelModel(np.clip(accuracy, chance, MOST_ACCURACY), model.weight, model.prior)


def _independence(votes: NDArray[np.int64], posterior: Float64) -> Float64:
    """(J,): 1 for a rule whose errors are its own, less where others are wrong with it."""
    rows, rules = np.nonzero(votes >= 0)
    wrong = np.full(votes.shape, np.nan)
    wrong[rows, rules] = 1 - posterior[rows, votes[rows, rules]]
    excess = np.zeros((votes.shape[1], votes.shape[1]))
    for one in range(votes.shape[1]):
        for other in range(one):
            shared = np.flatnonzero((votes[:, one] >= 0) & (votes[:, other] >= 0))
            if len(shared) < LEAST_SHARED:
                continue
            a, b = wrong[shared, one], wrong[shared, other]
            same = votes[shared, one] == votes[shared, other]
            both = float(np.minimum(a, b)[same].sum()) / len(shared)
            alone = float(a.mean() * b.mean())
            most = float(min(a.mean(), b.mean()))
            if most > alone:
                excess[one, other] = excess[other, one] = float(np.clip((both - alone) / (most - alone), 0, 1))
    return np.asarray(1 / (1 + excess.sum(axis=1)))
