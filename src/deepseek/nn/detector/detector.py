"""An anchor-free detector: at each place of three maps a score for each class and the distances to a box's four sides.

    net = Detector(DetectorShape(num_classes=6, num_channels=1), ResidualTrunk(TrunkShape()))
    scores, boxes, presence, heat = net(pictures)

    trunk (strides 4 to 32) -> neck (top down, then bottom up, strides 8, 16, 32) -> head, shared by the three maps but
    for its norms -> scores and boxes; the finest map -> heat; all three, pooled -> which classes are in the picture

Sources: FCOS, Tian et al. 2019, section 3 (places and distances); PANet, Liu et al. 2018, section 3.1 (the neck);
RTMDet, Lyu et al. 2022, section 3.3 (a head shared but for its norms).
Shapes: N pictures, C channels, H x W pixels (multiples of 32), K classes, A = H W (1/64 + 1/256 + 1/1024) places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError
from deepseek.nn.detector.onnx_trunk import MEAN, STD
from deepseek.nn.detector.trunk import Trunk
from deepseek.nn.resnet import Convolution

HEAD_STRIDES = (8, 16, 32)
PRIOR = 0.01  # score of every class before training: without it the many empty places swamp the first steps


@dataclass(frozen=True, slots=True)
class DetectorShape:
    """Sizes of a net."""

    num_classes: int = 1
    num_channels: int = 3  # of a picture: 1 gray, 3 color
    width: int = 64  # channels of the neck and the head
    num_head_layers: int = 1

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise InputError("there is no class", expected="one class of defects or more", fix="label some defects")
        if self.num_channels not in (1, 3):
            raise InputError(f"num_channels is {self.num_channels}", expected="1 or 3", fix="give one of them")


class RawOutputs(NamedTuple):
    """What the loss needs: logits where scores will be."""

    logits: Tensor  # (N, A, K)
    boxes: Tensor  # (N, A, 4) left, top, right, bottom in pixels
    centers: Tensor  # (A, 2) x, y of each place in pixels
    strides: Tensor  # (A,)
    presence: Tensor  # (N, K) logits of the classes in the picture
    heat: Tensor  # (N, 1, H / 8, W / 8) logits of a defect there


class HeadMaps(NamedTuple):
    """What the net says, at each place of the three maps (h, w) at HEAD_STRIDES."""

    logits: list[Tensor]  # (N, K, h, w)
    distances: list[Tensor]  # (N, 4, h, w) pixels from the place to left, top, right, bottom
    presence: Tensor  # (N, K) logits of the classes in the picture
    heat: Tensor  # (N, 1, H / 8, W / 8) logits of a defect there


class Layer(nn.Module):
    """(N, C, H, W) -> (N, D, H / stride, W / stride): a 3 x 3 convolution, batch norm, ReLU. A convolution of each
    channel and then one over all would be a fifth of the sums, and on processors twice the time of a training step."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.inner = Convolution(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.inner(x))


class Neck(nn.Module):
    """Maps at strides 4, 8, 16, 32 -> maps (N, width, ...) at strides 8, 16, 32, each with what the others have
    seen."""

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.fine = Layer(widths[0], width, stride=2)  # stride 4 -> 8: small defects
        self.lateral = nn.ModuleList(nn.Conv2d(each, width, 1) for each in widths[1:])
        self.down = nn.ModuleList(Layer(width, width) for _ in range(2))
        self.shrink = nn.ModuleList(Layer(width, width, stride=2) for _ in range(2))
        self.up = nn.ModuleList(Layer(width, width) for _ in range(2))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        c8, c16, c32 = (lateral(x) for lateral, x in zip(self.lateral, maps[1:], strict=True))
        c16 = self.down[0](c16 + functional.interpolate(c32, scale_factor=2.0, mode="nearest"))
        p8 = self.down[1](c8 + self.fine(maps[0]) + functional.interpolate(c16, scale_factor=2.0, mode="nearest"))
        p16 = self.up[0](c16 + self.shrink[0](p8))
        p32 = self.up[1](c32 + self.shrink[1](p16))
        return [p8, p16, p32]


