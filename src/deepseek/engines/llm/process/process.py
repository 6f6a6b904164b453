"""An engine in a process of its own, with the same methods: a step there holds up nobody here.

    writer = LlmProcess(folder, EngineLimits(num_threads=1), cache=cache)     # converts the folder there when needed
    writer.submit(ids, options, on_piece)

The two talk by lines of JSON over a pair of sockets: prompts and cancellations go, what a step wrote comes as one line.
A process that ends ends the answers that it was writing, each with an error that says so; is_alive is then False.
Templates and schemas go to sandboxes, so that nothing of OpenVINO is loaded in this process.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deepseek.engines.llm.model.convert import Precision
from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.model.schemas import schema_text
from deepseek.engines.llm.model.tokenizer import LlmTokenizer
from deepseek.engines.llm.process.sandbox import Sandbox
from deepseek.engines.llm.run.base import EngineInfo, GenerationChunk, check_schema_support, fit_prompt
from deepseek.errors import BusyError, DeepseekError, DrainingError

START_TIMEOUT_S = 120.0  # until the process must have opened its model
CONVERT_TIMEOUT_S = 1800.0  # the same, when it may have to be converted first
STOP_TIMEOUT_S = 10.0
MAX_KNOWN_SCHEMAS = 256  # schemas that are remembered to be good


@dataclass(eq=False, slots=True)
class RemoteGeneration:
    """One answer that is being written elsewhere."""

    ids: Sequence[int]
    on_piece: Callable[[GenerationChunk], None]
    number: int
    process: LlmProcess

    def cancel(self) -> None:
        """Write no more; see base.Generation.cancel."""
        self.process._cancel(self.number)


class LlmProcess:
    """A writer of answers. Every method may be called from any thread. Callbacks are called by what `post` does with
    the work that it is given: by itself it does it at once, on a thread of this object."""

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
        self._open_answers: dict[int, RemoteGeneration] = {}
        self._known: dict[str, None] = {}
        self._number, self._alive, self._closing = 0, True, False
        self._socket, theirs = socket.socketpair()
        what = {
            "folder": str(folder), "cache": cache and str(cache), "precision": precision, "limits": asdict(self.limits),
        }  # fmt: skip
        command = [sys.executable, "-m", "deepseek.engines.llm.process.worker", str(theirs.fileno()), json.dumps(what)]
        command.append(str(os.getpid()))
        self._child = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._lines = self._socket.makefile("rb")
        self.facts = self._greet(START_TIMEOUT_S if cache is None else CONVERT_TIMEOUT_S)
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
        found, max_tokens = fit_prompt(ids, options, self.facts)
        with self._lock:
            if not self.is_alive:
                raise DrainingError("the model is being closed", expected="an open model", fix="send it again")
            if len(self._open_answers) >= self.limits.max_running + self.limits.max_waiting:
                raise BusyError(
                    f"{len(self._open_answers)} requests are written or wait already",
                    expected=f"fewer than {self.limits.max_running + self.limits.max_waiting}",
                    fix="ask again later",
                )
            self._number += 1
            generation = RemoteGeneration(found, on_piece, self._number, self)
            self._open_answers[self._number] = generation
        told = asdict(options) | {"max_tokens": max_tokens}
        self._send({"submit": generation.number, "ids": found, "options": told})
        return generation

    def chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """The prompt of a chat: messages {"role", "content"} by the model's own template, with room for an answer."""
        return self.words.encode(self._chat.ask(list(messages)), max_tokens=self.max_tokens - 1, special=False)

    def schema(self, schema: Mapping[str, Any]) -> str:
        """A schema that answers can be held to, as text. MalformedError for one that cannot be used."""
        check_schema_support(self.facts)
        text = schema_text(schema)
        if text not in self._known:
            self._schema.ask(text)
            with self._lock:
                self._known[text] = None
                if len(self._known) > MAX_KNOWN_SCHEMAS:
                    self._known.pop(next(iter(self._known)))
        return text

    def load(self) -> int:
        """How many answers are being written or wait."""
        return len(self._open_answers)

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

    def _greet(self, limit_s: float) -> EngineInfo:
        """Wait for the process to say what it has opened."""
        self._socket.settimeout(limit_s)
        try:
            first = self._lines.readline()
        except TimeoutError:
            first = b""
        self._socket.settimeout(None)
        said: dict[str, Any] = json.loads(first) if first else {"error": "the process ended or did not answer"}
        if "error" in said:
            self._child.kill()
            self._child.wait()
            self._lines.close()
            self._socket.close()
            raise DeepseekError(f"the model cannot be opened: {said['error']}", expected="a model", fix="see the log")
        return EngineInfo(**(said["ready"] | {"end_ids": tuple(said["ready"]["end_ids"])}))

    def _listen(self) -> None:
        """The life of the thread: pieces to their callbacks, until the process ends."""
        try:
            for line in self._lines:
                self._tell(partial(self._deliver, json.loads(line)))
        except (OSError, ValueError):
            pass  # cut off within a line: the process has ended
        with self._lock:
            self._alive = False
        self._tell(self._part)

    def _tell(self, work: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # an event loop that was closed hears nothing more
            self._post(work)

    def _part(self) -> None:
        """The process has ended: say so to who waits for it."""
        with self._lock:
            left, self._open_answers = list(self._open_answers.values()), {}
        gone = DeepseekError("the process that writes has ended", expected="an answer", fix="send the request again")
        for generation in left:
            piece = (
                GenerationChunk("", finish="cancelled")
                if self._closing
                else GenerationChunk("", finish="error", error=gone)
            )
            generation.on_piece(piece)

    def _deliver(self, pieces: list[list[Any]]) -> None:
        """Hand on what one step wrote."""
        for number, text, tokens, logprobs, finish, reason in pieces:
            generation = self._open_answers.get(number)
            if generation is None:
                continue
            error = DeepseekError(reason, expected="an answer", fix="send the request again") if reason else None
            if finish is not None:
                with self._lock:
                    self._open_answers.pop(number, None)
            generation.on_piece(GenerationChunk(text, tuple(tokens), tuple(logprobs), finish, error))

    def _cancel(self, number: int) -> None:
        if number in self._open_answers:
            self._send({"cancel": number})

    def _send(self, what: dict[str, Any]) -> None:
        line = json.dumps(what).encode() + b"\n"
        with self._lock, suppress(OSError):  # the thread that listens tells everybody
            self._socket.sendall(line)
