"""An engine in a process of its own, with the same methods: a step there holds up nobody here.

    writer = LlmProcess(folder, EngineLimits(num_threads=1), cache=cache)     # converts the folder there when needed
    writer.submit(ids, options, on_piece)

The two talk by lines of JSON over a pair of sockets (messages.py).
When the process ends, the answers that it was generating end with an error, and is_alive is False.
Templates and schemas go to sandboxes, so that nothing of OpenVINO is loaded in this process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from deepseek.engines.llm.model.convert import Precision
from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.model.schemas import schema_text
from deepseek.engines.llm.model.tokenizer import LlmTokenizer
from deepseek.engines.llm.process.messages import (
    CancelCommand,
    SubmitCommand,
    WorkerSpec,
    parse_chunks,
    parse_ready,
)
from deepseek.engines.llm.process.sandbox import Sandbox
from deepseek.engines.llm.run.base import EngineInfo, GenerationChunk, check_schema_support, fit_prompt
from deepseek.errors import BusyError, DeepseekError, DrainingError

START_TIMEOUT_S = 120.0  # until the process must have opened its model
CONVERT_TIMEOUT_S = 1800.0  # the same, when it may have to be converted first
STOP_TIMEOUT_S = 10.0
MAX_KNOWN_SCHEMAS = 256  # schemas that are remembered to be good


@dataclass(eq=False, slots=True)
class RemoteGeneration:
    """One answer that the process is generating."""

    ids: Sequence[int]
    on_piece: Callable[[GenerationChunk], None]
    number: int
    process: LlmProcess

    def cancel(self) -> None:
        """Write no more; see base.Generation.cancel."""
        self.process.cancel(self.number)


class LlmProcess:
    """Generates answers. Every method may be called from any thread. `post` runs the callbacks; by default at once, on
    a thread of this object."""

    def __init__(
        self,
        folder: Path,
        limits: EngineLimits | None = None,
        *,
        cache: Path | None = None,
        precision: Precision = "fp32",
        post: Callable[[Callable[[], None]], object] = lambda work: work(),
    ) -> None:
        """Without `cache` the folder is one that convert() made."""
        self.limits = limits or EngineLimits()
        self._post = post
        self._lock = threading.Lock()
        self._generations: dict[int, RemoteGeneration] = {}
        self._good_schemas: dict[str, None] = {}
        self._number, self._alive, self._closing = 0, True, False
        self.num_prompt_tokens = self.num_written_tokens = 0  # so far
        self._socket, peer = socket.socketpair()
        spec = WorkerSpec(folder, cache, precision, self.limits)
        command = [sys.executable, "-m", "deepseek.engines.llm.process.worker", str(peer.fileno()), spec.to_json()]
        command.append(str(os.getpid()))
        self._child = subprocess.Popen(command, pass_fds=[peer.fileno()], stdin=subprocess.DEVNULL)
        peer.close()
        self._lines = self._socket.makefile("rb")
        self.facts = self._read_info(START_TIMEOUT_S if cache is None else CONVERT_TIMEOUT_S)
        self.max_tokens, self.end_ids = self.facts.max_tokens, self.facts.end_ids
        self.words = LlmTokenizer.open(Path(self.facts.folder), self.facts.vocab_size)
        self._chat, self._schema = (Sandbox(Path(self.facts.folder), kind) for kind in ("chat", "schema"))
        self._thread = threading.Thread(target=self._listen, name="llm", daemon=True)
        self._thread.start()

    @property
    def kind(self) -> str:
        return self.facts.kind

    @property
    def is_alive(self) -> bool:
        """Whether it takes requests."""
        return self._alive and not self._closing

    @property
    def pid(self) -> int:
        return self._child.pid

    def submit(
        self, ids: Sequence[int], options: GenerationOptions, on_piece: Callable[[GenerationChunk], None]
    ) -> RemoteGeneration:
        """See base.Engine.submit; the same is refused in the same words."""
        prompt, max_tokens = fit_prompt(ids, options, self.facts)
        with self._lock:
            if not self.is_alive:
                raise DrainingError("the model is being closed", expected="an open model", fix="send it again")
            if len(self._generations) >= self.limits.max_running + self.limits.max_waiting:
                raise BusyError(
                    f"{len(self._generations)} requests are written or wait already",
                    expected=f"fewer than {self.limits.max_running + self.limits.max_waiting}",
                    fix="ask again later",
                )
            self._number += 1
            generation = RemoteGeneration(prompt, on_piece, self._number, self)
            self._generations[self._number] = generation
            self.num_prompt_tokens += len(prompt)
        self._send(SubmitCommand(generation.number, prompt, replace(options, max_tokens=max_tokens)))
        return generation

    def cancel(self, number: int) -> None:
        """Write no more of an answer that is being generated."""
        if number in self._generations:
            self._send(CancelCommand(number))

    def chat(self, messages: Sequence[Mapping[str, object]]) -> list[int]:
        """The prompt of a chat: messages {"role", "content"} by the model's own template, with room for an answer."""
        return self.words.encode(self._chat.ask(list(messages)), max_tokens=self.max_tokens - 1, special=False)

    def schema(self, schema: Mapping[str, object]) -> str:
        """A schema that answers can be restricted to, as text. MalformedError for one that cannot be used."""
        check_schema_support(self.facts)
        text = schema_text(schema)
        if text not in self._good_schemas:
            self._schema.ask(text)
            with self._lock:
                self._good_schemas[text] = None
                if len(self._good_schemas) > MAX_KNOWN_SCHEMAS:
                    self._good_schemas.pop(next(iter(self._good_schemas)))
        return text

    def load(self) -> int:
        """How many answers are being generated or wait."""
        return len(self._generations)

    def close(self) -> None:
        """Cancel what runs and end the process."""
        self._closing = True
        self._chat.close()
        self._schema.close()
        with suppress(OSError):  # the process has gone before
            self._socket.shutdown(socket.SHUT_WR)
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._thread.join()
        self._lines.close()
        self._socket.close()

    def _read_info(self, limit_s: float) -> EngineInfo:
        """Wait for the engine that the process opens. DeepseekError when it opens none in time."""
        self._socket.settimeout(limit_s)
        try:
            first = self._lines.readline()
        except TimeoutError:
            first = b""
        self._socket.settimeout(None)
        try:
            return parse_ready(first)
        except DeepseekError:
            self._child.kill()
            self._child.wait()
            self._lines.close()
            self._socket.close()
            raise

    def _listen(self) -> None:
        """The thread: hand chunks to their callbacks, until the process ends."""
        try:
            for line in self._lines:
                self._post_work(partial(self._deliver, list(parse_chunks(line))))
        except (OSError, ValueError):
            pass  # cut off within a line: the process has ended
        with self._lock:
            self._alive = False
        self._post_work(self._end_all)

    def _post_work(self, work: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # an event loop that was closed takes no more work
            self._post(work)

    def _end_all(self) -> None:
        """End every answer, after the process has ended."""
        with self._lock:
            generations, self._generations = list(self._generations.values()), {}
        error = DeepseekError("the process that writes has ended", expected="an answer", fix="send the request again")
        for generation in generations:
            piece = (
                GenerationChunk("", finish="cancelled")
                if self._closing
                else GenerationChunk("", finish="error", error=error)
            )
            generation.on_piece(piece)

    def _deliver(self, chunks: Sequence[tuple[int, GenerationChunk]]) -> None:
        """Hand on what one step wrote."""
        for number, chunk in chunks:
            self.num_written_tokens += len(chunk.tokens)
            generation = self._generations.get(number)
            if generation is None:
                continue
            if chunk.finish is not None:
                with self._lock:
                    self._generations.pop(number, None)
            generation.on_piece(chunk)

    def _send(self, command: SubmitCommand | CancelCommand) -> None:
        line = command.to_json().encode() + b"\n"
        with self._lock, suppress(OSError):  # the thread that listens ends every answer then
            self._socket.sendall(line)
