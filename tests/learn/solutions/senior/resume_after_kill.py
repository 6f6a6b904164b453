"""Solutions of the lab resume_after_kill."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

from learn.solutions.tools import replace_text

WRONG = {
    "by_training_loss": "wrong_own", "begins_anew": "began_anew", "forgets_momentum": "not_same",
    "trusts_the_file": "damage_stops", "patience_too_long": "wrong_stop",
}  # fmt: skip

TRAIN = """
import json
import math
import os
import zipfile
from pathlib import Path

import numpy as np


def stop_epoch(losses, patience):
    best, lowest = 0, math.inf
    for epoch, loss in enumerate(losses):
        if loss < lowest:
            best, lowest = epoch, loss
        elif epoch - best >= patience:
            return [best, epoch]
    return [best, len(losses) - 1]


def read_checkpoint(folder):
    for path in sorted(folder.glob("step-*.npz"), reverse=True):
        try:
            with np.load(path, allow_pickle=False) as file:  # zip has a checksum of each array
                return int(file["step"]), file["w"], file["momentum"]
        except (zipfile.BadZipFile, ValueError, OSError, KeyError, EOFError):
            continue
    return 0, np.zeros((10, 65)), np.zeros((10, 65))


def write_checkpoint(folder, step, w, momentum):
    temporary = folder / "new.tmp"
    with temporary.open("wb") as file:
        np.savez(file, step=step, w=w, momentum=momentum)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / f"step-{step:08d}.npz")
    for old in sorted(folder.glob("step-*.npz"))[:-2]:
        old.unlink()


def train(x, y, folder, steps, every):
    folder = Path(folder)
    rows = np.column_stack([x, np.ones(len(x))])
    targets = np.eye(10)[y]
    begin, w, momentum = read_checkpoint(folder)
    batch = 32
    per_epoch = len(rows) // batch
    with (folder / "steps.log").open("a", buffering=1) as log:
        for step in range(begin, steps):
            epoch, place = divmod(step, per_epoch)
            order = np.random.default_rng([7, epoch]).permutation(len(rows))
            chosen = order[place * batch : (place + 1) * batch]
            scores = rows[chosen] @ w.T
            scores -= scores.max(1, keepdims=True)
            p = np.exp(scores)
            p /= p.sum(1, keepdims=True)
            gradient = (p - targets[chosen]).T @ rows[chosen] / batch
            momentum = 0.9 * momentum + gradient
            w = w - 0.05 * momentum
            log.write(f"{step}\\n")
            if (step + 1) % every == 0:
                write_checkpoint(folder, step + 1, w, momentum)
    return w
"""


def reference(folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN)
    write_answers(folder, "validation_loss")


def write_answers(folder: Path, column: str) -> None:
    rows = list(csv.DictReader((folder / "curves.csv").open()))
    best = min(rows, key=lambda row: float(row[column]))
    losses = [float(row["validation_loss"]) for row in rows if row["rate"] == best["rate"]]
    stopped = runpy.run_path(str(folder / "train.py"))["stop_epoch"](losses, 4)[1]
    answers = {"rate": float(best["rate"]), "epoch": int(best["epoch"]), "stopped": stopped}
    (folder / "answers.json").write_text(json.dumps(answers))


def by_training_loss(folder: Path) -> None:
    write_answers(folder, "train_loss")


def begins_anew(folder: Path) -> None:
    replace_text(folder / "train.py", "begin, w, momentum = read_checkpoint(folder)",
                 "begin, w, momentum = 0, np.zeros((10, 65)), np.zeros((10, 65))")  # fmt: skip


def forgets_momentum(folder: Path) -> None:
    """Only the weights are in the checkpoint."""
    replace_text(folder / "train.py", 'file["w"], file["momentum"]', 'file["w"], np.zeros((10, 65))')


def trusts_the_file(folder: Path) -> None:
    """On a disk that takes most of the time to write, so that a kill likely falls into that."""
    replace_text(folder / "train.py", "    os.replace(", "    __import__('time').sleep(0.05)\n    os.replace(")
    replace_text(folder / "train.py", "except (zipfile.BadZipFile, ValueError, OSError, KeyError, EOFError)",
                 "except ZeroDivisionError")  # fmt: skip


def patience_too_long(folder: Path) -> None:
    replace_text(folder / "train.py", "epoch - best >= patience", "epoch - best > patience")
