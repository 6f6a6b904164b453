"""Figures of boxes and parts, on cases that can be counted by hand; pycocotools is the judge."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.data.labels.labeled_picture import LabeledPicture, LabelSet
from deepseek.nn.detector.boxes import BoxSet
from deepseek.train.detect.figures import (
    area_under_curve,
    average_precision,
    best_threshold,
    match_boxes,
    miss_rate_at,
    part_figures,
)

CLASSES = ("dent", "pit")
pytest.importorskip("scipy")


def boxes(*rows: tuple[float, ...]) -> BoxSet:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return BoxSet(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


LABELS = LabelSet(
    (
        LabeledPicture("a", 100, 100, np.array([[0, 0, 10, 10], [50, 50, 70, 70]], np.float32), ("dent", "pit")),
        LabeledPicture("b", 100, 100, np.array([[20, 20, 40, 40]], np.float32), ("pit",)),
        LabeledPicture("c", 100, 100),
    ),
    CLASSES,
)
FOUND = [
    boxes((0, 0, 10, 10, 0.9, 0), (50, 50, 70, 69, 0.8, 0), (51, 50, 70, 70, 0.7, 1)),
    boxes((80, 80, 90, 90, 0.6, 1)),
    boxes(),
]


def test_average_precision_is_that_of_coco() -> None:
    """dent: its box first, then a false one: 1. pit: one right of two labels, before a false one: 51 of 101 recalls."""
    pytest.importorskip("pycocotools")
    figures = average_precision(LABELS, FOUND, CLASSES, num_resamples=5)
    assert figures.by_class["dent"] == pytest.approx(1.0)
    assert figures.by_class["pit"] == pytest.approx(51 / 101)
    assert figures.mean.value == pytest.approx((1 + 51 / 101) / 2)
    assert figures.mean.low <= figures.mean.value <= figures.mean.high


def test_draws_without_any_label_leave_the_interval_as_it_is() -> None:
    """One of three pictures has a label, so three of ten draws have none: their mean was no number, and the interval's
    ends neither."""
    pytest.importorskip("pycocotools")
    figures = average_precision(LABELS.take([1, 2, 2]), [FOUND[1], boxes(), boxes()], CLASSES, num_resamples=20)
    assert 0 <= figures.mean.low <= figures.mean.value <= figures.mean.high <= 1


def test_matches_count_what_is_right_wrong_and_missed() -> None:
    matches = match_boxes(LABELS, FOUND, CLASSES, threshold=0.5)
    assert matches.confusion.tolist() == [[1, 0, 0], [0, 1, 1], [1, 1, 0]]
    assert (matches.num_labeled, matches.num_answered, matches.num_right) == (3, 4, 2)
    assert matches.f_score == pytest.approx(4 / 7)
    sure = match_boxes(LABELS, FOUND, CLASSES, threshold=0.75)
    assert sure.confusion.tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 0]]  # the pit was taken for a dent


def test_the_best_threshold_has_the_best_f_score() -> None:
    level = best_threshold(LABELS, FOUND, CLASSES)
    scores = [match_boxes(LABELS, FOUND, CLASSES, threshold=each).f_score for each in (0.6, 0.7, 0.8, 0.9)]
    assert match_boxes(LABELS, FOUND, CLASSES, threshold=level).f_score == pytest.approx(max(scores))
    assert best_threshold(LABELS, [boxes()] * 3, CLASSES) == 0.5


def test_the_best_threshold_is_found_among_scores_that_lie_close_together() -> None:
    """On 300 pictures the right boxes have .301 to .6, and false ones up to .3: of 900 scores each is tried near the
    best, not one of 22."""
    labels = LabelSet(
        tuple(
            LabeledPicture(f"{place}", 100, 100, np.array([[0, 0, 9, 9]], np.float32), ("pit",)) for place in range(300)
        ),
        CLASSES,
    )
    right, wrong = np.linspace(0.301, 0.6, 300), np.linspace(0.02, 0.3, 600)
    detections = [
        boxes((0, 0, 9, 9, right[place], 1), *((50, 50, 60, 60, wrong[2 * place + each], 1) for each in range(2)))
        for place in range(300)
    ]
    level = best_threshold(labels, detections, CLASSES)
    assert match_boxes(labels, detections, CLASSES, threshold=level).f_score > 0.997
    assert 0.299 < level < 0.303


def test_parts_are_rated_by_their_ranks() -> None:
    truth, scores = [0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.3, 0.9]
    assert area_under_curve(truth, scores) == pytest.approx((2.5 + 3) / 6)
    assert miss_rate_at(truth, scores) == 0.5
    assert part_figures([1, 1], [0.1, 0.2]) is None
    figures = part_figures(truth, scores)
    assert figures is not None
    assert figures.auc.low <= figures.auc.value <= figures.auc.high
