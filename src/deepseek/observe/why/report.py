"""What a page, a terminal and --json say of findings: one object, made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepseek.contracts import JsonObject
from deepseek.look import Text
from deepseek.observe.reading.tables import Logs
from deepseek.observe.reading.words import reading_words
from deepseek.observe.why.causes import Cause, Evidence, Findings
from deepseek.observe.why.doubts import list_doubts
from deepseek.observe.why.examples import ExampleRows, example_rows
from deepseek.observe.why.slices import Condition
from deepseek.observe.why.windows import moment_text
from deepseek.observe.why.words import action_words, answer_words, cause_title, evidence_words


@dataclass(frozen=True, slots=True)
class WhyReport:
    findings: Findings
    examples: tuple[ExampleRows, ...]  # of each cause
    notes: tuple[Text, ...]
    num_rows: int

    @property
    def answer(self) -> Text:
        return answer_words(self.findings)

    def to_dict(self) -> JsonObject:
        window = self.findings.window
        return {
            "answer": self.answer.en,
            "window": {
                "since": moment_text(window.start_s), "until": moment_text(window.end_s), "rows": window.num_rows,
                "past_since": moment_text(window.past_start_s), "past_rows": window.num_past,
            },
            "causes": [
                _cause_dict(rank, cause, examples)
                for rank, (cause, examples) in enumerate(zip(self.findings.causes, self.examples, strict=True), start=1)
            ],
            "num_slices": self.findings.num_slices, "notes": [note.en for note in self.notes],
        }  # fmt: skip


def make_report(logs: Logs, findings: Findings) -> WhyReport:
    """The report of findings, with rows to look at."""
    examples = [example_rows(logs, findings, cause) for cause in findings.causes]
    notes = [*reading_words(logs.notes), *list_doubts(logs, findings)]
    return WhyReport(findings, tuple(examples), tuple(notes), logs.notes.num_rows)


def _cause_dict(rank: int, cause: Cause, examples: ExampleRows) -> JsonObject:
    return {
        "rank": rank, "title": cause_title(cause).en, "action": action_words(cause).en,
        "conditions": [_condition_dict(each) for each in cause.conditions],
        "began": None if cause.began_s is None else moment_text(cause.began_s), "echo_of": cause.echo_of,
        "score": cause.score, "evidence": [_evidence_dict(each) for each in cause.evidence],
        "examples": _example_dicts(examples),
    }  # fmt: skip


def _condition_dict(condition: Condition) -> JsonObject:
    fields: JsonObject = {"field": condition.field, "kind": condition.kind}
    if condition.kind == "is":
        fields["value"] = condition.value
    if condition.kind == "unseen":
        fields["values"] = list(condition.values)
    if condition.kind in ("range", "length", "second"):
        fields |= {"low": condition.low, "high": condition.high}
    return fields


def _evidence_dict(evidence: Evidence) -> JsonObject:
    return {
        "bad": evidence.badness.kind, "detail": evidence.badness.detail, "words": evidence_words(evidence).en,
        "num_rows": round(evidence.num_rows), "num_bad": round(evidence.num_bad), "rate": evidence.rate,
        "expected_rate": evidence.past_rate, "excess": evidence.excess, "share": evidence.share,
        "past_share": evidence.past_share, "p_value": evidence.p_value, "score": evidence.score,
    }  # fmt: skip


def _example_dicts(examples: ExampleRows) -> Sequence[JsonObject]:
    return [dict(zip(examples.columns, row, strict=True)) for row in examples.rows]
