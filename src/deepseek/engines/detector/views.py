"""A picture as a net of fixed scale sees it: whole and scaled, or in tiles that overlap.

>>> [view.offset for view in make_views(np.zeros((1, 100, 300), np.uint8), size=128, scale=1.0, overlap=0.25)]
[(0, 0), (86, 0), (172, 0)]
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.extras import need

MULTIPLE = 32  # sides that a net takes are multiples of it
HEAT_STRIDE = 8
PAD = 114  # gray around a picture, as in training


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Pixels for the net, and where they lie."""

    pixels: NDArray[np.uint8]  # (C, H, W), sides a multiple of 32
    inner: tuple[int, int]  # height and width that are picture and not padding
    offset: tuple[int, int]  # x and y of the scaled picture where this view begins
    scale: tuple[float, float]  # from the picture to the scaled one, x and y


def resize(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """(C, H, W) -> (C, height, width), antialiased bilinear."""
    if picture.shape[1:] == (height, width):
        return picture
    library = need("PIL.Image", extra="media")
    image = library.fromarray(picture[0] if picture.shape[0] == 1 else picture.transpose(1, 2, 0))
    scaled = np.asarray(image.resize((width, height), library.Resampling.BILINEAR))
    return scaled[None] if scaled.ndim == 2 else scaled.transpose(2, 0, 1)


def make_views(
    picture: NDArray[np.uint8], *, size: int, scale: float | None, overlap: float, pad: int | None = PAD
) -> list[View]:
    """The views of a picture (C, H, W). `scale` None: it is fitted to `size`; else it is scaled so, and cut into tiles
    of `size` where it is larger."""
    height, width = picture.shape[1:]  # `pad` None: padding repeats the edge
    factor = scale if scale is not None else size / max(width, height)
    wide, high = max(1, round(width * factor)), max(1, round(height * factor))
    scaled = resize(picture, wide, high)
    factors = wide / width, high / height
    if scale is None:
        return [View(_pad(scaled, pad), (high, wide), (0, 0), factors)]
    return [
        View(
            _pad(scaled[:, y : y + size, x : x + size], pad),
            (min(size, high - y), min(size, wide - x)),
            (x, y),
            factors,
        )
        for y in _starts(high, size, overlap)
        for x in _starts(wide, size, overlap)
    ]


def _starts(length: int, size: int, overlap: float) -> Iterator[int]:
    """Where tiles begin along an axis, evenly."""
    if length <= size:
        yield 0
        return
    num = math.ceil((length - size) / (size * (1 - overlap))) + 1
    for place in range(num):
        yield round(place * (length - size) / (num - 1))


def _pad(pixels: NDArray[np.uint8], value: int | None) -> NDArray[np.uint8]:
    channels, height, width = pixels.shape
    high, wide = (math.ceil(side / MULTIPLE) * MULTIPLE for side in (height, width))
    if (high, wide) == (height, width):
        return np.ascontiguousarray(pixels)
    if value is None:
        return np.pad(pixels, ((0, 0), (0, high - height), (0, wide - width)), mode="edge")
    out = np.full((channels, high, wide), value, np.uint8)
    out[:, :height, :width] = pixels
    return out


def join_heat(parts: list[tuple[View, Float32]]) -> Float32:
    """Maps (h, w) of views at HEAT_STRIDE as one map of the scaled picture; where views overlap the larger counts."""
    high = max(math.ceil((view.offset[1] + view.inner[0]) / HEAT_STRIDE) for view, _ in parts)
    wide = max(math.ceil((view.offset[0] + view.inner[1]) / HEAT_STRIDE) for view, _ in parts)
    heat = np.zeros((high, wide), np.float32)
    for view, part in parts:
        row, column = round(view.offset[1] / HEAT_STRIDE), round(view.offset[0] / HEAT_STRIDE)
        inner = part[: math.ceil(view.inner[0] / HEAT_STRIDE), : math.ceil(view.inner[1] / HEAT_STRIDE)]
        target = heat[row : row + inner.shape[0], column : column + inner.shape[1]]
        np.maximum(target, inner[: target.shape[0], : target.shape[1]], out=target)
    return heat
