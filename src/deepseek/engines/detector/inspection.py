"""What is seen on a picture, whichever way it was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.nn.detector.boxes import BoxSet

Picture = NDArray[np.uint8]  # (C, H, W)


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What was seen on one picture."""

    boxes: BoxSet  # in pixels of the picture; all from least_score on
    score: float  # 0 to 1: how certainly the part is defective
    class_scores: Float32  # (K,) 0 to 1: how certainly the picture shows each class
    heat: Float32  # (h, w) 0 to 1: how certainly each cell is defective; the map spans the picture


class InspectionModel(Protocol):
    """One way to look at pictures."""

    def inspect(self, picture: Picture, reference: Picture | None = None) -> Inspection: ...
