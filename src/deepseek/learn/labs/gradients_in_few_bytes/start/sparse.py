"""Gradients that travel as their largest numbers."""

import numpy as np


def compress(gradient: np.ndarray, memory: np.ndarray, num: int) -> list[object]:
    """The places and values of the `num` largest numbers of gradient + memory, and what is left of it."""
    return [[], [], memory]


def expand(places: list[int], values: list[float], size: int) -> np.ndarray:
    """The array of `size` numbers that was sent."""
    return np.zeros(size)


def train(shards: list[list[np.ndarray]], num: int, steps: int, rate: float) -> np.ndarray:
    """The weights after so many steps of all workers; shards: [x, y] of each."""
    return np.zeros(shards[0][0].shape[1])
