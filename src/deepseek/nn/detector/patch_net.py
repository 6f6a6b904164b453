"""Inspection by patches: what a frozen trunk sees at each cell, against what it sees on good parts.

    net = PatchNet(trunk, num_channels=1)
    features = net.features(pictures)               # (N, D, H / 8, W / 8)
    net.fit_good(features of good parts)            # a whitening and a bank of typical patches
    heat = net(pictures)                            # (N, 1, H / 8, W / 8), distance to the nearest of the bank

Sources: PaDiM, Defard et al. 2021, section III (features of several layers, a Gaussian of good patches); PatchCore,
Roth et al. 2022, section 3 (neighbourhoods of patches, a bank thinned to what covers it, distance to the nearest).
Everything is convolutions, so that one ONNX graph holds it.
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class PatchShape:
    """Sizes of what is learned from good parts."""

    num_directions: int = 96  # principal directions that are kept
    bank_size: int = 1_500  # typical patches


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


class PatchNet(nn.Module):
    """Pictures uint8 (N, C, H, W) -> heat (N, 1, H / 8, W / 8): distances in whitened features, from 0."""

    picture_mean: Tensor
    picture_std: Tensor
    center: Tensor  # (D,)
    whiten: Tensor  # (R, D)
    bank: Tensor  # (B, R)

    def __init__(self, trunk: Trunk, num_channels: int, shape: PatchShape = PatchShape()) -> None:
        super().__init__()
        self.trunk, self.num_channels, self.shape = trunk, num_channels, shape
        self.num_features = sum(trunk.widths[:NUM_MAPS])
        rank = min(shape.num_directions, self.num_features)
        self.register_buffer("picture_mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("picture_std", 255 * torch.tensor(STD).view(1, 3, 1, 1))
        self.register_buffer("center", torch.zeros(self.num_features))
        self.register_buffer("whiten", torch.zeros(rank, self.num_features))
        self.register_buffer("bank", torch.zeros(1, rank))

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
        return self.distances(self.features(pictures))

    def distances(self, features: Tensor) -> Tensor:
        """(N, D, h, w) -> (N, 1, h, w) distance to the nearest patch of the bank."""
        centered = features - self.center[None, :, None, None]
        x = functional.conv2d(centered, self.whiten[:, :, None, None])  # (N, R, h, w)
        cross = functional.conv2d(x, self.bank[:, :, None, None])  # (N, B, h, w)
        own = (x * x).sum(1, keepdim=True)
        squared = own + ((self.bank * self.bank).sum(1)[None, :, None, None] - 2 * cross).amin(1, keepdim=True)
        return squared.clamp(min=1e-9).sqrt()

    @torch.no_grad()
    def fit_good(self, patches: Float32, seed: int = 0) -> None:
        """From features (M, D) of patches of good parts: whitening, and the bank by greedy covering."""
        values = torch.from_numpy(patches)
        self.center.copy_(values.mean(0))
        centered = values - self.center
        # In float64, by numpy: torch's solver gave up on pictures that are all black, on some processors.
        doubles = centered.numpy().astype(np.float64)
        variances, directions = (
            torch.from_numpy(each).float() for each in np.linalg.eigh(doubles.T @ doubles / len(values))
        )
        order = variances.argsort(descending=True)[: self.whiten.shape[0]]
        floor = FLOOR * variances[order].mean().clamp(min=LEAST_VARIANCE)
        self.whiten.copy_(directions[:, order].T / (variances[order].clamp(min=0) + floor).sqrt()[:, None])
        self.bank = cover(centered @ self.whiten.T, self.shape.bank_size, seed)


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
