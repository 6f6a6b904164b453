"""Findings as a CSV that a person reviews, and what was accepted as a new file. The data itself is never changed.

    write_patch(report, Path("patch.csv"), data_digest(data))      # decision is empty: nothing is accepted by itself
    apply_patch(data, Path("patch.csv"), Path("clean.csv"), target="kind")

Somebody writes accept or reject into the column `decision`. Taking a line's `accept` out and applying again takes it
back. A patch of another file is refused: each line carries the digest of the file that it speaks of.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from deepseek.automl.clean.findings import CleanReport
from deepseek.data.table.values import level_name
from deepseek.errors import InputError, MalformedError, MissingError
from deepseek.files import atomic_file, read_bounded

FIELDS = ("row", "kind", "action", "old", "new", "score", "evidence", "decision", "data")
DECISIONS = ("", "accept", "reject")
MAX_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class AppliedPatch:
    """What was done."""

    num_rows: int  # of the new file
    num_dropped: int
    num_relabeled: int
    num_open: int  # findings without a decision, which changed nothing


@dataclass(frozen=True, slots=True)
class PatchLine:
    """One finding with its decision."""

    row: int
    action: str
    old: str
    new: str
    decision: str


def data_digest(data: Path) -> str:
    """What a patch knows its file by."""
    content = read_bounded(data, MAX_BYTES, what="the data", smaller="take a part of it")
    return hashlib.sha256(content).hexdigest()[:16]


def write_patch(report: CleanReport, out: Path, digest: str) -> None:
    """One line for each finding, the surest first within its kind. `digest` of the data: data_digest() of a file."""
    with atomic_file(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for each in report.findings:
            row = (each.row, each.kind, each.action, each.old, each.new, f"{each.score:.4f}", each.evidence, "", digest)
            writer.writerow(row)


def apply_patch(data: Path, patch: Path, out: Path, target: str | None) -> AppliedPatch:
    """Write `out`: the rows of a CSV as they stand there, without those whose removal was accepted, and with the labels
    that were. InputError for a patch of another file, for a line that does not fit, and where `out` is the data."""
    if out.resolve() == data.resolve():
        raise InputError(f"{out} is the data itself", expected="another file", fix="choose another --out")
    lines = read_decisions(patch, data_digest(data))
    try:
        with data.open(encoding="utf-8-sig", newline="") as file:
            head, *rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise MalformedError(
            f"{data.name} is no CSV of UTF-8 with commas", expected="such a CSV", fix="save it so"
        ) from error
    place = _label_place(head, target, lines)
    dropped: set[int] = set()
    relabeled: set[int] = set()
    for line in (line for line in lines if line.decision == "accept" and line.action != "look"):
        if not 1 <= line.row <= len(rows):
            raise InputError(f"{patch.name} speaks of row {line.row} of {len(rows)}", expected="a row", fix="mend it")
        if line.action == "drop":
            dropped.add(line.row)
            continue
        cell = rows[line.row - 1][place]
        if level_name(cell) != line.old:
            raise InputError(
                f"row {line.row} is {cell!r}, not {line.old!r}", expected="the label that was found", fix="look again"
            )
        rows[line.row - 1][place] = line.new
        relabeled.add(line.row)
    with atomic_file(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(row for number, row in enumerate(rows, 1) if number not in dropped)
    return AppliedPatch(
        len(rows) - len(dropped), len(dropped), len(relabeled - dropped), sum(not line.decision for line in lines)
    )


def _label_place(head: list[str], target: str | None, lines: list[PatchLine]) -> int:
    if not any(line.action == "relabel" and line.decision == "accept" for line in lines):
        return 0
    if target is None or target not in head:
        raise InputError(
            "labels are to be changed", expected=f"--target, one of {', '.join(head)}", fix="name the column"
        )
    return head.index(target)


def read_decisions(patch: Path, digest: str) -> list[PatchLine]:
    """The lines of a patch of the data with this digest. InputError for one of other data, and for lines that are no
    findings."""
    if not patch.is_file():
        raise MissingError(f"there is no patch {patch}", expected="a CSV of findings", fix="make one: --out patch.csv")
    try:
        with patch.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedError(f"{patch.name} is no CSV of UTF-8", expected="a patch", fix="save it so") from error
    lines = []
    for number, row in enumerate(rows, 1):
        where = f"line {number} of {patch.name}"
        if not set(FIELDS) <= set(row) or not str(row["row"]).isdecimal():
            raise InputError(f"{where} is no finding", expected=", ".join(FIELDS), fix="make the patch again")
        if row["data"] != digest:
            raise InputError(
                f"{where} is of another file, or the data has changed", expected="its own data", fix="look again"
            )
        decision = (row["decision"] or "").strip().lower()
        if decision not in DECISIONS:
            raise InputError(
                f"{where}: the decision is {decision!r}", expected="accept, reject or nothing", fix="write one"
            )
        lines.append(PatchLine(int(row["row"]), row["action"], row["old"], row["new"], decision))
    changed = Counter(line.row for line in lines if line.action == "relabel" and line.decision == "accept")
    if twice := [row for row, count in changed.items() if count > 1]:
        raise InputError(f"row {twice[0]} gets two labels", expected="one", fix="reject one of the lines")
    return lines
