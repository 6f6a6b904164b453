"""The audit of a project: each line carries the digest of the one before, so that none can be changed or left out.

digest_i = sha256(digest_(i - 1) + the line as JSON)
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator

from deepseek.automl.label.project.records import Change
from deepseek.contracts import JsonObject
from deepseek.errors import IntegrityError

#: Of Change, in its order.
COLUMNS = "number, id, time, person, item, action, before, after, origin, duration_s, suggestion, undoes, digest"


def chain_digest(previous: str, row: tuple[object, ...]) -> str:
    """The digest of a line: `row` as it stands in the table, without its digest."""
    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(previous.encode() + text.encode("utf-8", "surrogatepass")).hexdigest()


def read_change(row: tuple[object, ...], *, is_repeat: bool = False) -> Change:
    """A row of COLUMNS as a Change."""
    return Change(*row[:6], _parse(row[6]), _parse(row[7]), *row[8:13], is_repeat)  # type: ignore[arg-type, call-arg]


def _parse(text: object) -> JsonObject | None:
    return None if text is None else json.loads(str(text))


def read_changes(connection: sqlite3.Connection, after: int = 0) -> Iterator[Change]:
    """The lines behind number `after`, in their order."""
    for row in connection.execute(f"SELECT {COLUMNS} FROM changes WHERE number > ? ORDER BY number", (after,)):  # noqa: S608
        yield read_change(row)


def verify_chain(connection: sqlite3.Connection) -> int:
    """How many lines the audit has. IntegrityError where one was changed, where one is missing, and where the labels
    are not what the lines make of them."""
    previous, expected_number = "", 1
    states: dict[tuple[int, str], tuple[int, str | None]] = {}
    for row in connection.execute(f"SELECT {COLUMNS} FROM changes ORDER BY number"):  # noqa: S608
        *line, digest = row
        if row[0] != expected_number or chain_digest(previous, tuple(line)) != digest:
            raise IntegrityError(
                f"line {expected_number} of the audit was changed or left out", expected="lines as they were written",
                fix="take a copy from before, and look who can write to the file",
            )  # fmt: skip
        states[(row[4], row[3])] = (row[0], row[7])
        previous, expected_number = digest, expected_number + 1
    current = {
        (item, person): (change, json.dumps(state_of(state, value, comment), ensure_ascii=False))
        for item, person, state, value, comment, change in connection.execute(
            "SELECT item, person, state, value, comment, change FROM labels"
        )
    }
    left = {place: after for place, after in states.items() if after[1] is not None}
    if current != left:
        odd = next(iter(current.items() ^ left.items()))[0]
        raise IntegrityError(
            f"the label of item {odd[0]} by {odd[1]!r} is not what the audit says",
            expected="labels that follow from the audit", fix="take a copy from before",
        )  # fmt: skip
    return expected_number - 1


def state_of(state: str, value: str | None, comment: str) -> JsonObject:
    """What an audit line keeps of a label; `value` is JSON."""
    return {"state": state, "value": None if value is None else json.loads(value), "comment": comment}
