"""One message, while its answer is made: the state as it becomes, what is said, what could not be answered.

turn = Turn(definition, conversation, UserInput("Where is my card?", now))
turn.say("which", buttons)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from deepseek.dialogue.conversation import Button, Conversation
from deepseek.dialogue.definition import DialogueDefinition
from deepseek.dialogue.phrases import phrase

ReplyDecision = Literal["answer", "ask", "hand_over", "flow", ""]
#: Why a question is kept for who looks after the FAQ.
UnansweredReason = Literal["not_covered", "unsure", "no_answer", "not_helpful"]


@dataclass(frozen=True, slots=True)
class UserInput:
    """What a user sends."""

    text: str
    now: datetime  # of the user's day, for "next Friday"
    choose: str = ""  # the value of a button


@dataclass(frozen=True, slots=True)
class Reply:
    """One message of the assistant."""

    text: str
    buttons: tuple[Button, ...] = ()
    intent: str = ""
    decision: ReplyDecision = ""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A question for the keeper of the FAQ."""

    question: str
    reason: UnansweredReason
    intents: tuple[str, ...] = ()  # that it was nearest to


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What becomes of a message."""

    conversation: Conversation
    replies: tuple[Reply, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    open_slot: str = ""  # whose question is open now

    @property
    def is_handed_over(self) -> bool:
        """Whether a person was asked for in this turn."""
        return any(reply.decision == "hand_over" for reply in self.replies)


@dataclass(slots=True)
class Turn:
    """The answer in the making."""

    definition: DialogueDefinition
    conversation: Conversation
    user: UserInput
    replies: list[Reply] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)

    @property
    def language(self) -> str:
        return self.conversation.language

    def title(self, intent: str) -> str:
        return self.definition.title(intent, self.language)

    def phrase(self, name: str, /, **values: str) -> str:
        return phrase(name, self.language, self.definition.phrases, **values)

    def button(self, name: Literal["none_of_these", "person", "yes", "no"]) -> Button:
        """One of the assistant's own buttons."""
        return Button(self.phrase(name), {"none_of_these": "none"}.get(name, name))

    def update(self, **changes: object) -> None:
        """Change fields of the conversation."""
        self.conversation = replace(self.conversation, **changes)  # type: ignore[arg-type]

    def reply(
        self, text: str, buttons: Sequence[Button] = (), *, intent: str = "", decision: ReplyDecision = ""
    ) -> None:
        """Say a text. Its buttons are those that a word or a number may choose from now on."""
        self.replies.append(Reply(text, tuple(buttons), intent, decision))
        if buttons:
            self.update(offered=tuple(buttons), offered_for=self.user.text or self.conversation.offered_for)

    def say(self, name: str, buttons: Sequence[Button] = (), /, *, decision: ReplyDecision = "", **values: str) -> None:
        """Say one of the assistant's own phrases."""
        self.reply(self.phrase(name, **values), buttons, decision=decision)

    def keep_unanswered(self, question: str, reason: UnansweredReason, intents: Sequence[str] = ()) -> None:
        """Keep a question for the keeper of the FAQ."""
        if question.strip():
            self.unanswered.append(Unanswered(question.strip(), reason, tuple(intents)))

    def hand_over(self, reason: str) -> None:
        """Ask for a person. From now on messages go there, until the conversation is given back."""
        self.update(status="waiting", reason=reason, offered=(), num_unsure=0, flows=(), queue=())
        self.say("hand_over", decision="hand_over")

    @property
    def result(self) -> TurnResult:
        open_slot = ""
        if self.conversation.flows:
            last = self.conversation.flows[-1]
            flow = self.definition.flow(last.name)
            open_slot = flow.steps[last.step].ask if flow is not None and last.step < len(flow.steps) else ""
        return TurnResult(self.conversation, tuple(self.replies), tuple(self.unanswered), open_slot)
