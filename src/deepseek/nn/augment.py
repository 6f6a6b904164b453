"""Image augmentation in training: small random affine moves, mixup and CutMix; nothing in evaluation.

    moved = RandomMove(MoveShape(shift=0.1, rotate_degrees=10))
    images = moved(images)                       # training: each moved at random; evaluation: the same tensor
    mix = Mix(MixShape(mixup=0.2), num_classes=1_000)
    images, probabilities = mix((images, labels))   # a training batch, for a loss that takes probabilities

Moves are part of the encoder, so that no second pipeline for training has to be kept equal with serving. Sampling is
bilinear with the border repeated. All frames of a video move alike, and all slices of a volume.

Mixing changes labels, too, so it is not part of the net: `fit(..., change=Mix(...))` does it on the device. Each image
is mixed with another of the batch, all in one ratio, as the authors do. For a multimodal net see MultimodalShape.mixup.

Sources: affine augmentation as in torchvision's RandomAffine, here a draw for each sample and in one call; mixup, Zhang
et al. 2018 (arXiv 1710.09412), equation 1; CutMix, Yun et al. 2019 (arXiv 1905.04899), equations 1 and 2.
Shapes: N samples, C channels, H x W pixels, K classes.
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
    """Largest moves; each is drawn uniformly between its ends."""

    shift: float = 0.08  # of the side, either way, 0 to 1
    scale: float = 0.1  # larger or smaller by this share, 0 to 1
    rotate_degrees: float = 8.0  # either way, 0 to 180
    mirror: bool = False  # flip left and right, half of the time: not where sides have a meaning, as in a scan
    light: float = 0.1  # brightness and contrast by this share, 0 to 1

    def __post_init__(self) -> None:
        for name, largest in (("shift", 1), ("scale", 1), ("rotate_degrees", 180), ("light", 1)):
            if not 0 <= getattr(self, name) <= largest:
                raise InputError(
                    f"move.{name} is {getattr(self, name)}",
                    expected=f"between 0 and {largest}",
                    fix="give such a value",
                )


class RandomMove(nn.Module):
    """Randomly moved images in training, floats (N, C, H, W) around 0; the unchanged tensor in evaluation."""

    def __init__(self, shape: MoveShape | None = None) -> None:
        super().__init__()
        self.most = shape or MoveShape()

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        num, shape = images.shape[0], self.most
        uniform = 2 * torch.rand(6, num, device=images.device) - 1  # (6, N) in -1..1
        angle = uniform[0] * math.radians(shape.rotate_degrees)
        size = 1 + uniform[1] * shape.scale
        side = torch.where(uniform[5] < 0, -1.0, 1.0) if shape.mirror else torch.ones_like(size)
        cos, sin = size * torch.cos(angle), size * torch.sin(angle)
        across, down = 2 * shape.shift * uniform[2], 2 * shape.shift * uniform[3]  # a side is 2 long
        ratio = images.shape[2] / images.shape[3]  # so that a turn is one on pixels that are not square in 2 x 2
        rows = torch.stack([side * cos, -sin * ratio, across, side * sin / ratio, cos, down], 1).view(num, 2, 3)
        grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
        moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        light = 1 + shape.light * uniform[4]
        return moved * light.view(-1, 1, 1, 1)


@dataclass(frozen=True, slots=True)
class MixShape:
    """How batches are mixed. Off by default; with both on, one of them is drawn for each batch."""

    mixup: float = 0.0  # alpha of Beta(alpha, alpha), of which the ratio is drawn; 0: never. ImageNetConfig: 0.2
    cutmix: float = 0.0  # the same for a rectangle of the other picture. ImageNetConfig: 1

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"mix.{name} is {getattr(self, name)}", expected="at least 0", fix="write 0.2")

    def __bool__(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0


class Mix:
    """(images (N, C, H, W), labels (N,) from 0) -> (float images, probabilities (N, K)), as cross entropy takes them.

    Random numbers are torch's, like those of dropout. uint8 becomes float without scaling.

    >>> images, chances = Mix(MixShape(mixup=0.2), 3)((torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])))
    >>> chances.shape, bool(torch.allclose(chances.sum(1), torch.ones(4)))
    (torch.Size([4, 3]), True)
    """

    def __init__(self, shape: MixShape, num_classes: int) -> None:
        self.shape, self.num_classes = shape, num_classes

    def __call__(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = batch
        probabilities = functional.one_hot(labels, self.num_classes).float()
        if not self.shape:
            return images, probabilities
        partner = torch.randperm(len(images)).to(images.device)
        if self._cuts():
            images, ratio = _paste_rectangle(images, partner, float(draw_ratio(self.shape.cutmix)))
        else:
            ratio = float(draw_ratio(self.shape.mixup))
            images = ratio * images + (1 - ratio) * images[partner]
        return images, ratio * probabilities + (1 - ratio) * probabilities[partner]

    def _cuts(self) -> bool:
        if self.shape.mixup and self.shape.cutmix:
            return bool(torch.rand(()) < 0.5)
        return self.shape.cutmix > 0


def draw_ratio(alpha: float) -> Tensor:
    """A number () in 0..1 from Beta(alpha, alpha)."""
    ratio: Tensor = torch.distributions.Beta(alpha, alpha).sample()
    return ratio


def _paste_rectangle(images: Tensor, partner: Tensor, ratio: float) -> tuple[Tensor, float]:
    """Images with a rectangle of their partner pasted in, about 1 - ratio of the area, and the share of each image that
    is its own."""
    height, width = images.shape[2:]
    side = math.sqrt(1 - ratio)
    centers = torch.rand(2).tolist()
    sizes = (height, width)
    top, left = (round(center * size - side * size / 2) for center, size in zip(centers, sizes, strict=True))
    bottom, right = top + round(side * height), left + round(side * width)
    top, bottom, left, right = max(0, top), min(height, bottom), max(0, left), min(width, right)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
