"""Solutions of the lab gradients_in_few_bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "no_memory": "lost", "one_memory_for_all": "not_learned", "by_sign": "not_largest", "places_for_free": "wrong_own",
    "keeps_nan": "kept_broken",
}  # fmt: skip

SPARSE = """
import numpy as np


def compress(gradient, memory, num):
    gradient = np.asarray(gradient, float)
    if not np.isfinite(gradient).all():
        raise ValueError("the gradient has numbers that are not finite")
    total = gradient + np.asarray(memory, float)
    places = np.argpartition(-np.abs(total), num - 1)[:num]
    rest = total.copy()
    rest[places] = 0.0
    return [places, total[places], rest]


def expand(places, values, size):
    dense = np.zeros(size)
    dense[np.asarray(places, int)] = values
    return dense


def train(shards, num, steps, rate):
    size = shards[0][0].shape[1]
    w = np.zeros(size)
    memories = [np.zeros(size) for _ in shards]
    for _ in range(steps):
        total = np.zeros(size)
        for worker, (x, y) in enumerate(shards):
            gradient = x.T @ (x @ w - y) / len(y)
            places, values, memories[worker] = compress(gradient, memories[worker], num)
            total += expand(places, values, size)
        w = w - rate * total / len(shards)
    return w
"""


def reference(folder: Path) -> None:
    (folder / "sparse.py").write_text(SPARSE)
    gradients = [np.array(each) for each in json.loads((folder / "gradients.json").read_text())]
    memory, lost = np.zeros(len(gradients[0])), np.zeros(len(gradients[0]))
    for gradient in gradients:
        memory = drop_largest(gradient + memory)
        lost += drop_largest(gradient)
    answers = {
        "bytes_all": 4 * len(memory) * len(gradients), "bytes_sent": 8 * 5 * len(gradients),
        "memory": float(np.linalg.norm(memory)), "lost": float(np.linalg.norm(lost)),
    }  # fmt: skip
    (folder / "answers.json").write_text(json.dumps(answers))


def drop_largest(total: np.ndarray) -> np.ndarray:
    rest = total.copy()
    rest[np.argsort(-np.abs(total))[:5]] = 0.0
    return rest


def no_memory(folder: Path) -> None:
    """What is not sent is thrown away."""
    replace_text(
        folder / "sparse.py", "return [places, total[places], rest]", "return [places, total[places], 0 * rest]"
    )


def one_memory_for_all(folder: Path) -> None:
    """The workers share what they have not sent."""
    replace_text(folder / "sparse.py", "memories = [np.zeros(size) for _ in shards]", "memories = [np.zeros(size)]")
    path = folder / "sparse.py"
    path.write_text(path.read_text().replace("memories[worker]", "memories[0]"))


def by_sign(folder: Path) -> None:
    replace_text(folder / "sparse.py", "-np.abs(total)", "-total")


def places_for_free(folder: Path) -> None:
    edit_json(folder / "answers.json", lambda answers: answers.update(bytes_sent=answers["bytes_sent"] // 2))


def keeps_nan(folder: Path) -> None:
    replace_text(folder / "sparse.py", "if not np.isfinite(gradient).all():", "if False:")
