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
from deepseek.engines.llm.process.messages import SandboxReply
from deepseek.errors import DeepseekError, InputError

EXTRA_MEMORY_BYTES = 1 << 30  # of memory, beyond what is there when the first question comes
MAX_TEXT_CHARACTERS = 4 << 20  # characters of a prompt; no model here reads as many tokens


def main(arguments: list[str]) -> None:
    """Open what the questions need, send that it is ready, and answer them until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the other side decides
    descriptor, kind, folder, limit_cpu_s, parent_pid = arguments
    end_with_parent(int(parent_pid), by_kernel=False)
    with socket.socket(fileno=int(descriptor)) as peer, peer.makefile("rb") as lines:
        try:
            answer: Callable[[Any], str] = (
                open_template(Path(folder)).render if kind == "chat" else SchemaCompiler(Path(folder)).compile
            )
        except DeepseekError as error:
            send_reply(peer, SandboxReply.from_error(error))
            return
        limit_memory()
        send_reply(peer, SandboxReply())
        for line in lines:
            question = json.loads(line)
            signal.setitimer(signal.ITIMER_PROF, float(limit_cpu_s))
            reply = answer_question(answer, question)
            signal.setitimer(signal.ITIMER_PROF, 0)
            send_reply(peer, reply)


def answer_question(answer: Callable[[Any], str], question: Any) -> SandboxReply:
    """The reply to a question: its answer, or the error that answering it raised."""
    try:
        text = answer(question)
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InputError(
                f"the prompt has {len(text)} characters",
                expected=f"at most {MAX_TEXT_CHARACTERS}",
                fix="send shorter messages",
            )
    except MemoryError:
        sys.exit(1)  # as when the kernel ends this process; the other side says why
    except DeepseekError as error:
        return SandboxReply.from_error(error)
    return SandboxReply(text)


def send_reply(peer: socket.socket, reply: SandboxReply) -> None:
    peer.sendall(reply.to_json().encode() + b"\n")


def limit_memory() -> None:
    """Allow no more than EXTRA_MEMORY_BYTES from now on, where the system says how much is in use."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        limit = int(statm.read_text().split()[0]) * resource.getpagesize() + EXTRA_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(sys.argv[1:])
