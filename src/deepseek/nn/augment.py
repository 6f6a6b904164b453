"""Pictures that move a little while a model is trained, and not at all when it answers.

    moved = Moved(MoveShape(shift=0.1, rotate_degrees=10))
    images = moved(images)                       # training: each moved by chance; evaluation: the same tensor

It stands inside the encoder, so that no second pipeline for training has to be kept equal with serving. Sampling is
bilinear with the border repeated. Of a film all frames move alike, of a volume all slices.

Source: affine augmentation as in torchvision's RandomAffine, here a draw for each sample and in one call.
Shapes: N samples, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError


@dataclass(frozen=True, slots=True)
class MoveShape:
    """How far, at the most. A draw is even between the ends."""

    shift: float = 0.08  # of the side, either way, 0 to 1
    scale: float = 0.1  # larger or smaller by this share, 0 to 1
    rotate_degrees: float = 8.0  # either way, 0 to 180
    mirror: bool = False  # left for right, half of the time: not where sides mean something, as in a scan
    light: float = 0.1  # brightness and contrast by this share, 0 to 1

    def __post_init__(self) -> None:
        for name, most in (("shift", 1), ("scale", 1), ("rotate_degrees", 180), ("light", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(
                    f"move.{name} is {getattr(self, name)}", expected=f"between 0 and {most}", fix="give such a value"
                )


class Moved(nn.Module):
    """Floats (N, C, H, W) about 0 -> the same shape."""

    def __init__(self, shape: MoveShape | None = None) -> None:
        super().__init__()
        self.most = shape or MoveShape()

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        num, most = images.shape[0], self.most
        draw = 2 * torch.rand(6, num, device=images.device) - 1  # (6, N) in -1..1
        angle = draw[0] * math.radians(most.rotate_degrees)
        size = 1 + draw[1] * most.scale
        side = torch.where(draw[5] < 0, -1.0, 1.0) if most.mirror else torch.ones_like(size)
        cos, sin = size * torch.cos(angle), size * torch.sin(angle)
        across, down = 2 * most.shift * draw[2], 2 * most.shift * draw[3]  # a side is 2 long
        ratio = images.shape[2] / images.shape[3]  # so that a turn is one on pixels that are not square in 2 x 2
        rows = torch.stack([side * cos, -sin * ratio, across, side * sin / ratio, cos, down], 1).view(num, 2, 3)
        grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
        moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        light = 1 + most.light * draw[4]
        return moved * light.view(-1, 1, 1, 1)
