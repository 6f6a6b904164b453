"""Many answers written side by side: OpenVINO GenAI with continuous batching, paged keys and values, shared prefixes.

    engine = LlmEngine(folder)                                 # a folder that convert() made
    generation = engine.submit(engine.words.encode("To be", max_tokens=engine.max_tokens), options, on_piece)
    generation.cancel()
    engine.close()

One thread owns the pipeline: it takes new requests, makes a step for all that run (each gets one token, or a piece of
its prompt is read), and hands pieces of text to the callbacks. A request waits while max_running others are written;
when keys and values have no room left, the library sets the youngest back and reads its text again later. What could
never fit is refused on submit.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepseek.engines.llm.chat import ChatTemplate
from deepseek.engines.llm.convert import Precision, cached, read_precision
from deepseek.engines.llm.folder import DecoderConfig, ModelFolder
from deepseek.engines.llm.graph import cache_bytes
from deepseek.engines.llm.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.plugin import properties
from deepseek.engines.llm.words import Words, Writer, too_long
from deepseek.engines.openvino import signal_stack
from deepseek.errors import BusyError, DeepseekError, DrainingError, InputError
from deepseek.extras import need

BLOCK_TOKENS = 32  # of a block of the CPU plugin's paged attention
Finish = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step added to an answer."""

    text: str
    tokens: tuple[int, ...] = ()  # their text may come with a later piece
    logprobs: tuple[float, ...] = ()  # of each token, when asked for
    finish: Finish | None = None  # set on the last piece
    error: DeepseekError | None = None  # with finish "error"


@dataclass(eq=False, slots=True)
class Generation:
    """One answer that is being written."""

    ids: Sequence[int]
    options: GenerationOptions
    max_tokens: int
    on_piece: Callable[[Piece], None]
    writer: Writer
    handle: Any = None  # of the library, once it runs
    is_cancelled: bool = False
    num_tokens: int = field(default=0)

    def cancel(self) -> None:
        """Write no more. A last piece says "cancelled", unless the answer was finished before. From any thread."""
        self.is_cancelled = True


