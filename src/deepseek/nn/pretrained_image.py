"""Pretrained image encoders: EfficientNet-Lite0, implemented here, and nets of torchvision or timm by name.

    encoder = PretrainedImageEncoder("efficientnet_lite0", (224, 224))     # 3.4 million parameters, needs torch alone
    encoder = PretrainedImageEncoder("efficientnet_lite0@11", (224, 224))  # its first 11 of 16 blocks: textures
    encoder = PretrainedImageEncoder("resnet18", (224, 224))               # torchvision's
    encoder = PretrainedImageEncoder("timm/resnet18", (224, 224))          # timm's, where it is installed
    encoder(images)                             # uint8 (N, C, H, W) -> (N, L, H'), L cells of a grid
    encoder.middle(images)                      # (N, D): features that a small model can be fitted on

Nothing is downloaded: an encoder starts with random weights, and the caller loads others (`read_image_weights` reads a
safetensors file). Gray images are repeated in all three channels; levels are scaled as each net was trained.

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
    """uint8 (N, 1 or 3, H, W) -> (N, L, H'): the net's features for each cell of a grid, before its pooling."""

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
        y: Tensor = self.net(self._standardize(images))
        return y.flatten(2).transpose(1, 2)

    def middle(self, images: Tensor) -> Tensor:
        """Features (N, D): mean and deviation over the image of each channel, of the stages from 3 to 6 eighths of the
        net. Earlier stages encode edges; later ones the classes of the pretraining data, which may not apply to these
        images. For a timm net only the last stage is known."""
        x = self._standardize(images)
        stages = self.net.stages(x) if isinstance(self.net, EfficientNetLite | _NetParts) else [self.net(x)]
        middle_stages = stages[len(stages) * 3 // 8 : -(-len(stages) * 6 // 8)]
        return torch.cat([pooled for y in middle_stages for pooled in (y.mean((2, 3)), y.std((2, 3), correction=0))], 1)

    def _standardize(self, images: Tensor) -> Tensor:
        """Images with the channels and levels that the net was trained on: float (N, 3, H, W)."""
        x = (self.move(images.float() / 127.5 - 1) + 1) / 2  # it is moved about 0
        x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        y: Tensor = (x - self.mean) / self.deviation
        return y

    def train(self, mode: bool = True) -> PretrainedImageEncoder:
        """Batch norms stay in eval mode: their statistics of many images are better than those of a small batch."""
        super().train(mode)
        self.net.eval()
        return self

    def freeze_first_half(self) -> None:
        """Freeze the first half of the weights: edges and textures are the same everywhere, and these layers work on
        large images, so that half the cost of a step is saved."""
        weights = list(self.net.parameters())
        for index, weight in enumerate(weights):
            weight.requires_grad_(index >= len(weights) // 2)


def read_image_weights(name: str, file: Path) -> dict[str, Tensor]:
    """Weights of the net `name` from a safetensors file with the tensor names of its library, without its head.

    MissingError where there is no file; IntegrityError for one that is no safetensors file or of another net.
    """
    safetensors = need("safetensors.torch", extra="train")
    if not file.is_file():
        raise MissingError(f"there is no file {file}", expected="weights as safetensors", fix="check the path")
    try:
        tensors: dict[str, Tensor] = safetensors.load_file(file)
    except need("safetensors", extra="train").SafetensorError as error:
        raise IntegrityError(
            f"{file.name} cannot be read: {error}", expected="a safetensors file",
            fix="save the weights with safetensors.torch.save_file; a pickle (.pth, .bin) is never loaded",
        ) from error  # fmt: skip
    if name.partition("@")[0] == EFFICIENTNET_LITE:  # as it was published, each part of a name with a line before it
        tensors = {".".join(part.lstrip("_") for part in key.split(".")): value for key, value in tensors.items()}
    expected = {key: tuple(value.shape) for key, value in _create_net(name)[0].state_dict().items()}
    for key, shape in expected.items():
        if key not in tensors or tuple(tensors[key].shape) != shape:
            problem = f"has the shape {list(tensors[key].shape)}" if key in tensors else "is missing"
            raise IntegrityError(
                f"{file.name} holds no weights of {name}: {key!r} {problem}", expected=f"the shape {list(shape)}",
                fix=f"give the weights of {name}, with the names that its library gives them",
            )  # fmt: skip
    return {
        f"net.{key}": tensors[key].float() if tensors[key].is_floating_point() else tensors[key] for key in expected
    }


def _create_net(name: str) -> tuple[nn.Module, tuple[Any, Any]]:
    """A net from images to a grid of features, and the (mean, deviation) by channel that it expects of levels in
    0..1. InputError for an unknown net and for one without a grid."""
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
    max_blocks = sum(stage[0] for stage in _STAGES)
    if "@" in name and not (depth.isascii() and depth.isdigit() and 1 <= int(depth) <= max_blocks):
        raise InputError(
            f"the image net {name!r} ends at block {depth!r}",
            expected=f"1 to {max_blocks}",
            fix=f"such as {EFFICIENTNET_LITE}@11",
        )
    return int(depth or max_blocks)


class _NetParts(nn.Module):
    """The parts of a torchvision net before its pooling, in sequence, under their own names."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x

    def stages(self, x: Tensor) -> list[Tensor]:
        """Outputs of each part of the net; a single nn.Sequential counts as its parts."""
        parts = list(self.children())
        outputs = []
        for part in parts[0] if len(parts) == 1 and isinstance(parts[0], nn.Sequential) else parts:
            x = part(x)
            outputs.append(x)
        return outputs


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0: (N, 3, H, W), levels in -1..1 -> (N, 1280, H / 32, W / 32), rounded up; with fewer than 16
    `num_blocks` the output of the last of these."""

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
        """Outputs of each stage, after its last block, and of the head."""
        x = functional.relu6(self.bn0(self.conv_stem(x)))
        outputs, ends = [], list(accumulate(stage[0] for stage in _STAGES))
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number in ends or number == len(self.blocks):
                outputs.append(x)
        if self.whole:
            outputs.append(functional.relu6(self.bn1(self.conv_head(x))))
        return outputs


class _InvertedResidual(nn.Module):
    """Inverted residual block (N, C, H, W) -> (N, D, H / stride, W / stride): expand, depthwise, project."""

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
    """Convolution with TensorFlow's "same" padding: stride s gives ceil(side / s), and an odd pixel is padded at the
    end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        step, kernel = self.stride[0], self.kernel_size[0]
        margins: list[int] = []
        for side in (int(x.shape[3]), int(x.shape[2])):
            total = max(0, (-(-side // step) - 1) * step + kernel - side)
            margins += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, margins))


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
