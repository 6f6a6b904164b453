"""Several front ends on one port: one Python process parses no more than some 25,000 requests a second.

    Group: the parent. It keeps the port, starts the front ends, says that they are ready, passes signals on, and starts
           one that died again
    Child: a whole server of its own, with its own engines, that listens on the same port (SO_REUSEPORT: the kernel
           deals out connections)

Each child tells the parent every second what it has counted, and hears what the others have, so that any of them can
answer /metrics and /v1/stats for all. What a child counted that died is kept, so that no counter ever falls.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from deepseek.errors import DeepseekError, InputError

TELL_S = 1.0  # between two messages of a child
FIRST_PAUSE_S, LAST_PAUSE_S, SETTLED_S = 0.1, 10.0, 5.0  # before a child that died is started again
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class GroupError(DeepseekError):
    """A front end did not start; it has said why itself."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Membership:
    """What a parent tells a front end that it starts: the socket between them, its place in the group, the port."""

    descriptor: int
    place: int
    port: int

    @classmethod
    def read(cls, text: str) -> Membership:
        """From the option --member DESCRIPTOR:PLACE:PORT. InputError for anything else."""
        parts = text.split(":")
        if len(parts) != 3 or not all(part.isdecimal() for part in parts):
            raise InputError(
                f"--member is {text!r}",
                expected="what a group gives its members",
                fix="leave it out: it is not for users",
            )
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.descriptor}:{self.place}:{self.port}"


class Child:
    """What a front end of a group knows of the others, and tells them."""

    def __init__(self, membership: Membership) -> None:
        self.others: dict[str, Any] = {}
        self.ready: Callable[[], dict[str, Any]] = dict
        self.state: Callable[[], Any] = dict
        self._control = socket.socket(fileno=membership.descriptor)
        self._writer: asyncio.StreamWriter | None = None

    async def join(self, parent_gone: Callable[[], None]) -> None:
        """Connect to the parent, once the event loop runs."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._control, limit=1 << 26)
        loop = asyncio.get_running_loop()
        self._hearing = loop.create_task(self._hear(reader, parent_gone))
        self._telling = loop.create_task(self._tell())

    def tell_ready(self, line: dict[str, Any]) -> None:
        """The models are open and connections are taken."""
        self._send({"ready": line})

    def leave(self) -> None:
        """The last word."""
        self._telling.cancel()
        self._hearing.cancel()
        self._send({"state": self.state()})

    async def _hear(self, reader: asyncio.StreamReader, parent_gone: Callable[[], None]) -> None:
        while line := await reader.readline():
            self.others.update(_decode(line))
        parent_gone()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            self._send({"state": self.state()})

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(_encode(message) + b"\n")


class Group:
    """The parent of `num_front_ends` children."""

    def __init__(
        self, port: int, num_front_ends: int, print_ready: Callable[[dict[str, Any]], None], *, renews: bool = False
    ) -> None:
        """`renews`: the children have files that they read again at SIGHUP, so it is passed on to them."""
        self._renews = renews
        self._port = port
        self._num_front_ends = num_front_ends
        self._print_ready = print_ready
        self._members: dict[int, Member] = {}
        self._states: dict[str, Any] = {}  # by child, those that died too; a child that comes later hears them all
        self._num_signals = 0
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        """From the start of the children to their end. GroupError when one cannot start at all."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        if self._renews:
            loop.add_signal_handler(signal.SIGHUP, self._renew)
        keepers = [loop.create_task(self._keep(place)) for place in range(self._num_front_ends)]
        try:
            await self._all_ready(keepers)
            await self._stopping.wait()
        finally:
            for task in keepers:
                task.cancel()
            await asyncio.gather(*(member.end() for member in list(self._members.values())))

    async def _all_ready(self, keepers: list[asyncio.Task[None]]) -> None:
        """Print the ready line once all are; a child that ends before that ends everything."""
        while len(ready := [member.line for member in self._members.values() if member.line]) < self._num_front_ends:
            if self._stopping.is_set():
                return
            if any(task.done() for task in keepers):
                raise GroupError("a front end did not start", expected="a server that starts", fix="see what it said")
            await asyncio.sleep(0.01)
        self._print_ready(
            ready[0] | {"pid": os.getpid(), "front_ends": [member.pid for member in self._members.values()]}
        )

    def _stop(self) -> None:
        self._num_signals += 1
        self._stopping.set()
        for member in self._members.values():
            member.signal(signal.SIGTERM)

    def _renew(self) -> None:
        """Files were renewed: each child reads its own."""
        for member in self._members.values():
            if member.line is not None:  # one that is not ready yet reads them anyway, and may not listen to the signal
                member.signal(signal.SIGHUP)

    async def _keep(self, place: int) -> None:
        """Let a child run, and start it again when it dies. Returns when its first start fails."""
        pause_s = FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started_s = loop.time()
            member = self._members[place] = Member(place, self._port)
            await member.run(self._heard, self._states)
            if member.line is None:
                return
            pause_s = FIRST_PAUSE_S if loop.time() - started_s > SETTLED_S else min(2 * pause_s, LAST_PAUSE_S)
            await asyncio.sleep(pause_s)

    def _heard(self, member: Member, state: Any) -> None:
        """A child has told what it counted: the others hear it."""
        self._states[member.key] = state
        for other in self._members.values():
            if other is not member:
                other.tell({member.key: state})


class Member:
    """A child, seen from its parent."""

    def __init__(self, place: int, port: int) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                member_command(Membership(theirs.fileno(), place, port)),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self.pid = self._process.pid
        self.key = f"{place}.{self.pid}.{time.monotonic_ns()}"  # a number of a process may come again
        self.line: dict[str, Any] | None = None  # its ready line
        self._writer: asyncio.StreamWriter | None = None
        self._signalled = False

    async def run(self, heard: Callable[[Member, Any], None], known: Mapping[str, Any]) -> None:
        """Tell the child what is `known` of others, and listen until it has ended."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._control, limit=1 << 26)
        self.tell(dict(known))
        with contextlib.suppress(ConnectionResetError):
            while line := await reader.readline():
                message = _decode(line)
                self.line = message.get("ready", self.line)
                if "state" in message:
                    heard(self, message["state"])
        await self._ended()

    def tell(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(_encode(message) + b"\n")

    def signal(self, number: int) -> None:
        self._signalled = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def end(self) -> None:
        """See that it ends; it has its own limit for that, which a second signal would cut short."""
        if not self._signalled:
            self.signal(signal.SIGTERM)
        await self._ended()

    async def _ended(self) -> None:
        while self._process.poll() is None:
            await asyncio.sleep(0.01)
        if self._writer is not None:
            self._writer.close()


def run_group(
    port: int, num_front_ends: int, print_ready: Callable[[dict[str, Any]], None], *, renews: bool = False
) -> None:
    """Serve with several front ends until a signal. InputError where a port cannot be shared."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise InputError(
            "this system cannot share a port between processes",
            expected="Linux or another system with SO_REUSEPORT",
            fix="--front-ends 1",
        )
    asyncio.run(Group(port, num_front_ends, print_ready, renews=renews).serve())


def member_command(membership: Membership) -> list[str]:
    """How this process was started, as a member of its group.

    The option stands first: behind "--" it would be a model's name, and the child a group of its own, without end.
    """
    verb, *words = sys.argv[1:]
    return [sys.executable, "-m", "deepseek", verb, "--member", str(membership), *words]
