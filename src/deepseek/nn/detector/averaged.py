"""Several answers for a picture, averaged: of the nets of an ensemble, and of a picture's mirrors.

    net = AveragedDetector([detector, another], mirrored=True)
    scores, boxes, presence, heat = net(pictures)    # as Detector answers, for eight times the work

A defect is the same one in a mirror and to another net, and the errors differ. Every place of a map has its own place
in the mirrored map and in that of another net, so what is averaged is the answer of a place before doubles are
suppressed: the scores, and the distances to the sides of the box, weighed by the score of each view. With a
FrozenClassifier, presence is the geometric mean of what the nets say on average and of what that says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepseek.nn.detector.detector import Detector, HeadMaps, to_boxes, to_rows
from deepseek.nn.detector.frozen_classifier import FrozenClassifier

LEFT, TOP, RIGHT, BOTTOM = range(4)
#: Axes of (N, C, H, W) that are turned round, and which distance (left, top, right, bottom) takes whose place.
Mirror = tuple[tuple[int, ...], list[int]]
MIRRORS: tuple[Mirror, ...] = (
    ((), [LEFT, TOP, RIGHT, BOTTOM]),
    ((3,), [RIGHT, TOP, LEFT, BOTTOM]),
    ((2,), [LEFT, BOTTOM, RIGHT, TOP]),
    ((2, 3), [RIGHT, BOTTOM, LEFT, TOP]),
)
LEAST_WEIGHT = 1e-6  # of a view that sees nothing at a place


class AveragedDetector(nn.Module):
    """Pictures uint8 (N, C, H, W) -> scores (N, A, K), boxes (N, A, 4), presence (N, K), heat (N, 1, H / 8, W / 8)."""

    def __init__(
        self, detectors: Sequence[Detector], *, mirrored: bool, classifier: FrozenClassifier | None = None
    ) -> None:
        """`detectors`: of the same shape. `mirrored`: each also sees the picture's three mirrors."""
        super().__init__()
        self.detectors, self.shape, self.classifier = nn.ModuleList(detectors), detectors[0].shape, classifier
        self._mirrors = MIRRORS if mirrored else MIRRORS[:1]

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        views = torch.cat([pictures.flip(axes) if axes else pictures for axes, _ in self._mirrors])  # (M N, C, H, W)
        seen: list[HeadMaps] = [each.maps(views) for each in self.detectors]  # type: ignore[operator]
        levels = [
            self._join([maps.logits[place] for maps in seen], [maps.distances[place] for maps in seen])
            for place in range(len(seen[0].logits))
        ]
        scores, distances = [each for each, _ in levels], [each for _, each in levels]
        heat = torch.cat([self._align(maps.heat.sigmoid()) for maps in seen]).mean(0)
        presence = torch.cat([self._by_mirror(maps.presence.sigmoid()) for maps in seen]).mean(0)
        if self.classifier is not None:
            normalized = self.detectors[0].normalize(pictures)  # type: ignore[operator]
            presence = (presence * self.classifier(normalized)).sqrt()
        return to_rows(scores), to_boxes(distances)[0], presence, heat

    def _join(self, logits: list[Tensor], distances: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Of each net (M N, K, h, w) and (M N, 4, h, w) -> scores (N, K, h, w) and distances (N, 4, h, w)."""
        scores = torch.cat([self._align(each.sigmoid()) for each in logits])  # (views, N, K, h, w)
        sides = torch.cat([self._align_sides(each) for each in distances])
        weight = scores.amax(2, keepdim=True) + LEAST_WEIGHT
        return scores.mean(0), (sides * weight).sum(0) / weight.sum(0)

    def _align_sides(self, distances: Tensor) -> Tensor:
        """(M N, 4, h, w) of the mirrors -> (M, N, 4, h, w) of the picture as it lies."""
        aligned = self._align(distances)
        return torch.stack([each[:, order] for each, (_, order) in zip(aligned, self._mirrors, strict=True)])

    def _align(self, maps: Tensor) -> Tensor:
        """(M N, ..., h, w) of the mirrors -> (M, N, ..., h, w), each turned back to how the picture lies."""
        parts = self._by_mirror(maps)
        mirrors = zip(parts, self._mirrors, strict=True)
        return torch.stack([part.flip(axes) if axes else part for part, (axes, _) in mirrors])

    def _by_mirror(self, values: Tensor) -> Tensor:
        """(M N, ...) -> (M, N, ...)."""
        return values.reshape(len(self._mirrors), -1, *values.shape[1:])
