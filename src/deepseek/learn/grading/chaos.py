"""What goes wrong in production, made on purpose: processes that die, connections that break, bytes that change.

    kill_one(served.pid)                              # SIGKILL of one of the processes that it has started
    with BrokenLink(served.url, breaks=3) as link:    # the first three answers end in the middle
        ask(link.url)
    change_byte(path, rng)

For checks of projects; the learner's server and client have to live with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import numpy as np

LINK_S = 120.0  # that one side may be silent
PART_BYTES = 10  # of the body of an answer that get through before the link breaks
BLOCK_BYTES = 1 << 16
HEADERS_END = b"\r\n\r\n"


def kill_one(pid: int, *, words: str = "") -> bool:
    """End one of the processes that a process has started by SIGKILL, one with `words` in its command. Whether there
    was one."""
    table = {each.pid: each for each in list_processes()}
    for each in table.values():
        if words in each.command and pid in _ancestors(each.pid, table):
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)
                return True
    return False


def kill_all(pid: int) -> None:
    """End a process and all that it has started by SIGKILL, the process first, so that it starts nothing again."""
    table = {each.pid: each for each in list_processes()}
    for each in (pid, *(each for each in table if pid in _ancestors(each, table))):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process of this machine."""

    pid: int
    parent: int
    command: str


def list_processes() -> list[ProcessRow]:
    """All processes: of /proc where there is one, else of ps."""
    if not Path("/proc/self/stat").exists():
        done = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,command="], capture_output=True, text=True, check=True)
        rows = [line.split(None, 2) for line in done.stdout.splitlines()]
        return [ProcessRow(int(row[0]), int(row[1]), row[2]) for row in rows if len(row) == 3]
    rows_of_proc = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            after_name = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            if after_name[0] != "Z":
                rows_of_proc.append(ProcessRow(int(folder.name), int(after_name[1]), command))
    return rows_of_proc


def _ancestors(pid: int, table: Mapping[int, ProcessRow]) -> list[int]:
    """The parent of a process, its parent, and so on."""
    parents: list[int] = []
    while pid in table and table[pid].parent not in parents:
        pid = table[pid].parent
        parents.append(pid)
    return parents


def change_byte(path: Path, rng: np.random.Generator) -> None:
    """One byte of a file becomes another."""
    content = bytearray(path.read_bytes())
    place = int(rng.integers(0, len(content)))
    content[place] ^= int(rng.integers(1, 256))
    path.write_bytes(content)


class BrokenLink:
    """A link to a server, at an address of its own, that breaks off some answers in the middle."""

    def __init__(self, url: str, breaks: int) -> None:
        """The first `breaks` connections get the beginning of their answer, and no more."""
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 80)
        self.num_broken, self._breaks = 0, breaks
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was closed
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server, LINK_S) as server:
            client.settimeout(LINK_S)
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            with self._lock:
                is_broken = self.num_broken < self._breaks
                self.num_broken += is_broken
            if is_broken:
                client.sendall(_beginning(server))
                client.shutdown(socket.SHUT_RDWR)
                return
            _copy(server, client)


def _beginning(server: socket.socket) -> bytes:
    """The headers of an answer and some bytes of its body."""
    data = b""
    while len(data) < data.find(HEADERS_END) + len(HEADERS_END) + PART_BYTES or HEADERS_END not in data:
        block = server.recv(BLOCK_BYTES)
        if not block:
            break
        data += block
    return data[: data.find(HEADERS_END) + len(HEADERS_END) + PART_BYTES]


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(BLOCK_BYTES):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
