"""The process behind process.LlmProcess: python -m deepseek.engines.llm.process.worker SOCKET WHAT

WHAT is {"folder", "cache", "precision", "limits"}. It ends when the other side of the socket closes, and so with the
process that began it, however that ends.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from deepseek.engines.lifetime import end_with_parent
from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.run.base import Generation, GenerationChunk, GenerationEngine
from deepseek.engines.llm.run.choose import open_engine
from deepseek.errors import DeepseekError


class Worker:
    """One engine, and the answers that it writes for the other side, by number."""

    def __init__(self, engine: GenerationEngine, peer: socket.socket) -> None:
        self.engine, self.peer = engine, peer
        self.generations: dict[int, Generation] = {}
        self.told: list[list[Any]] = []  # pieces that the other side has not heard yet
        self.lock = threading.RLock()  # two threads write lines, and an answer may end before submit() returns
        engine.on_step = self.flush

    def hear(self, said: dict[str, Any]) -> None:
        """Do what one line asks."""
        with self.lock:
            if "cancel" in said:
                generation = self.generations.get(said["cancel"])
                if generation is not None:
                    generation.cancel()
                return
            number = said["submit"]
            options = GenerationOptions(**(said["options"] | {"stop": tuple(said["options"]["stop"])}))
            try:
                self.generations[number] = self.engine.submit(said["ids"], options, partial(self.tell, number))
            except DeepseekError as error:
                self.tell(number, GenerationChunk("", finish="error", error=error))
                self.flush()

    def tell(self, number: int, piece: GenerationChunk) -> None:
        """Keep one piece for the other side, until the step is over. Runs on the engine's thread mostly."""
        error = piece.error and piece.error.message
        with self.lock:
            self.told.append([number, piece.text, piece.tokens, piece.logprobs, piece.finish, error])
            if piece.finish is not None:
                self.generations.pop(number, None)

    def flush(self) -> None:
        """Write what was kept, as one line: eight lines a step cost both sides more than all that they say."""
        with self.lock:
            told, self.told = self.told, []
            if told:
                send_line(self.peer, told)


def send_line(peer: socket.socket, what: Any) -> None:
    """One line of JSON. Nothing happens when the other side has gone: the loop that reads will see it."""
    try:
        peer.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        return


def main(arguments: list[str]) -> None:
    """Open the model, say so, and write answers until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the other side decides
    end_with_parent(int(arguments[2]), by_kernel=False)
    descriptor, what = int(arguments[0]), json.loads(arguments[1])
    with socket.socket(fileno=descriptor) as peer:
        try:
            cache = what["cache"] and Path(what["cache"])
            engine = open_engine(Path(what["folder"]), cache, what["precision"], EngineLimits(**what["limits"]))
        except DeepseekError as error:
            send_line(peer, {"error": str(error)})
            return
        worker = Worker(engine, peer)
        send_line(peer, {"ready": asdict(engine.facts)})
        with peer.makefile("rb") as lines:
            for line in lines:
                worker.hear(json.loads(line))
        engine.close()


if __name__ == "__main__":
    main(sys.argv[1:])
