"""Records of the study of CT slices: what leaks, the figures on test rows, and example records for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, JsonObject
from deepseek.data.split.findings import Finding

if TYPE_CHECKING:  # torch is imported where the recipe runs
    from deepseek.train.multimodal.align import Retrieval


@dataclass(frozen=True)
class ExampleRecord:
    """A test record with the associations of its words and regions."""

    row: int
    pixels: NDArray[np.uint8]  # (H, W)
    text: str
    spans: list[tuple[int, int]]  # start and end in `text` of each token after the first
    fit: float  # match score of text and slice, -1 to 1
    interaction: NDArray[np.float64]  # (L, h, w), as in nn.align.Association


@dataclass(frozen=True)
class Diagnosis:
    """Positive or not, from the slice alone; figures by name of the metric."""

    encoder: str  # name of the image net, or "small"
    test: Mapping[str, Figure]
    validation: Mapping[str, Figure]
    num_test: int  # rows
    threshold: float  # probability, chosen on validation rows
    accuracy_at_threshold: float  # on test rows, 0 to 1

    def to_dict(self) -> JsonObject:
        """The object "diagnosis" of the findings."""
        return {
            "test": _figures_to_dict(self.test), "num_test": self.num_test,
            "validation": _figures_to_dict(self.validation), "accuracy_at_threshold": self.accuracy_at_threshold,
            "threshold": self.threshold, "encoder": self.encoder,
        }  # fmt: skip


@dataclass(frozen=True)
class WithinPositive:
    """A question asked within the positive cases alone, answered from slice, report and both."""

    question: str
    num_train: int  # rows
    num_test: int
    auc: Mapping[str, Figure] = field(default_factory=dict)  # by source of the answer; empty where not possible

    def to_dict(self) -> JsonObject:
        """The object "within" of the findings."""
        return {
            "question": self.question, "num_train": self.num_train, "num_test": self.num_test,
            "auc": _figures_to_dict(self.auc),
        }  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """Everything that the study measured."""

    size_auc: float  # AUC of the class by the original image size alone
    presence: tuple[Finding, ...]  # columns whose presence tells the class
    diagnosis: Diagnosis
    retrieval: Mapping[str, Retrieval]  # by part of the split: "val", "test"
    within_positive: WithinPositive
    examples: Sequence[ExampleRecord] = field(default=(), repr=False)

    def to_dict(self) -> JsonObject:
        """The JSON object that the recipe prints, without the example records."""
        presence = [{"name": leak.name, "level": leak.level, "message": leak.message} for leak in self.presence]
        retrieval = {
            part: {"num_rows": scores.num_rows, "recall": scores.recall, "chance": scores.chance}
            for part, scores in self.retrieval.items()
        }
        return {
            "size_auc": self.size_auc, "presence": presence, "diagnosis": self.diagnosis.to_dict(),
            "retrieval": retrieval, "within": self.within_positive.to_dict(),
        }  # fmt: skip


def _figures_to_dict(figures: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    return {name: figure.to_dict() for name, figure in figures.items()}
