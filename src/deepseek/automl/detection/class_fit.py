"""A linear classifier on a trunk as its package carries it, fitted to which classes the training pictures show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek.automl.detection.options import ReportProgress
from deepseek.contracts import Float64
from deepseek.data.labels.labeled_picture import LabelSet
from deepseek.extras import need
from deepseek.nn.detector.detector import Detector
from deepseek.nn.detector.frozen_classifier import FrozenClassifier, pool_maps
from deepseek.nn.detector.trunk import Trunk

LEAST_PICTURES = 10  # that show a class, and as many that do not
#: In five folds of NEU-DET's training pictures .1 has a cross entropy of .035, .01 one of .038 and 1 one of .040.
INVERSE_REGULARIZATION = 0.1
LEAST_DEVIATION = 1e-3  # of a feature that says nothing


def classes_shown(labels: LabelSet) -> NDArray[np.bool_]:
    """(N, K) which classes each picture shows."""
    shown = np.zeros((len(labels.pictures), len(labels.classes)), bool)
    for place in range(len(labels.pictures)):
        shown[place, labels.class_numbers(place)] = True
    return shown


def can_classify(shown: NDArray[np.bool_]) -> bool:
    """Whether each class is on LEAST_PICTURES or more, and missing on as many."""
    num_shown = shown.sum(0)
    return bool((np.minimum(num_shown, len(shown) - num_shown) >= LEAST_PICTURES).all())


def fit_frozen_classifier(
    trunk: Trunk, detector: Detector, pictures: Iterable[NDArray[np.uint8]], shown: NDArray[np.bool_],
    progress: ReportProgress,
) -> FrozenClassifier:  # fmt: skip
    """`trunk`: with the weights of its package; `detector` normalizes for it. `pictures`: uint8 (C, H, W) each as the
    net is to see it, of any sizes; `shown` (N, K): which classes they show."""
    rows = []
    trunk.eval()
    with torch.no_grad():
        for place, pixels in enumerate(pictures):
            maps = trunk(detector.normalize(torch.from_numpy(pixels[None].copy())))
            rows.append(pool_maps(maps)[0].double().numpy())
            progress(f"classes: {place + 1} of {len(shown)} pictures seen by the frozen trunk", 0.9)
    weight, bias = fit_logits(np.stack(rows), shown)
    return FrozenClassifier(trunk, torch.from_numpy(weight).float(), torch.from_numpy(bias).float())


def fit_logits(features: Float64, shown: NDArray[np.bool_]) -> tuple[Float64, Float64]:
    """Features (N, F) and classes (N, K) -> weight (K, F) and bias (K,) of a logistic regression for each class."""
    library: Any = need("sklearn.linear_model", extra="tabular")
    mean, deviation = features.mean(0), features.std(0) + LEAST_DEVIATION
    scaled = (features - mean) / deviation
    models = [
        library.LogisticRegression(C=INVERSE_REGULARIZATION, max_iter=300).fit(scaled, column) for column in shown.T
    ]
    weight: Float64 = np.stack([each.coef_[0] for each in models]) / deviation
    bias: Float64 = np.array([each.intercept_[0] for each in models]) - weight @ mean
    return weight, bias
