"""Messages to an assistant, and what it says: :converse as a client sees it.

>>> read_answer(b'{"conversation":"c","status":"open","person":"","number":1,"messages":[]}').status
'open'
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChatButton:
    """What may be chosen instead of writing: `value` goes into `choose`."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation."""

    number: int
    role: str  # user, assistant, person
    text: str
    buttons: tuple[ChatButton, ...] = ()
    intent: str = ""
    decision: str = ""  # answer, ask, hand_over, flow
    reply_to: int = 0  # the number of the message that it answers


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What was said to a message."""

    conversation: str  # its id, which the next message takes
    status: str  # open; waiting for a person; person: one answers
    person: str
    number: int  # of the message that was sent
    messages: tuple[ChatMessage, ...]

    @property
    def text(self) -> str:
        """All that was said, a message a line."""
        return "\n".join(message.text for message in self.messages)


def converse_body(text: str, conversation: str, choose: str) -> dict[str, object]:
    """The body of a message. It carries an id of its own, so that one that is sent again is answered once."""
    body: dict[str, object] = {"message": text, "choose": choose, "message_id": secrets.token_hex(12)}
    return body | ({"conversation": conversation} if conversation else {"begin": secrets.token_hex(16)})


def read_answer(body: bytes) -> ChatAnswer:
    """The answer in a body. ValueError, KeyError or TypeError where it is none."""
    values = json.loads(body)
    messages = tuple(
        ChatMessage(
            each["number"], each["role"], each["text"],
            tuple(ChatButton(button["label"], button["value"]) for button in each["buttons"]),
            each["intent"], each["decision"], each["reply_to"],
        )
        for each in values["messages"]
    )  # fmt: skip
    return ChatAnswer(values["conversation"], values["status"], values["person"], values["number"], messages)
