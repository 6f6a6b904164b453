"""A small net that says what a difference between a part and its reference is, and where its box ends.

    net = PairNet(num_classes=6, num_channels=1)
    probabilities, deltas = net(crops)              # uint8 (N, 2 C, 64, 64) -> (N, K + 1), (N, 4)

The last class is "no defect": a difference that nobody would have marked. It sees the part, the reference and their
difference, signed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.nn.resnet import Block, Convolution

WIDTHS = (16, 32, 64, 96)  # at 32, 16, 8 and 4 pixels; the first without a block, which would cost most of all


class PairNet(nn.Module):
    """Crops of parts and references -> classes and deltas (nn.detector.difference.apply_deltas).

    >>> probabilities, deltas = PairNet(6, 1)(torch.zeros(2, 2, 64, 64, dtype=torch.uint8))
    >>> probabilities.shape, deltas.shape
    (torch.Size([2, 7]), torch.Size([2, 4]))
    """

    def __init__(self, num_classes: int, num_channels: int) -> None:
        super().__init__()
        self.num_channels = num_channels
        levels: list[nn.Module] = []
        inputs = 3 * num_channels
        for width in WIDTHS:
            enter = Convolution(inputs, width, stride=2)
            levels += [enter, nn.ReLU(), *([] if width == WIDTHS[0] else [Block(width)])]
            inputs = width
        self.levels = nn.Sequential(*levels)
        self.hidden = nn.Linear(16 * inputs, 128)
        self.classes = nn.Linear(128, num_classes + 1)
        self.deltas = nn.Linear(128, 4)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.raw(crops)
        return logits.softmax(-1), deltas

    def raw(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K + 1) and deltas (N, 4)."""
        x = crops.float() / 255 - 0.5  # (N, 2 C, 64, 64)
        part, reference = x[:, : self.num_channels], x[:, self.num_channels :]
        x = self.levels(torch.cat([part, reference, part - reference], 1))  # (N, 96, 4, 4)
        hidden = functional.relu(self.hidden(x.flatten(1)))
        return self.classes(hidden).float(), self.deltas(hidden).float()
