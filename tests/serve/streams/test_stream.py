"""`deepseek stream`: messages in, answers out, in order, each once, whatever goes away meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deepseek.errors import InputError
from deepseek.features import FeatureStore
from deepseek.serve.scoring.messages import StreamScorer
from deepseek.serve.scoring.scorer import EventScorer
from deepseek.serve.streams.ends import open_sink, open_source, split_address
from deepseek.serve.streams.messages import Message, first_unwritten
from support.machines.streams import fill, free_port, read_answers, running, server_words
from support.servers.cards import events_of, payments

NUM_EVENTS = 600
SPAN_S = 60_000  # less than answers are kept for


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "deepseek", "stream", *map(str, words)]


def lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.mark.slow
def test_lines_are_answered_by_lines_in_order_and_again_after_a_break(cards: Path, tmp_path: Path) -> None:
    events = events_of(payments(1_500, seed=1, span_s=SPAN_S))
    state = tmp_path / "state"
    first = subprocess.run(
        command(cards, "--state", state), input=lines(events[:900]), capture_output=True, timeout=120, check=True
    )
    again = subprocess.run(
        command(cards, "--state", state), input=lines(events), capture_output=True, timeout=120, check=True
    )
    answers, repeated = ([json.loads(line) for line in run.stdout.splitlines()] for run in (first, again))
    assert [row["id"] for row in answers] == [event["id"] for event in events[:900]]
    assert [row["status"] for row in repeated] == ["duplicate"] * 900 + ["accepted"] * 600
    assert [row["chance"] for row in repeated[:900]] == [row["chance"] for row in answers]
    verified = subprocess.run(
        command("--verify", state, "--json"), capture_output=True, text=True, timeout=60, check=True
    )
    report = json.loads(verified.stdout)
    assert report["ok"]
    assert report["num_events"] == 1_500


def test_events_verdicts_and_what_is_neither_are_answered_one_by_one(cards: Path) -> None:
    scorer = EventScorer.open(cards, None)
    stream = StreamScorer(scorer)
    events = [json.dumps(event).encode() for event in events_of(payments(3, seed=2, span_s=SPAN_S))]
    mixed = [events[0], b'{"id": 0, "label": 1}', b"nonsense", events[1], b'{"id": 77, "label": 1}', b"[]", events[2]]
    answers = [json.loads(answer) for answer in stream.answer(mixed)]
    assert [row["status"] for row in answers] == [
        "accepted", "accepted", "bad_input", "accepted", "unknown_id", "bad_input", "accepted",
    ]  # fmt: skip
    assert answers[2]["error"]["message"]
    assert stream.counts == {"accepted": 3, "label_accepted": 1, "label_unknown_id": 1, "bad_input": 2}
    bad_key = b'{"id": 9, "time": 1522541000, "card": null, "terminal": 2, "amount": 1}'
    assert [json.loads(row)["status"] for row in stream.answer([bad_key, events[0]])] == ["bad_key", "duplicate"]
    assert stream.counts["bad_key"] == 1
    scorer.close()


@pytest.mark.parametrize("address", ["kafka://x/y", "redis://localhost:6379", "nats:///payments", "redis://h/a/b", "x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="is no end of a stream"):
        split_address(address)


@pytest.mark.parametrize("scheme", ["nats", "redis"])
def test_a_password_in_an_address_is_never_shown(scheme: str) -> None:
    """Neither where the server is away nor where the address does not fit."""
    pytest.importorskip(scheme)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    sentences: list[str] = []

    async def ask() -> None:
        source = open_source(f"{scheme}://me:secret@127.0.0.1:{port}/payments", sentences.append)
        asking = asyncio.ensure_future(_begin(source))
        while not sentences:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await source.close()

    async def _begin(source: Any) -> None:
        await source.start("")
        await source.read()

    asyncio.run(ask())
    assert f"{scheme}://127.0.0.1:{port}/payments" in sentences[0]
    assert "secret" not in "".join(sentences)
    with pytest.raises(InputError) as raised:
        split_address(f"{scheme}://me:secret@127.0.0.1:{port}")
    assert "secret" not in str(raised.value)


def test_what_the_output_holds_already_is_not_written_again() -> None:
    answers = [Message(str(place), b"") for place in range(5, 9)]
    assert first_unwritten(answers, "6") == 2
    assert first_unwritten(answers, "4") == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_server_and_the_stream_that_are_killed_lose_nothing_and_repeat_nothing(
    cards: Path, tmp_path: Path, kind: str
) -> None:
    pytest.importorskip(kind)
    if shutil.which(f"{kind}-server") is None:
        pytest.skip(f"{kind}-server is not installed")
    port = free_port()
    words, url = server_words(kind, port, tmp_path), f"{kind}://127.0.0.1:{port}"
    events = events_of(payments(NUM_EVENTS, seed=3, span_s=SPAN_S))
    stream = command(
        cards, "--state", tmp_path / "state", "--from", f"{url}/payments", "--to", f"{url}/answers",
        "--stop-when-idle", "5", "--json",
    )  # fmt: skip

    def wait_for(number: int, process: subprocess.Popen[bytes]) -> None:
        end_s = time.monotonic() + 120
        while len(asyncio.run(read_answers(kind, url))) < number:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end_s
            time.sleep(0.05)

    with running(words, port) as server:
        asyncio.run(fill(kind, url, events[:300]))
        first = subprocess.Popen(stream, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for(1, first)
        server.send_signal(signal.SIGKILL)  # while the stream reads and writes
        server.wait()
        time.sleep(0.3)
        first.send_signal(signal.SIGKILL)  # and then the stream itself
        first.communicate()
    with running(words, port) as server:
        second = subprocess.Popen(stream, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
        asyncio.run(fill(kind, url, events[300:]))
        wait_for(301, second)
        server.send_signal(signal.SIGKILL)
        server.wait()
        with running(words, port):
            out, err = second.communicate(timeout=120)
            assert second.returncode == 0, err
            assert json.loads(out)["num_messages"] > 0
            answers = asyncio.run(read_answers(kind, url))
    assert [row["id"] for row in answers] == [event["id"] for event in events]
    assert {row["status"] for row in answers} <= {"accepted", "duplicate"}
    assert FeatureStore.verify(tmp_path / "state").num_events == NUM_EVENTS


def refusing_words(kind: str, port: int, folder: Path) -> list[str]:
    """A server that lets in "me" with "right"; "reader" with "right" may do nothing."""
    if kind == "redis":
        rules = folder / "users.acl"
        rules.write_text("user default off\nuser me on >right ~* +@all\nuser reader on >right ~* +ping\n")
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", "",
                "--aclfile", str(rules)]  # fmt: skip
    users = '{user: me, password: right}, {user: reader, password: right, permissions: {publish: {deny: ">"}}}'
    settings = folder / "nats.conf"
    settings.write_text(f'jetstream {{ store_dir: "{folder}" }}\nauthorization {{ users: [{users}] }}')
    return ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-c", str(settings)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_server_that_lets_nobody_in_is_said_at_once_and_not_tried_again(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password, none, and a user without permission; at the source and at the sink."""
    pytest.importorskip(kind)
    # NATS names a missing permission beside a call, which then ends by its timeout.
    monkeypatch.setattr("deepseek.serve.streams.jetstream.TIMEOUT_S", 1.0)
    if shutil.which(f"{kind}-server") is None:
        pytest.skip(f"{kind}-server is not installed")
    port = free_port()
    sentences: list[str] = []

    async def ask(user: str) -> None:
        address = f"{kind}://{user}127.0.0.1:{port}/payments"
        source, sink = open_source(address, sentences.append), open_sink(address, sentences.append)

        async def read() -> None:
            await source.start("")
            await source.read()

        for asking in (read, sink.last_position):
            with pytest.raises(InputError, match="refuses") as raised:
                await asking()
            assert "wrong" not in str(raised.value)
            assert "right" not in str(raised.value)
        await source.close()
        await sink.close()

    with running(refusing_words(kind, port, tmp_path), port):
        for user in ("me:wrong@", "", "reader:right@"):
            asyncio.run(ask(user))
    assert sentences == []
