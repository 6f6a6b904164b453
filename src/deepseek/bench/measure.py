"""One load on one server, and its result."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, Literal, cast
from urllib.parse import urlsplit

from deepseek.bench import usage, wrk
from deepseek.bench.messages import ClientReport, LoadPlan
from deepseek.errors import InputError

CLIENT_NAMES = ("own", "wrk")


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """The request that is sent again and again."""

    url: str  # with its path
    bodies: tuple[bytes, ...]  # taken in turn
    headers: Mapping[str, str] = field(default_factory=dict)
    num_rows: int = 1  # of each body

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers with the type of the bodies."""
        return {"content-type": "application/json", **self.headers}

    def requests(self) -> tuple[bytes, ...]:
        """Whole HTTP requests, one for each body."""
        parts = urlsplit(self.url)
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"host": parts.netloc, **self.all_headers}.items())
        head = f"POST {parts.path} HTTP/1.1\r\n{lines}content-length: "
        return tuple(f"{head}{len(body)}\r\n\r\n".encode() + body for body in self.bodies)


@dataclass(frozen=True, slots=True)
class Load:
    """How much is sent."""

    num_connections: int = 1  # of requests on their way at once at most
    seconds: float = 5.0
    warmup_s: float = 0.5
    rate: float | None = None  # requests a second that come by themselves; None: each after a response
    client: Literal["own", "wrk"] = "own"


@dataclass(frozen=True, slots=True)
class LoadResult(ClientReport):
    """What the client saw, and what the server used."""

    cpu_by_part_s: Mapping[str, float] | None = None  # CPU of the server by part; None where that cannot be seen

    @property
    def num_right(self) -> int:
        """Responses with 200."""
        return self.statuses.get("200", 0)

    @property
    def num_failed(self) -> int:
        """Refused requests and broken connections."""
        return sum(self.statuses.values()) - self.num_right

    @property
    def per_s(self) -> float:
        """Right responses a second."""
        return self.num_right / self.wall_s

    def quantile_s(self, share: float) -> float:
        """The latency that this share of the right responses did not exceed; not a number without any."""
        marks = self.latency_marks_s
        return marks[min(len(marks) - 1, round(1_000 * share))] if marks else float("nan")

    def cpu_s(self, part: str | None = None) -> float:
        """Seconds of the server's CPU for a response of any status, of one part or all. Not a number where unknown."""
        num_responses = sum(self.statuses.values())
        if self.cpu_by_part_s is None or not num_responses:
            return float("nan")
        return (sum(self.cpu_by_part_s.values()) if part is None else self.cpu_by_part_s[part]) / num_responses


def measure(request: BenchRequest, load: Load, pid: int | None = None) -> LoadResult:
    """Load a server; `pid` is its process, where it runs on this machine. InputError when it cannot be reached."""
    before: list[usage.CpuByProcess] = []

    def begin() -> None:
        if pid is not None and usage.can_measure_cpu():
            before.append(usage.cpu_by_process(pid))

    report = (_load_by_wrk if load.client == "wrk" else _load_by_own_client)(request, load, begin)
    cpu_by_part = usage.cpu_by_part(before[0], usage.cpu_by_process(pid)) if before and pid is not None else None
    return LoadResult(**asdict(report), cpu_by_part_s=cpu_by_part)


def _load_by_wrk(request: BenchRequest, load: Load, begin: Callable[[], None]) -> ClientReport:
    if load.rate is not None:
        raise InputError("wrk cannot send at a rate", expected="a closed load", fix="use the own client")
    return wrk.run_wrk(
        request.url, request.all_headers, request.bodies,
        num_connections=load.num_connections, seconds=load.seconds, warmup_s=load.warmup_s, begin=begin,
    )  # fmt: skip


def _load_by_own_client(request: BenchRequest, load: Load, begin: Callable[[], None]) -> ClientReport:
    parts = urlsplit(request.url)
    plan = LoadPlan(
        parts.hostname or "", parts.port or 80, request.requests(),
        load.num_connections, load.seconds, load.warmup_s, load.rate,
    )  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "deepseek.bench.client"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as client:  # fmt: skip
        stdin, stdout, stderr = (cast("IO[str]", pipe) for pipe in (client.stdin, client.stdout, client.stderr))
        try:
            stdin.write(plan.to_json())
            stdin.close()
            if stdout.readline() == "begin\n":
                begin()
                if text := stdout.readline():
                    return ClientReport.from_json(text)
            reason = stderr.read().strip().rpartition("\n")[2]
        finally:
            client.kill()
    raise InputError(
        f"{parts.netloc} cannot be loaded: {reason[:300]}",
        expected="a server that takes connections",
        fix="see that it runs, and that a process may open so many connections (ulimit -n)",
    )
