"""Which rows a rank reads in a pass over shards, and in which order: a function of seed, epoch, rank and sizes alone.

    order = ShardSampler(sizes=(1_000, 980, 1_020), seed=0, buffer=256, share=(rank, num_ranks))
    order.shard_ranges(epoch)    # [(1000, 1980), (0, 512)]: rows as they are read, one shard after the other
    order.rows(epoch)            # the same rows as they are given out

The shards are put in a new order each epoch and laid end to end; each rank gets an equal piece of that line, so it
reads few shards, and as many rows as every other rank (less than one row a rank is left out of a pass). Within its
piece a row is drawn at random from the next `buffer` ones. That costs no memory for who can read any row, and that of
`buffer` rows for who must read in order. Since no row has to be read to know the order, a pass can be entered anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

_NUM_DRAWS = 4_096  # random numbers that are made at a time


@dataclass(frozen=True)
class ShardSampler:
    """The order of rows for one rank. Rows are counted through all shards, from 0."""

    sizes: Sequence[int]  # rows of each shard
    seed: int | None = 0  # of the order; None: as the shards have it
    buffer: int = 4_096
    share: tuple[int, int] = (0, 1)  # rank, number of ranks

    def __len__(self) -> int:
        """The number of rows of this rank in a pass."""
        return int(sum(self.sizes)) // self.share[1]

    def shard_ranges(self, epoch: int) -> list[tuple[int, int]]:
        """The parts of shards that this rank reads, in their order: first row, and the one behind the last.

        >>> ShardSampler((3, 3), seed=None, share=(1, 3)).shard_ranges(0)
        [(2, 3), (3, 4)]
        """
        sizes = np.asarray(self.sizes, np.int64)
        shards = np.arange(len(sizes))
        if self.seed is not None:
            shards = np.random.default_rng((self.seed, epoch)).permutation(len(sizes))
        starts = (np.cumsum(sizes) - sizes)[shards]
        ends = np.cumsum(sizes[shards])
        begins = ends - sizes[shards]
        first = self.share[0] * len(self)
        low, high = np.maximum(begins, first), np.minimum(ends, first + len(self))
        kept = low < high
        starts, begins, low, high = starts[kept], begins[kept], low[kept], high[kept]
        return list(zip((starts + low - begins).tolist(), (starts + high - begins).tolist(), strict=True))

    def read(self, epoch: int) -> Iterator[int]:
        """The rows in the order in which they are read."""
        return chain.from_iterable(range(*piece) for piece in self.shard_ranges(epoch))

    def rows(self, epoch: int) -> Iterator[int]:
        """The rows in the order in which they are given out.

        >>> sorted(ShardSampler((3, 5), seed=7, buffer=4).rows(1))
        [0, 1, 2, 3, 4, 5, 6, 7]
        """
        reading = self.read(epoch)
        if self.seed is None:
            yield from reading
            return
        random = np.random.default_rng((self.seed, epoch, self.share[0]))
        buffered = list(islice(reading, self.buffer))
        while len(buffered) == self.buffer:
            for index in random.integers(0, self.buffer, _NUM_DRAWS).tolist():
                following = next(reading, None)
                if following is None:
                    break
                yield buffered[index]
                buffered[index] = following
            else:
                continue
            break
        for index in random.permutation(len(buffered)).tolist():
            yield buffered[index]
