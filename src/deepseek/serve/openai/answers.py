"""Answers of /v1/completions and /v1/chat/completions: whole, or as server-sent events.

    answers = begin(parse_chat(body, writer), writer)               # BusyError, InputError: before anything is sent
    await answers.whole()                                          # the JSON object, as bytes
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
from collections.abc import AsyncIterator, Callable
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


def start_completions(request: CompletionRequest, writer: TextGenerator) -> Completions:
    """Have every answer of a request begun, in a running event loop. Refuses all of them when one is refused."""
    loop = asyncio.get_running_loop()
    answers = Completions(request, writer)
    try:
        for index in range(len(request.prompts) * request.num_answers):
            prompt = request.prompts[index // request.num_answers]
            options = request.options
            if options.seed is not None:  # answers to one prompt differ, and each is the same next time
                options = replace(options, seed=options.seed + index % request.num_answers)
            put = _piece_sink(loop, answers.pieces, index)
            answers.generations.append(writer.submit(prompt, options, put))
    except DeepseekError:
        answers.cancel()
        raise
    return answers


def _piece_sink(
    loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[tuple[int, GenerationChunk]], index: int
) -> Callable[[GenerationChunk], None]:
    """Into the loop, from the engine's thread where the engine does not come here itself; a loop that has been closed
    hears nothing more."""
    here = threading.get_ident()

    def put(piece: GenerationChunk) -> None:
        if threading.get_ident() == here:
            pieces.put_nowait((index, piece))
            return
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(pieces.put_nowait, (index, piece))

    return put


@dataclass(slots=True)
class Completions:
    """The answers to one request, while they are written."""

    request: CompletionRequest
    writer: TextGenerator
    pieces: asyncio.Queue[tuple[int, GenerationChunk]] = field(default_factory=asyncio.Queue)
    generations: list[Generation] = field(default_factory=list)
    num_tokens: int = 0  # written so far, in all answers
    num_characters: Counter[int] = field(default_factory=Counter)  # of each answer whose log probabilities were told
    id: str = ""
    created: int = 0
    event: tuple[bytes, bytes] = b"", b""  # what stands before and behind the choices of every event

    def __post_init__(self) -> None:
        self.id = _PREFIXES[self.request.kind] + secrets.token_hex(12)
        self.created = int(time.time())
        name = "chat.completion.chunk" if self.request.kind == "chat" else "text_completion"
        before, _, behind = encode_json(self._object([], name)).rpartition(b"[]")
        self.event = b"data: " + before, behind

    def cancel(self) -> None:
        """Write no more of any of them."""
        for generation in self.generations:
            generation.cancel()

    async def whole(self) -> bytes:
        """The one object with all answers. Raises the engine's error when one failed."""
        parts: list[list[GenerationChunk]] = [[] for _ in self.generations]
        async for index, piece in self._each():
            parts[index].append(piece)
        choices = [self._choice(index, pieces) for index, pieces in enumerate(parts)]
        return encode_json(
            self._object(choices, _OBJECTS[self.request.kind]) | {"usage": self.usage()} | self._ignored()
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        """Server-sent events; what comes together goes out together. An error after the start is an event too."""
        try:
            if first := self._first():
                yield first
            async for index, piece in self._each():
                yield self._event([self._delta(index, piece)])
            if self.request.include_usage:
                yield self._event([], usage=self.usage())
        except DeepseekError as error:
            yield b"data: " + openai_error_body(error) + b"\n\n"
        yield STREAM_END

    def usage(self) -> dict[str, int]:
        """Tokens of the prompts and of what was written."""
        num_prompt = sum(len(generation.ids) for generation in self.generations[:: self.request.num_answers])
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": self.num_tokens,
            "total_tokens": num_prompt + self.num_tokens,
        }

    async def _each(self) -> AsyncIterator[tuple[int, GenerationChunk]]:
        """Every piece of every answer, until all are finished; leaving early cancels the rest."""
        left = len(self.generations)
        try:
            while left:
                index, piece = await self.pieces.get()
                self.num_tokens += len(piece.tokens)
                if piece.error is not None:
                    raise piece.error
                if piece.finish == "cancelled":
                    raise DrainingError("the model is being closed", expected="an open model", fix="send it again")
                left -= piece.finish is not None
                yield index, piece
        finally:
            self.cancel()

    def _first(self) -> bytes:
        """What stands before the first piece: whose turn it is, or the prompts themselves."""
        numbers = range(len(self.generations))
        if self.request.kind == "chat":
            return self._event([_choice_json(at, delta={"role": "assistant", "content": ""}) for at in numbers])
        if self.request.echo:
            return self._event([_choice_json(at, text=self._echo(at)) for at in numbers])
        return b""

    def _echo(self, index: int) -> str:
        return self.writer.words.decode(self.generations[index].ids) if self.request.echo else ""

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        before, behind = self.event
        if self.request.include_usage:
            behind = b',"usage":' + encode_json(usage) + behind
        return before + encode_json(choices) + behind + b"\n\n"

    def _object(self, choices: list[dict[str, Any]], name: str) -> dict[str, Any]:
        return {
            "id": self.id, "object": name, "created": self.created, "model": self.request.model, "choices": choices,
        }  # fmt: skip

    def _ignored(self) -> dict[str, Any]:
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
        words = self.writer.words
        pairs = [
            (words.pieces[token], value)
            for piece in pieces
            for token, value in zip(piece.tokens, piece.logprobs, strict=True)
            if token not in words.special
        ]
        if self.request.kind == "chat":
            entries = [_logprob_entry(token, value) for token, value in pairs]
            return {"content": [entry | {"top_logprobs": [entry] * self.request.top_logprobs} for entry in entries]}
        found: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token, value in pairs:
            text = token.decode("utf-8", "replace")
            top = {text: value} if self.request.top_logprobs else None
            for name, item in zip(found, (text, value, top, self.num_characters[index]), strict=True):
                found[name].append(item)
            self.num_characters[index] += len(text)
        return found


def _choice_json(index: int, *, finish: str | None = None, logprobs: Any = None, **content: Any) -> dict[str, Any]:
    return {"index": index, **content, "logprobs": logprobs, "finish_reason": finish}


def _logprob_entry(token: bytes, value: float) -> dict[str, Any]:
    return {"token": token.decode("utf-8", "replace"), "logprob": value, "bytes": list(token)}
