"""Runs in the learner's process: searches on problems whose learning curves are simulated."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject

WORST, NOISE = 0.9, 0.01


class Problem:
    """A space, its best configuration, and what was asked of it."""

    def __init__(self, document: JsonObject) -> None:
        self.space, self.best, self.weights = document["space"], document["best"], document["weights"]
        self.max_epochs, self.diverges = document["max_epochs"], document["diverges"]
        self.spent, self.num_bad = 0, 0

    def place(self, name: str, value: Any) -> float:
        """Where a value lies between the ends of its dimension (0 to 1)."""
        axis = self.space[name]
        if "choices" in axis:
            return 0.0 if value == self.best[name] else 0.6 + 0.1 * axis["choices"].index(value)
        if not axis["low"] <= value <= axis["high"]:
            raise ValueError(f"{name} is {value}")
        if axis["scale"] == "log":
            return float(math.log(value / axis["low"]) / math.log(axis["high"] / axis["low"]))
        return float((value - axis["low"]) / (axis["high"] - axis["low"]))

    def floor(self, configuration: JsonObject) -> float:
        """The error after an endless training, above that of the best configuration."""
        total = 0.0
        for name, weight in self.weights.items():
            distance = self.place(name, configuration[name])
            if "choices" not in self.space[name]:
                distance -= self.best[name]
            total += weight * distance**2
        return 0.6 * (1 - math.exp(-4 * total))

    def evaluate(self, configuration: JsonObject, epochs: int) -> float:
        if set(configuration) != set(self.space) or not 1 <= epochs <= self.max_epochs:
            self.num_bad += 1
            raise ValueError(f"{configuration} for {epochs} epochs")
        self.spent += int(epochs)
        first = next(iter(self.space))
        if self.diverges and self.place(first, configuration[first]) > 0.75:
            raise FloatingPointError("the loss is not finite")
        floor = 0.05 + self.floor(configuration)
        slowness = 1.5 + 6 * (1 - self.place(first, configuration[first])) ** 2  # small rates learn slowly
        key = zlib.crc32(repr((sorted(configuration.items()), epochs)).encode())
        noise = NOISE * float(np.random.default_rng(key).normal())
        return floor + (WORST - floor) * math.exp(-epochs / slowness) + noise


def run(learner: Any, document: JsonObject, budget: int, seed: int) -> dict[str, object]:
    """The regret of what the learner's search keeps, and what it has spent."""
    problem = Problem(document)
    configuration = learner.search(problem.evaluate, problem.space, budget, problem.max_epochs, seed)
    is_one = isinstance(configuration, dict) and set(configuration) == set(problem.space)
    regret = problem.floor(configuration) if is_one else None
    return {"regret": regret, "spent": problem.spent, "num_bad": problem.num_bad, "configuration": configuration}


def random_search(document: JsonObject, budget: int, seed: int) -> float:
    """The regret of random search on the same problem."""
    problem, rng = Problem(document), np.random.default_rng(seed)
    tries = []
    for _ in range(budget // problem.max_epochs):
        configuration = {}
        for name, axis in problem.space.items():
            if "choices" in axis:
                configuration[name] = axis["choices"][int(rng.integers(len(axis["choices"])))]
            elif axis["scale"] == "log":
                configuration[name] = float(np.exp(rng.uniform(np.log(axis["low"]), np.log(axis["high"]))))
            else:
                configuration[name] = float(rng.uniform(axis["low"], axis["high"]))
        try:
            tries.append((problem.evaluate(configuration, problem.max_epochs), problem.floor(configuration)))
        except FloatingPointError:
            continue
    return min(tries)[1] if tries else problem.floor(configuration)


def race(learner: Any, documents: list[JsonObject], budget: int) -> dict[str, object]:
    """Both searches on all problems."""
    own = [run(learner, document, budget, number) for number, document in enumerate(documents)]
    return {"own": own, "random": [random_search(each, budget, number) for number, each in enumerate(documents)]}
