"""A few hundred pictures and a net that was trained elsewhere: support vectors on what its middle says.

    margin = probe_margins(tower, pixels, labels, rows=train, asked=test)       # (A,) above 0: class 1

    pictures and their mirrored twins -> middle of the frozen net -> standardised -> support vectors; the answer is the
    mean of a picture and its twin

Where rows are few this beats a net that learns on (docs/log.md): it has two knobs, and neither needed to be turned.

Sources: support vector machine with a Gaussian kernel, Cortes and Vapnik 1995; that pictures of medicine take their use
from the earlier layers of a net of ImageNetConfig, Raghu et al. 2019 (Transfusion, arXiv 1902.07208).
Shapes: N pictures, C channels, A rows that are asked, D features.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.nn.pretrained_image import PretrainedImageEncoder

BATCH_IMAGES = 32  # pictures that the net looks at together
SVM_COST = 2.0  # of a picture on the wrong side; the kernel's width is the number of features


def probe_margins(
    tower: PretrainedImageEncoder, pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, rows: NDArray[np.int64],
    asked: NDArray[np.int64], mirror: bool = True,
) -> Float64:  # fmt: skip
    """Margins (A,) of the rows `asked`, learned on `rows`. pixels: (N, C, H, W); labels: (N,) 0 or 1.

    InputError where the rows to learn on have one class."""
    if len(np.unique(labels[rows])) < 2:
        raise InputError("the rows to learn on have one class", expected="two", fix="bring rows of the other class")
    scale = need("sklearn.preprocessing", extra="tabular").StandardScaler()
    machine = need("sklearn.svm", extra="tabular").SVC(C=SVM_COST, gamma="scale")
    views = [
        _extract_features(tower, pixels, rows, turned=turned) for turned in ((False, True) if mirror else (False,))
    ]
    machine.fit(scale.fit_transform(np.concatenate(views)), np.tile(labels[rows], len(views)))
    answers = [
        machine.decision_function(scale.transform(_extract_features(tower, pixels, asked, turned=turned)))
        for turned in ((False, True) if mirror else (False,))
    ]
    margin: Float64 = np.mean(answers, axis=0)
    return margin


def _extract_features(
    tower: PretrainedImageEncoder, pixels: NDArray[np.uint8], rows: NDArray[np.int64], *, turned: bool
) -> Float64:
    """(A, D) of pictures, or of their mirrored twins."""
    tower.eval()
    batches = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH_IMAGES):
            images = torch.from_numpy(np.ascontiguousarray(pixels[rows[start : start + BATCH_IMAGES]]))
            batches.append(tower.middle(images.flip(-1) if turned else images))
    told: Float64 = torch.cat(batches).double().numpy()
    return told
