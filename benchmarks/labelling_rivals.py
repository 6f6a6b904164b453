"""Strategies of other packages for `labelling.py`, where they are installed: scikit-activeml, modAL, small-text.

pip install --no-deps --target FOLDER scikit-activeml makefun modAL-python small-text    # then PYTHONPATH=FOLDER
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from deepseek.automl.label.choose.learner import MOST_STEPS, STRENGTH, TOLERANCE, Learner

PACKAGES = {"scikit-activeml": "skactiveml", "modAL": "modAL", "small-text": "small_text"}
MAX_RANKED = 3_000  # items: modAL's ranked batches take the distances of all that is left for each label
TEXTS = ("banking77", "sst2")


@dataclass(frozen=True)
class Pool:
    """Rows to ask for, and rows to measure on."""

    train: Any  # (N, D)
    answers: Any  # (N,)
    test: Any  # (T, D)
    truth: Any  # (T,)
    num_classes: int


@dataclass(frozen=True)
class Turn:
    """What a strategy knows when it asks for `num` more labels."""

    pool: Pool
    labeled: Any  # rows (L,)
    left: Any  # rows that have no label
    num: int
    learner: Learner | None  # of the labels so far; None before the first
    seed: int


Ask = Callable[[Turn], Any]


def installed_strategies(name: str, num_items: int) -> dict[str, Ask]:
    """What is asked about the set `name`."""
    strategies: dict[str, Ask] = {}
    if importlib.util.find_spec("skactiveml"):
        for each in ("Clue", "Falcun", "DropQuery"):
            strategies[f"{each} (scikit-activeml)"] = _of_skactiveml(each)
    if importlib.util.find_spec("modAL") and num_items <= MAX_RANKED:
        strategies["ranked batches (modAL)"] = _ask_modal
    if importlib.util.find_spec("small_text") and name in TEXTS:
        strategies["contrastive (small-text)"] = _ask_small_text
    return strategies


def at_random(turn: Turn) -> Any:
    return np.random.default_rng(turn.seed).permutation(turn.left)[: turn.num]


def _model() -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, tol=TOLERANCE, max_iter=MOST_STEPS)


def _can_fit(turn: Turn) -> bool:
    return len(np.unique(turn.pool.answers[turn.labeled])) > 1


def _of_skactiveml(name: str) -> Ask:
    def ask(turn: Turn) -> Any:
        from skactiveml import pool
        from skactiveml.classifier import SklearnClassifier

        if not _can_fit(turn):
            return at_random(turn)
        classes = np.arange(turn.pool.num_classes)
        answers = np.full(len(turn.pool.train), np.nan)
        answers[turn.labeled] = turn.pool.answers[turn.labeled]
        few = {"n_init": 1, "random_state": turn.seed}  # of k-means, which takes no seed from the strategy
        strategy = (
            pool.Falcun(random_state=turn.seed) if name == "Falcun"
            else getattr(pool, name)(random_state=turn.seed, cluster_algo_dict=few)
        )  # fmt: skip
        model = {"estimator" if name == "Clue" else "clf": SklearnClassifier(_model(), classes=classes)}
        with threadpool_limits(1):
            return np.asarray(strategy.query(turn.pool.train, answers, **model, batch_size=turn.num))

    return ask


def _ask_modal(turn: Turn) -> Any:
    from modAL.batch import uncertainty_batch_sampling
    from modAL.models import ActiveLearner

    if not _can_fit(turn):
        return at_random(turn)
    train = turn.pool.train
    with threadpool_limits(1):
        learner = ActiveLearner(_model(), X_training=train[turn.labeled], y_training=turn.pool.answers[turn.labeled])
        chosen = uncertainty_batch_sampling(learner, train[turn.left], n_instances=turn.num)
    return turn.left[np.asarray(chosen[0] if isinstance(chosen, tuple) else chosen)]


def _ask_small_text(turn: Turn) -> Any:
    from small_text import ContrastiveActiveLearning

    if turn.learner is None or len(turn.left) <= turn.num:
        return at_random(turn)
    train, chances = turn.pool.train, turn.learner.probabilities(turn.pool.train)
    with threadpool_limits(1):
        chosen = ContrastiveActiveLearning(pbar=None).sample(
            None, train, turn.left, turn.labeled, None, turn.num, train, np.maximum(chances, 1e-6)
        )
    return turn.left[chosen]
