"""Responses of /v1/completions and /v1/chat/completions: whole, or as server-sent events.

    completions = start_completions(parse_chat(body, generator), generator)  # BusyError, InputError
    await answers.to_bytes()                                          # the JSON object, as bytes
    async for chunk in answers.chunks(): ...                       # data: {...} for each piece, then data: [STREAM_END]

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
from typing import Any

from deepseek.engines.llm.run.base import GenerationChunk
from deepseek.errors import DeepseekError, DrainingError
from deepseek.serve.core.errors import openai_error_body
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.openai.requests import CompletionRequest, Generation, TextGenerator

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


@dataclass(slots=True)
class Completions:
    """The completions of one request, while they are generated."""

    request: CompletionRequest
    generator: TextGenerator
    pieces: asyncio.Queue[tuple[int, GenerationChunk]] = field(default_factory=asyncio.Queue)
    generations: list[Generation] = field(default_factory=list)
    num_tokens: int = 0  # generated so far, in all completions
    num_characters: Counter[int] = field(
        default_factory=Counter
    )  # of each completion, for the text offsets of log probabilities
    id: str = ""
    created: int = 0
    event: tuple[bytes, bytes] = b"", b""  # the JSON before and after the choices of every event

    def __post_init__(self) -> None:
        self.id = _PREFIXES[self.request.kind] + secrets.token_hex(12)
        self.created = int(time.time())
        name = "chat.completion.chunk" if self.request.kind == "chat" else "text_completion"
        before, _, behind = encode_json(self._object([], name)).rpartition(b"[]")
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
        return encode_json(
            self._object(choices, _OBJECTS[self.request.kind]) | {"usage": self.usage()} | self._ignored_params()
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

    def usage(self) -> dict[str, int]:
        """The numbers of tokens of the prompts and of the completions."""
        num_prompt = sum(len(generation.ids) for generation in self.generations[:: self.request.num_answers])
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": self.num_tokens,
            "total_tokens": num_prompt + self.num_tokens,
        }

    async def _iter_pieces(self) -> AsyncIterator[tuple[int, GenerationChunk]]:
        """Every piece of every completion with its index, until all are finished; leaving early cancels the rest."""
        num_unfinished = len(self.generations)
        try:
            while num_unfinished:
                index, piece = await self.pieces.get()
                self.num_tokens += len(piece.tokens)
                if piece.error is not None:
                    raise piece.error
                if piece.finish == "cancelled":
                    raise DrainingError("the model is being closed", expected="an open model", fix="send it again")
                num_unfinished -= piece.finish is not None
                yield index, piece
        finally:
            self.cancel()

    def _first_event(self) -> bytes:
        """The event before the first piece: the role of a chat, or the prompts with "echo"; empty for none."""
        numbers = range(len(self.generations))
        if self.request.kind == "chat":
            return self._event([_choice_json(index, delta={"role": "assistant", "content": ""}) for index in numbers])
        if self.request.echo:
            return self._event([_choice_json(index, text=self._echo(index)) for index in numbers])
        return b""

    def _echo(self, index: int) -> str:
        return self.generator.words.decode(self.generations[index].ids) if self.request.echo else ""

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        before, behind = self.event
        if self.request.include_usage:
            behind = b',"usage":' + encode_json(usage) + behind
        return before + encode_json(choices) + behind + b"\n\n"

    def _object(self, choices: list[dict[str, Any]], name: str) -> dict[str, Any]:
        return {
            "id": self.id, "object": name, "created": self.created, "model": self.request.model, "choices": choices,
        }  # fmt: skip

    def _ignored_params(self) -> dict[str, Any]:
        return {"ignored": list(self.request.ignored)} if self.request.ignored else {}

    def _delta(self, index: int, piece: GenerationChunk) -> dict[str, Any]:
        logprobs = self._logprobs(index, [piece])
        if self.request.kind == "completion":
            return _choice_json(index, text=piece.text, finish=piece.finish, logprobs=logprobs)
        delta = {"content": piece.text} if piece.text or piece.finish is None else {}
        return _choice_json(index, delta=delta, finish=piece.finish, logprobs=logprobs)

    def _choice(self, index: int, pieces: list[GenerationChunk]) -> dict[str, Any]:
        text = "".join(piece.text for piece in pieces)
        logprobs, finish = self._logprobs(index, pieces), pieces[-1].finish
        if self.request.kind == "completion":
            return _choice_json(index, text=self._echo(index) + text, finish=finish, logprobs=logprobs)
        message = {"role": "assistant", "content": text, "refusal": None}
        return _choice_json(index, message=message, finish=finish, logprobs=logprobs)

    def _logprobs(self, index: int, pieces: list[GenerationChunk]) -> dict[str, Any] | None:
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
            entries = [_logprob_entry(token, value) for token, value in pairs]
            return {"content": [entry | {"top_logprobs": [entry] * self.request.top_logprobs} for entry in entries]}
        columns: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token, value in pairs:
            text = token.decode("utf-8", "replace")
            top = {text: value} if self.request.top_logprobs else None
            for name, item in zip(columns, (text, value, top, self.num_characters[index]), strict=True):
                columns[name].append(item)
            self.num_characters[index] += len(text)
        return columns


def _choice_json(index: int, *, finish: str | None = None, logprobs: Any = None, **content: Any) -> dict[str, Any]:
    return {"index": index, **content, "logprobs": logprobs, "finish_reason": finish}


def _logprob_entry(token: bytes, value: float) -> dict[str, Any]:
    return {"token": token.decode("utf-8", "replace"), "logprob": value, "bytes": list(token)}
