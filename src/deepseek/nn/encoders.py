"""One small encoder for each modality: arrays of a reader -> tokens of one width, for fusion.py.

    encoder = ImageEncoder(size=(64, 64), channels=1, width=64)
    tokens = encoder(images)                     # uint8 (N, C, H, W) -> (N, L, E)

Every encoder scales its own input, so that data between processes stays small and training and serving cannot differ;
each has `num_tokens`, and can be exported to ONNX.

Shapes: N samples, L tokens, E width, C channels, H x W pixels, T time steps or frames, D slices, F features.
Sources: convolutional stems before attention, Xiao et al. 2021 (arXiv 2106.14881), section 4; pre-norm blocks, Xiong
et al. 2020 (arXiv 2002.04745), section 3.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.nn.augment import MoveShape, RandomMove
from deepseek.nn.spectrogram import LogMel, SpecAugment, SpecAugmentShape

HEAD_WIDTH = 32  # width of an attention head
MAX_DEVIATIONS = 1e6  # standard deviations from the mean at which inputs are clamped: larger squares overflow float32
Size = tuple[int, int]


def num_heads(width: int) -> int:
    """Number of attention heads for a width.

    >>> num_heads(64), num_heads(48)
    (2, 1)
    """
    return max(1, width // HEAD_WIDTH) if width % HEAD_WIDTH == 0 else 1


class Block(nn.Module):
    """(N, L, E) -> (N, L, E): pre-norm attention and feed-forward part. `mask` (N, L): False where there is no
    token."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = num_heads(width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        num, length, width = x.shape
        parts = self.qkv(self.norm1(x)).view(num, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attention_mask = None if mask is None else mask[:, None, None]  # (N, 1, 1, L)
        y = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=attention_mask)
        x = x + self.drop(self.out(y.transpose(1, 2).reshape(num, length, width)))
        out: Tensor = x + self.drop(self.down(functional.gelu(self.up(self.norm2(x)))))
        return out


class Trunk(nn.Module):
    """(N, C, H, W) -> (N, E, h, w): residual levels that halve the image until a side is at most `grid`."""

    def __init__(self, size: Size, channels: int, width: int, grid: int = 4) -> None:
        super().__init__()
        num_levels = max(1, math.ceil(math.log2(max(1, min(size) / grid))))
        widths = [max(16, width >> max(0, num_levels - 1 - level)) for level in range(num_levels)]
        self.stem = _convolution(channels, widths[0])
        self.levels = nn.ModuleList(_Level(a, b) for a, b in pairwise([widths[0], *widths]))
        self.last = nn.Conv2d(widths[-1], width, 1)
        self.grid = (_halve_side(size[0], num_levels), _halve_side(size[1], num_levels))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for level in self.levels:
            x = level(x)
        y: Tensor = self.last(x)
        return y


class _Level(nn.Module):
    """(N, C, H, W) -> (N, D, H / 2, W / 2), rounded up."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, stride=2)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return functional.relu(x + self.second(x))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _halve_side(side: int, times: int) -> int:
    for _ in range(times):
        side = (side + 1) // 2
    return side


def clamp_outliers(x: Tensor) -> Tensor:
    """Standardized numbers, clamped to ±MAX_DEVIATIONS: 1e30 is a data error, and its row still gets an answer by its
    other values."""
    return x.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)


class BytesToFloat(nn.Module):
    """uint8 -> floats in -1..1."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float() / 127.5 - 1


class ImageEncoder(nn.Module):
    """uint8 (N, C, H, W) -> (N, L, E), one token for each cell of a grid.

    >>> ImageEncoder((64, 48), channels=3, width=32)(torch.zeros(2, 3, 64, 48, dtype=torch.uint8)).shape
    torch.Size([2, 12, 32])
    """

    def __init__(self, size: Size, channels: int, width: int, grid: int = 4, move: MoveShape | None = None) -> None:
        super().__init__()
        self.move = RandomMove(move) if move else nn.Identity()
        self.level, self.trunk = BytesToFloat(), Trunk(size, channels, width, grid)
        self.grid = self.trunk.grid
        self.num_tokens = self.grid[0] * self.grid[1]
        self.places = nn.Parameter(0.02 * torch.randn(self.num_tokens, width))

    def forward(self, images: Tensor) -> Tensor:
        x = self.trunk(self.move(self.level(images)))  # (N, E, h, w)
        y: Tensor = x.flatten(2).transpose(1, 2) + self.places
        return y


