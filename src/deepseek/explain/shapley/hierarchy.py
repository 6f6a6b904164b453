"""What belongs together in an input: a tree of regions over a grid of players, made only as far as somebody looks.

    tree = Hierarchy((32, 32))                          a picture of cells; a region falls in two along its longer side
    tree = Hierarchy((29,), token_borders(text, spans)) a text: sentences, clauses, words, pieces of words
    tree.halves(tree.root)                              two regions, or None for a single player

A player is a token, a cell of a picture, a stretch of a series: what is kept or taken away as one. A region is a box
of them, ((start, stop), ...) along each axis.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError

Box = tuple[tuple[int, int], ...]
#: How strong a border between two neighboring tokens is.
WITHIN, WORD, CLAUSE, SENTENCE, PARAGRAPH = range(5)
#: A full stop ends a sentence before a blank alone ("3.5"), a Chinese one always.
_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]]*\s|[。！？；]+[”’」』）]*")
_CLAUSE = re.compile(r"[,;:—–()]|[，、：（）]")
_PARAGRAPH = re.compile(r"\n\s*\n|\n")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A tree of regions over prod(shape) players. `borders` (M - 1,), of one axis alone: how strong the border behind
    each player is; a region falls in two at the strongest one, nearest to its middle."""

    shape: tuple[int, ...]
    borders: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise InputError("there is nothing to explain", expected="at least one part", fix="give an input with some")

    @property
    def root(self) -> Box:
        return tuple((0, size) for size in self.shape)

    @property
    def num_players(self) -> int:
        return prod(self.shape)

    def halves(self, box: Box) -> tuple[Box, Box] | None:
        """The two regions that one falls into.

        >>> Hierarchy((4, 6)).halves(((0, 4), (0, 6)))
        (((0, 4), (0, 3)), ((0, 4), (3, 6)))
        """
        sides = [stop - start for start, stop in box]
        axis = int(np.argmax(sides))
        if sides[axis] == 1:
            return None
        start, stop = box[axis]
        middle = (start + stop) // 2
        if self.borders is not None:
            inner = self.borders[start : stop - 1]
            strongest = np.flatnonzero(inner == inner.max()) + start + 1
            middle = int(strongest[np.abs(strongest - (start + stop) / 2).argmin()])
        before, behind = box[:axis], box[axis + 1 :]
        return (*before, (start, middle), *behind), (*before, (middle, stop), *behind)

    def mask(self, box: Box) -> NDArray[np.bool_]:
        """Mask (M,) of the players in a region."""
        mask = np.zeros(self.shape, bool)
        mask[tuple(slice(*side) for side in box)] = True
        return mask.ravel()


def box_size(box: Box) -> int:
    """Number of players in a region."""
    return prod(stop - start for start, stop in box)


def token_borders(text: str, spans: Sequence[tuple[int, int]], words: Sequence[int | None] = ()) -> NDArray[np.int64]:
    """Strength (M - 1,) of the border behind each token; tokens stand at `spans` (first letter and end) in a text.
    `words`: the word of each, where the tokenizer says so; else those with nothing between them are one word.

    >>> token_borders("Good. Not bad, no", [(0, 4), (4, 5), (6, 9), (10, 13), (13, 14), (15, 17)]).tolist()
    [0, 3, 1, 0, 2]
    """
    borders = np.full(max(0, len(spans) - 1), WORD, np.int64)
    for place, (left, right) in enumerate(pairwise(spans)):
        apart = words[place] != words[place + 1] if words else left[1] < right[0]
        if not apart or left[1] >= right[0]:
            borders[place] = WITHIN
    ends = np.array([end for _, end in spans[:-1]], np.int64)
    for pattern, strength in ((_CLAUSE, CLAUSE), (_SENTENCE, SENTENCE), (_PARAGRAPH, PARAGRAPH)):
        for match in pattern.finditer(text):
            last = len(match.group().rstrip()) or 0
            at = int(np.searchsorted(ends, match.start() + last, side="left"))
            if at < len(borders):
                borders[at] = max(borders[at], strength)
    return borders


def sentence_ranges(borders: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The range of tokens of each sentence, as (first, end).

    >>> sentence_ranges(np.array([1, 3, 1, 2]))
    [(0, 2), (2, 5)]
    """
    ends = [*(np.flatnonzero(borders >= SENTENCE) + 1).tolist(), len(borders) + 1]
    return list(zip([0, *ends], ends, strict=False))
