"""Models that write text, behind OpenAI's routes: /v1/completions and /v1/chat/completions.

    generator = GenerativeModel("tiny", Path("./tiny"), cache)
    await generator.start(emit)                # opens the model in a process of its own, and again when that dies
    response = await generator.complete(request, params, "chat")

Requests are parsed in a thread, for long prompts are tokenized, and templates and schemas are checked in other
processes. Text comes from the engine's process, all of one step at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deepseek.contracts import Event
from deepseek.errors import DeepseekError, DrainingError
from deepseek.http_errors import DisconnectedError
from deepseek.serve.core.card import GenerativeModelEntry
from deepseek.serve.core.request import Request, Response
from deepseek.serve.openai.writers import CompletionKind

if TYPE_CHECKING:
    from deepseek.engines.llm.process.process import LlmProcess
    from deepseek.engines.llm.run.base import EngineInfo
    from deepseek.serve.openai.answers import Completions
    from deepseek.serve.openai.params import Params
    from deepseek.serve.openai.requests import CompletionRequest
    from deepseek.serve.openai.timing import CompletionTimes

ModelPrecision = Literal["auto", "float32", "bfloat16", "int8"]
FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 30.0  # before a process that died is started again
LOSSY_PRECISIONS: tuple[ModelPrecision, ...] = ("bfloat16", "int8")
NUM_READER_THREADS = 12  # they wait most of the time
LIVENESS_INTERVAL_S = 0.2  # between two checks that the process is alive
RETRY_AFTER_S = 1  # how long others generate is not predicted


class GenerativeModel:
    """A decoder in a Hugging Face folder, converted once into `cache`."""

    version = "1"
    task = "causal-lm"

    def __init__(self, name: str, folder: Path, cache: Path, *, precision: ModelPrecision = "auto") -> None:
        """`precision`: "auto" keeps float32 weights and computes in the precision that is fastest on the CPU."""
        self.name = name
        self._folder = folder
        self._cache = cache
        self._precision = precision
        # More threads than a sandbox lets wait, so that waiting ones do not keep other requests from being parsed.
        self._threads = ThreadPoolExecutor(NUM_READER_THREADS, f"{name}-reader")
        self._process: LlmProcess | None = None
        self._facts: EngineInfo | None = None  # of the running process, or of the last one
        self._keeper: asyncio.Task[None] | None = None
        self._emit: Callable[[Event], None] = lambda _: None

    @cached_property
    def digest(self) -> str:
        """A digest of the configuration and of the names and sizes of the weights."""
        files = sorted(path for path in self._folder.iterdir() if path.is_file())
        state = "".join(f"{path.name}:{path.stat().st_size};" for path in files)
        return hashlib.sha256(state.encode() + (self._folder / "config.json").read_bytes()).hexdigest()

    @property
    def entry(self) -> GenerativeModelEntry:
        """The entry of this model in GET /v1/models."""
        facts = self._facts
        return GenerativeModelEntry(
            id=self.name, version=self.version, task=self.task, digest=self.digest, created="",
            precision=facts.precision if facts else self._precision,
            engine=facts.kind if facts else None,
            parity=facts.parity if facts else None,
        )  # fmt: skip

    @property
    def ready(self) -> bool:
        return self._process is not None and self._process.is_alive

    @property
    def process(self) -> LlmProcess | None:
        """What generates; None while it is being started."""
        return self._process

    @property
    def retry_after_s(self) -> int:
        return RETRY_AFTER_S

    async def start(self, emit: Callable[[Event], None]) -> None:
        """Open the model. Raises why the folder cannot be used."""
        self._emit = emit
        await self._open()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())
        self._emit_model(loaded=True)
        if self._precision in LOSSY_PRECISIONS:
            fields = {"state": "a precision was chosen", "precision": self._precision, "measured": self.entry.parity}
            self._emit(Event("server", self.name, fields=fields))

    async def close(self) -> None:
        """End the process; completions that are being generated are cut off."""
        if self._keeper is not None:
            self._keeper.cancel()
        process, self._process = self._process, None
        if process is not None:
            await asyncio.get_running_loop().run_in_executor(None, process.close)
        self._threads.shutdown()
        self._emit_model(loaded=False)

    async def complete(self, request: Request, params: Params, kind: CompletionKind) -> Response:
        """The response to a completion or a chat, whole or as events. BusyError, InputError, DrainingError."""
        from deepseek.serve.openai.answers import EVENT_STREAM_TYPE, start_completions

        process = self._process
        if process is None or not process.is_alive:
            raise DrainingError(
                f"the engine of {self.name!r} is being started",
                expected="an engine that lives",
                fix="ask again in a few seconds",
            )
        completion_request = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._read, params, kind, process
        )
        request.take_rows(len(completion_request.prompts))
        completions = start_completions(completion_request, process)
        request.on_cancel = completions.cancel
        completions.on_end = self._emit_times
        if completion_request.stream:
            return Response(b"", media_type=EVENT_STREAM_TYPE, chunks=completions.chunks())
        return Response(await self._await_completion(request, completions))

    def _emit_times(self, times: tuple[CompletionTimes, ...]) -> None:
        self._emit(Event("generation", self.name, self.version, num_rows=len(times), fields={"completions": times}))

    def _read(self, params: Params, kind: CompletionKind, process: LlmProcess) -> CompletionRequest:
        from deepseek.serve.openai.requests import parse_chat, parse_completion

        return (parse_chat if kind == "chat" else parse_completion)(params, process)

    async def _await_completion(self, request: Request, completions: Completions) -> bytes:
        try:
            return await asyncio.wait_for(completions.to_bytes(), request.deadline_s - request.started_s)
        except DrainingError as error:
            if request.is_disconnected:
                raise DisconnectedError("the client went away") from error
            raise
        except TimeoutError as error:
            from deepseek.serve.core.rate_limits import deadline_error

            raise deadline_error() from error

    async def _open(self) -> None:
        from deepseek.engines.llm.model.options import EngineLimits
        from deepseek.engines.llm.process.process import LlmProcess

        limits = EngineLimits(exact=self._precision == "float32", bfloat16=self._precision == "bfloat16")
        weights: Literal["fp32", "int8"] = "int8" if self._precision == "int8" else "fp32"
        loop = asyncio.get_running_loop()

        def open_process() -> LlmProcess:
            return LlmProcess(
                self._folder, limits, cache=self._cache, precision=weights, post=loop.call_soon_threadsafe
            )

        self._process = await loop.run_in_executor(None, open_process)
        self._facts = self._process.facts

    async def _keep(self) -> None:
        """Open the model again when its process has died, with growing pauses while that does not succeed."""
        pause_s = FIRST_PAUSE_S
        while True:
            await asyncio.sleep(LIVENESS_INTERVAL_S)
            if self.ready:
                pause_s = FIRST_PAUSE_S
                continue
            dead, self._process = self._process, None
            fields = {"state": "a generating process died", "model": self.name, "engine_pid": dead.pid if dead else 0}
            fields |= {"process": "engine", "change": "died"}
            self._emit(Event("server", fields=fields))
            if dead is not None:
                await asyncio.get_running_loop().run_in_executor(None, dead.close)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)
            try:
                await self._open()
            except (OSError, DeepseekError) as error:
                self._emit(
                    Event("server", fields={"state": "a generating process does not start", "error": str(error)})
                )
            else:
                fields = {"state": "a generating process was started again", "model": self.name}
                self._emit(Event("server", fields=fields | {"process": "engine", "change": "restarted"}))

    def _emit_model(self, *, loaded: bool) -> None:
        self._emit(Event("model", self.name, self.version, fields={"loaded": loaded, "digest": self.digest}))
