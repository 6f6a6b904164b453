"""Solutions of the lab first_net."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import numpy as np

from learn.solutions.tools import replace_text

WRONG = {
    "raw_pixels": "wrong_scale", "no_seed": "not_repeated", "training_mode": "by_company", "one_epoch": "weak",
}  # fmt: skip

NET = """
import numpy as np
import torch
from torch import nn


def fit_predict(pixels, digits, new_pixels, seed):
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    largest = float(np.max(pixels))
    rows = torch.tensor(np.asarray(pixels) / largest, dtype=torch.float32)
    right = torch.tensor(np.asarray(digits), dtype=torch.long)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(40):
        for batch in torch.randperm(len(rows)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(rows[batch]), right[batch]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        new = torch.tensor(np.asarray(new_pixels) / largest, dtype=torch.float32)
        return net(new).argmax(1).tolist()
"""


def reference(folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    train, digits = read(folder / "train.csv")
    new, _ = read(folder / "new.csv")
    said = runpy.run_path(str(folder / "net.py"))["fit_predict"](train, digits, new, 0)
    (folder / "predictions.csv").write_text("digit\n" + "".join(f"{digit}\n" for digit in said))


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = list(csv.DictReader(path.open()))
    pixels = np.array([[float(row[f"p{place}"]) for place in range(64)] for row in rows])
    return pixels, np.array([int(row.get("digit", 0)) for row in rows])


def raw_pixels(folder: Path) -> None:
    """Learns from raw values by plain steps that suited small ones."""
    replace_text(folder / "net.py", "largest = float(np.max(pixels))", "largest = 1.0")
    replace_text(
        folder / "net.py", "torch.optim.Adam(net.parameters(), lr=0.01)", "torch.optim.SGD(net.parameters(), lr=0.02)"
    )


def no_seed(folder: Path) -> None:
    replace_text(folder / "net.py", "torch.manual_seed(seed)", "torch.seed()")


def training_mode(folder: Path) -> None:
    replace_text(folder / "net.py", "net.eval()", "pass")


def one_epoch(folder: Path) -> None:
    replace_text(folder / "net.py", "range(40)", "range(1)")
