"""Which pictures judge and set the threshold: those that the labels keep back, else a share of each class by chance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from deepseek.data.labels.labeled_picture import LabelSet
from deepseek.errors import InputError

FEW_EXAMPLES = 5  # pictures of a class with fewer teach little, and judge nothing
LEAST_PICTURES = 4


@dataclass(frozen=True, slots=True, eq=False)
class LabelSplit:
    """Two parts of a label set, with the classes of the whole."""

    train: LabelSet
    held: LabelSet
    warnings: tuple[str, ...]


def split_labels(labels: LabelSet, *, held_share: float, seed: int) -> LabelSplit:
    """InputError where there is no box at all or nothing to hold back. A class with a single picture trains only; one
    with few is warned of."""
    if not labels.num_boxes:
        raise InputError(
            f"the labels of {len(labels.pictures)} pictures hold no box",
            expected="boxes around some defects",
            fix="label some, or leave --labels out: then what is unlike these good parts is looked for",
        )
    if len(labels.pictures) < LEAST_PICTURES:
        raise InputError(
            f"there are {len(labels.pictures)} pictures",
            expected=f"{LEAST_PICTURES} or more",
            fix="label more pictures",
        )
    held = set(labels.held_places())
    if not held or len(held) == len(labels.pictures):
        held = _draw(labels, held_share, seed)
    train = [place for place in range(len(labels.pictures)) if place not in held]
    split = LabelSplit(labels.take(train), labels.take(sorted(held)), ())
    if not split.train.num_boxes:
        raise InputError(
            "no picture to train on has a box", expected="boxes among the training pictures",
            fix="keep fewer of the labelled pictures back",
        )  # fmt: skip
    return LabelSplit(split.train, split.held, tuple(_warnings(split)))


def _draw(labels: LabelSet, share: float, seed: int) -> set[int]:
    """A share of the pictures of each class, at least one where there are two."""
    rng = np.random.default_rng(seed)
    by_class: dict[str, list[int]] = {}
    for place, picture in enumerate(labels.pictures):
        by_class.setdefault(picture.picture_class, []).append(place)
    held: set[int] = set()
    for places in by_class.values():
        count = 0 if len(places) < 2 else min(len(places) - 1, max(1, round(share * len(places))))
        held |= set(rng.permutation(places)[:count].tolist())
    return held


def _warnings(split: LabelSplit) -> list[str]:
    counts = Counter(name for picture in split.train.pictures for name in set(picture.classes))
    held = Counter(name for picture in split.held.pictures for name in set(picture.classes))
    warnings = [
        f"the class {name!r} has {counts[name]} pictures to learn from and {held[name]} that judge: "
        "its figures mean little"
        for name in split.train.classes
        if counts[name] < FEW_EXAMPLES or not held[name]
    ]
    if not any(not picture.is_defective for picture in split.held.pictures):
        warnings.append("no held picture is free of defects: the rate of false alarms is not known")
    return warnings
