"""Solutions of the lab smaller_student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPRegressor

from learn.solutions.tools import replace_text

WRONG = {
    "labels_alone": "weak", "too_many_units": "too_large", "by_weights_alone": "changed",
    "means_are_lost": "changed", "rows_of_the_next_layer": "wrong_shapes",
}  # fmt: skip

PRUNE = """
import numpy as np


def prune(net, x, num):
    hidden = np.maximum(x @ net["w1"].T + net["b1"], 0)
    use = hidden.std(axis=0) * np.linalg.norm(net["w2"], axis=0)
    order = np.argsort(use)
    gone, rest = order[:num], np.sort(order[num:])
    b2 = net["b2"] + net["w2"][:, gone] @ hidden[:, gone].mean(axis=0)
    return {"w1": net["w1"][rest], "b1": net["b1"][rest], "w2": net["w2"][:, rest], "b2": b2}
"""


def reference(folder: Path) -> None:
    (folder / "prune.py").write_text(PRUNE)
    teacher = np.load(folder / "teacher.npz")
    x = np.concatenate([np.load(folder / f"{name}.npz")["x"] for name in ("labelled", "unlabelled")])
    numbers = np.maximum(x @ teacher["w1"].T + teacher["b1"], 0) @ teacher["w2"].T + teacher["b2"]
    learn(folder, x, numbers, 21)


def learn(folder: Path, x: np.ndarray, numbers: np.ndarray, num_units: int) -> None:
    student = MLPRegressor(hidden_layer_sizes=(num_units,), solver="lbfgs", max_iter=400, random_state=0).fit(
        x, numbers
    )
    (w1, w2), (b1, b2) = student.coefs_, student.intercepts_
    np.savez(folder / "student.npz", w1=w1.T, b1=b1, w2=w2.T, b2=b2)


def labels_alone(folder: Path) -> None:
    rows = np.load(folder / "labelled.npz")
    learn(folder, rows["x"], np.eye(10)[rows["y"]], 21)


def too_many_units(folder: Path) -> None:
    """The teacher itself, which is right more often."""
    (folder / "student.npz").write_bytes((folder / "teacher.npz").read_bytes())


def by_weights_alone(folder: Path) -> None:
    """As long weights seem to matter."""
    replace_text(folder / "prune.py", "hidden.std(axis=0) * ", "")


def means_are_lost(folder: Path) -> None:
    replace_text(folder / "prune.py", ' + net["w2"][:, gone] @ hidden[:, gone].mean(axis=0)', "")


def rows_of_the_next_layer(folder: Path) -> None:
    replace_text(folder / "prune.py", '"w2": net["w2"][:, rest]', '"w2": net["w2"]')
