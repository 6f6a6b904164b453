"""ResNet-50 and ResNet-101 for images of some hundred pixels; tensor names are torchvision's, whose weights it loads.

    net = StandardizedNet(ResNet50(ResNet50Shape(num_classes=1_000)))
    logits = net(images)                         # uint8 (N, 3, H, W) -> (N, K)

`StandardizedNet` scales the bytes, so that what moves to the device is small and training and serving cannot differ.

Sources: He et al. 2016 (arXiv 1512.03385), table 1 and section 4.1; the stride in the 3 x 3 convolution, and blocks
that begin as the identity, Goyal et al. 2017 (arXiv 1706.02677), section 5.1; the mean and deviation of ImageNet's
levels are those that everybody uses.
Shapes: N images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError
from deepseek.extras import need

EXPANSION = 4  # output channels of a block for each inner channel
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class ResNet50Shape:
    """Depth and width; the defaults are ResNet-50."""

    num_classes: int = 1_000
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # of each level; (3, 4, 23, 3) is ResNet-101
    width: int = 64  # channels of the first level inside its blocks

    def __post_init__(self) -> None:
        for name, good in (
            ("num_classes", self.num_classes >= 1), ("blocks", min(self.blocks, default=0) > 0),
            ("width", self.width >= 1),
        ):  # fmt: skip
            if not good:
                raise InputError(f"{name} is {getattr(self, name)}", expected="1 or more", fix="give such a value")


class Bottleneck(nn.Module):
    """Bottleneck residual block (N, C, H, W) -> (N, 4 D, H / stride, W / stride)."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * inner
        self.conv1, self.bn1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.bn3.weight)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet50(nn.Module):
    """Floats (N, 3, H, W), standardized -> logits (N, K).

    >>> net = ResNet50(ResNet50Shape(num_classes=4, blocks=(1, 1), width=8))
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 4])
    """

    def __init__(self, shape: ResNet50Shape | None = None) -> None:
        super().__init__()
        self.shape = shape or ResNet50Shape()
        width, channels = self.shape.width, self.shape.width
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(width)
        for level, num_blocks in enumerate(self.shape.blocks):
            blocks, inner = [], width << level
            for block in range(num_blocks):
                blocks.append(Bottleneck(channels, inner, stride=2 if level and not block else 1))
                channels = EXPANSION * inner
            self.add_module(f"layer{level + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, self.shape.num_classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))  # (N, C, H / 2, W / 2)
        x = functional.max_pool2d(x, 3, stride=2, padding=1)  # (N, C, H / 4, W / 4)
        for level in range(len(self.shape.blocks)):
            x = self.get_submodule(f"layer{level + 1}")(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class StandardizedNet(nn.Module):
    """Standardizes images (N, 3, H, W) with levels 0 to 255, bytes or mixed floats, and applies `net`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        for name, values in (("mean", IMAGENET_MEAN), ("deviation", IMAGENET_DEVIATION)):
            self.register_buffer(name, 255 * torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.net(((images - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last))
        return output


def photo_net(name: str, num_classes: int, width: int = 64) -> StandardizedNet:
    """An untrained net by its name: "resnet50" and "resnet101", written here, "tiny" for trials, or one of
    torchvision's as "torchvision/NAME", where that is installed. `width`: of those that are written here."""
    blocks = {"tiny": (1, 1), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
    library, _, its_name = name.rpartition("/")
    if library == "torchvision":
        models = need("torchvision.models", extra="compress")
        if its_name in models.list_models():
            return StandardizedNet(models.get_model(its_name, weights=None, num_classes=num_classes))
    elif name in blocks:
        net = ResNet50(ResNet50Shape(num_classes, blocks[name], width))
        return StandardizedNet(net.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    raise InputError(
        f"there is no net {name!r}", expected=f"{', '.join(blocks)}, or torchvision/NAME such as torchvision/resnet18",
        fix="check the name",
    )  # fmt: skip
