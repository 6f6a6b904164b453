"""Words and letters of a question, weighed by how rare they are: fitted, stored as data, read without scikit-learn.

    weights = TermWeights.fit(questions)
    weights.rows(["Where is my card?"])       # [(ids, values)], the values of length 1

Languages that set spaces give words, pairs of words, and runs of 2 to 5 letters within a word; Chinese gives single
characters, pairs and triples. Both families have length 1 before they are joined, so that neither drowns the other.
The weight of a term is (1 + ln count) * (1 + ln((1 + N) / (1 + n))), as scikit-learn's TfidfVectorizer has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORDS = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")
_HAN_ONLY = re.compile(rf"[{_HAN}]")
SHORTEST_RUN, LONGEST_RUN = 2, 5  # letters
MAX_WORDS = 512  # of a question that are read: its beginning

TermRow = tuple[NDArray[np.int32], Float32]


def normalize_text(text: str) -> str:
    """One form for what is written alike: width of letters, case, spaces.

    >>> normalize_text("  Ｗｈｅｒｅ is\\n MY card ")
    'where is my card'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def question_form(text: str) -> str:
    """One form for questions that are equal word for word: what stands at the end does not count either.

    >>> question_form("Where is MY card ?") == question_form("where is my card")
    True
    """
    return normalize_text(text).rstrip(" ?!.。")


def is_han(word: str) -> bool:
    """Whether a word begins with a Chinese character."""
    return _HAN_ONLY.match(word) is not None


def split_words(text: str) -> list[str]:
    """The words of a text, each Chinese character as one; punctuation and pictures are none.

    >>> split_words("How do I 还款?"), split_words("!!! 🎉")
    (['how', 'do', 'i', '还', '款'], [])
    """
    return _WORDS.findall(normalize_text(text))[:MAX_WORDS]


def word_terms(words: Sequence[str]) -> Iterator[str]:
    """Words and pairs of neighbors; triples of Chinese characters."""
    yield from words
    for first, second in pairwise(words):
        yield f"{first} {second}"
    for triple in zip(words, words[1:], words[2:], strict=False):
        if all(map(is_han, triple)):
            yield " ".join(triple)


def letter_terms(words: Iterable[str]) -> Iterator[str]:
    """Runs of letters of each word, its two ends marked; none of Chinese characters."""
    for word in words:
        if is_han(word):
            continue
        marked = f"<{word[:40]}>"
        for size in range(SHORTEST_RUN, LONGEST_RUN + 1):
            for start in range(max(1, len(marked) - size + 1)):
                yield f"~{marked[start : start + size]}"


@dataclass(frozen=True)
class TermWeights:
    """The terms that are known, and how rare each is."""

    terms: tuple[str, ...]
    idf: Float32  # (V,)
    _places: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {term: place for place, term in enumerate(self.terms)})

    @classmethod
    def fit(cls, texts: Sequence[str], *, min_texts: int = 2) -> TermWeights:
        """Terms that are in at least `min_texts` of the texts; of a handful of texts, all."""
        num_texts: Counter[str] = Counter()
        for text in texts:
            words = split_words(text)
            num_texts.update({*word_terms(words), *letter_terms(words)})
        least = min_texts if len(texts) >= 200 else 1
        terms = sorted(term for term, count in num_texts.items() if count >= least)
        counts = np.array([num_texts[term] for term in terms], np.float64)
        return cls(tuple(terms), (1 + np.log((1 + len(texts)) / (1 + counts))).astype(np.float32))

    def __contains__(self, term: str) -> bool:
        return term in self._places

    def rows(self, texts: Sequence[str]) -> list[TermRow]:
        """Of each text the places of its terms, each once, and their weights; nothing where no term is known."""
        return [self._row(split_words(text)) for text in texts]

    def _row(self, words: Sequence[str]) -> TermRow:
        parts = [self._weigh(family) for family in (word_terms(words), letter_terms(words))]
        places = np.concatenate([ids for ids, _ in parts])
        values = np.concatenate([weights for _, weights in parts])
        length = float(np.linalg.norm(values))
        return places, np.asarray(values / length if length else values, np.float32)

    def _weigh(self, terms: Iterable[str]) -> TermRow:
        counts = Counter(place for term in terms if (place := self._places.get(term)) is not None)
        places = np.array(sorted(counts), np.int32)
        values = np.array([1 + np.log(counts[place]) for place in places.tolist()], np.float32) * self.idf[places]
        length = float(np.linalg.norm(values))
        return places, np.asarray(values / length if length else values, np.float32)
