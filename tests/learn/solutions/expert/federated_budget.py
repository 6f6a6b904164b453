"""Solutions of the lab federated_budget."""

from __future__ import annotations

import csv
import json
import runpy
from itertools import groupby
from pathlib import Path

import numpy as np

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "quiet": "no_noise", "rounds_added_up": "wrong_epsilon", "each_coordinate": "other_direction",
    "noise_on_the_mean": "wrong_noise", "one_round_told": "over_budget",
}  # fmt: skip

FEDERATED = """
import numpy as np
from scipy.special import log_ndtr

ROUNDS, BOUND, RATE = 12, 0.6, 3.0


def clip(update, bound):
    update = np.asarray(update, float)
    return update / max(1.0, np.linalg.norm(update) / bound)


def epsilon(noise, rounds, delta):
    mu = rounds**0.5 / noise
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        first, second = log_ndtr(mu / 2 - middle / mu), middle + log_ndtr(-mu / 2 - middle / mu)
        if np.exp(first) - np.exp(second) > delta:
            low = middle
        else:
            high = middle
    return high


def release(updates, bound, noise, seed):
    total = np.sum([clip(update, bound) for update in updates], axis=0)
    total = total + np.random.default_rng(seed).normal(0, 1, total.shape) * noise * bound
    return total / len(updates)


def train(owners, epsilon_budget, delta, seed):
    low, high = 0.1, 100.0
    for _ in range(60):
        noise = (low + high) / 2
        low, high = (noise, high) if epsilon(noise, ROUNDS, delta) > epsilon_budget else (low, noise)
    noise, weights = high, np.zeros(7)
    rows = [np.column_stack([each["features"], np.ones(len(each["labels"]))]) for each in owners]
    for number in range(ROUNDS):
        updates = [
            x.T @ (each["labels"] - 1 / (1 + np.exp(-x @ weights))) / len(x) for x, each in zip(rows, owners)
        ]
        weights = weights + RATE * release(updates, BOUND, noise, seed * 1000 + number)
    return {"weights": weights.tolist(), "rounds": ROUNDS, "noise": noise, "bound": BOUND}
"""


def reference(folder: Path) -> None:
    (folder / "federated.py").write_text(FEDERATED)
    with (folder / "owners.csv").open() as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    owners = []
    for _, group in groupby(rows, lambda row: row["owner"]):
        own = list(group)
        features = np.array([[row[f"x{place}"] for place in range(6)] for row in own])
        owners.append({"features": features, "labels": np.array([row["label"] for row in own])})
    study = json.loads((folder / "study.json").read_text())
    train = runpy.run_path(str(folder / "federated.py"))["train"]
    (folder / "model.json").write_text(json.dumps(train(owners, study["epsilon"], study["delta"], 1)))


def quiet(folder: Path) -> None:
    """Says what noise it would add, and adds none."""
    replace_text(folder / "federated.py", "release(updates, BOUND, noise,", "release(updates, BOUND, 0.0,")


def rounds_added_up(folder: Path) -> None:
    replace_text(folder / "federated.py", "mu = rounds**0.5 / noise", "mu, times = 1 / noise, rounds")
    replace_text(folder / "federated.py", "    return high\n", "    return times * high\n")


def each_coordinate(folder: Path) -> None:
    replace_text(
        folder / "federated.py", "return update / max(1.0, np.linalg.norm(update) / bound)",
        "signs = np.sign(update)\n    long = bound / len(update) ** 0.5\n"
        "    return signs * long if np.linalg.norm(update) > bound else update",
    )  # fmt: skip


def noise_on_the_mean(folder: Path) -> None:
    replace_text(folder / "federated.py", "* noise * bound\n", "* noise * bound * len(updates)\n")


def one_round_told(folder: Path) -> None:
    """A budget for one round, and twelve are used."""
    edit_json(folder / "model.json", lambda model: model.update(noise=model["noise"] / 12**0.5))
