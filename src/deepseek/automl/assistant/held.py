"""What each head says of questions that it has not learned: in held folds, and with their whole intent left out.

    folds = stratified_folds(labels, 5, seed)          # rows of each fold
    groups = intent_groups(labels, 5, seed)            # rows of each group of intents
    held = hold_terms(terms, questions, labels, folds, groups)
    held.head, held.inside, held.hidden

`inside` are scores by fits without the row's fold: they say how right an answer is. `hidden` are scores by fits without
the row's intent and a fifth of the others: to those the question is out of scope, so they teach what that looks like
without anybody writing such questions.

Shapes: N questions, C intents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.assistant.kernel_fit import RidgeFit, Rows, fit_ridge, one_hot
from deepseek.contracts import Float32
from deepseek.engines.assistant.heads import KernelHead, TermHead, gaussian_kernel, nearest_of_each
from deepseek.engines.assistant.terms import TermWeights
from deepseek.extras import need

TERM_COST = 1.0
NO_INTENT = -1.5  # the margin of an intent of which nothing is known
#: Of the kernel: its gamma times the mean squared distance of two questions, as some encoders crowd all texts together.
KERNEL_WIDTH, KERNEL_RIDGE = 1.2, 0.1


@dataclass(frozen=True, eq=False)
class HeldHead:
    """A fitted head, and what it says of rows that were held from it; one pair of arrays for each score it gives."""

    head: TermHead | KernelHead
    inside: tuple[Float32, ...]  # (N, C), NaN for rows in no fold
    hidden: tuple[Float32, ...]  # (N, C), without the intents of the row's group


def stratified_folds(labels: Rows, num_folds: int, seed: int) -> list[Rows]:
    """The rows of each fold: of each intent about as many in each. Rows whose intent has a single question are in none:
    without it, nothing would be known of the intent."""
    draw = np.random.default_rng(seed)
    fold_of = np.full(len(labels), -1)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) > 1:
            fold_of[draw.permutation(rows)] = (np.arange(len(rows)) + draw.integers(num_folds)) % num_folds
    return [np.flatnonzero(fold_of == fold) for fold in range(num_folds) if (fold_of == fold).any()]


def intent_groups(labels: Rows, num_groups: int, seed: int) -> list[Rows]:
    """The rows of each group of intents, so that every intent is left out once."""
    intents = np.random.default_rng((seed, 1)).permutation(np.unique(labels))
    groups = [part for part in np.array_split(intents, min(num_groups, len(intents))) if len(part)]
    return [np.flatnonzero(np.isin(labels, part)) for part in groups]


def term_matrix(terms: TermWeights, questions: Sequence[str]) -> Any:
    """The rows of the questions as a sparse matrix (N, V)."""
    sparse = need("scipy.sparse", extra="tabular")
    rows = terms.rows(questions)
    ends = np.cumsum([0, *(len(ids) for ids, _ in rows)])
    ids, values = (np.concatenate([row[part] for row in rows]) for part in (0, 1))
    return sparse.csr_matrix((values, ids, ends), shape=(len(rows), len(terms.terms)))


def hold_terms(matrix: Any, labels: Rows, num_intents: int, folds: list[Rows], groups: list[Rows]) -> HeldHead:
    """A head of terms: one linear support vector machine for each intent. It is fitted anew without each block: ridge
    regression, which would need no new fit, is some five points worse on terms."""
    inside, hidden = (np.full((len(labels), num_intents), np.nan, np.float32) for _ in range(2))
    for scores, blocks in ((inside, folds), (hidden, groups)):
        for block in blocks:
            rest = np.setdiff1d(np.arange(len(labels)), block)
            head = fit_terms(matrix[rest], labels[rest], num_intents)
            scores[block] = matrix[block] @ head.weights + head.bias
    return HeldHead(fit_terms(matrix, labels, num_intents), (inside,), (hidden,))


def fit_terms(matrix: Any, labels: Rows, num_intents: int) -> TermHead:
    """Margins of terms (N, V): about 1 for the own intent, -1 for the others; NO_INTENT for one without questions."""
    weights = np.zeros((matrix.shape[1], num_intents), np.float32)
    bias = np.full(num_intents, NO_INTENT, np.float32)
    present = np.unique(labels)
    if len(present) == 1:
        bias[present] = 1.0
        return TermHead(weights, bias)
    machine = need("sklearn.svm", extra="tabular").LinearSVC(C=TERM_COST, random_state=0)
    machine.fit(matrix, labels)
    signs = np.array([[-1.0], [1.0]]) if len(present) == 2 else np.ones((1, 1))  # of two intents it has one column
    weights[:, present] = (signs * machine.coef_).T
    bias[present] = (signs[:, 0] * machine.intercept_).T
    return TermHead(weights, bias)


def hold_kernel(
    vectors: Float32, labels: NDArray[np.int64], num_intents: int, folds: list[Rows], groups: list[Rows]
) -> HeldHead:
    """A head of embeddings (N, D): the regression, and the nearest question of each intent. `labels` rise."""
    cosines = vectors @ vectors.T
    intents = labels.astype(np.int32)
    inside, hidden = (_held_nearest(cosines, intents, num_intents, blocks) for blocks in (folds, groups))
    gamma = KERNEL_WIDTH / max(2 * (1 - float(cosines.mean(dtype=np.float64))), 1e-3)
    fit = fit_ridge(gaussian_kernel(cosines, gamma), one_hot(labels, num_intents), ridge=KERNEL_RIDGE)
    head = KernelHead(vectors, fit.dual, intents, gamma)
    return HeldHead(head, (fit.held_scores(folds), inside), (_hidden_scores(fit, groups, labels), hidden))


def _hidden_scores(fit: RidgeFit, groups: list[Rows], labels: Rows) -> Float32:
    """Without a group its own intents score 0, but for rounding."""
    scores = fit.held_scores(groups)
    for group in groups:
        scores[np.ix_(group, np.unique(labels[group]))] = 0
    return scores


def _held_nearest(cosines: Float32, intents: NDArray[np.int32], num_intents: int, blocks: list[Rows]) -> Float32:
    """(N, C): the nearest question of each intent outside of the row's own block."""
    nearest = np.full((len(cosines), num_intents), np.nan, np.float32)
    for block in blocks:
        rest = np.setdiff1d(np.arange(len(cosines)), block)
        nearest[block] = nearest_of_each(cosines[np.ix_(block, rest)], intents[rest], num_intents)
    return nearest
