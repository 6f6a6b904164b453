"""The headers of a scan with the way to its pixels, whatever file format it came in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from deepseek.contracts import Float32

Triple = tuple[float, float, float]


Axes = tuple[
    tuple[int, bool], tuple[int, bool], tuple[int, bool]
]  # of each stored axis: its axis in the volume, and whether it runs backwards


AS_STORED: Axes = ((0, False), (1, False), (2, False))


@dataclass(frozen=True)
class Scan:
    """The facts of the headers, and the function that reads one slice."""

    name: str
    file_format: str  # "DICOM" or "NIfTI"
    modality: str  # "CT", "MR", "DX"; "" where the file does not say
    manufacturer: str
    size: tuple[int, int, int]  # slices, rows, columns, as stored
    spacing_mm: tuple[float | None, float | None, float | None]  # along these, between centers; None: unknown
    axes: Axes
    oriented: bool  # whether the file says where the patient's head is
    plane: Callable[[int], Float32]  # slice -> (rows, columns), NaN where nothing was measured


def volume_axes(directions: Sequence[Sequence[float]]) -> Axes:
    """How stored axes become (foot to head, front to back, right to left). `directions`: of each stored axis a unit
    vector in DICOM's patient coordinates, whose x goes to the left, y to the back and z to the head.

    Sagittal: slices to the left, rows downwards, columns to the back.

    >>> volume_axes([(1, 0, 0), (0, 0, -1), (0, 1, 0)])
    ((2, False), (0, True), (1, False))
    """
    score = np.asarray(directions, float)[:, ::-1]  # (stored axis, axis of the volume)
    best = max(permutations(range(3)), key=lambda order: sum(abs(score[k, axis]) for k, axis in enumerate(order)))
    first, second, third = ((axis, bool(score[k, axis] < 0)) for k, axis in enumerate(best))
    return first, second, third
