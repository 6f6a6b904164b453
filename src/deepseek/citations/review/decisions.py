"""Who decided what on the findings of a document: a CSV that a person fills in, checked against the report.

    line,decision,by,at,note,document
    liability-cap,fix,Li Wei,2026-03-02,"cap of 12 months to be asked for",3f9a...

A decision is fix (the document is to be changed), accept (the risk is taken) or dismiss (it is no finding). It is
bound to the document by the first 16 digits of its sha256: one on another version is told. Of several on a line, the
last counts and all are shown. The page and the JSON with them are signed by --key (bundle/sign.py).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

from deepseek.citations.corpus.law_text import decode_text
from deepseek.citations.review.findings import ReviewReport
from deepseek.contracts import JsonObject
from deepseek.errors import InputError, MalformedError
from deepseek.files import atomic_file, read_bounded

DECISIONS = ("fix", "accept", "dismiss")
COLUMNS = ("line", "decision", "by", "at", "note", "document")
NUM_SHA_DIGITS = 16
MAX_BYTES, MAX_NOTE_CHARS = 4 * 2**20, 2000


@dataclass(frozen=True, slots=True)
class Decision:
    """One row."""

    line: str  # id
    decision: str  # one of DECISIONS
    by: str
    at: str  # ISO 8601
    note: str
    is_stale: bool  # it was made on another version of the document


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """All rows, and what is still open."""

    rows: tuple[Decision, ...]
    open_lines: tuple[str, ...]  # ids of findings on which nobody has decided, or only on another version

    def of(self, line: str) -> Decision | None:
        """The decision that counts."""
        return next((row for row in reversed(self.rows) if row.line == line and not row.is_stale), None)

    def to_dict(self) -> JsonObject:
        """As JSON."""
        return {"rows": [asdict(row) for row in self.rows], "open": list(self.open_lines)}


def read_decisions(path: Path, report: ReviewReport) -> DecisionLog:
    """The decisions on a report. InputError names the row with an unknown line or decision, without a name or a date;
    a row with no decision yet is passed over."""
    text = decode_text(read_bounded(path, MAX_BYTES, what="decisions", smaller="split the file"), path.name)
    reader = csv.DictReader(io.StringIO(text), strict=True)
    rows: list[Decision] = []
    try:
        missing = [name for name in COLUMNS[:4] if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                f"{path} has no column {missing[0]!r}", expected=", ".join(COLUMNS),
                fix="write it with --decisions-template",
            )  # fmt: skip
        for number, row in enumerate(reader, 2):
            fields = {name: " ".join((row.get(name) or "").split()) for name in COLUMNS}
            if fields["decision"]:
                rows.append(_read_row(fields, f"row {number} of {path}", report))
    except csv.Error as error:
        raise MalformedError(
            f"{path}: {error}", expected="CSV with quotes around commas", fix="save it again"
        ) from error
    log = DecisionLog(tuple(rows), ())
    still_open = tuple(finding.line.id for finding in report.open_findings if log.of(finding.line.id) is None)
    return DecisionLog(log.rows, still_open)


def _read_row(fields: dict[str, str], where: str, report: ReviewReport) -> Decision:
    if fields["line"] not in report.checklist.ids:
        raise InputError(
            f"{where} decides on {fields['line']!r:.60}, which is no line of the checklist",
            expected="one of its ids", fix="correct the id",
        )  # fmt: skip
    if fields["decision"].casefold() not in DECISIONS:
        raise InputError(
            f"{where}: the decision is {fields['decision']!r:.40}", expected=" or ".join(DECISIONS), fix="choose one"
        )
    if not fields["by"]:
        raise InputError(f"{where} does not say who decided", expected="a name in the column by", fix="write it there")
    try:
        at = (
            datetime.fromisoformat(fields["at"]).isoformat()
            if "T" in fields["at"]
            else date.fromisoformat(fields["at"]).isoformat()
        )
    except ValueError as error:
        raise InputError(
            f"{where}: {fields['at']!r:.40} is no date", expected="2026-03-02", fix="write when it was"
        ) from error
    digits = fields["document"].casefold()
    is_stale = bool(digits) and digits != report.sha256[: len(digits)]
    return Decision(
        fields["line"], fields["decision"].casefold(), fields["by"], at, fields["note"][:MAX_NOTE_CHARS], is_stale
    )


def write_template(path: Path, report: ReviewReport) -> None:
    """A CSV with a row for each finding, the riskiest first, for a person to fill in."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for finding in report.open_findings:
        writer.writerow([finding.line.id, "", "", "", "", report.sha256[:NUM_SHA_DIGITS]])
    with atomic_file(path) as part:
        part.write_text(buffer.getvalue(), encoding="utf-8")


def open_rows(log: DecisionLog, report: ReviewReport) -> Sequence[str]:
    """Names of the findings that wait for somebody."""
    names = {line.id: line.name for line in report.checklist.lines}
    return [names[line] for line in log.open_lines]
