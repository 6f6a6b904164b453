"""The client of a benchmark: raw requests over keep-alive connections, no pipelining.

    python -m deepseek.bench.client < PLAN      PLAN: a LoadPlan as JSON

It prints one line when the warm-up is over and one with its ClientReport. Closed load: a connection sends its next
request when the last was answered. Open load (`rate`): requests come when they come (Poisson, fixed seed), take a
connection that is free, and their latency runs from when they came, so that a slow server does not slow down who
measures it.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
from array import array
from collections import Counter, deque
from importlib.util import find_spec
from itertools import cycle
from time import perf_counter, process_time
from typing import cast

from deepseek.bench.messages import ClientReport, LoadPlan

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
TICK_S = 0.001  # how often an open load looks which requests are due
RECONNECT_PAUSE_S = 0.02  # before a lost connection is made again
DRAIN_S = 35.0  # that an open load waits for its last responses
LOST_STATUS = 0  # the status of a request whose connection broke


class LoadClient:
    """Keeps the connections busy, and records when each response came."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.statuses: Counter[int] = Counter()  # of responses inside of the measured time
        self.latencies_s = array("d")  # of those with 200
        self.longest_s = 0.0  # from sending to the slowest 200
        self._requests = cycle(plan.requests)
        self._connections: set[Connection] = set()
        self._free: deque[Connection] = deque()
        self._due: deque[float] = deque()  # when requests came that no connection has taken
        self._start_s = float("inf")
        self._stop_s = float("inf")
        self._is_open_load = False  # whether requests come by themselves
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> ClientReport:
        """Warm up, measure, and report."""
        for connection in await asyncio.gather(*(self._connect() for _ in range(self.plan.num_connections))):
            self.use(connection)
        await asyncio.sleep(self.plan.warmup_s)
        if self.plan.rate is not None:
            self._stop_s = 0.0  # the closed load of the warm-up ends
            settled_s = perf_counter() + DRAIN_S
            while len(self._free) < self.plan.num_connections and perf_counter() < settled_s:
                await asyncio.sleep(TICK_S)
        _print_line("begin")
        start_cpu_s = process_time()
        self._start_s = perf_counter()
        self._stop_s = self._start_s + self.plan.seconds
        if self.plan.rate is None:
            await asyncio.sleep(self.plan.seconds)
        else:
            await self._send_at(self.plan.rate)
        report = self._report(perf_counter() - self._start_s, process_time() - start_cpu_s)
        self.close()
        await asyncio.sleep(0)
        return report

    def close(self) -> None:
        """Close the connections, and make no more of them."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()  # what it is connecting would be nobody's, and stay open
        for connection in list(self._connections):
            connection.close()

    def use(self, connection: Connection) -> None:
        """Send the next request on a free connection, unless a server that takes no more of them has closed it."""
        if connection.is_closed:
            return
        now_s = perf_counter()
        if self._is_open_load:
            if self._due:
                connection.send(next(self._requests), self._due.popleft(), now_s)
            else:
                self._free.append(connection)
        elif now_s < self._stop_s:
            connection.send(next(self._requests), now_s, now_s)
        else:
            self._free.append(connection)

    def count_response(self, status: int, came_s: float, sent_s: float) -> None:
        """Count a response to a request that came and was sent then.

        An open load counts what came in its time, a closed one what was answered in it, also what was sent before: as
        much is on its way at the end.
        """
        now_s = perf_counter()
        if came_s < self._start_s if self._is_open_load else not self._start_s <= now_s <= self._stop_s:
            return
        self.statuses[status] += 1
        if status == 200:
            self.latencies_s.append(now_s - came_s)
            self.longest_s = max(self.longest_s, now_s - sent_s)

    def replace(self, connection: Connection) -> None:
        """Put another connection in the place of one that has closed."""
        self._connections.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if self._closing:
            return
        if connection.is_unused and not self._is_open_load:  # turned away; an open load counts what none has taken
            now_s = perf_counter()
            self.count_response(LOST_STATUS, now_s, now_s)
        self._start_reconnecting()

    def _start_reconnecting(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reconnect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reconnect(self) -> None:
        await asyncio.sleep(RECONNECT_PAUSE_S)
        try:
            self.use(await self._connect())
        except OSError:
            self._start_reconnecting()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), self.plan.host, self.plan.port)
        self._connections.add(connection)
        return connection

    async def _send_at(self, rate: float) -> None:
        draw = random.Random(0).expovariate  # noqa: S311  (when requests come, nothing secret)
        self._is_open_load = True
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

    def _report(self, wall_s: float, cpu_s: float) -> ClientReport:
        ordered = sorted(self.latencies_s)
        num_marks = 1_000 if ordered else 0
        marks = [ordered[min(len(ordered) - 1, mark * len(ordered) // num_marks)] for mark in range(num_marks)]
        statuses = {str(status): number for status, number in self.statuses.items() if number}
        return ClientReport(statuses, wall_s, cpu_s, tuple(marks), self.longest_s, ordered[-1] if ordered else 0.0)


class Connection(asyncio.Protocol):
    """One connection, with one request on its way at most."""

    def __init__(self, client: LoadClient) -> None:
        self._client = client
        self._received = b""  # of a response that is not whole
        self._came_s = self._sent_s = 0.0
        self._is_waiting = False
        self.is_unused = True  # no request was sent on it
        self._transport: asyncio.WriteTransport

    @property
    def is_closed(self) -> bool:
        return self._transport.is_closing()

    def send(self, request: bytes, came_s: float, now_s: float) -> None:
        self._came_s, self._sent_s, self._is_waiting = came_s, now_s, True
        self.is_unused = False
        self._transport.write(request)

    def close(self) -> None:
        self._is_waiting = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or not _is_complete(data, end):
            self._received = data
            return
        self._received = b""
        if not self._is_waiting or not data.startswith(b"HTTP/1."):
            self._transport.abort()
            return
        self._is_waiting = False
        self._client.count_response(int(data[9:12]), self._came_s, self._sent_s)
        if b"\r\nconnection: close" not in data[:end].lower():
            self._client.use(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_waiting:
            self._client.count_response(LOST_STATUS, self._came_s, self._sent_s)
        self._client.replace(self)


def _is_complete(data: bytes, end: int) -> bool:
    """Whether a response whose head ends at `end` is there to its last byte."""
    length = _CONTENT_LENGTH.search(data, 0, end)
    return len(data) >= end + 4 + int(length[1]) if length else data.endswith(b"0\r\n\r\n")


def _print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    plan = LoadPlan.from_json(sys.stdin.read())
    factory = None
    if find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        _print_line(runner.run(LoadClient(plan).run()).to_json())


if __name__ == "__main__":
    main()
