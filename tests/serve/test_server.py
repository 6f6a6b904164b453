"""A real server process: its start, its limits, and its end under load."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from deepseek.errors import InputError
from deepseek.serve.run import FILE_CHECK_S, bind, listen
from support.servers.load import engines_of, until
from support.servers.serving import Server

PREDICT = "/v1/models/loans:predict"
JSON = {"content-type": "application/json"}


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=600)


def answers(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    return received


def test_the_ready_line_names_a_url_that_answers(server: Any) -> None:
    assert server.models == ["loans", "prices"]
    assert server.url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200


def test_a_port_that_is_taken_is_said_at_once_with_exit_code_2(server: Any, loans: Path) -> None:
    port = str(urlsplit(server.url).port)
    command = [sys.executable, "-m", "deepseek", "serve", str(loans), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert done.stdout == ""


def test_a_port_that_somebody_took_while_models_were_opened_is_said_so() -> None:
    """Two servers that start at once are both bound to it: it is whose that listens first."""
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", first.getsockname()[1]) as second:
        listen(second, "127.0.0.1")
        with pytest.raises(InputError, match="is in use"):
            listen(first, "127.0.0.1")


def test_a_port_of_grpc_that_is_taken_is_said_before_models_are_opened(server: Any) -> None:
    port = str(urlsplit(server.url).port)
    command = [sys.executable, "-m", "deepseek", "serve", "no/such/bundle", "--port", "0", "--grpc-port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "--grpc-port 0" in done.stderr


@pytest.mark.slow
def test_file_descriptors_that_run_out_are_told_and_the_server_recovers(start: Any, loans: Path) -> None:
    with start(loans, "--workers", "1", environ={"DEEPSEEK_LOG_LEVEL": "info"}) as server:
        pid = server.process.pid
        limit = num_files(pid) + 12
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        held = [connect(server.url) for _ in range(limit + 20)]
        until(lambda: num_files(pid) >= limit)
        time.sleep(8 * FILE_CHECK_S)  # until it must have looked, on a busy machine, too
        before_s = cpu_s(pid)
        time.sleep(2.0)
        assert cpu_s(pid) - before_s < 1.0, "it does not try all the time"
        for connection in held:
            connection.close()
        until(lambda: num_files(pid) < limit - 5)
        time.sleep(8 * FILE_CHECK_S)
        stats = httpx.get(f"{server.url}/v1/stats").json()["processes"]
        assert stats["out_of_files"] == 1
        assert "deepseek_out_of_files_total 1.0" in httpx.get(f"{server.url}/metrics").text
        assert server.stop() == 0
        lines = [json.loads(line)["deepseek"] for line in server.process.stderr.read().splitlines() if line[:1] == "{"]
    states = [line["state"] for line in lines if "file descriptor" in line.get("state", "")]
    assert states == ["no file descriptor is free: connections are cut off", "file descriptors are free again"]


def num_files(pid: int) -> int:
    """That a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def cpu_s(pid: int) -> float:
    """That a process has computed for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("args", [[], ["no/such/bundle"], ["--port", "70000", "x"], ["--log-level", "loud", "x"]])
def test_wrong_usage_is_exit_code_2_without_a_traceback(args: list[str]) -> None:
    command = [sys.executable, "-m", "deepseek", "serve", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_environment_names_the_bundle_and_options_rename_it(start: Any, loans: Path) -> None:
    with start(environ={"MODEL_PATH": str(loans)}) as first:
        assert first.models == ["loans"]
    with start(f"credit={loans}") as second:
        assert second.models == ["credit"]


def test_a_body_of_100_mb_is_refused_without_being_kept_and_the_server_goes_on(server: Any) -> None:
    before = server.resident_bytes()

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1_000_000

    declared = httpx.post(server.url + PREDICT, content=b" " * 100_000_000, headers=JSON, timeout=600)
    streamed = httpx.post(server.url + PREDICT, content=chunks(), headers=JSON, timeout=600)
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert declared.json()["error"]["code"] == "too_large"
    assert server.resident_bytes() - before < 80_000_000
    assert httpx.get(f"{server.url}/v1/models").status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_bytes_that_are_no_http_get_our_error_body(server: Any, request_bytes: bytes) -> None:
    with connect(server.url) as connection:
        connection.sendall(request_bytes)
        head, _, body = answers(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "malformed"


LONG = b"a" * 70_000
MANY = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 200) for number in range(400))


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx-long: " + LONG + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n" + MANY + b"\r\n",
        b"GET /?q=" + LONG + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx-without-end: " + LONG * 100,
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-trailer: " + LONG * 100,
    ],
    ids=["one header", "many headers", "the path", "a header without end", "a trailer"],
)
def test_headers_over_the_limit_get_431_and_are_not_kept(server: Any, head: bytes) -> None:
    before = server.resident_bytes()
    with connect(server.url) as connection:
        for start in range(0, len(head), 8_192):
            connection.sendall(head[start : start + 8_192])
        status, _, body = answers(connection).partition(b"\r\n\r\n")
    if b"trailer" not in head:  # there the request is answered before its trailers have come
        assert status.startswith(b"HTTP/1.1 431 Request Header Fields Too Large")
        expected = "at most 256" if MANY in head else "at most 64 KiB together"
        assert json.loads(body)["error"]["expected"] == expected
    assert server.resident_bytes() - before < 4_000_000


def test_headers_within_the_limit_are_taken_on_one_connection_again_and_again(server: Any) -> None:
    with httpx.Client(base_url=server.url) as client:
        for _ in range(5):
            assert client.get("/v1/models", headers={"x-cookie": "a" * 40_000}).status_code == 200


@pytest.mark.parametrize(
    ("stdout", "said"),
    [("> /dev/full", "the ready line cannot be written: No space left on device"), (">&-", "stdout is closed")],
)
def test_a_stdout_that_takes_nothing_is_one_error_and_exit_code_2(loans: Path, stdout: str, said: str) -> None:
    command = f"exec {sys.executable} -m deepseek serve {loans} --port 0 --log-level off {stdout}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}\n")
    assert "Traceback" not in done.stderr


def test_a_name_with_a_space_is_reached_by_its_quoted_path(start: Any, loans: Path, loan: dict[str, Any]) -> None:
    with start(f"my loans={loans}") as server:
        path = "/v1/models/my%20loans:predict"
        assert httpx.post(server.url + path, json={"instances": [loan]}).status_code == 200
        assert path in httpx.get(f"{server.url}/openapi.json").json()["paths"]
        refused = httpx.post(server.url + path, json={}).json()["error"]
    assert "GET /v1/models/my%20loans/example" in refused["fix"]


def test_a_content_length_that_is_too_short_breaks_only_that_request(server: Any) -> None:
    with connect(server.url) as connection:
        head = (
            f"POST {PREDICT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\n"
        )
        connection.sendall(head.encode() + b'{"instances": [{}]}')
        assert answers(connection).startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{server.url}/v1/models").status_code == 200


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_trace(server: Any) -> None:
    for _ in range(20):
        with connect(server.url) as connection:
            connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n\r\n{{".encode())
    assert httpx.get(f"{server.url}/v1/models").status_code == 200


def test_many_clients_at_once_each_get_their_own_answer(server: Any, loan: dict[str, Any]) -> None:
    rows = [loan | {"age": 20 + number / 2, "purpose": ("car", "house")[number % 2]} for number in range(64)]

    def ask(client: httpx.Client, row: dict[str, Any]) -> Any:
        return client.post(PREDICT, json={"instances": [row]}).json()["predictions"][0]

    with httpx.Client(base_url=server.url, timeout=600) as client, ThreadPoolExecutor(16) as pool:
        alone = client.post(PREDICT, json={"instances": rows}).json()["predictions"]
        answers = list(pool.map(lambda row: ask(client, row), rows * 4))
    assert answers == alone * 4


def test_health_answers_in_time_while_large_requests_are_computed(server: Any, loan: dict[str, Any]) -> None:
    body = json.dumps({"instances": [loan] * 16_000}).encode()
    slowest_s = 0.0
    with ThreadPoolExecutor(2) as pool, httpx.Client(base_url=server.url, timeout=600) as client:
        begun_s = time.perf_counter()
        large = [
            pool.submit(httpx.post, server.url + PREDICT, content=body, headers=JSON, timeout=600) for _ in range(4)
        ]
        while not all(future.done() for future in large):
            started_s = time.perf_counter()
            assert client.get("/v2/health/live").status_code == 200
            slowest_s = max(slowest_s, time.perf_counter() - started_s)
        assert [future.result().status_code for future in large] == [200] * 4
    # A busy machine makes both slower: one that is kept waiting by a large request waits for a quarter of the time.
    assert slowest_s < max(1.0, (time.perf_counter() - begun_s) / 8)


class Load:
    """Clients that send one request after the other, each on a connection that it keeps, until they are refused."""

    def __init__(self, url: str, body: bytes, num_clients: int) -> None:
        self.url = url
        self.request = f"POST {PREDICT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n".encode()
        self.request += f"content-length: {len(body)}\r\n\r\n".encode() + body
        self.num_answered = 0
        self.lost: list[str] = []
        self.stop = threading.Event()
        self._counting = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(num_clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        for number in itertools.count():
            if self.stop.is_set():
                return
            try:
                connection = connect(self.url)
            except OSError:  # refused: not accepted, so not lost
                return
            with connection:
                # The kernel takes connections before the server does, and resets those that the server never took: one
                # that is made while it ends, on a busy machine.
                is_taken = number == 0
                while not self.stop.is_set() and self._one(connection, is_taken=is_taken):
                    is_taken = True

    def _one(self, connection: socket.socket, *, is_taken: bool) -> bool:
        """One request. Whether the connection goes on. `is_taken`: the server must have accepted the connection."""
        received = b""
        try:
            connection.sendall(self.request)
            while b"}]}" not in received:
                chunk = connection.recv(65_536)
                if not chunk:
                    break
                received += chunk
        except OSError as error:
            if not is_taken and not received:
                return False
            received += f" {error}".encode()
        with self._counting:
            if received.startswith(b"HTTP/1.1 200") and received.endswith(b"}]}"):
                self.num_answered += 1
            else:
                self.lost.append(repr(received[:300]))
        return b"connection: close" not in received.lower() and received.endswith(b"}]}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_loses_no_request(start: Any, loans: Path, loan: dict[str, Any], number: int) -> None:
    body = json.dumps({"instances": [loan] * 20}).encode()
    with start(loans) as server, Load(server.url, body, num_clients=16) as load:
        until(lambda: load.num_answered > 50)
        assert server.stop(number) == 0
        load.stop.set()
    assert load.lost == []


def signalled(loans: Path, *options: str, when: Callable[[Server], bool]) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a server that gets a signal as soon as something is so."""
    command = [sys.executable, "-m", "deepseek", "serve", str(loans), "--port", "0", "--workers", "1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: when(Server("", process, [])))
            process.send_signal(signal.SIGTERM)
            said, trouble = process.communicate(timeout=600)
        finally:
            process.kill()
        return process.returncode, said, trouble


@pytest.mark.slow
def test_a_signal_while_models_are_opened_ends_that(loans: Path) -> None:
    def stopped(server: Server) -> bool:
        """Its engine process, so that the models would never be open."""
        engines = engines_of(server)
        for pid in engines:
            os.kill(pid, signal.SIGSTOP)
        return bool(engines)

    code, said, trouble = signalled(loans, when=stopped)
    assert (code, said) == (0, "")
    assert "error: " not in trouble


def test_a_signal_while_front_ends_start_is_no_error(loans: Path) -> None:
    def begun(server: Server) -> bool:
        pid = server.process.pid
        return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) == 2

    code, said, trouble = signalled(loans, "--front-ends", "2", when=begun)
    assert (code, said) == (0, "")
    assert "error: " not in trouble


