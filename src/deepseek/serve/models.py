"""The models that a server holds, by name: each with its scheduler and its explainer.

    models = Models({"cancer": runtime}, settings, explaining, emit)
    batch, prediction = await models["cancer"].predict(call, records)

Small requests are prepared in the event loop, large ones and explanations in threads.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from urllib.parse import quote

from deepseek.bundle import check_name as check_bundle_name
from deepseek.contracts import Batch, Event, Flag, Float32, Prediction, Record, Scores
from deepseek.errors import InputError, MissingError
from deepseek.plugins import did_you_mean
from deepseek.serve.call import Call
from deepseek.serve.config import Settings
from deepseek.serve.explanations import Explaining, Explanations
from deepseek.serve.limits import Gate
from deepseek.serve.scheduler import Scheduler

if TYPE_CHECKING:
    from deepseek.bundle import Manifest

Result = TypeVar("Result")
#: Cells (rows x columns) up to which decoding and preparing stay in the event loop: about 3 ms.
INLINE_CELLS = 2_000


class Servable(Protocol):
    """What a server needs of a loaded bundle; engines.Runtime is one."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def manifest(self) -> Manifest: ...
    @property
    def example(self) -> Record: ...
    def prepare(self, records: Sequence[Record]) -> Batch: ...
    def score(self, features: Float32) -> Scores: ...
    def decide(self, scores: Scores, flags: Sequence[Flag]) -> Prediction: ...
    def close(self) -> None: ...


Emit = Callable[[Event], None]


class ServedModel:
    """One loaded model and how its requests are computed."""

    def __init__(self, name: str, runtime: Servable, settings: Settings, explaining: Explaining, emit: Emit) -> None:
        self.name = name
        self.quoted = quote(name)  # as it stands in a URL
        self.runtime = runtime
        self.version = runtime.version
        self.columns = tuple(item.name for item in runtime.manifest.inputs)
        self._emit = emit
        # Two pools: a batch of single rows that goes to a thread need not wait behind large requests.
        self._small = ThreadPoolExecutor(1, f"{name}-small")
        self._large = ThreadPoolExecutor(2, f"{name}-large")
        self.gate = Gate(settings.max_queued_rows)
        self.scheduler = Scheduler(
            runtime.score, small=self._small, large=self._large, batch_rows=settings.batch_size, gate=self.gate,
            emit=partial(self._computed, "batch"),
        )  # fmt: skip
        self.explanations = Explanations(
            runtime, explaining, max_queued_rows=settings.max_queued_rows, emit=partial(self._computed, "explain")
        )

    def warm_up(self) -> None:
        """Answer the example, so that the first request pays for no first time, and learn what a row costs."""
        batch = self.runtime.prepare([self.runtime.example])
        self.runtime.decide(self.runtime.score(batch.features), batch.flags)
        started_s = perf_counter()
        self.runtime.score(batch.features)
        self.gate.row_s = perf_counter() - started_s
        self._emit(Event("model", self.name, self.version, fields={"loaded": True, "digest": self.digest}))

    @property
    def digest(self) -> str:
        """Of the bundle: it changes with the weights, the preprocessing or the threshold."""
        return self.runtime.manifest.digest

    @property
    def task(self) -> str:
        return self.runtime.manifest.task

    @cached_property
    def typical(self) -> Prediction:
        """The answer to the example: it shows what answers look like."""
        batch = self.runtime.prepare([self.runtime.example])
        return self.runtime.decide(self.runtime.score(batch.features), batch.flags)

    def close(self) -> None:
        """Wait for the threads, then let go of the engine."""
        self._small.shutdown()
        self._large.shutdown()
        self.explanations.close()
        self.runtime.close()
        self._emit(Event("model", self.name, self.version, fields={"loaded": False, "digest": self.digest}))

    async def predict(self, call: Call, records: Sequence[Record]) -> tuple[Batch, Prediction]:
        """Prepared rows and answers for N records. InputError for what does not fit the model's columns."""
        call.num_rows = len(records)
        batch, call.flags = await self.offload(len(records) * len(self.columns), self._prepare, records)
        scores, call.queue_s = await self.scheduler.score(batch.features, call.deadline_s)
        return batch, self.runtime.decide(scores, batch.flags)

    async def offload(self, num_cells: int, work: Callable[..., Result], *args: Any) -> Result:
        """work(*args), in a thread when it is large, so that small requests and health checks get their turn."""
        if num_cells <= INLINE_CELLS:
            return work(*args)
        return await asyncio.get_running_loop().run_in_executor(self._large, partial(work, *args))

    def _prepare(self, records: Sequence[Record]) -> tuple[Batch, Mapping[tuple[str, str], int]]:
        """The prepared rows, and how many values of each column were changed on the way."""
        batch = self.runtime.prepare(records)
        return batch, Counter((flag.column, flag.what) for flag in batch.flags) if batch.flags else {}

    def _computed(self, kind: Literal["batch", "explain"], num_rows: int, duration_s: float) -> None:
        self._emit(Event(kind, self.name, self.version, num_rows=num_rows, duration_s=duration_s))


class Models(Mapping[str, ServedModel]):
    """What is loaded, by name."""

    def __init__(
        self,
        runtimes: Mapping[str, Servable],
        settings: Settings,
        explaining: Explaining,
        emit: Emit,
    ) -> None:
        for name in runtimes:
            check_name(name)
        self._models = {
            name: ServedModel(name, runtime, settings, explaining, emit) for name, runtime in runtimes.items()
        }

    def __getitem__(self, name: str) -> ServedModel:
        return self._models[name]

    def __iter__(self) -> Any:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def missing(self, name: str) -> MissingError:
        """The error for a name that is not loaded."""
        return MissingError(
            f"there is no model {name[:100]!r}.{did_you_mean(name[:100], self._models)}",
            expected=", ".join(self._models) or "no model is loaded",
            fix="GET /v1/models lists them",
        )


def check_name(name: str) -> None:
    """Raise InputError unless a route can hold the name. Every name that a bundle may have can stand in one."""
    try:
        check_bundle_name(name)
    except InputError as error:
        raise InputError(
            f"a model cannot be served as {name[:100]!r}",
            expected=error.expected,
            fix="name it otherwise: deepseek serve NAME=BUNDLE",
        ) from error
