"""Trunks: pictures to maps of features at strides 4, 8, 16 and 32.

    trunk = ResidualTrunk(TrunkShape())
    maps = trunk(pictures)                   # (N, 3, H, W), normalized -> 4 maps (N, C_i, H / s_i, W / s_i)

ResidualTrunk starts from random weights; onnx_trunk.py reads one that a package has trained.
Source: He et al. 2016, section 3.3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from deepseek.nn.resnet import Block, Convolution

STRIDES = (4, 8, 16, 32)


class Trunk(nn.Module, ABC):
    """Normalized pictures (N, 3, H, W) -> maps at STRIDES."""

    widths: tuple[int, ...]  # channels of the maps, from stride 4 on

    @abstractmethod
    def forward(self, pictures: Tensor) -> list[Tensor]: ...


@dataclass(frozen=True, slots=True)
class TrunkShape:
    """Channels at strides 2, 4, 8, 16, 32, and residual blocks at the last four."""

    stem: int = 16
    widths: tuple[int, int, int, int] = (32, 64, 128, 192)
    num_blocks: tuple[int, int, int, int] = (0, 1, 1, 1)  # one at stride 4 would cost a fifth of the net


class ResidualTrunk(Trunk):
    """Pictures (N, 3, H, W) -> maps at strides 4, 8, 16, 32; H and W are multiples of 32.

    >>> import torch
    >>> [tuple(each.shape[1:]) for each in ResidualTrunk(TrunkShape())(torch.zeros(1, 3, 64, 32))]
    [(32, 16, 8), (64, 8, 4), (128, 4, 2), (192, 2, 1)]
    """

    def __init__(self, shape: TrunkShape, num_channels: int = 3) -> None:
        super().__init__()
        self.widths = shape.widths
        self.stem = nn.Conv2d(num_channels, shape.stem, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(shape.stem)
        levels, inputs = [], shape.stem
        for outputs, num_blocks in zip(shape.widths, shape.num_blocks, strict=True):
            enter = Convolution(inputs, outputs, stride=2)
            levels.append(nn.Sequential(enter, nn.ReLU(), *(Block(outputs) for _ in range(num_blocks))))
            inputs = outputs
        self.levels = nn.ModuleList(levels)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x = functional.relu(self.stem_norm(self.stem(pictures)))  # (N, C, H / 2, W / 2)
        maps = []
        for level in self.levels:
            x = level(x)  # (N, C_i, H / s_i, W / s_i)
            maps.append(x)
        return maps
