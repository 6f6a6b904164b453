"""Figures of detectors: average precision by pycocotools, matches and confusion at a threshold, and of whole parts.

    figures = average_precision(labels, found, min_overlap=0.5)     # found: a BoxSet for each picture
    matches = match_boxes(labels, found, threshold=0.4, min_overlap=0.5)
    parts = part_figures(is_defective, scores)

The judge of boxes is pycocotools (https://github.com/cocodataset/cocoapi), at one overlap and up to 100 boxes a
picture. Its interval is a bootstrap over pictures: what it has matched is drawn again and accumulated again by itself.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepseek.contracts import Figure, Float64, JsonObject
from deepseek.data.labels.labeled_picture import LabelSet
from deepseek.data.labels.write import to_coco
from deepseek.extras import need
from deepseek.nn.detector.boxes import BoxSet, overlaps

NUM_RESAMPLES = 100
MAX_BOXES = 100
FALSE_ALARM_RATE = 0.05
NUM_LEVELS = 41  # of which a threshold is chosen, twice: the second time of those around the best
NEAR_BEST = 0.001  # F scores are as good: the highest alone is a chance of these pictures


@dataclass(frozen=True, slots=True)
class PrecisionFigures:
    """Average precision of boxes."""

    mean: Figure  # over the classes
    by_class: dict[str, float]  # without classes of which no box is labelled
    min_overlap: float

    def to_dict(self) -> JsonObject:
        return {
            "map": {"value": self.mean.value, "low": self.mean.low, "high": self.mean.high},
            "ap": self.by_class, "min_overlap": self.min_overlap,
        }  # fmt: skip


def to_results(labels: LabelSet, detections: Sequence[BoxSet], classes: Sequence[str]) -> list[JsonObject]:
    """Boxes as COCO's list of results: image_id, category_id, bbox, score; file_name and category beside them. Ids are
    those of to_coco(labels); a class of the model that the labels lack gets the next number."""
    known = {
        name: place for place, name in enumerate([*labels.classes, *sorted(set(classes) - set(labels.classes))], 1)
    }
    results: list[JsonObject] = []
    for image_id, (picture, own) in enumerate(zip(labels.pictures, detections, strict=True), start=1):
        for box, score, number in zip(own.boxes.tolist(), own.scores.tolist(), own.classes.tolist(), strict=True):
            left, top, right, bottom = box
            results.append(
                {"image_id": image_id, "category_id": known[classes[number]], "file_name": picture.file,
                 "category": classes[number], "bbox": [left, top, right - left, bottom - top], "score": score}
            )  # fmt: skip
    return results


def average_precision(
    labels: LabelSet, detections: Sequence[BoxSet], classes: Sequence[str], *, min_overlap: float = 0.5, seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> PrecisionFigures:  # fmt: skip
    """The mean over classes of the average precision at one overlap. `classes`: those that the numbers of `found`
    name."""
    judge = _match_all(labels, to_results(labels, detections, classes), min_overlap)
    by_class = _accumulate(judge)
    seen = ~np.isnan(by_class)
    mean = float(by_class[seen].mean()) if seen.any() else 0.0
    rng = np.random.default_rng(seed)
    means = [_mean_of_resample(judge, rng) for _ in range(num_resamples)] if seen.any() else []
    draws = [each for each in means if each is not None]
    low, high = np.percentile(draws, [2.5, 97.5]) if draws else (mean, mean)
    names = [name for name, good in zip(labels.classes, seen, strict=True) if good]
    return PrecisionFigures(
        Figure(mean, min(float(low), mean), max(float(high), mean)),
        dict(zip(names, by_class[seen].tolist(), strict=True)), min_overlap,
    )  # fmt: skip


def _match_all(labels: LabelSet, results: list[JsonObject], min_overlap: float) -> Any:
    """A COCOeval that has matched boxes."""
    coco_module, eval_module = need("pycocotools.coco", extra="defects"), need("pycocotools.cocoeval", extra="defects")
    with redirect_stdout(io.StringIO()):
        truth = coco_module.COCO()
        truth.dataset = to_coco(labels)
        truth.createIndex()
        answers = coco_module.COCO()
        answers.dataset = {**truth.dataset, "annotations": [
            {**each, "id": place, "area": each["bbox"][2] * each["bbox"][3], "iscrowd": 0}
            for place, each in enumerate(results, start=1)
        ]}  # fmt: skip
        answers.createIndex()
        judge = eval_module.COCOeval(truth, answers, "bbox")
        judge.params.iouThrs = np.array([min_overlap])
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [MAX_BOXES]
        judge.evaluate()
    return judge


def _accumulate(judge: Any) -> Float64:
    """(K,) average precision by class; NaN where no box is labelled."""
    with redirect_stdout(io.StringIO()):
        judge.accumulate()
    precision = judge.eval["precision"][0, :, :, 0, 0]  # (recall, class), -1: no label
    values: Float64 = np.where((precision < 0).all(0), np.nan, precision.mean(0))
    return values


def _mean_of_resample(judge: Any, rng: np.random.Generator) -> float | None:
    """None where no picture that was drawn has a label."""
    original = judge.evalImgs
    num_pictures = len(judge.params.imgIds)
    draw = rng.integers(0, num_pictures, num_pictures)
    rows = np.arange(len(original)).reshape(-1, num_pictures)[:, draw].ravel()
    judge.evalImgs = [original[row] for row in rows]
    try:
        by_class = _accumulate(judge)
        return None if np.isnan(by_class).all() else float(np.nanmean(by_class))
    finally:
        judge.evalImgs = original


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Boxes held against labels at one threshold."""

    confusion: NDArray[np.int64]  # (K + 1, K + 1): labelled class by answered class; the last: nothing there
    num_labeled: int
    num_answered: int
    num_right: int  # overlap and class fit

    @property
    def recall(self) -> float:
        return self.num_right / max(1, self.num_labeled)

    @property
    def precision(self) -> float:
        return self.num_right / max(1, self.num_answered)

    @property
    def f_score(self) -> float:
        return 2 * self.num_right / max(1, self.num_labeled + self.num_answered)


