"""Solutions of the lab project_camera."""

from __future__ import annotations

import shutil
from pathlib import Path

from learn.solutions.tools import deepseek_verb, replace_text

WRONG = {
    "whole_pictures_alone": "needs_all_pixels", "names_as_texts": "wrong_newest", "copies_in_place": "half_version",
    "takes_anything": "took_damaged", "any_difference": "wrong_watch",
}  # fmt: skip

NET = """
from torch import nn


def build(drop=0.25):
    return nn.Sequential(nn.Dropout(drop), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
"""
RUN = """
loss = "torch.nn:CrossEntropyLoss"
[model]
build = "net.py:build"
[data]
train = "train.npz"
validation = "validation.npz"
batch_size = 64
[train]
epochs = 40
lr = 0.01
"""
VERSIONS = """
import os
import shutil
from pathlib import Path

from deepseek.bundle import verification
from deepseek.errors import DeepseekError


def is_whole(path):
    try:
        return not verification(path).problems
    except (DeepseekError, OSError):
        return False


def install(source, folder, version):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f".new-{version}"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(source, new)
    if not is_whole(new):
        shutil.rmtree(new)
        raise ValueError(f"{source} does not verify")
    os.rename(new, folder / version)


def newest(folder):
    names = [path.name for path in Path(folder).iterdir() if path.name.isdigit()]
    for name in sorted(names, key=int, reverse=True):
        if is_whole(Path(folder) / name):
            return name
    return None
"""
WATCH = """
from statistics import fmean, pvariance


def is_unsure(usual, today):
    gap = fmean(usual) - fmean(today)
    error = (pvariance(usual) / len(usual) + pvariance(today) / len(today)) ** 0.5
    return gap > 0.02 and gap > 4 * error
"""


def reference(folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    (folder / "run.toml").write_text(RUN)
    (folder / "versions.py").write_text(VERSIONS)
    (folder / "watch.py").write_text(WATCH)
    train(folder)


def train(folder: Path) -> None:
    shutil.rmtree(folder / "run", ignore_errors=True)
    deepseek_verb(folder, "train", "run.toml", "--out", "run")
    labels = ",".join(str(digit) for digit in range(10))
    deepseek_verb(folder, "export", "run", "--input", "64", "--labels", labels, "--out", "model", "--overwrite")


def whole_pictures_alone(folder: Path) -> None:
    replace_text(folder / "net.py", "drop=0.25", "drop=0.0")
    train(folder)


def names_as_texts(folder: Path) -> None:
    replace_text(folder / "versions.py", "key=int, ", "")


def copies_in_place(folder: Path) -> None:
    """The copy has its name from the beginning."""
    replace_text(folder / "versions.py", 'folder / f".new-{version}"', "folder / version")
    replace_text(folder / "versions.py", "    os.rename(new, folder / version)\n", "")


def takes_anything(folder: Path) -> None:
    replace_text(folder / "versions.py", "if not is_whole(new):", "if False:")


def any_difference(folder: Path) -> None:
    replace_text(folder / "watch.py", "gap > 0.02 and gap > 4 * error", "gap > 0")
