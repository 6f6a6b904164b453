"""The bodies of requests and answers of an assistant, read strictly.

>>> read_body(b'{"message": "Where is my card?"}', ConverseBody).message
'Where is my card?'
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

import msgspec

from deepseek.dialogue.conversation import Button, Conversation, Message
from deepseek.errors import InputError
from deepseek.serve.core.json_body import decode_object

T = TypeVar("T", bound=msgspec.Struct)
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # a store holds no larger number
_PATH = re.compile(r"`\$\.?(?P<path>[^`]*)`")


class ConverseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:converse"""

    message: str = ""
    conversation: str = ""
    choose: str = ""
    message_id: str = ""
    begin: str = ""


class TranscriptBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:transcript"""

    conversation: str
    after: Count = 0


class ConversationBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:forget, :give_back"""

    conversation: str


class FeedbackBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:feedback"""

    conversation: str
    number: Count
    helpful: bool


class ReplyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:reply"""

    conversation: str
    message: str
    person: str = ""


class AddAnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:add_answer"""

    answer: str
    questions: tuple[str, ...] = ()
    question_ids: tuple[str, ...] = ()
    intent: str = ""
    author: str = ""
    replaces: bool = False


class UndoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:undo_answer"""

    answer: Count


class DropBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:drop_questions"""

    question_ids: tuple[str, ...]


class EmptyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:desk, :unanswered, :answers"""


class Instance(msgspec.Struct, frozen=True):
    """A question of :predict. Other columns of a table are let through."""

    question: str


class PredictBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """:predict"""

    instances: tuple[Instance, ...]


class MessageBody(msgspec.Struct, frozen=True):
    """A message in an answer."""

    number: int
    role: str
    text: str
    time_s: float
    buttons: Sequence[Button]
    intent: str
    decision: str
    reply_to: int


class NoteBody(msgspec.Struct, frozen=True, kw_only=True):
    """What the webhook gets."""

    id: str
    kind: str
    assistant: str
    conversation: str
    language: str
    reason: str
    tried: Sequence[str]
    slots: Mapping[str, str]
    transcript: Sequence[MessageBody]
    reply: str
    give_back: str


class ConverseAnswer(msgspec.Struct, frozen=True):
    """The answer of :converse and :transcript."""

    conversation: str
    status: str
    person: str
    number: int  # of the message that was sent; of a transcript the number of messages that there are
    messages: Sequence[MessageBody]


def read_body(body: bytes, kind: type[T]) -> T:
    """The body of a request. MalformedError, InputError that names the key."""
    values = decode_object(body)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        path = _PATH.search(str(error))
        place = f" at {path['path']}" if path is not None and path["path"] else ""
        raise InputError(
            f"the body is not right{place}: {str(error).split(' - ')[0]}",
            expected=", ".join(kind.__struct_fields__) or "no keys",
            fix="correct the key, or leave it out",
        ) from error


def message_body(message: Message) -> MessageBody:
    """A message as it is shown. The client's own id and the button's value stay inside."""
    return MessageBody(
        message.number, message.role, message.text or message.choose, message.time_s, message.buttons, message.intent,
        message.decision, message.reply_to,
    )  # fmt: skip


def converse_answer(state: Conversation, number: int, messages: Sequence[Message]) -> ConverseAnswer:
    """The answer to a message, or a transcript."""
    return ConverseAnswer(state.id, state.status, state.person, number, [message_body(each) for each in messages])
