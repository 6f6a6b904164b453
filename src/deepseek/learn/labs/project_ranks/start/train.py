"""A training in several ranks that comes to its end by itself."""

import numpy as np


def train(rows: str, folder: str, num_processes: int) -> None:
    """Train on the rows of that file in so many processes; go on where the folder stands."""


def predict(folder: str, x: np.ndarray) -> np.ndarray:
    """The classes of rows."""
    return np.zeros(len(x), int)
