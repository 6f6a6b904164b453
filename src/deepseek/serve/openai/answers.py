"""Responses of /v1/completions and /v1/chat/completions: whole, or as server-sent events.

    completions = start_completions(parse_chat(body, generator), generator)  # BusyError, InputError
    await answers.to_bytes()                                          # the JSON object, as bytes
    async for chunk in answers.chunks(): ...                       # data: {...} for each piece, then data: [DONE]

A client that goes away closes the generator, or cancels the task, and what it asked for is cancelled with it.

Source: https://platform.openai.com/docs/api-reference, the objects "completion", "chat completion" and "chat
completion chunk"; https://html.spec.whatwg.org/multipage/server-sent-events.html for the stream.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import msgspec

from deepseek.engines.llm.run.base import GenerationChunk
from deepseek.errors import DeepseekError, DrainingError
from deepseek.serve.core.errors import openai_error_body
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.openai.requests import CompletionRequest, Generation, TextGenerator
from deepseek.serve.openai.timing import CompletionTimer, CompletionTimes

STREAM_END = b"data: [DONE]\n\n"
EVENT_STREAM_TYPE = b"text/event-stream"
_OBJECTS = {"completion": "text_completion", "chat": "chat.completion"}
_PREFIXES = {"completion": "cmpl-", "chat": "chatcmpl-"}


def start_completions(request: CompletionRequest, generator: TextGenerator) -> Completions:
    """Start every completion of a request, in a running event loop. When one is refused, all are cancelled."""
    loop = asyncio.get_running_loop()
    answers = Completions(request, generator)
    try:
        for index in range(len(request.prompts) * request.num_answers):
            prompt = request.prompts[index // request.num_answers]
            options = request.options
            if options.seed is not None:  # completions of one prompt differ, and each is the same next time
                options = replace(options, seed=options.seed + index % request.num_answers)
            sink = _piece_sink(loop, answers.pieces, index)
            answers.generations.append(generator.submit(prompt, options, sink))
    except DeepseekError:
        answers.cancel()
        raise
    return answers


def _piece_sink(
    loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[tuple[int, GenerationChunk]], index: int
) -> Callable[[GenerationChunk], None]:
    """A callback that puts pieces into the queue, from this thread or from the engine's own. Pieces that come after the
    loop was closed are dropped."""
    thread = threading.get_ident()

    def sink(piece: GenerationChunk) -> None:
        if threading.get_ident() == thread:
            pieces.put_nowait((index, piece))
            return
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(pieces.put_nowait, (index, piece))

    return sink


class Usage(msgspec.Struct, frozen=True):
    """Numbers of tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TokenLogprob(msgspec.Struct, frozen=True):
    """The log probability of a token in a chat."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TokenLogprob] | msgspec.UnsetType = msgspec.UNSET


class ChatLogprobs(msgspec.Struct, frozen=True):
    """Log probabilities of the tokens of a chat's choice."""

    content: list[TokenLogprob]


class CompletionLogprobs(msgspec.Struct, frozen=True):
    """Log probabilities of the tokens of a completion's choice, in columns."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class Choice(msgspec.Struct, frozen=True):
    """One completion, or a piece of it: `text` of a completion, `message` of a chat, `delta` of a chat's piece."""

    index: int
    text: str | msgspec.UnsetType = msgspec.UNSET
    message: dict[str, str | None] | msgspec.UnsetType = msgspec.UNSET
    delta: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    logprobs: ChatLogprobs | CompletionLogprobs | None = None
    finish_reason: str | None = None


