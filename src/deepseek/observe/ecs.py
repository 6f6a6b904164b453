"""Events as log lines with the field names of the Elastic Common Schema (ECS), one JSON object each.

Source: ECS 8, fields http, event, trace, error, service; what it has no name for stands under "deepseek".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from deepseek.contracts import Event


def timestamp(epoch_s: float) -> str:
    """UTC with milliseconds.

    >>> timestamp(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    moment = datetime.fromtimestamp(epoch_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def request_line(event: Event, epoch_s: float) -> dict[str, Any]:
    """The line of a request that was answered at `epoch_s`."""
    fields = event.fields
    line: dict[str, Any] = {
        "@timestamp": timestamp(epoch_s),
        "log.level": level_of(event),
        "event.action": fields.get("route", ""),
        "event.outcome": "success" if event.status < 400 else "failure",
        "event.duration": round(event.duration_s * 1e9),  # ns, as the schema says
        "http.request.method": fields.get("method", ""),
        "http.request.id": fields.get("request_id", ""),
        "http.response.status_code": event.status,
        "service.name": "deepseek",
    }
    if "traceparent" in fields:
        _, line["trace.id"], line["span.id"], _ = fields["traceparent"].split("-")
    if event.model_name:
        line["deepseek"] = model_fields(event)
    if "error" in fields:
        line["error.code"] = fields["error"]
    if "traceback" in fields:
        line["error.stack_trace"] = fields["traceback"]
    return line


def model_fields(event: Event) -> dict[str, Any]:
    """Which model answered, and what it was given."""
    found: dict[str, Any] = {
        "model.name": event.model_name,
        "model.version": event.model_version,
        "model.digest": event.fields.get("digest", ""),
        "rows": event.num_rows,
        "queue.duration": round(event.queue_s * 1e9),
    }
    flags = event.fields.get("flags")
    if flags:
        found["flagged"] = {f"{what}:{column}": count for (column, what), count in flags.items()}
    return found


def level_of(event: Event) -> str:
    """error for a bug of ours or a log that loses lines, warning for a refusal, debug for probes and scrapes, else
    info."""
    if event.kind == "server" and "error" in event.fields:
        return "error"
    if event.status >= 500 and event.status not in (501, 503, 504):
        return "error"
    if event.status >= 400:
        return "warning"
    return "info" if event.model_name or event.kind != "request" else "debug"
