"""Which clauses caused a sentence: clauses are left out at random, and a sparse linear model says what that changes.

    causes = attribute(generator, clauses, sentences)      # weights (number of sentences, number of clauses)

ContextCite (Cohen-Wang et al. 2024, arXiv 2409.00729, section 3): draw masks, each clause kept with probability 1/2;
ask the generator for the log-probability of each sentence under each mask; turn it into a logit; fit a LASSO. A weight
is how much the logit of the sentence rises when the clause is there. How far the linear model can be trusted is
measured: `fit` is the rank correlation between its prediction and the generator on masks that were held out (LDS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from deepseek.contracts import Float64
from deepseek.errors import DeepseekError, InputError

#: What a generator of somebody else's may fail with; our own bugs are not among them.
GENERATOR_ERRORS = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError, DeepseekError)


class Generator(Protocol):
    """A language model that has written, or could have written, the text."""

    def log_probabilities(self, clauses: Sequence[str], sentences: Sequence[str]) -> Sequence[float]:
        """Log-probabilities of the sentences (natural logarithm of the product over its tokens, at most 0), the
        sentences before it given, when only these clauses stand in the prompt."""
        ...


@dataclass(frozen=True, slots=True)
class Ablation:
    """How much is asked: num_masks + num_held calls of the generator."""

    num_masks: int = 32  # at least 8
    num_held: int = 8  # masks that only measure the fit; at least 4
    penalty: float = 0.01  # LASSO's, on logits divided by their deviation
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("num_masks", 8), ("num_held", 4)):
            if getattr(self, name) < least:
                raise InputError(
                    f"Ablation.{name} is {getattr(self, name)}", expected=f"at least {least}", fix="give more masks"
                )
        if not self.penalty >= 0:
            raise InputError(f"Ablation.penalty is {self.penalty}", expected="at least 0", fix="0.01 is usual")


@dataclass(frozen=True, slots=True)
class CauseWeights:
    """weights (S, C) on the scale of logits; fit (S,) from -1 to 1, NaN where the generator does not react at all.

    `problem` says why there are none: the generator failed.
    """

    weights: Float64
    fit: Float64
    num_calls: int
    problem: str = ""
    drops: Float64 = field(
        default_factory=lambda: np.zeros(0)
    )  # (S,): log-probability with all clauses minus with none


def attribute_clauses(
    generator: Generator, clauses: Sequence[str], sentences: Sequence[str], options: Ablation | None = None
) -> CauseWeights:
    """Ask the generator 2 + num_masks + num_held times. A generator that fails, or answers with what is no
    log-probability, gives CauseWeights without weights and with a `problem`; nothing is raised for it."""
    options = options or Ablation()
    num_clauses, num_sentences = len(clauses), len(sentences)
    draw = np.random.default_rng(options.seed)
    masks = draw.random((options.num_masks + options.num_held, num_clauses)) < 0.5
    masks = np.concatenate([[np.ones(num_clauses, bool), np.zeros(num_clauses, bool)], masks])
    answers = np.empty((len(masks), num_sentences))
    for call, mask in enumerate(masks):
        shown = [clause for clause, kept in zip(clauses, mask, strict=True) if kept]
        try:
            answers[call] = _check_log_probabilities(generator.log_probabilities(shown, sentences), num_sentences)
        except GENERATOR_ERRORS as error:
            none = np.full((num_sentences, num_clauses), np.nan)
            problem = f"the generator failed at call {call + 1}: {type(error).__name__}: {str(error)[:200]}"
            return CauseWeights(none, np.full(num_sentences, np.nan), call, problem)
    weights = np.zeros((num_sentences, num_clauses))
    fit = np.full(num_sentences, np.nan)
    train = np.r_[0 : 2 + options.num_masks]
    held_out = np.r_[2 + options.num_masks : len(masks)]
    for sentence in range(num_sentences):
        target = logit(answers[:, sentence])
        spread = float(target[train].std())
        if spread < 1e-9:
            continue  # nothing that is left out changes the sentence
        weights[sentence] = spread * fit_lasso(masks[train], target[train] / spread, options.penalty)
        fit[sentence] = rank_correlation(masks[held_out] @ weights[sentence], target[held_out])
    return CauseWeights(weights, fit, len(masks), drops=answers[0] - answers[1])


def logit(log_probabilities: Float64) -> Float64:
    """log(p / (1 - p)) from log p, without losing small ones.

    >>> logit(np.log(np.array([0.5, 0.9]))).round(3).tolist()
    [0.0, 2.197]
    """
    bounded = np.minimum(log_probabilities, -1e-9)
    return np.asarray(bounded - np.log(-np.expm1(bounded)))


def fit_lasso(features: np.ndarray, target: Float64, penalty: float, *, rounds: int = 200) -> Float64:
    """Weights (C,) of features (M, C) for a target (M,): least squares / 2M + penalty * sum of |weights|, an intercept
    left free. Coordinate descent (Friedman et al. 2010, formula 5)."""
    x = features - features.mean(axis=0)
    rest = target - target.mean()
    scale = (x**2).mean(axis=0)
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        change = 0.0
        for column in np.flatnonzero(scale > 0):
            pull = x[:, column] @ rest / len(x) + scale[column] * weights[column]
            new = np.sign(pull) * max(abs(pull) - penalty, 0.0) / scale[column]
            if new != weights[column]:
                rest -= x[:, column] * (new - weights[column])
                change = max(change, abs(new - weights[column]))
                weights[column] = new
        if change < 1e-7:
            break
    return weights


def rank_correlation(first: Float64, second: Float64) -> float:
    """Spearman's; NaN when one of them is constant.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0]))
    1.0
    """
    ranks = [_mean_ranks(np.asarray(values).round(9)) for values in (first, second)]
    if min(float(values.std()) for values in ranks) == 0:
        return float("nan")
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 12)


def _mean_ranks(values: Float64) -> Float64:
    """Ranks from 1, equal values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], np.float64)


def _check_log_probabilities(log_probabilities: Sequence[float], num_sentences: int) -> Float64:
    numbers = np.asarray(log_probabilities, np.float64)
    if numbers.shape != (num_sentences,):
        raise ValueError(f"it gave {list(numbers.shape)} numbers for {num_sentences} sentences")
    if not np.isfinite(numbers).all() or (numbers > 1e-6).any():
        raise ValueError("a log-probability must be finite and at most 0")
    return numbers
