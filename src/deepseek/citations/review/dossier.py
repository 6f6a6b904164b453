"""A reviewed document with all that belongs to it: what changed since another version, who decided what, provenance.

It is what --json prints, what the page shows, and what is signed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from deepseek.bundle import Bundle, now
from deepseek.citations.documents import Definition, Reference, find_definitions, resolve_references
from deepseek.citations.review.decisions import DecisionLog
from deepseek.citations.review.findings import ReviewReport
from deepseek.citations.review.versions import Comparison
from deepseek.contracts import JsonObject
from deepseek.explain.report.document import installed_versions
from deepseek.results import Result

_PACKAGES = (
    "deepseek",
    "numpy",
    "scikit-learn",
    "xgboost-cpu",
    "xgboost",
    "openvino",
    "pypdfium2",
    "python-docx",
    "lxml",
)


@dataclass(frozen=True, slots=True)
class ReviewProvenance:
    """What is needed to make a review again."""

    bundle: str
    digest: str
    created: str  # of the bundle
    judge: str
    date: str
    command: str
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, bundle: Bundle, judge: str, command: str) -> ReviewProvenance:
        """Of a review that is made now."""
        versions = tuple(sorted(installed_versions(_PACKAGES).items()))
        return cls(bundle.manifest.name, bundle.digest, bundle.manifest.created, judge, now(), command, versions)

    def to_dict(self) -> JsonObject:
        """As JSON."""
        return {**asdict(self), "versions": dict(self.versions)}


@dataclass(frozen=True, slots=True, eq=False)
class ReviewDossier(Result):
    """The report and what was added to it."""

    report: ReviewReport
    provenance: ReviewProvenance
    comparison: Comparison | None = None
    decisions: DecisionLog | None = None

    def references(self) -> Sequence[Reference]:
        """Places of the document that name a clause which it has not."""
        return [each for each in resolve_references(self.report.document) if each.target is None]

    def definitions(self) -> Sequence[Definition]:
        """The terms that the document defines."""
        return find_definitions(self.report.document)

    def to_dict(self) -> JsonObject:
        return {
            **self.report.to_dict(),
            "unresolved_references": [asdict(each) for each in self.references()],
            "definitions": [asdict(each) for each in self.definitions()],
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "decisions": None if self.decisions is None else self.decisions.to_dict(),
            "provenance": self.provenance.to_dict(),
        }

    def summary(self) -> str:
        return self.report.summary()


def read_share(report: ReviewReport) -> tuple[int, float]:
    """How many clauses may speak of a line, and their share of all letters."""
    named: Mapping[int, bool] = {item.clause: bool(item.lines) for item in report.reading}
    letters = sum(len(item.text) for item in report.reading)
    chosen = sum(len(item.text) for item in report.reading if named[item.clause])
    return sum(named.values()), chosen / letters if letters else 0.0
