"""Records of the study of CT slices: what leaks, the figures on test rows, and example records for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, JsonObject
from deepseek.data.split.findings import Finding
from deepseek.look import Text

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


_COLUMNS_ZH = {"image": "图像", "captions": "报告"}


@dataclass(frozen=True, slots=True)
class EncoderOrigin:
    """Where the weights of a column's encoder come from."""

    column: str
    encoder: str  # name of the net, or "small"
    file: str = ""  # name of the file or folder of its weights; "" where they began as random numbers
    digest: str = ""  # sha256 of the files of weights
    is_trained: bool = True  # whether it learned on the study's training rows
    seed: int = 0  # of the random numbers

    def sentence(self) -> Text:
        """The origin in words."""
        column_zh = _COLUMNS_ZH.get(self.column, self.column)
        if not self.file:
            return Text(
                f"{self.column}: a {self.encoder} encoder that began with random weights (seed {self.seed}) and "
                "learned from the training rows of this study alone",
                f"{column_zh}：小型编码器，从随机权重（种子 {self.seed}）开始，仅从本研究的训练行学习",
            )
        how, how_zh = ("trained further here", "在此继续训练") if self.is_trained else ("frozen", "冻结")
        return Text(
            f"{self.column}: {self.encoder}, weights of the file {self.file} (sha256 {self.digest[:12]}), {how}",
            f"{column_zh}：{self.encoder}，权重来自文件 {self.file}（sha256 {self.digest[:12]}），{how_zh}",
        )

    def to_dict(self) -> JsonObject:
        """One entry of "weights" of the findings."""
        return {
            "column": self.column, "encoder": self.encoder, "origin": "file" if self.file else "random",
            "file": self.file or None, "digest": self.digest or None, "trained": self.is_trained,
            "seed": None if self.file else self.seed, "text": self.sentence().en,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class StudyCost:
    """What a study took."""

    cpu_s: float  # of all threads
    budget_s: float | None = None
    epochs: Mapping[str, int] = field(default_factory=dict)  # by training; "nets": how many nets diagnose

    def to_dict(self) -> JsonObject:
        """Entries "cpu_s", "budget_s" and "epochs" of the findings."""
        return {"cpu_s": self.cpu_s, "budget_s": self.budget_s, "epochs": dict(self.epochs)}


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
    weights: tuple[EncoderOrigin, ...] = ()
    cost: StudyCost = field(default_factory=lambda: StudyCost(0.0))
    warnings: tuple[str, ...] = ()

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
            "weights": [origin.to_dict() for origin in self.weights], **self.cost.to_dict(),
            "warnings": list(self.warnings),
        }  # fmt: skip


def _figures_to_dict(figures: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    return {name: figure.to_dict() for name, figure in figures.items()}
