"""Every way in which the server refuses: each says what is wrong, what was expected and how to mend it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from deepseek.engines import Runtime
from deepseek.serve import App, Settings, create_app
from support.servers.serving import serving

PREDICT, EXPLAIN, INFER = "/v1/models/loans:predict", "/v1/models/loans:explain", "/v2/models/loans/infer"
PRICES, TENSORS = "/v1/models/prices:explain", "/v2/models/prices/infer"
ROW = {"age": 33.5, "income": 2400.0, "purpose": "car"}
ROWS = {"instances": [ROW]}
KEY = {"authorization": "Bearer open sesame"}
Answer = tuple[str, int, dict[str, str]]  # what was done, the status, the error


def tensor(**changed: Any) -> dict[str, Any]:
    """A body with one tensor, changed or without the keys that are None."""
    entry = {"name": "age", "datatype": "FP64", "shape": [1], "data": [33.5]} | changed
    return {"inputs": [{key: value for key, value in entry.items() if value is not None}]}


def raw(size: Any, **changed: Any) -> dict[str, Any]:
    return tensor(data=None, parameters={"binary_data_size": size}, **changed)


AGE, MATRIX = tensor()["inputs"][0], {"name": "all", "datatype": "FP32", "shape": [1, 2], "data": [[80, 3]]}
#: path, body, status; bytes are sent as they are.
BODIES: list[tuple[str, Any, int]] = [
    *((PREDICT, body, 400) for body in (
        b"", b"{", b"[]", b"\xff\xfe", b'{"a": "\xff"}', b'{"a": NaN}', b'{"a": 1e999}', b'{"a": 1, "a": 2}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a": "\\ud800"}', b"{} x",
    )),
    *((PREDICT, body, 422) for body in (
        {}, {"instance": []}, {"instances": {}}, {"instances": []}, {"instances": [3]}, {"instances": [{}]},
        {"instances": [ROW | {"agee": 3}]}, {"instances": [ROW | {"age": "old"}]}, {"instances": [ROW | {"age": []}]},
        ROWS | {"reasons": -1}, ROWS | {"reasons": "all"},
    )),
    (PREDICT, {"instances": [{}] * 11}, 413), (PREDICT, {"instances": [ROW] * 6, "reasons": 1}, 413),
    (PREDICT, b" " * 3_000, 413), (EXPLAIN, {"instances": [ROW] * 6}, 413),
    (INFER, tensor(shape=[11], data=[1] * 11), 413),
    (EXPLAIN, ROWS | {"target": "maybe"}, 422), (EXPLAIN, ROWS | {"target": 3}, 422),
    (PRICES, {"instances": [{"area": 80, "rooms": 3}], "target": "yes"}, 422),
    *((INFER, body, 422) for body in (
        {}, {"inputs": []}, {"inputs": [3]}, tensor(name=None), tensor(datatype="FP8"), tensor(shape=3),
        tensor(data=None), tensor(data=[1, 2]), tensor(data=["old"]), tensor(shape=[0], data=[]), raw(8), raw("many"),
        tensor(), {"inputs": [AGE, AGE]}, {"inputs": [AGE, AGE | {"name": "income", "shape": [2], "data": [1, 2]}]},
        {"inputs": [MATRIX]}, tensor() | {"id": 7}, tensor() | {"parameters": []},
        tensor() | {"outputs": [{"name": "x"}]},
    )),
    (TENSORS, {"inputs": [MATRIX | {"shape": [1, 1], "data": [80]}]}, 422),
]  # fmt: skip
#: A JSON header and the raw bytes behind it.
BINARY = [
    (tensor(), b"abc"), (raw(4), b"abcd"), (raw(3, datatype="BYTES", name="purpose"), b"abc"),
    (raw(7, datatype="BYTES", name="purpose", shape=[2]), b"\x03\0\0\0car"),
]  # fmt: skip
#: method, path, headers, status
HEADERS: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", "/nothing", {}, 404), ("GET", "/v1/models/lonas", {}, 404), ("GET", "/metrics", {}, 404),
    ("GET", "/v1/models/loans/versions/9", {}, 404),
    ("GET", "/v1/stats", {}, 404), ("GET", PREDICT, {}, 405), ("POST", "/v1/models", {}, 405),
    ("POST", PREDICT, {"content-type": "text/csv"}, 415), ("POST", PREDICT, {"content-encoding": "br"}, 415),
    ("POST", INFER, {"inference-header-content-length": "1", "content-encoding": "br"}, 415),
    ("POST", INFER, {"inference-header-content-length": "many"}, 400), ("POST", PREDICT, {"x-timeout-ms": "soon"}, 400),
    ("GET", "/v1/models", {"authorization": ""}, 401), ("GET", "/v1/models", {"authorization": "Bearer x"}, 401),
]  # fmt: skip


class Broken:
    """A runtime with a bug: none that a client could be told about."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def decide(self, scores: Any, flags: Any) -> Any:
        raise RuntimeError("a bug")


