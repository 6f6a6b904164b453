"""Models that come and go in a group of front ends: its parent decides, and all of them do the same.

    GroupDeployment: the stage of the parent's loader. What it is told to do, every front end does
    GroupFollower: the life of models in a front end. It passes on what it is asked, and does what it is told

A change is opened everywhere before it takes its place anywhere; when one front end cannot, all leave it. A front end
that dies meanwhile is no hindrance, because the one that comes in its place opens what the others serve before it
takes requests. One that has stopped is killed by the group, so that no change waits for it for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deepseek.errors import CheckError, DeepseekError, DrainingError
from deepseek.serve.repository.channel import Channel, PeerGoneError

if TYPE_CHECKING:
    from deepseek.serve.repository.deployment import Deployment, OpenedModel
    from deepseek.serve.repository.loader import RepositoryLoader


class FrontEnd(Protocol):
    """A front end, seen from its parent."""

    @property
    def channel(self) -> Channel: ...
    def kill(self) -> None: ...


class GroupDeployment:
    """All front ends of a group, as one stage."""

    def __init__(self) -> None:
        self._members: list[FrontEnd] = []

    def enter(self, member: FrontEnd) -> None:
        """From now on it does what all do, unless it died while it waited for its turn."""
        if not member.channel.gone:
            self._members.append(member)

    def leave(self, member: FrontEnd) -> None:
        if member in self._members:
            self._members.remove(member)

    async def open(self, number: int, name: str, version: str, path: Path) -> OpenedModel:
        found = await self._ask("open", [number, name, version, str(path)])
        if not found:
            raise DrainingError("no front end lives", expected="at least one", fix="wait: they are being started again")
        wrong = next((each for each in found if isinstance(each, DeepseekError)), None)
        if wrong is None and any(each != found[0] for each in found):
            wrong = CheckError(
                f"the front ends have not opened the same version of {name!r}",
                expected="a folder that does not change meanwhile",
                fix="ask again; replace folders by renaming",
            )
        if wrong is not None:
            await self.close(number)
            raise wrong
        called, digest, form = found[0]
        return called, digest, form

    async def place(self, numbers: Sequence[int]) -> None:
        await self._follow("place", list(numbers))

    async def withdraw(self, numbers: Sequence[int]) -> None:
        await self._follow("withdraw", list(numbers))

    async def close(self, number: int) -> None:
        await self._follow("close", number)

    def check_loaded(self, name: str) -> None:
        """The front end that was asked has looked."""

    def say(self, state: str, **fields: str) -> None:
        for member in self._members[:1]:
            member.channel.tell("say", [state, fields])

    async def _follow(self, what: str, content: Any) -> None:
        """Let all do what none can refuse. One that does not is started again, and hears what is loaded."""
        asked = list(self._members)
        for member, found in zip(asked, await self._ask(what, content, asked), strict=True):
            if isinstance(found, DeepseekError):
                member.kill()

    async def _ask(self, what: str, content: Any, members: Sequence[FrontEnd] | None = None) -> list[Any]:
        """What each of them finds, or the error that it raised; without `members` of those that live."""
        asked = list(self._members) if members is None else members
        found = await asyncio.gather(*(member.channel.ask(what, content) for member in asked), return_exceptions=True)
        return found if members is not None else [each for each in found if not isinstance(each, PeerGoneError)]


class GroupFollower:
    """The life of models in one front end of a group."""

    def __init__(self, parent: Channel, stage: Deployment) -> None:
        self._parent = parent
        self._stage = stage
        self._caught_up = asyncio.Event()  # what the others serve is served here
        parent.told["say"] = lambda content: stage.say(content[0], **content[1])
        parent.asked |= {
            "open": self._open, "place": self._place, "withdraw": self._withdraw, "close": self._close,
        }  # fmt: skip

    async def start(self) -> None:
        """Open what the others serve. At the start of the group it waits until all have opened the same."""
        for number, name, version, path in await self._ask("join"):
            await self._stage.open(number, name, version, Path(path))
            await self._stage.place([number])
        self._caught_up.set()
        await self._ask("started")

    async def close(self) -> None:
        """The parent decides no more."""

    async def load(self, name: str, version: str = "") -> list[str]:
        versions: list[str] = await self._ask("load", [name, version])
        return versions

    async def unload(self, name: str) -> None:
        self._stage.check_loaded(name)
        await self._ask("unload", name)

    async def others(self) -> list[tuple[str, str, str]]:
        return [(name, version, reason) for name, version, reason in await self._ask("others")]

    async def _ask(self, what: str, content: Any = None) -> Any:
        try:
            return await self._parent.ask(what, content)
        except PeerGoneError as error:
            raise DrainingError(
                "the server is stopping", expected="a server that takes requests", fix="ask another server"
            ) from error

    async def _open(self, content: Any) -> Any:
        number, name, version, path = content
        await self._caught_up.wait()
        return await self._stage.open(number, name, version, Path(path))

    async def _place(self, numbers: Any) -> None:
        await self._caught_up.wait()
        await self._stage.place(numbers)

    async def _withdraw(self, numbers: Any) -> None:
        await self._caught_up.wait()
        await self._stage.withdraw(numbers)

    async def _close(self, number: Any) -> None:
        await self._caught_up.wait()
        await self._stage.close(number)


class GroupLeader:
    """What the parent answers its front ends."""

    def __init__(self, loader: RepositoryLoader, everyone: GroupDeployment, num_front_ends: int) -> None:
        self._loader = loader
        self._everyone = everyone
        self._num_awaited = num_front_ends  # of those that the first start waits for
        self._all_joined = asyncio.Event()
        self._started = asyncio.Event()

    async def start(self) -> None:
        """Load everything, once all front ends are there."""
        await self._all_joined.wait()
        await self._loader.start()
        self._started.set()

    def stop(self) -> None:
        """Whoever waits for the others to have started, waits no more."""
        self._started.set()

    def answer(self, member: FrontEnd) -> None:
        """Answer what a front end will ask."""

        async def join(_: Any) -> list[Any]:
            found: list[Any] = []

            def enter(loaded: Sequence[Any]) -> None:
                self._everyone.enter(member)
                found.extend([each.number, each.name, each.key[1], str(each.held.path)] for each in loaded)

            await self._loader.between_changes(enter)
            self._num_awaited -= 1
            if self._num_awaited <= 0:
                self._all_joined.set()
            return found

        async def started(_: Any) -> None:
            await self._started.wait()

        async def load(content: Any) -> list[str]:
            return await self._loader.load(*content)

        async def unload(name: Any) -> None:
            await self._loader.unload(name)

        async def others(_: Any) -> list[tuple[str, str, str]]:
            return await self._loader.others()

        member.channel.asked |= {
            "join": join, "started": started, "load": load, "unload": unload, "others": others,
        }  # fmt: skip
