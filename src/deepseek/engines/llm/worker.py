"""The process behind process.LlmProcess: python -m deepseek.engines.llm.worker SOCKET FOLDER LIMITS

It ends when the other side of the socket closes, and so with the process that began it, however that ends.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from deepseek.engines.llm.engine import Generation, LlmEngine, Piece
from deepseek.engines.llm.options import EngineLimits, GenerationOptions
from deepseek.errors import DeepseekError


class Worker:
    """One engine, and the answers that it writes for the other side, by number."""

    def __init__(self, engine: LlmEngine, peer: socket.socket) -> None:
        self.engine, self.peer = engine, peer
        self.generations: dict[int, Generation] = {}
        self.lock = threading.RLock()  # two threads write lines, and an answer may end before submit() returns

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
                self.tell(number, Piece("", finish="error", error=error))

    def tell(self, number: int, piece: Piece) -> None:
        """Write one piece to the other side. Runs on the engine's thread mostly."""
        said = {
            "number": number, "text": piece.text, "tokens": piece.tokens, "logprobs": piece.logprobs,
            "finish": piece.finish, "error": piece.error and piece.error.message,
        }  # fmt: skip
        with self.lock:
            if piece.finish is not None:
                self.generations.pop(number, None)
            send(self.peer, said)


def send(peer: socket.socket, what: dict[str, Any]) -> None:
    """One line of JSON. Nothing happens when the other side has gone: the loop that reads will see it."""
    try:
        peer.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        return


def main(arguments: list[str]) -> None:
    """Open the model, say so, and write answers until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the other side decides
    descriptor, folder, limits = arguments
    with socket.socket(fileno=int(descriptor)) as peer:
        try:
            engine = LlmEngine(Path(folder), EngineLimits(**json.loads(limits)))
        except DeepseekError as error:
            send(peer, {"error": str(error)})
            return
        send(peer, {"ready": True})
        worker = Worker(engine, peer)
        with peer.makefile("rb") as lines:
            for line in lines:
                worker.hear(json.loads(line))
        engine.close()


if __name__ == "__main__":
    main(sys.argv[1:])
