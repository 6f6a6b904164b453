"""Inspection by patches: what a frozen trunk sees at each cell, against what it sees on good parts.

    net = PatchNet(trunk, num_channels=1)
    features = net.features(pictures)               # (N, D, H / 8, W / 8)
    net.fit_good(features of good parts, to_relative() of them)  # a whitening and a bank of typical patches of each
    net.fit_units(other good parts)                 # which of the two counts how much
    heat = net(pictures)                            # (N, 1, H / 8, W / 8), distance to the nearest of the bank

Sources: PaDiM, Defard et al. 2021, section III (features of several layers, a Gaussian of good patches); PatchCore,
Roth et al. 2022, section 3 (neighbourhoods of patches, a bank thinned to what covers it, distance to the nearest).
Everything is convolutions, so that one ONNX graph holds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.contracts import Float32
from deepseek.nn.detector.onnx_trunk import MEAN, STD
from deepseek.nn.detector.trunk import Trunk

NUM_MAPS = 3  # of strides 4, 8 and 16
FLOOR = 0.05  # of the variances, as a share of their mean: directions in which good parts never vary
LEAST_VARIANCE = 1e-6  # of parts that are all of one gray: what differs from them at all is far away, and no division
LEAST_SQUARE = 1e-3  # of distances on good parts that are all alike: below it is rounding
OVERALL_SHARE, SMALLEST_DEVIATION = 0.1, 1e-6  # see to_relative()


@dataclass(frozen=True, slots=True)
class PatchShape:
    """Sizes of what is learned from good parts."""

    num_directions: int = 96  # principal directions that are kept
    bank_size: int = 750  # typical patches of each of the two banks


class GaborTrunk(Trunk):
    """Where no trained trunk is at hand: fixed filters of four scales and six directions, their energy pooled.

    >>> [tuple(each.shape[1:]) for each in GaborTrunk()(torch.zeros(1, 3, 64, 32))]
    [(14, 16, 8), (14, 8, 4), (14, 4, 2), (14, 2, 1)]
    """

    filters: Tensor

    def __init__(self, num_directions: int = 6, kernel_px: int = 9) -> None:
        super().__init__()
        self.widths = (2 * num_directions + 2,) * 4
        span = np.arange(kernel_px) - kernel_px // 2
        ys, xs = np.meshgrid(span, span, indexing="ij")
        window = np.exp(-(xs**2 + ys**2) / (2 * (kernel_px / 4) ** 2))
        filters = []
        for direction in np.pi * np.arange(num_directions) / num_directions:
            wave = 2 * np.pi * (xs * np.cos(direction) + ys * np.sin(direction)) / (kernel_px / 2)
            for phase in (np.cos(wave), np.sin(wave)):
                each = window * phase
                filters.append((each - each.mean()) / np.linalg.norm(each))
        self.register_buffer("filters", torch.tensor(np.array(filters)[:, None], dtype=torch.float32))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x = functional.avg_pool2d(pictures.mean(1, keepdim=True), 2)
        maps = []
        for _ in range(4):
            size = self.filters.shape[-1] // 2
            padded = functional.pad(x, (size, size, size, size), mode="replicate")
            energy = functional.conv2d(padded, self.filters).abs()
            spread = (x - functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)).abs()
            x = functional.avg_pool2d(x, 2)
            maps.append(torch.cat([functional.avg_pool2d(torch.cat([energy, spread], 1), 2), x], 1))
        return maps


class PatchBank(nn.Module):
    """Features (N, D, h, w) -> squared distances (N, 1, h, w) to the nearest typical patch, in whitened features and in
    units of what good parts have on average."""

    unit: Tensor  # ()
    center: Tensor  # (D,)
    whiten: Tensor  # (R, D)
    points: Tensor  # (B, R)

    def __init__(self, num_features: int, num_directions: int) -> None:
        super().__init__()
        rank = min(num_directions, num_features)
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("center", torch.zeros(num_features))
        self.register_buffer("whiten", torch.zeros(rank, num_features))
        self.register_buffer("points", torch.zeros(1, rank))

    def forward(self, features: Tensor) -> Tensor:
        centered = features - self.center[None, :, None, None]
        x = functional.conv2d(centered, self.whiten[:, :, None, None])  # (N, R, h, w)
        cross = functional.conv2d(x, self.points[:, :, None, None])  # (N, B, h, w)
        own = (x * x).sum(1, keepdim=True)
        nearest = own + ((self.points * self.points).sum(1)[None, :, None, None] - 2 * cross).amin(1, keepdim=True)
        squared: Tensor = nearest.clamp(min=0) / self.unit
        return squared

    @torch.no_grad()
    def fit_good(self, patches: Tensor, size: int, seed: int) -> None:
        """From features (M, D) of patches of good parts: whitening, and `size` points by greedy covering."""
        self.center.copy_(patches.mean(0))
        centered = patches - self.center
        # In float64, by numpy: torch's solver gave up on pictures that are all black, on some processors.
        doubles = centered.numpy().astype(np.float64)
        variances, directions = (
            torch.from_numpy(each).float() for each in np.linalg.eigh(doubles.T @ doubles / len(patches))
        )
        order = variances.argsort(descending=True)[: self.whiten.shape[0]]
        floor = FLOOR * variances[order].mean().clamp(min=LEAST_VARIANCE)
        self.whiten.copy_(directions[:, order].T / (variances[order].clamp(min=0) + floor).sqrt()[:, None])
        self.points = cover(centered @ self.whiten.T, size, seed)


class PatchNet(nn.Module):
    """Pictures uint8 (N, C, H, W) -> heat (N, 1, H / 8, W / 8): distances in whitened features, from 0.

    Each cell is compared twice, as it is and relative to its own picture: a small spot on a part whose light or grain
    is unusual is not hidden by that, and a part that is strange all over is still unlike good ones."""

    picture_mean: Tensor
    picture_std: Tensor

    def __init__(self, trunk: Trunk, num_channels: int, shape: PatchShape = PatchShape()) -> None:
        super().__init__()
        self.trunk, self.num_channels, self.shape = trunk, num_channels, shape
        self.num_features = sum(trunk.widths[:NUM_MAPS])
        self.register_buffer("picture_mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("picture_std", 255 * torch.tensor(STD).view(1, 3, 1, 1))
        self.plain = PatchBank(self.num_features, shape.num_directions)
        self.relative = PatchBank(self.num_features, shape.num_directions)

    def features(self, pictures: Tensor) -> Tensor:
        """(N, D, H / 8, W / 8): three maps, each smoothed over its neighbours."""
        x = pictures.float()
        if self.num_channels == 1:
            x = x.expand(-1, 3, -1, -1)
        fine, middle, coarse = self.trunk((x - self.picture_mean) / self.picture_std)[:NUM_MAPS]
        coarse = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        joined = torch.cat([functional.avg_pool2d(fine, 2), middle, coarse], 1)
        return functional.avg_pool2d(joined, 3, 1, 1, count_include_pad=False)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.features(pictures)
        squared: Tensor = self.plain(features) + self.relative(to_relative(features))
        return squared.clamp(min=1e-9).sqrt()

    @torch.no_grad()
    def fit_units(self, pictures: Iterable[Tensor]) -> None:
        """The mean squared distance of each bank over the cells of good parts (1, C, H, W) that no bank was fitted
        to."""
        squares = []
        for picture in pictures:
            features = self.features(picture)
            squares.append([self.plain(features).mean(), self.relative(to_relative(features)).mean()])
        for bank, mean in zip((self.plain, self.relative), torch.tensor(squares).mean(0), strict=True):
            bank.unit.mul_(mean.clamp(min=LEAST_SQUARE))

    def fit_good(self, plain: Float32, relative: Float32, seed: int = 0) -> None:
        """From features (M, D) of patches of good parts, as they are and relative to their pictures."""
        for bank, patches in ((self.plain, plain), (self.relative, relative)):
            bank.fit_good(torch.from_numpy(patches), self.shape.bank_size, seed)

    @property
    def num_points(self) -> int:
        """Typical patches of both banks."""
        return len(self.plain.points) + len(self.relative.points)


def to_relative(features: Tensor) -> Tensor:
    """Features (N, D, h, w) less their means over the cells of each picture (of each tile of a large one, and padding
    counts), in units of their deviations there. A tenth of the deviation of all features is added, so that what hardly
    varies is not noise made large."""
    centered = features - features.mean((2, 3), keepdim=True)
    deviation = centered.square().mean((2, 3), keepdim=True).sqrt()
    middle = features.mean((1, 2, 3), keepdim=True)
    overall = (features - middle).square().mean((1, 2, 3), keepdim=True).sqrt()
    return centered / (deviation + OVERALL_SHARE * overall + SMALLEST_DEVIATION)


@torch.no_grad()
def cover(points: Tensor, size: int, seed: int, max_points: int = 20_000) -> Tensor:
    """`size` of the points (M, R), each the one that lies farthest from those before (Roth et al. 2022, algorithm
    1)."""
    generator = torch.Generator().manual_seed(seed)
    if len(points) > max_points:
        points = points[torch.randperm(len(points), generator=generator)[:max_points]]
    if len(points) <= size:
        return points.clone()
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    nearest = torch.full((len(points),), float("inf"))
    for _ in range(size - 1):
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(1))
        chosen.append(int(nearest.argmax()))
    return points[chosen].clone()
