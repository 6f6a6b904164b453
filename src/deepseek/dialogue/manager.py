"""What is said next: the state of a conversation and a message to a new state and replies. Nothing is kept here.

    manager = DialogueManager(model, definition)
    result = manager.respond(conversation, UserInput("Where is my card?", now))
    result.conversation, result.replies

The order: a person who has taken over; a button; an open flow; questions. The model is asked within; it writes nothing,
so every reply is an answer of the bundle, of the FAQ's keeper or a phrase of the dialogue file.
"""

from __future__ import annotations

from deepseek.dialogue.additions import Additions
from deepseek.dialogue.conversation import Conversation
from deepseek.dialogue.definition import DialogueDefinition
from deepseek.dialogue.flow import advance, refuse_answer, repeat_question, stop_flow, take_answer, take_text
from deepseek.dialogue.phrases import STOP, plain_words
from deepseek.dialogue.questions import answer_added, answer_intent, answer_question, refuse
from deepseek.dialogue.slots.read import read_slot
from deepseek.dialogue.slots.values import language_of
from deepseek.dialogue.turn import Turn, TurnResult, UserInput
from deepseek.dialogue.understanding import Understands
from deepseek.errors import InputError

MAX_QUESTION_CHARS = 2_000


class DialogueManager:
    """Answers messages with a model, a dialogue file and the answers that were added."""

    def __init__(
        self, model: Understands, definition: DialogueDefinition | None = None, additions: Additions | None = None
    ) -> None:
        self.model, self.definition = model, definition or DialogueDefinition()
        self.additions = additions or Additions()

    def respond(self, conversation: Conversation, user: UserInput) -> TurnResult:
        """The answer to one message. InputError for a button that does not exist."""
        turn = Turn(self.definition, conversation, user)
        if conversation.status != "open":  # a person answers
            return turn.result
        turn.update(language=language_of(user.text, "zh" if conversation.language == "zh" else "en"))
        choose = user.choose or _typed_choice(conversation, user.text)
        turn.user = UserInput(user.text, user.now, choose)
        if choose:
            self._choose(turn, choose)
        elif not any(letter.isalnum() for letter in user.text):
            turn.say("no_words")
        elif len(user.text) > MAX_QUESTION_CHARS:
            turn.say("too_long")
        else:
            self._mention(turn)
            self._answer(turn)
        if not any(reply.buttons for reply in turn.replies) and turn.replies:
            turn.update(offered=())
        return turn.result

    def _answer(self, turn: Turn) -> None:
        if not turn.conversation.flows:
            answer_question(turn, turn.user.text, self.model, self.additions)
            return
        if plain_words(turn.user.text) in STOP:
            stop_flow(turn)
            return
        self._answer_in_flow(turn)

    def _answer_in_flow(self, turn: Turn) -> None:
        """The message answers the open question, or asks another one: then that is answered first."""
        before = turn.conversation.flows[-1]
        question = take_answer(turn)
        if not question:
            return
        is_filled = turn.conversation.flows[-1:] != (before,)
        num_flows = len(turn.conversation.flows)
        is_answered = answer_question(turn, question, self.model, self.additions, only_sure=True)
        if turn.conversation.status != "open" or len(turn.conversation.flows) > num_flows:
            return  # a person was asked for, or another flow has begun
        if is_answered and turn.replies and turn.replies[-1].decision == "flow":
            return  # the flow's own intent: its question was repeated
        if is_answered:
            repeat_question(turn)
        elif is_filled:
            advance(turn)
        elif not take_text(turn):
            refuse_answer(turn)

    def _choose(self, turn: Turn, choose: str) -> None:
        kind, _, name = choose.partition(":")
        conversation = turn.conversation
        question = conversation.offered_for or turn.user.text
        if kind == "person":
            turn.hand_over("a person was asked for")
        elif kind == "none":
            refuse(turn, question)
        elif kind == "intent" and name in self.model.intents:
            turn.user = UserInput(question, turn.user.now, choose)
            answer_intent(turn, name, question, self.model, self.additions)
        elif kind == "answer" and name.isdecimal() and (added := self.additions.by_id(int(name))) is not None:
            answer_added(turn, added)
        elif choose in ("yes", "no") or kind == "choice":
            if not conversation.flows:
                turn.say("hello")
            elif take_answer(turn):
                refuse_answer(turn)
        else:
            raise InputError(
                f"there is no button {choose[:80]!r}", expected="the value of a button that was offered",
                fix="send the text alone, or one of the values in buttons",
            )  # fmt: skip

    def _mention(self, turn: Turn) -> None:
        """Remember numbers of orders, so that a later "it" can be one."""
        for name, slot in self.definition.slots.items():
            if slot.kind == "order_number":
                value = read_slot(slot, turn.user.text, turn.user.now)
                if value is not None:
                    turn.update(mentioned={**turn.conversation.mentioned, name: value.value})


def _typed_choice(conversation: Conversation, text: str) -> str:
    """The value of a button whose label, or number, was typed instead of pressed."""
    words = plain_words(text)
    for number, button in enumerate(conversation.offered, 1):
        is_number = words == str(number) and not button.value.startswith("choice:")
        if words == plain_words(button.label) or is_number:
            return button.value
    return ""