class CompletionObject(msgspec.Struct, frozen=True):
    """The JSON object of a response, or of an event of a stream."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | msgspec.UnsetType = msgspec.UNSET
    ignored: list[str] | msgspec.UnsetType = msgspec.UNSET


@dataclass(slots=True)
class Completions:
    """The completions of one request, while they are generated."""

    request: CompletionRequest
    generator: TextGenerator
    pieces: asyncio.Queue[tuple[int, GenerationChunk]] = field(default_factory=asyncio.Queue)
    generations: list[Generation] = field(default_factory=list)
    on_end: Callable[[tuple[CompletionTimes, ...]], None] = lambda _: None  # called once, when all have ended
    num_tokens: int = 0  # generated so far, in all completions
    num_characters: Counter[int] = field(default_factory=Counter)  # of each completion, for text offsets
    id: str = ""
    created: int = 0
    event: tuple[bytes, bytes] = b"", b""  # the JSON before and after the choices of every event

    def __post_init__(self) -> None:
        self.id = _PREFIXES[self.request.kind] + secrets.token_hex(12)
        self.created = int(time.time())
        name = "chat.completion.chunk" if self.request.kind == "chat" else "text_completion"
        before, _, behind = encode_json(
            CompletionObject(self.id, name, self.created, self.request.model, [])
        ).rpartition(b"[]")
        self.event = b"data: " + before, behind

    def cancel(self) -> None:
        """Cancel all completions."""
        for generation in self.generations:
            generation.cancel()

    async def to_bytes(self) -> bytes:
        """The JSON object with all completions, encoded. Raises the engine's error when one failed."""
        parts: list[list[GenerationChunk]] = [[] for _ in self.generations]
        async for index, piece in self._iter_pieces():
            parts[index].append(piece)
        choices = [self._choice(index, pieces) for index, pieces in enumerate(parts)]
        ignored = list(self.request.ignored) or msgspec.UNSET
        name = _OBJECTS[self.request.kind]
        return encode_json(
            CompletionObject(self.id, name, self.created, self.request.model, choices, self.usage(), ignored)
        )

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events, one for each piece. An error after the start is an event too."""
        try:
            if first := self._first_event():
                yield first
            async for index, piece in self._iter_pieces():
                yield self._event([self._delta(index, piece)])
            if self.request.include_usage:
                yield self._event([], usage=self.usage())
        except DeepseekError as error:
            yield b"data: " + openai_error_body(error) + b"\n\n"
        yield STREAM_END

    def usage(self) -> Usage:
        """The numbers of tokens of the prompts and of the completions."""
        num_prompt = sum(len(generation.ids) for generation in self.generations[:: self.request.num_answers])
        return Usage(num_prompt, self.num_tokens, num_prompt + self.num_tokens)

    async def _iter_pieces(self) -> AsyncIterator[tuple[int, GenerationChunk]]:
        """Every piece of every completion with its index, until all are finished; leaving early cancels the rest."""
        num_unfinished = len(self.generations)
        timer = CompletionTimer([len(generation.ids) for generation in self.generations])
        try:
            while num_unfinished:
                index, piece = await self.pieces.get()
                timer.take(index, piece)
                self.num_tokens += len(piece.tokens)
                if piece.error is not None:
                    raise piece.error
                if piece.finish == "cancelled":
                    raise DrainingError("the model is being closed", expected="an open model", fix="send it again")
                num_unfinished -= piece.finish is not None
                yield index, piece
        finally:
            self.cancel()
            self.on_end(timer.times())

    def _first_event(self) -> bytes:
        """The event before the first piece: the role of a chat, or the prompts with "echo"; empty for none."""
        numbers = range(len(self.generations))
        if self.request.kind == "chat":
            return self._event([Choice(index, delta={"role": "assistant", "content": ""}) for index in numbers])
        if self.request.echo:
            return self._event([Choice(index, text=self._echo(index)) for index in numbers])
        return b""

    def _echo(self, index: int) -> str:
        return self.generator.words.decode(self.generations[index].ids) if self.request.echo else ""

    def _event(self, choices: list[Choice], usage: Usage | None = None) -> bytes:
        before, behind = self.event
        if self.request.include_usage:
            behind = b',"usage":' + encode_json(usage) + behind
        return before + encode_json(choices) + behind + b"\n\n"

    def _delta(self, index: int, piece: GenerationChunk) -> Choice:
        logprobs = self._logprobs(index, [piece])
        if self.request.kind == "completion":
            return Choice(index, text=piece.text, finish_reason=piece.finish, logprobs=logprobs)
        delta = {"content": piece.text} if piece.text or piece.finish is None else {}
        return Choice(index, delta=delta, finish_reason=piece.finish, logprobs=logprobs)

    def _choice(self, index: int, pieces: list[GenerationChunk]) -> Choice:
        text = "".join(piece.text for piece in pieces)
        logprobs, finish = self._logprobs(index, pieces), pieces[-1].finish
        if self.request.kind == "completion":
            return Choice(index, text=self._echo(index) + text, finish_reason=finish, logprobs=logprobs)
        message: dict[str, str | None] = {"role": "assistant", "content": text, "refusal": None}
        return Choice(index, message=message, finish_reason=finish, logprobs=logprobs)

    def _logprobs(self, index: int, pieces: list[GenerationChunk]) -> ChatLogprobs | CompletionLogprobs | None:
        """Log probabilities of the tokens in `pieces`, in the form of the route; special tokens are left out."""
        if not self.request.options.logprobs:
            return None
        words = self.generator.words
        pairs = [
            (words.pieces[token], value)
            for piece in pieces
            for token, value in zip(piece.tokens, piece.logprobs, strict=True)
            if token not in words.special
        ]
        if self.request.kind == "chat":
            return ChatLogprobs([self._token_logprob(token, value) for token, value in pairs])
        columns = CompletionLogprobs([], [], [], [])
        for token, value in pairs:
            text = token.decode("utf-8", "replace")
            columns.tokens.append(text)
            columns.token_logprobs.append(value)
            columns.top_logprobs.append({text: value} if self.request.top_logprobs else None)
            columns.text_offset.append(self.num_characters[index])
            self.num_characters[index] += len(text)
        return columns

    def _token_logprob(self, token: bytes, value: float) -> TokenLogprob:
        top = TokenLogprob(token.decode("utf-8", "replace"), value, list(token))
        return msgspec.structs.replace(top, top_logprobs=[top] * self.request.top_logprobs)
