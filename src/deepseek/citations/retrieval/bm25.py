"""BM25 (Robertson and Zaragoza 2009, formula 3.15) over Chinese pairs of letters and English words, in numpy.

>>> index = Bm25(["禁止高利放贷", "拾得遗失物，应当返还权利人"])
>>> index.scores("捡到的遗失物要返还吗").argmax()
np.int64(1)

Chinese is not cut into words: pairs of letters and single letters are the terms, and no dictionary decides what is
found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from deepseek.contracts import Float64

K1, B = 1.2, 0.75
_TOKEN_RUN = re.compile(r"[一-鿿㐀-䶿]+|[^\W\d_]+|\d+(?:\.\d+)?")
#: Endings that are dropped from an English word of at least four other letters.
_ENDINGS = ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ed", "es", "s")


def extract_terms(text: str) -> list[str]:
    """What is counted.

    >>> extract_terms("借款利息 3% of Loans")
    ['借款', '款利', '利息', '借', '款', '利', '息', '3', 'of', 'loan']
    """
    terms: list[str] = []
    for run in _TOKEN_RUN.findall(text):
        if "㐀" <= run[0] <= "鿿":
            terms += [run[index : index + 2] for index in range(len(run) - 1)]
            terms += run
        else:
            terms.append(stem(run.casefold()))
    return terms


def stem(word: str) -> str:
    """An English word without its ending."""
    end = next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 4), "")
    return word.removesuffix(end)


class Bm25:
    """An index of documents (N)."""

    def __init__(self, documents: Sequence[str], *, k1: float = K1, b: float = B) -> None:
        counted = [Counter(extract_terms(document)) for document in documents]
        lengths = np.array([sum(count.values()) for count in counted], np.float64)
        norm = k1 * (1 - b + b * lengths / max(float(lengths.mean()) if len(lengths) else 0.0, 1.0))
        self.num_documents = len(documents)
        rows_by_term: dict[str, list[int]] = {}
        counts_by_term: dict[str, list[int]] = {}
        for index, count in enumerate(counted):
            for term, num in count.items():
                rows_by_term.setdefault(term, []).append(index)
                counts_by_term.setdefault(term, []).append(num)
        self._weights_by_term = {}
        for term, documents_with in rows_by_term.items():
            rows, times = np.array(documents_with), np.array(counts_by_term[term], np.float64)
            self._weights_by_term[term] = rows, self.weight(term, len(rows)) * times * (k1 + 1) / (times + norm[rows])

    def weight(self, term: str, num_with: int | None = None) -> float:
        """The inverse document frequency of a term, above 0; that of a term in no document when it is unknown."""
        if num_with is None:
            num_with = len(self._weights_by_term[term][0]) if term in self._weights_by_term else 0
        return float(np.log1p((self.num_documents - num_with + 0.5) / (num_with + 0.5)))

    def scores(self, query: str) -> Float64:
        """Scores (N,) of all documents for one query."""
        scores = np.zeros(self.num_documents)
        for term in set(extract_terms(query)):
            if term in self._weights_by_term:
                rows, values = self._weights_by_term[term]
                scores[rows] += values
        return scores
