"""Texts that nobody has written, for a teacher to label, and batches of texts of like length.

    more = augmented(texts, 30_000, seed=0)              # pieces, crossings, words exchanged, left out or replaced
    rows = TextBatches(ids, labels, logits, batch_size=64, seed=0)         # for distill(), which tells it the epoch

What is made up need not make sense: the student is to agree with its teacher there, too (Tang et al. 2019,
https://arxiv.org/abs/1903.12136, section 3.2; words come from the texts themselves, so nothing else is needed).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from deepseek.compress.distilling.training import LABELS, MASK, TEACHER_LOGITS
from deepseek.errors import InputError

MAX_CHANGED_SHARE = 0.3  # share of the words of a text, at the most, that is left out or replaced
BATCHES_PER_POOL = 50  # batches whose rows are sorted by length together


def augment_texts(texts: Sequence[str], number: int, *, seed: int = 0) -> list[str]:
    """`number` texts made of `texts`, the same for the same seed. InputError without a word in any text.

    >>> augment_texts(["the card was lost", "my cash is gone"], 3)
    ['my is cash gone', 'my is is cash', 'my my is']
    """
    words = [found for text in texts if (found := text.split())]
    if not words:
        raise InputError("there are no words in the texts", expected="texts to make others of", fix="give such texts")
    draw = np.random.default_rng(seed)
    ends = np.cumsum([len(each) for each in words])
    pool = np.array([word for each in words for word in each], dtype=object)
    return [" ".join(_augment_one(words, pool, int(ends[-1]), draw)) for _ in range(number)]


def _augment_one(
    words: Sequence[list[str]], pool: np.ndarray[tuple[int], np.dtype[np.object_]], size: int, draw: np.random.Generator
) -> list[str]:
    """One text: a piece of one, the head of one and the tail of another, or one with words exchanged; then some of its
    words left out or replaced."""
    made = list(words[int(draw.integers(len(words)))])
    kind = draw.integers(4)
    if kind == 0:
        length = max(2, int(len(made) * draw.uniform(MAX_CHANGED_SHARE, 1)))
        start = int(draw.integers(max(1, len(made) - length + 1)))
        made = made[start : start + length]
    elif kind == 1:
        other = words[int(draw.integers(len(words)))]
        made = made[: int(draw.integers(1, len(made) + 1))] + other[int(draw.integers(len(other))) :]
    elif kind == 2:
        for _ in range(max(1, len(made) // 6)):
            one, two = draw.integers(len(made), size=2)
            made[one], made[two] = made[two], made[one]
    share, fates = draw.uniform(0, MAX_CHANGED_SHARE), draw.random(len(made))
    # of what changes, half is replaced by a word as frequent as it is in the texts, half is left out
    changed = [
        str(pool[draw.integers(size)]) if fate < share / 2 else word
        for word, fate in zip(made, fates, strict=True)
        if not share / 2 <= fate < share
    ]
    return changed or made


class TextBatches:
    """Batches {input_ids, attention_mask, labels, teacher_logits} of token ids (L,) each: pools are drawn anew in each
    epoch, sorted by length within, so that little is padding. The first `always` rows are in each pass, the others,
    such as those made up, in one of `turns`."""

    def __init__(
        self,
        ids: Sequence[Sequence[int]],
        labels: Sequence[int] | None = None,
        logits: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None = None,
        *,
        batch_size: int = 64,
        pad_id: int = 0,
        seed: int = 0,
        always: int = 0,
        turns: int = 1,
    ) -> None:
        self.always, self.turns = always, turns
        self.each = (len(ids) - always) // turns  # rows of one turn: as many in every pass, so a few may be left out
        self.ids, self.labels, self.logits = ids, labels, logits
        self.batch_size, self.pad_id, self.seed, self.epoch = batch_size, pad_id, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil((self.always + self.each) / self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for chosen in self._order():
            batch = pad_batch([self.ids[row] for row in chosen], self.pad_id)
            if self.labels is not None:
                batch[LABELS] = torch.tensor([self.labels[row] for row in chosen])
            if self.logits is not None:
                batch[TEACHER_LOGITS] = torch.from_numpy(self.logits[chosen])
            yield batch

    def _order(self) -> list[list[int]]:
        """Row numbers of each batch of this epoch."""
        draw, size = np.random.default_rng((self.seed, self.epoch)), self.batch_size
        start = self.always + self.epoch % self.turns * self.each
        rows = draw.permutation([*range(self.always), *range(start, start + self.each)]).tolist()
        pools = [
            sorted(rows[start : start + BATCHES_PER_POOL * size], key=lambda row: len(self.ids[row]))
            for start in range(0, len(rows), BATCHES_PER_POOL * size)
        ]
        batches = [pool[start : start + size] for pool in pools for start in range(0, len(pool), size)]
        return [batches[index] for index in draw.permutation(len(batches))]


def pad_batch(rows: Sequence[Sequence[int]], pad_id: int) -> dict[str, Tensor]:
    """Token ids as one batch (N, L), filled up to its longest row.

    >>> pad_batch([[5, 6], [7]], 0)["input_ids"].tolist()
    [[5, 6], [7, 0]]
    """
    longest = max(map(len, rows))
    filled = torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": filled, MASK: mask}
