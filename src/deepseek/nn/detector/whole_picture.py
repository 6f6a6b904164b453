"""A picture as a whole against good ones: its darkest and brightest spots, lines and steps in units of its own spread,
and its coarse light.

    norm = PictureNorm.fit([describe(each) for each in good])
    norm.distance(describe(picture))            # how unlike good pictures it is

A bank of patches (patch_net.py) sees what no good part shows anywhere. It does not see that a spot is dark for this
picture, whose light is another's noon, nor that one half of it is brighter than the other; this does, and it costs
some ten milliseconds. The light is a factor, so everything is of logarithms. numpy and scipy alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.extras import need

LEAST_SIDE_PX = 64  # of a picture that is described
LONGEST_PX = 512  # of what is looked at: a picture is reduced by a whole factor, 2 or more
BLACK = 8.0  # added to gray levels before the logarithm
EXTREME_SHARE, LEAST_EXTREMES = 0.001, 4  # of the pixels, whose mean is the extreme
SMALLEST_SPREAD, SMALLEST_EXTREME = 1e-4, 0.5
CUT = 2.5  # standard deviations at which a filter ends
COARSE = 8  # cells along each side of the coarse light
NUM_WAVES = 9  # of the coarse light: those of the lowest frequencies, without the mean
SHRINKAGE = 0.05  # of the correlations of good pictures toward none
LEAST_STD = 1e-3


def describe(picture: NDArray[np.uint8]) -> Float64 | None:
    """(57,) of a picture (C, H, W): of 16 filters the extremes in both directions and the spread, and NUM_WAVES of its
    coarse light; all logarithms. None for one that is too small for the filters."""
    if min(picture.shape[1:]) < LEAST_SIDE_PX:
        return None
    gray = _reduce(picture.astype(np.float32).mean(0))
    light = np.log(gray + np.float32(BLACK))
    parts = [_spread_and_extremes(each[margin:-margin, margin:-margin]) for each, margin in _responses(light)]
    return np.concatenate([*parts, _waves(gray)])


def _reduce(gray: Float32) -> Float32:
    """By a whole factor, so that pixels are means of as many."""
    factor = max(2, -(-max(gray.shape) // LONGEST_PX))
    if min(gray.shape) // factor < LEAST_SIDE_PX // 2:  # a long and narrow one
        factor = 2
    height, width = (side // factor for side in gray.shape)
    cells: Float32 = gray[: height * factor, : width * factor].reshape(height, factor, width, factor).mean((1, 3))
    return cells


def _blur(values: Float32, sigma: float, axis: int | None = None) -> Float32:
    """Along one axis, or both."""
    smooth = need("scipy.ndimage", extra="tabular").gaussian_filter1d
    for each in (0, 1) if axis is None else (axis,):
        values = smooth(values, sigma, axis=each, truncate=CUT)
    return values


def _responses(light: Float32) -> list[tuple[Float32, int]]:
    """What spots of four sizes, lines of three widths and steps of three leave, and the border to leave out."""
    blurs = {0: light} | {sigma: _blur(light, sigma) for sigma in (1, 2, 4, 8)}
    out = [(blurs[0] - blurs[1], 2), (blurs[1] - blurs[2], 3), (blurs[2] - blurs[4], 5), (blurs[4] - blurs[8], 8)]
    for sigma in (0, 1, 2):
        width = max(sigma, 1)
        for along in (1, 0):
            line = _blur(blurs[sigma], 3 * width, along)
            out.append((line - _blur(line, 2 * width, 1 - along), 5))
    for sigma in (1, 2, 4):
        for along in (1, 0):
            step: Any = np.gradient(_blur(blurs[sigma], 3 * sigma, along), axis=1 - along)
            out.append((step, 6))
    return out


def _spread_and_extremes(values: Float32) -> Float64:
    """Logarithms of the highest and the lowest values in units of the spread, and of the spread."""
    middle = np.median(values)
    spread = float(np.median(np.abs(values - middle))) + SMALLEST_SPREAD
    num = max(LEAST_EXTREMES, round(EXTREME_SHARE * values.size))
    ordered = np.partition(values.ravel(), [num, values.size - num - 1])
    highest, lowest = ordered[-num:].mean() - middle, middle - ordered[:num].mean()
    logs: Float64 = np.log([max(highest / spread, SMALLEST_EXTREME), max(lowest / spread, SMALLEST_EXTREME), spread])
    return logs


def _waves(gray: Float32) -> Float64:
    """(NUM_WAVES,) cosines of the light of COARSE x COARSE cells."""
    rows, columns = (np.linspace(0, side, COARSE + 1).astype(int) for side in gray.shape)
    cells = np.array([
        [gray[top:bottom, left:right].mean() for left, right in pairwise(columns)]
        for top, bottom in pairwise(rows)
    ])  # fmt: skip
    waves = need("scipy.fft", extra="tabular").dctn(np.log(cells + BLACK), norm="ortho").ravel()
    down, across = np.divmod(np.arange(COARSE**2), COARSE)
    order = np.argsort(down + across + 0.01 * down, kind="stable")
    lowest: Float64 = waves[order[1 : 1 + NUM_WAVES]]
    return lowest


@dataclass(frozen=True, slots=True, eq=False)
class PictureNorm:
    """What good pictures are described by: mean, standard deviation, and what makes the rest uncorrelated."""

    mean: Float64  # (M,)
    std: Float64  # (M,)
    whiten: Float64  # (M, M)

    @classmethod
    def fit(cls, good: Sequence[Float64]) -> PictureNorm:
        """From descriptions of two pictures or more. The covariance is shrunk, so that few pictures suffice."""
        values = np.stack(good)
        mean, std = values.mean(0), values.std(0) + LEAST_STD
        scaled = (values - mean) / std
        size = values.shape[1]
        shrunk = (1 - SHRINKAGE) * scaled.T @ scaled / (len(values) - 1) + SHRINKAGE * np.eye(size)
        return cls(mean, std, np.linalg.inv(np.linalg.cholesky(shrunk)))

    def distance(self, description: Float64) -> float:
        """Of Mahalanobis: 1 is a standard deviation in one direction."""
        return float(np.linalg.norm(self.whiten @ ((description - self.mean) / self.std)))

    def to_bytes(self) -> bytes:
        fields = {"mean": self.mean, "std": self.std, "whiten": self.whiten}
        return json.dumps({name: np.round(each, 7).tolist() for name, each in fields.items()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> PictureNorm:
        fields = json.loads(data)
        return cls(*(np.array(fields[name], np.float64) for name in ("mean", "std", "whiten")))
