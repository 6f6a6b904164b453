"""Leaks that files bring: an answer that stands in whether there is a value, in the size of a picture, in a file twice.

    check_presence({"report": there}, target, task="binary")     # only positive cases have a report

"refuse" where the class can be told from what is no content at all; names are "presence:COLUMN" and "copies:COLUMN".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Task
from deepseek.data.media.source import is_missing
from deepseek.data.split.findings import Finding
from deepseek.data.split.split import Split
from deepseek.extras import need

REFUSED_ACCURACY = 0.75  # balanced accuracy by presence alone from which it is refused, of two classes; .5 is chance
WARNED_ACCURACY = 0.6
MIN_ROWS = 20


def check_presence(presence: Mapping[str, NDArray[np.bool_]], target: NDArray[Any], *, task: Task) -> list[Finding]:
    """Findings on columns whose presence predicts the class. `presence` (N,) by column; `target` (N,) class numbers."""
    if task == "regression" or len(target) < MIN_ROWS:
        return []
    findings = []
    for name, is_present in presence.items():
        accuracy = balanced_accuracy(is_present, target)
        if accuracy < WARNED_ACCURACY:
            continue
        shares = [float(is_present[target == label].mean()) for label in np.unique(target)]
        classes = ", ".join(f"{share:.0%}" for share in shares[:10])
        findings.append(
            Finding(
                "refuse" if accuracy >= REFUSED_ACCURACY else "warn", f"presence:{name}",
                f"whether {name!r} is there tells the class (balanced accuracy {accuracy:.2f} by that alone; there in "
                f"{classes} of the rows of each class)",
                f"leave {name!r} out (--drop), or bring rows of every class that have it",
            )
        )  # fmt: skip
    return findings


def balanced_accuracy(is_present: NDArray[np.bool_], target: NDArray[Any]) -> float:
    """The balanced accuracy of the best guess of the class by one bit, scaled so that chance is .5 for any number of
    classes.

    >>> balanced_accuracy(np.array([True, True, False, False]), np.array([1, 1, 0, 0]))
    1.0
    """
    labels = np.unique(target)
    if len(labels) < 2 or is_present.all() or not is_present.any():
        return 0.5
    shares = np.array([is_present[target == label].mean() for label in labels])  # of each class, how often it is there
    mean = (shares.max() + (1 - shares.min())) / len(labels)  # one class is guessed where it is there, one where not
    chance = 1 / len(labels)
    best = 2 / len(labels)  # by one bit no more than two classes can be told
    return float(0.5 + 0.5 * (mean - chance) / (best - chance))


def content_free_auc(features: NDArray[Any], target: NDArray[Any], groups: NDArray[Any], *, seed: int = 0) -> float:
    """AUC of one of two classes by `features` (N, F) that are no content, such as the size of a picture: of rows out of
    five folds, no group on both sides. .5 is chance."""
    ensemble, metrics = need("sklearn.ensemble", extra="train"), need("sklearn.metrics", extra="train")
    selection = need("sklearn.model_selection", extra="train")
    model = ensemble.HistGradientBoostingClassifier(max_iter=60, max_depth=3, random_state=seed)
    probabilities = selection.cross_val_predict(
        model, features, target, groups=groups, cv=selection.GroupKFold(5), method="predict_proba"
    )
    return float(metrics.roc_auc_score(target, probabilities[:, 1]))


def check_copies(
    values: Mapping[str, Sequence[Any]], split: Split, *, root: Path | None, most_bytes: int = 2**20
) -> list[Finding]:
    """Files that stand in the training part and in the test part under different names. `values` (N,) by column."""
    findings = []
    for name, cells in values.items():
        fingerprints = [_file_fingerprint(cell, root, most_bytes) for cell in cells]
        train = {fingerprint for row in split.train.tolist() if (fingerprint := fingerprints[row]) is not None}
        same = [row for row in split.test.tolist() if fingerprints[row] in train]
        if not same:
            continue
        share = len(same) / len(split.test)
        findings.append(
            Finding(
                "refuse" if share > 0.2 else "warn", f"copies:{name}",
                f"{len(same)} of {len(split.test)} test rows ({share:.1%}) have a file in {name!r} that is also a "
                f"training row's, the first in row {same[0]}",
                "remove the copies, or split by group:COLUMN (the patient, the machine)",
            )
        )  # fmt: skip
    return findings


def _file_fingerprint(cell: Any, root: Path | None, most_bytes: int) -> bytes | None:
    """A digest of the first bytes and the size of a file. None for a missing value, a folder, a device, a path outside
    of `root`, or a file that cannot be read."""
    if is_missing(cell):
        return None
    if isinstance(cell, (bytes, bytearray)):
        return hashlib.blake2b(cell, digest_size=16).digest()
    if root is None or not isinstance(cell, str):
        return None
    try:
        path = (root / cell).resolve()
        if not path.is_file() or not path.is_relative_to(root.resolve()):  # told when it is opened
            return None
        with path.open("rb") as file:
            head = file.read(most_bytes)
        return hashlib.blake2b(head + str(path.stat().st_size).encode(), digest_size=16).digest()
    except (OSError, ValueError):
        return None
