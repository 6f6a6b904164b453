"""Messages to replies that are kept: the manager of dialogues and a store, in one thread.

    service = AssistantService("help", manager, store)
    exchange = await service.converse(Incoming("Where is my card?"))
    exchange.conversation.id, exchange.replies

A message is answered when it is on the disk with its replies. One thread answers, so messages of a conversation keep
the order in which they came; another front end that was faster is seen by the version, and the message is answered
again on top of what was kept. A message that is sent again with its own id gets the replies that it had.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import time
from typing import Literal, TypeVar

from deepseek.contracts import Event
from deepseek.dialogue.additions import AddedAnswer, Additions
from deepseek.dialogue.conversation import Conversation, Message
from deepseek.dialogue.likeness import group
from deepseek.dialogue.manager import DialogueManager
from deepseek.dialogue.masking import mask
from deepseek.dialogue.phrases import phrase, plain_words
from deepseek.dialogue.store.records import ConversationStore, ConversationSummary, KeptQuestion, KeptTurn, Note
from deepseek.dialogue.turn import Reply, TurnResult, Unanswered, UserInput
from deepseek.errors import BusyError, CheckError, InputError, MissingError
from deepseek.serve.assistant.askers import ANYBODY, Asker

T = TypeVar("T")
MAX_WAITING = 512  # messages that wait for the thread; further ones are refused
MAX_TRIES = 50  # to keep a message while other front ends keep others of the same conversation
MAX_MESSAGE_CHARS = 100_000
MIN_BEGIN_CHARS = 20
MAX_QUESTIONS = 1_000  # that are grouped for the keeper
MAX_ANSWER_CHARS, MAX_QUESTION_CHARS, MAX_ANSWER_QUESTIONS = 10_000, 500, 100


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it comes."""

    text: str
    conversation: str = ""  # "" begins one
    choose: str = ""
    message_id: str = ""
    begin: str = ""  # a client's own random text, by which a conversation that has begun is known again
    asker: Asker = ANYBODY


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message that was kept, and what was said to it."""

    conversation: Conversation
    message: Message
    replies: tuple[Message, ...]
    result: TurnResult | None = None  # None where the message had come before


@dataclass(frozen=True, slots=True)
class QuestionGroup:
    """Questions that are alike and that nobody has answered."""

    questions: tuple[KeptQuestion, ...]  # texts without personal data


class AssistantService:
    """The conversations of one assistant."""

    def __init__(self, name: str, manager: DialogueManager, store: ConversationStore, *, sends_notes: bool) -> None:
        """`sends_notes`: whether there is a webhook to which hand-overs are sent."""
        self.name, self.manager, self.store = name, manager, store
        self._sends_notes = sends_notes
        self._answers_version = -1
        self._thread = ThreadPoolExecutor(1, f"{name}-dialogue")
        self._num_waiting = 0
        self.emit: Callable[[Event], None] = lambda _: None
        self.on_note: Callable[[], None] = lambda: None  # called in the event loop when a note is to be sent

    def close(self) -> None:
        self._thread.submit(self.store.close)
        self._thread.shutdown()

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Do work in the thread of the store. BusyError when too much waits."""
        if self._num_waiting >= MAX_WAITING:
            raise BusyError(
                f"{self._num_waiting} messages wait", expected=f"at most {MAX_WAITING}", fix="send it a little later"
            )
        self._num_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args))
        finally:
            self._num_waiting -= 1

    async def converse(self, incoming: Incoming) -> Exchange:
        """Answer a message. InputError, MissingError for a conversation that is not there, StorageError."""
        exchange = await self.run(self._converse, incoming)
        if exchange.result is not None:
            self._report(exchange)
            self._wake(exchange.conversation)
        return exchange

    async def answer_chat(self, texts: Sequence[str]) -> tuple[Conversation, TurnResult]:
        """The answer to the last of a person's messages, of a client that keeps the conversation itself."""
        return await self.run(self.replay, texts)

    async def keep_chat(self, texts: Sequence[str], asker: Asker = ANYBODY) -> Exchange:
        """Keep a chat as a conversation of its own, message by message. The last exchange."""
        exchange = await self.converse(Incoming(texts[0], asker=asker))
        for text in texts[1:]:
            exchange = await self.converse(Incoming(text, exchange.conversation.id, asker=asker))
        return exchange

    def replay(self, texts: Sequence[str]) -> tuple[Conversation, TurnResult]:
        """A conversation that is not kept, up to its last message. Blocks."""
        self._renew_answers()
        conversation, result = Conversation("chat"), TurnResult(Conversation("chat"))
        for text in texts:
            result = self.manager.respond(conversation, UserInput(text, datetime.now()))
            conversation = result.conversation
        return conversation, result

    async def say_as_person(self, conversation: str, text: str, person: str) -> Conversation:
        """A person's answer; from then on the assistant is silent until the conversation is given back."""

        def change(state: Conversation) -> tuple[Conversation, list[Message]]:
            is_first = state.status != "person" or state.person != person
            state = replace(state, status="person", person=person, flows=(), queue=(), offered=())
            messages = [self._own_message(state, "sorry_person", name=person)] if is_first else []
            return state, [*messages, Message(0, "person", text, time())]

        return await self.run(self._change, conversation, change)

    async def give_back(self, conversation: str) -> Conversation:
        """The assistant answers again. CheckError where it does already."""

        def change(state: Conversation) -> tuple[Conversation, list[Message]]:
            if state.status == "open":
                raise CheckError(
                    "the assistant has this conversation", expected="one that a person has", fix="nothing is to be done"
                )
            state = replace(state, status="open", person="", reason="", num_unsure=0, tried=())
            return state, [self._own_message(state, "back")]

        return await self.run(self._change, conversation, change)

    def say_unreachable(self, conversation: str) -> None:
        """Say that nobody could be reached, where nobody has come meanwhile. Blocks; for the thread of the store."""
        if self._load(conversation).status == "waiting":
            self._change(conversation, lambda state: (state, [self._own_message(state, "unreachable")]))

    async def read_messages(
        self, conversation: str, after: int, asker: Asker = ANYBODY
    ) -> tuple[Conversation, list[Message]]:
        """A conversation, and its messages with a number above `after`."""

        def read() -> tuple[Conversation, list[Message]]:
            return self._load(conversation, asker), self.store.messages(conversation, after)

        return await self.run(read)

    async def keep_feedback(self, conversation: str, number: int, asker: Asker = ANYBODY, *, is_helpful: bool) -> None:
        """Keep whether a reply helped. One that did not brings its question to the keeper of the FAQ."""
        await self.run(self._keep_feedback, conversation, number, asker, is_helpful)

    async def list_desk(self, most: int = 200) -> list[ConversationSummary]:
        """The conversations that wait for a person, or have one."""
        return await self.run(self.store.list_conversations, ("waiting", "person"), most)

    async def forget(self, conversation: str, asker: Asker = ANYBODY) -> None:
        """Forget a conversation with all that was said. MissingError."""
        if not await self.run(lambda: self.store.delete(self._load(conversation, asker).id)):
            raise _missing_error()

    async def forget_before(self, time_s: float) -> int:
        """Forget the conversations without a message since then. How many."""
        return await self.run(self.store.delete_before, time_s)

    async def question_groups(self) -> list[QuestionGroup]:
        """The questions that nobody has answered, those that are alike together, the largest group first."""

        questions = await self.run(self.store.questions, MAX_QUESTIONS)
        return await asyncio.get_running_loop().run_in_executor(None, _group_questions, questions)

    async def add_answer(self, answer: AddedAnswer, question_ids: Sequence[str], *, replaces: bool) -> AddedAnswer:
        """An answer that holds from the next message on, of every front end. CheckError for a question that has another
        one already, unless it `replaces` that: the later one holds, and undoing it brings the earlier one back."""
        return await self.run(self._add_answer, answer, question_ids, replaces)

    async def undo_answer(self, number: int) -> None:
        """Take an added answer back; its questions are unanswered again. MissingError."""
        if not await self.run(self.store.undo_answer, number):
            raise MissingError(
                f"there is no added answer {number}", expected="the id of one that holds", fix=":answers lists them"
            )

    def _converse(self, incoming: Incoming) -> Exchange:
        _check_message(incoming)
        self._renew_answers()
        for _ in range(MAX_TRIES):
            before = self._open(incoming)
            if incoming.message_id and (earlier := self._find_exchange(before, incoming.message_id)) is not None:
                return earlier
            user = UserInput(incoming.text, datetime.now(), incoming.choose)
            result = self.manager.respond(before, user)
            exchange = self._number(before, incoming, result)
            if self._keep(before, exchange, result.unanswered):
                return exchange
        raise _contention_error()

    def _open(self, incoming: Incoming) -> Conversation:
        """The conversation of a message: its own, a new one, or the one that its client has begun before the answer
        was lost."""
        if incoming.conversation:
            return self._load(incoming.conversation, incoming.asker)
        owner = incoming.asker.key_id
        if not incoming.begin:
            return Conversation(_new_id(), owner=owner)
        words = ":".join(filter(None, (self.name, owner, incoming.begin)))
        identity = base64.urlsafe_b64encode(hashlib.sha256(words.encode()).digest()[:18]).decode()
        return self.store.load(identity) or Conversation(identity, owner=owner)

    def _number(self, before: Conversation, incoming: Incoming, result: TurnResult) -> Exchange:
        """The messages with their numbers, and the state that knows of them."""
        now_s, first = time(), before.num_messages + 1
        message = Message(first, "user", incoming.text, now_s, message_id=incoming.message_id, choose=incoming.choose)
        replies = tuple(
            _as_message(reply, first + place, first, now_s) for place, reply in enumerate(result.replies, 1)
        )
        state = replace(
            result.conversation, version=before.version + 1, num_messages=before.num_messages + 1 + len(replies)
        )
        return Exchange(state, message, replies, result)

    def _keep(self, before: Conversation, exchange: Exchange, unanswered: tuple[Unanswered, ...]) -> bool:
        messages = (exchange.message, *exchange.replies)
        notes: tuple[Note, ...] = ()
        if self._sends_notes and exchange.conversation.status != "open":
            is_new = before.status == "open"
            first = 1 if is_new else messages[0].number
            kind: Literal["handed_over", "message"] = "handed_over" if is_new else "message"
            number = f"{exchange.conversation.id}.{exchange.conversation.version}"
            notes = (
                Note(number, exchange.conversation.id, kind, first, messages[-1].number, messages[0].time_s,
                     exchange.conversation.reason),
            )  # fmt: skip
        turn = KeptTurn(exchange.conversation, before.version, messages, messages[0].time_s, unanswered, notes)
        return self.store.keep(turn)

    def _find_exchange(self, conversation: Conversation, message_id: str) -> Exchange | None:
        message = self.store.find_message(conversation.id, message_id)
        if message is None:
            return None
        later = self.store.messages(conversation.id, message.number)
        return Exchange(conversation, message, tuple(each for each in later if each.reply_to == message.number))

    def _change(
        self, conversation: str, change: Callable[[Conversation], tuple[Conversation, list[Message]]]
    ) -> Conversation:
        """Change a conversation by something else than a message of its user."""
        for _ in range(MAX_TRIES):
            before = self._load(conversation)
            state, added = change(before)
            messages = tuple(replace(each, number=before.num_messages + place) for place, each in enumerate(added, 1))
            state = replace(state, version=before.version + 1, num_messages=before.num_messages + len(messages))
            if self.store.keep(KeptTurn(state, before.version, messages, time())):
                return state
        raise _contention_error()

    def _own_message(self, state: Conversation, name: str, /, **values: str) -> Message:
        text = phrase(name, state.language, self.manager.definition.phrases, **values)
        return Message(0, "assistant", text, time())

    def _keep_feedback(self, conversation: str, number: int, asker: Asker, is_helpful: bool) -> None:
        state = self._load(conversation, asker)
        messages = {message.number: message for message in self.store.messages(conversation)}
        reply = messages.get(number)
        if reply is None or reply.role == "user":
            raise MissingError(f"there is no reply {number}", expected="the number of a reply", fix="see :transcript")
        question = messages.get(reply.reply_to)
        if not is_helpful and question is not None and question.text.strip():
            identity, intents = f"{state.id}.{number}.feedback", (reply.intent,) if reply.intent else ()
            self.store.keep_question(KeptQuestion(identity, question.text, "not_helpful", intents, state.id, time()))

    def _add_answer(self, answer: AddedAnswer, question_ids: Sequence[str], replaces: bool) -> AddedAnswer:
        chosen = [each for each in self.store.questions(MAX_QUESTIONS) if each.id in set(question_ids)]
        texts = dict.fromkeys([*answer.questions, *(each.question for each in chosen)])
        questions = tuple(text.strip()[:MAX_QUESTION_CHARS] for text in texts if text.strip())[:MAX_ANSWER_QUESTIONS]
        answer = replace(answer, questions=questions, answer=answer.answer.strip(), time_s=time())
        if not answer.answer or not (questions or answer.intent) or len(answer.answer) > MAX_ANSWER_CHARS:
            raise InputError(
                "the answer lacks its text, or what it answers",
                expected=f"an answer of at most {MAX_ANSWER_CHARS} characters, and a question or an intent",
                fix='send {"answer": "...", "questions": ["..."]}',
            )
        if answer.intent and answer.intent not in self.manager.model.intents:
            raise InputError(
                f"there is no intent {answer.intent[:80]!r}", expected="an intent of the model", fix="leave it out"
            )
        clashing = _find_clash(answer, self.store.answers())
        if clashing is not None and not replaces:
            raise CheckError(
                f"{clashing.title!r} has the added answer {clashing.id} already, which says something else",
                expected="one answer to one question",
                fix=f'undo {clashing.id} first, or send "replaces": true',
            )
        kept = self.store.add_answer(answer)
        self.store.drop_questions([each.id for each in chosen], kept.id)
        return kept

    def _renew_answers(self) -> None:
        version = self.store.answers_version()
        if version != self._answers_version:
            self.manager.additions, self._answers_version = Additions(self.store.answers()), version

    def _load(self, conversation: str, asker: Asker = ANYBODY) -> Conversation:
        """MissingError where it is not there, or is not the asker's: which of both is not said."""
        state = self.store.load(conversation)
        if state is None or not asker.may_open(state):
            raise _missing_error()
        return state

    def _wake(self, conversation: Conversation) -> None:
        if self._sends_notes and conversation.status != "open":
            self.on_note()

    def _report(self, exchange: Exchange) -> None:
        """A line for the log: without personal data, and without the id, which opens the conversation."""
        reply = next((each for each in exchange.replies if each.decision), None)
        fields = {
            "state": "a message was answered", "question": mask(exchange.message.text),
            "decision": "" if reply is None else reply.decision, "intent": "" if reply is None else reply.intent,
            "conversation_status": exchange.conversation.status, "reason": exchange.conversation.reason,
        }  # fmt: skip
        self.emit(Event("server", self.name, fields=fields))


