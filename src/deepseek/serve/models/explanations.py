"""Explanations of predictions: computed in a process of their own, because they are slow and must not delay others,
and queued, limited and cancelled like predictions.

    explainers = ExplainerPool(config, emit, engines=True)      # of a server
    explanations = ModelExplanations(key, adapter, explainers, settings, emit)   # of one of its models
    explained = await explanations.explain(request, batch.features, targets)

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
from deepseek.serve.core.rate_limits import deadline_error
from deepseek.serve.core.request import Request
from deepseek.serve.models.adapter import ModelAdapter
from deepseek.serve.models.explanation_throttle import ExplanationThrottle

#: Rows of several requests that are explained together at most: those behind them wait for all of them, and
#: a row may
#: take 0.1 s.
BATCH_ROWS = 8
SLICE_S = 0.1  # of a large request: a row costs a third in a large slice
OPEN_TIMEOUT_S = 120.0  # that opening a model's explainer may take; a process that hangs in it is killed and replaced


class ReasonCodes(Protocol):
    """Sentences on the largest contributions to a row, largest first, none on those that contribute nothing."""

    def __call__(
        self, attribution: Attribution, record: Record, num_reasons: int, *, row: int, outcome: str
    ) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class ExplanationConfig:
    """How a server explains predictions."""

    explainer_for: Callable[[Any], Explainer] | None = None  # makes the explainer of a loaded model
    reason_codes: ReasonCodes | None = None
    module: str = ""  # Python module of the explaining process; "": this process explains, in a thread


class ExplainerPool:
    """The workers that explain, for all models of a server."""

    def __init__(self, config: ExplanationConfig, emit: Callable[[Event], None], *, engines: bool) -> None:
        """`engines`: whether engines run in processes of their own, so that this process computes nothing."""
        self.pool = WorkerPool()
        self.throttle = ExplanationThrottle()
        self.config = config
        self._emit = emit
        self._in_processes = engines and bool(config.module)
        self._runs: dict[str, RunBatch] = {}
        self._processes: EngineProcesses | None = None
        self._starting = asyncio.Lock()
        self._open_tasks: dict[str, asyncio.Task[None]] = {}  # by model; done once its explainer is open

    @property
    def pids(self) -> list[int]:
        return [] if self._processes is None else self._processes.pids

    async def open(self, model: str, adapter: ModelAdapter, deadline_s: float) -> None:
        """Open a model's explainer, if it is not open. Raises why it cannot be; DeadlineError. A failure is tried again
        at the next call, except for a package that is not installed."""
        task = self._open_tasks.get(model)
        if task is None or (task.done() and not isinstance(task.exception(), (NoneType, ExtraError))):
            task = self._open_tasks[model] = asyncio.get_running_loop().create_task(self._open(model, adapter))
        if not task.done():
            await asyncio.wait([task], timeout=max(0.0, deadline_s - perf_counter()))
        if not task.done():
            raise deadline_error()
        task.result()

    async def close_model(self, model: str) -> None:
        """Close a model's explainer, which frees its memory."""
        task = self._open_tasks.pop(model, None)
        if task is None:
            return
        await asyncio.wait([task])
        self._runs.pop(model, None)
        if self._processes is not None:
            await self._processes.close_model(model)

    async def close(self) -> None:
        """End the explaining process, and cancel what is being opened."""
        for task in self._open_tasks.values():
            task.cancel()
        self.pool.close()
        if self._processes is not None:
            await self._processes.close()

    async def _open(self, model: str, adapter: ModelAdapter) -> None:
        if self._in_processes:
            processes = await self._start_processes()
            while not processes.num_ready:  # it has died, and is being started again
                await asyncio.sleep(FIRST_PAUSE_S)
            await processes.open(model, adapter.spec)
            return
        self._runs[model] = _make_local_run(self.config.explainer_for, adapter)
        if not self.pool.num_workers:
            self.pool.add(LocalWorker(self._runs))

    async def _start_processes(self) -> EngineProcesses:
        async with self._starting:
            if self._processes is None:
                processes = EngineProcesses(self.pool, 1, self._emit, self.config.module, OPEN_TIMEOUT_S)
                await processes.start({})
                self._processes = processes
            return self._processes


def _make_local_run(explainer_for: Callable[[Any], Explainer] | None, adapter: ModelAdapter) -> RunBatch:
    """A function that explains a batch in this process. The explainer is made at its first call, in the thread that
    explains: for a deep forest that takes long."""
    if explainer_for is None:
        raise ExtraError(
            "this server was started without an explainer",
            expected="a server that can explain",
            fix="start it with `deepseek serve`, or give create_app an `explainer_for`",
        )
    explainers: list[Explainer] = []

    def run(arrays: Arrays) -> Arrays:
        if not explainers:
            explainers.append(explainer_for(adapter.runtime))
        return explain_rows(explainers[0], adapter.card.labels, arrays)

    return run


