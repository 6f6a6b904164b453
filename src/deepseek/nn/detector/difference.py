"""What differs between a part and its reference picture (alignment.py): candidates, and a crop of each.

    candidates = propose(picture, reference)                     # (N, 4) boxes in pixels
    crops = cut_crops(picture, reference, candidates)            # uint8 (N, 2 C, 64, 64)
    pixels = stack(picture, reference)                           # or all of both, for a detector: (3, H, W)

A candidate is a connected region that is darker or brighter than everything within EDGE_PX of the same place of the
reference, so that edges which lie one pixel apart are none. numpy and scipy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.nn.detector.alignment import LEAST_CHANGE, Picture

EDGE_PX = 1  # edges may lie so far apart
LEAST_AREA_PX = 3  # of the sure part of a candidate
JOIN_PX = 2  # gaps within a candidate
MAX_CANDIDATES = 200
CROP_PX = 64
LARGEST_PX = 40  # of the candidate in its crop: what is larger is scaled down


def check_sizes(picture: Picture, reference: Picture | None) -> Picture:
    """The reference. InputError without one, or for one of another size."""
    if reference is None:
        raise InputError(
            "this model compares a part with its reference picture, and there is none",
            expected="a reference picture beside each part", fix="give it: --template PART=REFERENCE of the names",
        )  # fmt: skip
    if reference.shape != picture.shape:
        sizes = [" x ".join(map(str, each.shape[:0:-1])) for each in (picture, reference)]
        raise InputError(
            f"the part has {sizes[0]} pixels and its reference {sizes[1]}", expected="the same size",
            fix="take both pictures with the same camera, or scale one of them",
        )  # fmt: skip
    return reference


def stack(part: Picture, reference: Picture) -> Picture:
    """Gray pictures (1, H, W), laid onto each other -> (3, H, W): the part, the reference and how far they differ."""
    return np.concatenate([part, reference, np.maximum(part, reference) - np.minimum(part, reference)])


def propose(picture: Picture, reference: Picture) -> Float32:
    """Candidates (N, 4) left, top, right, bottom in pixels, at most MAX_CANDIDATES, the largest first."""
    ndimage = need("scipy.ndimage", extra="tabular")
    part, other = (each.astype(np.int16) for each in (picture, reference))
    window = (1, 2 * EDGE_PX + 1, 2 * EDGE_PX + 1)
    brighter = part - ndimage.maximum_filter(other, window)
    darker = ndimage.minimum_filter(other, window) - part
    sure = (np.maximum(brighter, darker) > LEAST_CHANGE).any(0)
    changed = (np.abs(part - other) > LEAST_CHANGE).any(0)
    joined = ndimage.binary_closing(sure, np.ones((2 * JOIN_PX + 1,) * 2), border_value=0) | sure
    labels, num = ndimage.label(joined, np.ones((3, 3)))
    if not num:
        return np.zeros((0, 4), np.float32)
    counts = np.bincount(labels[sure], minlength=num + 1)
    order = [each for each in np.argsort(-counts, kind="stable").tolist() if each and counts[each] >= LEAST_AREA_PX]
    spread = ndimage.find_objects(labels)
    boxes = [_grow(spread[each - 1], changed) for each in order[:MAX_CANDIDATES]]
    return np.array(boxes, np.float32).reshape(-1, 4)


def _grow(place: tuple[slice, slice], changed: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The box of a sure region with what has changed directly around it: its edges are within EDGE_PX of it."""
    rows, columns = place
    top, bottom = max(0, rows.start - EDGE_PX), min(changed.shape[0], rows.stop + EDGE_PX)
    left, right = max(0, columns.start - EDGE_PX), min(changed.shape[1], columns.stop + EDGE_PX)
    ys, xs = np.nonzero(changed[top:bottom, left:right])
    return float(left + xs.min()), float(top + ys.min()), float(left + xs.max() + 1), float(top + ys.max() + 1)


def crop_window(box: Float32) -> tuple[float, float, float]:
    """Left, top and side of the square that is cut out around a candidate."""
    side = max(float(CROP_PX), CROP_PX / LARGEST_PX * float((box[2:] - box[:2]).max()))
    middle = (box[:2] + box[2:]) / 2
    return float(middle[0] - side / 2), float(middle[1] - side / 2), side


def cut_crops(picture: Picture, reference: Picture, boxes: Float32) -> NDArray[np.uint8]:
    """(N, 2 C, CROP_PX, CROP_PX): each candidate in the part and in its reference; black beyond the border."""
    both = np.concatenate([picture, reference])
    out = np.zeros((len(boxes), len(both), CROP_PX, CROP_PX), np.uint8)
    for row, box in enumerate(boxes):
        left, top, side = crop_window(box)
        steps = (np.arange(CROP_PX) + 0.5) * side / CROP_PX
        xs, ys = np.floor(left + steps).astype(int), np.floor(top + steps).astype(int)
        good_x, good_y = (xs >= 0) & (xs < both.shape[2]), (ys >= 0) & (ys < both.shape[1])
        inner = both[:, ys[good_y]][:, :, xs[good_x]]
        out[row][np.ix_(np.arange(len(both)), good_y, good_x)] = inner
    return out


def apply_deltas(boxes: Float32, deltas: Float32) -> Float32:
    """Candidates (N, 4) moved by what the net says: each side by a share of the side of its crop."""
    sides = np.array([crop_window(box)[2] for box in boxes], np.float32).reshape(-1, 1)
    moved: Float32 = boxes + deltas * sides
    return moved


def to_deltas(boxes: Float32, targets: Float32) -> Float32:
    """The inverse of apply_deltas()."""
    sides = np.array([crop_window(box)[2] for box in boxes], np.float32).reshape(-1, 1)
    deltas: Float32 = (targets - boxes) / sides
    return deltas
