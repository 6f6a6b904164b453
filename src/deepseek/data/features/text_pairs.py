"""What two texts of a row have in common: a question and its answer, or two questions that may mean the same. A linear
model cannot see that from the words of each alone.

    likeness of words, pairs of words and runs of characters     cosines of the weights in each block (texts.py)
    words in both, words in one alone                            a block of n-grams: number n in both, V + n in one

Both texts count by one list of terms, so the features of the two columns say all that is needed. They belong to the
second of the two columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float32
from deepseek.data.features.modality import EncodedFeature
from deepseek.data.features.texts import TextEncoder, block_features

MAX_TEXT_COLUMNS = 4  # of which each two are compared
NUM_SORTS = 3  # of blocks: words, pairs, runs of characters

Weights = dict[int, float]  # of the n-grams of one text in one block, by their numbers


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two columns of texts, by name, with one list of terms."""

    left: str
    right: str


@dataclass(frozen=True, slots=True)
class PairEncoder:
    """The features of one pair, from those of its two columns. `starts`: where these begin in a row."""

    pair: TextPair
    encoders: tuple[TextEncoder, TextEncoder]
    starts: tuple[int, int]

    @property
    def parts(self) -> tuple[EncodedFeature, ...]:
        """The features after those of the columns; `label` comes after the name of the right column."""
        left, right = self.encoders
        like = f" like {self.pair.left}"
        alike = (EncodedFeature(f"{like}: {what}", "similarity") for what in ("words", "pairs", "characters"))
        num_tokens = left.words.num_tokens + right.words.num_tokens
        return (*alike, *block_features("pair", 2 * len(left.words.terms), num_tokens, label=f"{like}: "))

    def encode(self, features: Float32) -> Float32:
        """The features (N, f) of rows (N, F) whose columns are encoded."""
        parts = self.parts
        out = np.zeros((len(features), len(parts)), np.float32)
        num_tokens = (len(parts) - NUM_SORTS) // 2
        num_terms = len(self.encoders[0].words.terms)
        for row, values in enumerate(features.tolist()):
            left, right = (self._weights(values, side) for side in (0, 1))
            out[row, :NUM_SORTS] = [_cosine(a, b) for a, b in zip(left, right, strict=True)]
            tokens = _common_and_other(left[0], right[0], num_terms)
            length = math.sqrt(math.fsum(weight * weight for weight in tokens.values())) or 1.0
            end = NUM_SORTS + len(tokens)
            out[row, NUM_SORTS:end] = list(tokens)
            out[row, NUM_SORTS + num_tokens : end + num_tokens] = [weight / length for weight in tokens.values()]
        return out

    def _weights(self, values: Sequence[float], side: int) -> list[Weights]:
        """Of the text on one side: its n-grams in each block."""
        encoder, place = self.encoders[side], self.starts[side] + int(self.encoders[side].seen_missing)
        blocks = []
        for block in encoder.blocks:
            size = block.num_tokens
            weights = values[place + size : place + 2 * size]
            blocks.append({int(values[place + i]): weight for i, weight in enumerate(weights) if weight})
            place += 2 * size
        return blocks


def make_pairs(names: Sequence[str]) -> tuple[TextPair, ...]:
    """Each two of the first MAX_TEXT_COLUMNS columns of texts.

    >>> make_pairs(["question", "answer"])
    (TextPair(left='question', right='answer'),)
    """
    used = names[:MAX_TEXT_COLUMNS]
    return tuple(TextPair(left, right) for place, right in enumerate(used) for left in used[:place])


def _cosine(left: Weights, right: Weights) -> float:
    return math.fsum(weight * right[number] for number, weight in left.items() if number in right)


def _common_and_other(left: Weights, right: Weights, num_terms: int) -> Weights:
    """Words of both with the mean of their weights, then those of one alone, numbered behind all words."""
    common = {number: (weight + right[number]) / 2 for number, weight in left.items() if number in right}
    other = {
        num_terms + number: weight for side in (left, right) for number, weight in side.items() if number not in common
    }
    return common | other
