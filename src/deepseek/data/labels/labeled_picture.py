"""A picture with its boxes, and a set of such."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deepseek.contracts import Float32

HELD_PARTS = frozenset(("test", "val", "valid", "validation", "held", "holdout"))


def no_boxes() -> Float32:
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class LabeledPicture:
    """One picture and what a person has marked on it."""

    file: str  # below the folder of pictures, with / between names
    width_px: int
    height_px: int
    boxes: Float32 = field(default_factory=no_boxes)  # (N, 4) left, top, right, bottom in pixels
    classes: tuple[str, ...] = ()  # (N,)
    part: str = ""  # train, test, ... as the labels say; "" where they do not
    is_listed: bool = True  # whether the labels name it; one that they do not name counts as free of defects

    @property
    def is_defective(self) -> bool:
        return bool(self.classes)

    @property
    def picture_class(self) -> str:
        """The class of most of its boxes, the larger area where two have as many; "" without boxes."""
        if not self.classes:
            return ""
        area = (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])
        counts = Counter(self.classes)
        return max(sorted(counts), key=lambda name: (counts[name], self._area_of(name, area)))

    def _area_of(self, name: str, area: Float32) -> float:
        return float(sum(each for each, other in zip(area, self.classes, strict=True) if other == name))


@dataclass(frozen=True, slots=True, eq=False)
class LabelSet:
    """Pictures with their labels, in the order of their names."""

    pictures: tuple[LabeledPicture, ...]
    classes: tuple[str, ...]  # sorted
    warnings: tuple[str, ...] = ()

    @property
    def num_boxes(self) -> int:
        return sum(len(picture.classes) for picture in self.pictures)

    def take(self, places: Sequence[int]) -> LabelSet:
        """The pictures at these places; the classes stay those of the whole set."""
        return replace(self, pictures=tuple(self.pictures[place] for place in places))

    def held_places(self) -> list[int]:
        """Places of the pictures that the labels themselves keep from training (part: test, val, ...)."""
        return [place for place, picture in enumerate(self.pictures) if picture.part.lower() in HELD_PARTS]

    def class_numbers(self, place: int) -> list[int]:
        """The classes of a picture's boxes as places in `classes`."""
        return [self.classes.index(name) for name in self.pictures[place].classes]