def _check_message(incoming: Incoming) -> None:
    if len(incoming.text) > MAX_MESSAGE_CHARS:
        raise InputError(
            f"the message has {len(incoming.text)} characters", expected=f"at most {MAX_MESSAGE_CHARS}",
            fix="say it in a few sentences",
        )  # fmt: skip
    if incoming.begin and not MIN_BEGIN_CHARS <= len(incoming.begin) <= 128:
        raise InputError(
            f"begin has {len(incoming.begin)} characters",
            expected=f"{MIN_BEGIN_CHARS} to 128 that nobody else may guess", fix="draw it at random, or leave it out",
        )  # fmt: skip


def _group_questions(questions: Sequence[KeptQuestion]) -> list[QuestionGroup]:
    shown = [replace(each, question=mask(each.question)) for each in questions]
    places = group([each.question for each in questions])
    return [QuestionGroup(tuple(shown[place] for place in of)) for of in places]


def _find_clash(answer: AddedAnswer, others: Sequence[AddedAnswer]) -> AddedAnswer | None:
    """An added answer that says something else to an equal question, or to the same intent."""
    words = {plain_words(question) for question in answer.questions}
    for other in others:
        is_same = words & {plain_words(question) for question in other.questions}
        if (is_same or (answer.intent and answer.intent == other.intent)) and other.answer != answer.answer:
            return other
    return None


def _as_message(reply: Reply, number: int, reply_to: int, time_s: float) -> Message:
    return Message(
        number, "assistant", reply.text, time_s, reply_to, reply.buttons, reply.intent, reply.decision
    )  # fmt: skip


def _new_id() -> str:
    return secrets.token_urlsafe(18)  # whoever knows it may read and write the conversation


def _missing_error() -> MissingError:
    return MissingError(
        "there is no such conversation", expected="an id that :converse has returned", fix="begin one without an id"
    )


def _contention_error() -> BusyError:
    return BusyError(
        "others write to this conversation all the time", expected="few messages at once", fix="send it a little later"
    )