def match_boxes(
    labels: LabelSet,
    detections: Sequence[BoxSet],
    classes: Sequence[str],
    *,
    threshold: float,
    min_overlap: float = 0.5,
) -> Matches:
    """Each labelled box gets the answer from `threshold` on that overlaps it most, those of its class first; each
    answer serves once, the highest score first."""
    size = len(labels.classes)
    number = {name: place for place, name in enumerate(labels.classes)}
    confusion = np.zeros((size + 1, size + 1), np.int64)
    labeled = answered = right = 0
    for place, own in enumerate(detections):
        truth = np.array(labels.class_numbers(place), np.int64)
        sure = own.above(threshold)
        guess = np.array([number.get(classes[each], size) for each in sure.classes.tolist()], np.int64)
        shared = overlaps(sure.boxes, labels.pictures[place].boxes)
        free = np.ones(len(truth), bool)
        matched = np.full(len(guess), -1)
        for same_class in (True, False):
            for row in range(len(guess)):
                fits = free & (shared[row] > min_overlap) & ((truth == guess[row]) | (not same_class))
                if matched[row] < 0 and fits.any():
                    best = int(np.argmax(np.where(fits, shared[row], -1)))
                    matched[row], free[best] = best, False
        for row, best in enumerate(matched.tolist()):
            confusion[truth[best] if best >= 0 else size, guess[row]] += 1
            right += int(best >= 0 and truth[best] == guess[row])
        for each in truth[free]:
            confusion[each, size] += 1
        labeled, answered = labeled + len(truth), answered + len(guess)
    return Matches(confusion, labeled, answered, right)


def best_threshold(
    labels: LabelSet, detections: Sequence[BoxSet], classes: Sequence[str], *, min_overlap: float = 0.5
) -> float:
    """The threshold of boxes with the best F score on these pictures, the middle one of those that are as good but for
    NEAR_BEST; 0.5 where there is no box."""
    scores = np.sort(np.concatenate([own.scores for own in detections]))[::-1] if detections else np.zeros(0)
    if not len(scores):
        return 0.5

    def rate(first: int, last: int) -> tuple[list[int], Float64]:
        """Ranks of some NUM_LEVELS scores, the first and the last among them, and the F score at each."""
        ranks = np.unique(np.linspace(first, last, NUM_LEVELS).astype(int)).tolist()
        return ranks, np.array([
            match_boxes(labels, detections, classes, threshold=float(scores[rank]), min_overlap=min_overlap).f_score
            for rank in ranks
        ])  # fmt: skip

    # Far more answers than labels cannot be the best.
    ranks, rated = rate(0, min(len(scores), 3 * max(labels.num_boxes, 1)) - 1)
    best = int(np.argmax(rated))
    ranks, rated = rate(ranks[max(best - 1, 0)], ranks[min(best + 1, len(ranks) - 1)])  # scores may lie close together
    good = np.flatnonzero(rated >= rated.max() - NEAR_BEST)
    return float(scores[ranks[good[len(good) // 2]]])


@dataclass(frozen=True, slots=True)
class PartFigures:
    """How well whole parts are told apart."""

    auc: Figure
    miss_rate: float  # share of defective parts below the threshold that lets FALSE_ALARM_RATE of good ones through
    num_defective: int
    num_good: int


def area_under_curve(is_defective: ArrayLike, scores: ArrayLike) -> float:
    """The chance that a defective part scores higher than a good one; ties count half.

    >>> area_under_curve([0, 1, 1], [0.1, 0.1, 0.9])
    0.75
    """
    truth, values = np.asarray(is_defective, bool), np.asarray(scores, np.float64)
    ranks = need("scipy.stats", extra="tabular").rankdata(values)
    num = int(truth.sum())
    return float((ranks[truth].sum() - num * (num + 1) / 2) / (num * (len(truth) - num)))


def miss_rate_at(is_defective: ArrayLike, scores: ArrayLike, false_alarm_rate: float = FALSE_ALARM_RATE) -> float:
    """The share of defective parts that score no higher than the good part that so many good ones are above."""
    truth, values = np.asarray(is_defective, bool), np.asarray(scores, np.float64)
    limit = np.quantile(values[~truth], 1 - false_alarm_rate, method="higher")
    return float((values[truth] <= limit).mean())


def part_figures(is_defective: ArrayLike, scores: ArrayLike, *, seed: int = 0) -> PartFigures | None:
    """None where all parts are of one kind."""
    truth, values = np.asarray(is_defective, bool), np.asarray(scores, np.float64)
    if truth.all() or not truth.any():
        return None
    rng = np.random.default_rng(seed)
    bad, good = np.flatnonzero(truth), np.flatnonzero(~truth)
    draws = []
    for _ in range(NUM_RESAMPLES):
        rows = np.concatenate([rng.choice(bad, len(bad)), rng.choice(good, len(good))])
        draws.append(area_under_curve(truth[rows], values[rows]))
    value = area_under_curve(truth, values)
    low, high = np.percentile(draws, [2.5, 97.5])
    return PartFigures(
        Figure(value, min(float(low), value), max(float(high), value)), miss_rate_at(truth, values), len(bad), len(good)
    )
