"""Parts compared with their reference pictures: candidates that differ, each named by a small net, or all of both seen
by a detector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.engines.detector.boxes import BoxModel
from deepseek.engines.detector.config import GRAPH, DetectorConfig
from deepseek.engines.detector.inspection import Inspection, Picture
from deepseek.engines.detector.views import HEAT_STRIDE
from deepseek.engines.onnx import compute_error, open_session, runtime_errors
from deepseek.extras import need
from deepseek.nn.detector.alignment import align
from deepseek.nn.detector.boxes import BoxSet, suppress
from deepseek.nn.detector.difference import apply_deltas, check_sizes, cut_crops, propose, stack

#: Axes of crops that are turned round, and which deltas (left, top, right, bottom) take whose place with which sign.
MIRRORS = (
    ((3,), [2, 1, 0, 3], (-1, 1, -1, 1)),
    ((2,), [0, 3, 2, 1], (1, -1, 1, -1)),
    ((2, 3), [2, 3, 0, 1], (-1, -1, -1, -1)),
)


class PairModel:
    """nn.detector.PairNet, exported: crops -> probabilities (N, K + 1), deltas (N, 4)."""

    def __init__(self, graph: bytes, config: DetectorConfig, *, num_threads: int = 1) -> None:
        self.config = config
        self._session = open_session(graph, GRAPH, num_threads=num_threads)
        self._refusals = runtime_errors(need("onnxruntime", extra="serve"))

    def inspect(self, picture: Picture, reference: Picture | None = None) -> Inspection:
        """Boxes in pixels of the part as it lies, before it was moved onto its reference."""
        part, other, shift = align(picture, check_sizes(picture, reference))
        boxes = propose(part, other)
        num_classes, (height, width) = len(self.config.classes), picture.shape[1:]
        if not len(boxes):
            return _summarize(BoxSet.empty(), num_classes, (height, width))
        chances, deltas = self._answer(cut_crops(part, other, boxes))
        moved = apply_deltas(boxes, deltas) + np.array(shift * 2, np.float32)
        moved = np.clip(moved, 0, np.array([width, height] * 2, np.float32))
        row, number = np.nonzero(chances[:, :num_classes] >= self.config.least_score)
        scores = chances[row, number]
        order = np.argsort(-scores, kind="stable")
        detections = BoxSet(moved[row[order]], scores[order], number[order].astype(np.int64))
        sides = (detections.boxes[:, 2:] - detections.boxes[:, :2]).min(1, initial=np.inf)
        detections = suppress(detections.take(np.flatnonzero(sides >= 1)), self.config.max_overlap, vote=False)
        return _summarize(detections, num_classes, (height, width))

    def _answer(self, crops: NDArray[np.uint8]) -> tuple[Float32, Float32]:
        """Probabilities and deltas of crops; where a defect is not ruled out, the mean of the crop and its mirrors, for
        what a defect is does not depend on where left is."""
        chances, deltas = self._run(crops)
        open_rows = np.flatnonzero(chances[:, :-1].max(1) >= self.config.least_score)
        if not len(open_rows):
            return chances, deltas
        sums = [each[open_rows] for each in (chances, deltas)]
        for axes, order, signs in MIRRORS:
            own, moved = self._run(np.ascontiguousarray(np.flip(crops[open_rows], axes)))
            sums = [sums[0] + own, sums[1] + moved[:, order] * np.array(signs, np.float32)]
        chances[open_rows], deltas[open_rows] = (each / (1 + len(MIRRORS)) for each in sums)
        return chances, deltas

    def _run(self, crops: NDArray[np.uint8]) -> tuple[Float32, Float32]:
        try:
            chances, deltas = self._session.run(None, {"crops": crops})
        except self._refusals as error:
            raise compute_error(GRAPH, error) from error
        return chances, deltas


class TemplateDetectorModel:
    """nn.detector.Detector, exported, on parts and their references (nn.detector.difference.stack)."""

    def __init__(self, graph: bytes, config: DetectorConfig, *, num_threads: int = 1) -> None:
        self.config = config
        self._model = BoxModel(graph, config, num_threads=num_threads)

    def inspect(self, picture: Picture, reference: Picture | None = None) -> Inspection:
        """Boxes in pixels of the part as it lies. What the net says of a whole picture is not used: it has learned
        from windows that show a few defects, or none."""
        part, other, shift = align(picture, check_sizes(picture, reference))
        seen = self._model.inspect(stack(part, other)).boxes
        height, width = picture.shape[1:]
        boxes = np.clip(seen.boxes + np.array(shift * 2, np.float32), 0, np.array([width, height] * 2, np.float32))
        sides = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf)
        detections = BoxSet(boxes.astype(np.float32), seen.scores, seen.classes).take(np.flatnonzero(sides >= 1))
        return _summarize(detections, len(self.config.classes), (height, width))


def _summarize(detections: BoxSet, num_classes: int, sides: tuple[int, int]) -> Inspection:
    """Detections, the highest score first, on a picture of `sides` (height, width): its score, those of its classes and
    the heat map that its boxes make."""
    heat = np.zeros((-(-sides[0] // HEAT_STRIDE), -(-sides[1] // HEAT_STRIDE)), np.float32)
    best = np.zeros(num_classes, np.float32)
    np.maximum.at(best, detections.classes, detections.scores)
    for box, score in zip(detections.boxes[::-1], detections.scores[::-1], strict=True):
        left, top = (box[:2] // HEAT_STRIDE).astype(int)
        right, bottom = np.ceil(box[2:] / HEAT_STRIDE).astype(int)
        cells = heat[top:bottom, left:right]
        np.maximum(cells, score, out=cells)
    return Inspection(detections, float(best.max(initial=0.0)), best, heat)
