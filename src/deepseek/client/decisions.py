"""Decisions on raw events: what :score is sent and answers, a line for each event.

body = encode_lines([{"TRANSACTION_ID": 17, ...}])
read_decisions(response.body)[0].chance
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepseek.client.answers import Reason
from deepseek.client.errors import error_from_body
from deepseek.client.rows import json_cell, positional_rows
from deepseek.errors import InputError

NDJSON_TYPE = "application/x-ndjson"
STOPPED, STOPPED_STATUS = "stopped", 503  # of the last line of a stream that cannot go on
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class EventDecision:
    """What the server says of one event. Of one that it refused `status` says why, and there is no chance."""

    id: Any  # as it was sent
    status: str  # "accepted", "duplicate", "late", "bad_amount", ...
    chance: float | None = None  # of the positive class
    decision: str | None = None  # its label
    reasons: tuple[Reason, ...] = ()  # of an alert, the strongest first


def encode_line(event: Any) -> bytes:
    """One event as a line of JSON, without its line feed; a number that is missing or infinite is null. InputError for
    what is no object, or holds what JSON cannot."""
    if not isinstance(event, Mapping):
        raise InputError(
            f"an event is {type(event).__name__}", expected="an object of values by column", fix='{"COLUMN": value}'
        )
    try:
        return _encode({name: json_cell(value) for name, value in event.items()}).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"a value cannot be sent: {str(error)[:200]}",
            expected="numbers, text, dates, None",
            fix="convert it before",
        ) from error


def encode_lines(rows: Any) -> bytes:
    """Events as lines: records, columns by name, or an Arrow table. InputError for what holds none."""
    if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)) and rows:
        return b"\n".join(map(encode_line, rows))
    cells = positional_rows(rows)
    if cells.columns is None:
        raise InputError("the rows name no columns", expected="records, or columns by name", fix="name each column")
    return b"\n".join(map(encode_line, cells.records(cells.columns)))


def read_decisions(body: bytes) -> list[EventDecision]:
    """The answers in a body of lines."""
    return [read_decision(line) for line in body.splitlines()]


def read_decision(line: bytes) -> EventDecision:
    """The answer in one line. ValueError, KeyError or TypeError where it is none, and the server's error where it is
    the last one of a stream that cannot go on."""
    answer = json.loads(line)
    if answer["status"] == STOPPED:
        raise error_from_body(STOPPED_STATUS, line, "the server")
    reasons = answer.get("reasons", ())
    return EventDecision(
        answer.get("id"), answer["status"], answer.get("chance"), answer.get("decision"),
        tuple(reasons) if isinstance(reasons, list) else (),
    )  # fmt: skip
