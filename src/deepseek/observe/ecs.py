"""Events as log lines with the field names of the Elastic Common Schema (ECS), one JSON object each.

Source: ECS 8, fields http, event, trace, error, service, user; what it has no name for stands under "deepseek".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from deepseek.contracts import Event

_encode = msgspec.json.Encoder().encode
_USUAL_FIELDS = frozenset(["route", "method", "request_id", "digest", "client", "flags", "explains"])
#: What makes an event of the server a warning, if it has one of these.
_WARNING_FIELDS = frozenset(["engine_pid", "warning"])


def timestamp(epoch_s: float) -> str:
    """A time as ISO text in UTC, with milliseconds.

    >>> timestamp(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    seconds, ms = divmod(round(epoch_s * 1e3), 1_000)
    return f"{_iso_second(seconds).decode()}.{ms:03d}Z"


@lru_cache(maxsize=16)
def _iso_second(epoch_s: int) -> bytes:
    return datetime.fromtimestamp(epoch_s, UTC).replace(tzinfo=None).isoformat().encode()


def request_line(event: Event, epoch_s: float) -> bytes:
    """The line of a request that was answered at `epoch_s`: one JSON object, without an end of line.

    Put together from pieces that are encoded once, because it is written for every request.
    """
    fields = event.fields
    seconds, ms = divmod(round(epoch_s * 1e3), 1_000)
    line = b'{"@timestamp":"%b.%03dZ",%b,"event.duration":%d,"http.request.id":%b' % (
        _iso_second(seconds),
        ms,
        _action_members(log_level(event), fields.get("route", ""), fields.get("method", ""), event.status),
        round(event.duration_s * 1e9),  # ns, as the schema says
        _encode(fields.get("request_id", "")),
    )
    if event.model_name:
        line += b',"deepseek":{%b,"rows":%d,"queue.duration":%d%b}' % (
            _model_members(event.model_name, event.model_version, fields.get("digest", "")),
            event.num_rows, round(event.queue_s * 1e9), _flags_member(fields["flags"]) if "flags" in fields else b"",
        )  # fmt: skip
    if "client" in fields:
        line += _user_member(fields["client"])
    if fields.keys() <= _USUAL_FIELDS:
        return line + b"}"
    if "traceparent" in fields:
        _, trace, span, _ = fields["traceparent"].split("-")
        line += b"," + _json_members({"trace.id": trace, "span.id": span})
    if "error" in fields:
        line += b"," + _json_members({"error.code": fields["error"]})
    if "traceback" in fields:
        line += b"," + _json_members({"error.stack_trace": fields["traceback"]})
    return line + b"}"


@lru_cache(maxsize=1_024)
def _action_members(level: str, route: str, method: str, status: int) -> bytes:
    return _json_members(
        {
            "log.level": level, "event.action": route, "event.outcome": "success" if status < 400 else "failure",
            "http.request.method": method, "http.response.status_code": status, "service.name": "deepseek",
        }
    )  # fmt: skip


@lru_cache(maxsize=1_024)
def _model_members(name: str, version: str, digest: str) -> bytes:
    return _json_members({"model.name": name, "model.version": version, "model.digest": digest})


@lru_cache(maxsize=1_024)
def _user_member(name: str) -> bytes:
    return b"," + _json_members({"user.name": name})


def _flags_member(flags: Mapping[tuple[str, str], int]) -> bytes:
    return b"," + _json_members({"flagged": {f"{what}:{column}": count for (column, what), count in flags.items()}})


def _json_members(value: Mapping[str, object]) -> bytes:
    """The members of an object, without its braces."""
    return _encode(value)[1:-1]


def log_level(event: Event) -> str:
    """The level of an event: error for a bug of ours or a log that loses lines, warning for a refusal, a process that
    died or what needs repair soon, debug for probes and scrapes, else info."""
    if event.kind == "server" and "error" in event.fields:
        return "error"
    if event.kind == "server" and not event.fields.keys().isdisjoint(_WARNING_FIELDS):
        return "warning"
    if event.status >= 500 and event.status not in (501, 503, 504):
        return "error"
    if event.status >= 400:
        return "warning"
    return "info" if event.model_name or event.kind != "request" else "debug"
