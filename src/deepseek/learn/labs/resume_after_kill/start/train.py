"""A training that goes on after a kill, to the same bits."""

import numpy as np


def stop_epoch(losses: list[float], patience: int) -> list[int]:
    """[epoch of the best loss, epoch after which early stopping ends]."""
    return [0, len(losses) - 1]


def train(x: np.ndarray, y: np.ndarray, folder: str, steps: int, every: int) -> np.ndarray:
    """The weights (10, 65) after so many steps, from the newest whole checkpoint in the folder on."""
    return np.zeros((10, 65))
