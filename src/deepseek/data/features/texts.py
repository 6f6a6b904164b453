"""Free text as TF-IDF: the n-grams of a text that training knew, each with its weight, for linear models to read.

A text has few of many n-grams, so a row holds them as pairs: numbers of n-grams in one block of features and their
weights in another, zero behind the last. Words, pairs of neighbours and runs of characters are blocks of their own,
each of length 1 (Salton and Buckley 1988):

    weight = (1 + ln count) (1 + ln((1 + N) / (1 + df))), over the root of the sum of squares

The terms are kept with the number df of the N training texts that hold them; one that a single text holds is not kept:
it teaches nothing of another, and may name a person.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Literal

import numpy as np

from deepseek.contracts import Float32
from deepseek.data.features.modality import (
    ColumnEncoder,
    ColumnProfile,
    EncodedFeature,
    FeatureKind,
    FeatureValues,
    ReplacedRows,
    ReplacementReason,
)
from deepseek.data.features.ngrams import normalize_text, split_characters, split_pairs, split_words
from deepseek.data.table.values import BadValueError, Values, level_name, to_list

MIN_TEXTS = 2
MAX_FIT_TEXTS = 50_000  # that terms are counted in, evenly spread over the rows
MAX_SIZED_TEXTS = 5_000  # of these, whose n-grams are counted to say how wide a row is
MAX_TERMS = 20_000  # of a block: the most frequent ones
MAX_TOKENS = 768  # of a text, in a block
MAX_CELLS = 50_000_000  # of the training rows, in a block
SHARE_WHOLE = 0.995  # of the training texts, whose n-grams all fit
NUM_EXAMPLE_WORDS = 4  # the most frequent words, as a text of an example that is nobody's

Sort = Literal["word", "pair", "ngram"]
SORTS: tuple[tuple[Sort, Callable[[str], list[str]]], ...] = (
    ("word", split_words), ("pair", split_pairs), ("ngram", split_characters),
)  # fmt: skip
WEIGHT_KINDS: dict[Sort, FeatureKind] = {"word": "word_weight", "pair": "pair_weight", "ngram": "ngram_weight"}


@dataclass(frozen=True)
class TermBlock:
    """The n-grams of one sort that are known."""

    terms: tuple[str, ...]
    num_texts: tuple[int, ...]  # of the training texts, that hold each term
    num_tokens: int  # of a row: what a text has more of is left out

    def __post_init__(self) -> None:
        if len(self.num_texts) != len(set(self.terms)) or min(self.num_texts, default=1) < 1:
            raise ValueError("each term has one count of the texts that hold it")
        if not 1 <= self.num_tokens <= MAX_TOKENS:
            raise ValueError(f"num_tokens is {self.num_tokens}, and not between 1 and {MAX_TOKENS}")

    def weigh(self, ngrams: Iterable[str], num_rows: int) -> tuple[list[int], list[float], bool]:
        """Numbers and weights of the known terms, in the order in which they come first, and whether some were left
        out."""
        counts = Counter(ngrams)
        number_of, idf = self._number_of, self._idf(num_rows)
        numbers = [number_of[term] for term in counts if term in number_of]
        weights = [(1 + math.log(counts[self.terms[number]])) * idf[number] for number in numbers]
        length = math.sqrt(math.fsum(weight * weight for weight in weights)) or 1.0
        most = self.num_tokens
        return numbers[:most], [weight / length for weight in weights[:most]], len(numbers) > most

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {term: number for number, term in enumerate(self.terms)}

    def _idf(self, num_rows: int) -> list[float]:
        if "_idf_of" not in self.__dict__:
            self.__dict__["_idf_of"] = [1 + math.log((1 + num_rows) / (1 + texts)) for texts in self.num_texts]
        idf: list[float] = self.__dict__["_idf_of"]
        return idf


@dataclass(frozen=True)
class TextEncoder:
    """Texts as numbers of n-grams and their weights."""

    words: TermBlock
    pairs: TermBlock
    characters: TermBlock
    num_rows: int  # training texts that the terms were counted in
    example_text: str
    seen_missing: bool = False

    dtype: ClassVar[str] = "str"
    expected: ClassVar[str] = "text, or null where it is missing"

    def __post_init__(self) -> None:
        if self.num_rows < max((max(block.num_texts, default=0) for block in self.blocks), default=0):
            raise ValueError("more texts hold a term than there were")

    @cached_property
    def parts(self) -> tuple[EncodedFeature, ...]:
        missing = (EncodedFeature(" is missing", "missing"),) if self.seen_missing else ()
        blocks = (
            block_features(sort, len(block.terms), block.num_tokens)
            for (sort, _), block in zip(SORTS, self.blocks, strict=True)
        )
        return (*missing, *chain.from_iterable(blocks))

    @property
    def blocks(self) -> tuple[TermBlock, ...]:
        """By SORTS."""
        return self.words, self.pairs, self.characters

    def encode(self, values: Values, out: Float32) -> ReplacedRows:
        imputed, unseen, truncated = list[int](), list[int](), list[int]()
        rows_of = {"imputed": imputed, "unseen": unseen, "truncated": truncated}
        for row, value in enumerate(to_list(values)):
            try:
                out[row], reason = self.careful(value)
            except (ValueError, TypeError, OverflowError) as error:
                raise BadValueError(row, value) from error
            if reason is not None:
                rows_of[reason].append(row)
        return ReplacedRows(imputed, unseen, truncated)

    def quick(self) -> Callable[[Any], FeatureValues | None]:
        return _read_carefully

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        text = level_name(value)
        normal = normalize_text(text or "")
        cells = [float(text is None)] if self.seen_missing else []
        any_known = any_cut = False
        for (_, split), block in zip(SORTS, self.blocks, strict=True):
            numbers, weights, is_cut = block.weigh(split(normal), self.num_rows)
            padding = [0.0] * (block.num_tokens - len(numbers))
            cells += [*map(float, numbers), *padding, *weights, *padding]
            any_known, any_cut = any_known or bool(numbers), any_cut or is_cut
        if text is None:
            return tuple(cells), None if self.seen_missing else "imputed"
        return tuple(cells), "truncated" if any_cut else None if any_known else "unseen"

    def example(self) -> Any:
        return self.example_text


def _read_carefully(_: Any) -> None:
    """Every text is unusual."""


class Texts:
    """Fits free text. It claims no column: text is what every modality, of other packages too, has left."""

    name: ClassVar[str] = "text"
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    coder: ClassVar[type] = TextEncoder

    def claims(self, profile: ColumnProfile) -> str | None:
        return None

    def fit(self, profile: ColumnProfile, kind: str) -> ColumnEncoder:
        return self.fit_together([profile])[0]

    def fit_together(self, profiles: Sequence[ColumnProfile]) -> list[TextEncoder]:
        """Encoders of several columns that count by one list of terms, so that their texts can be compared."""
        names = (level_name(value) for profile in profiles for value in to_list(profile.values))
        texts = [normalize_text(name) for name in spread_evenly([n for n in names if n is not None], MAX_FIT_TEXTS)]
        words, pairs, characters = (_fit_block(texts, split, profiles[0].num_rows) for _, split in SORTS)
        usual = " ".join(words.terms[:NUM_EXAMPLE_WORDS])
        return [
            TextEncoder(words, pairs, characters, len(texts), usual, bool(profile.missing.any()))
            for profile in profiles
        ]


def block_features(sort: Sort, num_terms: int, num_tokens: int, *, label: str = " ") -> Iterator[EncodedFeature]:
    """The features of a block: numbers of n-grams, then their weights."""
    kinds: tuple[FeatureKind, FeatureKind] = sort, WEIGHT_KINDS[sort]
    for kind, levels in zip(kinds, (num_terms, 0), strict=True):
        name = label + kind.replace("_", " ")
        yield from (EncodedFeature(f"{name} {place}", kind, levels) for place in range(num_tokens))


def spread_evenly(values: Sequence[str], most: int) -> Sequence[str]:
    """At most `most` of the values, evenly spread and in order.

    >>> spread_evenly("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if len(values) <= most:
        return values
    return [values[place] for place in np.linspace(0, len(values) - 1, most).round().astype(int)]


def _fit_block(texts: Sequence[str], split: Callable[[str], list[str]], num_rows: int) -> TermBlock:
    """The terms that enough texts hold, the most frequent first, ties by name. `num_rows`: of the training table."""
    totals: Counter[str] = Counter()
    for text in texts:
        totals.update(set(split(text)))
    by_count = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    kept = [item for item in by_count if item[1] >= MIN_TEXTS][:MAX_TERMS] or by_count[:1]
    known = {term for term, _ in kept}
    sizes = [len(known.intersection(split(text))) for text in spread_evenly(texts, MAX_SIZED_TEXTS)] or [0]
    most = int(np.ceil(np.quantile(sizes, SHARE_WHOLE)))
    num_tokens = max(1, min(most, MAX_TOKENS, MAX_CELLS // max(1, num_rows)))
    return TermBlock(tuple(term for term, _ in kept), tuple(count for _, count in kept), num_tokens)
