"""Which passages speak of which line: words, letters and meaning, each by a linear model, joined and calibrated.

    classifier = PassageClassifier.fit(groups, targets, vectors)      # groups: the passages of each document
    classifier.probabilities(texts, vectors)                          # (N, H)

A passage is seen with the one before it, for the items of a list are understood by the line that opens it. The scores
of the views are added, each with what it was worth on documents that the views had not seen, which makes the sum a
probability (Platt 1999; slopes for all lines, an offset for each, for a line may have few examples). `thresholds` are
the probabilities from which F1 was best there, drawn towards that of all lines together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.review.progress import Progress, ignore_progress
from deepseek.contracts import Float32, Float64
from deepseek.extras import need

#: The views of a passage's letters: analyzer of scikit-learn, lengths of its terms, passages that must have a term.
TERM_VIEWS: dict[str, dict[str, object]] = {
    "words": {"analyzer": "word", "ngram_range": (1, 2), "min_df": 2},
    "letters": {"analyzer": "char_wb", "ngram_range": (2, 5), "min_df": 3},
}
#: How much of the passage before stands beside a passage, in the terms and in the vector.
PREVIOUS_TERMS_WEIGHT, PREVIOUS_VECTOR_WEIGHT = 0.4, 0.5
INVERSE_REGULARIZATION, RIDGE_PENALTY = 1.0, 3.0
NO_EXAMPLE_SCORE = -2.0  # the margin of a line without an example
MAX_TERMS = 60_000
NUM_FOLDS = 5
#: Examples that the threshold of all lines counts for beside those of a line.
THRESHOLD_PRIOR = 20.0
_GRID = np.linspace(0.1, 0.7, 25)


@dataclass(frozen=True, slots=True, eq=False)
class TermView:
    """A linear support vector machine of each line over the terms of a passage and of the one before."""

    vectorizer: Any  # TfidfVectorizer
    weights: Float32  # (H, 2 V + 1), the last of a constant

    def scores(self, texts: Sequence[str]) -> Float64:
        """Margins (N, H) of the passages of one document, in their order."""
        return np.asarray(_term_table(self.vectorizer, texts) @ self.weights.T.astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class VectorView:
    """A ridge regression of each line on the vector of a passage and of the one before."""

    weights: Float64  # (H, 2 D + 1), the last of a constant

    def scores(self, vectors: Float32) -> Float64:
        """Scores (N, H) of the passages of one document, in their order."""
        return np.asarray(_with_previous(vectors) @ self.weights.T)


@dataclass(frozen=True, slots=True, eq=False)
class PassageClassifier:
    """All views, and what they are worth together."""

    terms: Mapping[str, TermView]  # by the names of TERM_VIEWS, in their order
    meaning: VectorView
    slopes: Float64  # (V,) of each view: those of terms, meaning, and one that comes from outside
    offsets: Float64  # (H,)
    thresholds: Float64  # (H,)

    @classmethod
    def fit(
        cls,
        groups: Sequence[Sequence[str]],
        targets: Sequence[NDArray[np.int64]],
        vectors: Sequence[Float32],
        outside: Sequence[Float64] = (),
        progress: Progress = ignore_progress,
    ) -> tuple[PassageClassifier, list[Float64]]:
        """Train on the passages (N texts), targets (N, H) and vectors (N, D) of each document; `outside`: one more
        score (N, H) of each, by something that has not seen the document. Returns it with the scores (V, N, H) of each
        document by views that have not seen it."""
        truth = np.concatenate(list(targets)) > 0
        owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        fold = fold_numbers(len(groups))[owner]
        tables = _view_tables(groups, vectors)
        unseen = np.zeros((len(tables.all) + bool(outside), *truth.shape))
        for number in sorted(set(fold.tolist())):
            held = fold == number
            for view, (table, fitted) in enumerate(zip(tables.all, tables.fit(~held, truth), strict=True)):
                unseen[view, held] = table[held] @ fitted.T
            progress("judging passages", (number + 1) / (fold.max() + 2))
        if outside:
            unseen[-1] = np.concatenate(list(outside))
        slopes, offsets = fit_calibration(unseen, truth)
        thresholds = choose_thresholds(squash(np.tensordot(slopes, unseen, 1) + offsets), truth)
        *terms, meaning = tables.fit(np.ones(len(truth), bool), truth)
        views = {
            name: TermView(vectorizer, weights.astype(np.float32))
            for (name, vectorizer), weights in zip(tables.vectorizers.items(), terms, strict=True)
        }
        parts = [unseen[:, owner == index] for index in range(len(groups))]
        return cls(views, VectorView(meaning), slopes, offsets, thresholds), parts

    def scores(self, texts: Sequence[str], vectors: Float32, outside: Float64 | None = None) -> Float64:
        """What each view says (V, N, H) of the passages of one document, in their order."""
        return _view_scores(self.terms, self.meaning, texts, vectors, outside)

    def log_odds(self, scores: Float64) -> Float64:
        """Calibrated log-odds (N, H) that a passage speaks of a line, from scores (V, N, H)."""
        return np.asarray(np.tensordot(self.slopes, scores, 1) + self.offsets, np.float64)

    def by_terms_and_meaning(self, scores: Float64) -> tuple[Float64, Float64]:
        """The two parts (N, H) of log_odds(): of the terms, and of all other views."""
        num = len(self.terms)
        by_terms = np.tensordot(self.slopes[:num], scores[:num], 1) + self.offsets
        return np.asarray(by_terms, np.float64), np.asarray(
            np.tensordot(self.slopes[num:], scores[num:], 1), np.float64
        )


def fold_numbers(num_documents: int, num_folds: int = NUM_FOLDS) -> NDArray[np.int64]:
    """The fold (N,) in which each document is unseen."""
    return np.random.default_rng(0).permutation(num_documents) % min(num_folds, num_documents)


@dataclass(frozen=True, slots=True, eq=False)
class _ViewTables:
    """What each view sees of all passages (N): sparse terms (N, 2 V + 1) and vectors (N, 2 D + 1)."""

    vectorizers: dict[str, Any]  # by the names of TERM_VIEWS
    terms: list[Any]
    meaning: Float64

    @property
    def all(self) -> list[Any]:
        """Those of terms, then that of meaning."""
        return [*self.terms, self.meaning]

    def fit(self, rows: NDArray[np.bool_], truth: NDArray[np.bool_]) -> list[Float64]:
        """Weights (H, F) of each view, trained on some rows (N,) of the truth (N, H)."""
        fitted = [fit_margins(table[rows], truth[rows]) for table in self.terms]
        own = self.meaning[rows]
        penalty = RIDGE_PENALTY * np.eye(own.shape[1])
        ridge = np.linalg.solve(own.T @ own + penalty, own.T @ truth[rows])
        return [*fitted, np.ascontiguousarray(ridge.T)]  # the order in memory may change the last bit of a product


def _view_tables(groups: Sequence[Sequence[str]], vectors: Sequence[Float32]) -> _ViewTables:
    """Terms are found, and weighed by how rare they are, in all documents: that needs no label."""
    texts = [text for group in groups for text in group]
    vectorizers = {name: _fit_vectorizer(name, texts) for name in TERM_VIEWS}
    sparse = need("scipy.sparse", extra="tabular")
    terms = [
        sparse.vstack([_term_table(vectorizer, group) for group in groups]).tocsr()
        for vectorizer in vectorizers.values()
    ]
    return _ViewTables(vectorizers, terms, np.concatenate([_with_previous(rows) for rows in vectors]))


def fit_margins(table: Any, truth: NDArray[np.bool_]) -> Float64:
    """Weights (H, F) of a linear support vector machine for each line, on sparse rows (N, F) whose last column is a
    constant."""
    svm = need("sklearn.svm", extra="tabular")
    weights = np.zeros((truth.shape[1], table.shape[1]))
    for line, column in enumerate(truth.T):
        if column.any() and not column.all():
            model = svm.LinearSVC(C=INVERSE_REGULARIZATION, tol=1e-2, random_state=0).fit(table[:, :-1], column)
            weights[line] = [*model.coef_[0], model.intercept_[0]]
        else:
            weights[line, -1] = -NO_EXAMPLE_SCORE if column.any() else NO_EXAMPLE_SCORE
    return weights


def choose_thresholds(probabilities: Float64, truth: NDArray[np.bool_]) -> Float64:
    """The probability (H,) from which each line is said to be there, where F1 is best; lines with few examples take
    that of all of them."""
    common = _best_threshold(probabilities, truth)
    num = truth.sum(axis=0)
    own = np.array([_best_threshold(probabilities[:, [line]], truth[:, [line]]) for line in range(truth.shape[1])])
    weight = num / (num + THRESHOLD_PRIOR)
    return np.asarray(weight * own + (1 - weight) * common, np.float64)


def _best_threshold(probabilities: Float64, truth: NDArray[np.bool_]) -> float:
    """The middle of the thresholds of the grid at which F1 is within a thousandth of the best."""
    scores = []
    for threshold in _GRID:
        said = probabilities >= threshold
        scores.append(2 * (said & truth).sum() / max(int(said.sum() + truth.sum()), 1))
    near = _GRID[np.array(scores) >= max(scores) - 1e-3]
    return float(np.median(near))


def _view_scores(
    terms: Mapping[str, TermView], meaning: VectorView, texts: Sequence[str], vectors: Float32, outside: Float64 | None
) -> Float64:
    parts = [*(view.scores(texts) for view in terms.values()), meaning.scores(vectors)]
    return np.stack(parts if outside is None else [*parts, outside])


def fit_calibration(scores: Float64, truth: NDArray[np.bool_]) -> tuple[Float64, Float64]:
    """A slope (V,) for each view and an offset (H,) for each line, from scores (V, N, H) of unseen passages. A view
    that speaks against the truth there counts nothing."""
    linear, sparse = need("sklearn.linear_model", extra="tabular"), need("scipy.sparse", extra="tabular")
    num_views, num, num_lines = scores.shape
    if not truth.any() or truth.all():
        return np.ones(num_views) / num_views, np.zeros(num_lines)
    lines = sparse.csr_matrix(np.tile(np.eye(num_lines), (num, 1)))
    used = list(range(num_views))
    while used:
        rows = sparse.hstack([sparse.csr_matrix(scores[used].reshape(len(used), -1).T), lines]).tocsr()
        model = linear.LogisticRegression(C=1.0, max_iter=300).fit(rows, truth.reshape(-1))
        own = model.coef_[0, : len(used)]
        if (own > 0).all():
            slopes = np.zeros(num_views)
            slopes[used] = own
            return slopes, np.asarray(model.coef_[0, len(used) :] + model.intercept_[0], np.float64)
        used = [view for view, slope in zip(used, own.tolist(), strict=True) if slope > 0]
    return np.ones(num_views) / num_views, np.zeros(num_lines)  # nothing is known of unseen documents


def _fit_vectorizer(name: str, texts: Sequence[str]) -> Any:
    try:
        return make_vectorizer(name).fit(texts)
    except ValueError:  # a handful of short passages may share no term
        return make_vectorizer(name, min_df=1).fit(texts)


def make_vectorizer(name: str, **options: Any) -> Any:
    """A TfidfVectorizer of one of TERM_VIEWS, not fitted."""
    text = need("sklearn.feature_extraction.text", extra="tabular")
    return text.TfidfVectorizer(
        **({"sublinear_tf": True, "max_features": MAX_TERMS, "dtype": np.float32, **TERM_VIEWS[name]} | options)
    )


def _term_table(vectorizer: Any, texts: Sequence[str]) -> Any:
    """Terms of each passage, those of the one before it, and a constant: (N, 2 V + 1), sparse."""
    sparse = need("scipy.sparse", extra="tabular")
    rows = vectorizer.transform(texts)
    before = sparse.vstack([sparse.csr_matrix((1, rows.shape[1]), dtype=rows.dtype), rows[:-1]])
    constant = sparse.csr_matrix(np.ones((len(texts), 1)))
    return sparse.hstack([rows, PREVIOUS_TERMS_WEIGHT * before, constant]).tocsr()


def _with_previous(vectors: Float32) -> Float64:
    """Vectors, those of the passage before, and a constant: (N, 2 D + 1)."""
    rows = np.asarray(vectors, np.float64)
    before = np.concatenate([np.zeros((1, rows.shape[1])), rows[:-1]])
    return np.concatenate([rows, PREVIOUS_VECTOR_WEIGHT * before, np.ones((len(rows), 1))], axis=1)


def squash(scores: Float64) -> Float64:
    """Log-odds as probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.clip(scores, -60, 60))), np.float64)