class Head(nn.Module):
    """Maps -> logits and distances; the 1 x 1 convolutions at the end are shared by all strides."""

    def __init__(self, shape: DetectorShape) -> None:
        super().__init__()
        width = shape.width

        def tower() -> nn.Sequential:
            return nn.Sequential(*(Layer(width, width) for _ in range(shape.num_head_layers)))

        self.class_layers = nn.ModuleList(tower() for _ in HEAD_STRIDES)
        self.box_layers = nn.ModuleList(tower() for _ in HEAD_STRIDES)
        self.logits = nn.Conv2d(width, shape.num_classes, 1)
        self.distances = nn.Conv2d(width, 4, 1)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.constant_(self.logits.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        nn.init.normal_(self.distances.weight, std=0.01)
        nn.init.constant_(self.distances.bias, 2.0)  # type: ignore[arg-type]  # about two strides to each side

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits, distances = [], []
        for place, x in enumerate(maps):
            logits.append(self.logits(self.class_layers[place](x)))
            raw = self.distances(self.box_layers[place](x)).float()
            distances.append(functional.softplus(raw) * HEAD_STRIDES[place])
        return logits, distances


class Detector(nn.Module):
    """Pictures uint8 (N, C, H, W) -> scores (N, A, K), boxes (N, A, 4), presence (N, K), heat (N, 1, H / 8, W / 8)."""

    mean: Tensor
    std: Tensor

    def __init__(self, shape: DetectorShape, trunk: Trunk) -> None:
        super().__init__()
        self.shape = shape
        self.trunk = trunk
        self.neck = Neck(trunk.widths, shape.width)
        self.head = Head(shape)
        self.presence = nn.Linear(2 * shape.width * len(HEAD_STRIDES), shape.num_classes)
        self.heat = nn.Sequential(Layer(shape.width, shape.width // 2), nn.Conv2d(shape.width // 2, 1, 1))
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        raw = self.raw(pictures)
        return raw.logits.sigmoid(), raw.boxes, raw.presence.sigmoid(), raw.heat.sigmoid()

    def raw(self, pictures: Tensor) -> RawOutputs:
        """Logits and boxes for the loss."""
        seen = self.maps(pictures)
        boxes, centers, strides = to_boxes(seen.distances)
        return RawOutputs(
            to_rows(seen.logits).float(), boxes, centers, strides, seen.presence.float(), seen.heat.float()
        )

    def maps(self, pictures: Tensor) -> HeadMaps:
        """Pictures uint8 (N, C, H, W) -> what the net says at each place."""
        maps = self.neck(self.trunk(self.normalize(pictures)))
        logits, distances = self.head(maps)
        pooled = torch.cat([torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1) for x in maps], 1)
        return HeadMaps(logits, distances, self.presence(pooled), self.heat(maps[0]))

    def normalize(self, pictures: Tensor) -> Tensor:
        """Pictures uint8 (N, C, H, W) -> (N, 3, H, W) as trunks take them."""
        x = pictures.float()
        if self.shape.num_channels == 1:
            x = x.expand(-1, 3, -1, -1)
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def to_rows(maps: list[Tensor]) -> Tensor:
    """(N, C, h, w) of each stride -> (N, A, C)."""
    return torch.cat([each.flatten(2).transpose(1, 2) for each in maps], 1)


def to_boxes(distances: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Distances (N, 4, h, w) of each stride -> boxes (N, A, 4), centers (A, 2) and strides (A,), all in pixels."""
    grids = [_grid(x, stride) for x, stride in zip(distances, HEAD_STRIDES, strict=True)]
    centers, strides = (torch.cat(each) for each in zip(*grids, strict=True))
    far = to_rows(distances)
    return torch.cat([centers - far[..., :2], centers + far[..., 2:]], -1), centers, strides


def _grid(x: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Centers (h w, 2) in pixels and strides (h w,) of a map (N, C, h, w)."""
    height, width = x.shape[-2:]
    ys = (torch.arange(height, device=x.device, dtype=torch.float32) + 0.5) * stride
    xs = (torch.arange(width, device=x.device, dtype=torch.float32) + 0.5) * stride
    centers = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)], -1).reshape(-1, 2)
    return centers, torch.full((height * width,), float(stride), device=x.device)
