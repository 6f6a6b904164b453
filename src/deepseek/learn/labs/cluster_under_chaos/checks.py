"""Checks of the lab "A cluster under chaos": a script that kills and stops workers while clients ask."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

FILE, WORKER, PROBE = "cluster.py", "worker.py", Path(__file__).with_name("probe.py")
STOP, WORKERS = "stop-now", "workers.txt"
NUM_WORKERS, HOUR_S = 3, 3_600
READY_S, ASK_S, PATIENCE_S, REPLACED_S = 60.0, 15.0, 40.0, 20.0
SOURCE = '''"""A worker: answers POST /predict on a port of its own, and ends when its parent does."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PARENT = os.getppid()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        value = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["value"]
        time.sleep(0.03)
        data = json.dumps({{"answer": {factor} * value + {offset}, "pid": os.getpid()}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
with open("workers.txt", "a") as file:
    file.write(f"{{os.getpid()}} {{server.server_address[1]}}\\n")
print("ready", server.server_address[1], flush=True)
while os.getppid() == PARENT:
    time.sleep(0.5)
'''


def make(data: DataFolder) -> object:
    factor, offset = (int(each) for each in data.rng.integers(2, 99, 2))
    data.write_text(WORKER, SOURCE.format(factor=factor, offset=offset))
    lines = [
        {"worker": worker, "down": int(down), "up": int(down + data.rng.integers(40, 500))}
        for worker in range(NUM_WORKERS)
        for down in np.sort(data.rng.integers(0, HOUR_S - 600, 5))
    ]
    lines += [
        {"worker": worker, "down": 3_000 + 20 * worker, "up": 3_000 + int(data.rng.integers(90, 400))}
        for worker in range(3)
    ]
    data.write_json("incident.json", sorted(lines, key=lambda line: (line["down"], line["worker"])))
    return {"factor": factor, "offset": offset, **figures_of(lines)}


def figures_of(lines: list[dict[str, int]]) -> dict[str, int]:
    """By the second."""
    is_down = np.zeros((NUM_WORKERS, HOUR_S + 600), bool)
    for line in lines:
        is_down[line["worker"], line["down"] : line["up"]] = True
    num_down = is_down.sum(0)
    longest = current = 0
    for few in num_down >= 2:
        current = current + 1 if few else 0
        longest = max(longest, current)
    return {"any_down_s": int((num_down > 0).sum()), "all_down_s": int((num_down == NUM_WORKERS).sum()),
            "longest_s": longest, "sum_down_s": int(num_down.sum())}  # fmt: skip


@dataclass
class Cluster:
    """The learner's cluster as it runs, and what chaos may do to it."""

    work: Work
    port: int
    num_left: list[int] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)

    def run(self) -> None:
        """In a thread: until the cluster ends."""
        try:
            self.num_left += self.work.probe(PROBE, FILE, "run", [self.port, NUM_WORKERS, STOP])
        except Mistake as error:
            self.mistakes.append(error)

    def ask(self, value: int, limit_s: float = ASK_S) -> tuple[int, Any]:
        """Status and answer; status 0 with the words of what went wrong."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=limit_s)
        try:
            connection.request("POST", "/predict", json.dumps({"value": value}))
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if answer.status == 200 else body[:60]
        except (OSError, HTTPException, ValueError) as error:
            return 0, type(error).__name__
        finally:
            connection.close()

    def is_right(self, value: int, said: Any) -> bool:
        truth = self.work.truth
        return isinstance(said, dict) and said.get("answer") == truth["factor"] * value + truth["offset"]

    def pids(self) -> list[int]:
        """The workers that live: those that worker.py has written down."""
        with suppress(OSError, ValueError, IndexError):
            lines = (self.work.place.folder / WORKERS).read_text().splitlines()
            return [pid for pid in (int(line.split()[0]) for line in lines) if is_worker(pid)]
        return []

    def wait_until_ready(self) -> None:
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s and not self.mistakes and not self.num_left:
            status, _ = self.ask(1)
            if status == 200 and len(self.pids()) >= NUM_WORKERS:
                return
            time.sleep(0.2)
        if self.mistakes:
            raise self.mistakes[0]
        problem = Text(f"nothing within {READY_S:g} seconds", f"{READY_S:g} 秒内没有回答")
        if self.num_left:
            problem = Text("run() has returned already", "run() 已经返回")
        raise Mistake("not_ready", problem=problem)

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def count_answering(self, num_asked: int) -> int:
        """By how many workers so many requests are answered."""
        with ThreadPoolExecutor(4) as clients:
            said = list(clients.map(self.ask, range(num_asked)))
        return num_workers_of(said)


def num_workers_of(answers: Sequence[tuple[int, Any]]) -> int:
    """How many workers have given the answers."""
    return len({str(said.get("pid")) for status, said in answers if status == 200 and isinstance(said, dict)})


def is_worker(pid: int) -> bool:
    """Whether a process is a worker and no other one of this machine."""
    proc = Path(f"/proc/{pid}/cmdline")
    if proc.parent.parent.joinpath("self").exists():
        try:
            return WORKER.encode() in proc.read_bytes()
        except OSError:
            return False
    done = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return WORKER in done.stdout


@contextmanager
def cluster_of(work: Work) -> Iterator[Cluster]:
    for name in (STOP, WORKERS):
        (work.place.folder / name).unlink(missing_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = Cluster(work, port)
    thread = threading.Thread(target=cluster.run, daemon=True)
    thread.start()
    try:
        cluster.wait_until_ready()
        yield cluster
    finally:
        (work.place.folder / STOP).touch()
        thread.join(PATIENCE_S)


def check_own(work: Work) -> None:
    truth = work.truth
    for key in ("any_down_s", "all_down_s", "longest_s"):
        said = work.number("answers.json", key)
        if said == truth[key]:
            continue
        why = Text("draw the three workers over time", "把三个工作进程沿时间画出来")
        if key == "any_down_s" and said == truth["sum_down_s"]:
            why = Text(
                "that is the sum over workers; a second in which two are down counts once",
                "这是各工作进程之和；两个同时停机的一秒只算一次",
            )
        raise Mistake("wrong_answer", key=key, said=f"{said:g}", why=why)


def check_answers(work: Work) -> None:
    values = work.rng("values").integers(0, 10**6, 24).tolist()
    with cluster_of(work) as cluster:
        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(cluster.ask, values))
        for value, (status, said) in zip(values, answers, strict=True):
            if status != 200 or not cluster.is_right(value, said):
                raise Mistake("other_answer", value=value, said=f"{status} {said}"[:60])
        num = num_workers_of(answers)
        if num < 2:
            raise Mistake("one_worker", num=len(values), said=num)


def check_killed(work: Work) -> None:
    values = iter(work.rng("values").integers(0, 10**6, 10_000).tolist())
    with cluster_of(work) as cluster, ThreadPoolExecutor(4) as clients:
        for _ in range(3):
            pids = cluster.pids()
            if not pids:
                raise Mistake("not_replaced", num=1, said=0)
            pending = [(value, clients.submit(cluster.ask, value)) for value in (next(values) for _ in range(16))]
            time.sleep(0.05)  # some are being answered
            cluster.kill(pids[-1])
            for value, answer in pending:
                status, said = answer.result()
                if status != 200 or not cluster.is_right(value, said):
                    raise Mistake("request_lost", said=f"{status} {said}"[:60])
            wait_for(lambda dead=pids[-1]: len(set(cluster.pids()) - {dead}) >= 2)


def check_replaced(work: Work) -> None:
    with cluster_of(work) as cluster:
        first = cluster.pids()
        for pid in first[:2]:
            cluster.kill(pid)
        wait_for(lambda: len(set(cluster.pids()) - set(first[:2])) >= NUM_WORKERS)
        num = cluster.count_answering(40)
        if num < NUM_WORKERS:
            raise Mistake("not_replaced", num=2, said=num)


def check_all_killed(work: Work) -> None:
    with cluster_of(work) as cluster:
        for pid in cluster.pids():
            cluster.kill(pid)
        end_s, last = time.monotonic() + PATIENCE_S, ""
        while time.monotonic() < end_s:
            status, said = cluster.ask(5)
            last = f"{status} {said}"
            if status not in (200, 503):
                break
            if status == 200 and cluster.is_right(5, said):
                return
            time.sleep(0.2)
        raise Mistake("stays_down", said=last[:60])


def check_silent(work: Work) -> None:
    with cluster_of(work) as cluster:
        stopped = cluster.pids()[:1]
        for pid in stopped:
            cluster.kill(pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(3) as clients:
                answers = list(clients.map(cluster.ask, range(12)))
        finally:
            for pid in stopped:
                cluster.kill(pid, signal.SIGCONT)
        for value, (status, said) in enumerate(answers):
            if status != 200 or not cluster.is_right(value, said):
                raise Mistake("held_up", said=f"{status} {said}"[:60])


def check_ends(work: Work) -> None:
    with cluster_of(work) as cluster:
        for pid in cluster.pids()[:1]:
            cluster.kill(pid)
        (work.place.folder / STOP).touch()
        wait_for(lambda: bool(cluster.num_left or cluster.mistakes))
    if cluster.mistakes:
        raise cluster.mistakes[0]
    if not cluster.num_left or cluster.num_left[0]:
        raise Mistake("workers_left", num=cluster.num_left[0] if cluster.num_left else NUM_WORKERS)


def wait_for(is_so: Any) -> bool:
    """Ask until it is so; False when patience is over."""
    end_s = time.monotonic() + REPLACED_S
    while time.monotonic() < end_s:
        if is_so():
            return True
        time.sleep(0.1)
    return False
