"""A part and its reference picture laid onto each other: a shift, then a slant, a turn, a stretch and a bow.

    part, reference, shift = align(picture, reference)

Boards lie askew by a few pixels in their corners, and lenses bow them. First a shift of whole pixels is taken out by
phase correlation (Kuglin and Hines 1975). Then how far each place is off, a polynomial of second degree in x and y, is
fitted to the edges of the part, from blurred pictures to sharp ones, by steps of Gauss and Newton with the slopes of
the part (Baker and Matthews 2004, section 3). A difference counts the less the larger it is (Geman and McClure), so
that defects do not pull. numpy and scipy alone.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.extras import need

Picture = NDArray[np.uint8]  # (C, H, W)
MAX_SHIFT_PX = 16
LEAST_SIDE_PX = 4 * MAX_SHIFT_PX  # of pictures of which a shift is looked for: half of the smallest stays to compare
MAX_BEND_PX = 12  # by which a place may be moved, after the shift: more is no longer the same part
POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))  # of x and y in the polynomial
RIDGE = 1e-6  # holds what no edge decides at nought
LEAST_CHANGE = 48  # of 255, that counts as a difference
BEND_SHARE = 0.003  # of the pixels, that must differ before anything is bent
BLURS = (4.0, 2.0, 1.0)  # standard deviations, in pixels of the reduced pictures
MAX_STEPS, SMALLEST_STEP_PX = 8, 0.02  # at each blur
MAX_EDGES, LEAST_EDGES = 6_000, 200  # pixels that are looked at, and fewer are too few
LEAST_SLOPE = 2.0  # gray levels a pixel at blur 1 that make an edge, and a fifth of the steepest
_REDUCTION = 2  # of the pictures, for shift and bend

Pixel = TypeVar("Pixel", np.uint8, np.float32)


def align(picture: Picture, reference: Picture) -> tuple[Picture, Picture, tuple[int, int]]:
    """The part, moved onto its reference; the reference, bent onto the part; and the shift that was taken out."""
    shift = find_shift(picture, reference)
    part = _shift(picture, shift)
    return part, bend(reference, part), shift


def to_gray(picture: Picture) -> Float32:
    gray: Float32 = picture.astype(np.float32).mean(0)
    return gray


def find_shift(picture: Picture, reference: Picture) -> tuple[int, int]:
    """By how many pixels the part lies right of and below its reference; (0, 0) unless another shift of up to
    MAX_SHIFT_PX makes the two much more alike, and for pictures too small to say."""
    if min(picture.shape[1:]) < LEAST_SIDE_PX:
        return 0, 0
    one, other = (to_gray(each)[::_REDUCTION, ::_REDUCTION] for each in (picture, reference))
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


def _shift(picture: NDArray[Pixel], shift: tuple[int, int]) -> NDArray[Pixel]:
    """The picture moved left and up by `shift`; what comes in at the border repeats the edge."""
    x, y = shift
    if (x, y) == (0, 0):
        return picture
    padded = np.pad(picture, ((0, 0), (max(0, -y), max(0, y)), (max(0, -x), max(0, x))), mode="edge")
    top, left = max(0, y), max(0, x)
    return np.ascontiguousarray(padded[:, top : top + picture.shape[1], left : left + picture.shape[2]])


def bend(reference: Picture, part: Picture) -> Picture:
    """The reference with each place moved smoothly, by up to MAX_BEND_PX, to where the edges of the part lie. As it is,
    where it fits already or nothing fits better."""
    before = np.abs(part.astype(np.int16) - reference)
    if float((before > LEAST_CHANGE).mean()) < BEND_SHARE:
        return reference
    factors = fit_offsets(*(to_gray(each)[::_REDUCTION, ::_REDUCTION] for each in (reference, part)))
    height, width = reference.shape[1:]
    x, y = _from_middle(np.arange(width), np.arange(height)[:, None], (height, width))
    right, down = (_REDUCTION * _sum_powers(row, x, y) for row in factors)
    if not max(np.abs(right).max(), np.abs(down).max()) <= MAX_BEND_PX:
        return reference
    columns = np.clip(np.rint(np.arange(width) + right).astype(np.int32), 0, width - 1)
    rows = np.clip(np.rint(np.arange(height)[:, None] + down).astype(np.int32), 0, height - 1)
    bent = np.ascontiguousarray(reference[:, rows, columns])
    return bent if np.abs(part.astype(np.int16) - bent).mean() < before.mean() else reference


def fit_offsets(reference: Float32, part: Float32) -> Float64:
    """(2, 6): how many pixels right and down of a place of the part the reference shows it, as factors of the POWERS of
    x and y, which run from -1 to 1 along the longer side. Gray pictures (H, W); noughts where there are too few
    edges."""
    ndimage = need("scipy.ndimage", extra="tabular")
    factors = np.zeros((2, len(POWERS)))
    for blur in BLURS:
        other, own = (ndimage.gaussian_filter(each, blur) for each in (reference, part))
        down, right = np.gradient(own) if min(own.shape) > 1 else (own, own)
        rows, columns = _edges(np.hypot(down, right), LEAST_SLOPE / blur, margin=round(2 * blur))
        if len(rows) < LEAST_EDGES:
            return factors
        x, y = _from_middle(columns, rows, own.shape)
        powers = np.stack([x**i * y**j for i, j in POWERS])  # (6, M)
        slopes = np.stack([right[rows, columns], down[rows, columns]])  # (2, M)
        change = (slopes[:, None] * powers).reshape(-1, len(rows))  # (12, M), of the gray by each of the factors
        for _ in range(MAX_STEPS):
            far = factors @ powers
            error = ndimage.map_coordinates(other, [rows + far[1], columns + far[0]], order=1, mode="nearest")
            error -= own[rows, columns]
            spread = 2 * max(1.4826 * float(np.median(np.abs(error))), 2.0)
            weighted = change / (1 + (error / spread) ** 2) ** 2
            curvature = weighted @ change.T
            step = np.linalg.solve(curvature + RIDGE * np.trace(curvature) * np.eye(len(curvature)), weighted @ error)
            factors -= step.reshape(factors.shape)
            if np.abs(step).max() < SMALLEST_STEP_PX:
                break
    return factors


def _sum_powers(factors: Float64, x: Float64, y: Float64) -> Float64:
    """The polynomial at x and y, which are broadcast."""
    total: Float64 = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for factor, (i, j) in zip(factors.tolist(), POWERS, strict=True):
        total += factor * (x**i * y**j)
    return total


def _edges(slope: Float32, least: float, margin: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of some MAX_EDGES pixels that have the slope of an edge, evenly drawn from all of them."""
    inner = slope[margin:-margin, margin:-margin]
    if not inner.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows, columns = np.nonzero(inner > max(least, 0.2 * float(inner.max())))
    step = max(1, len(rows) // MAX_EDGES)
    return rows[::step] + margin, columns[::step] + margin


def _from_middle(columns: NDArray[Any], rows: NDArray[Any], shape: tuple[int, ...]) -> tuple[Float64, Float64]:
    """Pixels as x and y from the middle, in halves of the longer side."""
    height, width = shape
    half = max(height, width, 2) / 2 - 0.5
    return (columns - (width - 1) / 2) / half, (rows - (height - 1) / 2) / half
