"""What differs between a part and its reference picture: shift between the two, candidates, and a crop of each.

    picture, reference, shift = align(picture, reference)
    candidates = propose(picture, reference)                     # (N, 4) boxes in pixels
    crops = cut_crops(picture, reference, candidates)            # uint8 (N, 2 C, 64, 64)

A candidate is a connected region that is darker or brighter than everything within EDGE_PX of the same place of the
reference, so that edges which lie one pixel apart are none. numpy and scipy alone.

Source of the shift: phase correlation, Kuglin and Hines 1975.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.errors import InputError
from deepseek.extras import need

Picture = NDArray[np.uint8]  # (C, H, W)
EDGE_PX = 1  # edges may lie so far apart
LEAST_CHANGE = 48  # of 255, that counts as a difference
LEAST_AREA_PX = 3  # of the sure part of a candidate
JOIN_PX = 2  # gaps within a candidate
MAX_SHIFT_PX = 16
MAX_CANDIDATES = 200
CROP_PX = 64
LARGEST_PX = 40  # of the candidate in its crop: what is larger is scaled down
MAX_BEND_PX = 6  # by which a part of the reference may be moved, after the shift
BEND_WINDOW_PX = 96  # neighbourhood that decides it: larger than a defect
BEND_BLOCK_PX = 8  # all pixels of such a square are moved alike
BEND_COST = 0.5  # gray levels for each step: where nothing is seen, nothing moves
BEND_SHARE = 0.003  # of the pixels, that must differ before anything is bent
_REDUCTION = 2  # of the pictures, for shift and bend


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


def _gray(picture: Picture) -> Float32:
    gray: Float32 = picture.astype(np.float32).mean(0)
    return gray


def find_shift(picture: Picture, reference: Picture) -> tuple[int, int]:
    """By how many pixels the part lies right of and below its reference; (0, 0) unless another shift of up to
    MAX_SHIFT_PX makes the two much more alike."""
    one, other = (_gray(each)[::_REDUCTION, ::_REDUCTION] for each in (picture, reference))
    one, other = one - one.mean(), other - other.mean()
    cross = np.fft.rfft2(one) * np.conj(np.fft.rfft2(other))
    peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6), s=one.shape)
    limit = MAX_SHIFT_PX // _REDUCTION
    rows, columns = (np.r_[0 : limit + 1, -limit:0] for _ in range(2))
    near = peak[np.ix_(rows, columns)]
    row, column = np.unravel_index(int(np.argmax(near)), near.shape)
    best_y, best_x = int(rows[row]) * _REDUCTION, int(columns[column]) * _REDUCTION
    if abs(best_x) <= 1 and abs(best_y) <= 1:
        return 0, 0
    trials = [(x, y) for x in range(best_x - 1, best_x + 2) for y in range(best_y - 1, best_y + 2)]
    costs = {shift: _difference(picture, reference, shift) for shift in [(0, 0), *trials]}
    best = min(costs, key=lambda shift: costs[shift])
    return best if costs[best] < 0.8 * costs[0, 0] else (0, 0)


def _difference(picture: Picture, reference: Picture, shift: tuple[int, int]) -> float:
    moved = _shift(picture, shift)
    margin = MAX_SHIFT_PX + 2
    inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
    return float(np.abs(moved[inner].astype(np.float32) - reference[inner]).mean())


Pixel = TypeVar("Pixel", np.uint8, np.float32)


def _shift(picture: NDArray[Pixel], shift: tuple[int, int]) -> NDArray[Pixel]:
    """The picture moved left and up by `shift`; what comes in at the border repeats the edge."""
    x, y = shift
    if (x, y) == (0, 0):
        return picture
    padded = np.pad(picture, ((0, 0), (max(0, -y), max(0, y)), (max(0, -x), max(0, x))), mode="edge")
    top, left = max(0, y), max(0, x)
    return np.ascontiguousarray(padded[:, top : top + picture.shape[1], left : left + picture.shape[2]])


def align(picture: Picture, reference: Picture) -> tuple[Picture, Picture, tuple[int, int]]:
    """The part, moved onto its reference; the reference, bent onto the part; and the shift that was taken out."""
    shift = find_shift(picture, reference)
    part = _shift(picture, shift)
    return part, bend(reference, part), shift


def bend(reference: Picture, part: Picture) -> Picture:
    """The reference with each place moved, by up to MAX_BEND_PX, to where its neighbourhood fits the part best: a board
    that lies askew is off by other pixels in each corner. Where it fits as it is, nothing moves."""
    if float((np.abs(part.astype(np.int16) - reference) > LEAST_CHANGE).mean()) < BEND_SHARE:
        return reference
    uniform_filter = need("scipy.ndimage", extra="tabular").uniform_filter
    one, other = (_gray(each)[::_REDUCTION, ::_REDUCTION] for each in (part, reference))
    reach = MAX_BEND_PX // _REDUCTION
    steps = [(x, y) for x in range(-reach, reach + 1) for y in range(-reach, reach + 1)]
    padded = np.pad(other, reach, mode="edge")
    down, across = _averaging(one.shape[0]), _averaging(one.shape[1]).T
    least = np.full((down.shape[0], across.shape[1]), np.inf, np.float32)
    moves = np.zeros((2, *least.shape), np.int64)  # x and y in pixels of the reference, by block
    for x, y in sorted(steps, key=lambda step: abs(step[0]) + abs(step[1])):
        moved = padded[reach - y : reach - y + one.shape[0], reach - x : reach - x + one.shape[1]]
        cost = uniform_filter(down @ np.abs(one - moved) @ across, BEND_WINDOW_PX // BEND_BLOCK_PX)
        cost += BEND_COST * (abs(x) + abs(y))
        better = cost < least
        least = np.where(better, cost, least)
        moves[:, better] = np.array([[x], [y]]) * _REDUCTION
    height, width = reference.shape[1:]
    full = moves.repeat(BEND_BLOCK_PX, 1).repeat(BEND_BLOCK_PX, 2)[:, :height, :width]
    rows = np.clip(np.arange(height)[:, None] - full[1], 0, height - 1)
    columns = np.clip(np.arange(width)[None] - full[0], 0, width - 1)
    return np.ascontiguousarray(reference[:, rows, columns])


def _averaging(length: int) -> Float32:
    """(B, length): a row for each square of BEND_BLOCK_PX along a side of the reduced picture, which takes its mean. By
    a product of matrices that is three times as fast as by sums over axes of four."""
    side = BEND_BLOCK_PX // _REDUCTION
    block = np.arange(length) // side
    rows = (block[None] == np.arange(block[-1] + 1)[:, None]).astype(np.float32)
    weights: Float32 = rows / rows.sum(1, keepdims=True)
    return weights


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
