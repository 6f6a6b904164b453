"""The server that is measured: one that is started for it and stopped after it, or one that runs already."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

from deepseek.bench.measure import BenchRequest
from deepseek.client.attempts import split_url
from deepseek.client.errors import UnreachableError, error_from_body
from deepseek.errors import DeepseekError, InputError, MissingError
from deepseek.plugins import did_you_mean

ANSWER_TIMEOUT_S = 30.0  # that a server has for a page
STOP_TIMEOUT_S = 40.0  # that it has to stop


@dataclass(frozen=True, slots=True)
class Server:
    """A server, and the model of it that is asked."""

    url: str
    model: str
    pid: int | None = None  # where it was started from here
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask_rows(self, num_rows: int) -> BenchRequest:
        """The model's example: one row as a record, more as positional arrays."""
        example = get_json(f"{self.url}/v1/models/{self.model}/example", self.headers)["instances"][0]
        body = {"instances": [example]} if num_rows == 1 else positional_body(example, num_rows)
        return BenchRequest(
            f"{self.url}/v1/models/{self.model}:predict", (json.dumps(body).encode(),), self.headers, num_rows
        )


def positional_body(record: Mapping[str, Any], num_rows: int) -> dict[str, Any]:
    """The same row many times, as :predict takes it by position.

    >>> positional_body({"age": 61, "income": 48000}, 2)
    {'columns': ['age', 'income'], 'rows': [[61, 48000], [61, 48000]]}
    """
    return {"columns": list(record), "rows": [list(record.values())] * num_rows}


@contextmanager
def launch_server(path: str, options: Sequence[str] = (), headers: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`deepseek serve PATH`, with `options`, on a port that is free. Its log goes to a file that is thrown away.

    What keeps it from starting is raised as InputError, in its own words.
    """
    place = [f"./{path}" if path.startswith("-") else path]  # no option, whatever its name
    command = [sys.executable, "-m", "deepseek", "serve", "--port", "0", "--host", "127.0.0.1", "--json"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, *options, *place], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            line = cast("IO[bytes]", process.stdout).readline()
            ready = json.loads(line) if line.startswith(b"{") else {}
            if "url" not in ready:
                log.seek(0)
                raise _start_error(ready.get("error", {}), log.read()[-2_000:].decode(errors="replace"))
            yield Server(ready["url"], ready["models"][0], process.pid, headers or {})
        finally:
            stop_process(process)


def server_at(url: str, model: str | None = None, headers: Mapping[str, str] | None = None) -> Server:
    """A server that runs, and its model of that name, else its first one."""
    parts = split_url(url)
    if parts.scheme != "http":
        raise InputError(f"{url} is encrypted", expected="http://HOST:PORT", fix="measure the server without TLS")
    url = url.rstrip("/")
    names = [entry["id"] for entry in get_json(f"{url}/v1/models", headers or {})["data"]]
    if not names:
        raise MissingError(f"{url} serves no model", expected="at least one", fix="load one: deepseek serve BUNDLE")
    if model is not None and model not in names:
        raise MissingError(
            f"{url} has no model {model!r}.{did_you_mean(model, names)}",
            expected=", ".join(names),
            fix="name one of these with --model",
        )
    return Server(url, model or names[0], None, headers or {})


def key_header(file: Path) -> dict[str, str]:
    """The header with an API key that stands alone in a file, so that no list of processes shows it."""
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read: {error}", expected="a file with an API key", fix="name one"
        ) from error
    if not key.isascii() or not key.isprintable() or not key or " " in key:
        raise InputError(
            f"{file} holds no API key", expected="one key, alone", fix="write the key itself, not its hash"
        )
    return {"authorization": f"Bearer {key}"}


def refusal_reason(ask: BenchRequest) -> str:
    """Why a request like those of a measurement is not answered with 200, in the server's own words; "" when it is."""
    headers = {"content-type": "application/json", **ask.headers}
    try:
        get_json(ask.url, headers, ask.bodies[0])
    except DeepseekError as error:
        return str(error)
    return ""


def get_json(url: str, headers: Mapping[str, str], body: bytes | None = None) -> Any:
    """A page as JSON, or the answer to a body. What the server refuses is raised as the class that it raised;
    UnreachableError otherwise."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET" if body is None else "POST", parts.path, body, dict(headers))
        answer = connection.getresponse()
        found = answer.read()
        if answer.status == 200:
            return json.loads(found)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"{url} cannot be read: {error}",
            expected="a deepseek model server",
            fix="check the address, and that the server runs",
        ) from error
    finally:
        connection.close()
    raise error_from_body(answer.status, found, url)


def _start_error(error: Mapping[str, str], log: str) -> InputError:
    said = error.get("message") or log.strip().rpartition("\n")[2] or "it said nothing"
    return InputError(
        f"the server did not start: {said}",
        expected=error.get("expected", "a bundle or a folder that can be served"),
        fix=error.get("fix", "see what deepseek serve says"),
    )


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """As a service manager does: ask, wait, kill."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
