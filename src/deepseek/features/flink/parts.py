"""What an accepted message is for each of its keys, and what a card says to a terminal: in the gate's order.

    for place, code, part in split_message(plan, admission): ...
    queue = PartQueue(parts, messages)         # two maps of one terminal, which Flink keeps and checkpoints
    ready = queue.add_part(part)               # as the gate sends them
    ready = queue.add_message(message)         # as cards send them, in any order

With hidden states, a terminal's answer needs what its card says of the same payment, and later answers need what cards
said of earlier ones. Messages come from many cards' operators, so that their order is nobody's. The order in which
events and verdicts count is the gate's alone: a part waits in the queue until the parts before it have their messages.
A card waits for no terminal, so the wait ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from deepseek.features.flink.messages import Kind, Message
from deepseek.features.plan import Plan


class LongMap(Protocol):
    """Whole numbers by a whole number: what Flink's MapState does. `put` and `remove` read nothing."""

    def get(self, key: int) -> list[int] | None: ...

    def put(self, key: int, value: list[int]) -> None: ...

    def remove(self, key: int) -> None: ...


class Part(NamedTuple):
    """An event or a verdict, for one of its keys."""

    kind: int
    event: int  # number of the event that it is about
    id: int  # code
    time: int  # ticks
    amount: int  # smallest units
    fraud: int  # of a verdict
    terminal: int = 0  # code of the event's terminal, for its card; 0 for other keys


class CardMessage(NamedTuple):
    """What a card says of one of its events to the event's terminal."""

    event: int
    fraud_odds: float
    note: int  # to be kept with the event

    def as_longs(self) -> list[int]:
        """As whole numbers; the odds by their bits."""
        return [self.event, *struct.unpack("<q", struct.pack("<d", self.fraud_odds)), self.note]

    @classmethod
    def from_longs(cls, values: Sequence[int]) -> CardMessage:
        """What `as_longs` wrote."""
        event, bits, note = values
        (fraud_odds,) = struct.unpack("<d", struct.pack("<q", bits))
        return cls(event, fraud_odds, note)


class ReadyPart(NamedTuple):
    """A part whose turn has come."""

    part: Part
    message: CardMessage | None  # None: of a verdict


def split_message(plan: Plan, message: Message, event: int) -> Iterator[tuple[int, int, Part]]:
    """Of a message that was accepted, for each of its keys: the key's place and code, and its part."""
    hidden = plan.hidden
    for place, code in enumerate(message.keys):
        terminal = message.keys[hidden.terminal] if hidden.is_on and place == hidden.card else 0
        yield place, code, Part(message.kind, event, message.id, message.time, message.amount, message.fraud, terminal)


class PartQueue:
    """The parts of one terminal. `parts`: number in the queue -> a waiting part, and under HEAD the numbers of the
    first one and of the next to come; `messages`: number of an event -> a message that came before its part's turn.

    The first part that waits is always an event without its message.
    """

    HEAD = -1

    def __init__(self, parts: LongMap, messages: LongMap) -> None:
        self.parts, self.messages = parts, messages

    def add_part(self, part: Part) -> list[ReadyPart]:
        """What can be done now that the gate has sent one more part."""
        first, end = self.parts.get(self.HEAD) or (0, 0)
        if first == end:
            ready = self._match(part)
            if ready is not None:
                return [ready]
        self.parts.put(end, list(part))
        self.parts.put(self.HEAD, [first, end + 1])
        return []

    def add_message(self, message: CardMessage) -> list[ReadyPart]:
        """What can be done now that a card has sent this."""
        first, end = self.parts.get(self.HEAD) or (0, 0)
        if first == end or self._read(first).event != message.event:
            self.messages.put(message.event, message.as_longs())
            return []
        ready = [ReadyPart(self._read(first), message)]
        self.parts.remove(first)
        while (first := first + 1) < end:
            following = self._match(self._read(first))
            if following is None:
                break
            ready.append(following)
            self.parts.remove(first)
        if first < end:
            self.parts.put(self.HEAD, [first, end])
        else:
            self.parts.remove(self.HEAD)
        return ready

    def _match(self, part: Part) -> ReadyPart | None:
        """The part with its message; None where that has not come."""
        if part.kind == Kind.VERDICT:
            return ReadyPart(part, None)
        values = self.messages.get(part.event)
        if values is None:
            return None
        self.messages.remove(part.event)
        return ReadyPart(part, CardMessage.from_longs(values))

    def _read(self, number: int) -> Part:
        return Part(*(self.parts.get(number) or ()))
