"""Text augmentation for distillation, and batches of texts of similar length.

    more = augment_texts(texts, 30_000, seed=0)           # spans, crossovers, words swapped, dropped or replaced
    batches = TextBatches(ids, labels, logits, batch_size=64, seed=0)      # for distill(), which sets its epoch

Augmented texts need not make sense: the student shall agree with its teacher there, too (Tang et al. 2019,
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

MAX_CHANGED_SHARE = 0.3  # largest share of a text's words that is dropped or replaced
BATCHES_PER_POOL = 50  # batches whose rows are sorted by length together


def augment_texts(texts: Sequence[str], num_texts: int, *, seed: int = 0) -> list[str]:
    """`num_texts` augmented texts made of `texts`, deterministic by `seed`. InputError without a word in any text.

    >>> augment_texts(["the card was lost", "my cash is gone"], 3)
    ['my is cash gone', 'my is is cash', 'my my is']
    """
    words = [split for text in texts if (split := text.split())]
    if not words:
        raise InputError("there are no words in the texts", expected="texts to make others of", fix="give such texts")
    rng = np.random.default_rng(seed)
    pool = np.array([word for text_words in words for word in text_words], dtype=object)
    return [" ".join(_augment_one(words, pool, rng)) for _ in range(num_texts)]


def _augment_one(
    words: Sequence[list[str]], pool: np.ndarray[tuple[int], np.dtype[np.object_]], rng: np.random.Generator
) -> list[str]:
    """One augmented text as words: a span of a text, the head of one and the tail of another, or a text with words
    swapped; then some words are dropped or replaced. `pool`: all words of all texts."""
    augmented = list(words[int(rng.integers(len(words)))])
    kind = rng.integers(4)
    if kind == 0:
        length = max(2, int(len(augmented) * rng.uniform(MAX_CHANGED_SHARE, 1)))
        start = int(rng.integers(max(1, len(augmented) - length + 1)))
        augmented = augmented[start : start + length]
    elif kind == 1:
        other = words[int(rng.integers(len(words)))]
        augmented = augmented[: int(rng.integers(1, len(augmented) + 1))] + other[int(rng.integers(len(other))) :]
    elif kind == 2:
        for _ in range(max(1, len(augmented) // 6)):
            first, second = rng.integers(len(augmented), size=2)
            augmented[first], augmented[second] = augmented[second], augmented[first]
    share, chances = rng.uniform(0, MAX_CHANGED_SHARE), rng.random(len(augmented))
    # half of the changes replace a word, drawn by its frequency in the texts; the other half drops it
    changed = [
        str(pool[rng.integers(len(pool))]) if chance < share / 2 else word
        for word, chance in zip(augmented, chances, strict=True)
        if not share / 2 <= chance < share
    ]
    return changed or augmented


class TextBatches:
    """Batches {input_ids, attention_mask, labels, teacher_logits} of texts as token ids (L,). Each epoch draws new
    pools of rows and sorts each pool by length, so that there is little padding. The first `num_always` rows are in
    every epoch; the others, such as augmented texts, are cut into `num_parts`, of which each epoch has one."""

    def __init__(
        self,
        ids: Sequence[Sequence[int]],
        labels: Sequence[int] | None = None,
        logits: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None = None,
        *,
        batch_size: int = 64,
        pad_id: int = 0,
        seed: int = 0,
        num_always: int = 0,
        num_parts: int = 1,
    ) -> None:
        self.num_always, self.num_parts = num_always, num_parts
        self.part_size = (len(ids) - num_always) // num_parts  # rows; up to num_parts - 1 rows are left out
        self.ids, self.labels, self.logits = ids, labels, logits
        self.batch_size, self.pad_id, self.seed, self.epoch = batch_size, pad_id, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil((self.num_always + self.part_size) / self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for rows in self._batch_rows():
            batch = pad_batch([self.ids[row] for row in rows], self.pad_id)
            if self.labels is not None:
                batch[LABELS] = torch.tensor([self.labels[row] for row in rows])
            if self.logits is not None:
                batch[TEACHER_LOGITS] = torch.from_numpy(self.logits[rows])
            yield batch

    def _batch_rows(self) -> list[list[int]]:
        """Row numbers of each batch of this epoch."""
        rng, size = np.random.default_rng((self.seed, self.epoch)), self.batch_size
        start = self.num_always + self.epoch % self.num_parts * self.part_size
        rows = rng.permutation([*range(self.num_always), *range(start, start + self.part_size)]).tolist()
        pools = [
            sorted(rows[start : start + BATCHES_PER_POOL * size], key=lambda row: len(self.ids[row]))
            for start in range(0, len(rows), BATCHES_PER_POOL * size)
        ]
        batches = [pool[start : start + size] for pool in pools for start in range(0, len(pool), size)]
        return [batches[index] for index in rng.permutation(len(batches))]


def pad_batch(rows: Sequence[Sequence[int]], pad_id: int) -> dict[str, Tensor]:
    """Token ids and mask as one batch (N, L), padded to the longest row.

    >>> pad_batch([[5, 6], [7]], 0)["input_ids"].tolist()
    [[5, 6], [7, 0]]
    """
    longest = max(map(len, rows))
    filled = torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": filled, MASK: mask}
