"""What to label next: first what is typical of each region, then what makes the model most certain of all items.

Few labels. The items are clustered in as many groups as there will be labels, and of the largest groups without one the
most typical item is asked (TypiClust: Hacohen, Dekel and Weinshall 2022). A model of so few labels is sure and wrong;
what it is unsure of would be outliers.

More labels. Among ten times as many items a batch is chosen that makes the model most certain of all items together
(variance.py): each of it is unsure itself, tells of many others, and tells something else than the rest of the batch.
Classes that are rare so far lie in regions of their own and are found with the rest; copies were left out. The ten
times as many are those of the smallest margins. How strongly the model is held back, and how far its margins are
believed, is what suits labels best that it has not seen: a model that is free to explain every one of a few labels is
sure of much that it does not know.

What is tested on never comes here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.label.choose.learner import fit_held_out, fit_learner
from deepseek.automl.label.choose.variance import choose_informative
from deepseek.contracts import Float64
from deepseek.extras import need

COLD_LABELS_PER_CLASS = 2  # below so many labels for each class, items are asked that are typical
MOST_CLUSTERS = 500
NUM_NEIGHBORS = 20
CANDIDATES_PER_CHOICE = 10  # a batch is chosen among so many times its size


@dataclass(frozen=True, slots=True)
class Choice:
    """One item of a batch, the most wanted first."""

    row: int
    score: float
    reason: Literal["uncertain", "typical"]


def choose_batch(
    dense: Float64, labeled: NDArray[np.int64], target: NDArray[np.int64], pool: NDArray[np.int64], num: int,
    num_classes: int, seed: int,
) -> list[Choice]:  # fmt: skip
    """`num` rows of `pool`, or all of it where there are fewer. `dense` (N, D) are the numbers of all items; `labeled`
    (L,) their rows with a label, `target` (L,) the classes of these; `pool` the rows that may be asked."""
    num = min(num, len(pool))
    if not num:
        return []
    is_cold = len(labeled) < COLD_LABELS_PER_CLASS * num_classes or len(np.unique(target)) < 2
    if is_cold:
        return choose_typical(dense, labeled, pool, num, seed)
    fit = fit_held_out(dense[labeled], target, num_classes, seed)
    learner = fit_learner(dense[labeled], target, np.ones(len(labeled)), num_classes, fit.strength)
    return choose_unsure(dense, learner.probabilities(dense, fit.slope), labeled, pool, num, fit.strength)


def choose_typical(
    dense: Float64, labeled: NDArray[np.int64], pool: NDArray[np.int64], num: int, seed: int
) -> list[Choice]:
    """The most typical items of the largest clusters without a label."""
    cluster = need("sklearn.cluster", extra="tabular")
    limits = need("threadpoolctl", extra="tabular").threadpool_limits
    rows = np.concatenate([labeled, pool])
    points = _unit_rows(dense[rows])
    num_clusters = min(len(labeled) + num, MOST_CLUSTERS, len(rows))
    with limits(1):
        model = cluster.MiniBatchKMeans(num_clusters, random_state=seed, n_init=1, batch_size=2048).fit(points)
    of_row = model.labels_
    covered = np.bincount(of_row[: len(labeled)], minlength=num_clusters)
    sizes = np.bincount(of_row, minlength=num_clusters)
    chosen: list[Choice] = []
    left = {
        int(each): _by_typicality(points, np.flatnonzero(of_row == each), len(labeled)) for each in range(num_clusters)
    }
    while len(chosen) < num:
        best = min((each for each in left if left[each]), key=lambda each: (covered[each], -sizes[each], each))
        place, typicality = left[best].pop(0)
        covered[best] += 1
        chosen.append(Choice(int(rows[place]), typicality, "typical"))
    return chosen


def _by_typicality(points: Float64, members: NDArray[np.int64], num_labeled: int) -> list[tuple[int, float]]:
    """The members of a cluster that have no label, the most typical first: by the inverse of the mean distance to their
    neighbors within the cluster."""
    if not len(members):
        return []
    if len(members) > 2_000:  # of a large cluster the middle is looked at, not every pair
        middle = points[members].mean(axis=0)
        members = members[np.argsort(np.square(points[members] - middle).sum(axis=1), kind="stable")[:2_000]]
    own = points[members]
    squares = np.square(own).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * own @ own.T, 0))
    num_near = min(NUM_NEIGHBORS, len(members) - 1)
    mean = np.sort(distances, axis=1)[:, 1 : num_near + 1].mean(axis=1) if num_near else np.ones(len(members))
    order = np.argsort(mean, kind="stable")
    return [(int(members[each]), float(1 / (1 + mean[each]))) for each in order if members[each] >= num_labeled]


def choose_unsure(
    dense: Float64, probabilities: Float64, labeled: NDArray[np.int64], pool: NDArray[np.int64], num: int,
    strength: float,
) -> list[Choice]:  # fmt: skip
    """Items of small margins that tell most of all others. `probabilities` (N, C) of the rows of `dense` (N, D), by a
    learner with the inverse regularization `strength`."""
    top = np.sort(probabilities[pool], axis=1)[:, -2:]
    margin = top[:, 1] - top[:, 0]
    near = np.argsort(margin, kind="stable")[: CANDIDATES_PER_CHOICE * num]
    places = choose_informative(dense, probabilities, labeled, pool[near], num, strength=strength)
    return [Choice(int(pool[near[place]]), float(1 - margin[near[place]]), "uncertain") for place in places]


def _unit_rows(points: Float64) -> Float64:
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.where(length > 0, length, 1))
