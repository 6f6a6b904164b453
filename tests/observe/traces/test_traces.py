"""Traces: spans of requests at a receiver of OTLP over HTTP, which decodes them by OpenTelemetry's own messages."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus
from opentelemetry.sdk.trace import TracerProvider

from deepseek.cli import main
from deepseek.client import Client
from deepseek.contracts import Event
from deepseek.errors import InputError
from deepseek.observe.traces import sink as sink_module
from deepseek.observe.traces.config import OtlpConfig
from deepseek.observe.traces.sink import TraceSink
from support.servers.serving import started, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MARKS = (10.0, 10.001, 10.003, 10.006, 10.010)


class Receiver:
    """Keeps the spans that it is sent, and answers with `status`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.status = 200
        self.url = ""
        self.is_asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()

    def take(self, body: bytes) -> None:
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append({each.key: each.value.string_value for each in resource_spans.resource.attributes})
            for scope_spans in resource_spans.scope_spans:
                self.spans += scope_spans.spans


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.is_asked.set()
            receiver.may_answer.wait(30)
            if receiver.status == 200 and self.path == "/v1/traces":
                receiver.take(body)
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def request(request_id: str = "order-17", flags: str = "01", status: int = 200, **fields: str) -> Event:
    fields = {"route": "/v1/models/M:predict", "method": "POST", "request_id": request_id} | fields
    if flags:
        fields["traceparent"] = f"00-{TRACE}-{PARENT}-{flags}"
    return Event("request", "loans", "1", status, 2, duration_s=0.015, fields=fields, marks=MARKS)


def sent(*events: Event, text: str = "") -> list[Span]:
    with receiving() as receiver:
        sink = TraceSink(OtlpConfig.parse(f"{receiver.url}{text}"))
        for event in events:
            sink.emit(event)
        sink.close()
        assert sink.num_lost == 0
        return receiver.spans


def test_a_request_is_a_span_below_its_clients_with_a_span_for_each_part() -> None:
    whole, *parts = sent(request())
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    assert (whole.name, whole.kind) == ("POST /v1/models/M:predict", Span.SPAN_KIND_SERVER)
    attributes = {each.key: each.value for each in whole.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["deepseek.request.id"].string_value == "order-17"
    assert [part.name for part in parts] == ["decode", "prepare", "wait", "compute", "encode"]
    assert {part.parent_span_id for part in parts} == {whole.span_id}
    assert {part.trace_id.hex() for part in parts} == {TRACE}
    assert [round((part.end_time_unix_nano - part.start_time_unix_nano) / 1e6) for part in parts] == [1, 2, 3, 4, 5]
    assert parts[0].start_time_unix_nano == whole.start_time_unix_nano
    assert abs(parts[-1].end_time_unix_nano - whole.end_time_unix_nano) < 1_000
    assert len({span.span_id for span in (whole, *parts)}) == 6


def test_a_fault_of_the_server_is_marked_and_a_refusal_is_not() -> None:
    fault, refusal = (
        span for span in sent(request(status=500, error="ValueError"), request(status=422, error="input"))
        if span.kind == Span.SPAN_KIND_SERVER
    )  # fmt: skip
    assert fault.status.code == SpanStatus.STATUS_CODE_ERROR
    assert refusal.status.code == SpanStatus.STATUS_CODE_UNSET
    assert {each.key: each.value.string_value for each in refusal.attributes}["error.type"] == "input"


def test_the_client_decides_about_its_trace_and_a_share_of_the_others_is_taken() -> None:
    assert sent(request(flags="00")) == []
    assert len(sent(request(flags="01"), text=",sample=0")) == 6
    others = [request(f"request-{number}", flags="") for number in range(400)]
    spans = [span for span in sent(*others, text=",sample=0.25") if not span.parent_span_id]
    assert 60 <= len(spans) <= 140  # by a hash of ids: 100 are expected, and always the same ones
    assert len({span.trace_id for span in spans}) == len(spans)
    again = [span for span in sent(*others, text=",sample=0.25") if not span.parent_span_id]
    assert len(again) == len(spans)


def test_a_receiver_that_refuses_or_is_away_is_said_once_and_what_is_lost_is_counted() -> None:
    events_seen: list[Event] = []
    with receiving() as receiver:
        sink = TraceSink(OtlpConfig.parse(f"{receiver.url},timeout_s=1"), tell=events_seen.append)
        receiver.status = 400
        for _ in range(2):
            sink.emit(request())
            until(lambda: sink.num_lost > 0)
        receiver.status = 200
        sink.emit(request())
        until(lambda: bool(receiver.spans))
    sink.emit(request())  # nobody listens any more
    sink.close()
    assert sink.num_lost >= 2
    assert len(events_seen) == 2
    assert "takes no traces" in events_seen[0].fields["warning"]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "MAX_WAITING", 8)
    with receiving() as receiver:
        receiver.may_answer.clear()
        sink = TraceSink(OtlpConfig.parse(receiver.url))
        sink.emit(request())
        until(receiver.is_asked.is_set)
        for _ in range(11):
            sink.emit(request())
        assert sink.num_lost == 3
        receiver.may_answer.set()
        sink.close()
        assert sink.num_lost == 3
        assert len(receiver.spans) == 9 * 6


