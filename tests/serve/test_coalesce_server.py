"""A server that computes identical requests once: who is answered, and what who goes away leaves to the others."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http

from deepseek.engines import Runtime
from deepseek.engines.onnx_file import open_file
from deepseek.serve.models.graph import GraphAdapter
from support.nets.onnxgraphs import FLOAT, lookup, node, save
from support.nets.textfolders import make_text_folder
from support.servers.load import engines_of
from support.servers.serving import Server, started, until

PLACES = {"city": "Bonn", "places": [1, 2, 3]}
SUM = 14.0  # of the squares
OTHER = {"city": "Bonn", "places": [5]}
WITHOUT_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a client of its own for each request would read the authorities
ARRIVED_S = 0.4  # after which a request waits for the engine


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lookup(tmp_path_factory.mktemp("graph") / "lookup.onnx")


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another answer to each request, by itself and of the whole tensors."""
    nodes = [node("RandomNormalLike", "x", "noise"), node("Add", "x noise", "y")]
    ends = [("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 2])]
    return save(tmp_path_factory.mktemp("graph") / "noise.onnx", nodes, *ends)


@pytest.fixture(scope="module")
def server(graph: Path, noise: Path, loans: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = make_text_folder(tmp_path_factory.mktemp("names") / "names", task="token-classification")
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    with started(graph, noise, loans, folder, "--workers", "1", "--coalesce", environ=cache) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as threads:
        yield threads


def ask(server: Server, row: Any, model: str = "lookup", **headers: str) -> httpx.Response:
    url = f"{server.url}/v1/models/{model}:predict"
    return httpx.post(url, json={"instances": [row]}, headers=headers, timeout=30, verify=WITHOUT_TLS)


def read_metric(server: Server, name: str, model: str = "lookup") -> float:
    """A figure of /metrics."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f'{name}{{model_name="{model}"'))


def computed(server: Server, model: str = "lookup") -> float:
    return read_metric(server, "deepseek_batch_rows_sum", model)


def coalesced(server: Server, model: str = "lookup") -> float:
    return read_metric(server, "deepseek_coalesced_requests_total", model)


@contextmanager
def standing(server: Server) -> Iterator[int]:
    """Its engine process computes nothing meanwhile, so that what is asked has to wait."""
    (pid,) = engines_of(server)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def submit_requests(
    pool: ThreadPoolExecutor, server: Server, num: int, row: Any, **options: Any
) -> list[Future[httpx.Response]]:
    """So many requests, all but the first of which are known to wait for the first."""
    model = options.get("model", "lookup")
    before = coalesced(server, model)
    futures = [pool.submit(ask, server, row, **options) for _ in range(num)]
    until(lambda: coalesced(server, model) == before + num - 1)
    return futures


def sums(answers: list[Future[httpx.Response]]) -> list[float]:
    responses = [answer.result() for answer in answers]
    assert {answer.status_code for answer in responses} == {200}
    return [answer.json()["predictions"][0]["sum"] for answer in responses]


def test_64_identical_requests_are_computed_once_and_each_is_answered(server: Server, pool: ThreadPoolExecutor) -> None:
    before, answered = computed(server), read_metric(server, "deepseek_requests_total")
    with standing(server):
        answers = submit_requests(pool, server, 64, PLACES)
    assert sums(answers) == [SUM] * 64
    assert computed(server) - before == 1
    assert read_metric(server, "deepseek_requests_total") - answered == 64
    assert read_metric(server, "deepseek_rows_total") >= 64


def test_other_protocols_join_too(server: Server, pool: ThreadPoolExecutor) -> None:
    def infer() -> float:
        inputs = [
            tritonclient.http.InferInput("city", [1], "BYTES"),
            tritonclient.http.InferInput("places", [1, 3], "INT64"),
        ]
        inputs[0].set_data_from_numpy(np.array([b"Bonn"], np.object_))
        inputs[1].set_data_from_numpy(np.array([[1, 2, 3]], np.int64))
        with tritonclient.http.InferenceServerClient(server.url.removeprefix("http://")) as client:
            return float(client.infer("lookup", inputs).as_numpy("sum")[0])

    before, joined = computed(server), coalesced(server)
    with standing(server):
        answers = submit_requests(pool, server, 2, PLACES)
        binary = pool.submit(infer)
        until(lambda: coalesced(server) == joined + 2)
    assert sums(answers) == [SUM] * 2
    assert binary.result() == SUM
    assert computed(server) - before == 1


def test_different_inputs_are_never_mixed(server: Server, pool: ThreadPoolExecutor) -> None:
    draw = np.random.default_rng(0)
    lists = [draw.integers(0, 10, draw.integers(1, 4)).tolist() for _ in range(40)]
    chosen = [lists[at] for at in draw.integers(0, 40, 400)]
    before, joined = computed(server), coalesced(server)
    answers = [pool.submit(ask, server, {"city": "Bonn", "places": places}) for places in chosen]
    assert sums(answers) == [float(sum(place**2 for place in places)) for places in chosen]
    assert computed(server) - before == 400 - (coalesced(server) - joined)


def test_what_an_answer_says_beside_the_output_is_each_requests_own(
    server: Server, pool: ThreadPoolExecutor, runtimes: dict[str, Runtime], loan: dict[str, Any]
) -> None:
    """Two unlike records may become the same features, or the same tokens."""
    boat, plane = loan | {"purpose": "boat"}, loan | {"purpose": ""}
    prepare = runtimes["loans"].prepare
    assert prepare([boat]).features.tobytes() == prepare([plane]).features.tobytes()
    assert prepare([boat]).flags != prepare([plane]).flags
    with standing(server):
        before = coalesced(server, "loans")
        answers = [pool.submit(ask, server, row, "loans") for row in (boat, plane, boat)]
        until(lambda: coalesced(server, "loans") == before + 2)
    first, other, second = (answer.result().json()["predictions"][0] for answer in answers)
    assert first == second
    assert first["probabilities"] == other["probabilities"]
    assert first["flags"] != other["flags"]
    for answer, row in ((first, boat), (other, plane)):
        assert answer["flags"] == [{"column": flag.column, "what": flag.what} for flag in prepare([row]).flags]


def test_entities_are_cut_out_of_the_text_that_was_sent(server: Server, pool: ThreadPoolExecutor) -> None:
    texts = ["BERLIN IS BIG", "berlin is big"]
    with standing(server):
        first = pool.submit(ask, server, OTHER)
        answers = [pool.submit(ask, server, {"text": text}, "names") for text in texts * 2]
        until(lambda: coalesced(server, "names") >= 2)
    assert first.result().status_code == 200
    for text, answer in zip(texts * 2, answers, strict=True):
        entities = answer.result().json()["predictions"][0]["entities"]
        assert entities
        assert all(each["text"] == text[each["start"] : each["end"]] for each in entities)


def connected(server: Server, row: Any) -> socket.socket:
    """A client that has asked, and does not wait for the answer yet."""
    body = json.dumps({"instances": [row]}).encode()
    host, port = server.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)))
    client.sendall(
        b"POST /v1/models/lookup:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    return client


def leave(*clients: socket.socket) -> None:
    """Go away at once: who only says no more may still wait for an answer."""
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    time.sleep(ARRIVED_S)


@pytest.mark.parametrize("leader", [True, False])
def test_who_goes_away_takes_nobody_along(server: Server, pool: ThreadPoolExecutor, leader: bool) -> None:
    before, joined = computed(server), coalesced(server)
    with standing(server):
        busy = pool.submit(ask, server, OTHER)
        time.sleep(ARRIVED_S)
        gone = [connected(server, PLACES)] if leader else []
        time.sleep(ARRIVED_S)
        answers = [pool.submit(ask, server, PLACES) for _ in range(3)]
        time.sleep(ARRIVED_S)
        gone.append(connected(server, PLACES))
        until(lambda: coalesced(server) == joined + len(answers) + len(gone) - 1)
        leave(*gone)
    assert sums(answers) == [SUM] * 3
    assert busy.result().status_code == 200
    assert computed(server) - before == 2


def test_what_nobody_waits_for_any_more_is_not_computed(server: Server, pool: ThreadPoolExecutor) -> None:
    before, joined = computed(server), coalesced(server)
    with standing(server):
        busy = pool.submit(ask, server, OTHER)
        time.sleep(ARRIVED_S)
        gone = [connected(server, PLACES) for _ in range(4)]
        until(lambda: coalesced(server) == joined + 3)
        leave(*gone)
    assert busy.result().status_code == 200
    assert computed(server) - before == 1
    assert sums([pool.submit(ask, server, PLACES)]) == [SUM]
    assert computed(server) - before == 2


def test_a_deadline_is_each_requests_own(server: Server, pool: ThreadPoolExecutor) -> None:
    before, joined = computed(server), coalesced(server)
    with standing(server):
        busy = pool.submit(ask, server, OTHER)
        time.sleep(ARRIVED_S)
        answers = [pool.submit(ask, server, PLACES, **{"x-timeout-ms": "900"}) for _ in range(3)]
        answers.append(pool.submit(ask, server, PLACES))
        until(lambda: coalesced(server) == joined + 3)
        assert [answer.result().status_code for answer in answers[:3]] == [504] * 3
        assert not busy.done(), "not only when another engine has computed it"
        assert not answers[3].done()
    assert sums([answers[3]]) == [SUM]
    assert busy.result().status_code == 200
    assert computed(server) - before == 2


def test_a_failure_of_the_engine_is_told_to_all_who_asked_for_it_and_to_no_other(
    server: Server, pool: ThreadPoolExecutor
) -> None:
    with standing(server):
        good = submit_requests(pool, server, 4, PLACES)
        bad = submit_requests(pool, server, 4, {"city": "Bonn", "places": [1, 2, 99]})
    alone = ask(server, {"city": "Bonn", "places": [1, 2, 99]})
    assert alone.status_code >= 400
    assert {answer.result().status_code for answer in bad} == {alone.status_code}
    assert sums(good) == [SUM] * 4


def test_a_killed_engine_loses_none_of_them(server: Server, pool: ThreadPoolExecutor) -> None:
    before = computed(server)
    with standing(server) as pid:
        answers = submit_requests(pool, server, 16, PLACES)
        os.kill(pid, signal.SIGKILL)
        assert sums(answers) == [SUM] * 16
        assert computed(server) - before == 1
    assert engines_of(server) != [pid]


@pytest.mark.slow
def test_a_graph_that_draws_numbers_is_asked_each_time(
    server: Server, pool: ThreadPoolExecutor, graph: Path, noise: Path
) -> None:
    assert GraphAdapter(open_file(graph), "lookup").is_deterministic
    assert not GraphAdapter(open_file(noise), "noise").is_deterministic
    before = computed(server, "noise")
    with standing(server):
        answers = [pool.submit(ask, server, {"x": [[0.0, 0.0]]}, "noise") for _ in range(8)]
        time.sleep(ARRIVED_S)
    answers_seen = {str(answer.result().json()["predictions"][0]["y"]) for answer in answers}
    assert len(answers_seen) == 8
    assert computed(server, "noise") - before == 8


@pytest.mark.slow
def test_unless_it_is_asked_for_every_request_is_computed(graph: Path, pool: ThreadPoolExecutor) -> None:
    with started(graph, "--workers", "1") as server:
        before = computed(server)
        with standing(server):
            answers = [pool.submit(ask, server, PLACES) for _ in range(8)]
            time.sleep(ARRIVED_S)
        assert sums(answers) == [SUM] * 8
        assert computed(server) - before == 8
        assert coalesced(server) == 0


@pytest.mark.slow
def test_each_of_them_counts_against_the_rate_of_its_key(graph: Path, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    from hashlib import sha256

    keys = tmp_path / "keys"
    keys.write_text(f"{sha256(b'secret').hexdigest()} name=one rows=4/s\n")
    with started(graph, "--workers", "1", "--api-keys", keys, environ={"COALESCE": "yes"}) as server:
        with standing(server):
            answers = [pool.submit(ask, server, PLACES, authorization="Bearer secret") for _ in range(32)]
            until(lambda: sum(answer.done() for answer in answers) >= 24)
        statuses = [answer.result().status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) <= 8
