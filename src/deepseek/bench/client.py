"""The client of a benchmark: raw requests over keep-alive connections, no pipelining.

    python -m deepseek.bench.client < PLAN      PLAN: one JSON object, see read_plan

It prints one line when the warm-up is over and one with what it saw. Closed load: a connection sends its next request
when the last was answered. Open load (`rate`): requests come when they come (Poisson, fixed seed), take a connection
that is free, and their latency runs from when they came, so that a slow server does not slow down who measures it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import sys
from array import array
from collections import Counter, deque
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
from time import perf_counter, process_time
from typing import Any, cast

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
TICK_S = 0.001  # how often an open load looks which requests are due
RECONNECT_PAUSE_S = 0.02  # before a lost connection is made again
DRAIN_S = 35.0  # that an open load waits for its last answers
LOST_STATUS = 0  # the status of a request whose connection broke


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is sent, and for how long."""

    host: str
    port: int
    requests: tuple[bytes, ...]  # whole ones, taken in turn
    num_connections: int
    seconds: float
    warmup_s: float
    rate: float | None  # requests a second; None: closed


def read_plan(text: str) -> LoadPlan:
    """From JSON with the fields of LoadPlan; requests in base64."""
    found = json.loads(text)
    return LoadPlan(**{**found, "requests": tuple(base64.b64decode(each) for each in found["requests"])})


class LoadClient:
    """Keeps the connections busy, and remembers when each answer came."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.statuses: Counter[int] = Counter()  # of answers inside of the measured time
        self.latencies_s = array("d")  # of those with 200
        self.longest_s = 0.0  # a 200 took since it was sent
        self._requests = cycle(plan.requests)
        self._connections: set[Connection] = set()
        self._free: deque[Connection] = deque()
        self._due: deque[float] = deque()  # when requests came that no connection has taken
        self._start_s = float("inf")
        self._stop_s = float("inf")
        self._open = False  # whether requests come by themselves
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> dict[str, Any]:
        """Warm up, measure, say what was seen."""
        for connection in await asyncio.gather(*(self._made() for _ in range(self.plan.num_connections))):
            self.free(connection)
        await asyncio.sleep(self.plan.warmup_s)
        if self.plan.rate is not None:
            self._stop_s = 0.0  # the closed load of the warm-up ends
            settled_s = perf_counter() + DRAIN_S
            while len(self._free) < self.plan.num_connections and perf_counter() < settled_s:
                await asyncio.sleep(TICK_S)
        _print_line("begin")
        started_cpu_s = process_time()
        self._start_s = perf_counter()
        self._stop_s = self._start_s + self.plan.seconds
        if self.plan.rate is None:
            await asyncio.sleep(self.plan.seconds)
        else:
            await self._send_at(self.plan.rate)
        found = self._seen(perf_counter() - self._start_s, process_time() - started_cpu_s)
        self.close()
        await asyncio.sleep(0)
        return found

    def close(self) -> None:
        """Let the connections go."""
        self._closing = True
        for connection in list(self._connections):
            connection.close()

    def free(self, connection: Connection) -> None:
        """A connection can take a request, unless it is closed already: by a server that takes no more of them."""
        if connection.closed:
            return
        now_s = perf_counter()
        if self._open:
            if self._due:
                connection.send(next(self._requests), self._due.popleft(), now_s)
            else:
                self._free.append(connection)
        elif now_s < self._stop_s:
            connection.send(next(self._requests), now_s, now_s)
        else:
            self._free.append(connection)

    def answered(self, status: int, came_s: float, sent_s: float) -> None:
        """An answer is there. An open load counts what came in its time, a closed one what was answered in it: also
        what was sent before, for as much is on its way at the end."""
        now_s = perf_counter()
        if came_s < self._start_s if self._open else not self._start_s <= now_s <= self._stop_s:
            return
        self.statuses[status] += 1
        if status == 200:
            self.latencies_s.append(now_s - came_s)
            self.longest_s = max(self.longest_s, now_s - sent_s)

    def lost(self, connection: Connection) -> None:
        """A connection has closed: another takes its place."""
        self._connections.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if self._closing:
            return
        if connection.unused and not self._open:  # turned away; an open load counts what no connection took
            now_s = perf_counter()
            self.answered(LOST_STATUS, now_s, now_s)
        self._replace()

    def _replace(self) -> None:
        task = asyncio.get_running_loop().create_task(self._again())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self) -> None:
        await asyncio.sleep(RECONNECT_PAUSE_S)
        try:
            self.free(await self._made())
        except OSError:
            self._replace()

    async def _made(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: Connection(self), self.plan.host, self.plan.port)
        self._connections.add(made)
        return made

    async def _send_at(self, rate: float) -> None:
        draw = random.Random(0).expovariate  # noqa: S311  (when requests come, nothing secret)
        self._open = True
        num_sent = 0
        next_s = self._start_s + draw(rate)
        while next_s < self._stop_s:
            now_s = perf_counter()
            while next_s <= min(now_s, self._stop_s):
                self._due.append(next_s)
                num_sent += 1
                next_s += draw(rate)
            while self._due and self._free:
                self._free.popleft().send(next(self._requests), self._due.popleft(), now_s)
            await asyncio.sleep(TICK_S)
        while self.statuses.total() < num_sent and perf_counter() < self._stop_s + DRAIN_S:
            await asyncio.sleep(TICK_S)
        self.statuses[LOST_STATUS] += num_sent - self.statuses.total()

    def _seen(self, wall_s: float, cpu_s: float) -> dict[str, Any]:
        ordered = sorted(self.latencies_s)
        marks = [ordered[min(len(ordered) - 1, at * len(ordered) // 1_000)] for at in range(1_000)] if ordered else []
        return {
            "statuses": {str(status): number for status, number in self.statuses.items() if number},
            "wall_s": wall_s, "client_cpu_s": cpu_s, "latency_marks_s": marks, "longest_s": self.longest_s,
            "max_s": ordered[-1] if ordered else 0.0,
        }  # fmt: skip


class Connection(asyncio.Protocol):
    """One connection, with one request on its way at most."""

    def __init__(self, client: LoadClient) -> None:
        self._client = client
        self._held = b""  # of an answer that is not whole
        self._came_s = self._sent_s = 0.0
        self._waits = False
        self.unused = True  # nothing was asked on it
        self._transport: asyncio.WriteTransport

    @property
    def closed(self) -> bool:
        return self._transport.is_closing()

    def send(self, request: bytes, came_s: float, now_s: float) -> None:
        self._came_s, self._sent_s, self._waits = came_s, now_s, True
        self.unused = False
        self._transport.write(request)

    def close(self) -> None:
        self._waits = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or not _is_complete(data, end):
            self._held = data
            return
        self._held = b""
        if not self._waits or not data.startswith(b"HTTP/1."):
            self._transport.abort()
            return
        self._waits = False
        self._client.answered(int(data[9:12]), self._came_s, self._sent_s)
        if b"\r\nconnection: close" not in data[:end].lower():
            self._client.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waits:
            self._client.answered(LOST_STATUS, self._came_s, self._sent_s)
        self._client.lost(self)


def _is_complete(data: bytes, end: int) -> bool:
    """Whether an answer whose head ends at `end` is there to its last byte."""
    found = _CONTENT_LENGTH.search(data, 0, end)
    return len(data) >= end + 4 + int(found[1]) if found else data.endswith(b"0\r\n\r\n")


def _print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    plan = read_plan(sys.stdin.read())
    factory = None
    if find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        _print_line(json.dumps(runner.run(LoadClient(plan).run())))


if __name__ == "__main__":
    main()