@pytest.mark.parametrize(
    "text",
    ["", "collector:4318", "ftp://a", "http://", "http://[::", "http://a:99999999", "http://a,sample=2", "http://a,sample=x",
     "http://a,sample=nan", "http://a,samples=1", "http://a,timeout_s=0", "http://a,timeout_s=inf", "http://a,sample"],
)  # fmt: skip
def test_an_address_or_a_knob_that_is_none_is_named(text: str) -> None:
    with pytest.raises(InputError, match="--otlp"):
        OtlpConfig.parse(text)


def test_serve_refuses_an_address_before_it_opens_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "nowhere", "--otlp", "collector:4318"]) == 2
    assert "no address" in capsys.readouterr().err


def test_a_real_server_sends_what_it_answered(loans: Path, loan: dict[str, Any]) -> None:
    with receiving() as receiver, started(loans, "--workers", "0", "--otlp", receiver.url) as server:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        answer = httpx.post(f"{server.url}/v1/models/loans:predict", json={"instances": [loan]}, headers=headers)
        assert answer.headers["traceparent"] == headers["traceparent"]
        until(lambda: len(receiver.spans) >= 6)
        assert {span.trace_id.hex() for span in receiver.spans} == {TRACE}
        assert receiver.resources[0]["service.name"] == "deepseek"
        assert server.stop() == 0


def test_a_client_within_a_span_hands_its_trace_to_the_server(loans: Path, loan: dict[str, Any]) -> None:
    tracer = TracerProvider().get_tracer("test")
    with receiving() as receiver, started(loans, "--workers", "0", "--otlp", f"{receiver.url},sample=0") as server:
        with Client(server.url) as client:
            client.predict([loan])  # outside of a span: not sampled
            with tracer.start_as_current_span("caller") as span:
                client.predict([loan])
        until(lambda: len(receiver.spans) >= 6)
        assert server.stop() == 0
    context = span.get_span_context()
    whole = next(each for each in receiver.spans if each.kind == Span.SPAN_KIND_SERVER)
    assert int.from_bytes(whole.trace_id) == context.trace_id
    assert int.from_bytes(whole.parent_span_id) == context.span_id
    assert len([each for each in receiver.spans if each.kind == Span.SPAN_KIND_SERVER]) == 1


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import sys; from deepseek.cli.support.serving import open_traces; from deepseek.serve import Settings; "
        "import deepseek.observe.metrics, deepseek.observe.logs, deepseek.serve.app; "
        "assert open_traces(Settings(), None) is None; "
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry', 'deepseek.observe.traces'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
