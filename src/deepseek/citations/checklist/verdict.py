"""What a whole contract says of each sentence of a checklist: nothing, that it holds, or that it does not.

    verdicts, unseen = VerdictModel.fit(contracts, vectors, tables, ranked, fold)
    verdicts.probabilities(clauses, vectors, table, ranked)       # (H, 3)

A logistic regression for each sentence reads the likeliest clause, what all clauses mean and how likely they are
evidence at all; boosted trees weigh it against the shape of the contract. Both count the same: either alone is right
about as often, and the probabilities of their mean are nearer to the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.checklist.evidence import Contract
from deepseek.citations.retrieval.tfidf import column_terms, fit_tfidf, restore_tfidf
from deepseek.contracts import Float32, Float64
from deepseek.extras import need

NUM_SCORES, NUM_TREE_SCORES = 3, 4  # best scores that a reader sees, and that the trees see
NUM_LABELS = 3
SCORE_SCALE = 4.0  # of a reader's scores: about as large as its other columns, for one strength weighs them all
NO_EVIDENCE_PRIOR = (
    0.5  # added to the clauses' probabilities: where none is evidence, the mean of their vectors is near 0
)
NUM_SUMMARY_FEATURES = NUM_TREE_SCORES + 10  # columns of _summary
INVERSE_REGULARIZATION = 5.0
VERDICT_TREE_PARAMETERS = {
    "n_estimators": 80, "max_depth": 3, "learning_rate": 0.08, "subsample": 0.8, "colsample_bytree": 0.6,
    "min_child_weight": 4, "n_jobs": 1, "random_state": 0,
}  # fmt: skip
_NEGATION_WORDS = (" not ", " no ", " except", "unless", "without", "however")


@dataclass(frozen=True, slots=True, eq=False)
class ReaderWeights:
    """A trained reader as data."""

    terms: list[str]  # (V,) in the order of their columns
    arrays: Mapping[str, NDArray[Any]]  # idf (V,), coef (K, V + D + NUM_SCORES), intercept (K,), classes (K,)


StoredReader = int | ReaderWeights  # the label that all contracts had, or what tells labels apart


class LabelReaders:
    """One reader for each sentence: a label where all contracts had it, else words and a logistic regression over them,
    a mean vector and the best scores."""

    def __init__(self, readers: Sequence[Any]) -> None:
        self._readers = list(readers)

    @classmethod
    def fit(cls, contracts: Sequence[Contract], vectors: Sequence[Float32], ranked: Sequence[Float64]) -> LabelReaders:
        """`vectors` (N, D) and `ranked` (N, H) of each contract."""
        readers: list[Any] = []
        for column in range(ranked[0].shape[1]):
            inputs = [
                _reader_input(c.clauses, v, r[:, column]) for c, v, r in zip(contracts, vectors, ranked, strict=True)
            ]
            labels = np.array([contract.labels[column] for contract in contracts])
            if len(set(labels.tolist())) == 1:
                readers.append(int(labels[0]))
                continue
            words = fit_tfidf([clause for clause, _ in inputs])
            readers.append((words, _regression().fit(_reader_table(words, inputs), labels)))
        return cls(readers)

    def parts(self) -> list[StoredReader]:
        """Each reader as data."""
        return [
            reader
            if isinstance(reader, int)
            else ReaderWeights(
                column_terms(reader[0]),
                {"idf": reader[0].idf_, "coef": reader[1].coef_, "intercept": reader[1].intercept_}
                | {"classes": np.asarray(reader[1].classes_, np.int64)},
            )
            for reader in self._readers
        ]

    @classmethod
    def of(cls, parts: Sequence[StoredReader]) -> LabelReaders:
        """Readers from parts(). ValueError for terms that do not fit their weights."""
        readers: list[Any] = []
        for part in parts:
            if isinstance(part, int):
                readers.append(part)
                continue
            arrays = part.arrays
            model = _regression()
            model.coef_, model.intercept_, model.classes_ = arrays["coef"], arrays["intercept"], arrays["classes"]
            model.n_features_in_ = arrays["coef"].shape[1]
            readers.append((restore_tfidf(part.terms, arrays["idf"]), model))
        return cls(readers)

    def probabilities(self, clauses: Sequence[str], vectors: Float32, ranked: Float64) -> Float64:
        """Probabilities (H, 3) of the labels, for H sentences."""
        probabilities = np.zeros((ranked.shape[1], 3))
        for column, reader in enumerate(self._readers):
            if isinstance(reader, int):
                probabilities[column, reader] = 1
                continue
            words, model = reader
            table = _reader_table(words, [_reader_input(clauses, vectors, ranked[:, column])])
            probabilities[column, model.classes_] = model.predict_proba(table)[0]
        return probabilities


class VerdictModel:
    """Readers and the trees over them."""

    def __init__(self, readers: LabelReaders, trees: Any) -> None:
        self.readers, self.trees = readers, trees

    @classmethod
    def fit(
        cls,
        contracts: Sequence[Contract],
        vectors: Sequence[Float32],
        tables: Sequence[Float64],
        ranked: Sequence[Float64],
        fold: NDArray[np.int64],
    ) -> tuple[VerdictModel, list[Float64]]:
        """`ranked`: (N, H) of each contract, by rankers that have not seen it. The trees learn from readers of other
        folds. Returns it with the probabilities (H, 3) of each contract by readers and trees that have not seen it."""
        rows: list[Any] = [None] * len(contracts)
        unseen: list[Any] = [None] * len(contracts)
        for fold_number in sorted(set(fold.tolist())):
            training = np.flatnonzero(fold != fold_number).tolist()
            readers = LabelReaders.fit(
                [contracts[index] for index in training],
                [vectors[index] for index in training],
                [ranked[index] for index in training],
            )
            for index in np.flatnonzero(fold == fold_number).tolist():
                clauses = contracts[index].clauses
                probabilities = readers.probabilities(clauses, vectors[index], ranked[index])
                rows[index] = _contract_features(clauses, tables[index], ranked[index], probabilities)
                unseen[index] = probabilities
        labels = [contract.labels for contract in contracts]
        for fold_number in sorted(set(fold.tolist())):
            training = np.flatnonzero(fold != fold_number).tolist()
            trees = _fit_trees([rows[index] for index in training], [labels[index] for index in training])
            for index in np.flatnonzero(fold == fold_number).tolist():
                unseen[index] = (unseen[index] + _predict_trees(trees, rows[index])) / 2
        return cls(LabelReaders.fit(contracts, vectors, ranked), _fit_trees(rows, labels)), unseen

    def probabilities(self, clauses: Sequence[str], vectors: Float32, table: Float64, ranked: Float64) -> Float64:
        """Probabilities (H, 3) of the labels, for the H sentences and one contract."""
        by_readers = self.readers.probabilities(clauses, vectors, ranked)
        by_trees = _predict_trees(self.trees, _contract_features(clauses, table, ranked, by_readers))
        return np.asarray((by_readers + by_trees) / 2, np.float64)


def _fit_trees(rows: Sequence[Float64], labels: Sequence[NDArray[np.int64]]) -> Any:
    """Trees over features (H, F) and labels (H,) of each contract. A label that none of them has is given to one row of
    no weight, so that the trees know all of them."""
    features, target = np.concatenate(list(rows)), np.concatenate(list(labels))
    absent = [label for label in range(NUM_LABELS) if label not in target]
    weights = np.concatenate([np.ones(len(target)), np.zeros(len(absent))])
    features = np.concatenate([features, features[: len(absent)]])
    trees = need("xgboost", extra="explain").XGBClassifier(**VERDICT_TREE_PARAMETERS)
    return trees.fit(features, np.concatenate([target, absent]).astype(int), sample_weight=weights)


def _predict_trees(trees: Any, rows: Float64) -> Float64:
    return np.asarray(trees.predict_proba(rows), np.float64)


def _regression() -> Any:
    linear = need("sklearn.linear_model", extra="tabular")
    return linear.LogisticRegression(C=INVERSE_REGULARIZATION, max_iter=200, tol=1e-2)


def _reader_input(clauses: Sequence[str], vectors: Float32, scores: Float64) -> tuple[str, Float64]:
    """The likeliest clause; (D + NUM_SCORES,): the clauses' vectors weighed by their probabilities, and the best
    scores."""
    order = np.argsort(-scores, kind="stable")
    probabilities = 1 / (1 + np.exp(-scores))
    mean = (vectors * probabilities[:, None]).sum(axis=0) / (probabilities.sum() + NO_EVIDENCE_PRIOR)
    return clauses[order[0]], np.concatenate([mean, _top_scores(scores[order], NUM_SCORES) / SCORE_SCALE])


def _top_scores(falling: Float64, num: int) -> Float64:
    """The first rows, with -20 for clauses that a short contract does not have."""
    first = falling[:num]
    return np.pad(first, [(0, num - len(first)), *[(0, 0)] * (first.ndim - 1)], constant_values=-20.0)


def _reader_table(words: Any, inputs: Sequence[tuple[str, Float64]]) -> Any:
    """Rows of words and numbers, sparse: what _reader_input() gives for each contract."""
    sparse = need("scipy.sparse", extra="tabular")
    return sparse.hstack(
        [words.transform([clause for clause, _ in inputs]), sparse.csr_matrix([row for _, row in inputs])]
    ).tocsr()


def _contract_features(clauses: Sequence[str], table: Float64, ranked: Float64, probabilities: Float64) -> Float64:
    """Features (H, F): the best scores, the readers' log-probabilities, and how often the likeliest clause has words of
    negation such as "except"."""
    best = _top_scores(-np.sort(-ranked, axis=0), NUM_TREE_SCORES).T
    texts = [clauses[index].lower() for index in ranked.argmax(axis=0)]
    negations = [[sum(text.count(word) for word in _NEGATION_WORDS), np.log1p(len(text))] for text in texts]
    kinds = np.stack([np.full(len(texts), len(clauses)), np.arange(len(texts))], axis=1)
    return np.concatenate([best, table[:, :, :3].max(axis=0), np.log(probabilities + 0.01), negations, kinds], axis=1)
