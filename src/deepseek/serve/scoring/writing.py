"""Answers to bytes: in the form in which the events came."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from deepseek.serve.scoring.plain_answers import AnswerTemplate
from deepseek.serve.scoring.reading import BodyForm
from deepseek.serve.scoring.scorer import STATUS_NAMES, ScoredEvents

NDJSON_TYPE = b"application/x-ndjson"
JSON_TYPE = b"application/json"
_encode = msgspec.json.encode


def answer_rows(scored: ScoredEvents) -> list[bytes]:
    """One JSON object for each event: its id, the status, and where it has an answer the chance and the decision.
    Nine digits tell apart all float32."""
    ids = scored.ids
    if isinstance(ids, np.ndarray):
        rows = _template(scored.labels).rows(ids, scored.status, scored.chances, scored.is_alert)
        if rows is not None:
            return rows
        ids = ids.tolist()
    shown = [b"%d" % value for value in ids] if set(map(type, ids)) == {int} else list(map(_encode, ids))
    decisions = tuple(_encode(label) for label in scored.labels)
    return [
        b'{"id":%b,"status":"%b","chance":%.9g,"decision":%b}' % (identity, _STATUS[status], chance, decisions[alert])
        if status <= 1  # accepted, or a duplicate
        else b'{"id":%b,"status":"%b"}' % (identity, _STATUS[status])
        for identity, status, chance, alert in zip(
            shown, scored.status.tolist(), scored.chances.tolist(), scored.is_alert.tolist(), strict=True
        )
    ]


def add_reasons(row: bytes, reasons: bytes) -> bytes:
    """The answer to an alert with its reasons, which are JSON."""
    return b'%b,"reasons":%b}' % (row[:-1], reasons)


def join_rows(rows: Sequence[bytes], form: BodyForm) -> tuple[bytes, bytes]:
    """A body of these objects, and its media type."""
    if form == "record":
        return rows[0], JSON_TYPE
    if form == "lines":
        return b"\n".join(rows) + b"\n", NDJSON_TYPE
    if form == "array":
        return b"[" + b",".join(rows) + b"]", JSON_TYPE
    return b'{"predictions":[' + b",".join(rows) + b"]}", JSON_TYPE


def answer_columns(scored: ScoredEvents, start: int, stop: int, reasons: Mapping[int, bytes]) -> bytes:
    """One JSON object with a list for each column, for events that came by column. `reasons`: by row, as JSON."""
    ids, status = scored.ids[start:stop], scored.status[start:stop].tolist()
    chances: list[Any] = [None if value != value else value for value in scored.chances[start:stop].tolist()]  # noqa: PLR0124 - NaN
    columns = {
        "ids": ids.tolist() if isinstance(ids, np.ndarray) else ids,
        "status": [STATUS_NAMES[one] for one in status],
        "chances": chances,
        "decisions": [
            None if one > 1 else scored.labels[alert]
            for one, alert in zip(status, scored.is_alert[start:stop].tolist(), strict=True)
        ],
        "reasons": {str(place): msgspec.Raw(text) for place, text in reasons.items()},
    }
    return _encode(columns)


@functools.lru_cache(16)
def _template(labels: tuple[str, str]) -> AnswerTemplate:
    return AnswerTemplate(labels, STATUS_NAMES)


def verdict_rows(ids: Iterable[Any], status: Sequence[int]) -> list[bytes]:
    """One JSON object for each verdict."""
    return [
        b'{"id":%b,"status":"%b"}' % (_encode(identity), _STATUS[one])
        for identity, one in zip(ids, status, strict=True)
    ]


_STATUS = tuple(name.encode() for name in STATUS_NAMES)
