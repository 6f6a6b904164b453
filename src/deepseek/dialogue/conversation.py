"""What a conversation remembers, and the messages in it. All of it is data that a store keeps.

>>> Conversation("c1").status
'open'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

#: The assistant answers; a person was asked for and nobody has come; a person answers.
Status = Literal["open", "waiting", "person"]
Role = Literal["user", "assistant", "person"]
MAX_TRIED = 20


@dataclass(frozen=True, slots=True)
class Button:
    """What a user may choose instead of writing. `value` is sent back: intent:NAME, answer:ID, choice:VALUE, yes, no,
    none or person."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class OpenFlow:
    """A flow that has begun and not ended."""

    name: str
    step: int = 0
    slots: Mapping[str, str] = field(default_factory=dict)  # slot -> value
    num_attempts: int = 0  # answers to the open question that could not be read
    intent: str = ""  # that it began with: what "it" is once it has ended
    question: str = ""  # as it was asked


@dataclass(frozen=True, slots=True)
class Conversation:
    """The state of one conversation between two messages."""

    id: str
    version: int = 0  # grows with every message that is kept
    language: str = "en"
    status: Status = "open"
    num_messages: int = 0
    flows: tuple[OpenFlow, ...] = ()  # the last one is open, those before it were interrupted
    queue: tuple[str, ...] = ()  # intents of the same sentence that begin a flow, and wait
    offered: tuple[Button, ...] = ()
    offered_for: str = ""  # the question that they were offered for
    topic: str = ""  # the intent that was answered last: what "it" is
    topic_question: str = ""
    mentioned: Mapping[str, str] = field(default_factory=dict)  # slot -> the last value in this conversation
    num_unsure: int = 0  # turns in a row without an answer
    tried: tuple[str, ...] = ()  # for the person who takes over
    reason: str = ""  # why a person was asked for
    person: str = ""  # who answers
    owner: str = ""  # which API key began it, as a digest; "" where none was asked for

    def add_tried(self, what: str) -> Conversation:
        """With one more thing that was tried."""
        return replace(self, tried=(*self.tried, what)[-MAX_TRIED:])


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is kept."""

    number: int  # from 1, in the order of the conversation
    role: Role
    text: str
    time_s: float  # since 1970
    reply_to: int = 0  # the number of the message that it answers
    buttons: tuple[Button, ...] = ()
    intent: str = ""  # that it answers
    decision: str = ""  # answer, ask, hand_over, flow
    message_id: str = ""  # the client's own, by which a message that is sent again is known
    choose: str = ""  # the button that was pressed
