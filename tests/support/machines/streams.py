"""Servers that carry streams, started and killed by tests: NATS and Redis.

with running(server_words("redis", port, folder), port): ...
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def running(words: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that listens, killed at the end."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end_s
                time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def server_words(kind: str, port: int, folder: Path) -> list[str]:
    """A server that keeps what it has acknowledged, whatever kills it."""
    if kind == "nats":
        settings = folder / "nats.conf"
        settings.write_text(f'jetstream {{ store_dir: "{folder}", sync_interval: always }}')
        return ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-c", str(settings)]
    return [
        "redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder),
        "--appendonly", "yes", "--appendfsync", "always", "--save", "",
    ]  # fmt: skip


async def fill(kind: str, url: str, events: list[dict[str, Any]]) -> None:
    if kind == "nats":
        import nats

        client = await nats.connect(url)
        context = client.jetstream()
        await context.add_stream(name="payments", subjects=["payments"])
        for event in events:
            await context.publish("payments", json.dumps(event).encode())
        await client.close()
        return
    from redis import asyncio as redis

    client = redis.Redis.from_url(url)
    pipeline = client.pipeline(transaction=False)
    for event in events:
        pipeline.xadd("payments", {"data": json.dumps(event)})
    await pipeline.execute()
    await client.aclose()


async def read_answers(kind: str, url: str) -> list[dict[str, Any]]:
    if kind == "nats":
        import nats

        client = await nats.connect(url)
        context = client.jetstream()
        try:
            last = (await context.stream_info("answers_answers")).state.last_seq
            stored = [await context.get_msg("answers_answers", number) for number in range(1, last + 1)]
        except nats.js.errors.NotFoundError:
            stored = []
        await client.close()
        return [json.loads(message.data) for message in stored]
    from redis import asyncio as redis

    client = redis.Redis.from_url(url)
    entries = await client.xrange("answers")
    await client.aclose()
    return [json.loads(fields[b"data"]) for _, fields in entries]
