"""Events as log lines with the field names of the Elastic Common Schema (ECS), one JSON object each.

Source: ECS 8, fields http, event, trace, error, service, user; what it has no name for stands under "deepseek".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from time import time

import msgspec

from deepseek.contracts import Event

_encode = msgspec.json.Encoder().encode
#: What makes an event of the server a warning, if it has one of these.
_WARNING_FIELDS = frozenset(["engine_pid", "warning"])


def timestamp(epoch_s: float) -> str:
    """A time as ISO text in UTC, with milliseconds.

    >>> timestamp(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    return _iso_time(round(epoch_s * 1e3)).decode()


@lru_cache(maxsize=64)
def _iso_time(epoch_ms: int) -> bytes:
    seconds, ms = divmod(epoch_ms, 1_000)
    return b"%b.%03dZ" % (_iso_second(seconds), ms)


@lru_cache(maxsize=16)
def _iso_second(epoch_s: int) -> bytes:
    return datetime.fromtimestamp(epoch_s, UTC).replace(tzinfo=None).isoformat().encode()


class RequestLines:
    """The lines of requests. Several logs ask for the same one, one after the other: it is made once."""

    def __init__(self) -> None:
        self._last: tuple[Event | None, bytes] = (None, b"")

    def line(self, event: Event) -> bytes:
        """The line of a request that was answered now."""
        last_event, line = self._last  # read and written as one: logs may be told in several threads
        if last_event is not event:
            line = request_line(event, time())
            self._last = event, line
        return line


def request_line(event: Event, epoch_s: float) -> bytes:
    """The line of a request that was answered at `epoch_s`: one JSON object, without an end of line.

    Everything but numbers and the id is a template, which is made once for all requests that are alike.
    """
    fields = event.fields
    template, rest = _request_template(
        event.model_name, event.model_version, event.status, fields.get("route", ""), fields.get("method", ""),
        fields.get("digest", ""), fields.get("client"),
    )  # fmt: skip
    milliseconds, duration_ns = round(epoch_s * 1e3), round(event.duration_s * 1e9)  # ns, as the schema says
    request_id = _encode(fields.get("request_id", ""))
    if event.model_name:
        queue_ns = round(event.queue_s * 1e9)
        line = template % (_iso_time(milliseconds), duration_ns, request_id, event.num_rows, queue_ns)
    else:
        line = template % (_iso_time(milliseconds), duration_ns, request_id)
    if "flags" in fields:
        line += _flags_member(fields["flags"])
    line += rest
    if "traceparent" in fields:
        _, trace, span, _ = fields["traceparent"].split("-")
        line += b"," + _json_members({"trace.id": trace, "span.id": span})
    if "error" in fields:
        line += b"," + _json_members({"error.code": fields["error"]})
    if "traceback" in fields:
        line += b"," + _json_members({"error.stack_trace": fields["traceback"]})
    return line + b"}"


@lru_cache(maxsize=1_024)
def _request_template(
    name: str, version: str, status: int, route: str, method: str, digest: str, client: str | None
) -> tuple[bytes, bytes]:
    """What %-formatting takes time, duration, id and, of a model, rows and queue for; and what comes behind that and
    the flags."""
    action: dict[str, object] = {
        "log.level": request_level(status, bool(name)), "event.action": route,
        "event.outcome": "success" if status < 400 else "failure",
        "http.request.method": method, "http.response.status_code": status, "service.name": "deepseek",
    }  # fmt: skip
    head = b'{"@timestamp":"%b",' + _template_members(action) + b',"event.duration":%d,"http.request.id":%b'
    rest = b""
    if name:
        model = {"model.name": name, "model.version": version, "model.digest": digest}
        head += b',"deepseek":{' + _template_members(model) + b',"rows":%d,"queue.duration":%d'
        rest = b"}"
    return head, rest if client is None else rest + b"," + _json_members({"user.name": client})


def _template_members(value: Mapping[str, object]) -> bytes:
    """The members of an object as they stand in a template for %-formatting."""
    return _json_members(value).replace(b"%", b"%%")


def _flags_member(flags: Mapping[tuple[str, str], int]) -> bytes:
    return b"," + _json_members({"flagged": {f"{what}:{column}": count for (column, what), count in flags.items()}})


def _json_members(value: Mapping[str, object]) -> bytes:
    """The members of an object, without its braces."""
    return _encode(value)[1:-1]


def log_level(event: Event) -> str:
    """The level of an event: error for a bug of ours or a log that loses lines, warning for a refusal, a process that
    died or what needs repair soon, debug for probes and scrapes, else info."""
    if event.kind == "request":
        return request_level(event.status, bool(event.model_name))
    if event.kind == "server" and "error" in event.fields:
        return "error"
    if event.kind == "server" and not event.fields.keys().isdisjoint(_WARNING_FIELDS):
        return "warning"
    return "info"


@lru_cache(maxsize=256)
def request_level(status: int, has_model: bool) -> str:
    """The level of a request that was answered with this status; `has_model`: by a model."""
    if status >= 500 and status not in (501, 503, 504):
        return "error"
    if status >= 400:
        return "warning"
    return "info" if has_model else "debug"


#: Shared by the logs of a server: each request is told to all of them before the next.
REQUEST_LINES = RequestLines()
