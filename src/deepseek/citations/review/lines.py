"""A checklist in TOML: what a document must say, and what it must not.

    [checklist]
    name = "Supplier agreements"

    [[line]]
    id = "liability-cap"
    text = "The supplier's liability is limited to the fees of twelve months."
    expect = "present"            # or "absent": a document that says it breaks the line
    risk = "high"                 # high, medium, low
    title = "Cap on liability"    # optional, as is everything below
    question = "Is the supplier's liability limited, and to what?"
    status = "accepted"           # a line that is "struck" or "proposed" is not asked
    source = "Policy 4.2"         # and quote, evidence, kind, subject, condition, note, deadline: kept and shown

The text is what the line says; a line that nobody trained is looked for by its text and question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from deepseek.citations.support.opposites import find_conflict
from deepseek.config import read_toml
from deepseek.contracts import JsonObject
from deepseek.errors import InputError

Expect = Literal["present", "absent"]
Risk = Literal["high", "medium", "low"]
RISK_WEIGHTS: dict[Risk, float] = {"high": 3.0, "medium": 2.0, "low": 1.0}
#: Of a line: it is asked unless somebody has struck it, or has not accepted it yet.
STATUSES = ("accepted", "proposed", "struck")
ORIGIN_FIELDS = ("source", "quote", "evidence", "kind", "subject", "condition", "note", "deadline")
MAX_LINES, MAX_TEXT_CHARS = 1000, 2000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
_EXAMPLE = '[[line]] with id = "liability-cap", text = "The liability is limited.", expect = "present"'


@dataclass(frozen=True, slots=True)
class ChecklistLine:
    """One line: what is looked for, and whether it should be there."""

    id: str
    text: str
    expect: Expect = "present"
    risk: Risk = "medium"
    title: str = ""
    question: str = ""
    status: str = "accepted"
    origin: tuple[tuple[str, str], ...] = ()  # where it comes from: names and texts of ORIGIN_FIELDS

    @property
    def name(self) -> str:
        """How a person calls it."""
        return self.title or self.text

    def to_dict(self) -> JsonObject:
        """As it stands in the file, without what is empty."""
        fields = {"id": self.id, "text": self.text, "expect": self.expect, "risk": self.risk, "title": self.title,
                  "question": self.question, "status": self.status, **dict(self.origin)}  # fmt: skip
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class Checklist:
    """The lines in their order."""

    name: str
    lines: tuple[ChecklistLine, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(line.id for line in self.lines)

    def to_dict(self) -> JsonObject:
        """As JSON; checklist_of() reads it back."""
        return {"checklist": {"name": self.name}, "line": [line.to_dict() for line in self.lines]}


def read_checklist(path: Path) -> Checklist:
    """The checklist of a TOML file, without lines that are struck or not accepted. MissingError without the file,
    InputError that names the line for an unknown or missing field, for two equal ids, and for lines that contradict
    each other."""
    return checklist_of(read_toml(path), path.name)


def checklist_of(table: JsonObject, name: str) -> Checklist:
    """The checklist of a file's tables; `name` for errors."""
    head, rows = table.get("checklist", {}), table.get("line", [])
    unknown = sorted(set(table) - {"checklist", "line"})
    if unknown or not isinstance(head, dict) or not isinstance(rows, list) or not rows:
        problem = f"has the unknown table {unknown[0]!r}" if unknown else "has no line"
        raise InputError(f"{name} {problem}", expected=_EXAMPLE, fix="write a [[line]] for each thing to look for")
    if len(rows) > MAX_LINES:
        raise InputError(f"{name} has {len(rows)} lines", expected=f"at most {MAX_LINES}", fix="split the checklist")
    lines = [_read_line(row, number, name) for number, row in enumerate(rows, 1)]
    _check_ids(lines, name)
    accepted_lines = tuple(line for line in lines if line.status == "accepted")
    if not accepted_lines:
        raise InputError(
            f"no line of {name} is accepted", expected='at least one with status = "accepted"', fix="accept some"
        )
    _check_contradictions(accepted_lines, name)
    return Checklist(str(head.get("name") or Path(name).stem), accepted_lines)


