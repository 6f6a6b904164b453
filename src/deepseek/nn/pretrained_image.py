"""Image nets with weights of their own: EfficientNet-Lite0 written out here, and those of torchvision or timm by name.

    tower = PretrainedImageEncoder("efficientnet_lite0", (224, 224))         # 3.4 million parameters, no library but
    torch
    tower = PretrainedImageEncoder("efficientnet_lite0@11", (224, 224))      # its first 11 of 16 blocks: textures, no
    things yet
    tower = PretrainedImageEncoder("resnet18", (224, 224))                   # torchvision's
    tower = PretrainedImageEncoder("timm/resnet18", (224, 224))              # timm's, where it is installed
    tower(images)                                                # uint8 (N, C, H, W) -> (N, L, H'), L places of a grid
    tower.middle(images)                                         # (N, D): what a small model can be fitted on

Nothing is downloaded: a tower begins with random weights, and who calls brings those that it has (`read_image_weights`
reads a safetensors file). Grey pictures are shown to all three channels; levels are those that each net was trained on.

Source: EfficientNet-Lite, Liu 2020 (the EfficientNet of Tan and Le 2019, arXiv 1905.11946, table 1, without
squeeze-and-excitation and with ReLU6). Padding is TensorFlow's "same", with which its weights were trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.extras import need
from deepseek.plugins import did_you_mean

Size = tuple[int, int]
EFFICIENTNET_LITE = "efficientnet_lite0"
TIMM_PREFIX = "timm/"
_LITE_LEVELS = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET_LEVELS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: Repeats, kernel, stride, expansion and channels of each stage.
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


class PretrainedImageEncoder(nn.Module):
    """uint8 (N, 1 or 3, H, W) -> (N, L, H'): what the net says of each place, before it would pool."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, size: Size, move: nn.Module | None = None) -> None:
        super().__init__()
        self.name, self.move = name, move or nn.Identity()
        net, (mean, deviation) = _create_net(name)
        self.net: Any = net.eval()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1), persistent=False)
        with torch.no_grad():
            shape = tuple(self.net(torch.zeros(1, 3, *size)).shape)
        if len(shape) != 4:
            raise InputError(
                f"{name} gives an answer of {len(shape)} axes", expected="one for each place of the picture",
                fix="choose a net of convolutions",
            )  # fmt: skip
        self.width, self.grid = shape[1], (shape[2], shape[3])

    def forward(self, images: Tensor) -> Tensor:
        y: Tensor = self.net(self._shown(images))
        return y.flatten(2).transpose(1, 2)

    def middle(self, images: Tensor) -> Tensor:
        """(N, D): mean and deviation over the picture of each channel behind the stages in the middle, from 3 to 6
        eighths of the net: the first say edges, and the last what things are, in a world that this picture may not be
        of. Of a timm net the last stage."""
        x = self._shown(images)
        told = self.net.stages(x) if isinstance(self.net, EfficientNetLite | _NetParts) else [self.net(x)]
        chosen = told[len(told) * 3 // 8 : -(-len(told) * 6 // 8)]
        return torch.cat([pooled for y in chosen for pooled in (y.mean((2, 3)), y.std((2, 3), correction=0))], 1)

    def _shown(self, images: Tensor) -> Tensor:
        """As the net was trained to see them."""
        x = (self.move(images.float() / 127.5 - 1) + 1) / 2  # it is moved about 0
        x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        y: Tensor = (x - self.mean) / self.deviation
        return y

    def train(self, mode: bool = True) -> PretrainedImageEncoder:
        """Norms keep what they learned of many pictures: a few of a small batch would say it worse."""
        super().train(mode)
        self.net.eval()
        return self

    def learn_late(self) -> None:
        """The first half of its weights stays as it is: edges and textures are the same everywhere, and the picture is
        large where they are found, so that half the cost of a step is saved."""
        weights = list(self.net.parameters())
        for at, weight in enumerate(weights):
            weight.requires_grad_(at >= len(weights) // 2)


def read_image_weights(name: str, file: Path) -> dict[str, Tensor]:
    """Of a net by name, from a safetensors file with the names of its own library; its head is left out.

    MissingError where there is no file; IntegrityError for one that is no safetensors or of another net.
    """
    safetensors = need("safetensors.torch", extra="train")
    if not file.is_file():
        raise MissingError(f"there is no file {file}", expected="weights as safetensors", fix="check the path")
    try:
        given: dict[str, Tensor] = safetensors.load_file(file)
    except need("safetensors", extra="train").SafetensorError as error:
        raise IntegrityError(
            f"{file.name} cannot be read: {error}", expected="a safetensors file",
            fix="save the weights with safetensors.torch.save_file; a pickle (.pth, .bin) is never loaded",
        ) from error  # fmt: skip
    if name.partition("@")[0] == EFFICIENTNET_LITE:  # as it was published, each part of a name with a line before it
        given = {".".join(part.lstrip("_") for part in key.split(".")): value for key, value in given.items()}
    wanted = {key: tuple(value.shape) for key, value in _create_net(name)[0].state_dict().items()}
    for key, shape in wanted.items():
        if key not in given or tuple(given[key].shape) != shape:
            found = f"has the shape {list(given[key].shape)}" if key in given else "is missing"
            raise IntegrityError(
                f"{file.name} holds no weights of {name}: {key!r} {found}", expected=f"the shape {list(shape)}",
                fix=f"give the weights of {name}, with the names that its library gives them",
            )  # fmt: skip
    return {f"net.{key}": given[key].float() if given[key].is_floating_point() else given[key] for key in wanted}


def _create_net(name: str) -> tuple[nn.Module, tuple[Any, Any]]:
    """A net from pictures to a grid, and the levels that it expects: mean and deviation, of levels in 0..1."""
    if name.partition("@")[0] == EFFICIENTNET_LITE:
        return EfficientNetLite(_num_blocks(name)), _LITE_LEVELS
    if name.startswith(TIMM_PREFIX):
        timm = need("timm", extra="timm")
        net = timm.create_model(name.removeprefix(TIMM_PREFIX), pretrained=False, num_classes=0, global_pool="")
        return net, (net.pretrained_cfg["mean"], net.pretrained_cfg["std"])
    models = need("torchvision.models", extra="compress")
    known = models.list_models(module=models)
    if name not in known:
        raise InputError(
            f"there is no image net {name!r}.{did_you_mean(name, [EFFICIENTNET_LITE, *known])}",
            expected=f"{EFFICIENTNET_LITE}, a name of torchvision.models, or {TIMM_PREFIX}NAME",
            fix="give one of these",
        )  # fmt: skip
    net = models.get_model(name, weights=None)
    for parts in (("features",), ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")):
        if all(hasattr(net, part) for part in parts):
            return _NetParts({part: getattr(net, part) for part in parts}), _IMAGENET_LEVELS
    raise InputError(
        f"{name} keeps no places of the picture that could be looked at", expected="a net of convolutions",
        fix="choose a ResNet, MobileNet, EfficientNet, ConvNeXt or DenseNet",
    )  # fmt: skip


def _num_blocks(name: str) -> int:
    depth = name.partition("@")[2]
    most = sum(stage[0] for stage in _STAGES)
    if "@" in name and not (depth.isascii() and depth.isdigit() and 1 <= int(depth) <= most):
        raise InputError(
            f"the image net {name!r} ends at block {depth!r}",
            expected=f"1 to {most}",
            fix=f"such as {EFFICIENTNET_LITE}@11",
        )
    return int(depth or most)


class _NetParts(nn.Module):
    """The parts of a net that lie before its pooling, one after the other, under their own names."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x

    def stages(self, x: Tensor) -> list[Tensor]:
        """What each part of the net says, those of a `features` one by one."""
        parts = list(self.children())
        told = []
        for part in parts[0] if len(parts) == 1 and isinstance(parts[0], nn.Sequential) else parts:
            x = part(x)
            told.append(x)
        return told


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0: (N, 3, H, W), levels in -1..1 -> (N, 1280, H / 32, W / 32), rounded up; what its first
    `num_blocks` say, where these are not all."""

    def __init__(self, num_blocks: int = 16) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = _SamePaddedConv(3, 32, 3, stride=2), _batch_norm(32)
        self.blocks, inputs = nn.ModuleList(), 32
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            for repeat in range(min(repeats, num_blocks - len(self.blocks))):
                self.blocks.append(_InvertedResidual(inputs, outputs, kernel, stride if repeat == 0 else 1, expansion))
                inputs = outputs
        self.whole = num_blocks == 16
        if self.whole:
            self.conv_head, self.bn1 = _SamePaddedConv(inputs, 1280, 1), _batch_norm(1280)

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)[-1]

    def stages(self, x: Tensor) -> list[Tensor]:
        """What each stage says, behind its last block, and the head."""
        x = functional.relu6(self.bn0(self.conv_stem(x)))
        told, ends = [], list(accumulate(stage[0] for stage in _STAGES))
        for at, block in enumerate(self.blocks, 1):
            x = block(x)
            if at in ends or at == len(self.blocks):
                told.append(x)
        if self.whole:
            told.append(functional.relu6(self.bn1(self.conv_head(x))))
        return told


class _InvertedResidual(nn.Module):
    """(N, C, H, W) -> (N, D, H / stride, W / stride): widened, looked at by each channel, narrowed."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        if expansion > 1:
            self.expand_conv, self.bn0 = _SamePaddedConv(inputs, wide, 1), _batch_norm(wide)
        self.depthwise_conv, self.bn1 = (
            _SamePaddedConv(wide, wide, kernel, stride=stride, groups=wide),
            _batch_norm(wide),
        )
        self.project_conv, self.bn2 = _SamePaddedConv(wide, outputs, 1), _batch_norm(outputs)
        self.widens, self.around = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        y = functional.relu6(self.bn1(self.depthwise_conv(y)))
        out: Tensor = self.bn2(self.project_conv(y))
        return x + out if self.around else out


class _SamePaddedConv(nn.Conv2d):
    """Padded as TensorFlow does, so that stride s gives ceil(side / s): the odd pixel lies behind."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        step, kernel = self.stride[0], self.kernel_size[0]
        margins: list[int] = []
        for side in (int(x.shape[3]), int(x.shape[2])):
            whole = max(0, (-(-side // step) - 1) * step + kernel - side)
            margins += [whole // 2, whole - whole // 2]
        return super().forward(functional.pad(x, margins))


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
