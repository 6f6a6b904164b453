"""Votes of rules -> the chance of each class: how right each rule is, is learned from how the rules agree.

An item's chances are a pool of what speaks of it: each vote counts for its class what log-odds its rule deserves, a
model of the items (learned_votes.py) counts as one rule more, and where there is none, a little of the prior does. A
pool is majority vote while nothing is known of the rules, and bends only as far as there is evidence.

How right a rule is (a of k classes): of the items on which others speak, the others give the rule's class the mean
chance m, and the sum of squared chances is S. Were their chances right, m = a S + (1 - a) (1 - S) / (k - 1); this is
solved for a, which is drawn to PRIOR_ACCURACY. A rule is not judged by its own vote. Of a rule that says one class
alone, agreement tells how often the class is spoken of, not how right the rule is: rules of one class would believe
each other for erring together. So agreement is evidence by how evenly a rule says the classes, and none for such a
rule. What people said of the same items counts before what rules agree on.

Rules that depend on each other would be counted twice. Of each pair it is measured how much oftener the two are wrong
together than independent rules of their accuracies would be; a rule's vote counts 1 / (1 + the sum of these excesses).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64

PRIOR_ACCURACY, PRIOR_VOTES = 0.75, 10.0
NUM_ROUNDS = 3
ABOVE_CHANCE, MOST_ACCURACY = 0.02, 0.97  # what is believed of a rule at least and at most
PRIOR_WEIGHT = 0.5  # of the prior in a pool without a model of the items; a vote has 1 on average
LEARNED_WEIGHT = 2.0  # of a model of the items
PRIOR_GOLD = 10.0  # gold labels that equal shares of the classes count as
LEAST_SHARED = 10  # items on which two rules meet, below which nothing is said of their dependence


@dataclass(frozen=True, slots=True)
class LabelModel:
    """What is believed of rules."""

    accuracy: Float64  # (J,)
    weight: Float64  # (J,) what a vote counts beside its accuracy, 0..1
    prior: Float64  # (C,)

    def probabilities(self, votes: NDArray[np.int64], learned: Float64 | None = None) -> Float64:
        """(N, J), and chances by a model of the items (N, C) -> (N, C). Items without a vote have the prior."""
        pool = _pool_votes(votes, self.vote_weights(), len(self.prior))
        pool += PRIOR_WEIGHT * self.prior if learned is None else LEARNED_WEIGHT * learned
        return np.asarray(pool / pool.sum(axis=1, keepdims=True))

    def vote_weights(self) -> Float64:
        """(J,): what a vote of each rule counts, 1 for one of PRIOR_ACCURACY that depends on no other."""
        num_classes = len(self.prior)
        return self.weight * _log_odds(self.accuracy, num_classes) / _log_odds(np.array(PRIOR_ACCURACY), num_classes)


def fit_label_model(votes: NDArray[np.int64], num_classes: int, gold: NDArray[np.int64] | None = None) -> LabelModel:
    """Fit to votes (N, J) of classes, -1 where a rule abstains; `gold` (N,) classes that people gave, -1 elsewhere."""
    num_rules = votes.shape[1]
    classes = np.full(len(votes), -1) if gold is None else gold
    counts = np.bincount(classes[classes >= 0], minlength=num_classes)
    prior = (counts + PRIOR_GOLD / num_classes) / (counts.sum() + PRIOR_GOLD)
    model = LabelModel(np.full(num_rules, PRIOR_ACCURACY), np.ones(num_rules), prior)
    for _ in range(NUM_ROUNDS):
        accuracy = np.array([_rate_rule(rule, votes, model, classes) for rule in range(num_rules)])
        model = LabelModel(np.clip(accuracy, 1 / num_classes, MOST_ACCURACY), model.weight, prior)
        chances = model.probabilities(votes)
        known = np.flatnonzero(classes >= 0)
        chances[known] = np.eye(num_classes)[classes[known]]
        model = LabelModel(model.accuracy, _independence(votes, chances), prior)
    return model


def majority_vote(votes: NDArray[np.int64], num_classes: int) -> Float64:
    """(N, J) -> (N, C): the share of the votes; equal shares where nobody votes."""
    counts = _pool_votes(votes, np.ones(votes.shape[1]), num_classes)
    total = counts.sum(axis=1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), 1 / num_classes)


def _pool_votes(votes: NDArray[np.int64], weights: Float64, num_classes: int) -> Float64:
    return np.stack([(votes == code) @ weights for code in range(num_classes)], axis=1).astype(np.float64)


def _log_odds(accuracy: Float64, num_classes: int) -> Float64:
    """Of a rule that says one of the other classes where it is wrong, all alike."""
    clipped = np.clip(accuracy, 1 / num_classes + ABOVE_CHANCE, MOST_ACCURACY)
    return np.asarray(np.log(clipped * max(num_classes - 1, 1) / (1 - clipped)))


def _rate_rule(rule: int, votes: NDArray[np.int64], model: LabelModel, classes: NDArray[np.int64]) -> float:
    """How right a rule is, by what the others and people say."""
    own, num_classes = votes[:, rule], len(model.prior)
    others = votes.copy()
    others[:, rule] = -1
    rows = np.flatnonzero((own >= 0) & (others >= 0).any(axis=1) & (classes < 0))
    value, evidence = PRIOR_ACCURACY, 0.0
    if len(rows):
        chances = _sharp_chances(others[rows], model)
        agreed = float(chances[np.arange(len(rows)), own[rows]].mean())
        sure = float(np.square(chances).sum(axis=1).mean())
        chance = (1 - sure) / max(num_classes - 1, 1)
        if sure > chance:
            value = (agreed - chance) / (sure - chance)
            evidence = _evenness(own[rows], num_classes) * len(rows) * (sure - chance) ** 2
    estimate = (evidence * float(np.clip(value, 0, 1)) + PRIOR_VOTES * PRIOR_ACCURACY) / (evidence + PRIOR_VOTES)
    judged = np.flatnonzero((own >= 0) & (classes >= 0))
    hits = float((own[judged] == classes[judged]).sum())
    return (hits + PRIOR_VOTES * estimate) / (len(judged) + PRIOR_VOTES)


def _evenness(codes: NDArray[np.int64], num_classes: int) -> float:
    """0 for one class alone, 1 for equal shares of all."""
    share = np.bincount(codes, minlength=num_classes) / len(codes)
    return float((1 - np.square(share).sum()) / (1 - 1 / max(num_classes, 2)))


def _sharp_chances(votes: NDArray[np.int64], model: LabelModel) -> Float64:
    """(N, C): what follows from votes of rules that err independently of each other."""
    num_classes = len(model.prior)
    logs = _pool_votes(votes, model.weight * _log_odds(model.accuracy, num_classes), num_classes)
    logs += np.log(model.prior)
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


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
