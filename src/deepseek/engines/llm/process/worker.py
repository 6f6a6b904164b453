"""The process behind process.LlmProcess: python -m deepseek.engines.llm.process.worker SOCKET SPEC PID

SPEC is a WorkerSpec as JSON. The process ends when the other side of the socket closes, and so with the process PID
that has started it, however that ends.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import partial

from deepseek.engines.lifetime import end_with_parent
from deepseek.engines.llm.process.messages import (
    CancelCommand,
    SubmitCommand,
    WorkerSpec,
    encode_chunks,
    encode_ready,
    parse_command,
)
from deepseek.engines.llm.run.base import Generation, GenerationChunk, GenerationEngine
from deepseek.engines.llm.run.choose import open_engine
from deepseek.errors import DeepseekError


class Worker:
    """One engine, and the answers that it generates for the other side, by number."""

    def __init__(self, engine: GenerationEngine, peer: socket.socket) -> None:
        self.engine, self.peer = engine, peer
        self.generations: dict[int, Generation] = {}
        self.pending: list[tuple[int, GenerationChunk]] = []  # that the other side was not sent yet
        self.lock = threading.RLock()  # two threads write lines, and an answer may end before submit() returns
        engine.on_step = self.flush

    def handle(self, command: SubmitCommand | CancelCommand) -> None:
        """Do what one command asks for."""
        number = command.number
        with self.lock:
            if isinstance(command, CancelCommand):
                if (generation := self.generations.get(number)) is not None:
                    generation.cancel()
                return
            try:
                generation = self.engine.submit(command.ids, command.options, partial(self.add, number))
                self.generations[number] = generation
            except DeepseekError as error:
                self.add(number, GenerationChunk("", finish="error", error=error))
                self.flush()

    def add(self, number: int, chunk: GenerationChunk) -> None:
        """Keep one chunk for the other side, until the step is over. Runs on the engine's thread mostly."""
        with self.lock:
            self.pending.append((number, chunk))
            if chunk.finish is not None:
                self.generations.pop(number, None)

    def flush(self) -> None:
        """Send what was kept, as one line: eight lines a step cost both sides more than all that they say."""
        with self.lock:
            pending, self.pending = self.pending, []
            if pending:
                send_line(self.peer, encode_chunks(pending))


def send_line(peer: socket.socket, text: str) -> None:
    """Send one line. Nothing happens when the other side has gone: the loop that reads will see it."""
    with suppress(OSError):
        peer.sendall(text.encode() + b"\n")


def main(arguments: list[str]) -> None:
    """Open the model, send what was opened, and generate answers until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the other side decides
    descriptor, spec_json, parent_pid = arguments
    end_with_parent(int(parent_pid), by_kernel=False)
    spec = WorkerSpec.from_json(spec_json)
    with socket.socket(fileno=int(descriptor)) as peer:
        try:
            engine = open_engine(spec.folder, spec.cache, spec.precision, spec.limits)
        except DeepseekError as error:
            send_line(peer, encode_ready(error))
            return
        worker = Worker(engine, peer)
        send_line(peer, encode_ready(engine.facts))
        with peer.makefile("rb") as lines:
            for line in lines:
                worker.handle(parse_command(line))
        engine.close()


if __name__ == "__main__":
    main(sys.argv[1:])
