"""What the study of records with CT slices has measured, as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.split.leaks import Finding


@dataclass(frozen=True)
class ExampleRecord:
    """A test record, and which of its words and regions need each other."""

    row: int
    pixels: NDArray[np.uint8]  # (H, W)
    text: str
    spans: list[tuple[int, int]]  # of the tokens behind the start
    fit: float
    together: NDArray[np.float64]  # (L, h, w), as nn.align.Association has it


@dataclass(frozen=True)
class Findings:
    """What came of it."""

    size_auc: float  # of the class by the original size alone
    presence: tuple[Finding, ...]
    diagnosis: Mapping[str, Any]  # figures on test rows
    retrieval: Mapping[str, Any]
    within: Mapping[str, Any]
    shown: Sequence[ExampleRecord] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the records."""
        presence = [{"name": each.name, "level": each.level, "message": each.message} for each in self.presence]
        return {
            "size_auc": self.size_auc, "presence": presence, "diagnosis": self.diagnosis,
            "retrieval": self.retrieval, "within": self.within,
        }  # fmt: skip
