"""Heads that were parsed before: the same bytes mean the same again, and whatever is not the same is parsed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from deepseek.engines import Runtime
from deepseek.serve import App, Settings, create_app
from deepseek.serve.core import head_cache as heads
from support.servers.serving import serving

AGES = (25.5, 70.5)


def post(body: bytes, *more: bytes) -> bytes:
    lines = [b"POST /v1/models/loans:predict HTTP/1.1", b"host: localhost", b"content-length: %d" % len(body), *more]
    return b"\r\n".join([*lines, b"", body])


@pytest.fixture(scope="module")
def bodies(loan: dict[str, Any]) -> list[bytes]:
    """Two rows of one length with different answers."""
    documents = [json.dumps({"instances": [loan | {"age": age}]}).encode() for age in AGES]
    assert len(documents[0]) == len(documents[1])
    return documents


def talk(app: App, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with serving(app) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))

            async def answer() -> tuple[int, bytes]:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                size = next(
                    int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
                )
                return int(head.split()[1]), await reader.readexactly(size)

            async def ask(*pieces: bytes, num_answers: int = 1) -> list[tuple[int, bytes]]:
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0.01)
                return [await answer() for _ in range(num_answers)]

            try:
                return await work(ask)
            finally:
                writer.close()

    return asyncio.run(run())


def test_a_known_head_brings_the_answer_to_its_own_body(runtimes: dict[str, Runtime], bodies: list[bytes]) -> None:
    app = create_app(runtimes)
    young, old = (post(body) for body in bodies)

    async def work(ask: Any) -> Any:
        answers = [(await ask(request))[0] for request in (young, old, young, old)]
        return answers, len(app.head_cache)

    (first, second, third, fourth), num_known = talk(app, work)
    assert num_known == 1
    assert (first, second) == (third, fourth)
    assert first[1] != second[1]


def test_a_known_head_may_come_in_pieces_or_with_the_next_request(
    runtimes: dict[str, Runtime], bodies: list[bytes]
) -> None:
    young, old = (post(body) for body in bodies)
    cut = young.index(b"\r\n\r\n") + 4

    async def work(ask: Any) -> Any:
        known = await ask(young) + await ask(old)
        answers = await ask(young[:cut], young[cut:]) + await ask(old[:-3], old[-3:])
        return known, answers, await ask(young + old, num_answers=2), await ask(young + old[:9], old[9:], num_answers=2)

    known, *others = talk(create_app(runtimes), work)
    assert others == [known] * 3


def test_a_body_of_another_length_is_not_taken_for_the_known_one(
    runtimes: dict[str, Runtime], bodies: list[bytes]
) -> None:
    """Longer than the head says: what follows is no request, and ends the connection."""

    async def work(ask: Any) -> Any:
        answers = await ask(post(bodies[0])) + await ask(post(bodies[0]) + b"GARBAGE\r\n\r\n")
        with pytest.raises(asyncio.IncompleteReadError):
            await ask()
        return answers

    assert [status for status, _ in talk(create_app(runtimes), work)] == [200, 200]


@pytest.mark.parametrize("header", [b"x-request-id: order-17", b"connection: close", b"expect: 100-continue"])
def test_what_concerns_one_request_alone_is_not_remembered(
    runtimes: dict[str, Runtime], bodies: list[bytes], header: bytes
) -> None:
    app = create_app(runtimes)

    async def work(ask: Any) -> None:
        await ask(post(bodies[0], header), num_answers=0)
        await asyncio.sleep(0.05)

    talk(app, work)
    assert len(app.head_cache) == 0


def test_a_refused_head_is_not_remembered(runtimes: dict[str, Runtime], bodies: list[bytes], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(hashlib.sha256(b"open sesame").hexdigest())
    app = create_app(runtimes, settings=Settings(api_keys_file=str(keys)))

    async def work(ask: Any) -> Any:
        good, bad = b"authorization: Bearer open sesame", b"authorization: Bearer open sesamf"
        answers = [(await ask(post(bodies[0], key)))[0][0] for key in (bad, good, bad, good, bad)]
        return answers, len(app.head_cache)

    assert talk(app, work) == ([401, 200, 401, 200, 401], 1)


def test_the_number_of_heads_is_bounded(
    runtimes: dict[str, Runtime], bodies: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "MAX_CACHED_HEADS", 4)
    app = create_app(runtimes)

    async def work(ask: Any) -> int:
        for number in range(10):
            await ask(post(bodies[0], b"x-number: %d" % number))
        return len(app.head_cache)

    assert talk(app, work) <= 4
