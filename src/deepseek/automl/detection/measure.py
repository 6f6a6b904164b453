"""A model of pictures on labelled pictures: what it finds, and the figures of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.automl.detection.options import ReportProgress
from deepseek.automl.detection.references import ReadReference
from deepseek.contracts import Float32, Float64, JsonObject
from deepseek.data.labels.labeled_picture import LabelSet
from deepseek.data.labels.pictures import PictureStore
from deepseek.engines.detector.inspection import Inspection, InspectionModel
from deepseek.train.detect.figures import (
    Matches,
    PartFigures,
    PrecisionFigures,
    average_precision,
    match_boxes,
    part_figures,
)

MIN_OVERLAP = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class PictureResult:
    """One picture as it was answered, without what nobody keeps."""

    file: str
    inspection: Inspection
    brightness: float  # mean of the pixels, 0 to 255


@dataclass(frozen=True, slots=True, eq=False)
class DetectionFigures:
    """Figures on labelled pictures."""

    precision: PrecisionFigures | None  # None where the model names no classes or no box is labelled
    matches: Matches | None
    parts: PartFigures | None  # None where all parts are defective, or none
    class_accuracy: float | None  # share of the defective pictures whose class was named
    num_pictures: int
    num_defective: int
    num_missed: int  # defective parts below the threshold
    num_false_alarms: int  # good parts from the threshold on

    def metrics(self) -> dict[str, dict[str, float]]:
        """By name: value, low, high; the ends of an interval where there is one."""
        out = {}
        if self.precision is not None:
            mean = self.precision.mean
            out["map50"] = {"value": mean.value, "low": mean.low, "high": mean.high}
        if self.parts is not None:
            auc = self.parts.auc
            out["part_auc"] = {"value": auc.value, "low": auc.low, "high": auc.high}
        return out

    def to_dict(self) -> JsonObject:
        matches = self.matches
        return {
            "metrics": self.metrics(),
            "ap_by_class": {} if self.precision is None else self.precision.by_class,
            "boxes": None if matches is None else {
                "recall": matches.recall, "precision": matches.precision, "f_score": matches.f_score,
                "confusion": matches.confusion.tolist(),
            },
            "class_accuracy": self.class_accuracy,
            "parts": {
                "num": self.num_pictures, "num_defective": self.num_defective, "num_missed": self.num_missed,
                "num_false_alarms": self.num_false_alarms,
                "miss_rate_at_5_percent_alarms": None if self.parts is None else self.parts.miss_rate,
            },
        }  # fmt: skip


def inspect_all(
    model: InspectionModel, store: PictureStore, labels: LabelSet, *, reference: ReadReference | None = None,
    progress: ReportProgress = lambda _message, _share: None,
) -> list[PictureResult]:  # fmt: skip
    """Every picture of a label set."""
    results = []
    for place, labeled in enumerate(labels.pictures):
        picture = store.read(labeled.file)
        other = None if reference is None else reference(labeled.file)
        results.append(PictureResult(labeled.file, model.inspect(picture, other), float(picture.mean())))
        progress(f"{place + 1} of {len(labels.pictures)} pictures looked at", (place + 1) / len(labels.pictures))
    return results


def part_scores(results: Sequence[PictureResult]) -> Float64:
    return np.array([each.inspection.score for each in results])


def measure(
    labels: LabelSet, results: Sequence[PictureResult], classes: Sequence[str], *, threshold: float,
    box_threshold: float,
    has_classes: bool = True, min_overlap: float = MIN_OVERLAP, seed: int = 0,
) -> DetectionFigures:  # fmt: skip
    """Figures of the results on the labels of the same pictures."""
    scores = part_scores(results)
    truth = np.array([picture.is_defective for picture in labels.pictures])
    detections = [each.inspection.boxes for each in results]
    judges_boxes = has_classes and labels.num_boxes > 0
    precision = (
        average_precision(labels, detections, classes, min_overlap=min_overlap, seed=seed) if judges_boxes else None
    )
    matches = None
    if judges_boxes:
        matches = match_boxes(labels, detections, classes, threshold=box_threshold, min_overlap=min_overlap)
    accuracy = None
    if has_classes and truth.any() and len(classes) > 1:
        named = [classes[int(np.argmax(each.inspection.class_scores))] for each in results]
        right = [name == picture.picture_class for name, picture in zip(named, labels.pictures, strict=True)]
        accuracy = float(np.mean(np.array(right)[truth]))
    return DetectionFigures(
        precision, matches, part_figures(truth, scores, seed=seed), accuracy, len(truth), int(truth.sum()),
        int((truth & (scores < threshold)).sum()), int((~truth & (scores >= threshold)).sum()),
    )  # fmt: skip


def brightness_range(store: PictureStore, labels: LabelSet) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of the mean brightness of pictures: beyond them the light has changed."""
    values: Float32 = np.array([store.read(each.file).mean() for each in labels.pictures], np.float32)
    low, high = np.percentile(values, [0.5, 99.5])
    return float(low), float(high)
