"""The lines of a regulation's checklist, and the TOML file in which a person accepts, edits or strikes them.

write_lines(Path("checklist.toml"), "Rules on lending", lines)      # what `deepseek recipe compliance` reads
read_lines(Path("checklist.toml"))                                  # struck and proposed ones, too
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from deepseek.config import read_toml
from deepseek.errors import InputError
from deepseek.files import atomic_file

STATUSES = ("accepted", "proposed", "struck")
#: How the note of a line begins that the model decided.
BY_MODEL = ("decided by the model", "由模型判定")
MAX_FIELD_CHARS = 2_000  # of a text in the file


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One line. Fields that are empty do not stand in the file."""

    id: str
    text: str  # what is looked for in a document
    expect: str  # present, absent: a document that says it breaks the line
    risk: str  # high, medium, low
    status: str  # one of STATUSES
    kind: str
    source: str  # the number of the clause
    quote: str  # the clause, word for word
    subject: str = ""
    condition: str = ""
    deadline: str = ""
    evidence: str = ""
    question: str = ""
    note: str = ""  # what decided, which clauses it names, what a person should look at
    title: str = ""

    @property
    def is_by_model(self) -> bool:
        """Whether no signal word decided."""
        return self.note.startswith(BY_MODEL)

    def to_dict(self) -> dict[str, str]:
        """The fields that are not empty, as they stand in the file."""
        return {name: value for name, value in asdict(self).items() if value}


def write_lines(path: Path, name: str, lines: Sequence[RuleLine]) -> None:
    """Write a checklist, whole or not at all."""
    with atomic_file(path) as part:
        part.write_text(lines_to_toml(name, lines), encoding="utf-8")


def lines_to_toml(name: str, lines: Sequence[RuleLine]) -> str:
    """The text of the file.

    >>> line = RuleLine("5-o1", "A must pay", "present", "medium", "proposed", "obligation", "5", "A must pay.")
    >>> print(lines_to_toml("Rules", [line]).splitlines()[4])
    id = "5-o1"
    """
    parts = [f"[checklist]\nname = {_quote(name)}\n"]
    for line in lines:
        rows = [f"{key} = {_quote(value[:MAX_FIELD_CHARS])}" for key, value in line.to_dict().items()]
        parts.append("[[line]]\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _quote(text: str) -> str:
    """A basic string of TOML, which JSON's are, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_lines(path: Path) -> list[RuleLine]:
    """The lines of a file that write_lines() or the page has written. MissingError without it, MalformedError for what
    is no TOML, InputError for a line without what a line needs."""
    rows: Any = read_toml(path).get("line", [])
    names = {field.name for field in fields(RuleLine)}
    lines: list[RuleLine] = []
    for number, row in enumerate(rows if isinstance(rows, list) else [], 1):
        missing = [key for key in ("id", "text", "kind", "quote") if not isinstance(row, dict) or not row.get(key)]
        if missing:
            raise InputError(
                f"line {number} of {path.name} has no {missing[0]}",
                expected="a checklist that `deepseek recipe checklist` has written",
                fix="give that file, edited or not",
            )
        known = {key: str(value) for key, value in row.items() if key in names}
        given = {"expect": "present", "risk": "medium", "status": "accepted", "source": ""} | known
        if given["status"] not in STATUSES:
            raise InputError(
                f"line {number} of {path.name}: status is {given['status']!r}",
                expected=" or ".join(STATUSES),
                fix="correct it",
            )
        lines.append(RuleLine(**given))
    if not lines:
        raise InputError(f"{path.name} has no line", expected="at least one [[line]]", fix="give a checklist")
    return lines
