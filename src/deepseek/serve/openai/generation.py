"""Models that write text, behind OpenAI's routes: /v1/completions and /v1/chat/completions.

    writer = GenerativeModel("tiny", Path("./tiny"), cache)
    await writer.start()                       # opens the model in a process of its own, and again when that dies
    answer = await writer.complete(call, body, "chat")

What is asked is read in a thread, for long prompts are tokenized and other processes asked about templates and schemas;
what is written comes from the engine's process, all that one step wrote at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from deepseek.contracts import Event
from deepseek.errors import DeepseekError, DrainingError
from deepseek.http_errors import DisconnectedError
from deepseek.serve.core.request import Request, Response, StreamingResponse

if TYPE_CHECKING:
    from deepseek.engines.llm.process.process import LlmProcess
    from deepseek.engines.llm.run.base import EngineInfo
    from deepseek.serve.openai.answers import Completions
    from deepseek.serve.openai.requests import CompletionRequest

CompletionKind = Literal["completion", "chat"]
ModelPrecision = Literal["auto", "float32", "bfloat16", "int8"]
FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 30.0  # before a process that died is started again
LOSSY_PRECISIONS: tuple[ModelPrecision, ...] = ("bfloat16", "int8")
NUM_READER_THREADS = 12  # threads, which wait most of the time
LIVENESS_INTERVAL_S = 0.2  # between two looks whether it lives
RETRY_AFTER_S = 1  # how long others write is not foreseen


class GenerativeModel:
    """A decoder in a Hugging Face folder, converted once into `cache`."""

    version = "1"
    task = "causal-lm"

    def __init__(self, name: str, folder: Path, cache: Path, *, precision: ModelPrecision = "auto") -> None:
        """`precision`: "auto" keeps float32 weights and computes as low as the CPU likes."""
        self.name = name
        self._folder = folder
        self._cache = cache
        self._precision = precision
        # More than a sandbox lets wait: then who waits for one does not keep others from being read.
        self._threads = ThreadPoolExecutor(NUM_READER_THREADS, f"{name}-reader")
        self._process: LlmProcess | None = None
        self._facts: EngineInfo | None = None  # of the process, or of the one before it
        self._keeper: asyncio.Task[None] | None = None
        self._emit: Callable[[Event], None] = lambda _: None

    @cached_property
    def digest(self) -> str:
        """Of the configuration and the names and sizes of the weights."""
        files = sorted(path for path in self._folder.iterdir() if path.is_file())
        state = "".join(f"{path.name}:{path.stat().st_size};" for path in files)
        return hashlib.sha256(state.encode() + (self._folder / "config.json").read_bytes()).hexdigest()

    @property
    def card(self) -> dict[str, Any]:
        """What GET /v1/models says of it, beside its name: lossy precisions with what they cost."""
        facts = self._facts
        return {
            "object": "model", "version": self.version, "task": self.task, "digest": self.digest, "created": "",
            "precision": facts.precision if facts else self._precision,
            "engine": facts.kind if facts else None,
            "parity": facts.parity if facts else None,
        }  # fmt: skip

    @property
    def ready(self) -> bool:
        return self._process is not None and self._process.is_alive

    @property
    def retry_after_s(self) -> int:
        return RETRY_AFTER_S

    async def start(self, emit: Callable[[Event], None]) -> None:
        """Open the model. Raises what is wrong with the folder."""
        self._emit = emit
        await self._open()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())
        self._tell(loaded=True)
        if self._precision in LOSSY_PRECISIONS:
            fields = {"state": "a precision was chosen", "precision": self._precision, "measured": self.card["parity"]}
            self._emit(Event("server", self.name, fields=fields))

    async def close(self) -> None:
        """End the process; what is being written is cut off."""
        if self._keeper is not None:
            self._keeper.cancel()
        process, self._process = self._process, None
        if process is not None:
            await asyncio.get_running_loop().run_in_executor(None, process.close)
        self._threads.shutdown()
        self._tell(loaded=False)

    async def complete(
        self, call: Request, body: Mapping[str, Any], kind: CompletionKind
    ) -> Response | StreamingResponse:
        """The answer to a completion or a chat, whole or as events. BusyError, InputError, DrainingError."""
        from deepseek.serve.openai.answers import EVENT_STREAM_TYPE, start_completions

        process = self._process
        if process is None or not process.is_alive:
            raise DrainingError(
                f"the engine of {self.name!r} is being started",
                expected="an engine that lives",
                fix="ask again in a few seconds",
            )
        request = await asyncio.get_running_loop().run_in_executor(self._threads, self._read, body, kind, process)
        call.take_rows(len(request.prompts))
        answers = start_completions(request, process)
        call.cancel = answers.cancel
        if request.stream:
            return StreamingResponse(answers.chunks(), EVENT_STREAM_TYPE)  # type: ignore[arg-type]
        return Response(await self._whole(call, answers))

    def _read(self, body: Mapping[str, Any], kind: CompletionKind, process: LlmProcess) -> CompletionRequest:
        from deepseek.serve.openai.requests import parse_chat, parse_completion

        return (parse_chat if kind == "chat" else parse_completion)(body, process)

    async def _whole(self, call: Request, answers: Completions) -> bytes:
        try:
            return await asyncio.wait_for(answers.whole(), call.deadline_s - call.started_s)
        except DrainingError as error:
            if call.gone:
                raise DisconnectedError("the client went away") from error
            raise
        except TimeoutError as error:
            from deepseek.serve.core.limits import deadline_error

            raise deadline_error() from error

    async def _open(self) -> None:
        from deepseek.engines.llm.model.options import EngineLimits
        from deepseek.engines.llm.process.process import LlmProcess

        limits = EngineLimits(exact=self._precision == "float32", bfloat16=self._precision == "bfloat16")
        weights: Literal["fp32", "int8"] = "int8" if self._precision == "int8" else "fp32"
        loop = asyncio.get_running_loop()

        def opened() -> LlmProcess:
            return LlmProcess(
                self._folder, limits, cache=self._cache, precision=weights, post=loop.call_soon_threadsafe
            )

        self._process = await loop.run_in_executor(None, opened)
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

    def _tell(self, *, loaded: bool) -> None:
        self._emit(Event("model", self.name, self.version, fields={"loaded": loaded, "digest": self.digest}))
