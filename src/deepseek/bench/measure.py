"""One load on one server, and what came of it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Literal, cast
from urllib.parse import urlsplit

from deepseek.bench import usage, wrk
from deepseek.errors import InputError

CLIENT_NAMES = ("own", "wrk")


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What is asked, again and again."""

    url: str  # with its path
    bodies: tuple[bytes, ...]  # taken in turn
    headers: Mapping[str, str] = field(default_factory=dict)
    num_rows: int = 1  # of each body

    def requests(self) -> tuple[bytes, ...]:
        """Whole HTTP requests."""
        parts = urlsplit(self.url)
        headers = {"host": parts.netloc, "content-type": "application/json", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {parts.path} HTTP/1.1\r\n{lines}content-length: "
        return tuple(f"{head}{len(body)}\r\n\r\n".encode() + body for body in self.bodies)


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked."""

    num_connections: int = 1  # of requests on their way at once at most
    seconds: float = 5.0
    warmup_s: float = 0.5
    rate: float | None = None  # requests a second that come by themselves; None: each after an answer
    client: Literal["own", "wrk"] = "own"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the client saw, and what the server used."""

    statuses: Mapping[str, int]  # "200" -> answers; "0" -> connections that broke
    wall_s: float
    client_cpu_s: float
    latency_marks_s: tuple[float, ...]  # of the answers with 200: quantiles 0, 0.001, ..., 0.999
    longest_s: float  # from sending to the slowest 200
    max_s: float  # the same from when the request came
    used_s: Mapping[str, float] | None  # CPU of the server by part; None where that cannot be seen

    @property
    def num_right(self) -> int:
        """Answers with 200."""
        return self.statuses.get("200", 0)

    @property
    def num_failed(self) -> int:
        """Refused ones and broken connections."""
        return sum(self.statuses.values()) - self.num_right

    @property
    def per_s(self) -> float:
        """Right answers a second."""
        return self.num_right / self.wall_s

    def quantile_s(self, share: float) -> float:
        """The latency that this share of the right answers did not exceed; not a number without any."""
        marks = self.latency_marks_s
        return marks[min(len(marks) - 1, round(1_000 * share))] if marks else float("nan")

    def cpu_s(self, part: str | None = None) -> float:
        """Seconds of the server's CPU for an answer, of any status; of one part, or all. Not a number where unknown."""
        num_answers = sum(self.statuses.values())
        if self.used_s is None or not num_answers:
            return float("nan")
        return (sum(self.used_s.values()) if part is None else self.used_s[part]) / num_answers


def measure(ask: BenchRequest, load: Load, pid: int | None = None) -> LoadResult:
    """Load a server; `pid` is its process, where it runs on this machine. InputError when it cannot be reached."""
    before: list[usage.CpuByProcess] = []

    def begin() -> None:
        if pid is not None and usage.can_measure_cpu():
            before.append(usage.cpu_by_process(pid))

    seen = _load_by_wrk(ask, load, begin) if load.client == "wrk" else _load_by_own_client(ask, load, begin)
    spent = usage.cpu_by_part(before[0], usage.cpu_by_process(pid)) if before and pid is not None else None
    return LoadResult(
        seen["statuses"], seen["wall_s"], seen["client_cpu_s"], tuple(seen["latency_marks_s"]), seen["longest_s"],
        seen["max_s"], spent,
    )  # fmt: skip


def _load_by_wrk(ask: BenchRequest, load: Load, begin: Callable[[], None]) -> dict[str, Any]:
    if load.rate is not None:
        raise InputError("wrk cannot send at a rate", expected="a closed load", fix="use the own client")
    return wrk.run_wrk(
        ask.url, {"content-type": "application/json", **ask.headers}, ask.bodies,
        num_connections=load.num_connections, seconds=load.seconds, warmup_s=load.warmup_s, begin=begin,
    )  # fmt: skip


def _load_by_own_client(ask: BenchRequest, load: Load, begin: Callable[[], None]) -> dict[str, Any]:
    parts = urlsplit(ask.url)
    plan = {
        "host": parts.hostname, "port": parts.port or 80,
        "requests": [base64.b64encode(request).decode() for request in ask.requests()],
        "num_connections": load.num_connections, "seconds": load.seconds, "warmup_s": load.warmup_s, "rate": load.rate,
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "deepseek.bench.client"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as client:  # fmt: skip
        told, said, trouble = (cast("IO[str]", pipe) for pipe in (client.stdin, client.stdout, client.stderr))
        try:
            told.write(json.dumps(plan))
            told.close()
            if said.readline() == "begin\n":
                begin()
                if text := said.readline():
                    found: dict[str, Any] = json.loads(text)
                    return found
            reason = trouble.read().strip().rpartition("\n")[2]
        finally:
            client.kill()
    raise InputError(
        f"{parts.netloc} cannot be loaded: {reason[:300]}",
        expected="a server that takes connections",
        fix="see that it runs, and that a process may open so many connections (ulimit -n)",
    )
