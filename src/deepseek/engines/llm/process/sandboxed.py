"""The process behind sandbox.Sandbox: python -m deepseek.engines.llm.process.sandboxed SOCKET KIND FOLDER SECONDS PID

The kernel ends it when a question takes more than SECONDS of a processor: a timer whose signal has no handler needs
no turn of Python's, which native code may never give. It ends with the other side of its socket, too, and with the
process PID that has started it.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepseek.engines.lifetime import end_with_parent
from deepseek.engines.llm.model.chat import open_template
from deepseek.engines.llm.model.schemas import SchemaCompiler
from deepseek.errors import DeepseekError, InputError

EXTRA_MEMORY_BYTES = 1 << 30  # of memory, beyond what is there when the first question comes
MAX_TEXT_CHARACTERS = 4 << 20  # characters of a prompt; no model here reads as many tokens


def main(arguments: list[str]) -> None:
    """Open what the questions need, say so, and answer them until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the other side decides
    descriptor, kind, folder, limit_cpu_s, parent_pid = arguments
    end_with_parent(int(parent_pid), by_kernel=False)
    with socket.socket(fileno=int(descriptor)) as peer, peer.makefile("rb") as lines:
        try:
            answer: Callable[[Any], str] = (
                open_template(Path(folder)).render if kind == "chat" else SchemaCompiler(Path(folder)).compile
            )
        except DeepseekError as error:
            send_line(peer, error_reply(error))
            return
        limit_memory()
        send_line(peer, {"ready": True})
        for line in lines:
            question = json.loads(line)
            signal.setitimer(signal.ITIMER_PROF, float(limit_cpu_s))
            found = answer_question(answer, question)
            signal.setitimer(signal.ITIMER_PROF, 0)
            send_line(peer, found)


def answer_question(answer: Callable[[Any], str], question: Any) -> dict[str, Any]:
    """What the other side hears."""
    try:
        text = answer(question)
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InputError(
                f"the prompt has {len(text)} characters",
                expected=f"at most {MAX_TEXT_CHARACTERS}",
                fix="send shorter messages",
            )
    except MemoryError:
        sys.exit(1)  # as when the kernel ends this process; the other side finds the words
    except DeepseekError as error:
        return error_reply(error)
    return {"text": text}


def error_reply(error: DeepseekError) -> dict[str, Any]:
    return {"error": error.message, "expected": error.expected, "fix": error.fix, "status": error.status}


def send_line(peer: socket.socket, what: dict[str, Any]) -> None:
    peer.sendall(json.dumps(what).encode() + b"\n")


def limit_memory() -> None:
    """No more than EXTRA_MEMORY_BYTES from now on, where the system says how much there is."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        limit = int(statm.read_text().split()[0]) * resource.getpagesize() + EXTRA_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(sys.argv[1:])
