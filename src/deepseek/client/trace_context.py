"""The trace that a caller is in, for the server that is asked: W3C Trace Context, where OpenTelemetry is used.

It is looked for only where the program has imported OpenTelemetry itself; the client needs none.
"""

from __future__ import annotations

import sys

NAMES = ("traceparent", "tracestate")  # of the headers that are sent; what else a program hands on stays with it


def trace_headers() -> dict[str, str]:
    """The headers of the span that is open now; none outside of a span, or without OpenTelemetry.

    >>> trace_headers()
    {}
    """
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry.propagate import inject

    headers: dict[str, str] = {}
    inject(headers)
    return {name: headers[name] for name in NAMES if name in headers}
