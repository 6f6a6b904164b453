"""A request's event as spans: one of the server, and one for each part of its time.

Sources: W3C Trace Context 1.0; OpenTelemetry's semantic conventions for HTTP servers, 1.23 and later.
"""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from deepseek.contracts import Event
from deepseek.observe.metrics_models import STAGES
from deepseek.version import __version__

SAMPLED = 0x01  # of the trace flags
_ids = RandomIdGenerator()
_scope = InstrumentationScope("deepseek.serve", __version__)


def is_sampled_by_client(traceparent: str) -> bool:
    """Whether the flags of a valid traceparent ask for a record.

    >>> is_sampled_by_client("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    True
    """
    return bool(int(traceparent[-2:], 16) & SAMPLED)


def request_spans(event: Event, answered_ns: int, resource: Resource) -> Iterator[ReadableSpan]:
    """The spans of a request that was answered at `answered_ns` (since 1970). A part that took no time is left out."""
    parent = _client_context(event.fields.get("traceparent", ""))
    context = _new_context(parent.trace_id if parent else _ids.generate_trace_id())
    start_ns = answered_ns - round(event.duration_s * 1e9)
    yield ReadableSpan(
        f"{event.fields.get('method', '')} {event.fields.get('route', '')}".strip() or "request", context, parent,
        resource, _attributes(event), kind=SpanKind.SERVER, instrumentation_scope=_scope, start_time=start_ns,
        end_time=answered_ns, status=Status(StatusCode.ERROR) if event.status >= 500 else Status(),
    )  # fmt: skip
    if not event.marks:
        return
    first_s = event.marks[0]
    ends_s = [*event.marks, first_s + event.duration_s]
    for stage, begin_s, end_s in zip(STAGES, ends_s[:-1], ends_s[1:], strict=True):
        if end_s > begin_s:
            yield ReadableSpan(
                stage, _new_context(context.trace_id), context, resource, kind=SpanKind.INTERNAL,
                instrumentation_scope=_scope, start_time=start_ns + round((begin_s - first_s) * 1e9),
                end_time=start_ns + round((end_s - first_s) * 1e9),
            )  # fmt: skip


def _client_context(traceparent: str) -> SpanContext | None:
    if not traceparent:
        return None
    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _new_context(trace_id: int) -> SpanContext:
    return SpanContext(trace_id, _ids.generate_span_id(), is_remote=False, trace_flags=TraceFlags(SAMPLED))


def _attributes(event: Event) -> dict[str, str | int | float]:
    fields = event.fields
    attributes: dict[str, str | int | float] = {
        "http.request.method": fields.get("method", ""), "http.route": fields.get("route", ""),
        "http.response.status_code": event.status, "deepseek.request.id": fields.get("request_id", ""),
    }  # fmt: skip
    if event.model_name:
        attributes |= {
            "deepseek.model.name": event.model_name, "deepseek.model.version": event.model_version,
            "deepseek.rows": event.num_rows, "deepseek.queue_s": event.queue_s,
        }  # fmt: skip
    if "error" in fields:
        attributes["error.type"] = fields["error"]
    if "client" in fields:
        attributes["user.name"] = fields["client"]
    return attributes
