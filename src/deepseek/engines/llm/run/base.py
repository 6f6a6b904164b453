"""What all engines that generate text share: a queue, a thread that makes steps, decoding, stops, endings.

    class LlmEngine(GenerationEngine): ...                     # brings _open, _start, _step, _read, _stop and _release
    generation = engine.submit(ids, options, on_piece)
    generation.cancel()
    engine.close()

One thread owns the model: it takes new requests, makes a step for all that run (each gets one token, or a part of its
prompt is read), and hands chunks of text to the callbacks. A request waits while max_running others run. What could
never fit is refused on submit.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.model.tokenizer import LlmTokenizer, StreamDecoder, prompt_too_long_error
from deepseek.errors import BusyError, DeepseekError, DrainingError, InputError

FinishReason = Literal["stop", "length", "cancelled", "error"]
#: What native libraries raise.
NATIVE_ERRORS = (RuntimeError, ValueError, IndexError, MemoryError)


@dataclass(frozen=True, slots=True)
class GenerationChunk:
    """What one step added to an answer."""

    text: str
    tokens: tuple[int, ...] = ()  # their text may come with a later chunk
    logprobs: tuple[float, ...] = ()  # of each token, where the options ask for them
    finish: FinishReason | None = None  # set on the last chunk
    error: DeepseekError | None = None  # with finish "error"
    queue_s: float = field(default=0.0, compare=False)  # of an answer until its turn, on its first chunk with tokens


@dataclass(eq=False, slots=True)
class Generation:
    """One answer that is being generated, or waits for it."""

    ids: Sequence[int]
    options: GenerationOptions
    max_tokens: int
    on_piece: Callable[[GenerationChunk], None]
    decoder: StreamDecoder
    handle: Any = None  # of the library, once it runs
    is_cancelled: bool = False
    num_tokens: int = field(default=0)
    submitted_s: float = field(default_factory=perf_counter)
    queue_s: float = 0.0  # until its turn

    def cancel(self) -> None:
        """Generate no more. A last chunk says "cancelled", unless the answer was finished before. From any thread."""
        self.is_cancelled = True


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The properties of an open engine."""

    kind: str  # of the engine
    vocab_size: int
    max_tokens: int  # of the longest prompt and its answer together
    end_ids: tuple[int, ...]  # tokens that end a text
    precision: str  # float32, bfloat16, int8, or "auto": float32 weights, arithmetic as low as the CPU likes
    folder: str  # the model's own, or the one that it was converted to
    schemas: bool = True  # whether an answer can be restricted to a JSON schema
    parity: Mapping[str, float] | None = None  # what a lossy precision costs: the fields of parity.Parity


def fit_prompt(ids: Sequence[int], options: GenerationOptions, facts: EngineInfo) -> tuple[list[int], int]:
    """The prompt (never empty) and the most tokens that its answer gets. InputError when they do not fit."""
    options.check()
    if options.json_schema is not None:
        check_schema_support(facts)
    prompt = list(ids) or list(facts.end_ids[:1])
    if not prompt or not all(type(index) is int and 0 <= index < facts.vocab_size for index in prompt):
        raise InputError(
            "the prompt holds a token that does not exist" if prompt else "the prompt is empty",
            expected=f"tokens from 0 to {facts.vocab_size - 1}",
            fix="use the tokenizer of the model",
        )
    room = facts.max_tokens - len(prompt)
    if room < 1:
        raise prompt_too_long_error(f"{len(prompt)} tokens", facts.max_tokens - 1)
    if options.max_tokens is not None and options.max_tokens > room:
        raise InputError(
            f"the prompt has {len(prompt)} tokens and max_tokens is {options.max_tokens}",
            expected=f"at most {facts.max_tokens} together",
            fix=f"shorten the prompt, or ask for at most {room}",
        )
    return prompt, options.max_tokens or room


def check_schema_support(facts: EngineInfo) -> None:
    """InputError when the engine cannot restrict an answer to a JSON schema."""
    if not facts.schemas:
        raise InputError(
            f"this model is run by {facts.kind}, which holds no answer to a JSON schema",
            expected="a request without response_format",
            fix="leave response_format out and ask for JSON in words, or serve a model that OpenVINO runs",
        )


