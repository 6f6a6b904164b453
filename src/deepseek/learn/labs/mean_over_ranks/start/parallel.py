"""Training in several ranks that ends as it would in one."""

import numpy as np


def share(num_rows: int, rank: int, num_ranks: int) -> list[int]:
    """[begin, end] of the rows of a rank."""
    return [0, num_rows]


def train(rank: int, num_ranks: int, store: str, x: np.ndarray, y: np.ndarray, steps: int, rate: float) -> np.ndarray:
    """The weights after so many steps along the gradient over the rows of all ranks."""
    return np.zeros(x.shape[1])
