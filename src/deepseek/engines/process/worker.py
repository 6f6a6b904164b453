"""The main loop of an engine process: it opens models for a front end, and computes one request after the other.

    answer(open_model)          the main function of such a process; what it can open is what is given to it

It ends when the front end closes the socket, and at once when that was killed, whatever it computes (lifetime.py).
Signals that a terminal or a service manager sends to the whole group are not for it: the front end finishes what it
accepted, and that needs engines.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from deepseek.contracts import Arrays, JsonObject
from deepseek.engines.lifetime import end_with_parent
from deepseek.engines.memory import return_freed_memory
from deepseek.engines.process.served_model import ServedModel
from deepseek.engines.process.wire import FrameReader, pack_frame
from deepseek.errors import DeepseekError

RECEIVE_BYTES = 1 << 16  # of a larger one the memory would be asked for, and given back, each time
OpenModel = Callable[[Any], ServedModel]  # of a ModelSpec, or what else the front end sends


class LoadedModels:
    """The models of one engine process."""

    def __init__(self, open_model: OpenModel) -> None:
        self._open_model = open_model
        self._models: dict[str, ServedModel] = {}

    def answer(self, what: str, model: str, spec: JsonObject, arrays: Arrays) -> Arrays:
        """Carry out one request: "open" a model as `spec` says, "run" arrays through it, or "close" it."""
        if what == "run":
            return self._models[model].run(arrays)
        if what == "open":
            opened = self._open_model(spec)
            self._close(model)
            self._models[model] = opened
        elif what == "close":
            self._close(model)
        return {}

    def _close(self, model: str) -> None:
        loaded = self._models.pop(model, None)
        if loaded is not None:
            loaded.close()
            del loaded
            gc.collect()  # what a model holds knows it in return
            return_freed_memory()


def serve_connection(connection: socket.socket, open_model: OpenModel) -> None:
    """Answer the requests of a front end until the other end is gone."""
    engines = LoadedModels(open_model)
    for (number, what, model, spec), arrays in _receive_requests(connection):
        started_s = perf_counter()
        outputs: Arrays = {}
        error_fields: dict[str, str] = {}
        try:
            outputs = engines.answer(what, model, spec, arrays)
        except DeepseekError as error:
            error_fields = error.to_dict() | {"kind": type(error).__name__}
        except Exception as error:  # noqa: BLE001  (an engine's own errors have no common class; the front end reports)
            error_fields = {"kind": type(error).__name__, "message": str(error)}
        connection.sendall(pack_frame((number, perf_counter() - started_s, error_fields, {}), outputs))


def _receive_requests(connection: socket.socket) -> Iterator[tuple[Any, Arrays]]:
    frames = FrameReader()
    while data := connection.recv(RECEIVE_BYTES):
        yield from frames.feed(data)


def run_worker(open_model: OpenModel) -> None:
    """Run an engine process until the front end is gone. Its arguments: the descriptor of its socket, the front end's
    pid."""
    end_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    gone = contextlib.suppress(BrokenPipeError, ConnectionResetError)  # the front end is
    with gone, socket.socket(fileno=int(sys.argv[1])) as connection:
        serve_connection(connection, open_model)
