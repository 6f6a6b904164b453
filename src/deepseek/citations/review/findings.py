"""A document judged by a model: what each line is, where it stands, what to read first.

    report = review_document(model, read_document(path))
    report.findings[0].verdict, report.findings[0].evidence[0].page     # "breaks", 3

Every verdict has the clauses that it rests on, word for word with their places, and the probability that it is right.
A line that is not there is a finding where it should be. The reading list has the clauses by what may be lost in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np

from deepseek.citations.documents import Document
from deepseek.citations.review.lines import RISK_WEIGHTS, Checklist, ChecklistLine
from deepseek.citations.review.passages import Passage, split_passages
from deepseek.contracts import Float64, JsonObject
from deepseek.results import Result

Verdict = Literal["holds", "breaks", "not there"]
Basis = Literal["trained", "retrieval"]
NUM_EVIDENCE = 3
#: A passage below this probability is no evidence; the best one is shown as the nearest where none is above it.
MIN_EVIDENCE = 0.5
MIN_UNMET = 0.1  # what a line counts in the reading list however surely it is met
#: What a document that says nothing of a line, says it, or says the opposite, makes of it.
VERDICTS: dict[str, tuple[Verdict, Verdict, Verdict]] = {
    "present": ("not there", "holds", "breaks"), "absent": ("not there", "breaks", "holds"),
}  # fmt: skip
UNSURE = 0.75  # a verdict that is less sure than this needs a person
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class LineAnswer:
    """What a model says of one line."""

    probabilities: Float64  # (3,): the document says nothing of it, says it, says the opposite
    passages: Float64  # (N,): the probability of each passage to be its evidence
    basis: Basis


class Reviewer(Protocol):
    """Whatever judges a document by a checklist."""

    @property
    def checklist(self) -> Checklist:
        """Its lines."""
        ...

    @property
    def name(self) -> str:
        """What judges, in a word."""
        ...

    def answers(self, passages: Sequence[Passage]) -> list[LineAnswer]:
        """One for each line. InputError without a passage."""
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """Words of a document, and where they stand."""

    quote: str
    start: int
    end: int
    number: str  # of the clause
    heading: str
    page: int | None
    box: tuple[float, float, float, float] | None  # points from the upper left corner of the page
    clause: int  # its index
    probability: float  # that it is evidence

    @property
    def is_nearest(self) -> bool:
        """Whether it is only the nearest: it does not speak of the line, as far as the model can tell."""
        return self.probability < MIN_EVIDENCE


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the checklist on one document."""

    line: ChecklistLine
    verdict: Verdict
    probability: float  # that the verdict is right
    is_finding: bool  # whether it should be otherwise
    basis: Basis
    evidence: tuple[Evidence, ...]  # the likeliest first; of a line that is not there the nearest clause
    risk: float  # the probability that the line is not met, times the weight of its risk

    @property
    def needs_a_look(self) -> bool:
        """Whether a person should decide: it is a finding, it is unsure, or nobody trained it."""
        return self.is_finding or self.probability < UNSURE or self.basis == "retrieval"

    def to_dict(self) -> JsonObject:
        """As JSON."""
        return {
            "id": self.line.id, "title": self.line.name, "text": self.line.text, "expect": self.line.expect,
            "risk": self.line.risk, "verdict": self.verdict, "probability": self.probability,
            "is_finding": self.is_finding, "basis": self.basis, "risk_score": self.risk,
            "origin": dict(self.line.origin),
            "evidence": [{**asdict(each), "is_nearest": each.is_nearest} for each in self.evidence],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadingItem:
    """One clause of the reading list."""

    clause: int
    number: str
    heading: str
    page: int | None
    text: str
    risk: float
    lines: tuple[str, ...]  # ids of the lines that it may be evidence of, the riskiest first


@dataclass(frozen=True, slots=True, eq=False)
class ReviewReport(Result):
    """Everything that is known of one document by one checklist."""

    document: Document
    sha256: str
    checklist: Checklist
    findings: tuple[Finding, ...]  # in the order of the checklist
    reading: tuple[ReadingItem, ...]  # the riskiest first
    judge: str

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """What should be otherwise, the riskiest first."""
        return tuple(sorted((each for each in self.findings if each.is_finding), key=lambda each: -each.risk))

    def count(self, verdict: Verdict) -> int:
        """How many lines have a verdict."""
        return sum(finding.verdict == verdict for finding in self.findings)

    @property
    def num_missing(self) -> int:
        """Lines that should be there and are not."""
        return sum(finding.is_finding and finding.verdict == "not there" for finding in self.findings)

    def to_dict(self) -> JsonObject:
        return {
            "schema": SCHEMA_VERSION,
            "document": {
                "name": self.document.source, "title": self.document.title, "sha256": self.sha256,
                "num_clauses": len(self.document.clauses), "num_letters": len(self.document.text),
                "notes": list(self.document.notes),
            },
            "checklist": {"name": self.checklist.name, "num_lines": len(self.checklist.lines)},
            "judge": self.judge, "num_findings": len(self.open_findings), "num_missing": self.num_missing,
            "findings": [finding.to_dict() for finding in self.findings],
            "reading": [{**asdict(item), "lines": list(item.lines)} for item in self.reading],
        }  # fmt: skip

    def summary(self) -> str:
        broken, missing = self.count("breaks"), self.num_missing
        return (
            f"{self.document.source}: {len(self.open_findings)} of {len(self.findings)} lines are findings "
            f"({broken} broken, {missing} missing); {len(self.document.clauses)} clauses"
        )


def review_document(model: Reviewer, document: Document, *, sha256: str = "") -> ReviewReport:
    """Judge a document. InputError for one without a passage."""
    passages = split_passages(document)
    answers = model.answers(passages)
    findings = tuple(
        _finding(line, answer, passages, document) for line, answer in zip(model.checklist.lines, answers, strict=True)
    )
    return ReviewReport(
        document,
        sha256,
        model.checklist,
        findings,
        reading_list(model.checklist, answers, passages, document),
        model.name,
    )


def _finding(line: ChecklistLine, answer: LineAnswer, passages: Sequence[Passage], document: Document) -> Finding:
    state = int(answer.probabilities.argmax())
    verdict, is_finding = VERDICTS[line.expect][state], (state == 1) == (line.expect == "absent")
    order = np.argsort(-answer.passages, kind="stable")[:NUM_EVIDENCE].tolist()
    chosen = [index for index in order if answer.passages[index] >= MIN_EVIDENCE] or order[:1]
    if state == 0 or answer.basis == "retrieval":
        chosen = order[:1]
    evidence = tuple(_evidence(passages[index], float(answer.passages[index]), document) for index in chosen)
    return Finding(
        line, verdict, float(answer.probabilities[state]), is_finding, answer.basis, evidence,
        RISK_WEIGHTS[line.risk] * unmet_probability(line, answer),
    )  # fmt: skip


def _evidence(passage: Passage, probability: float, document: Document) -> Evidence:
    clause = document.clauses[passage.clause]
    number = clause.number or clause.parent or ""
    return Evidence(
        passage.text, passage.start, passage.end, number, clause.heading, clause.page, clause.box, passage.clause,
        probability,
    )  # fmt: skip


def line_risks(checklist: Checklist, answers: Sequence[LineAnswer]) -> Float64:
    """What each line weighs (H,) in the reading list: its risk, times the probability that it is not met. A clause that
    seems to meet a line is read late, but before one that speaks of none."""
    return np.array([
        RISK_WEIGHTS[line.risk] * max(unmet_probability(line, answer), MIN_UNMET)
        for line, answer in zip(checklist.lines, answers, strict=True)
    ])  # fmt: skip


def unmet_probability(line: ChecklistLine, answer: LineAnswer) -> float:
    """That the document does not say what it should, or says what it should not."""
    nothing, says, denies = answer.probabilities.tolist()
    return float(nothing + denies if line.expect == "present" else says)


def reading_list(
    checklist: Checklist, answers: Sequence[LineAnswer], passages: Sequence[Passage], document: Document
) -> tuple[ReadingItem, ...]:
    """All clauses, those first in which most may be lost: the largest probability to be evidence of a line, times what
    the line weighs."""
    weights = line_risks(checklist, answers)
    evidence = np.zeros((len(document.clauses), len(weights)))
    owner = np.array([passage.clause for passage in passages])
    np.maximum.at(evidence, owner, np.stack([answer.passages for answer in answers], axis=1))
    risk = (evidence * weights).max(axis=1)
    items = []
    for index in np.argsort(-risk, kind="stable").tolist():
        clause = document.clauses[index]
        order = np.argsort(-evidence[index] * weights, kind="stable").tolist()
        items.append(
            ReadingItem(
                index, clause.number or clause.parent or "", clause.heading, clause.page, clause.text,
                float(risk[index]),
                tuple(checklist.lines[line].id for line in order if evidence[index, line] >= MIN_EVIDENCE),
            )
        )  # fmt: skip
    return tuple(items)


def finding_rows(report: ReviewReport) -> list[tuple[Any, ...]]:
    """What the terminal shows of each line: verdict, how sure, risk, line, place."""
    rows = []
    for finding in sorted(report.findings, key=lambda each: (not each.is_finding, -each.risk)):
        place = finding.evidence[0] if finding.evidence and finding.verdict != "not there" else None
        where = "" if place is None else (place.number or place.heading) + (f", p. {place.page}" if place.page else "")
        sure = f"{100 * finding.probability:.0f} %" + (" (untrained)" if finding.basis == "retrieval" else "")
        rows.append((finding.verdict, sure, finding.line.risk, finding.line.name, where))
    return rows