class ExplanationRows:
    """N prepared rows to be explained, and for each the index of its class; -1 for the default."""

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
        adapter: ModelAdapter,
        explainers: ExplainerPool,
        settings: Settings,
        emit: Callable[[int, float], None],
    ) -> None:
        """`emit` is called with the rows and the seconds of every request that was explained."""
        self._model = model
        self._adapter = adapter
        self._explainers = explainers
        self._emit = emit
        self._scheduler = Scheduler(
            model, explainers.pool, batch_rows=BATCH_ROWS, limit_rows=settings.max_queued_rows,
            engine_timeout_s=settings.engine_timeout_s, slice_s=SLICE_S, emit=_ignore_batch,
            join=partial(_join_rows, adapter), concat=_concat_outputs, fits=_have_same_type,
        )  # fmt: skip

    async def wait_for_turn(self, request: Request) -> None:
        """Wait until this request for explanations may begin. DeadlineError."""
        request.is_explanation = True
        await self._explainers.throttle.wait(len(request.body), request.deadline_s)

    @property
    def num_rows(self) -> int:
        """Rows that wait to be explained, or are being explained."""
        return self._scheduler.num_rows

    def record_prediction(self, came_s: float) -> None:
        """Tell the throttle that a prediction came at `came_s`."""
        self._explainers.throttle.record_prediction(came_s)

    def check(self, request: Request, num_rows: int) -> None:
        """BusyError when so many rows would be refused. Called before they are prepared."""
        self._raise_with_retry(Job(num_rows, request.deadline_s, _ignore_result), self._scheduler.check)

    def _raise_with_retry(self, job: Job, admit: Callable[[Job], None]) -> None:
        try:
            admit(job)
        except BusyError as error:
            error.retry_after_s = self._scheduler.retry_after_s
            raise

    async def explain(self, request: Request, features: Any, targets: Sequence[str | None]) -> RowAttributions:
        """Explain N prepared rows. `targets` names the class of each row; None is the default class.

        BusyError, DeadlineError; ExtraError when this server cannot explain the model; NonFiniteError where an
        explanation holds NaN or an infinite number.
        """
        if self._adapter.runtime is None:
            raise ExtraError(
                "labels of single tokens cannot be explained: an explanation of a text is of one answer",
                expected="a model of columns, or one that gives texts classes or embeddings",
                fix="ask this one for predictions alone",
            )
        await self._explainers.open(self._model, self._adapter, request.deadline_s)
        outputs_future: asyncio.Future[JobOutputs | Exception] = asyncio.get_running_loop().create_future()
        job = Job(len(features), request.deadline_s, partial(_set_result, outputs_future), priority=request.priority)
        index_of = {label: index for index, label in enumerate(self._adapter.card.labels)}
        indices = [-1 if target is None else index_of[target] for target in targets]
        job.rows = ExplanationRows(features, np.array(indices, np.int32))
        self._raise_with_retry(job, self._scheduler.admit)
        request.on_cancel = partial(self._scheduler.finish, job, DisconnectedError("the client went away"))
        self._scheduler.submit(job)
        part = await outputs_future
        if isinstance(part, Exception):
            raise part
        explained = unpack_rows(part.arrays)
        if not part.batch.is_finite:
            for attribution in {id(attribution): attribution for attribution, _ in explained}.values():
                rows = [row for row, (owner, _) in enumerate(explained) if owner is attribution]
                check_attribution(attribution, rows, model=self._adapter.name)
        self._emit(job.num_rows, perf_counter() - job.started_s)
        return explained

    def sentences(self, attribution: Attribution, row: int, record: Record, num_reasons: int) -> list[str]:
        """Reasons for the prediction of row `row`, in words. ExtraError when this server has no reason codes."""
        words = self._explainers.config.reason_codes
        if words is None:
            raise ExtraError(
                "this server was started without reason codes",
                expected='a request without "reasons"',
                fix="POST to :explain instead",
            )
        return words(attribution, record, num_reasons, row=row, outcome=self._adapter.card.target)


def _have_same_type(rows: ExplanationRows, others: ExplanationRows) -> bool:
    """Whether two requests ask for the same kind of explanation: parts of files and texts take longer."""
    return type(rows.features) is type(others.features)


def _join_rows(adapter: ModelAdapter, rows: list[ExplanationRows]) -> Arrays:
    targets = np.concatenate([part.targets for part in rows])
    join: Callable[[list[Any]], Arrays] = getattr(adapter, "join_explainer_inputs", adapter.join)
    return {**join([part.features for part in rows]), "targets": targets}


def _concat_outputs(outputs: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}


def _ignore_batch(num_rows: int, duration_s: float, outputs: Arrays) -> None:
    """Emit nothing for single batches; whole requests are counted."""


def _ignore_result(_: JobOutputs | Exception) -> None:
    """The callback of a job that is never submitted."""


def _set_result(future: asyncio.Future[JobOutputs | Exception], result: JobOutputs | Exception) -> None:
    if not future.done():
        future.set_result(result)
