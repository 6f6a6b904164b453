"""Work on what came from outside and may hang or crash its process: chat templates and JSON schemas.

    sandbox = Sandbox(folder, "chat")
    sandbox.ask([{"role": "user", "content": "Who's there?"}])          # the prompt, as text
    Sandbox(folder, "schema").ask(schema_text(schema))                  # the same text, when it can be used

The work is done by `python -m deepseek.engines.llm.process.sandboxed`, which is begun with the first question and
again after
it ended. It takes at most LIMIT_CPU_S of a processor for a question and EXTRA_MEMORY_BYTES of memory, or is ended by
the kernel; the asker is then told what was wrong with the question.
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
    """One process, which is asked one question at a time. For any thread."""

    def __init__(self, folder: Path, kind: SandboxKind, limit_cpu_s: float = LIMIT_CPU_S) -> None:
        self._folder, self._kind, self._limit_cpu_s = folder, kind, limit_cpu_s
        self._turn = threading.Lock()
        self._places = threading.Semaphore(1 + MAX_WAITING)
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._closed = False

    def ask(self, question: Any) -> str:
        """The answer to something that JSON holds. MalformedError when it takes too long or crashes; InputError as the
        work itself has it; BusyError when several wait already."""
        if not self._places.acquire(blocking=False):
            raise BusyError(
                f"{MAX_WAITING} others wait for {_MESSAGES[self._kind][0]} to be tried",
                expected="fewer at a time", fix="ask again later",
            )  # fmt: skip
        try:
            with self._turn:
                return self._ask(json.dumps(question).encode() + b"\n")
        finally:
            self._places.release()

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
        """Of the process, while there is one."""
        return None if self._child is None else self._child.pid

    def _ask(self, line: bytes) -> str:
        if self._closed:
            raise DrainingError("the model is being closed", expected="an open model", fix="send it again")
        if self._child is None:
            self._begin()
        found = self._exchange(line, ANSWER_TIMEOUT_S)
        if found is None:
            self._end()
            name, expected, fix = _MESSAGES[self._kind]
            raise MalformedError(
                f"{name} did not finish within {self._limit_cpu_s:g} s and the memory that it may take",
                expected=expected, fix=fix,
            )  # fmt: skip
        if "error" in found:
            refused = MalformedError if found["status"] == MalformedError.status else InputError
            raise refused(found["error"], expected=found["expected"], fix=found["fix"])
        return str(found["text"])

    def _begin(self) -> None:
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "deepseek.engines.llm.process.sandboxed", str(theirs.fileno()), self._kind]
        command += [str(self._folder), str(self._limit_cpu_s), str(os.getpid())]
        self._child = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        found = self._exchange(b"", START_TIMEOUT_S)
        if found is None or "error" in found:
            self._end()
            reason = "it ended, or did not answer" if found is None else found["error"]
            raise DeepseekError(
                f"{_MESSAGES[self._kind][0]} cannot be tried: {reason}", expected="a sandbox", fix="see the log"
            )

    def _exchange(self, line: bytes, limit_s: float) -> dict[str, Any] | None:
        """Say one line and hear one. None when the process ended or took too long."""
        peer = self._socket
        if peer is None:
            return None
        peer.settimeout(limit_s)
        try:
            peer.sendall(line)
            with peer.makefile("rb") as lines:
                heard = lines.readline(MAX_ANSWER_BYTES)
        except OSError:  # a timeout is one
            return None
        if not heard.endswith(b"\n"):
            return None
        found: dict[str, Any] = json.loads(heard)
        return found

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        if self._socket is not None:
            self._socket.close()
        self._child = self._socket = None
