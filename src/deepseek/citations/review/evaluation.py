"""How good a model is on documents that people have reviewed, with intervals over documents.

figures = evaluate_model(model, labelled)
figures.metrics["accuracy"].value
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.review.findings import line_risks
from deepseek.citations.review.labels import LabelledDocument
from deepseek.citations.review.model import ReviewModel
from deepseek.contracts import Float64, JsonObject
from deepseek.look.summary import Figures, figure_table, render_text
from deepseek.results import Result

NUM_DRAWS, LEVEL = 200, 0.95
#: The share of the findings' clauses that a reader of the reading list must have seen.
READ_SHARE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class JudgedDocument:
    """What a model says of a document, and what is true: H lines, N passages."""

    states: NDArray[np.int64]  # (H,)
    truth: NDArray[np.int64]  # (H,)
    wanted: NDArray[np.bool_]  # (H,): whether the state 1 is what should be
    passages: Float64  # (N, H): probabilities to be evidence
    evidence: NDArray[np.int64]  # (N, H)
    letters: NDArray[np.int64]  # (N,) of each passage
    weights: Float64  # (H,) of each line in the reading list


@dataclass(frozen=True, slots=True, eq=False)
class ReviewFigures(Result):
    """Figures by name."""

    num_documents: int
    num_lines: int
    metrics: dict[str, Figures]

    def to_dict(self) -> JsonObject:
        return {
            "num_rows": self.num_documents, "num_lines": self.num_lines,
            "metrics": {name: dict(figure) for name, figure in self.metrics.items()},
        }  # fmt: skip

    def summary(self) -> str:
        return render_text(figure_table(self.metrics, {}))


def evaluate_model(model: ReviewModel, labelled: Sequence[LabelledDocument]) -> ReviewFigures:
    """Accuracy of the verdicts, precision and recall of the findings, mean average precision of the evidence, and the
    share of the text to read for READ_SHARE of the clauses that are findings; a figure that has no example is left
    out."""
    judged = [judge_document(model, each) for each in labelled]
    metrics: dict[str, Figures] = {}
    for name, measure in MEASURES.items():
        value = measure(judged)
        if value is not None:
            low, high = _interval(measure, judged)
            metrics[name] = {"value": value, "low": low, "high": high}
    return ReviewFigures(len(labelled), len(model.checklist.lines), metrics)


def judge_document(model: ReviewModel, labelled: LabelledDocument) -> JudgedDocument:
    """Both sides of one document."""
    answers = model.answers(labelled.passages)
    lines = model.checklist.lines
    return JudgedDocument(
        np.array([int(answer.probabilities.argmax()) for answer in answers]), labelled.labels,
        np.array([line.expect == "present" for line in lines]),
        np.stack([answer.passages for answer in answers], axis=1), labelled.evidence,
        np.array([len(passage.text) for passage in labelled.passages]),
        line_risks(model.checklist, answers),
    )  # fmt: skip


def accuracy(judged: Sequence[JudgedDocument]) -> float | None:
    """Of the states of all lines."""
    return float(np.mean(np.concatenate([each.states == each.truth for each in judged])))


def finding_recall(judged: Sequence[JudgedDocument]) -> float | None:
    """The share of the findings that are told."""
    said, true = _findings(judged)
    return float((said & true).sum() / true.sum()) if true.any() else None


def finding_precision(judged: Sequence[JudgedDocument]) -> float | None:
    """The share of what is told that is a finding."""
    said, true = _findings(judged)
    return float((said & true).sum() / said.sum()) if said.any() else None


def evidence_map(judged: Sequence[JudgedDocument]) -> float | None:
    """Mean average precision of the passages, over pairs of a document and a line with evidence."""
    precisions = []
    for each in judged:
        order = np.argsort(-each.passages, axis=0, kind="stable")
        relevant = np.take_along_axis(each.evidence, order, axis=0) > 0
        for column in relevant.T:
            precisions += [_average_precision(column)] if column.any() else []
    return float(np.mean(precisions)) if precisions else None


def _average_precision(relevant: NDArray[np.bool_]) -> float:
    """Of passages (N,) in their order, of which at least one is relevant."""
    return float((np.cumsum(relevant) / np.arange(1, len(relevant) + 1))[relevant].mean())


def letters_share(judged: Sequence[JudgedDocument]) -> float | None:
    """The share of all letters that is read in the order of the reading list; see share_to_read()."""
    return share_to_read(judged, [each.letters for each in judged])


def passages_share(judged: Sequence[JudgedDocument]) -> float | None:
    """The share of all passages that is read in the order of the reading list; see share_to_read()."""
    return share_to_read(judged, [np.ones_like(each.letters) for each in judged])


def share_to_read(judged: Sequence[JudgedDocument], sizes: Sequence[NDArray[np.int64]]) -> float | None:
    """The share of all text, by the sizes (N,) of passages, that is read, the riskiest passage first, until READ_SHARE
    of the passages that make a finding have been seen: a line that should be there is denied, or one that should not be
    there is said. None without such a passage."""
    risk = np.concatenate([(each.passages * each.weights).max(axis=1) for each in judged])
    against = [np.where(each.wanted[None, :], each.evidence == 2, each.evidence == 1).any(axis=1) for each in judged]
    order = np.argsort(-risk, kind="stable")
    seen, size = np.cumsum(np.concatenate(against)[order]), np.concatenate(list(sizes))[order]
    if not seen[-1]:
        return None
    last = int(np.argmax(seen >= READ_SHARE * seen[-1]))
    return float(size[: last + 1].sum() / size.sum())


MEASURES: dict[str, Callable[[Sequence[JudgedDocument]], float | None]] = {
    "accuracy": accuracy, "finding_recall": finding_recall, "finding_precision": finding_precision,
    "evidence_map": evidence_map, "letters_to_read": letters_share, "passages_to_read": passages_share,
}  # fmt: skip


def _findings(judged: Sequence[JudgedDocument]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each line of each document is told as a finding, and whether it is one."""
    said = [np.where(each.wanted, each.states != 1, each.states == 1) for each in judged]
    true = [np.where(each.wanted, each.truth != 1, each.truth == 1) for each in judged]
    return np.concatenate(said), np.concatenate(true)


def _interval(
    measure: Callable[[Sequence[JudgedDocument]], float | None], judged: Sequence[JudgedDocument]
) -> tuple[float, float]:
    """Percentiles over documents drawn with replacement."""
    draw = np.random.default_rng(0)
    values = []
    for _ in range(NUM_DRAWS):
        value = measure([judged[index] for index in draw.integers(0, len(judged), len(judged)).tolist()])
        values += [] if value is None else [value]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
