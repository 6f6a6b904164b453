"""What both ends of a stream are, and how they wait for a server that went away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from deepseek.errors import InputError

Result = TypeVar("Result")
FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 2.0
MAX_BATCH = 1_024  # messages that are answered together


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `position`: its place in its source, as text; the answer carries it into the output."""

    position: str
    body: bytes


class MessageScorer(Protocol):
    """Who answers messages, by a state that each of them changes."""

    def answer(self, bodies: Sequence[bytes]) -> list[bytes]:
        """One answer for each, in order; a message that came before gets the answer of then."""
        ...

    def sync(self) -> None:
        """Returns once all that was answered is on the disk."""
        ...


class Source(Protocol):
    """Where messages come from, in order."""

    needs_loop: ClassVar[bool]  # whether it brings messages while others are answered, by the event loop

    async def start(self, last_position: str) -> None:
        """Begin behind a position, which the output says was the last to be answered; "": from the first on."""
        ...

    async def read(self) -> list[Message]:
        """The next messages, at most MAX_BATCH; waits for one. Empty at the end."""
        ...

    async def close(self) -> None: ...


class Sink(Protocol):
    """Where answers go, in order. One stream writes to it."""

    needs_loop: ClassVar[bool]

    async def last_position(self) -> str:
        """The position of the last answer that it holds; "" where it holds none."""
        ...

    async def write(self, answers: Sequence[Message]) -> None:
        """Write answers, each once, however often the connection breaks meanwhile; returns when the server has them."""
        ...

    async def close(self) -> None: ...


class Reconnecting:
    """Work on a server that may go away, done again until it succeeds."""

    def __init__(
        self,
        name: str,
        errors: tuple[type[BaseException], ...],
        tell: Callable[[str], None],
        is_refusal: Callable[[BaseException], bool],
    ) -> None:
        """`errors` mean that the server is away, unless one of them `is_refusal`: the server is there, and does not let
        us in. `tell` gets one sentence when it goes and one when it is back."""
        self._name, self._errors, self._tell, self._is_refusal = name, errors, tell, is_refusal
        self._is_away = False

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result of `work`, which is called anew after each failure. InputError for a refusal: the next try would
        be refused as well, and some servers lock out who tries too often."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = await work()
            except self._errors as error:
                if self._is_refusal(error):
                    raise InputError(
                        f"{self._name} refuses: it does not take this name and password, or they may not do this",
                        expected="NAME:PASSWORD@ before the host, of one who may read or write there",
                        fix="mend the address, or ask who runs the server",
                    ) from error
                if not self._is_away:
                    self._tell(
                        f"{self._name} is away ({error or type(error).__name__}); it is tried again until it is back"
                    )
                self._is_away = True
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
            else:
                if self._is_away:
                    self._tell(f"{self._name} is back")
                self._is_away = False
                return result


def without_password(address: str) -> str:
    """An address as it may be shown: without the name and the password before its host.

    >>> without_password("nats://me:secret@127.0.0.1:4222/payments")
    'nats://127.0.0.1:4222/payments'
    """
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def first_unwritten(answers: Sequence[Message], last_position: str) -> int:
    """The index behind the answer with this position; 0 where none has it."""
    for index in range(len(answers) - 1, -1, -1):
        if answers[index].position == last_position:
            return index + 1
    return 0
