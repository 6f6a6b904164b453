"""Servers for tests: an application in the event loop of the test, and `deepseek serve` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepseek.serve import App
from deepseek.serve.http.connection import Connection, ServerState


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[str]:
    """The URL under which `app` answers."""
    await app.start()
    hub = ServerState(app)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(hub), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        hub.abort()


@dataclass
class Server:
    """A running `deepseek serve`."""

    url: str
    process: subprocess.Popen[str]
    models: list[str]
    grpc_port: int = 0  # where it was told to speak gRPC, too

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 20) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def started(
    *args: str | Path, environ: dict[str, str] | None = None, python: str | Path = sys.executable
) -> Iterator[Server]:
    """`deepseek serve` on a free port, killed at the end if it still runs."""
    command = [str(python), "-m", "deepseek", "serve", *map(str, args)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PORT": "0", "DEEPSEEK_LOG_LEVEL": "error"} | (environ or {}),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        ready = json.loads(line)
        assert ready["event"] == "ready"
        assert ready["pid"] == process.pid
        yield Server(ready["url"], process, ready["models"], ready.get("grpc_port", 0))
    finally:
        process.kill()
        process.communicate()


def children(pid: int) -> set[int]:
    """The processes that a process has started."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def until(true: Callable[[], bool], limit_s: float = 300) -> None:
    """Wait until something holds."""
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.05)
