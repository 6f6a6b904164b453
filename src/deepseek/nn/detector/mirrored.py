"""Test-time augmentation of a detector: each picture is also seen mirrored, and the answers are averaged.

    net = MirroredDetector(detector)
    scores, boxes, presence, heat = net(pictures)    # as Detector answers, for four times the work

A defect is the same one in a mirror, and the errors of the four views differ. Every place of a map has its own place in
the mirrored map, so what is averaged is the answer of a place before doubles are suppressed: the scores, and the
distances to the sides of the box, weighed by the score of each view. With a FrozenClassifier, presence is the geometric
mean of what the net says on average and of what that says.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepseek.nn.detector.detector import Detector, to_boxes, to_rows
from deepseek.nn.detector.frozen_classifier import FrozenClassifier

LEFT, TOP, RIGHT, BOTTOM = range(4)
#: Axes of (N, C, H, W) that are turned round, and which distance (left, top, right, bottom) takes whose place.
MIRRORS: tuple[tuple[tuple[int, ...], list[int]], ...] = (
    ((), [LEFT, TOP, RIGHT, BOTTOM]),
    ((3,), [RIGHT, TOP, LEFT, BOTTOM]),
    ((2,), [LEFT, BOTTOM, RIGHT, TOP]),
    ((2, 3), [RIGHT, BOTTOM, LEFT, TOP]),
)
LEAST_WEIGHT = 1e-6  # of a view that sees nothing at a place


class MirroredDetector(nn.Module):
    """Pictures uint8 (N, C, H, W) -> scores (N, A, K), boxes (N, A, 4), presence (N, K), heat (N, 1, H / 8, W / 8)."""

    def __init__(self, detector: Detector, classifier: FrozenClassifier | None = None) -> None:
        super().__init__()
        self.detector, self.shape, self.classifier = detector, detector.shape, classifier

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        views = torch.cat([pictures.flip(axes) if axes else pictures for axes, _ in MIRRORS])  # (4 N, C, H, W)
        seen = self.detector.maps(views)
        levels = [self._join(*each) for each in zip(seen.logits, seen.distances, strict=True)]
        scores, distances = [each for each, _ in levels], [each for _, each in levels]
        heat = _align(seen.heat.sigmoid()).mean(0)
        presence = _by_view(seen.presence.sigmoid()).mean(0)
        if self.classifier is not None:
            presence = (presence * self.classifier(self.detector.normalize(pictures))).sqrt()
        return to_rows(scores), to_boxes(distances)[0], presence, heat

    def _join(self, logits: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
        """(4 N, K, h, w), (4 N, 4, h, w) -> scores (N, K, h, w) and distances (N, 4, h, w)."""
        scores = _align(logits.sigmoid())  # (4, N, K, h, w)
        sides = torch.stack([
            each[:, order] for each, (_, order) in zip(_align(distances), MIRRORS, strict=True)
        ])  # fmt: skip
        weight = scores.amax(2, keepdim=True) + LEAST_WEIGHT
        return scores.mean(0), (sides * weight).sum(0) / weight.sum(0)


def _align(maps: Tensor) -> Tensor:
    """(4 N, ..., h, w) of the views -> (4, N, ..., h, w), each turned back to how the picture lies."""
    parts = _by_view(maps)
    return torch.stack([part.flip(axes) if axes else part for part, (axes, _) in zip(parts, MIRRORS, strict=True)])


def _by_view(values: Tensor) -> Tensor:
    """(4 N, ...) -> (4, N, ...)."""
    return values.reshape(len(MIRRORS), -1, *values.shape[1:])
