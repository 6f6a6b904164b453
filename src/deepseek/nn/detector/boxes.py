"""Boxes in numpy: overlaps, suppression of doubles, and a graph's outputs as boxes of a picture.

>>> overlaps(np.array([[0, 0, 2, 2]], np.float32), np.array([[0, 0, 2, 1], [5, 5, 6, 6]], np.float32)).tolist()
[[0.5, 0.0]]

Shapes: boxes (N, 4) left, top, right, bottom; A places of a detector, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32

MAX_CANDIDATES = 1_000  # boxes of a picture that are looked at, the highest scores first


@dataclass(frozen=True, slots=True, eq=False)
class BoxSet:
    """Boxes on one picture, the highest score first."""

    boxes: Float32  # (N, 4) pixels
    scores: Float32  # (N,) 0 to 1
    classes: NDArray[np.int64]  # (N,) places in the model's classes

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> BoxSet:
        """The boxes whose score is at least `threshold`."""
        return self.take(np.flatnonzero(self.scores >= threshold))

    def take(self, places: NDArray[np.int64]) -> BoxSet:
        return BoxSet(self.boxes[places], self.scores[places], self.classes[places])

    @classmethod
    def empty(cls) -> BoxSet:
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @classmethod
    def join(cls, parts: list[BoxSet]) -> BoxSet:
        """All boxes of all parts, sorted by score."""
        if not parts:
            return cls.empty()
        joined = cls(
            np.concatenate([part.boxes for part in parts]), np.concatenate([part.scores for part in parts]),
            np.concatenate([part.classes for part in parts]),
        )  # fmt: skip
        return joined.take(np.argsort(-joined.scores, kind="stable"))


def areas(boxes: Float32) -> Float32:
    """(N,) in square pixels."""
    sides: Float32 = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def overlaps(boxes: Float32, others: Float32) -> Float32:
    """Intersection over union of each box (N, 4) with each other (M, 4): (N, M)."""
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    sides = np.maximum(np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - corner, 0)
    inner = sides[..., 0] * sides[..., 1]
    union = areas(boxes)[:, None] + areas(others)[None] - inner
    result: Float32 = inner / np.maximum(union, 1e-9)
    return result


def suppress(detections: BoxSet, max_overlap: float, *, vote: bool = True) -> BoxSet:
    """Without the boxes that overlap a better one of their class by more than `max_overlap`. With `vote` a box becomes
    the mean of those that it suppressed, weighed by score and overlap (Gidaris and Komodakis 2015, section 4.3): the
    border of a defect is vague, and many votes err less than one."""
    keep: list[int] = []
    boxes = detections.boxes.copy()
    for number in np.unique(detections.classes):
        places = np.flatnonzero(detections.classes == number)  # by falling score
        shared = overlaps(detections.boxes[places], detections.boxes[places])
        alive = np.ones(len(places), bool)
        for row, place in enumerate(places):
            if not alive[row]:
                continue
            keep.append(int(place))
            doubles = alive & (shared[row] > max_overlap)
            doubles[row] = True
            if vote and doubles.sum() > 1:
                weight = detections.scores[places[doubles]] * shared[row][doubles]
                boxes[place] = (weight[:, None] * detections.boxes[places[doubles]]).sum(0) / weight.sum()
            alive &= ~doubles
    order = np.array(sorted(keep, key=lambda place: (-float(detections.scores[place]), place)), np.int64)
    return BoxSet(boxes[order], detections.scores[order], detections.classes[order])


def select(
    scores: Float32,
    boxes: Float32,
    *,
    least_score: float,
    max_overlap: float,
    limit: int = 300,
    candidates: int = MAX_CANDIDATES,
) -> BoxSet:
    """The boxes that a graph's outputs for one picture stand for: scores (A, K), boxes (A, 4). A place may answer with
    several classes."""
    place, number = np.nonzero(scores >= least_score)
    value = scores[place, number]
    order = np.argsort(-value, kind="stable")[:candidates]
    detections = BoxSet(boxes[place[order]], value[order], number[order].astype(np.int64))
    kept = suppress(detections, max_overlap)
    return kept.take(np.arange(min(limit, len(kept)), dtype=np.int64))
