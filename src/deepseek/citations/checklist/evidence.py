"""Which clauses of a contract speak about each of a fixed list of sentences: two views, then trees over both.

    first = EvidenceScorer.fit(contracts, vectors)              # words: logistic regression on TF-IDF; meaning: ridge
    on vectors
    table = clause_features(*first.scores(contract, vector))  # (N, H, NUM_FEATURES) for the trees of checklist.py

A clause is seen with the one before it, for the items of a list are understood by the line that opens it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.retrieval.tfidf import column_terms, fit_tfidf, restore_tfidf
from deepseek.contracts import Float32, Float64
from deepseek.extras import need

#: How much of the clause before stands in the words and in the vector of a clause; what a vector's score counts.
PREVIOUS_WORDS_WEIGHT, PREVIOUS_VECTOR_WEIGHT, MEANING_WEIGHT = 0.4, 0.5, 10.0
RIDGE_PENALTY, INVERSE_REGULARIZATION = 1.0, 10.0
NUM_FEATURES = 15
_NO_EVIDENCE_SCORE = -8.0  # the score beyond the first and the last clause
_MAX_RANK = 20


@dataclass(frozen=True, slots=True, eq=False)
class Contract:
    """N clauses judged by H sentences. 0: says nothing of it, 1: supports it, 2: contradicts it."""

    clauses: tuple[str, ...]
    evidence: NDArray[np.int64]  # (N, H), 0 to 2
    labels: NDArray[np.int64]  # (H,), 0 to 2


class EvidenceScorer:
    """What is fitted on clauses alone."""

    def __init__(self, words: Any, weights: Float64, bias: Float64, meaning: Float64) -> None:
        self._words, self._weights, self._bias = words, weights, bias
        self._meaning = np.ascontiguousarray(meaning)  # the order in memory may change the last bit of a product

    @classmethod
    def fit(cls, contracts: Sequence[Contract], vectors: Sequence[Float32]) -> EvidenceScorer:
        """`vectors`: (N, D) of the clauses of each contract."""
        linear = need("sklearn.linear_model", extra="tabular")
        target = (np.concatenate([contract.evidence for contract in contracts]) > 0).astype(np.float64)
        words = fit_tfidf([clause for contract in contracts for clause in contract.clauses])
        table = _stack_sparse([_tfidf_table(words, contract.clauses) for contract in contracts])
        weights, bias = [], []
        for column in target.T:
            if column.any():
                model = linear.LogisticRegression(
                    C=INVERSE_REGULARIZATION, solver="liblinear", tol=1e-2, random_state=0
                )
                model.fit(table, column)
                weights.append(model.coef_[0])
                bias.append(model.intercept_[0])
            else:  # no contract has it
                weights.append(np.zeros(table.shape[1]))
                bias.append(_NO_EVIDENCE_SCORE)
        rows = np.concatenate([_with_previous(rows) for rows in vectors]).astype(np.float64)
        meaning = np.linalg.solve(rows.T @ rows + RIDGE_PENALTY * np.eye(rows.shape[1]), rows.T @ target)
        return cls(words, np.array(weights), np.array(bias), np.asarray(meaning, np.float64))

    def parts(self) -> tuple[list[str], dict[str, Float64]]:
        """The fitted scorer as terms (V) and arrays: idf (V,), weights (H, 2 V), bias (H,), meaning (2 D + 1, H)."""
        arrays = {"idf": self._words.idf_, "weights": self._weights, "bias": self._bias, "meaning": self._meaning}
        return column_terms(self._words), arrays

    @classmethod
    def of(cls, terms: Sequence[str], arrays: Mapping[str, Float64]) -> EvidenceScorer:
        """A scorer from parts(). ValueError for terms that do not fit their weights."""
        return cls(restore_tfidf(terms, arrays["idf"]), arrays["weights"], arrays["bias"], arrays["meaning"])

    def scores(self, clauses: Sequence[str], vectors: Float32) -> tuple[Float64, Float64]:
        """Scores (N, H) by words and (N, H) by meaning, of N clauses for H sentences."""
        by_words = np.asarray(_tfidf_table(self._words, clauses) @ self._weights.T + self._bias)
        return by_words, np.asarray(_with_previous(vectors) @ self._meaning)


def combine_scores(words: Float64, meaning: Float64) -> Float64:
    """Scores (N, H) by words and by meaning as one score (N, H)."""
    return words + MEANING_WEIGHT * meaning


def clause_features(words: Float64, meaning: Float64, clauses: Sequence[str]) -> Float64:
    """Features (N, H, NUM_FEATURES): scores of a clause and its neighbors, its rank, its lead, what else it is evidence
    of."""
    score = combine_scores(words, meaning)
    num_clauses, num_sentences = score.shape
    order = np.argsort(-score, axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(num_clauses)[:, None], axis=0)
    best = np.take_along_axis(score, order[:1], axis=0)
    second = (
        np.take_along_axis(score, order[1:2], axis=0) if num_clauses > 1 else np.full_like(best, _NO_EVIDENCE_SCORE)
    )
    lead = score - np.where(rank == 0, second, best)
    others = np.stack(
        [np.delete(score, column, axis=1).max(axis=1, initial=-99.0) for column in range(num_sentences)], 1
    )
    every = np.ones_like(score)
    length = np.log1p([len(clause) for clause in clauses])[:, None] * every
    position = (np.arange(num_clauses) / num_clauses)[:, None] * every
    distance = np.minimum(np.abs(np.arange(num_clauses)[:, None] - order[0]), 10)
    shifted = [_shift_rows(score, by) for by in (1, -1, 2, -2)]
    kinds = np.arange(num_sentences) * every
    spread = (best - score.mean(axis=0)) * every
    return np.stack(
        [
            score,
            words,
            meaning,
            np.minimum(rank, _MAX_RANK),
            lead,
            spread,
            *shifted,
            others,
            length,
            position,
            distance,
            kinds,
        ],
        axis=2,
    )


def _shift_rows(score: Float64, by: int) -> Float64:
    shifted = np.full_like(score, _NO_EVIDENCE_SCORE)
    if by > 0:
        shifted[by:] = score[:-by]
    else:
        shifted[:by] = score[-by:]
    return shifted


def _tfidf_table(words: Any, clauses: Sequence[str]) -> Any:
    sparse = need("scipy.sparse", extra="tabular")
    before = ["", *clauses[:-1]]
    return sparse.hstack([words.transform(clauses), PREVIOUS_WORDS_WEIGHT * words.transform(before)]).tocsr()


def _stack_sparse(tables: Sequence[Any]) -> Any:
    return need("scipy.sparse", extra="tabular").vstack(tables).tocsr()


def _with_previous(vectors: Float32) -> Float32:
    before = np.zeros_like(vectors)
    before[1:] = vectors[:-1]
    constant = np.full((len(vectors), 1), 0.5, np.float32)
    return np.concatenate([vectors, PREVIOUS_VECTOR_WEIGHT * before, constant], axis=1)
