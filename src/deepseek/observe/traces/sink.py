"""Sends spans of requests by OTLP, in a thread of its own: a receiver that is away holds no request up.

What waits is bounded; spans that found no room or no receiver are counted as lost, and said once in the log.
"""

from __future__ import annotations

import logging
import os
import socket
import zlib
from collections.abc import Callable, Sequence
from time import time_ns

from deepseek.contracts import Event
from deepseek.extras import need
from deepseek.observe.lines import LineWriter
from deepseek.observe.traces.config import OtlpConfig
from deepseek.version import __version__

MAX_WAITING = 8_192  # requests
MAX_SPANS_PER_MESSAGE = 512
SAMPLE_STEPS = 1 << 32
_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class TraceSink:
    """Takes the events of requests, and sends those that are sampled: as the client's trace says, or else a share."""

    def __init__(self, config: OtlpConfig, *, tell: Callable[[Event], None] = lambda _: None) -> None:
        """`tell` gets a warning when the receiver stops taking spans. ExtraError without the extra `otlp`."""
        exporters = need(_EXPORTER, extra="otlp")
        from opentelemetry.sdk.resources import Resource

        from deepseek.observe.traces.spans import is_sampled_by_client

        logging.getLogger(_EXPORTER).disabled = True  # it writes to stderr, where the log's lines of JSON are
        self._is_sampled_by_client = is_sampled_by_client
        self._threshold = round(config.sample * SAMPLE_STEPS)
        self._endpoint, self._tell = config.endpoint, tell
        self._is_away, self._closing = False, False
        self._resource = Resource.create(
            {
                "service.name": "deepseek", "service.version": __version__, "host.name": socket.gethostname(),
                "process.pid": os.getpid(),
            }
        )  # fmt: skip
        self._exporter = exporters.OTLPSpanExporter(endpoint=config.endpoint, timeout=config.timeout_s)
        self._writer = LineWriter(self._send, max_lines=MAX_WAITING, name="traces")

    def emit(self, event: Event) -> None:
        if event.kind != "request":
            return
        parent = event.fields.get("traceparent")
        if parent is not None:
            is_sampled = self._is_sampled_by_client(parent)
        else:
            is_sampled = zlib.crc32(event.fields.get("request_id", "").encode()) < self._threshold
        if is_sampled:
            self._writer.write([(event, time_ns())])

    @property
    def num_lost(self) -> int:
        """Requests whose spans were not taken."""
        return self._writer.num_lost

    def close(self) -> None:
        """Send what waits, for one timeout at most where nobody takes it."""
        self._closing = True
        self._writer.close()
        self._exporter.shutdown()

    def _send(self, requests: Sequence[tuple[Event, int]]) -> int:
        """How many of the requests were sent whole."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.trace.export import SpanExportResult

        from deepseek.observe.traces.spans import request_spans

        num_sent = start = 0
        while start < len(requests):
            end, spans = start, list[ReadableSpan]()
            while end < len(requests) and len(spans) < MAX_SPANS_PER_MESSAGE:
                spans += request_spans(*requests[end], self._resource)
                end += 1
            if self._closing and self._is_away:  # another timeout each would hold the end up
                break
            is_taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
            num_sent += (end - start) * is_taken
            start = end
            self._note(is_taken)
        return num_sent

    def _note(self, is_taken: bool) -> None:
        if not is_taken and not self._is_away:
            self._tell(
                Event("server", fields={"warning": f"{self._endpoint} takes no traces; they are lost until it does"})
            )
        self._is_away = not is_taken
