"""A small network on real digits, as an ONNX file, a module, and arrays to judge on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

NET = """
import torch
from safetensors.torch import load_file
from torch import nn


def empty():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 96, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10),
    )


def build():
    module = empty()
    module.load_state_dict(load_file("net.safetensors"))
    return module


def small():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(512, 10),
    )


def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1500), nn.ReLU(), nn.Linear(1500, 10))


def nine():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9))


def branching():
    class Branching(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) if x.sum() > 0 else x.sum((2, 3))

    return Branching()


def no_module():
    return 3
"""


def make_digits(folder: Path) -> Path:
    """net.py, net.safetensors, net.onnx, train.npz and validation.npz in `folder`."""
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("sklearn.datasets")
    from safetensors.torch import save_file

    from deepseek.compress.targets.export_module import export_module

    (folder / "net.py").write_text(NET)
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    order = np.random.default_rng(0).permutation(len(images))
    train, held = order[:1_000], order[1_000:]
    for name, rows in (("train", train), ("validation", held)):
        np.savez(folder / f"{name}.npz", x=images[rows], y=labels[rows])
    scope: dict[str, object] = {}
    exec(NET, scope)
    torch.manual_seed(0)
    module = scope["empty"]()
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3)
    x, y = torch.from_numpy(images[train]), torch.from_numpy(labels[train])
    for _ in range(4):
        for rows in torch.randperm(len(x)).split(50):
            loss = torch.nn.functional.cross_entropy(module(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    save_file(module.state_dict(), folder / "net.safetensors")
    export_module(module, x[:4], folder / "net.onnx")
    return folder