@pytest.mark.slow
def test_a_large_request_in_work_is_finished_after_the_signal(start: Any, loans: Path, loan: dict[str, Any]) -> None:
    body = json.dumps({"instances": [loan] * 16_000}).encode()
    with start(loans) as server, ThreadPoolExecutor(1) as pool, httpx.Client(base_url=server.url) as client:
        assert client.get("/v2/health/live").status_code == 200  # the server has the connection
        future = pool.submit(client.post, PREDICT, content=body, headers=JSON, timeout=600)
        time.sleep(0.1)
        assert server.stop() == 0
        assert len(future.result().json()["predictions"]) == 16_000


def test_the_audit_log_is_complete_after_the_drain(
    start: Any, loans: Path, loan: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "audit.ndjson"
    with start(loans, "--audit-log", path) as server:
        for number in range(5):
            headers = {"x-request-id": f"order-{number}"}
            httpx.post(server.url + PREDICT, json={"instances": [loan]}, headers=headers)
        assert server.stop() == 0
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["http.request.id"] for line in events] == [f"order-{number}" for number in range(5)]
    assert all(len(line["deepseek"]["model.digest"]) == 64 for line in events)


def test_a_full_disk_costs_audit_lines_but_no_answer_and_no_clean_end(
    start: Any, loans: Path, loan: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "audit.ndjson"
    with start(loans, "--audit-log", path) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        assert httpx.post(server.url + PREDICT, json={"instances": [loan]}).status_code == 200
        assert server.stop() == 0
        (line,) = server.process.stderr.read().splitlines()
    assert path.read_bytes() == b""
    assert json.loads(line)["deepseek"]["state"] == "lines are lost"


def test_a_server_that_holds_trees_has_imported_no_library_for_training(
    start: Any, loans: Path, loan: dict[str, Any]
) -> None:
    """A server of its own: reading an Arrow stream, which other tests do, may import pandas."""
    with start(loans, "--workers", "1") as server:
        assert httpx.post(server.url + PREDICT, json={"instances": [loan]}).status_code == 200
        for pid in (server.process.pid, *engines_of(server)):
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert not [name for name in ("torch", "sklearn", "pandas") if f"/site-packages/{name}/" in maps]


def test_the_key_file_of_the_environment_is_honoured(start: Any, loans: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="cannot be read"),
        start(loans, environ={"DEEPSEEK_API_KEYS_FILE": str(tmp_path / "absent")}),
    ):
        pass
