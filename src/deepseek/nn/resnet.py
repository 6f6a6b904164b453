"""A small residual network for small images: a stem, levels that halve the image and double the channels, a head.

    net = ResNet(ResNetShape(num_classes=10))
    logits = net(images)                         # (N, 3, H, W), standardised -> (N, K); H, W a multiple of 8

A level is a convolution, 2 x 2 max pooling and a residual block of two convolutions, so each level costs about the same
number of operations and holds four times the weights of the one before.

Source: He et al. 2016, section 3.3; the order of a level is that of Page's ResNet-9 (DAWNBench 2018).
Shapes: N images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError


@dataclass(frozen=True, slots=True)
class ResNetShape:
    """Sizes of a net."""

    num_classes: int = 10
    width: int = 64  # channels after the first level; even, at least 2
    num_levels: int = 3  # each halves the image, at least 1
    num_channels: int = 3  # of the images

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("num_classes", self.num_classes >= 1, "1 or more"),
            ("width", self.width >= 2 and self.width % 2 == 0, "an even number, 2 or more"),
            ("num_levels", self.num_levels >= 1, "1 or more"),
            ("num_channels", self.num_channels >= 1, "1 or more"),
        ):
            if not good:
                raise InputError(f"{name} is {getattr(self, name)}", expected=expected, fix="give such a value")


class Convolution(nn.Module):
    """(N, C, H, W) -> (N, D, H / stride, W / stride): 3 x 3 convolution and batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class Block(nn.Module):
    """Residual block (N, C, H, W) -> (N, C, H, W) of two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = Convolution(channels, channels), Convolution(channels, channels)
        nn.init.zeros_(self.second.norm.weight)  # the block starts as the identity, which is easier to train

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.first(x))  # (N, C, H, W)
        return functional.relu(x + self.second(inner))


class Level(nn.Module):
    """(N, C, H, W) -> (N, D, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enter, self.block = Convolution(inputs, outputs), Block(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(functional.max_pool2d(self.enter(x), 2))  # (N, D, H/2, W/2); a quarter of the ReLUs
        y: Tensor = self.block(x)
        return y


class ResNet(nn.Module):
    """Images (N, 3, H, W) -> logits (N, K).

    >>> import torch
    >>> ResNet(ResNetShape(num_classes=4, width=8))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 4])
    """

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__()
        self.shape = shape
        widths = [shape.width // 2, *(shape.width << level for level in range(shape.num_levels))]
        self.stem = Convolution(shape.num_channels, widths[0])
        self.levels = nn.Sequential(*(Level(a, b) for a, b in pairwise(widths)))
        self.head = nn.Linear(widths[-1], shape.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.stem(images))  # (N, width / 2, H, W)
        x = self.levels(x)  # (N, C, H / 2^levels, W / 2^levels), C = width * 2^(levels - 1)
        pooled = functional.adaptive_avg_pool2d(x, 1).flatten(1)  # (N, C)
        logits: Tensor = self.head(pooled)
        return logits
