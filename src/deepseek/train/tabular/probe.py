"""A few hundred images and a pretrained encoder: support vectors on the features of its middle layer.

    margin = probe_margins(tower, pixels, labels, rows=train, query_rows=test)       # (A,) above 0: class 1

    images and their mirrored twins -> middle of the frozen net -> standardized -> support vectors; the margin is the
    mean of an image and its twin

Where rows are few this beats a net that learns on (docs/log.md): it has two settings, and neither needed to be turned.

Sources: support vector machine with a Gaussian kernel, Cortes and Vapnik 1995; that images of medicine take their use
from the earlier layers of a net of ImageNetConfig, Raghu et al. 2019 (Transfusion, arXiv 1902.07208).
Shapes: N images, C channels, A query rows, D features.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.nn.pretrained_image import PretrainedImageEncoder

BATCH_IMAGES = 32  # images that the net reads together
SVM_COST = 2.0  # of an image on the wrong side; the kernel's width is the number of features


def probe_margins(
    tower: PretrainedImageEncoder, pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, rows: NDArray[np.int64],
    query_rows: NDArray[np.int64], mirror: bool = True, progress: Callable[[float], None] | None = None,
) -> Float64:  # fmt: skip
    """Margins (A,) of `query_rows`, learned on `rows`. pixels: (N, C, H, W); labels: (N,) 0 or 1.
    progress: called with the share of the images that the net has read, 0 to 1.

    InputError where the rows to learn on have one class."""
    if len(np.unique(labels[rows])) < 2:
        raise InputError("the rows to learn on have one class", expected="two", fix="bring rows of the other class")
    scale = need("sklearn.preprocessing", extra="tabular").StandardScaler()
    machine = need("sklearn.svm", extra="tabular").SVC(C=SVM_COST, gamma="scale")
    flips = (False, True) if mirror else (False,)
    num_images, num_read = len(flips) * (len(rows) + len(query_rows)), 0

    def note_images(num: int) -> None:
        nonlocal num_read
        num_read += num
        if progress is not None:
            progress(num_read / num_images)

    views = [_extract_features(tower, pixels, rows, note_images, is_flipped=flip) for flip in flips]
    machine.fit(scale.fit_transform(np.concatenate(views)), np.tile(labels[rows], len(views)))
    queries = [_extract_features(tower, pixels, query_rows, note_images, is_flipped=flip) for flip in flips]
    answers = [machine.decision_function(scale.transform(features)) for features in queries]
    margin: Float64 = np.mean(answers, axis=0)
    return margin


def _extract_features(
    tower: PretrainedImageEncoder, pixels: NDArray[np.uint8], rows: NDArray[np.int64],
    note_images: Callable[[int], None], *, is_flipped: bool,
) -> Float64:  # fmt: skip
    """Features (A, D) of images, or of their mirrored twins, as the middle of the frozen encoder gives them."""
    tower.eval()
    batches = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH_IMAGES):
            images = torch.from_numpy(np.ascontiguousarray(pixels[rows[start : start + BATCH_IMAGES]]))
            batches.append(tower.middle(images.flip(-1) if is_flipped else images))
            note_images(len(images))
    features: Float64 = torch.cat(batches).double().numpy()
    return features