class VideoEncoder(nn.Module):
    """uint8 (N, T, C, H, W) -> (N, T * L', E): tokens of each frame, pooled to `grid` x `grid`, then attention among
    all of them across time, so that the order of the frames counts."""

    def __init__(
        self,
        num_frames: int,
        size: Size,
        channels: int,
        width: int,
        grid: int = 2,
        layers: int = 2,
        move: MoveShape | None = None,
        level: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.level = level or BytesToFloat()
        self.move = RandomMove(move) if move else nn.Identity()
        self.trunk = Trunk(size, channels, width, grid)
        height, wide = self.trunk.grid
        self.grid, self.num_frames = self.trunk.grid, num_frames
        self.num_tokens = num_frames * height * wide
        self.times = nn.Parameter(0.02 * torch.randn(num_frames, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(height * wide, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))

    def forward(self, frames: Tensor) -> Tensor:
        num, times, channels, height, wide = frames.shape
        x = self.level(frames)
        x = self.move(x.reshape(num, times * channels, height, wide))  # all frames of a sample alike
        x = self.trunk(x.reshape(num * times, channels, height, wide))  # (N * T, E, h, w)
        x = x.flatten(2).transpose(1, 2)  # (N * T, L', E)
        # reshape, not unflatten, by which a trace for ONNX would fix the number of rows
        x = (x.reshape(num, times, x.shape[1], x.shape[2]) + self.places + self.times).flatten(1, 2)
        for block in self.blocks:
            x = block(x)
        y: Tensor = x
        return y


class AudioEncoder(nn.Module):
    """Waveforms float32 (N, C, T) -> (N, L, E): log-mel spectrogram, convolutions, one token per time step of the
    result. `stripes`: SpecAugment in training, None for none."""

    def __init__(
        self,
        rate_hz: int,
        num_samples: int,
        channels: int,
        width: int,
        num_mels: int = 40,
        stripes: SpecAugmentShape | None = None,
    ) -> None:
        super().__init__()
        self.mel = LogMel(rate_hz, num_mels, window_ms=32.0, hop_ms=16.0)
        with torch.no_grad():
            num_frames = self.mel(torch.zeros(1, 1, num_samples)).shape[-1]
        self.level = nn.BatchNorm2d(channels)  # log power starts around -12
        self.hide = SpecAugment(stripes) if stripes else nn.Identity()
        self.trunk = Trunk((num_mels, num_frames), channels, width, grid=5)
        self.num_tokens = self.trunk.grid[1]
        self.join = nn.Linear(width * self.trunk.grid[0], width)
        self.places = nn.Parameter(0.02 * torch.randn(self.num_tokens, width))

    def forward(self, waves: Tensor) -> Tensor:
        x = self.trunk(self.hide(self.level(self.mel(waves))))  # (N, E, mels', frames')
        y: Tensor = self.join(x.flatten(1, 2).transpose(1, 2)) + self.places
        return y


class SeriesEncoder(nn.Module):
    """Numbers and their masks float32 (N, C, T) -> (N, L, E), one token for each stretch of time. A batch norm learns
    their scale."""

    def __init__(self, num_steps: int, channels: int, width: int, most_tokens: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm1d(channels), nn.Conv1d(channels, width, 7, padding=3), nn.GELU()]
        while num_steps > most_tokens:
            layers += [nn.Conv1d(width, width, 5, stride=2, padding=2), nn.GELU()]
            num_steps = (num_steps + 1) // 2
        self.layers, self.num_tokens = nn.Sequential(*layers), num_steps
        self.places = nn.Parameter(0.02 * torch.randn(num_steps, width))

    def forward(self, series: Tensor) -> Tensor:
        x = clamp_outliers(self.layers[0](series))
        y: Tensor = self.layers[1:](x).transpose(1, 2) + self.places
        return y


class VolumeEncoder(nn.Module):
    """Volumes (N, 1, D, H, W) -> (N, L, E): each slice through one trunk, then attention among all tokens. D may be 1.
    uint8, or with `measured` the scanner's float32 values, whose scale a batch norm learns."""

    def __init__(
        self,
        depth: int,
        size: Size,
        width: int,
        grid: int = 4,
        move: MoveShape | None = None,
        measured: bool = False,
    ) -> None:
        super().__init__()
        self.level = nn.BatchNorm3d(1) if measured else BytesToFloat()
        self.slices = VideoEncoder(depth, size, 1, width, grid, layers=1, move=move, level=nn.Identity())
        self.num_tokens, self.grid = self.slices.num_tokens, self.slices.grid

    def forward(self, volumes: Tensor) -> Tensor:
        x: Tensor = self.slices(clamp_outliers(self.level(volumes)).transpose(1, 2))  # (N, D, 1, H, W)
        return x


class TextEncoder(nn.Module):
    """Token ids int64 (N, L), 0 where there is none -> (N, L, E)."""

    def __init__(self, vocab_size: int, num_tokens: int, width: int, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.num_tokens, self.pad_id = num_tokens, 0
        self.words = nn.Embedding(vocab_size, width, padding_idx=0)
        self.places = nn.Parameter(0.02 * torch.randn(num_tokens, width))
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.words.weight, std=0.05)

    def forward(self, ids: Tensor) -> Tensor:
        mask = self.mask(ids)
        x = self.words(ids) + self.places[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        y: Tensor = self.norm(x)
        return y

    def mask(self, ids: Tensor) -> Tensor:
        """Mask (N, L) of real tokens; the first is always True, so that attention has a token to attend to."""
        is_token = ids != 0
        return torch.cat([torch.ones_like(is_token[:, :1]), is_token[:, 1:]], dim=1)


class TableEncoder(nn.Module):
    """Prepared features float32 (N, F) -> (N, 1, E), standardized by a batch norm."""

    def __init__(self, num_features: int, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.num_tokens = 1
        self.norm = nn.BatchNorm1d(num_features)
        self.layers = nn.Sequential(
            nn.Linear(num_features, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        y: Tensor = self.layers(clamp_outliers(self.norm(features)))
        return y[:, None]
