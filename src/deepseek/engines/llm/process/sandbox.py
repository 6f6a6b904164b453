"""Runs what came from outside and may hang or crash its process: chat templates and JSON schemas.

    sandbox = Sandbox(folder, "chat")
    sandbox.ask([{"role": "user", "content": "Who's there?"}])          # the prompt, as text
    Sandbox(folder, "schema").ask(schema_text(schema))                  # the same text, when it can be used

The work is done by `python -m deepseek.engines.llm.process.sandboxed`, which is started for the first question and
again after it ended. It takes at most LIMIT_CPU_S of a processor for a question and EXTRA_MEMORY_BYTES of memory, or is
ended by the kernel; ask() then raises what was wrong with the question.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Literal

from deepseek.engines.llm.process.messages import SandboxReply
from deepseek.errors import BusyError, DeepseekError, DrainingError, InputError, MalformedError

SandboxKind = Literal["chat", "schema"]
LIMIT_CPU_S = 3.0  # for one question: so long may it hold up the engine, too, which compiles a schema once more
ANSWER_TIMEOUT_S = 30.0  # by the clock, on a busy machine
START_TIMEOUT_S = 60.0
MAX_WAITING = 3  # who waits for others' questions; further ones are refused
MAX_ANSWER_BYTES = 64 << 20
_MESSAGES = {
    "chat": ("the chat template", "messages that the template puts into words", "send fewer or shorter messages"),
    "schema": ("the JSON schema", "a schema that is compiled in that time", "use a smaller schema"),
}


class Sandbox:
    """A process that answers one question at a time. Every method may be called from any thread."""

    def __init__(self, folder: Path, kind: SandboxKind, limit_cpu_s: float = LIMIT_CPU_S) -> None:
        self._folder, self._kind, self._limit_cpu_s = folder, kind, limit_cpu_s
        self._turn = threading.Lock()
        self._slots = threading.Semaphore(1 + MAX_WAITING)
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._closed = False

    def ask(self, question: Any) -> str:
        """The answer to a question that JSON can hold. MalformedError when it takes too long or crashes; InputError as
        the work raises it; BusyError when several wait already."""
        if not self._slots.acquire(blocking=False):
            raise BusyError(
                f"{MAX_WAITING} others wait for {_MESSAGES[self._kind][0]} to be tried",
                expected="fewer at a time", fix="ask again later",
            )  # fmt: skip
        try:
            with self._turn:
                return self._ask(json.dumps(question).encode() + b"\n")
        finally:
            self._slots.release()

    def close(self) -> None:
        """End the process; a question that it has is given up."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()
        with self._turn:
            self._end()

    @property
    def pid(self) -> int | None:
        """The id of the process, while there is one."""
        return None if self._child is None else self._child.pid

    def _ask(self, line: bytes) -> str:
        if self._closed:
            raise DrainingError("the model is being closed", expected="an open model", fix="send it again")
        if self._child is None:
            self._start()
        reply = self._exchange(line, ANSWER_TIMEOUT_S)
        if reply is None:
            self._end()
            name, expected, fix = _MESSAGES[self._kind]
            raise MalformedError(
                f"{name} did not finish within {self._limit_cpu_s:g} s and the memory that it may take",
                expected=expected, fix=fix,
            )  # fmt: skip
        if reply.error:
            error_class = MalformedError if reply.status == MalformedError.status else InputError
            raise error_class(reply.error, expected=reply.expected, fix=reply.fix)
        return reply.text

    def _start(self) -> None:
        self._socket, peer = socket.socketpair()
        command = [sys.executable, "-m", "deepseek.engines.llm.process.sandboxed", str(peer.fileno()), self._kind]
        command += [str(self._folder), str(self._limit_cpu_s), str(os.getpid())]
        self._child = subprocess.Popen(command, pass_fds=[peer.fileno()], stdin=subprocess.DEVNULL)
        peer.close()
        reply = self._exchange(b"", START_TIMEOUT_S)
        if reply is None or reply.error:
            self._end()
            reason = "it ended, or did not answer" if reply is None else reply.error
            raise DeepseekError(
                f"{_MESSAGES[self._kind][0]} cannot be tried: {reason}", expected="a sandbox", fix="see the log"
            )

    def _exchange(self, line: bytes, limit_s: float) -> SandboxReply | None:
        """Send one line and read one. None when the process ended or took too long."""
        if self._socket is None:
            return None
        self._socket.settimeout(limit_s)
        try:
            self._socket.sendall(line)
            with self._socket.makefile("rb") as lines:
                reply = lines.readline(MAX_ANSWER_BYTES)
        except OSError:  # a timeout is one
            return None
        return SandboxReply.from_json(reply) if reply.endswith(b"\n") else None

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        if self._socket is not None:
            self._socket.close()
        self._child = self._socket = None
