"""Pictures changed by chance, with their boxes: mirrored, scaled, cut, brighter or darker, four joined into one.

    sampler = PictureSampler(store.read, labels, shape)
    pictures, targets = sampler.batch(places, rng, strength=1.0)

Scaling and cutting are one resize of a rectangle of the picture (Pillow), which costs a third of a millisecond at 200
pixels. Mosaic: Bochkovskiy et al. 2020 (YOLOv4), section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepseek.contracts import Float32
from deepseek.data.labels.labeled_picture import LabelSet
from deepseek.extras import need
from deepseek.train.detect.losses import Targets

ReadPicture = Callable[[str], NDArray[np.uint8]]
ChangePicture = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]
ReadMask = Callable[[str], NDArray[np.uint8] | None]
HEAT_STRIDE = 8
LEAST_SEEN = 0.3  # share of a box that must be left after cutting, else it is dropped
PAD = 114  # gray around a picture


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How far pictures are changed."""

    mosaic: float = 0.5  # share of samples that are four pictures
    scale: tuple[float, float] = (0.6, 1.5)  # of a picture, about its size as the net sees it
    mirror: bool = True  # left and right, top and bottom
    quarter_turns: bool = False  # also by 90 degrees: where the direction of a defect means nothing
    brightness: float = 0.15  # shift, as a share of white
    contrast: float = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture as the net sees it."""

    pixels: NDArray[np.uint8]  # (C, S, S)
    boxes: Float32  # (N, 4)
    classes: NDArray[np.int64]  # (N,)
    mask: NDArray[np.float32]  # (S / 8, S / 8) share of each cell that is defective


def letterbox_scale(width: int, height: int, size: int) -> float:
    """By how much a picture is scaled so that its longer side is `size`.

    >>> letterbox_scale(400, 200, 200)
    0.5
    """
    return size / max(width, height)


class PictureSampler:
    """Makes batches of a label set's pictures, all `size` x `size`."""

    def __init__(
        self, read: ReadPicture, labels: LabelSet, size: int, config: AugmentConfig, *, scale: float | None = None,
        read_mask: ReadMask | None = None, change: ChangePicture | None = None,
    ) -> None:  # fmt: skip
        """`scale`: of every picture, where large ones are seen in tiles; else each is fitted to `size`. `change`: done
        to each picture before all else, with the generator of its batch; height and width stay."""
        self._read, self._labels, self.size, self._config = read, labels, size, config
        self._scale, self._read_mask, self._change = scale, read_mask, change
        self._numbers = [np.array(labels.class_numbers(place), np.int64) for place in range(len(labels.pictures))]

    def batch(self, places: Sequence[int], rng: np.random.Generator, *, mosaic: float) -> tuple[Tensor, Targets]:
        """Pictures uint8 (N, C, S, S) and their targets."""
        samples = []
        for place in places:
            if rng.random() < mosaic:
                others = rng.integers(0, len(self._labels.pictures), 3).tolist()
                samples.append(self._mosaic([place, *others], rng))
            else:
                samples.append(self._window(place, self.size, self.size, rng))
        samples = [self._flip(sample, rng) for sample in samples]
        pixels = torch.from_numpy(np.stack([sample.pixels for sample in samples]))
        return pixels, to_targets(samples, len(self._labels.classes))

    def _mosaic(self, places: Sequence[int], rng: np.random.Generator) -> Sample:
        """Four windows around a cross that lies by chance, on the grid of the heat map."""
        size = self.size
        cells = size // HEAT_STRIDE
        across, down = (HEAT_STRIDE * int(rng.integers(cells // 4, cells - cells // 4 + 1)) for _ in range(2))
        corners = [(0, 0, across, down), (across, 0, size, down), (0, down, across, size), (across, down, size, size)]
        parts = [
            (left, top, self._window(place, right - left, bottom - top, rng))
            for place, (left, top, right, bottom) in zip(places, corners, strict=True)
        ]
        channels = parts[0][2].pixels.shape[0]
        pixels = np.empty((channels, size, size), np.uint8)
        mask = np.empty((cells, cells), np.float32)
        for left, top, part in parts:
            height, width = part.pixels.shape[1:]
            pixels[:, top : top + height, left : left + width] = part.pixels
            row, column = top // HEAT_STRIDE, left // HEAT_STRIDE
            mask[row : row + height // HEAT_STRIDE, column : column + width // HEAT_STRIDE] = part.mask
        boxes = np.concatenate([part.boxes + np.array([left, top] * 2, np.float32) for left, top, part in parts])
        return Sample(pixels, boxes, np.concatenate([part.classes for _, _, part in parts]), mask)

    def _window(self, place: int, width: int, height: int, rng: np.random.Generator) -> Sample:
        """A part of one picture, scaled by chance, in `width` x `height` pixels; gray where it ends."""
        picture, labeled = self._read(self._labels.pictures[place].file), self._labels.pictures[place]
        if self._change is not None:
            picture = self._change(picture, rng)
        base = self._scale or letterbox_scale(labeled.width_px, labeled.height_px, self.size)
        low, high = np.log(self._config.scale)
        scale = base * float(np.exp(rng.uniform(low, high)))
        scaled = labeled.width_px * scale, labeled.height_px * scale
        offset = self._origin((width, height), scaled, labeled.boxes * scale, rng)
        pixels = cut_window(picture, offset, scale, width, height)
        boxes = labeled.boxes * scale - np.array(offset * 2, np.float32)
        boxes, keep = _clip(boxes, width, height)
        mask = self._mask(labeled.file, boxes, offset, scale, width, height)
        return Sample(_change_light(pixels, self._config, rng), boxes, self._numbers[place][keep], mask)

    def _origin(
        self, inner: Sequence[int], scaled: Sequence[float], boxes: Float32, rng: np.random.Generator
    ) -> list[float]:
        """Where the window begins, x and y: anywhere in a larger picture; a smaller one lies anywhere in it. In a
        picture that is seen in tiles half of the windows lie around a defect. `boxes`: scaled."""
        free = [outer - side for outer, side in zip(scaled, inner, strict=True)]
        if self._scale is not None and len(boxes) and rng.random() < 0.5:
            box = boxes[int(rng.integers(len(boxes)))]
            middles = (box[:2] + box[2:]) / 2
            return [
                float(np.clip(middle - rng.uniform(0.2, 0.8) * side, min(0.0, rest), max(0.0, rest)))
                for middle, side, rest in zip(middles, inner, free, strict=True)
            ]
        return [float(rng.uniform(min(0.0, rest), max(0.0, rest))) for rest in free]

    def _mask(
        self, file: str, boxes: Float32, offset: Sequence[float], scale: float, width: int, height: int
    ) -> NDArray[np.float32]:
        """The share of each cell of the heat map that is defective: of a drawn mask, else of the boxes."""
        shape = height // HEAT_STRIDE, width // HEAT_STRIDE
        drawn = self._read_mask(file) if self._read_mask is not None else None
        if drawn is not None:
            small = cut_window(
                drawn[None], [x / HEAT_STRIDE for x in offset], scale / HEAT_STRIDE, shape[1], shape[0], 0
            )
            share: NDArray[np.float32] = (small[0] / 255).astype(np.float32)
            return share
        mask = np.zeros(shape, np.float32)
        for box in boxes:
            left, top = np.floor(box[:2] / HEAT_STRIDE).astype(int)
            right, bottom = np.ceil(box[2:] / HEAT_STRIDE).astype(int)
            mask[top:bottom, left:right] = 1
        return mask

    def _flip(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Mirrored by chance."""
        if not self._config.mirror:
            return sample
        pixels, boxes, mask = sample.pixels, sample.boxes.copy(), sample.mask
        if rng.random() < 0.5:
            pixels, mask = pixels[:, :, ::-1], mask[:, ::-1]
            boxes[:, [0, 2]] = self.size - boxes[:, [2, 0]]
        if rng.random() < 0.5:
            pixels, mask = pixels[:, ::-1], mask[::-1]
            boxes[:, [1, 3]] = self.size - boxes[:, [3, 1]]
        if self._config.quarter_turns and rng.random() < 0.5:
            pixels, mask = pixels.transpose(0, 2, 1), mask.T
            boxes = boxes[:, [1, 0, 3, 2]]
        return Sample(np.ascontiguousarray(pixels), boxes, sample.classes, np.ascontiguousarray(mask))


def cut_window(
    picture: NDArray[np.uint8], offset: Sequence[float], scale: float, width: int, height: int, pad: int = PAD
) -> NDArray[np.uint8]:
    """`width` x `height` pixels of a picture (C, H, W) scaled by `scale`, from `offset` (x, y) of the scaled one on."""
    library = need("PIL.Image", extra="media")
    channels, high, wide = picture.shape
    left, top = (round(max(0.0, -start)) for start in offset)
    x0, y0 = (max(0.0, start) / scale for start in offset)
    inner_w = min(width - left, round((wide - x0) * scale))
    inner_h = min(height - top, round((high - y0) * scale))
    out = np.full((channels, height, width), pad, np.uint8)
    if inner_w < 1 or inner_h < 1:
        return out
    box = (x0, y0, min(float(wide), x0 + inner_w / scale), min(float(high), y0 + inner_h / scale))
    image = library.fromarray(picture[0] if channels == 1 else picture.transpose(1, 2, 0))
    scaled = np.asarray(image.resize((inner_w, inner_h), library.Resampling.BILINEAR, box=box))
    out[:, top : top + inner_h, left : left + inner_w] = scaled if channels == 1 else scaled.transpose(2, 0, 1)
    return out


def _clip(boxes: Float32, width: int, height: int) -> tuple[Float32, NDArray[np.int64]]:
    """Boxes cut to the window, and which of them are seen by LEAST_SEEN of their area and 2 pixels."""
    limit = np.array([width, height] * 2, np.float32)
    inner = np.clip(boxes, 0, limit)
    sides, whole = inner[:, 2:] - inner[:, :2], boxes[:, 2:] - boxes[:, :2]
    seen = sides.prod(1) / np.maximum(whole.prod(1), 1e-6)
    keep = np.flatnonzero((seen >= LEAST_SEEN) & (sides.min(1, initial=np.inf) >= 2))
    return inner[keep].astype(np.float32), keep


def _change_light(pixels: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = 1 + rng.uniform(-config.contrast, config.contrast)
    shift = 255 * rng.uniform(-config.brightness, config.brightness)
    middle = float(pixels.mean())
    levels = np.clip((np.arange(256) - middle) * gain + middle + shift, 0, 255).astype(np.uint8)
    relit: NDArray[np.uint8] = levels[pixels]
    return relit


def to_targets(samples: Sequence[Sample], num_classes: int) -> Targets:
    """Boxes of several samples in one tensor, padded."""
    most = max((len(sample.classes) for sample in samples), default=0)
    num = len(samples)
    boxes, classes = torch.zeros(num, most, 4), torch.zeros(num, most, dtype=torch.int64)
    exist, presence = torch.zeros(num, most, dtype=torch.bool), torch.zeros(num, num_classes)
    for row, sample in enumerate(samples):
        count = len(sample.classes)
        boxes[row, :count] = torch.from_numpy(sample.boxes)
        classes[row, :count] = torch.from_numpy(sample.classes)
        exist[row, :count] = True
        presence[row, classes[row, :count]] = 1
    heat = torch.from_numpy(np.stack([sample.mask for sample in samples]))[:, None]
    return Targets(boxes, classes, exist, presence, heat)
