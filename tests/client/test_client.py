"""Both clients against a real server, and against one that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from deepseek.client import AsyncClient, Client, UnreachableError
from deepseek.contracts import Flag
from deepseek.engines import Runtime
from deepseek.errors import BusyError, DeadlineError, DeepseekError, InputError, MissingError
from deepseek.http_errors import UnauthorizedError
from support.servers.certificates import make_certificate

LOANS = [{"age": 33.5, "income": 2400.0, "purpose": "car"}, {"age": 61.0, "income": None, "purpose": "study"}]


class Waited:
    """An AsyncClient with the manners of a Client."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._client = AsyncClient(*args, **options)
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: self._loop.run_until_complete(getattr(self._client, name)(*args, **options))

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.close()


@pytest.fixture(params=[Client, Waited], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def client(make: Any, server: Any) -> Iterator[Any]:
    with make(server.url) as opened:
        yield opened


@pytest.mark.parametrize(
    "rows",
    [
        LOANS,
        {"purpose": ["car", "study"], "age": [33.5, 61.0], "income": [2400.0, float("nan")]},
        {"purpose": np.array(["car", "study"]), "age": np.array([33.5, 61.0]), "income": np.array([2400.0, np.nan])},
        pa.table({"purpose": ["car", "study"], "age": [33.5, 61.0], "income": [2400.0, None]}),
        [[33.5, 2400.0, "car"], [61.0, None, "study"]],
    ],
    ids=["records", "lists", "arrays", "arrow", "positions"],
)
def test_rows_of_every_form_get_the_models_own_answer(client: Any, runtimes: dict[str, Runtime], rows: Any) -> None:
    response, expected = client.predict(rows, model="loans"), runtimes["loans"].predict(LOANS)
    assert response.labels_known == expected.labels_known
    assert response.labels.tolist() == expected.labels.tolist()
    assert response.probabilities.tobytes() == expected.probabilities.tobytes()
    assert response.probabilities.dtype == np.float32
    assert response.flags == expected.flags == (Flag(1, "income", "imputed"),)


@pytest.mark.parametrize("rows", [np.array([[80, 3], [120.5, np.nan]]), np.array([[80, 3], [1, 2]]), [[80, 3]]])
def test_numbers_get_values_and_intervals(client: Any, runtimes: dict[str, Runtime], rows: Any) -> None:
    response = client.predict(rows, model="prices")
    records = [
        {name: None if np.isnan(value) else value for name, value in zip(("area", "rooms"), row, strict=True)}
        for row in np.asarray(rows, float).tolist()
    ]
    expected = runtimes["prices"].predict(records)
    assert response.values.tolist() == expected.values.tolist()
    assert response.intervals.tolist() == expected.intervals.tolist()
    assert response.labels is None


def test_reasons_and_explanations(client: Any) -> None:
    reasons = client.predict(LOANS, model="loans", reasons=2).reasons
    assert [len(row) for row in reasons] == [2, 2]
    assert {"column", "value", "contribution", "text"} <= reasons[0][0].keys()
    attribution = client.explain(LOANS, model="loans")
    assert (attribution.values.shape, attribution.names) == ((2, 3), ("age", "income", "purpose"))
    assert attribution.output == pytest.approx(attribution.base_value + attribution.values.sum(axis=1), abs=1e-4)
    assert client.explain(np.array([[80.0, 3.0]]), model="prices").values.shape == (1, 2)


def test_models_ready_and_the_model_that_is_meant(client: Any) -> None:
    assert client.ready()
    assert [entry["id"] for entry in client.models()] == ["loans", "prices"]
    with pytest.raises(InputError, match="2 models, and none is named"):
        client.predict(LOANS)


@pytest.mark.parametrize(
    ("rows", "model", "kind", "said"),
    [
        (LOANS, "loan", MissingError, "Did you mean 'loans'"),
        (LOANS, "prices", InputError, "no column 'area'"),
        (LOANS, "a/../b c", MissingError, "no model"),
        ([LOANS[0], {"age": 1}], "loans", InputError, "row 1 has other columns"),
        ([LOANS[0], 3], "loans", InputError, "row 1 has other columns"),
        ([], "loans", InputError, "holds no row"),
        ("rows", "loans", InputError, "holds no row"),
        (np.zeros(3), "prices", InputError, "the shape"),
        (np.zeros((3, 3)), "prices", InputError, "the shape"),
        ({"area": [1], "rooms": [1, 2]}, "prices", InputError, "not of one length"),
        ({"area": np.zeros(1), "rooms": np.zeros(2)}, "prices", InputError, "no table"),
    ],
)
def test_errors_are_those_of_the_server_or_said_before_it_is_asked(
    client: Any, rows: Any, model: str, kind: type[DeepseekError], said: str
) -> None:
    with pytest.raises(DeepseekError, match=said) as caught:
        client.predict(rows, model=model)
    assert type(caught.value) is kind
    assert caught.value.fix


def test_texts_are_checked_before_the_server_is_asked(client: Any) -> None:
    for texts in ("one", [], [1]):
        with pytest.raises(InputError, match="no list of texts"):
            client.embed(texts, model="loans")


def test_a_key_is_sent(make: Any, start: Any, prices: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(hashlib.sha256(b"secret").hexdigest())
    with start(prices, environ={"DEEPSEEK_API_KEYS_FILE": str(keys)}) as running:
        with make(running.url, api_key="secret") as client:
            assert client.predict([[80, 3]]).values.shape == (1,)
        with make(running.url) as client, pytest.raises(UnauthorizedError):
            client.predict([[80, 3]], model="prices")


@pytest.mark.parametrize("key", ["secret\r\nx-priority: high", "secret\0", "s\u00e9cret", "two\nlines"])
def test_a_key_that_would_end_its_header_is_refused_and_not_repeated(make: Any, key: str) -> None:
    with pytest.raises(InputError, match="no header can hold") as caught:
        make("http://127.0.0.1:1", api_key=key)
    assert "cret" not in str(caught.value)


def test_a_key_from_a_file_may_have_the_end_of_its_line(make: Any, scripted: Any) -> None:
    heard: list[bytes] = []

    def talk(connection: socket.socket, number: int) -> None:
        heard.append(hear(connection))
        say(connection, 200, {"data": []})

    with make(scripted(talk), api_key="secret\n") as client:
        assert client.models() == []
    assert b"authorization: bearer secret\r\n" in heard[0].lower()


@pytest.mark.parametrize("timeout_s", [float("nan"), float("inf")])
def test_a_limit_that_is_no_time_is_refused(make: Any, timeout_s: float) -> None:
    with make("http://127.0.0.1:1", timeout_s=timeout_s) as client, pytest.raises(InputError, match="timeout_s is"):
        client.models()


@pytest.mark.parametrize("name", ["absent.pem", "empty.pem"])
def test_certificates_that_cannot_be_read_are_named(make: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.pem").touch()
    with pytest.raises(InputError, match=name):
        make("https://127.0.0.1:1", ca_file=str(tmp_path / name))


def test_the_password_in_an_address_is_not_repeated(make: Any) -> None:
    with pytest.raises(InputError, match="names a user") as caught:
        make("http://user:secret@127.0.0.1:1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("cell", [object(), 1j, "\ud800"], ids=["an object", "a complex number", "half a character"])
def test_what_json_cannot_hold_is_refused_before_the_server_is_asked(client: Any, cell: Any) -> None:
    with pytest.raises(InputError, match="cannot be sent"):
        client.predict([LOANS[0] | {"age": cell}], model="loans")


def test_a_refusal_of_openais_routes_is_told_once(client: Any) -> None:
    with pytest.raises(MissingError) as caught:
        client.embed(["a text"], model="loans")
    assert str(caught.value).count("Expected:") == 1


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://x:99999", "http://[", "http://x/?a"]
)
def test_what_is_no_address_is_said(make: Any, url: str) -> None:
    with pytest.raises(InputError, match="no address"):
        make(url)


Talk = Callable[[socket.socket, int], None]


@pytest.fixture
def scripted() -> Iterator[Callable[[Talk], str]]:
    """Starts a server whose connections are handled by a function of the socket and their number."""
    listeners: list[socket.socket] = []

    def begin(talk: Talk) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def handle(connection: socket.socket, number: int) -> None:
            with connection:
                talk(connection, number)

        def run() -> None:
            for number in range(100):
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection, number), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield begin
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def hear(connection: socket.socket) -> bytes:
    """One request, head and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0)
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def say(connection: socket.socket, status: int, body: Any, headers: str = "") -> None:
    text = json.dumps(body).encode()
    connection.sendall(f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\n{headers}\r\n".encode() + text)


BUSY = {"error": {"code": "overloaded", "message": "40 rows wait already", "expected": "", "fix": "ask again in 0 s"}}
VALUES = {"values": [1.5]}


def test_a_busy_server_is_asked_again_when_it_says(make: Any, scripted: Any) -> None:
    requests: list[bytes] = []

    def talk(connection: socket.socket, number: int) -> None:
        while request := hear(connection):
            requests.append(request)
            if len(requests) < 3:
                say(connection, 429, BUSY, "retry-after: 0\r\n")
            else:
                say(connection, 200, VALUES)

    url = scripted(talk)
    with make(url) as client:
        assert client.predict([[1]], model="m").values.tolist() == [1.5]
        assert len(requests) == 3
        assert b"x-timeout-ms:" in requests[0].lower()
    requests.clear()
    with make(url, max_retries=1) as client, pytest.raises(BusyError, match="40 rows wait"):
        client.predict([[1]], model="m")
    assert len(requests) == 2


def test_a_wait_beyond_the_time_that_is_left_is_not_begun(make: Any, scripted: Any) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        while hear(connection):
            say(connection, 429, BUSY, "retry-after: 60\r\n")

    started_s = time.perf_counter()
    with make(scripted(talk)) as client, pytest.raises(BusyError):
        client.predict([[1]], model="m", timeout_s=50)
    assert time.perf_counter() - started_s < 25


def test_a_connection_that_breaks_is_made_anew_once(make: Any, scripted: Any) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        hear(connection)
        if number % 2:
            say(connection, 200, VALUES)
            hear(connection)
        connection.close()

    with make(scripted(talk)) as client:
        assert client.predict([[1]], model="m").values.tolist() == [1.5]


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"]
)
def test_broken_answers_are_no_tracebacks(make: Any, scripted: Any, answer: bytes) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        hear(connection)
        connection.sendall(answer)
        connection.close()

    with make(scripted(talk)) as client, pytest.raises(DeepseekError):
        client.predict([[1]], model="m", timeout_s=5)


def test_a_body_in_chunks_is_read(make: Any, scripted: Any) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        hear(connection)
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head + b'a\r\n{"values":\r\n6;x=1\r\n[1.5]}\r\n0\r\n\r\n')
        hear(connection)

    with make(scripted(talk)) as client:
        assert client.predict([[1]], model="m").values.tolist() == [1.5]


def test_a_server_that_says_nothing_is_given_up_in_time(make: Any, scripted: Any) -> None:
    started_s = time.perf_counter()
    with make(scripted(lambda connection, number: time.sleep(60))) as client, pytest.raises(DeadlineError):
        client.ready(timeout_s=0.2)
    assert time.perf_counter() - started_s < 20


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_an_answer_that_comes_in_drops_is_given_up_in_time(
    make: Any, scripted: Any, tmp_path: Path, encrypted: bool
) -> None:
    """The limit is that of the whole call: each drop comes well within it."""
    pem, key = make_certificate()
    (tmp_path / "cert.pem").write_bytes(pem)
    (tmp_path / "key.pem").write_bytes(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    def talk(connection: socket.socket, number: int) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(connection, server_side=True) if encrypted else connection as peer,
        ):
            hear(peer)
            for letter in b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b" " * 1_000:
                peer.sendall(bytes([letter]))
                time.sleep(0.02)

    url = scripted(talk)
    if encrypted:
        url = url.replace("http://127.0.0.1", "https://localhost")
    started_s = time.perf_counter()
    with (
        make(url, ca_file=str(tmp_path / "cert.pem") if encrypted else None) as client,
        pytest.raises(DeadlineError, match=r"within 0\.5 s"),
    ):
        client.predict([[1]], model="m", timeout_s=0.5)
    assert 0.5 <= time.perf_counter() - started_s < 10, "all drops take 20 s"


def test_a_body_that_is_taken_in_drops_is_given_up_in_time(make: Any, scripted: Any) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            while connection.recv(65_536):
                time.sleep(0.1)

    started_s = time.perf_counter()
    with make(scripted(talk)) as client, pytest.raises(DeadlineError):
        client.predict({"a": np.zeros(4_000_000)}, model="m", timeout_s=0.5)
    assert time.perf_counter() - started_s < 20, "the whole body takes 48 s"


def test_a_page_of_something_else_and_no_server_at_all_are_said(make: Any, scripted: Any) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        hear(connection)
        say(connection, 502, "<html>")

    with make(scripted(talk)) as client, pytest.raises(UnreachableError, match="status 502"):
        client.models()
    with make("http://127.0.0.1:1") as client, pytest.raises(UnreachableError, match="no server answers"):
        client.ready()


def test_embeddings_are_vectors_in_the_order_of_their_texts(make: Any, scripted: Any) -> None:
    heard: list[bytes] = []

    def talk(connection: socket.socket, number: int) -> None:
        heard.append(hear(connection))
        entries = [{"index": 1, "embedding": [3.0, 4.5]}, {"index": 0, "embedding": "AACAPwAAAEA="}]
        say(connection, 200, {"data": entries})

    with make(scripted(talk)) as client:
        assert client.embed(["a", "b"], model="m").tolist() == [[1.0, 2.0], [3.0, 4.5]]
    assert b'"encoding_format":"base64"' in heard[0]


def test_a_server_without_pyarrow_is_asked_in_json(make: Any, scripted: Any) -> None:
    heard: list[bytes] = []

    def talk(connection: socket.socket, number: int) -> None:
        while request := hear(connection):
            heard.append(request)
            if b"arrow.stream" in request:
                say(connection, 501, {"error": {"code": "not_installed", "message": "pyarrow is not installed"}})
            else:
                say(connection, 200, VALUES)

    with make(scripted(talk)) as client:
        for _ in range(2):
            assert client.predict({"a": np.array([1.0])}, model="m").values.tolist() == [1.5]
    assert [b"arrow.stream" in request for request in heard] == [True, False, False]


def test_one_client_serves_many_threads(server: Any) -> None:
    values: list[float] = []
    with Client(server.url) as client:

        def ask() -> None:
            values.extend(float(client.predict([[80, 3]], model="prices").values[0]) for _ in range(20))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(values) == 160
    assert len(set(values)) == 1


def test_an_encrypted_server_is_trusted_by_its_certificate_alone(make: Any, scripted: Any, tmp_path: Path) -> None:
    pem, key = make_certificate()
    (tmp_path / "cert.pem").write_bytes(pem)
    (tmp_path / "key.pem").write_bytes(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    def talk(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
            while hear(encrypted):
                say(encrypted, 200, VALUES)

    url = scripted(talk).replace("http://127.0.0.1", "https://localhost")
    with make(url, ca_file=str(tmp_path / "cert.pem")) as client:
        assert client.predict([[1]], model="m").values.tolist() == [1.5]
    with make(url) as client, pytest.raises(UnreachableError, match="certificate"):
        client.predict([[1]], model="m")
