"""Loading and unloading in a group of front ends: the parent decides, and all of them do the same.

    GroupDeployment: the deployment of the parent's loader; every front end does what it does
    GroupFollower: loading and unloading in a front end, which forwards requests to the parent

A change is opened everywhere before it takes its place anywhere; when one front end cannot, all leave it. A front end
that dies meanwhile is no hindrance, because the one that comes in its place opens what the others serve before it
takes requests. One that has stopped is killed by the group, so that no change waits for it for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from deepseek.errors import CheckError, DeepseekError, DrainingError
from deepseek.serve.repository.channel import Channel, PeerGoneError
from deepseek.serve.repository.deployment import OpenedModel
from deepseek.serve.repository.loader import UnloadedVersion

if TYPE_CHECKING:
    from deepseek.serve.repository.deployment import Deployment
    from deepseek.serve.repository.loader import LoadedVersion, RepositoryLoader


class FrontEnd(Protocol):
    """A front end as its parent sees it."""

    @property
    def channel(self) -> Channel: ...
    def kill(self) -> None: ...


class OpenCommand(msgspec.Struct, frozen=True, array_like=True):
    """Opens a model in a front end. `number`: its name in the deployment."""

    number: int
    name: str
    version: str
    path: str  # of its snapshot


class GroupDeployment:
    """All front ends of a group as one deployment."""

    def __init__(self) -> None:
        self._members: list[FrontEnd] = []

    def enter(self, member: FrontEnd) -> None:
        """Add a front end, unless it died while it waited."""
        if not member.channel.is_closed:
            self._members.append(member)

    def leave(self, member: FrontEnd) -> None:
        if member in self._members:
            self._members.remove(member)

    async def open(self, number: int, name: str, version: str, path: Path) -> OpenedModel:
        results = await self._ask("open", OpenCommand(number, name, version, str(path)))
        if not results:
            raise DrainingError("no front end lives", expected="at least one", fix="wait: they are being started again")
        error = next((result for result in results if isinstance(result, DeepseekError)), None)
        if error is None and any(result != results[0] for result in results):
            error = CheckError(
                f"the front ends have not opened the same version of {name!r}",
                expected="a folder that does not change meanwhile",
                fix="ask again; replace folders by renaming",
            )
        if error is not None:
            await self.close(number)
            raise error
        return msgspec.convert(results[0], OpenedModel)

    async def place(self, numbers: Sequence[int]) -> None:
        await self._run_everywhere("place", list(numbers))

    async def withdraw(self, numbers: Sequence[int]) -> None:
        await self._run_everywhere("withdraw", list(numbers))

    async def close(self, number: int) -> None:
        await self._run_everywhere("close", number)

    def check_loaded(self, name: str) -> None:
        """Nothing to check: the front end that got the request has checked it."""

    def emit_state(self, state: str, **fields: str) -> None:
        for member in self._members[:1]:
            member.channel.notify("say", [state, fields])

    async def _run_everywhere(self, topic: str, content: Any) -> None:
        """Let all front ends do what none can refuse. One that fails is killed; its successor opens what is loaded."""
        members = list(self._members)
        for member, result in zip(members, await self._ask(topic, content, members), strict=True):
            if isinstance(result, DeepseekError):
                member.kill()

    async def _ask(self, topic: str, content: Any, members: Sequence[FrontEnd] | None = None) -> list[Any]:
        """The response of each front end, or the error that it raised; without `members` of all that are alive."""
        receivers = list(self._members) if members is None else members
        replies = await asyncio.gather(
            *(member.channel.request(topic, content) for member in receivers), return_exceptions=True
        )
        return replies if members is not None else [reply for reply in replies if not isinstance(reply, PeerGoneError)]


class GroupFollower:
    """Loading and unloading in one front end of a group: it forwards requests to the parent, and follows it."""

    def __init__(self, parent: Channel, deployment: Deployment) -> None:
        self._parent = parent
        self._deployment = deployment
        self._caught_up = asyncio.Event()  # set once everything that the others serve is served here
        parent.listeners["say"] = lambda content: deployment.emit_state(content[0], **content[1])
        parent.responders |= {
            "open": self._open, "place": self._place, "withdraw": self._withdraw, "close": self._close,
        }  # fmt: skip

    async def start(self) -> None:
        """Open the models that the others serve. At the start of the group, wait until all have opened the same."""
        for command in msgspec.convert(await self._ask("join"), list[OpenCommand]):
            await self._deployment.open(command.number, command.name, command.version, Path(command.path))
            await self._deployment.place([command.number])
        self._caught_up.set()
        await self._ask("started")

    async def close(self) -> None:
        """Nothing to close: the parent owns the snapshots."""

    async def load(self, name: str, version: str = "") -> list[str]:
        versions: list[str] = await self._ask("load", [name, version])
        return versions

    async def unload(self, name: str) -> None:
        self._deployment.check_loaded(name)
        await self._ask("unload", name)

    async def list_unloaded(self) -> list[UnloadedVersion]:
        return [UnloadedVersion(*entry) for entry in await self._ask("others")]

    async def _ask(self, topic: str, content: Any = None) -> Any:
        try:
            return await self._parent.request(topic, content)
        except PeerGoneError as error:
            raise DrainingError(
                "the server is stopping", expected="a server that takes requests", fix="ask another server"
            ) from error

    async def _open(self, content: Any) -> OpenedModel:
        command = msgspec.convert(content, OpenCommand)
        await self._caught_up.wait()
        return await self._deployment.open(command.number, command.name, command.version, Path(command.path))

    async def _place(self, numbers: list[int]) -> None:
        await self._caught_up.wait()
        await self._deployment.place(numbers)

    async def _withdraw(self, numbers: list[int]) -> None:
        await self._caught_up.wait()
        await self._deployment.withdraw(numbers)

    async def _close(self, number: int) -> None:
        await self._caught_up.wait()
        await self._deployment.close(number)


class GroupLeader:
    """The parent's side: it answers the requests of its front ends."""

    def __init__(self, loader: RepositoryLoader, deployment: GroupDeployment, num_front_ends: int) -> None:
        self._loader = loader
        self._deployment = deployment
        self._num_awaited = num_front_ends  # front ends that the first start still waits for
        self._all_joined = asyncio.Event()
        self._started = asyncio.Event()

    async def start(self) -> None:
        """Load all models, once all front ends have joined."""
        await self._all_joined.wait()
        await self._loader.start()
        self._started.set()

    def stop(self) -> None:
        """Release the front ends that wait for the others to start."""
        self._started.set()

    def answer(self, member: FrontEnd) -> None:
        """Register the responders for the requests of a front end."""

        async def join(_: Any) -> list[OpenCommand]:
            commands: list[OpenCommand] = []

            def enter(versions: Sequence[LoadedVersion]) -> None:
                self._deployment.enter(member)
                commands.extend(
                    OpenCommand(loaded.number, loaded.name, loaded.key[1], str(loaded.snapshot.path))
                    for loaded in versions
                )

            await self._loader.between_changes(enter)
            self._num_awaited -= 1
            if self._num_awaited <= 0:
                self._all_joined.set()
            return commands

        async def wait_for_start(_: Any) -> None:
            await self._started.wait()

        async def load(content: Any) -> list[str]:
            return await self._loader.load(*content)

        async def unload(name: Any) -> None:
            await self._loader.unload(name)

        async def others(_: Any) -> list[UnloadedVersion]:
            return await self._loader.list_unloaded()

        member.channel.responders |= {
            "join": join, "started": wait_for_start, "load": load, "unload": unload, "others": others,
        }  # fmt: skip
