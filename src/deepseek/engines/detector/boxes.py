"""Pictures through a net that was trained on boxes: nn.detector.Detector, exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepseek.contracts import Float32
from deepseek.engines.detector.config import GRAPH, DetectorConfig
from deepseek.engines.detector.inspection import Inspection, Picture
from deepseek.engines.detector.views import View, join_heat
from deepseek.engines.onnx import compute_error, open_session, runtime_errors
from deepseek.extras import need
from deepseek.nn.detector.boxes import BoxSet, select, suppress

OUTPUTS = ("scores", "boxes", "presence", "heat")


class BoxModel:
    """Scores (A, K), boxes (A, 4), presence (K,) and heat (h, w) of each view -> what is seen on the picture."""

    def __init__(self, graph: bytes, config: DetectorConfig, *, num_threads: int = 1) -> None:
        self.config = config
        self._session = open_session(graph, GRAPH, num_threads=num_threads)
        self._refusals = runtime_errors(need("onnxruntime", extra="serve"))

    def inspect(self, picture: Picture, reference: Picture | None = None) -> Inspection:
        """Boxes, score and heat of one picture."""
        config = self.config
        views = config.views(picture)
        parts: list[BoxSet] = []
        heats: list[tuple[View, Float32]] = []
        presence = np.zeros(len(config.classes), np.float32)
        for view in views:
            scores, boxes, own, heat = self._run(view)
            presence = np.maximum(presence, own)
            detections = select(scores, boxes, least_score=config.least_score, max_overlap=config.max_overlap)
            parts.append(_to_picture(detections, view, picture.shape[2], picture.shape[1]))
            heats.append((view, heat))
        detections = BoxSet.join(parts)
        if len(views) > 1:  # a defect on the seam of two tiles was seen by both
            detections = suppress(detections, config.max_overlap)
        best = np.zeros(len(config.classes), np.float32)
        np.maximum.at(best, detections.classes, detections.scores)
        class_scores = np.sqrt(best * presence)
        return Inspection(detections, float(class_scores.max(initial=0.0)), class_scores, join_heat(heats))

    def _run(self, view: View) -> tuple[Float32, Float32, Float32, Float32]:
        try:
            scores, boxes, presence, heat = self._session.run(list(OUTPUTS), {"pictures": view.pixels[None]})
        except self._refusals as error:
            raise compute_error(GRAPH, error) from error
        return scores[0], boxes[0], presence[0], heat[0, 0]


def _to_picture(detections: BoxSet, view: View, width: int, height: int) -> BoxSet:
    """Boxes of a view in pixels of the picture, cut to it; without those of padding alone."""
    shift = np.array(view.offset * 2, np.float32)
    factors = np.array([*view.scale, *view.scale], np.float32)
    boxes: Float32 = np.clip((detections.boxes + shift) / factors, 0, np.array([width, height] * 2, np.float32))
    keep = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= 1)
    return replace(detections, boxes=boxes).take(keep)
