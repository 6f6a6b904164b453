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
    """A server, and the model of it that is measured."""

    url: str
    model: str
    pid: int | None = None  # of a server that was launched here
    headers: Mapping[str, str] = field(default_factory=dict)

    def example_request(self, num_rows: int) -> BenchRequest:
        """A request with the model's example: one row as a record, more as positional arrays."""
        example = get_json(f"{self.url}/v1/models/{self.model}/example", self.headers)["instances"][0]
        body = json.dumps({"instances": [example]} if num_rows == 1 else positional_body(example, num_rows))
        return BenchRequest(f"{self.url}/v1/models/{self.model}:predict", (body.encode(),), self.headers, num_rows)


def positional_body(record: Mapping[str, Any], num_rows: int) -> dict[str, list[Any]]:
    """A body of :predict with the same row many times, by position.

    >>> positional_body({"age": 61, "income": 48000}, 2)
    {'columns': ['age', 'income'], 'rows': [[61, 48000], [61, 48000]]}
    """
    return {"columns": list(record), "rows": [list(record.values())] * num_rows}


@contextmanager
def launch_server(path: str, options: Sequence[str] = (), headers: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Runs `deepseek serve PATH`, with `options`, on a free port until the block ends. Its log is thrown away.

    InputError for a server that does not start, in the server's own words.
    """
    bundle = f"./{path}" if path.startswith("-") else path  # no option, whatever its name
    command = [sys.executable, "-m", "deepseek", "serve", "--port", "0", "--host", "127.0.0.1", "--json"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, *options, bundle], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL
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
    """The server at `url` and its model of that name, else its first one. MissingError for no such model."""
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


def refusal_reason(request: BenchRequest) -> str:
    """Why a request like those of a measurement is not answered with 200, in the server's own words; "" when it is."""
    try:
        get_json(request.url, request.all_headers, request.bodies[0])
    except DeepseekError as error:
        return str(error)
    return ""


def get_json(url: str, headers: Mapping[str, str], body: bytes | None = None) -> Any:
    """The JSON at `url`, fetched with GET, or with POST where there is a body. What the server refuses is raised as the
    class of error that the server raised; UnreachableError for all else."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET" if body is None else "POST", parts.path, body, dict(headers))
        response = connection.getresponse()
        data = response.read()
        if response.status == 200:
            return json.loads(data)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"{url} cannot be read: {error}",
            expected="a deepseek model server",
            fix="check the address, and that the server runs",
        ) from error
    finally:
        connection.close()
    raise error_from_body(response.status, data, url)


def _start_error(error: Mapping[str, str], log: str) -> InputError:
    reason = error.get("message") or log.strip().rpartition("\n")[2] or "it said nothing"
    return InputError(
        f"the server did not start: {reason}",
        expected=error.get("expected", "a bundle or a folder that can be served"),
        fix=error.get("fix", "see what deepseek serve says"),
    )


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a process as a service manager does: terminate, wait, kill."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
