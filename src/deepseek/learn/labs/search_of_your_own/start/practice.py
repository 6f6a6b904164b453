"""Problems to try a search on; those of the grader have other floors. Not handed in.

problem = Practice(seed=1)
kept = search(problem.evaluate, SPACE, BUDGET, MAX_EPOCHS, seed=1)
problem.regret(kept), problem.num_epochs
"""

import math
import random
from typing import TypedDict

BUDGET, MAX_EPOCHS = 300, 30
SPACE: dict[str, dict[str, object]] = {
    "rate": {"low": 1e-4, "high": 1.0, "scale": "log"},
    "dropout": {"low": 0.0, "high": 0.6, "scale": "linear"},
    "layer": {"choices": ["relu", "tanh"]},
}


class Configuration(TypedDict):
    """One point of SPACE."""

    rate: float
    dropout: float
    layer: str


class Practice:
    """Learning curves that fall towards a floor."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  (curves, no keys)
        self._rate, self._dropout = 10 ** self._random.uniform(-3, -1), self._random.uniform(0.1, 0.5)
        self.num_epochs = 0

    def regret(self, configuration: Configuration) -> float:
        """The distance that is left to the best configuration."""
        off = math.log10(configuration["rate"] / self._rate) ** 2 / 4 + (configuration["dropout"] - self._dropout) ** 2
        return 0.6 * (1 - math.exp(-2 * off)) + (0.05 if configuration["layer"] == "tanh" else 0.0)

    def evaluate(self, configuration: Configuration, epochs: int) -> float:
        """The error on validation rows after so many epochs."""
        if not 1 <= epochs <= MAX_EPOCHS:
            raise ValueError(f"{epochs} epochs; 1 to {MAX_EPOCHS} are allowed")
        self.num_epochs += epochs
        if configuration["rate"] > 0.3:
            raise FloatingPointError("the loss is not finite")
        floor = 0.05 + self.regret(configuration)
        slowness = 2 - math.log10(configuration["rate"])  # small rates learn slowly
        return floor + (0.9 - floor) * math.exp(-epochs / slowness) + self._random.gauss(0, 0.01)