async def slow() -> Any:
    """A body that stops in the middle."""
    yield b"{"
    await asyncio.sleep(1)


async def ask_refusal(app: App, method: str, path: str, status: int, **request: Any) -> Answer:
    headers = KEY | {"content-type": "application/json"} | request.pop("headers", {})
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.request(method, path, headers=headers, **request)
    assert answer.status_code == status, (method, path, request, answer.text)
    body = answer.json()
    error = body["error"] if isinstance(body["error"], dict) else body  # a sentence, and its parts beside it
    return f"{method} {path} {request} {headers}"[:300], status, error


async def refusals(runtimes: dict[str, Runtime], keys: Path) -> list[Answer]:
    """One answer for each way to be refused by the application."""
    limits = Settings(
        api_keys_file=str(keys), max_rows=10, max_explain_rows=5, max_body_bytes=250_000, body_timeout_s=0.05
    )
    app, small = create_app(runtimes, settings=limits), create_app(runtimes, settings=Settings(max_body_bytes=2_000))
    answers = [
        await ask_refusal(small if body == b" " * 3_000 else app, "POST", path, status,
                    content=body if isinstance(body, bytes) else json.dumps(body))
        for path, body, status in BODIES
    ]  # fmt: skip
    for header, tail in BINARY:
        text = json.dumps(header).encode()
        length = {"inference-header-content-length": str(len(text))}
        answers.append(await ask_refusal(app, "POST", INFER, 422, content=text + tail, headers=length))
    answers += [
        await ask_refusal(app, method, path, status, content=json.dumps(ROWS), headers=headers)
        for method, path, headers, status in HEADERS
    ]
    answers.append(await ask_refusal(app, "POST", PREDICT, 408, content=slow()))
    answers.append(await ask_refusal(app, "POST", EXPLAIN, 501, json=ROWS))
    answers.append(await ask_refusal(app, "POST", PREDICT, 501, json=ROWS | {"reasons": 1}))
    answers.append(await ask_refusal(create_app({"loans": Broken(runtimes["loans"])}), "POST", PREDICT, 500, json=ROWS))
    answers.append(await ask_refusal(create_app({}), "GET", "/v2/health/ready", 503))
    answers.append(await ask_refusal(create_app({}), "GET", "/v1/models/loans", 404))
    app.drain()
    answers.append(await ask_refusal(app, "GET", "/v2/health/ready", 503))
    full = create_app(runtimes, settings=Settings(max_queued_rows=1))
    full.models["loans"].scheduler.num_rows = 1
    answers.append(await ask_refusal(full, "POST", PREDICT, 429, json=ROWS))
    late = create_app(runtimes, settings=Settings(timeout_s=1e-9))
    answers.append(await ask_refusal(late, "POST", PREDICT, 504, json=ROWS))
    return answers


def bytes_refused(url: str) -> Iterator[Answer]:
    """Answers to what never becomes a request."""
    for sent in (b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000 + b"\r\n\r\n"):
        with socket.create_connection(
            (urlsplit(url).hostname or "", urlsplit(url).port or 0), timeout=20
        ) as connection:
            connection.sendall(sent)
            received = b""
            while chunk := connection.recv(65_536):
                received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        yield repr(sent[:40]), int(head.split()[1]), json.loads(body)["error"]


def test_every_refusal_says_what_is_wrong_what_was_expected_and_how_to_mend_it(
    runtimes: dict[str, Runtime], server: Any, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(hashlib.sha256(b"open sesame").hexdigest())
    answers = asyncio.run(refusals(runtimes, keys)) + list(bytes_refused(server.url))
    silent = [
        (what, error) for what, _, error in answers if not all(error[key] for key in ("message", "expected", "fix"))
    ]
    assert silent == []
    statuses = {status for _, status, _ in answers}
    assert statuses == {400, 401, 404, 405, 408, 413, 415, 422, 429, 431, 500, 501, 503, 504}
