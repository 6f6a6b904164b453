"""Several front ends on one port: one Python process parses no more than some 25,000 requests a second.

    FrontEndGroup: the parent. It keeps the port, starts the front ends, says that they are ready, passes signals on,
        kills one that says nothing any more, and starts one that died again
    GroupMember: a whole server of its own, with its own engines, on the same port (SO_REUSEPORT)

That a child died, was killed or was started again is reported to one that lives, which logs and counts it.
Each child sends its counters to the parent every second, and receives those of the others. One that answers /metrics or
/v1/stats asks for them anew, so that any of them answers for all up to now. The counters of a dead child are kept, so
that no counter ever falls. Which models of a repository are served is decided by the parent for all of them
(group_sync.py).
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
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from deepseek.contracts import JsonObject
from deepseek.errors import DeepseekError, InputError
from deepseek.serve.core.ready_line import ReadyLine
from deepseek.serve.core.request import EMPTY_MAPPING
from deepseek.serve.models.routing import TrafficSplit
from deepseek.serve.repository.channel import Channel, PeerGoneError
from deepseek.serve.repository.folder import Repository
from deepseek.serve.repository.group_sync import GroupDeployment, GroupLeader
from deepseek.serve.repository.loader import RepositoryLoader

STATE_INTERVAL_S = 1.0  # between two messages of a child
FIRST_PAUSE_S, LAST_PAUSE_S, SETTLED_S = 0.1, 10.0, 5.0  # before a child that died is started again
COLLECT_TIMEOUT_S = 0.5  # for which one that answers for all waits for another's counters; then the last sent stand
LIVENESS_INTERVAL_S = 1.0  # between two looks for children that say nothing
SILENCE_TIMEOUT_S = 20.0  # after which a child is killed: its event loop stands still
STOPPED_TIMEOUT_S = 3.0  # the same of one that was stopped, as the system says: no change of models waits for it longer

#: What a front end counts: its Prometheus exposition, and its part of /v1/stats.
MemberCounters = tuple[str, Any]


class GroupError(DeepseekError):
    """A front end did not start; it has printed the reason itself."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Membership:
    """What a parent passes to a front end that it starts: the descriptor of the socket between them, its index in the
    group, the port, and the port of gRPC where it is the one that speaks it, else 0."""

    descriptor: int
    index: int
    port: int
    grpc_port: int = 0

    @classmethod
    def read(cls, text: str) -> Membership:
        """From the option --member DESCRIPTOR:PLACE:PORT:GRPC_PORT. InputError for anything else."""
        parts = text.split(":")
        if len(parts) != 4 or not all(part.isdecimal() for part in parts):
            raise InputError(
                f"--member is {text!r}",
                expected="what a group gives its members",
                fix="leave it out: it is not for users",
            )
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.descriptor}:{self.index}:{self.port}:{self.grpc_port}"


class GroupMember:
    """A front end of a group, in its own process: what it knows of the others, and sends them."""

    def __init__(self, membership: Membership) -> None:
        self.others: dict[str, MemberCounters] = {}  # by key, those that have ended too
        self.ended: set[str] = set()  # keys of the others that have ended
        self.state: Callable[[], MemberCounters] = lambda: ("", {})
        self.channel = Channel()
        self.channel.listeners |= {"counts": self.others.update, "ended": self.ended.update}
        self.channel.responders["state"] = self._state_now
        self._control = socket.socket(fileno=membership.descriptor)

    async def join(self, parent_gone: Callable[[], None]) -> None:
        """Connect to the parent, once the event loop runs."""
        await self.channel.connect(self._control)
        loop = asyncio.get_running_loop()
        self._listen_task = loop.create_task(self.channel.listen())
        # Whatever has ended it: a front end that nobody ends would serve for ever.
        self._listen_task.add_done_callback(lambda task: None if task.cancelled() else parent_gone())
        self._report_task = loop.create_task(self._report_state())

    def tell_ready(self, line: ReadyLine) -> None:
        """Tell the parent that the models are open and connections are accepted."""
        self.channel.notify("ready", line)

    async def refresh_counts(self) -> None:
        """Receive what the others have counted up to now, and send one's own: no counter falls from one to another."""
        with contextlib.suppress(PeerGoneError):
            await self.channel.request("collect", self.state())

    async def _state_now(self, _: Any) -> MemberCounters:
        return self.state()

    def leave(self) -> None:
        """Send the counters for the last time."""
        self._report_task.cancel()
        self._listen_task.cancel()
        self.channel.notify("state", self.state())

    async def _report_state(self) -> None:
        while True:
            await asyncio.sleep(STATE_INTERVAL_S)
            self.channel.notify("state", self.state())


