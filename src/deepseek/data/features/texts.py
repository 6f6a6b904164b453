"""Free text as TF-IDF: the n-grams of a text that training knew, each with its weight, for linear models to read.

A text has few of many n-grams, so a row holds them as pairs: numbers of n-grams in one block of features and their
weights in another, zero behind the last. Words (with pairs of neighbours) and runs of characters are blocks of their
own, each of length 1 (Salton and Buckley 1988):

    weight = (1 + ln count) (1 + ln((1 + N) / (1 + df))), over the root of the sum of squares

The terms are kept with the number df of the N training texts that hold them; one that fewer than MIN_TEXTS hold is not
kept: it teaches little, and may name a person.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

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
from deepseek.data.features.ngrams import character_ngrams, word_ngrams
from deepseek.data.table.values import BadValueError, Values, level_name, to_list

MIN_TEXTS = 3
SMALL_TABLE_ROWS = 1_000  # rows below which 2 are enough
MAX_TERMS = 20_000  # of a block: the most frequent ones
MAX_TOKENS = 768  # of a text, in a block
MAX_CELLS = 50_000_000  # of the training rows, in a block
SHARE_WHOLE = 0.995  # of the training texts, whose n-grams all fit


@dataclass(frozen=True)
class TermBlock:
    """The n-grams of one sort that are known."""

    terms: tuple[str, ...]
    num_texts: tuple[int, ...]  # of the training texts, that hold each term
    num_tokens: int  # of a row: what a text has more of is left out

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
    characters: TermBlock
    num_rows: int  # training texts
    example_text: str
    seen_missing: bool = False

    dtype: ClassVar[str] = "str"
    expected: ClassVar[str] = "text, or null where it is missing"

    @cached_property
    def parts(self) -> tuple[EncodedFeature, ...]:
        missing = (EncodedFeature(" is missing", "missing"),) if self.seen_missing else ()
        words = _block_features(self.words, "word", "word_weight")
        return (*missing, *words, *_block_features(self.characters, "ngram", "ngram_weight"))

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
        return lambda value: None  # every text is unusual

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        text = level_name(value)
        cells = [float(text is None)] if self.seen_missing else []
        any_known = any_cut = False
        for block, split in ((self.words, word_ngrams), (self.characters, character_ngrams)):
            numbers, weights, is_cut = block.weigh(split(text or ""), self.num_rows)
            padding = [0.0] * (block.num_tokens - len(numbers))
            cells += [*map(float, numbers), *padding, *weights, *padding]
            any_known, any_cut = any_known or bool(numbers), any_cut or is_cut
        if text is None:
            return tuple(cells), None if self.seen_missing else "imputed"
        return tuple(cells), "truncated" if any_cut else None if any_known else "unseen"

    def example(self) -> Any:
        return self.example_text


class Texts:
    """Fits free text. It claims no column: text is what every modality, of other packages too, has left."""

    name: ClassVar[str] = "text"
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    coder: ClassVar[type] = TextEncoder

    def claims(self, profile: ColumnProfile) -> str | None:
        return None

    def fit(self, profile: ColumnProfile, kind: str) -> ColumnEncoder:
        texts = [name for name in map(level_name, to_list(profile.values)) if name is not None]
        words = _fit_block(texts, word_ngrams)
        usual = " ".join(term for term in words.terms if " " not in term).split()[:4]
        return TextEncoder(
            words, _fit_block(texts, character_ngrams), len(texts), " ".join(usual), bool(profile.missing.any())
        )


def _block_features(block: TermBlock, number: FeatureKind, weight: FeatureKind) -> Iterator[EncodedFeature]:
    for kind, levels in ((number, len(block.terms)), (weight, 0)):
        label = kind.replace("_", " ")
        yield from (EncodedFeature(f" {label} {place}", kind, levels) for place in range(block.num_tokens))


def _fit_block(texts: Sequence[str], split: Callable[[str], Iterator[str]]) -> TermBlock:
    """The terms that enough texts hold, the most frequent first, ties by name."""
    ngram_sets = [set(split(text)) for text in texts]
    totals: Counter[str] = Counter()
    for ngrams in ngram_sets:
        totals.update(ngrams)
    least = MIN_TEXTS if len(texts) >= SMALL_TABLE_ROWS else min(2, len(texts))
    kept = sorted((item for item in totals.items() if item[1] >= least), key=lambda item: (-item[1], item[0]))
    kept = kept[:MAX_TERMS]
    known = {term for term, _ in kept}
    sizes = [len(known & ngrams) for ngrams in ngram_sets] or [0]
    most = int(np.ceil(np.quantile(sizes, SHARE_WHOLE)))
    num_tokens = max(1, min(most, MAX_TOKENS, MAX_CELLS // max(1, len(texts))))
    return TermBlock(tuple(term for term, _ in kept), tuple(count for _, count in kept), num_tokens)
