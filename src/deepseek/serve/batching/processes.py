"""Engine processes beside the front end: started, called over a socket, and started again when they die.

    processes = EngineProcesses(pool, num_workers)
    await processes.start({"loans": spec})        # every process has every model open
    await processes.open("loans@2", spec)         # one more, in every process; processes.close_model("loans@2")

A front end never computes, so a process that is killed, or that crashes on a row, takes no connection with it: its
batch goes to another process, and a new one takes its place. One that does not answer (a deadlock, a stopped process)
is killed, so that it goes the same way. Weights are mapped from the same files by all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any, cast

from deepseek import errors
from deepseek.contracts import Arrays, Event, JsonObject
from deepseek.engines.first_run import current_limits
from deepseek.engines.process.wire import FrameReader, pack_frame
from deepseek.errors import DeepseekError
from deepseek.serve.batching.workers import MAX_DEATHS, BatchCallback, EngineLostError, LostWorkerError, WorkerPool

#: How an engine process opens a model: JSON that engines.process reads there.
EngineSpec = JsonObject
PREDICT_MODULE = "deepseek.engines.process"
#: Before a process is started again; doubled while processes do not start, or die within SETTLED_S.
FIRST_PAUSE_S, LAST_PAUSE_S, SETTLED_S = 0.05, 10.0, 5.0
CLOSE_TIMEOUT_S = 5.0  # that a process has to end by itself
WATCH_INTERVAL_S = 0.5  # between two looks for processes that do not answer
OPENING_PATIENCE_S = 10.0  # with one that has been opening a model, before the next look at it
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class EngineError(Exception):
    """An error that an engine raised in its process, in words."""


class ProcessWorker(asyncio.Protocol):
    """One engine process, and the socket to it."""

    def __init__(self, lost: Callable[[ProcessWorker], None], module: str) -> None:
        self._on_worker_lost = lost
        self._module = module
        self._frames = FrameReader()
        self._numbers = count(1)
        self._callbacks: dict[int, BatchCallback] = {}
        self._transport: asyncio.WriteTransport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.models: set[str] = set()
        self.num_opening = 0  # models that it is opening or closing
        self.ready_s = 0.0  # when it was ready, on the loop's clock

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def is_alive(self) -> bool:
        return self._transport is not None

    async def start(self) -> None:
        """Start the process and connect to it."""
        local_end, remote_end = socket.socketpair()
        with remote_end:
            for end in (local_end, remote_end):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    end.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, str(remote_end.fileno()), str(os.getpid())],
                pass_fds=[remote_end.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                env=os.environ | _ONE_THREAD,
            )  # fmt: skip
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=local_end)

    def run(self, model: str, arrays: Arrays, callback: BatchCallback) -> None:
        self._send("run", model, {}, arrays, callback)

    async def open(self, model: str, spec: EngineSpec) -> None:
        """Open a model. Raises what opening raised there."""
        await self._command("open", model, dict(spec) | {"first_run": current_limits().to_dict()})
        self.models.add(model)

    async def close_model(self, model: str) -> None:
        self.models.discard(model)
        await self._command("close", model, {})

    async def end(self) -> None:
        """Close the connection, and wait until the process has ended."""
        if self._transport is not None:
            self._transport.close()
        if self._process is not None:
            await _wait_for_exit(self._process)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def reap(self) -> int | None:
        """Wait for a process whose connection is lost, so that no zombie of it stays. Returns its exit code, as
        subprocess has it: below 0 for a signal."""
        if self._process is None:
            return None
        await _wait_for_exit(self._process)
        return self._process.returncode

    async def _command(self, command: str, model: str, options: JsonObject) -> None:
        reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(result: Arrays | Exception, _: float) -> None:
            self.num_opening -= 1
            if reply.done():
                return
            if isinstance(result, Exception):
                reply.set_exception(result)
            else:
                reply.set_result(None)

        self.num_opening += 1
        self._send(command, model, options, {}, done)
        await reply

    def _send(self, command: str, model: str, options: JsonObject, arrays: Arrays, callback: BatchCallback) -> None:
        if self._transport is None:
            asyncio.get_running_loop().call_soon(callback, LostWorkerError("the engine process is gone"), 0.0)
            return
        number = next(self._numbers)
        self._callbacks[number] = callback
        self._transport.write(pack_frame((number, command, model, options), arrays))

    # Callbacks of the event loop:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        for (number, took_s, failure, _), arrays in self._frames.feed(data):
            self._callbacks.pop(number)(_restore_error(failure) if failure else arrays, took_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        callbacks, self._callbacks = self._callbacks, {}
        self._on_worker_lost(self)
        for callback in callbacks.values():
            callback(LostWorkerError("the engine process is gone"), 0.0)


class EngineProcesses:
    """All engine processes of one server."""

    def __init__(
        self,
        pool: WorkerPool,
        num_workers: int,
        emit: Callable[[Event], None],
        module: str = PREDICT_MODULE,
        open_s: float | None = None,
    ) -> None:
        """`module`: the Python module of a process. `open_s`: time limit of opening a model, after which the process is
        killed; None: no limit, for large models that are converted first."""
        self._module = module
        self._pool = pool
        self._num_workers = num_workers
        self._emit = emit
        self._open_s = open_s
        self._specs: dict[str, EngineSpec] = {}
        self._workers: set[ProcessWorker] = set()
        self._ready: set[ProcessWorker] = set()
        self._start_tasks: set[asyncio.Task[None]] = set()
        self._reap_tasks: set[asyncio.Task[None]] = set()
        self._pause_s = FIRST_PAUSE_S
        self._is_closing = False
        self._watch_task: asyncio.Task[None] | None = None

    @property
    def num_ready(self) -> int:
        """How many processes are alive and have every model open."""
        return len(self._ready)

    @property
    def pids(self) -> list[int]:
        return sorted(worker.pid for worker in self._workers)

    async def start(self, specs: Mapping[str, EngineSpec]) -> None:
        """Start all processes. Raises what opening a model raised, after all processes have ended again."""
        self._specs = dict(specs)
        try:
            await _gather_all(self._start_one() for _ in range(self._num_workers))
        except BaseException:
            await self.close()
            raise
        self._watch_task = asyncio.get_running_loop().create_task(self._watch())

    async def open(self, model: str, spec: EngineSpec) -> None:
        """Open a model in every process, one after the other so that the rest compute; then new processes open it too.

        When one of them cannot, none of them keeps it, and what opening raised is raised: EngineLostError when they
        die of it.
        """
        num_deaths = 0
        try:
            while missing := [worker for worker in self._ready if model not in worker.models]:
                try:
                    await self._open_in(missing[0], model, spec)
                except LostWorkerError:
                    num_deaths += 1
                    if num_deaths >= MAX_DEATHS:
                        raise _opening_lost_error(model) from None
            if not self._ready:
                raise _opening_lost_error(model)
        except BaseException:
            await self.close_model(model)
            raise
        self._specs[model] = spec

    async def _open_in(self, worker: ProcessWorker, model: str, spec: EngineSpec) -> None:
        await self._pool.take(worker)
        try:
            await self._open_or_kill(worker, model, spec)
        finally:
            if worker in self._ready:
                self._pool.free(worker)

    async def _open_or_kill(self, worker: ProcessWorker, model: str, spec: EngineSpec) -> None:
        """Open a model in one process. EngineLostError, after it was killed, when that takes too long."""
        try:
            async with asyncio.timeout(self._open_s):
                await worker.open(model, spec)
        except TimeoutError:
            fields = {"state": "an engine process does not open a model and is killed", "model": model}
            self._emit(Event("server", fields=fields | {"engine_pid": worker.pid}))
            worker.kill()
            while worker.is_alive:  # until its connection is lost, so that no batch is sent to it
                await asyncio.sleep(0.01)
            raise EngineLostError(
                f"an engine process did not open {model} within {self._open_s:g} s and was killed",
                expected="a model that opens in that time",
                fix="ask again: another process is started; see what the log says of it",
            ) from None

    async def close_model(self, model: str) -> None:
        """Close a model in every process, which frees its memory."""
        self._specs.pop(model, None)
        for worker in [worker for worker in self._ready if model in worker.models]:
            with contextlib.suppress(LostWorkerError):
                await worker.close_model(model)

    async def close(self) -> None:
        """End all processes."""
        self._is_closing = True
        if self._watch_task is not None:
            self._watch_task.cancel()
        for task in list(self._start_tasks):
            task.cancel()
        await asyncio.gather(*(worker.end() for worker in list(self._workers)), *self._reap_tasks)

    async def _start_one(self) -> ProcessWorker:
        worker = ProcessWorker(self._on_worker_lost, self._module)
        self._workers.add(worker)
        try:
            await worker.start()
            # Models that are loaded or unloaded meanwhile count too:
            while differing := worker.models ^ self._specs.keys():
                model = differing.pop()
                if model in self._specs:
                    await self._open_or_kill(worker, model, self._specs[model])
                else:
                    await worker.close_model(model)
        except BaseException:
            self._workers.discard(worker)
            await worker.end()
            raise
        if not worker.is_alive:
            raise LostWorkerError("the engine process died as soon as it was ready")
        worker.ready_s = asyncio.get_running_loop().time()
        self._ready.add(worker)
        self._pool.add(worker)
        return worker

    async def _watch(self) -> None:
        """Kill processes that do not answer: their batches are then lost, and computed again elsewhere."""
        loop = asyncio.get_running_loop()
        looked_s = loop.time()
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            # What this process did not read while it stood still itself is no fault of its engines.
            late_s = loop.time() - looked_s - WATCH_INTERVAL_S
            looked_s = loop.time()
            for worker in self._pool.overdue(late_s if late_s > WATCH_INTERVAL_S else 0.0):
                if not isinstance(worker, ProcessWorker):
                    continue
                if worker.num_opening:  # the batch waits behind it, and is begun later
                    self._pool.watch(worker, OPENING_PATIENCE_S)
                else:
                    fields = {"state": "an engine process does not answer and is killed", "engine_pid": worker.pid}
                    self._emit(Event("server", fields=fields))
                    worker.kill()

    def _on_worker_lost(self, worker: ProcessWorker) -> None:
        """Forget a process whose connection is lost. Unless the server is closing, another takes its place."""
        self._workers.discard(worker)
        if worker in self._ready:
            self._ready.discard(worker)
            self._pool.remove(worker)
            if not self._is_closing:
                loop = asyncio.get_running_loop()
                self._keep(self._reap_tasks, loop.create_task(self._reap(worker)))
                if loop.time() - worker.ready_s > SETTLED_S:
                    self._pause_s = FIRST_PAUSE_S
                self._keep(self._start_tasks, loop.create_task(self._restart()))

    @staticmethod
    def _keep(tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        """Keep a reference to a task until it is done: the event loop has only a weak one."""
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _reap(self, worker: ProcessWorker) -> None:
        """Reap a process that died, and emit its exit code."""
        fields = {"state": "an engine process died", "engine_pid": worker.pid, "exit_code": await worker.reap()}
        self._emit(Event("server", fields=fields | {"process": "engine", "change": "died"}))

    async def _restart(self) -> None:
        """Start a process in the place of one that died; with growing pauses while that does not succeed."""
        while not self._is_closing:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
            try:
                worker = await self._start_one()
            except (OSError, LostWorkerError, EngineError, DeepseekError) as error:
                fields = {"state": "an engine process does not start", "error": str(error)}
                self._emit(Event("server", fields=fields))
            else:
                again = {"state": "an engine process was started again", "pid": worker.pid}
                self._emit(Event("server", fields=again | {"process": "engine", "change": "restarted"}))
                return


def _opening_lost_error(model: str) -> EngineLostError:
    return EngineLostError(
        f"the engine processes died while they opened {model}",
        expected="a model that they can open",
        fix="see what the log says of them; a model that is too large for the memory has to be served elsewhere",
    )


async def _gather_all(awaitables: Any) -> None:
    """Wait for all, then raise the first error."""
    for result in await asyncio.gather(*awaitables, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _wait_for_exit(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process; kill it when it does not end."""
    for _ in range(round(CLOSE_TIMEOUT_S / 0.01)):
        if process.poll() is not None:
            return
        await asyncio.sleep(0.01)
    process.kill()
    await asyncio.get_running_loop().run_in_executor(None, partial(process.wait, CLOSE_TIMEOUT_S))


def _restore_error(failure: Mapping[str, str]) -> Exception:
    """The error that an engine process describes, of its own class where that is one of ours."""
    kind = getattr(errors, failure["kind"], None)
    if isinstance(kind, type) and issubclass(kind, DeepseekError):
        return kind(failure["message"], expected=failure.get("expected", ""), fix=failure.get("fix", ""))
    return EngineError(f"{failure['kind']}: {failure['message']}")
