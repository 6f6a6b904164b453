"""Decisions on raw events through the clients: in requests, and as a stream that goes both ways at once."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.client import AsyncClient, Client, EventDecision, UnreachableError
from deepseek.errors import DeadlineError, InputError, MissingError
from support.servers.cards import cards, events_of, payments

__all__ = ["cards"]
HOUR_S = 3_600


@pytest.fixture(scope="module")
def url(cards: Path, start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all tests; each takes ids of its own."""
    with start(cards, "--state", tmp_path_factory.mktemp("state"), "--workers", "0") as running:
        yield running.url
        assert running.stop() == 0


def events(first_id: int, num: int = 20) -> list[dict[str, Any]]:
    return events_of(payments(num, span_s=HOUR_S, seed=first_id, first_id=first_id))


@pytest.mark.slow
def test_events_of_every_form_are_decided_in_their_order_and_known_again(url: str) -> None:
    rows = events(1_000)
    with Client(url) as client:
        decisions = client.score(rows)
        assert [decision.id for decision in decisions] == [row["id"] for row in rows]
        assert {decision.status for decision in decisions} == {"accepted"}
        assert all(0 <= decision.chance <= 1 and decision.decision == "genuine" for decision in decisions)
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        arrays = {name: np.array(values) for name, values in columns.items()}
        for again in (columns, arrays):
            repeated = client.score(again, model="cards")
            assert {decision.status for decision in repeated} == {"duplicate"}
            assert [decision.chance for decision in repeated] == [decision.chance for decision in decisions]

    async def ask() -> list[EventDecision]:
        async with AsyncClient(url) as waiting:
            return await waiting.score(rows)

    assert [decision.chance for decision in asyncio.run(ask())] == [decision.chance for decision in decisions]


@pytest.mark.slow
def test_an_event_that_cannot_be_used_is_refused_alone(url: str) -> None:
    first, second = events(2_000, 2)
    with Client(url) as client:
        decisions = client.score([first | {"amount": float("nan")}, second])
        assert [decision.status for decision in decisions] == ["bad_amount", "accepted"]
        assert (decisions[0].id, decisions[0].chance, decisions[0].decision) == (2_000, None, None)
        for rows in ([], "text", [[1, 2]], [{"id": object()}]):
            with pytest.raises(InputError):
                client.score(rows)
        with pytest.raises(MissingError):
            client.score([first], model="none")


@pytest.mark.slow
def test_the_next_event_of_a_stream_may_depend_on_the_last_decision(url: str) -> None:
    rows, decided = events(3_000), threading.Semaphore(1)

    def one_by_one() -> Iterator[dict[str, Any]]:
        for row in rows:
            assert decided.acquire(timeout=30)
            yield row

    with Client(url) as client:
        seen = []
        for decision in client.score_stream(one_by_one()):
            seen.append(decision)
            decided.release()
    assert [(decision.id, decision.status) for decision in seen] == [(row["id"], "accepted") for row in rows]


@pytest.mark.slow
def test_a_stream_of_many_is_as_long_as_its_events_and_says_what_is_no_event(url: str) -> None:
    rows: list[Any] = events(4_000, 3_000)
    rows[7] = {"id": 4_007}
    with Client(url) as client:
        decisions = list(client.score_stream(rows, timeout_s=30))
        assert [decision.id for decision in decisions[8:]] == list(range(4_008, 7_000))
        assert decisions[7].status == "bad_input"
        assert list(client.score_stream([])) == []


@pytest.mark.slow
def test_what_goes_wrong_with_a_stream_is_raised_behind_the_decisions_that_came(url: str) -> None:
    rows = events(8_000, 3)

    def breaks() -> Iterator[Any]:
        yield from rows
        raise RuntimeError("the source has ended")

    with Client(url) as client:
        for source, kind in ((breaks(), RuntimeError), ([*rows, 5], InputError)):
            seen = []
            with pytest.raises(kind):
                seen.extend(decision.id for decision in client.score_stream(source))  # type: ignore[arg-type]
            assert seen == [8_000, 8_001, 8_002]
        with pytest.raises(MissingError):
            list(client.score_stream(rows, model="none"))
        stream = client.score_stream(iter(rows))
        next(stream)
        stream.close()  # whoever reads no further leaves nothing open
        assert client.ready()
    with pytest.raises(InputError, match="https"):
        Client("https://127.0.0.1:1").score_stream(rows, model="cards")


@pytest.mark.parametrize(
    ("answers", "timeout_s", "kind"), [(1, 60.0, UnreachableError), (0, 0.2, DeadlineError)],
    ids=["ends early", "is silent"],
)  # fmt: skip
def test_a_server_that_ends_a_stream_early_or_is_silent_is_told(
    answers: int, timeout_s: float, kind: type[Exception]
) -> None:
    line = json.dumps({"id": 1, "status": "accepted", "chance": 0.5, "decision": "no"}).encode() + b"\n"
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            if answers:
                connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(line), line))
            ended.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,))
        serving.start()
        seen = []
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client, pytest.raises(kind):
            seen.extend(client.score_stream([{"id": 1}, {"id": 2}], model="m", timeout_s=timeout_s))
        ended.set()
        serving.join()
    assert len(seen) == answers
