"""What a store keeps and gives, and what a store is.

store.keep(KeptTurn(conversation, expected_version, messages, ...))   # all of it, on the disk, or nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from deepseek.dialogue.additions import AddedAnswer
from deepseek.dialogue.conversation import Conversation, Message
from deepseek.dialogue.turn import Unanswered

NoteKind = Literal["handed_over", "message", "given_back"]


@dataclass(frozen=True, slots=True)
class Note:
    """What is sent to the people who take over, once it can be."""

    id: str
    conversation: str
    kind: NoteKind
    first: int  # of the messages that it brings: their numbers from this on to `last`
    last: int
    time_s: float
    reason: str = ""  # why a person was asked for
    num_attempts: int = 0


@dataclass(frozen=True, slots=True)
class KeptTurn:
    """What one step of a conversation changes: all of it is kept, or nothing."""

    conversation: Conversation  # as it is from now on, with its version
    expected_version: int  # the version that it was made from
    messages: tuple[Message, ...]
    time_s: float
    unanswered: tuple[Unanswered, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptQuestion:
    """A question for the keeper of the FAQ."""

    id: str
    question: str
    reason: str
    intents: tuple[str, ...]
    conversation: str
    time_s: float


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A conversation in a list."""

    id: str
    status: str
    reason: str
    person: str
    num_messages: int
    updated_s: float


class ConversationStore(Protocol):
    """Keeps conversations. Methods block; they are called in one thread. StorageError for a disk that takes no more."""

    def load(self, conversation: str) -> Conversation | None:
        """The state of a conversation; None where there is none."""
        ...

    def keep(self, turn: KeptTurn) -> bool:
        """Keep a step. False, and nothing is changed, when another one was kept since `expected_version`."""
        ...

    def messages(self, conversation: str, after: int = 0) -> list[Message]:
        """The messages with a number above `after`, in their order."""
        ...

    def find_message(self, conversation: str, message_id: str) -> Message | None:
        """The message with the client's own id."""
        ...

    def list_conversations(self, statuses: Sequence[str], most: int) -> list[ConversationSummary]:
        """Those with one of the statuses, the latest first."""
        ...

    def delete(self, conversation: str) -> bool:
        """Forget a conversation with all that was said, its questions and notes. Whether there was one."""
        ...

    def delete_before(self, time_s: float) -> int:
        """Forget the conversations without a message since then. How many."""
        ...

    def lease_notes(self, now_s: float, lease_s: float, most: int) -> list[Note]:
        """Notes that are due, of each conversation the first alone, leased so that no other process sends them."""
        ...

    def end_note(self, note: Note) -> None:
        """The note has arrived."""
        ...

    def put_off_note(self, note: Note, next_s: float) -> None:
        """The note has not arrived, and is due again then."""
        ...

    def num_notes(self) -> int:
        """How many notes wait."""
        ...

    def questions(self, most: int) -> list[KeptQuestion]:
        """The latest questions that nobody has answered, in their order."""
        ...

    def keep_question(self, question: KeptQuestion) -> None:
        """Keep a question, such as one whose answer did not help."""
        ...

    def drop_questions(self, ids: Sequence[str], answer: int) -> None:
        """Take questions off the list: an answer was added (0: none is needed). Undoing the answer brings them back."""
        ...

    def add_answer(self, answer: AddedAnswer) -> AddedAnswer:
        """Keep an answer; it gets its id."""
        ...

    def undo_answer(self, number: int) -> bool:
        """Take an answer back. Whether it held."""
        ...

    def answers(self) -> list[AddedAnswer]:
        """The answers that hold."""
        ...

    def answers_version(self) -> int:
        """Grows whenever the answers change, whoever changes them."""
        ...

    def close(self) -> None: ...
