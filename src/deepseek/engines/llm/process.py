"""LlmEngine in a process of its own, with the same methods: a step there holds up nobody here.

    writer = LlmProcess(folder, EngineLimits(num_threads=1))
    writer.submit(ids, options, on_piece)

The two talk by lines of JSON over a pair of sockets: prompts and cancellations go, pieces come. A process that ends
ends the answers that it was writing, each with an error that says so; is_alive is then False.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepseek.engines.llm.chat import ChatTemplate
from deepseek.engines.llm.engine import Piece, fit, max_tokens_of
from deepseek.engines.llm.folder import ModelFolder
from deepseek.engines.llm.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.words import Words
from deepseek.errors import BusyError, DeepseekError, DrainingError

START_S = 120.0  # until the process must have opened its model
STOP_S = 10.0


@dataclass(eq=False, slots=True)
class RemoteGeneration:
    """One answer that is being written elsewhere."""

    ids: Sequence[int]
    on_piece: Callable[[Piece], None]
    number: int
    process: LlmProcess

    def cancel(self) -> None:
        """Write no more; see engine.Generation.cancel."""
        self.process._send({"cancel": self.number})


class LlmProcess:
    """A writer of answers. Every method may be called from any thread; callbacks run on a thread of this object."""

    kind = "openvino-genai"

    def __init__(self, folder: Path, limits: EngineLimits | None = None) -> None:
        self.limits = limits or EngineLimits()
        source = ModelFolder.read(folder, with_weights=False)
        self.config, self.end_ids = source.config, source.end_ids
        self.words = Words.open(folder, self.config.vocab_size)
        self.max_tokens = max_tokens_of(self.config, self.limits)
        self._template = ChatTemplate(folder)
        self._lock = threading.Lock()
        self._open_answers: dict[int, RemoteGeneration] = {}
        self._number, self._alive, self._closing = 0, True, False
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "deepseek.engines.llm.worker", str(theirs.fileno()), str(folder)]
        self._child = subprocess.Popen(
            [*command, json.dumps(asdict(self.limits))], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        self._lines = self._socket.makefile("rb")
        self._greet()
        self._thread = threading.Thread(target=self._listen, name="llm", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it takes requests."""
        return self._alive and not self._closing

    @property
    def pid(self) -> int:
        return self._child.pid

    def submit(
        self, ids: Sequence[int], options: GenerationOptions, on_piece: Callable[[Piece], None]
    ) -> RemoteGeneration:
        """See LlmEngine.submit; the same is refused in the same words."""
        found, max_tokens = fit(ids, options, self.config, self.end_ids, self.max_tokens)
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
        """See LlmEngine.chat."""
        return self.words.encode(self._template.render(messages), max_tokens=self.max_tokens - 1, special=False)

    def load(self) -> int:
        """How many answers are being written or wait."""
        return len(self._open_answers)

    def close(self) -> None:
        """Cancel what runs and end the process."""
        self._closing = True
        self._shut()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._thread.join()
        self._lines.close()
        self._socket.close()

    def _shut(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the process has gone before

    def _greet(self) -> None:
        """Wait for the process to say that its model is open."""
        self._socket.settimeout(START_S)
        try:
            first = self._lines.readline()
        except TimeoutError:
            first = b""
        self._socket.settimeout(None)
        said = json.loads(first) if first else {"error": "the process ended or did not answer"}
        if "error" in said:
            self._child.kill()
            self._child.wait()
            self._lines.close()
            self._socket.close()
            raise DeepseekError(f"the model cannot be opened: {said['error']}", expected="a model", fix="see the log")

    def _listen(self) -> None:
        """The life of the thread: pieces to their callbacks, until the process ends."""
        try:
            for line in self._lines:
                self._deliver(json.loads(line))
        except (OSError, ValueError):
            pass  # cut off within a line: the process has ended
        with self._lock:
            self._alive = False
            left, self._open_answers = list(self._open_answers.values()), {}
        gone = DeepseekError("the process that writes has ended", expected="an answer", fix="send the request again")
        for generation in left:
            piece = Piece("", finish="cancelled") if self._closing else Piece("", finish="error", error=gone)
            generation.on_piece(piece)

    def _deliver(self, said: dict[str, Any]) -> None:
        number = said.pop("number")
        generation = self._open_answers.get(number)
        if generation is None:
            return
        error = said["error"] and DeepseekError(said["error"], expected="an answer", fix="send the request again")
        piece = Piece(said["text"], tuple(said["tokens"]), tuple(said["logprobs"]), said["finish"], error or None)
        if piece.finish is not None:
            with self._lock:
                self._open_answers.pop(number, None)
        generation.on_piece(piece)

    def _send(self, what: dict[str, Any]) -> None:
        line = json.dumps(what).encode() + b"\n"
        with self._lock:
            try:
                self._socket.sendall(line)
            except OSError:
                return  # the thread that listens tells everybody
