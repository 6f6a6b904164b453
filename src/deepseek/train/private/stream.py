"""Rows drawn by chance, as the accountant counts: each step takes every row with the same chance, whatever the others.

stream = sample_rows((inputs, target), batch_size=64)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepseek.train.private.accountant import Sampling
from deepseek.train.private.noise import secure_uniform
from deepseek.train.private.plan import sampling_of, steps_per_epoch


@dataclass(frozen=True)
class SampledRows:
    """Batches of tensors (N, ...), N by chance. Which rows are drawn is of the system's randomness: who could repeat
    the draw would know more than the accountant counts."""

    tensors: tuple[Tensor, ...]
    sample_rate: float
    num_steps: int  # of one pass

    @property
    def num_rows(self) -> int:
        return len(self.tensors[0])

    def sampling(self, num_passes: int) -> Sampling:
        """Of so many passes."""
        return Sampling(self.sample_rate, num_passes * self.num_steps)

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for _ in range(self.num_steps):
            rows = torch.from_numpy(np.flatnonzero(secure_uniform(self.num_rows) < self.sample_rate))
            yield tuple(each[rows] for each in self.tensors)


def sample_rows(tensors: tuple[Tensor, ...], batch_size: int) -> SampledRows:
    """Passes of as many steps as batches of that size would take."""
    num_rows = len(tensors[0])
    rate = sampling_of(num_rows, batch_size, 1).sample_rate
    return SampledRows(tensors, rate, steps_per_epoch(num_rows, batch_size))
