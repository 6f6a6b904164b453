"""Load on a running server, and its engine processes: for tests that kill, stop or change it in the middle."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from support.servers.serving import Server

PREDICT = "/v1/models/cancer:predict"


class Load:
    """Clients that ask one request after the other, and keep what came of each."""

    def __init__(self, url: str, num_clients: int, body: Any) -> None:
        self.statuses: list[int] = []
        self.broken: list[str] = []
        self._body = json.dumps(body)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url,)) for _ in range(num_clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, url: str) -> None:
        with httpx.Client(base_url=url, timeout=20) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(PREDICT, content=self._body, headers={"content-type": "application/json"})
                    self.statuses.append(answer.status_code)
                    if answer.headers.get("connection") == "close":
                        return
                except httpx.ConnectError:
                    return  # nobody listens any more: nothing was accepted
                except httpx.HTTPError as error:
                    self.broken.append(repr(error))
                    return

    def wait_for_answers(self, num_more: int = 30) -> None:
        """Return when so many more requests were answered, however long that takes here."""
        num_answers = len(self.statuses) + num_more
        until(lambda: len(self.statuses) >= num_answers)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


class CheckedLoad:
    """Clients that ask one request after the other, on a new connection whenever one breaks, and hold each answer to
    the right one."""

    def __init__(self, url: str, num_clients: int, body: Any, right: Any) -> None:
        self.num_right = self.num_broken = 0
        self.statuses: list[int] = []
        self.wrong: list[str] = []
        self._url, self._body, self._right = url, body, right
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(num_clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._stop.is_set():
            with httpx.Client(base_url=self._url, timeout=20) as client:
                try:
                    while not self._stop.is_set():
                        self._check(client.post(PREDICT, json=self._body))
                except httpx.TransportError:  # an error that the client sees: it asks again
                    self.num_broken += 1
                    time.sleep(0.02)

    def _check(self, answer: httpx.Response) -> None:
        self.statuses.append(answer.status_code)
        if answer.status_code != 200:
            time.sleep(0.02)
        elif answer.json() == self._right:
            self.num_right += 1
        else:
            self.wrong.append(answer.text[:300])

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a request got neither an answer nor an error"


def engines_of(server: Server) -> list[int]:
    """Process ids of a server's engine processes."""
    return engines_below(server.process.pid)


def engines_below(front_end: int) -> list[int]:
    """Process ids of the engine processes that a front end has started."""
    children = Path(f"/proc/{front_end}/task/{front_end}/children").read_text().split()
    return [int(pid) for pid in children if b"deepseek.engines.process" in _command_of(pid)]


def _command_of(pid: str) -> bytes:
    """How a process was started; nothing where it has ended since it was listed."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def until(true: Callable[[], bool], limit_s: float = 60) -> None:
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)
