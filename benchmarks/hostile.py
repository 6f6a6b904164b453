"""What a stranger can do to a server: how long a health check waits while a hostile body is answered, and its memory.

    python benchmarks/hostile.py [--quick] [--only CLAIM]

`deepseek serve` as shipped, one engine process. Another process asks for /v2/health/live over and over, each time on a
new connection, while a body is sent and answered; the slowest of its checks counts, and the median of the rounds is
judged. The same is measured before each body without one: that is this machine's own delay, which is printed beside it.
Memory is the most that the front end has held meanwhile, above what it held before.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from fraud_stream_server import definition, fit_bundle
from hostile_bodies import BODIES, EVENT_BODIES, GRPC_BODIES, Sent
from result import claim, finish, options
from tree_bundle import make

from deepseek.bench import launch_server
from deepseek.features import EventColumns, compute_offline

MAX_DELAY_MS, MAX_MEMORY_MB = 100.0, 300.0
QUIET_S = 0.5
NAMES = (*BODIES, *GRPC_BODIES, *EVENT_BODIES)
CLAIMS = tuple(f"{name}_{what}" for name in NAMES for what in ("delay", "memory"))


@dataclass(frozen=True)
class Round:
    """What one body did."""

    quiet_ms: float  # the slowest health check without it
    delay_ms: float  # and with it
    memory_mb: float
    answer: str


def main() -> int:
    args = options(__doc__, CLAIMS, quick="One round of each body.").parse_args()
    wanted = [name for name in NAMES if args.only is None or args.only in (f"{name}_delay", f"{name}_memory")]
    claims: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for start, is_wanted in (
            (serving, lambda name: name not in EVENT_BODIES),
            (serving_events, EVENT_BODIES.__contains__),
        ):
            names = list(filter(is_wanted, wanted))
            if not names:
                continue
            with start(Path(folder)) as (host, port, grpc_port, pid):
                for name in names:
                    send = sender_of(name, host, port, grpc_port)
                    rounds = [measure(send, host, port, pid) for _ in range(1 if args.quick else 3)]
                    claims += [each for each in judged(name, rounds) if args.only in (None, each["claim"])]
                    last = rounds[-1]
                    print(f"{name:<22}{last.delay_ms:>8.0f} ms {last.memory_mb:>6.0f} MB  {last.answer}")
        ran = {each["claim"] for each in claims}
        return finish("hostile", claims, not_run=[each for each in CLAIMS if each not in ran])


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    """Host, port, port of gRPC, and process of a server of a tree."""
    bundle = make(folder)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        grpc_port = probe.getsockname()[1]
    words = ["--workers", "1", "--grpc-port", str(grpc_port), "--log-level", "error"]
    with launch_server(f"tree={bundle.bundle}", words) as server:
        parts = urlsplit(server.url)
        yield str(parts.hostname), int(parts.port or 0), grpc_port, server.pid


@contextmanager
def serving_events(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    """The same of a server that scores raw events by a model of made-up ones, and has no gRPC."""
    rng, num = np.random.default_rng(0), 4_000
    time_s = np.sort(rng.integers(1_522_540_800, 1_526_000_000, num))
    keys = (rng.integers(0, 60, num), rng.integers(0, 25, num))
    is_fraud = rng.random(num) < 0.1
    events = EventColumns(time_s, rng.integers(100, 9_000, num), keys, np.arange(num), fraud=is_fraud.astype(np.int64))
    features = compute_offline(definition(), events)
    bundle = fit_bundle(folder / "cards", features.names, features.values, is_fraud)
    words = ["--state", str(folder / "state"), "--workers", "1", "--log-level", "error"]
    with launch_server(f"cards={bundle}", words) as server:
        parts = urlsplit(server.url)
        yield str(parts.hostname), int(parts.port or 0), 0, server.pid


def judged(name: str, rounds: list[Round]) -> list[dict[str, Any]]:
    quiet_ms = median(each.quiet_ms for each in rounds)
    note = f"{quiet_ms:.0f} ms without it; answered: {rounds[-1].answer}"
    delay_ms, memory_mb = median(each.delay_ms for each in rounds), max(each.memory_mb for each in rounds)
    return [
        claim(
            f"{name}_delay", ours=round(delay_ms, 1), rival=round(quiet_ms, 1), rival_name="no hostile body",
            unit="ms, slowest health check", op="<=", bar=MAX_DELAY_MS, num_seeds=len(rounds), note=note,
        ),
        claim(f"{name}_memory", ours=round(memory_mb, 1), unit="MB more", op="<=", bar=MAX_MEMORY_MB),
    ]  # fmt: skip


def measure(send: Callable[[], str], host: str, port: int, pid: int) -> Round:
    """Quiet first, then with the body."""
    with probing(host, port) as slowest:
        time.sleep(QUIET_S)
        quiet_ms = slowest()
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the most that it has held begins anew
    before_mb = memory_mb(pid, "VmRSS")
    with probing(host, port) as slowest:
        answer = send()
        delay_ms = slowest()
    return Round(quiet_ms, delay_ms, memory_mb(pid, "VmHWM") - before_mb, answer)


@contextmanager
def probing(host: str, port: int) -> Iterator[Callable[[], float]]:
    """Health checks by another process. What is given ends them and says how many ms the slowest took."""
    command = [sys.executable, "-S", str(Path(__file__).with_name("hostile_probe.py")), host, str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()

    def slowest() -> float:
        return float(process.communicate("stop\n")[0]) * 1e3

    try:
        yield slowest
    finally:
        process.kill()
        process.wait()


def memory_mb(pid: int, field: str) -> float:
    """A figure of /proc/PID/status, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1_024 / 1e6


def sender_of(name: str, host: str, port: int, grpc_port: int) -> Callable[[], str]:
    """What sends a body and returns what came back, in words."""
    if name in GRPC_BODIES:
        message = GRPC_BODIES[name]()
        return lambda: send_grpc(message, f"{host}:{grpc_port}")
    sent = EVENT_BODIES[name]("cards") if name in EVENT_BODIES else BODIES[name]("tree")

    def send() -> str:
        with ThreadPoolExecutor(sent.num_connections) as pool:
            answers = list(pool.map(lambda _: send_one(sent, host, port), range(sent.num_connections)))
        return ", ".join(sorted(set(answers)))

    return send


def send_one(sent: Sent, host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=120) as connection:
        with suppress(OSError):  # it may be refused before it was sent whole
            connection.sendall(sent.head(host))
            step = len(sent.body) // 10 + 1 if sent.pause_s else len(sent.body) or 1
            for start in range(0, len(sent.body), step):
                connection.sendall(sent.body[start : start + step])
                time.sleep(sent.pause_s)
        if sent.pause_s:
            return "not waited for"
        try:
            status = connection.recv(4_096)[9:12].decode() or "closed"
            while sent.is_stream and connection.recv(65_536):
                pass
            return status
        except OSError as error:
            return type(error).__name__


def send_grpc(message: bytes, target: str) -> str:
    import grpc

    with grpc.insecure_channel(target, [("grpc.max_send_message_length", -1)]) as channel:
        try:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(message, timeout=120)
        except grpc.RpcError as error:
            return str(error.code()).removeprefix("StatusCode.")
    return "OK"


if __name__ == "__main__":
    sys.exit(main())
