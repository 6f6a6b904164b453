"""Words and pairs of words of English clauses, weighed by how rare they are: fitted, stored as data, and restored.

words = fitted(clauses)
words.transform(clauses)                              # (N, V), sparse
opened(vocabulary(words), words.idf_)                 # the same again
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepseek.contracts import Float64
from deepseek.extras import need

_VECTORIZER_OPTIONS: dict[str, object] = {"ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True}


def fit_tfidf(texts: Sequence[str]) -> Any:
    """A TfidfVectorizer of scikit-learn; a term must be in two of the texts, unless none is: a handful of short clauses
    may share no word. ValueError for texts without a word."""
    try:
        return _vectorizer().fit(texts)
    except ValueError:
        return _vectorizer(min_df=1).fit(texts)


def column_terms(words: Any) -> list[str]:
    """The terms of a vectorizer, in the order of its columns."""
    return sorted(words.vocabulary_, key=words.vocabulary_.get)


def restore_tfidf(terms: Sequence[str], idf: Float64) -> Any:
    """The vectorizer with these terms and weights (V,). ValueError where they do not fit each other."""
    vectorizer = _vectorizer(vocabulary=list(terms))
    vectorizer.idf_ = np.asarray(idf, np.float64)
    return vectorizer


def _vectorizer(**options: Any) -> Any:
    return need("sklearn.feature_extraction.text", extra="tabular").TfidfVectorizer(**(_VECTORIZER_OPTIONS | options))
