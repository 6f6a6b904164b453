"""What a grading says: each check with its words, and the score."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.contracts import JsonObject
from deepseek.look.words import Text
from deepseek.results import Result


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What became of one check."""

    id: str
    title: Text
    weight: int
    is_essential: bool
    mistake: Text | None  # None: it holds
    code: str  # of the mistake; "" where there is none
    num_runs: int  # 2: it did not hold at first, and was run again on other inputs
    seconds: float

    @property
    def is_passed(self) -> bool:
        return self.mistake is None

    def to_dict(self) -> JsonObject:
        return {
            "id": self.id, "title": self.title._asdict(), "weight": self.weight, "essential": self.is_essential,
            "passed": self.is_passed, "mistake": self.mistake and self.mistake._asdict(), "code": self.code,
            "num_runs": self.num_runs, "seconds": self.seconds,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Grade(Result):
    """What a learner's folder is worth."""

    lab: str
    digest: str  # of the lab, and so of its checks
    checks: tuple[CheckResult, ...]
    pass_score: int
    changed_data: tuple[str, ...] = ()  # files of data that were changed; the grading took what they were

    @property
    def score(self) -> int:
        return sum(check.weight for check in self.checks if check.is_passed)

    @property
    def is_passed(self) -> bool:
        """Whether the score suffices and nothing essential is missing."""
        return self.score >= self.pass_score and all(c.is_passed for c in self.checks if c.is_essential)

    @property
    def seconds(self) -> float:
        return round(sum(check.seconds for check in self.checks), 3)

    @property
    def first_failed(self) -> CheckResult | None:
        return next((check for check in self.checks if not check.is_passed), None)

    def to_dict(self) -> JsonObject:
        return {
            "lab": self.lab, "passed": self.is_passed, "score": self.score, "pass_score": self.pass_score,
            "checks": [check.to_dict() for check in self.checks], "changed_data": list(self.changed_data),
            "seconds": self.seconds, "digest": self.digest,
        }  # fmt: skip

    def summary(self) -> str:
        verdict = "passed" if self.is_passed else "not passed yet"
        return f"{self.lab}: {verdict}, {self.score} of 100 points"