def num_blocks(config: DecoderConfig, limits: EngineLimits) -> int:
    """Blocks of BLOCK_TOKENS tokens that the cache holds."""
    return max(limits.cache_bytes // cache_bytes(config, BLOCK_TOKENS, 4 if limits.exact else 2), 2)


def max_tokens_of(config: DecoderConfig, limits: EngineLimits) -> int:
    """Tokens of the longest prompt and its answer together: by positions, and by what the cache holds of one."""
    return min(config.max_positions, num_blocks(config, limits) * BLOCK_TOKENS)


def fit(
    ids: Sequence[int], options: GenerationOptions, config: DecoderConfig, end_ids: Sequence[int], max_tokens: int
) -> tuple[list[int], int]:
    """The prompt (never empty) and the most tokens that its answer gets. InputError when they do not fit."""
    options.check()
    found = list(ids) or list(end_ids[:1])
    if not found or not all(type(index) is int and 0 <= index < config.vocab_size for index in found):
        raise InputError(
            "the prompt holds a token that does not exist" if found else "the prompt is empty",
            expected=f"tokens from 0 to {config.vocab_size - 1}",
            fix="use the tokenizer of the model",
        )
    room = max_tokens - len(found)
    if room < 1:
        raise too_long(f"{len(found)} tokens", max_tokens - 1)
    if options.max_tokens is not None and options.max_tokens > room:
        raise InputError(
            f"the prompt has {len(found)} tokens and max_tokens is {options.max_tokens}",
            expected=f"at most {max_tokens} together",
            fix=f"shorten the prompt, or ask for at most {room}",
        )
    return found, options.max_tokens or room


class LlmEngine:
    """Writes answers. Every method may be called from any thread; callbacks run on the engine's own and must be quick
    and raise nothing.

    GenAI keeps Python's lock during a step, so other threads of the process stand still for that long (a decode step
    of GPT-2 17 ms, a prompt of 256 tokens .2 s): beside an HTTP front end take process.LlmProcess.
    """

    kind = "openvino-genai"

    def __init__(self, folder: Path, limits: EngineLimits | None = None) -> None:
        self.limits = limits or EngineLimits()
        source = ModelFolder.read(folder, with_weights=False)
        self.config, self.end_ids = source.config, source.end_ids
        self.precision = read_precision(folder)
        self.words = Words.open(folder, self.config.vocab_size)
        self._num_blocks = num_blocks(self.config, self.limits)
        self.max_tokens = max_tokens_of(self.config, self.limits)  # of the longest prompt and its answer together
        self._folder = folder
        self._genai = need("openvino_genai", extra="llm")
        self._tensor = need("openvino", extra="llm").Tensor
        self._template = ChatTemplate(folder)
        self._pipeline = self._open()
        self._waiting: deque[Generation] = deque()
        self._running: list[Generation] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="llm", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls, folder: Path, cache: Path, *, precision: Precision = "fp32", limits: EngineLimits | None = None
    ) -> LlmEngine:
        """An engine for a Hugging Face folder, converted into `cache` when that was not done before."""
        return cls(cached(folder, cache, precision=precision), limits)

    def submit(self, ids: Sequence[int], options: GenerationOptions, on_piece: Callable[[Piece], None]) -> Generation:
        """Begin an answer to the prompt `ids`. `on_piece` gets its pieces in order, the last with `finish` set.

        InputError for options out of range or a prompt without room for an answer; BusyError when max_waiting others
        wait; DrainingError after close().
        """
        ids, max_tokens = fit(ids, options, self.config, self.end_ids, self.max_tokens)
        writer = self.words.writer(options.stop)
        generation = Generation(ids, options, max_tokens, on_piece, writer)
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

    def chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """The prompt of a chat: messages {"role", "content"} by the model's own template, with room for an answer."""
        text = self._template.render(messages)
        return self.words.encode(text, max_tokens=self.max_tokens - 1, special=False)

    @property
    def is_alive(self) -> bool:
        """Whether it takes requests. False after close(), and when it failed and could not begin anew."""
        return self._thread.is_alive() and not self._closing

    def load(self) -> tuple[int, int]:
        """How many answers are being written and how many wait."""
        return len(self._running), len(self._waiting)

    def close(self) -> None:
        """Cancel what runs and give the memory back. Returns when the thread has ended."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _open(self) -> Any:
        scheduler = self._genai.SchedulerConfig()
        scheduler.num_kv_blocks = self._num_blocks
        scheduler.max_num_seqs = self.limits.max_running
        scheduler.max_num_batched_tokens = self.limits.max_batch_tokens
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = True
        told = properties(self.config, self.precision, self.limits)
        with signal_stack():
            return self._genai.ContinuousBatchingPipeline(
                str(self._folder), self._template.tokenizer, scheduler, "CPU", **told
            )

    def _work(self) -> None:
        """The life of the thread."""
        while self._admit():
            try:
                self._pipeline.step()
            except _RAISED as error:
                if self._recover(error):
                    continue
                break
            for generation in self._running:
                self._advance(generation)
            self._running = [generation for generation in self._running if generation.handle is not None]
        with self._changed:
            self._closing = True
        for generation in (*self._running, *self._waiting):
            self._end(generation, Piece("", finish="cancelled"))
        with suppress(AttributeError, *_RAISED):
            self._pipeline.step()  # lets go of what was stopped
        self._running, self._pipeline = [], None
        self._waiting.clear()

    def _admit(self) -> bool:
        """Begin what may begin; wait while there is nothing to do. False when the engine closes."""
        with self._changed:
            while not (self._closing or self._waiting or self._running or self._pipeline.has_non_finished_requests()):
                self._changed.wait()
            if self._closing:
                return False
            gone = [generation for generation in self._waiting if generation.is_cancelled]
            if gone:
                self._waiting = deque(generation for generation in self._waiting if not generation.is_cancelled)
            begun: list[Generation] = []
            while self._waiting and len(self._running) + len(begun) < self.limits.max_running:
                begun.append(self._waiting.popleft())
        for generation in gone:
            self._end(generation, Piece("", finish="cancelled"))
        for generation in begun:
            prompt = self._tensor(np.array([generation.ids], np.int64))
            try:
                generation.handle = self._pipeline.add_request(id(generation), prompt, self._settings(generation))
            except _RAISED as error:
                self._end(generation, Piece("", finish="error", error=_failed(error)))
            else:
                self._running.append(generation)
        return True

    def _settings(self, generation: Generation) -> Any:
        options = generation.options
        config = self._genai.GenerationConfig()
        config.max_new_tokens = generation.max_tokens
        config.do_sample = not options.greedy
        if not options.greedy:
            config.temperature = options.temperature
            config.top_p = options.top_p
            config.top_k = min(options.top_k or self.config.vocab_size, self.config.vocab_size)
            config.rng_seed = (secrets.randbits(32) if options.seed is None else options.seed) % (1 << 32)
        config.frequency_penalty = options.frequency_penalty
        config.presence_penalty = options.presence_penalty
        config.logprobs = int(options.logprobs)
        config.ignore_eos = options.ignore_end or not self.end_ids
        if not config.ignore_eos:
            config.stop_token_ids = set(self.end_ids)
            config.set_eos_token_id(self.end_ids[0])
        if options.json_schema is not None:
            config.structured_output_config = self._genai.StructuredOutputConfig(json_schema=options.json_schema)
        return config

    def _advance(self, generation: Generation) -> None:
        """Hand on what the last step wrote for one answer."""
        text, tokens, logprobs, finish = "", [], [], None
        while generation.handle.can_read():
            for output in generation.handle.read().values():
                tokens += output.generated_ids
                logprobs += output.generated_log_probs
                finish = _FINISH.get(output.finish_reason.name, finish)
        for token in tokens:
            text += generation.writer.take(token)
        generation.num_tokens += len(tokens)
        if finish is not None:
            text += generation.writer.finish()
        if generation.writer.stopped:
            finish = "stop"
        if finish is None and generation.is_cancelled:
            finish = "cancelled"
        if finish is None and generation.handle.get_status().name == "IGNORED":  # no room in the cache, even alone
            finish = "length"
        if finish is None and not tokens:
            return
        kept = tuple(logprobs) if generation.options.logprobs else ()
        piece = Piece(text, tuple(tokens), kept, finish)
        if finish is None:
            generation.on_piece(piece)
        else:
            self._end(generation, piece)

    def _end(self, generation: Generation, piece: Piece) -> None:
        handle, generation.handle = generation.handle, None
        if handle is not None:
            handle.stop()  # nothing to stop when the library has finished it
        generation.on_piece(piece)

    def _recover(self, error: Exception) -> bool:
        """A step failed: nothing in the batch can go on. Say so to each, and begin anew; False when that fails too."""
        running, self._running = self._running, []
        for generation in running:
            self._end(generation, Piece("", finish="error", error=_failed(error)))
        self._pipeline = None  # its memory first
        try:
            self._pipeline = self._open()
        except _RAISED:
            return False
        return True


def _failed(error: Exception) -> DeepseekError:
    reason = str(error)[-300:].strip()
    return DeepseekError(f"generation failed: {reason}", expected="an answer", fix="send the request again")


#: What the library's C++ exceptions become.
_RAISED = (RuntimeError, ValueError, IndexError, MemoryError)
_FINISH: dict[str, Finish] = {"STOP": "stop", "LENGTH": "length"}