class FrontEndGroup:
    """The parent of `num_front_ends` children."""

    def __init__(
        self,
        port: int,
        num_front_ends: int,
        print_ready: Callable[[ReadyLine], None],
        *,
        grpc_port: int = 0,
        renews: bool = False,
        repository: Repository | None = None,
        splits: Mapping[str, TrafficSplit] = EMPTY_MAPPING,
    ) -> None:
        """`grpc_port`: that of the one child that speaks gRPC, the same for whichever takes its place; 0 for none.
        `renews`: the children have files that they read again at SIGHUP, so it is passed on to them. `repository`,
        `splits`: the repository and the splits of their apps, as in create_app()."""
        self._renews = renews
        self._deployment = GroupDeployment()
        self._loader = RepositoryLoader(self._deployment, repository, splits) if repository is not None else None
        self._leader = None if self._loader is None else GroupLeader(self._loader, self._deployment, num_front_ends)
        self._port = port
        self._grpc_port = grpc_port
        self._num_front_ends = num_front_ends
        self._print_ready = print_ready
        self._members: dict[int, MemberProcess] = {}
        self._states: dict[str, MemberCounters] = {}  # by key, those that died too; for a child that comes later
        self._ended_keys: list[str] = []  # keys of the children that died
        self._events: list[JsonObject] = []  # fields of events that no child has received yet
        self._num_signals = 0
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        """Run the children until a signal. GroupError when one cannot start at all."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        if self._renews:
            loop.add_signal_handler(signal.SIGHUP, self._renew)
        keepers = [loop.create_task(self._keep(index)) for index in range(self._num_front_ends)]
        leading, watching = loop.create_task(self._lead()), loop.create_task(self._watch())
        try:
            await self._all_ready(keepers, leading)
            await self._stopping.wait()
        finally:
            self._stopping.set()
            if self._leader is not None:
                self._leader.stop()
            # Their keepers go on listening: a child answers what it has accepted, and may need us for that.
            await asyncio.gather(*(member.end() for member in list(self._members.values())))
            for task in (*keepers, leading, watching):
                task.cancel()
            if self._loader is not None:
                await self._loader.close()

    async def _lead(self) -> None:
        if self._leader is not None:
            await self._leader.start()

    async def _watch(self) -> None:
        """Kill children that send nothing any more; others take their place."""
        loop = asyncio.get_running_loop()
        looked_s = loop.time()
        while True:
            await asyncio.sleep(LIVENESS_INTERVAL_S)
            stood_still = loop.time() - looked_s > 2 * LIVENESS_INTERVAL_S  # this process: it received no messages
            looked_s = loop.time()
            for member in self._members.values():
                heard_s = member.channel.last_message_s
                silent_s = looked_s - heard_s if heard_s and not stood_still else 0.0
                if silent_s > SILENCE_TIMEOUT_S or (silent_s > STOPPED_TIMEOUT_S and member.is_stopped):
                    problem = "was stopped" if member.is_stopped else "says nothing any more"
                    self._deployment.leave(member)
                    warning = f"process {member.pid} {problem}"
                    self._report(member, {"state": "a front end is killed", "warning": warning})
                    member.kill()

    async def _all_ready(self, keepers: list[asyncio.Task[None]], leading: asyncio.Task[None]) -> None:
        """Print the ready line once all children are ready. A child that ends before that ends everything."""
        while len(ready := [member.line for member in self._members.values() if member.line]) < self._num_front_ends:
            if self._stopping.is_set():
                return
            if any(task.done() for task in keepers):
                raise GroupError("a front end did not start", expected="a server that starts", fix="see what it said")
            if leading.done():
                leading.result()
            await asyncio.sleep(0.01)
        self._print_ready(
            msgspec.structs.replace(
                ready[0], pid=os.getpid(), front_ends=[member.pid for member in self._members.values()]
            )
        )

    def _stop(self) -> None:
        self._num_signals += 1
        self._stopping.set()
        for member in self._members.values():
            member.signal(signal.SIGTERM)

    def _renew(self) -> None:
        """Let each child read its files again."""
        for member in self._members.values():
            if member.line is not None:  # one that is not ready yet reads them anyway, and may not listen to the signal
                member.signal(signal.SIGHUP)

    async def _keep(self, index: int) -> None:
        """Run a child, and start it again when it dies. Returns when its first start fails."""
        pause_s = FIRST_PAUSE_S
        was_ready = False
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started_s = loop.time()
            member = self._members[index] = MemberProcess(index, self._port, 0 if index else self._grpc_port)
            member.channel.listeners["taken"] = partial(self._tell_others, member, "taken")
            member.channel.responders["collect"] = partial(self._collect_states, member)
            if self._leader is not None:
                self._leader.answer(member)
            await member.run(
                self._share_state, self._states, self._ended_keys, partial(self._on_ready, again=was_ready)
            )
            self._deployment.leave(member)
            self._on_ended(member)
            was_ready = was_ready or member.line is not None
            if not was_ready:
                return
            pause_s = FIRST_PAUSE_S if loop.time() - started_s > SETTLED_S else min(2 * pause_s, LAST_PAUSE_S)
            await asyncio.sleep(pause_s)

    def _on_ready(self, member: MemberProcess, *, again: bool) -> None:
        """Report that a child takes requests; `again`: in the place of one that died."""
        if again:
            fields = {"state": "a front end was started again", "pid": member.pid}
            self._report(None, fields | {"process": "front_end", "change": "restarted"})
        self._deliver()

    def _on_ended(self, member: MemberProcess) -> None:
        self._ended_keys.append(member.key)
        self._tell_others(member, "ended", [member.key])
        if member.line is not None and not self._stopping.is_set():
            warning = "what it had accepted is lost; another is started in its place"
            fields = {"state": "a front end died", "pid": member.pid, "exit_code": member.exit_code, "warning": warning}
            self._report(member, fields | {"process": "front_end", "change": "died"})

    def _report(self, about: MemberProcess | None, fields: JsonObject) -> None:
        """Let one child log and count what happened to another: now, or as soon as one is ready."""
        self._events.append(fields)
        self._deliver(about)

    def _deliver(self, about: MemberProcess | None = None) -> None:
        for member in self._members.values():
            if member is not about and member.line is not None and not member.channel.is_closed:
                events, self._events = self._events, []
                for fields in events:
                    member.channel.notify("event", fields)
                return

    def _share_state(self, member: MemberProcess, state: MemberCounters) -> None:
        """Pass the counters of a child to the others."""
        self._states[member.key] = state
        self._tell_others(member, "counts", {member.key: state})

    async def _collect_states(self, asking: MemberProcess, state: MemberCounters) -> None:
        """Pass a child the counters of all others as they are now; `state`: its own."""
        self._share_state(asking, state)
        others = [other for other in self._members.values() if other is not asking and other.line is not None]
        await asyncio.gather(*map(self._collect_state, others))
        asking.channel.notify(
            "counts", {other.key: self._states[other.key] for other in others if other.key in self._states}
        )

    async def _collect_state(self, member: MemberProcess) -> None:
        with contextlib.suppress(PeerGoneError, TimeoutError):
            self._states[member.key] = await asyncio.wait_for(member.channel.request("state"), COLLECT_TIMEOUT_S)

    def _tell_others(self, member: MemberProcess, topic: str, content: Any) -> None:
        for other in self._members.values():
            if other is not member:
                other.channel.notify(topic, content)


class MemberProcess:
    """The process of a child, seen from its parent."""

    def __init__(self, index: int, port: int, grpc_port: int = 0) -> None:
        self._control, child_end = socket.socketpair()
        with child_end:
            self._process = subprocess.Popen(
                member_command(Membership(child_end.fileno(), index, port, grpc_port)),
                pass_fds=[child_end.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self.pid = self._process.pid
        self.key = f"{index}.{self.pid}.{time.monotonic_ns()}"  # a number of a process may come again
        self.line: ReadyLine | None = None  # its ready line
        self.channel = Channel()
        self._has_signal = False

    async def run(
        self,
        on_state: Callable[[MemberProcess, Any], None],
        states: Mapping[str, MemberCounters],
        ended_keys: list[str],
        on_ready: Callable[[MemberProcess], None] = lambda _: None,
    ) -> None:
        """Send the child what others have counted and which have ended; listen until it ends. `on_ready`: once."""

        def set_ready(line: JsonObject) -> None:
            self.line = msgspec.convert(line, ReadyLine)
            on_ready(self)

        self.channel.listeners |= {"ready": set_ready, "state": lambda state: on_state(self, state)}
        await self.channel.connect(self._control)
        self.channel.notify("counts", dict(states))
        self.channel.notify("ended", ended_keys)
        await self.channel.listen()
        await self._wait_for_exit()

    def signal(self, number: int) -> None:
        self._has_signal = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    @property
    def is_stopped(self) -> bool:
        """Whether a signal has stopped its process. False where the system does not say (elsewhere than on Linux)."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    @property
    def exit_code(self) -> int | None:
        """As subprocess has it: below 0 for a signal; None while it runs."""
        return self._process.returncode

    def kill(self) -> None:
        """Kill a process that hangs; another is started in its place."""
        self._process.kill()

    async def end(self) -> None:
        """Signal the process to end, unless it was signalled before, and wait: a second signal would stop its drain."""
        if not self._has_signal:
            self.signal(signal.SIGTERM)
        await self._wait_for_exit()

    async def _wait_for_exit(self) -> None:
        while self._process.poll() is None:
            await asyncio.sleep(0.01)
        self.channel.close()


def run_group(group: FrontEndGroup) -> None:
    """Serve with several front ends until a signal. InputError where a port cannot be shared."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise InputError(
            "this system cannot share a port between processes",
            expected="Linux or another system with SO_REUSEPORT",
            fix="--front-ends 1",
        )
    asyncio.run(group.serve())


def member_command(membership: Membership) -> list[str]:
    """How this process was started, as a member of its group.

    The option stands first: behind "--" it would be a model's name, and the child a group of its own, without end.
    """
    verb, *words = sys.argv[1:]
    return [sys.executable, "-m", "deepseek", verb, "--member", str(membership), *words]
