"""An assistant as the server knows it: in the list of models, behind /v1/chat/completions, started and closed.

    model = AssistantModel("help", card, service, webhook)
    response = await model.complete(request, params, "chat")

A chat without metadata is one whose client keeps the conversation: its messages are answered anew from the first one
on, which costs their understanding and keeps nothing. With "metadata": {"conversation": ID} the last message goes to
that conversation, and is kept. A chat that ends in a hand-over is kept as a conversation, so that a person gets it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from deepseek.contracts import Event
from deepseek.dialogue.conversation import Conversation, Message
from deepseek.dialogue.phrases import phrase
from deepseek.dialogue.turn import Reply
from deepseek.errors import DeepseekError, InputError
from deepseek.serve.assistant.askers import Asker, read_asker
from deepseek.serve.assistant.notes import NoteSender, Webhook
from deepseek.serve.assistant.service import MAX_MESSAGE_CHARS, AssistantService, Exchange, Incoming
from deepseek.serve.core.card import ModelEntry
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.core.request import Request, Response
from deepseek.serve.openai.answers import EVENT_STREAM_TYPE, STREAM_END, Choice, CompletionObject, Usage
from deepseek.serve.openai.params import ParamError, Params, describe_value
from deepseek.serve.openai.writers import CompletionKind

TASK = "intents"  # of the bundle
MAX_CHAT_MESSAGES = 50  # of a chat that its client keeps: each is answered anew
_CHAT = frozenset(
    [
        "model", "messages", "stream", "stream_options", "metadata", "max_tokens", "max_completion_tokens", "n",
        "temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty", "tools", "tool_choice",
        "response_format", "reasoning_effort", "verbosity", "modalities",
    ]
)  # fmt: skip
FORGET_S = 3_600.0  # between two looks for old conversations
_PIECE_CHARS = 24  # of a streamed answer


@dataclass(frozen=True, slots=True)
class AssistantCard:
    """What the list of models says of an assistant."""

    version: str
    digest: str
    created: str = ""


class ChatObject(CompletionObject, frozen=True):
    """A chat completion, and the conversation that it was kept in."""

    conversation: str | msgspec.UnsetType = msgspec.UNSET
    decision: str | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class _Chat:
    """A parsed chat."""

    texts: tuple[str, ...]  # of the user, the oldest first
    conversation: str
    stream: bool
    include_usage: bool


class AssistantModel:
    """One assistant, its conversations, and the webhook to which hand-overs go where there is one."""

    task = TASK
    retry_after_s = 1
    process = None  # it chooses words, and generates none

    def __init__(
        self,
        name: str,
        card: AssistantCard,
        service: AssistantService,
        webhook: Webhook | None = None,
        *,
        keep_days: int | None = None,
    ) -> None:
        """`keep_days`: without a message, after which a conversation is forgotten; None keeps all."""
        self.name, self.version, self.digest = name, card.version, card.digest
        self.service = service
        self._card, self._webhook = card, webhook
        self._sender: NoteSender | None = None
        self._keep_days = keep_days
        self._forgetting: asyncio.Task[None] | None = None
        self._is_started = False

    @property
    def entry(self) -> ModelEntry:
        """The entry of this model in GET /v1/models."""
        return ModelEntry(
            id=self.name, version=self.version, task=self.task, digest=self.digest, created=self._card.created
        )

    @property
    def ready(self) -> bool:
        return self._is_started

    async def start(self, emit: Callable[[Event], None]) -> None:
        """Understand a first question, so that no user waits for what is made once; begin to send what waits."""
        self.service.emit = emit
        await self.service.run(self.service.replay, ["Hello"])
        if self._webhook is not None:
            self._sender = NoteSender(self.service, self._webhook)
            self._sender.start()
        if self._keep_days is not None:
            self._forgetting = asyncio.get_running_loop().create_task(self._forget_old(self._keep_days))
        self._is_started = True
        emit(Event("model", self.name, self.version, fields={"loaded": True, "digest": self.digest}))

    async def _forget_old(self, days: int) -> None:
        while True:
            with suppress(DeepseekError):  # a busy disk: the next hour will do
                await self.service.forget_before(time.time() - 86_400 * days)
            await asyncio.sleep(FORGET_S)

    async def close(self) -> None:
        """Stop to send, and close the store."""
        self._is_started = False
        if self._forgetting is not None:
            self._forgetting.cancel()
        if self._sender is not None:
            await self._sender.close()
        await asyncio.get_running_loop().run_in_executor(None, self.service.close)

    async def complete(self, request: Request, params: Params, kind: CompletionKind) -> Response:
        """POST /v1/chat/completions. ParamError names what is wrong."""
        if kind != "chat":
            raise InputError(
                f"{self.name!r} answers chats", expected="POST /v1/chat/completions", fix="send messages, and no prompt"
            )
        chat = _parse_chat(params)
        request.take_rows(1)
        response = _ChatResponse(self.name, chat, await self._answer(chat, read_asker(request)))
        if chat.stream:
            return Response(b"", media_type=EVENT_STREAM_TYPE, chunks=response.chunks())
        return Response(response.to_bytes())

    async def _answer(self, chat: _Chat, asker: Asker) -> _ChatAnswer:
        if chat.conversation:
            incoming = Incoming(chat.texts[-1], chat.conversation, asker=asker)
            return _of_exchange(self.service, await self.service.converse(incoming))
        state, result = await self.service.answer_chat(chat.texts)
        if result.is_handed_over:  # from here on a person needs it
            return _of_exchange(self.service, await self.service.keep_chat(chat.texts, asker))
        return _as_answer(self.service, state, result.replies, "")


@dataclass(frozen=True, slots=True)
class _ChatAnswer:
    """What is said, the decision behind it, and the conversation that it was kept in, or ""."""

    text: str
    decision: str
    conversation: str


def _of_exchange(service: AssistantService, exchange: Exchange) -> _ChatAnswer:
    return _as_answer(service, exchange.conversation, exchange.replies, exchange.conversation.id)


def _as_answer(
    service: AssistantService, state: Conversation, replies: Sequence[Reply | Message], conversation: str
) -> _ChatAnswer:
    """Replies as one text, their buttons as numbered lines: a number chooses one."""
    if not replies and state.status != "open":
        text = phrase("with_person", state.language, service.manager.definition.phrases)
        return _ChatAnswer(text, "hand_over", conversation)
    lines = []
    for reply in replies:
        lines.append(reply.text)
        lines += [f"{number}. {button.label}" for number, button in enumerate(reply.buttons, 1)]
    decision = next((reply.decision for reply in reversed(replies) if reply.decision), "")
    return _ChatAnswer("\n".join(lines), decision, conversation)


class _ChatResponse:
    """An answer in OpenAI's form, whole or as events."""

    def __init__(self, model: str, chat: _Chat, answer: _ChatAnswer) -> None:
        self._model, self._chat, self._answer = model, chat, answer
        self._id, self._created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())

    def to_bytes(self) -> bytes:
        """The JSON object with the whole answer."""
        message: dict[str, str | None] = {"role": "assistant", "content": self._answer.text, "refusal": None}
        choice = Choice(0, message=message, finish_reason="stop")
        return encode_json(self._object("chat.completion", [choice], self._usage()))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events: the role, pieces of the answer, its end."""
        yield self._event([Choice(0, delta={"role": "assistant", "content": ""})])
        text = self._answer.text
        for start in range(0, len(text), _PIECE_CHARS):
            yield self._event([Choice(0, delta={"content": text[start : start + _PIECE_CHARS]})])
        yield self._event([Choice(0, delta={}, finish_reason="stop")])
        if self._chat.include_usage:
            yield self._event([], self._usage())
        yield STREAM_END

    def _usage(self) -> Usage:
        """Words instead of tokens: nothing here is counted in tokens."""
        num_prompt = sum(len(text.split()) for text in self._chat.texts)
        num_answer = len(self._answer.text.split())
        return Usage(num_prompt, num_answer, num_prompt + num_answer)

    def _event(self, choices: list[Choice], usage: Usage | msgspec.UnsetType = msgspec.UNSET) -> bytes:
        return b"data: " + encode_json(self._object("chat.completion.chunk", choices, usage)) + b"\n\n"

    def _object(self, kind: str, choices: list[Choice], usage: Usage | msgspec.UnsetType) -> ChatObject:
        return ChatObject(
            self._id, kind, self._created, self._model, choices, usage,
            conversation=self._answer.conversation or msgspec.UNSET, decision=self._answer.decision or msgspec.UNSET,
        )  # fmt: skip


def _parse_chat(params: Params) -> _Chat:
    params.check(_CHAT)
    if (params.read("n", int, 1) or 1) != 1:
        raise ParamError("n", "n is above 1", expected="1: there is one answer")
    form = params.get("response_format")
    if form is not None and form != {"type": "text"}:
        raise ParamError("response_format", f"response_format is {describe_value(form)}", expected='{"type": "text"}')
    wishes = params.read("stream_options", dict, None) or {}
    metadata = params.read("metadata", dict, None) or {}
    conversation = metadata.get("conversation", "")
    if not isinstance(conversation, str):
        raise ParamError("metadata", "metadata.conversation is no text", expected="an id that :converse has returned")
    texts = _user_texts(params.get("messages"))
    return _Chat(texts, conversation, bool(params.read("stream", bool, False)), bool(wishes.get("include_usage")))


def _user_texts(messages: Any) -> tuple[str, ...]:
    """The texts of the user. Instructions of the system are not followed: the bundle says what is answered."""
    if not isinstance(messages, list) or not 0 < len(messages) <= 1_000:
        raise ParamError("messages", f"messages is {describe_value(messages)}", expected="1 to 1000 messages")
    texts = []
    for place, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("system", "developer", "user", "assistant"):
            raise ParamError(
                f"messages[{place}].role", f"messages[{place}] has the role {describe_value(role)}",
                expected="system, user or assistant",
            )  # fmt: skip
        if role == "user":
            texts.append(_content(place, message.get("content")))
    if not texts or messages[-1].get("role") != "user":
        raise ParamError("messages", "the last message is not the user's", expected="a message of the user at the end")
    return tuple(texts[-MAX_CHAT_MESSAGES:])


def _content(place: int, content: Any) -> str:
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        content = "".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(content, str) or len(content) > MAX_MESSAGE_CHARS:
        raise ParamError(
            f"messages[{place}].content", f"the content of messages[{place}] is no text, or too long",
            expected=f"a text of at most {MAX_MESSAGE_CHARS} characters",
        )  # fmt: skip
    return content
