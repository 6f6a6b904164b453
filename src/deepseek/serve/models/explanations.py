"""Explanations of what models answered: made in a process of their own, because they are slow and must not stand before
predictions, and queued, bounded and given up like them.

    explainers = ExplainerPool(explaining, emit, engines=True)      # of a server
    explanations = ModelExplanations(key, face, explainers, settings, emit)      # of one of its models
    explained = await explanations.make(call, batch.features, targets)

How to explain comes from outside (create_app): this room knows no explainer. The process is started when something is
to be explained for the first time. Where the engines are in this process, a thread of it explains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from types import NoneType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Attribution, Event, Explainer, Record
from deepseek.engines.checks.finite import check_attribution
from deepseek.engines.process.attributions import RowAttributions, explain_rows, unpack_rows
from deepseek.errors import BusyError, ExtraError
from deepseek.http_errors import DisconnectedError
from deepseek.serve.batching.jobs import Job, JobOutputs
from deepseek.serve.batching.processes import FIRST_PAUSE_S, EngineProcesses
from deepseek.serve.batching.scheduler import Scheduler
from deepseek.serve.batching.workers import LocalWorker, RunBatch, WorkerPool
from deepseek.serve.core.config import Settings
from deepseek.serve.core.limits import deadline_error
from deepseek.serve.core.request import Request
from deepseek.serve.models.adapter import ModelAdapter
from deepseek.serve.models.explanation_throttle import ExplanationThrottle

#: ExplanationRows of several requests that are explained together at most: those behind them wait for all of them, and
#: a row may
#: take 0.1 s.
BATCH_ROWS = 8
SLICE_S = 0.1  # of a large request: each row of many costs a third of what it costs among few
OPEN_TIMEOUT_S = (
    120.0  # that opening a model's explainer may take; a process that hangs in it is killed, and another started
)


class ReasonCodes(Protocol):
    """Sentences on the largest contributions to a row, largest first, none on those that contribute nothing."""

    def __call__(
        self, attribution: Attribution, record: Record, num_reasons: int, *, row: int, outcome: str
    ) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class ExplanationConfig:
    """How answers are explained."""

    explainer_for: Callable[[Any], Explainer] | None = None  # of a loaded model
    reason_codes: ReasonCodes | None = None
    module: str = ""  # what a process runs that explains; without one, this process explains


class ExplainerPool:
    """Who explains, for all models of a server."""

    def __init__(self, explaining: ExplanationConfig, emit: Callable[[Event], None], *, engines: bool) -> None:
        """`engines`: they are in processes of their own, so that this one computes nothing."""
        self.pool = WorkerPool()
        self.turns = ExplanationThrottle()
        self.explaining = explaining
        self._emit = emit
        self._apart = engines and bool(explaining.module)
        self._runs: dict[str, RunBatch] = {}
        self._processes: EngineProcesses | None = None
        self._starting = asyncio.Lock()
        self._opening: dict[str, asyncio.Task[None]] = {}  # by model; those that are open, too

    @property
    def pids(self) -> list[int]:
        return [] if self._processes is None else self._processes.pids

    async def open(self, model: str, face: ModelAdapter, deadline_s: float) -> None:
        """See that a model can be explained. Raises why it cannot; DeadlineError. What failed is tried again, but not
        what is not installed."""
        task = self._opening.get(model)
        if task is None or (task.done() and not isinstance(task.exception(), (NoneType, ExtraError))):
            task = self._opening[model] = asyncio.get_running_loop().create_task(self._open(model, face))
        if not task.done():
            await asyncio.wait([task], timeout=max(0.0, deadline_s - perf_counter()))
        if not task.done():
            raise deadline_error()
        task.result()

    async def close_model(self, model: str) -> None:
        """Give its memory back."""
        task = self._opening.pop(model, None)
        if task is None:
            return
        await asyncio.wait([task])
        self._runs.pop(model, None)
        if self._processes is not None:
            await self._processes.close_model(model)

    async def close(self) -> None:
        """No one explains any more."""
        for task in self._opening.values():
            task.cancel()
        self.pool.close()
        if self._processes is not None:
            await self._processes.close()

    async def _open(self, model: str, face: ModelAdapter) -> None:
        if self._apart:
            processes = await self._started()
            while not processes.num_ready:  # it has died, and is being started again
                await asyncio.sleep(FIRST_PAUSE_S)
            await processes.open(model, face.spec)
            return
        self._runs[model] = _make_local_run(self.explaining.explainer_for, face)
        if not self.pool.num_workers:
            self.pool.add(LocalWorker(self._runs))

    async def _started(self) -> EngineProcesses:
        async with self._starting:
            if self._processes is None:
                processes = EngineProcesses(self.pool, 1, self._emit, self.explaining.module, OPEN_TIMEOUT_S)
                await processes.start({})
                self._processes = processes
            return self._processes


def _make_local_run(explainer_for: Callable[[Any], Explainer] | None, face: ModelAdapter) -> RunBatch:
    """The explainer is made by who needs it first, in the thread that explains: for a deep forest it takes long."""
    if explainer_for is None:
        raise ExtraError(
            "this server was started without an explainer",
            expected="a server that can explain",
            fix="start it with `deepseek serve`, or give create_app an `explainer_for`",
        )
    found: list[Explainer] = []

    def run(arrays: Arrays) -> Arrays:
        if not found:
            found.append(explainer_for(face.runtime))
        return explain_rows(found[0], face.card.labels, arrays)

    return run


class ExplanationRows:
    """What is to be explained: N prepared rows, and for each the place of its class, -1 for the default."""

    def __init__(self, features: Any, targets: NDArray[np.int32]) -> None:
        self.features = features
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: slice) -> ExplanationRows:
        return ExplanationRows(self.features[rows], self.targets[rows])


class ModelExplanations:
    """Explains the rows of one model."""

    def __init__(
        self,
        model: str,
        face: ModelAdapter,
        explainers: ExplainerPool,
        settings: Settings,
        emit: Callable[[int, float], None],
    ) -> None:
        """`emit` is told the rows and the seconds of every request that was explained."""
        self._model = model
        self._face = face
        self._explainers = explainers
        self._emit = emit
        self._scheduler = Scheduler(
            model, explainers.pool, batch_rows=BATCH_ROWS, limit_rows=settings.max_queued_rows,
            engine_timeout_s=settings.engine_timeout_s, slice_s=SLICE_S, emit=_ignore_batch,
            join=partial(_join_rows, face), concat=_concat_outputs, fits=_have_same_type,
        )  # fmt: skip

    async def turn(self, call: Request) -> None:
        """Wait until this call, which asks for explanations, may be begun. DeadlineError."""
        call.explains = True
        await self._explainers.turns.wait(len(call.body), call.deadline_s)

    def give_way(self, came_s: float) -> None:
        """A prediction has come."""
        self._explainers.turns.predicted(came_s)

    def check(self, call: Request, num_rows: int) -> None:
        """BusyError where so many rows would be refused: before they are prepared."""
        self._room(Job(num_rows, call.deadline_s, _ignore_result), self._scheduler.check)

    def _room(self, job: Job, ask: Callable[[Job], None]) -> None:
        try:
            ask(job)
        except BusyError as error:
            error.retry_after_s = self._scheduler.retry_after_s
            raise

    async def make(self, call: Request, features: Any, targets: Sequence[str | None]) -> RowAttributions:
        """N prepared rows, explained. `targets` names the class of each row, None the default.

        BusyError, DeadlineError; ExtraError when this server cannot explain the model; NonFiniteError where an
        explanation holds NaN or an infinite number.
        """
        if self._face.runtime is None:
            raise ExtraError(
                "labels of single tokens cannot be explained: an explanation of a text is of one answer",
                expected="a model of columns, or one that gives texts classes or embeddings",
                fix="ask this one for predictions alone",
            )
        await self._explainers.open(self._model, self._face, call.deadline_s)
        told: asyncio.Future[JobOutputs | Exception] = asyncio.get_running_loop().create_future()
        job = Job(len(features), call.deadline_s, partial(_set_result, told), priority=call.priority)
        place = {label: index for index, label in enumerate(self._face.card.labels)}
        places = [-1 if target is None else place[target] for target in targets]
        job.rows = ExplanationRows(features, np.array(places, np.int32))
        self._room(job, self._scheduler.admit)
        call.cancel = partial(self._scheduler.cancel, job, DisconnectedError("the client went away"))
        self._scheduler.submit(job)
        part = await told
        if isinstance(part, Exception):
            raise part
        explained = unpack_rows({name: array[part.start : part.stop] for name, array in part.batch.outputs.items()})
        if not part.batch.is_finite:
            for attribution in {id(attribution): attribution for attribution, _ in explained}.values():
                rows = [row for row, (other, _) in enumerate(explained) if other is attribution]
                check_attribution(attribution, rows, model=self._face.name)
        self._emit(job.num_rows, perf_counter() - job.started_s)
        return explained

    def sentences(self, attribution: Attribution, row: int, record: Record, num_reasons: int) -> list[str]:
        """Why row `row` got its answer, in words. ExtraError when this server cannot say so."""
        words = self._explainers.explaining.reason_codes
        if words is None:
            raise ExtraError(
                "this server was started without reason codes",
                expected='a request without "reasons"',
                fix="POST to :explain instead",
            )
        return words(attribution, record, num_reasons, row=row, outcome=self._face.card.target)


def _have_same_type(rows: ExplanationRows, others: ExplanationRows) -> bool:
    """Whether they are asked for the same: parts of files and texts take longer."""
    return type(rows.features) is type(others.features)


def _join_rows(face: ModelAdapter, rows: list[ExplanationRows]) -> Arrays:
    targets = np.concatenate([each.targets for each in rows])
    join: Callable[[list[Any]], Arrays] = getattr(face, "join_questions", face.join)
    return {**join([each.features for each in rows]), "targets": targets}


def _concat_outputs(outputs: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}


def _ignore_batch(num_rows: int, duration_s: float) -> None:
    """Of single batches nobody is told."""


def _ignore_result(_: JobOutputs | Exception) -> None:
    """Of a job that is never submitted nobody is told."""


def _set_result(told: asyncio.Future[JobOutputs | Exception], found: JobOutputs | Exception) -> None:
    if not told.done():
        told.set_result(found)
