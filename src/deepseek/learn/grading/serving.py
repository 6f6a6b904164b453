"""A bundle behind a server of its own, for checks that ask it."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from deepseek.contracts import JsonObject
from deepseek.learn.grading.mistake import Mistake
from deepseek.learn.grading.runner import RunPlace, child_environment, stop_child

START_S = 300.0
ASK_S = 120.0


@dataclass(frozen=True, slots=True)
class ServedBundle:
    """A server that answers at `url` for the model `model`."""

    url: str
    model: str
    pid: int = 0

    def post(self, path: str, document: object) -> tuple[int, JsonObject]:
        """Status and JSON of the answer to a POST."""
        return self._ask("POST", path, json.dumps(document).encode())

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of the answer to a GET."""
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=ASK_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def predict(self, rows: Sequence[Mapping[str, object]]) -> tuple[int, JsonObject]:
        """Status and answer for rows that are objects of column to value."""
        return self.post(f"/v1/models/{self.model}:predict", {"instances": list(rows)})

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, JsonObject]:
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=ASK_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            document: JsonObject = json.loads(answer.read())
            return answer.status, document
        finally:
            connection.close()


@contextmanager
def serve_bundle(
    path: Path, place: RunPlace, *options: str, port: int = 0, folder: Path | None = None
) -> Iterator[ServedBundle]:
    """Start `deepseek serve` on a port of its own, or on `port`, and end it after the block. `options` are its own,
    `folder` is where it runs. Mistake where it does not start."""
    command = [
        sys.executable,
        "-m",
        "deepseek",
        "serve",
        str(path),
        "--port",
        str(port),
        "--log-level",
        "off",
        *(options or ("--workers", "1")),
    ]
    server = subprocess.Popen(
        command, cwd=folder or place.scratch, env=child_environment(place.scratch), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        line = _first_line(server, time.monotonic() + START_S)
        if not line:
            raise Mistake("verb_failed", verb="serve", problem=f"no server is ready within {START_S:g} s")
        ready = json.loads(line)
        yield ServedBundle(ready["url"], ready["models"][0], server.pid)
    finally:
        stop_child(server)
        if server.stdout is not None:
            server.stdout.close()


def _first_line(server: subprocess.Popen[bytes], end_s: float) -> bytes:
    assert server.stdout is not None  # noqa: S101  (it is a pipe)
    while time.monotonic() < end_s:
        if select.select([server.stdout], [], [], 0.2)[0]:
            return server.stdout.readline()
        if server.poll() is not None:
            return b""
    return b""