class GenerationEngine(ABC):
    """Generates answers. Every method may be called from any thread; callbacks run on the engine's own and must be
    quick and raise nothing. A subclass sets its attributes, then calls this constructor, which opens the model."""

    kind: str

    def __init__(self, facts: EngineInfo, limits: EngineLimits) -> None:
        self.facts, self.limits = facts, limits
        self.end_ids, self.max_tokens = facts.end_ids, facts.max_tokens
        self.words = LlmTokenizer.open(Path(facts.folder), facts.vocab_size)
        self.on_step: Callable[[], None] = lambda: None  # after the chunks of each step, on the engine's thread
        self._open()
        self._waiting: deque[Generation] = deque()
        self._running: list[Generation] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="llm", daemon=True)
        self._thread.start()

    @abstractmethod
    def _open(self) -> None:
        """Load the model; also again, after a step has failed."""

    @abstractmethod
    def _start(self, generation: Generation) -> Any:
        """Begin an answer; returns the handle of the library. May raise one of NATIVE_ERRORS."""

    @abstractmethod
    def _step(self) -> None:
        """Generate one token more for all that run. May raise one of NATIVE_ERRORS."""

    @abstractmethod
    def _read(self, generation: Generation) -> tuple[list[int], list[float], FinishReason | None]:
        """The tokens since the last call, their log probabilities where the options ask for them, and why it is
        finished, if it is."""

    @abstractmethod
    def _stop(self, handle: Any) -> None:
        """End an answer, finished or not."""

    @abstractmethod
    def _release(self) -> None:
        """Give the model's memory back."""

    def _needs_step(self) -> bool:
        """Whether a step is needed although no answer runs."""
        return False

    def submit(
        self, ids: Sequence[int], options: GenerationOptions, on_piece: Callable[[GenerationChunk], None]
    ) -> Generation:
        """Begin an answer to the prompt `ids`. `on_piece` gets its chunks in order, the last with `finish` set.

        InputError for options out of range or a prompt without room for an answer; BusyError when max_waiting others
        wait; DrainingError after close().
        """
        ids, max_tokens = fit_prompt(ids, options, self.facts)
        generation = Generation(ids, options, max_tokens, on_piece, self.words.decoder(options.stop))
        with self._changed:
            if self._closing:
                raise DrainingError("the model is being closed", expected="an open model", fix="send it again")
            if len(self._waiting) >= self.limits.max_waiting + max(self.limits.max_running - len(self._running), 0):
                raise BusyError(
                    f"{len(self._waiting)} requests wait already",
                    expected=f"at most {self.limits.max_waiting}",
                    fix="ask again later",
                )
            self._waiting.append(generation)
            self._changed.notify()
        return generation

    @property
    def is_alive(self) -> bool:
        """Whether it takes requests. False after close(), and when it failed and could not be opened again."""
        return self._thread.is_alive() and not self._closing

    def load(self) -> tuple[int, int]:
        """How many answers are being generated and how many wait."""
        return len(self._running), len(self._waiting)

    def close(self) -> None:
        """Cancel what runs and give the memory back. Returns when the thread has ended."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        """The engine's thread."""
        while self._admit():
            try:
                self._step()
            except NATIVE_ERRORS as error:
                if self._recover(error):
                    continue
                break
            for generation in self._running:
                self._advance(generation)
            self._running = [generation for generation in self._running if generation.handle is not None]
            self.on_step()
        with self._changed:
            self._closing = True
        for generation in (*self._running, *self._waiting):
            self._end(generation, GenerationChunk("", finish="cancelled"))
        self.on_step()
        with suppress(AttributeError, *NATIVE_ERRORS):
            self._step()  # frees what was stopped
        self._running = []
        self._release()
        self._waiting.clear()

    def _admit(self) -> bool:
        """Begin answers that have room; wait while there is nothing to do. False when the engine closes."""
        with self._changed:
            while not (self._closing or self._waiting or self._running or self._needs_step()):
                self._changed.wait()
            if self._closing:
                return False
            cancelled = [generation for generation in self._waiting if generation.is_cancelled]
            if cancelled:
                self._waiting = deque(generation for generation in self._waiting if not generation.is_cancelled)
            admitted: list[Generation] = []
            while self._waiting and len(self._running) + len(admitted) < self.limits.max_running:
                admitted.append(self._waiting.popleft())
        for generation in cancelled:
            self._end(generation, GenerationChunk("", finish="cancelled"))
        for generation in admitted:
            generation.queue_s = perf_counter() - generation.submitted_s
            try:
                generation.handle = self._start(generation)
            except NATIVE_ERRORS as error:
                self._end(generation, GenerationChunk("", finish="error", error=_generation_error(error)))
            else:
                self._running.append(generation)
        if cancelled or admitted:
            self.on_step()
        return True

    def _advance(self, generation: Generation) -> None:
        """Hand on what the last step wrote for one answer."""
        tokens, logprobs, finish = self._read(generation)
        text = "".join(map(generation.decoder.take, tokens))
        queue_s = generation.queue_s if tokens and not generation.num_tokens else 0.0
        generation.num_tokens += len(tokens)
        if finish is not None:
            text += generation.decoder.finish()
        if generation.decoder.stopped:
            finish = "stop"
        if finish is None and generation.is_cancelled:
            finish = "cancelled"
        if finish is None and not tokens:
            return
        chunk = GenerationChunk(
            text, tuple(tokens), tuple(logprobs) if generation.options.logprobs else (), finish, queue_s=queue_s
        )
        if finish is None:
            generation.on_piece(chunk)
        else:
            self._end(generation, chunk)

    def _end(self, generation: Generation, chunk: GenerationChunk) -> None:
        handle, generation.handle = generation.handle, None
        if handle is not None:
            self._stop(handle)
        generation.on_piece(chunk)

    def _recover(self, error: Exception) -> bool:
        """End every answer after a step that failed, and open the model again. False when that fails too."""
        running, self._running = self._running, []
        for generation in running:
            self._end(generation, GenerationChunk("", finish="error", error=_generation_error(error)))
        self.on_step()
        self._release()  # its memory first
        try:
            self._open()
        except (DeepseekError, *NATIVE_ERRORS):
            return False
        return True


def _generation_error(error: Exception) -> DeepseekError:
    reason = str(error)[-300:].strip()
    return DeepseekError(f"generation failed: {reason}", expected="an answer", fix="send the request again")
