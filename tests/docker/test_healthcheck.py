"""The health check of the container, against servers that answer with anything."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from support.servers.certificates import make_certificate
from support.servers.containers import ROOT


@contextmanager
def answering(status: int, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that answers for its health with `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v2/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def check(port: int) -> tuple[int, str]:
    """Exit code and words, as the container runs it."""
    command = [sys.executable, "-I", "-S", ROOT / "docker" / "healthcheck.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PORT": str(port)})
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.mark.parametrize(("status", "outcome"), [(200, (0, "")), (503, (1, "it is not ready: 503"))])
def test_it_tells_ready_from_not_ready(status: int, outcome: tuple[int, str]) -> None:
    with answering(status) as port:
        assert check(port) == outcome


def test_it_speaks_tls_where_the_server_does(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file, pem in zip(files, make_certificate(), strict=True):
        file.write_bytes(pem)
    tls.load_cert_chain(*files)
    with answering(200, tls) as port:
        assert check(port) == (0, "")


def test_it_says_that_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        code, words = check(taken.getsockname()[1])
    assert code == 1
    assert "does not answer" in words
    assert "Traceback" not in words