def _read_line(row: object, number: int, name: str) -> ChecklistLine:
    where = f"line {number} of {name}"
    if not isinstance(row, dict):
        raise InputError(f"{where} is no table", expected=_EXAMPLE, fix="write it as [[line]]")
    where = f"{where} ({row['id']!r:.60})" if "id" in row else where
    known = ("id", "text", "expect", "risk", "title", "question", "status", *ORIGIN_FIELDS)
    for key, value in row.items():
        if key not in known:
            raise InputError(f"{where} has the unknown field {key!r}", expected=", ".join(known), fix="take it out")
        if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
            raise InputError(
                f"{where}: {key} is {value!r:.60}", expected=f"a text of at most {MAX_TEXT_CHARS} letters",
                fix='write it in quotes, as in risk = "high"',
            )  # fmt: skip
    fields = {key: " ".join(value.split()) for key, value in row.items()}
    for key in ("id", "text"):
        if not any(letter.isalnum() for letter in fields.get(key, "")):
            raise InputError(f"{where} has no {key}", expected=_EXAMPLE, fix=f"give it {key} = ...")
    if not _ID.match(fields["id"]):
        raise InputError(
            f"{where}: its id may not be written so", expected="letters, digits, dots and dashes, at most 64",
            fix="rename it: it stands in labels and decisions",
        )  # fmt: skip
    for key, words in (("expect", get_args(Expect)), ("risk", get_args(Risk)), ("status", STATUSES)):
        if fields.get(key, words[0]) not in words:
            raise InputError(
                f"{where}: {key} is {fields[key]!r}", expected=" or ".join(words), fix=f"correct its {key}"
            )
    origin = tuple((key, fields.pop(key)) for key in ORIGIN_FIELDS if fields.get(key))
    return ChecklistLine(**{key: value for key, value in fields.items() if key not in ORIGIN_FIELDS}, origin=origin)  # type: ignore[arg-type]


def _check_ids(lines: list[ChecklistLine], name: str) -> None:
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if line.id.casefold() in numbers:
            raise InputError(
                f"{name} has the id {line.id!r} twice: lines {numbers[line.id.casefold()]} and {number}",
                expected="an id of its own for each line", fix="rename one of them",
            )  # fmt: skip
        numbers[line.id.casefold()] = number


def _check_contradictions(lines: tuple[ChecklistLine, ...], name: str) -> None:
    """InputError for two lines of which no document can meet both: one text wanted and unwanted, or two wanted texts of
    which one says the opposite of the other."""
    by_text: dict[str, ChecklistLine] = {}
    for line in lines:
        plain = "".join(letter for letter in line.text.casefold() if letter.isalnum())
        other = by_text.setdefault(plain, line)
        if other is line:
            continue
        if other.expect != line.expect:
            raise _contradiction(name, other, line, "the same text is to be present and to be absent")
        raise InputError(
            f"{name}: {other.id!r} and {line.id!r} say the same", expected="each thing once", fix="strike one of them"
        )
    for expect in get_args(Expect):
        same = [line for line in lines if line.expect == expect]
        for index, line in enumerate(same):
            for other in same[index + 1 :] if expect == "present" else ():
                if _differ_in_scope(line, other):
                    continue
                conflict = find_conflict(line.text, other.text)
                if conflict is not None and find_conflict(other.text, line.text) is not None:
                    words = f"{conflict.said!r} against {conflict.law!r}"
                    raise _contradiction(name, line, other, f"both are to be present, and they differ in {words}")


def _differ_in_scope(line: ChecklistLine, other: ChecklistLine) -> bool:
    """Whether two lines that say for whom and when they hold hold for somebody else or at another time."""
    first, second = dict(line.origin), dict(other.origin)
    return any(first.get(key, "") != second.get(key, "") for key in ("subject", "condition"))


def _contradiction(name: str, first: ChecklistLine, second: ChecklistLine, why: str) -> InputError:
    return InputError(
        f"{name}: the lines {first.id!r} and {second.id!r} contradict each other: {why}",
        expected="lines that one document can meet", fix="correct one, or strike it",
    )  # fmt: skip
