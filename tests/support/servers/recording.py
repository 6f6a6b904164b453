"""A server that keeps what it is asked, and answers what a test says. It imitates nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The body as one JSON document; None without one."""
        return json.loads(self.body) if self.body else None

    @property
    def lines(self) -> list[Any]:
        """The body as lines of JSON."""
        return [json.loads(line) for line in self.body.split(b"\n") if line]


Answer = tuple[int, Any]  # status, and a JSON document or bytes


@dataclass
class Recorder:
    """What was asked, in order."""

    answer: Callable[[Asked], Answer]
    headers: dict[str, str] = field(default_factory=dict)  # of every answer
    url: str = ""
    port: int = 0
    requests: list[Asked] = field(default_factory=list)


@contextmanager
def recording(answer: Callable[[Asked], Answer], *, port: int = 0, **headers: str) -> Iterator[Recorder]:
    """On this port, or a free one; `headers`: of its answers, with _ for -."""
    record = Recorder(answer, {name.replace("_", "-"): value for name, value in headers.items()})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            recorded = Asked(self.command, self.path, {key.lower(): value for key, value in self.headers.items()}, body)
            record.requests.append(recorded)
            status, document = record.answer(recorded)
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in ({"content-type": "application/json"} | record.headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_POST = do_GET = do_DELETE = do_PUT = do_HEAD = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    record.port = server.server_port
    record.url = f"http://127.0.0.1:{record.port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield record
    finally:
        server.shutdown()
        server.server_close()


#: What the official client looks for in the answers of an Elasticsearch.
ELASTIC_HEADERS = {
    "x_elastic_product": "Elasticsearch", "content_type": "application/vnd.elasticsearch+json;compatible-with=8",
}  # fmt: skip
