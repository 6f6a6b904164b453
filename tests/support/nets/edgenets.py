"""Small networks for tests of the edge: trained for a second on scikit-learn's digits, exported to ONNX by torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Real pictures (1797, 1, 8, 8) of 0 to 1, and what they show."""
    pictures, target = load_digits(return_X_y=True)
    return (pictures.reshape(-1, 1, 8, 8) / 16).astype(np.float32), target.astype(np.int64)


class Block(nn.Module):
    """MobileNet's inverted residual: widen, depthwise, narrow, all normalised, and the input added."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Squeeze(nn.Module):
    """Squeeze and excite, as in MobileNetV3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.Conv2d(4, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layers(x)


def small_cnn(*, softmax: bool = True) -> nn.Module:
    """Every operator that the C tier knows, 8 x 8 to ten classes."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.Hardswish(),
        Block(12, 24), Squeeze(12), nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(12, 24, 3, padding=2, dilation=2, groups=3), nn.ReLU(), nn.BatchNorm2d(24),
        nn.AvgPool2d(2), nn.Sigmoid(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 10),
        *([nn.Softmax(dim=1)] if softmax else []),
    )  # fmt: skip


def trained(
    model: nn.Module, pictures: NDArray[np.float32], target: NDArray[np.int64], *, epochs: int = 8
) -> nn.Module:
    """Fitted for a moment; its last layer may be a softmax."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = torch.as_tensor(pictures), torch.as_tensor(target)
    net = model[:-1] if isinstance(model[-1], nn.Softmax) else model  # type: ignore[index]
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.eval()


def save_onnx(model: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    """Exported for any number of rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (torch.zeros(1, *shape),), str(path), input_names=["picture"], output_names=["scores"],
            dynamic_axes={"picture": {0: "N"}, "scores": {0: "N"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
    return path
