"""One loaded model, and how a request to it is computed: prepare, batch, decide.

    model.submit(request, records, callback)              # callback(outputs or error), once, later
    batch, prediction = await model.predict(request, records) # the same as a coroutine

What arrives in one turn of the event loop is prepared together, a column at a time: that costs a third of what each row
costs by itself. While every worker is busy with a long batch, so is what arrives within a small part of that time: a
text that is tokenized alone, with caches that the engines have emptied, costs three times as much. When preparing does
not succeed, each request is prepared by itself, so that an error names its own.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import accumulate, chain, count
from time import perf_counter
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.inspect import read_promises
from deepseek.bundle.promises import Promises
from deepseek.bundle.read import UNCHECKED_SIGNATURE
from deepseek.contracts import AnsweredRows, Arrays, Batch, Event, Flag, Float32, Prediction, Record, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.engines.checks.finite import are_finite, blame_inputs, check_answers
from deepseek.errors import DeepseekError, NonFiniteError
from deepseek.http_errors import DisconnectedError
from deepseek.nn.model import OutputCalibration
from deepseek.serve.batching.coalesce import Coalescer
from deepseek.serve.batching.jobs import Job, JobOutputs
from deepseek.serve.batching.latency_model import LatencyModel
from deepseek.serve.batching.scheduler import Scheduler
from deepseek.serve.batching.workers import WorkerPool
from deepseek.serve.core.bodies.offload import INLINE_BYTES
from deepseek.serve.core.config import Settings
from deepseek.serve.core.request import EMPTY_MAPPING, Request
from deepseek.serve.models.adapter import ModelAdapter, PreparedRows
from deepseek.serve.models.explanations import ExplainerPool, ModelExplanations

Result = TypeVar("Result")
#: Cells (rows x columns) up to which decoding and preparing stay in the event loop: about 3 ms.
MAX_INLINE_CELLS = 2_000
COLUMN_CELL_DIVISOR = 16  # cells by column that cost as much as one cell of a record
MIN_GATHER_S = 0.001  # a shorter wait needs no timer


EmitEvent = Callable[[Event], None]
_model_counter = count(1)


class ServedModel:
    """One loaded model: its adapter, its queue, and the path of a request through both."""

    def __init__(
        self,
        name: str,
        adapter: ModelAdapter,
        settings: Settings,
        explainers: ExplainerPool,
        emit: EmitEvent,
        pool: WorkerPool,
        *,
        version: str = "",
    ) -> None:
        """`version`: the name of this version, where it differs from the adapter's own."""
        self.name = name
        self.quoted = quote(name)  # for a URL
        self.adapter = adapter
        self.card = adapter.card
        self.version = version or adapter.version
        #: Its name in engines, unique because two of one version may be open at a time.
        self.key = f"{name}@{self.version}#{next(_model_counter)}"
        self.columns = tuple(item.name for item in adapter.card.inputs)
        bundle = getattr(adapter.runtime, "bundle", None)
        #: What it promises of new rows: read now, for the bundle's folder may be replaced while it is served.
        self.promises = Promises() if bundle is None else read_promises(bundle)
        self.calibration: OutputCalibration | None = getattr(adapter.runtime, "calibration", None)
        self._emit = emit
        self._classes: Callable[[Float32], NDArray[np.int64]] | None = None  # of a classifier that is warm
        self._threads = ThreadPoolExecutor(2, f"{name}-large")
        self.scheduler = Scheduler(
            self.key, pool, batch_rows=settings.batch_size if adapter.is_joinable else 1,
            limit_rows=settings.max_queued_rows, row_units=adapter.row_units,
            engine_timeout_s=settings.engine_timeout_s, emit=self._emit_batch,
            join=adapter.join, concat=adapter.concat, fits=adapter.can_join,
        )  # fmt: skip
        self._queue: Scheduler | Coalescer = self.scheduler
        if settings.coalesce and adapter.is_deterministic:
            self._queue = Coalescer(self.scheduler, adapter.identity, self._emit_coalesced)
        self.explanations = ModelExplanations(self.key, adapter, explainers, settings, self._emit_explained)
        #: Finds the error of rows without a prediction, for adapters that have such.
        self.fault: Callable[[Arrays], DeepseekError | None] | None = getattr(adapter, "fault", None)
        self._arrived_jobs: list[Job] = []  # jobs whose rows are not prepared yet
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop has only weak references

    def emit_loaded(self) -> None:
        """Emit that the model is loaded, and whether its signature was not checked."""
        self._emit(Event("model", self.name, self.version, fields={"loaded": True, "digest": self.digest}))
        if getattr(self.adapter, "bundle_signature", "none") == "not checked":
            fields = {"state": "a signature was not checked", "warning": UNCHECKED_SIGNATURE}
            self._emit(Event("server", self.name, self.version, fields=fields))

    async def warm_up(self) -> None:
        """Compute the example alone and in full batches, so that no request pays for a first batch and the latency
        model is fitted."""
        await self._warm(self.adapter.warm_up_rows(1))
        self.scheduler.latency = LatencyModel()  # the first batch is not typical
        for num_rows in (1, self.scheduler.batch_rows, self.scheduler.batch_rows, 1):
            await self._warm(self.adapter.warm_up_rows(num_rows))
        if self.card.labels and hasattr(self.adapter.runtime, "decision"):  # from now on: no answer of the warm-up
            self._classes = self.adapter.runtime.decision.classes

    @cached_property
    def digest(self) -> str:
        """The digest of everything that changes predictions: weights, preprocessing, threshold."""
        return self.card.digest

    @property
    def task(self) -> str:
        return self.card.task

    @cached_property
    def typical_prediction(self) -> Prediction:
        """A prediction of one row, made without the engine: it shows the form of all predictions."""
        return self.adapter.typical_prediction

    def close(self) -> None:
        """Wait for the threads, close the adapter, and emit that the model is unloaded."""
        self.release()
        self.emit_unloaded()

    def release(self) -> None:
        self._threads.shutdown()
        self.adapter.close()

    def emit_unloaded(self) -> None:
        """Emit that this model is unloaded."""
        self._emit(Event("model", self.name, self.version, fields={"loaded": False, "digest": self.digest}))

    def submit(
        self, request: Request, records: Sequence[Record] | Tensors, callback: Callable[[JobOutputs | Exception], None]
    ) -> Job:
        """Compute the outputs for N records. `callback` gets outputs for decide() and rows(), or an error, once.

        BusyError at once when the queue is full.
        """
        num_rows = request.take_rows(len(records))
        callback = partial(self._deliver, request, callback)
        job = Job(num_rows, request.deadline_s, callback, records=records, priority=request.priority)
        self._queue.admit(job)
        if not request.is_explanation:
            self.explanations.record_prediction(job.queued_s)
        request.model, request.answered = self, partial(AnsweredRows, records)
        request.on_cancel = partial(self._abandon, job)
        num_cells = num_rows * self.adapter.row_cells
        is_large = len(request.body) > INLINE_BYTES and not _is_numeric(records)  # a text may be of any length
        if is_large or (num_cells if type(records) is list else num_cells // COLUMN_CELL_DIVISOR) > MAX_INLINE_CELLS:
            self._keep(asyncio.get_running_loop().create_task(self._prepare_large(job)))
            return job
        self._arrived_jobs.append(job)
        if len(self._arrived_jobs) == 1:
            loop, wait_s = asyncio.get_running_loop(), self.scheduler.gather_s
            if wait_s < MIN_GATHER_S:
                loop.call_soon(self._prepare_arrived)
            else:
                loop.call_later(wait_s, self._prepare_arrived)
        return job

    @property
    def retry_after_s(self) -> int:
        return self.scheduler.retry_after_s

    async def compute(self, request: Request, prepared: PreparedRows) -> tuple[PreparedRows, Prediction]:
        """The prediction of rows that are prepared already."""
        num_rows = request.take_rows(len(prepared.features))
        outputs_future: asyncio.Future[JobOutputs] = asyncio.get_running_loop().create_future()
        callback = partial(self._deliver, request, partial(_set_result, outputs_future))
        job = Job(num_rows, request.deadline_s, callback, priority=request.priority)
        self._queue.admit(job)
        request.model, request.on_cancel = self, partial(self._abandon, job)
        self._submit_prepared(job, prepared)
        part = await outputs_future
        record_job(request, job)
        return prepared, self.decide(part)

    async def predict(self, request: Request, records: Sequence[Record] | Tensors) -> tuple[PreparedRows, Prediction]:
        """Prepared rows and the prediction of N records. InputError for records that do not fit the model's columns."""
        outputs_future: asyncio.Future[JobOutputs] = asyncio.get_running_loop().create_future()
        self.submit(request, records, partial(_set_result, outputs_future))
        part = await outputs_future
        record_job(request, part.job)
        return Batch(part.job.rows, part.job.flags), self.decide(part)

    async def prepare(self, request: Request, records: Sequence[Record]) -> PreparedRows:
        """Prepared rows of N records, without a prediction. InputError as predict()."""
        num_cells = request.take_rows(len(records)) * self.adapter.row_cells
        is_large = len(request.body) > INLINE_BYTES
        batch = await self.offload(MAX_INLINE_CELLS + 1 if is_large else num_cells, self.adapter.prepare, records)
        request.model = self
        _count_flags(request, batch.flags)
        return batch

    def decide(self, part: JobOutputs) -> Prediction:
        """The prediction of one request, from its share of a batch."""
        part.prediction = self.adapter.decide(part.arrays, part.job.rows, part.job.flags)
        return part.prediction

    def rows(self, part: JobOutputs, render: Callable[[Prediction], list[Any]]) -> list[Any]:
        """The rendered rows of one request. `render` is called once for all requests of a batch."""
        batch = part.batch
        if batch.rows is None:
            batch.prediction = self.adapter.decide(batch.outputs, batch.inputs, ())
            batch.rows = render(batch.prediction)
        rows: list[Any] = batch.rows[part.start : part.stop]
        for flag in part.job.flags:
            row = rows[flag.row]  # coalesced requests may share the row, without the flag
            rows[flag.row] = row | {"flags": [*row.get("flags", ()), {"column": flag.column, "what": flag.what}]}
        return rows

    async def offload(self, num_cells: int, work: Callable[..., Result], *args: Any) -> Result:
        """work(*args), in a thread when it costs more than MAX_INLINE_CELLS, so that small requests are not delayed."""
        if num_cells <= MAX_INLINE_CELLS:
            return work(*args)
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args))

    def _deliver(
        self, request: Request, callback: Callable[[JobOutputs | Exception], None], result: JobOutputs | Exception
    ) -> None:
        """Pass a request its outputs, or the error of its own rows; others of the batch are not affected."""
        if isinstance(result, JobOutputs):
            answer, result = result, self._fault_of(result, request) or result
            if result is answer:
                request.answered = partial(self._answered_rows, answer)
        callback(result)

    def _answered_rows(self, part: JobOutputs) -> AnsweredRows:
        job, batch = part.job, part.batch
        if part.prediction is not None:
            return AnsweredRows(job.records, part.prediction, 0, (), batch.worker_pid, batch.compute_s)
        return AnsweredRows(job.records, batch.prediction, part.start, job.flags, batch.worker_pid, batch.compute_s)

    def _fault_of(self, part: JobOutputs, request: Request) -> Exception | None:
        """The error of a request's rows: the adapter's, or blame_inputs() for NaN and infinite numbers; else None."""
        if self.fault is None and part.batch.is_finite:
            return None
        outputs = part.arrays
        if self.fault is not None and (error := self.fault(outputs)) is not None:
            return error
        if part.batch.is_finite or are_finite(outputs):
            return None
        try:
            check_answers(self.decide(part), model=self.name, allow_infinite=request.allow_infinite)
        except NonFiniteError as error:
            rows = part.job.rows
            inputs = rows.arrays if isinstance(rows, Tensors) else {}
            return blame_inputs(error, {"a column": rows} if isinstance(rows, np.ndarray) else inputs)
        except Exception as error:  # noqa: BLE001  (deciding by NaN may raise anything; the request gets it)
            return error
        return None

    def _abandon(self, job: Job) -> None:
        self._queue.finish(job, DisconnectedError("the client went away"))

    def _prepare_arrived(self) -> None:
        """Prepare the jobs that arrived, together when that succeeds."""
        jobs, self._arrived_jobs = self._arrived_jobs, []
        together = [job for job in jobs if type(job.records) is list] if len(jobs) > 1 else []
        if len(together) > 1:
            try:
                batch = self.adapter.prepare(list(chain.from_iterable(job.records for job in together)))
            except DeepseekError:
                pass  # one of them is at fault: prepare each by itself, to say which
            else:
                self._share(together, batch)
                jobs = [job for job in jobs if type(job.records) is not list]
        for job in jobs:
            self._prepare(job)

    def _share(self, jobs: Sequence[Job], batch: PreparedRows) -> None:
        """Give each job its rows of a batch that was prepared together."""
        starts = [0, *accumulate(job.num_rows for job in jobs)]
        prepared_s = perf_counter()
        for job, start in zip(jobs, starts, strict=False):
            job.prepared_s = prepared_s
            job.rows = batch.features[start : start + job.num_rows]
            job.cost = self.adapter.cost(job.rows)
        for flag in batch.flags:
            index = bisect_right(starts, flag.row) - 1
            jobs[index].flags += (Flag(flag.row - starts[index], flag.column, flag.what),)
        self._queue.submit(*jobs)

    def _prepare(self, job: Job) -> None:
        try:
            prepared = self.adapter.prepare(job.records)
        except Exception as error:  # noqa: BLE001  (a column's coder may raise anything; the request gets it)
            self._queue.finish(job, error)
        else:
            self._submit_prepared(job, prepared)

    async def _prepare_large(self, job: Job) -> None:
        try:
            loop = asyncio.get_running_loop()
            prepared = await loop.run_in_executor(self._threads, self.adapter.prepare, job.records)
        except Exception as error:  # noqa: BLE001  (as above)
            self._queue.finish(job, error)
        else:
            self._submit_prepared(job, prepared)

    def _submit_prepared(self, job: Job, prepared: PreparedRows) -> None:
        job.rows, job.flags, job.cost = prepared.features, prepared.flags, self.adapter.cost(prepared.features)
        job.prepared_s = perf_counter()
        self._queue.submit(job)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _warm(self, features: Any) -> None:
        outputs_future: asyncio.Future[JobOutputs] = asyncio.get_running_loop().create_future()
        job = Job(len(features), float("inf"), partial(_set_result, outputs_future))
        job.rows, job.cost = features, self.adapter.cost(features)
        self.scheduler.submit(job)
        await outputs_future

    def _emit_batch(self, num_rows: int, duration_s: float, outputs: Arrays) -> None:
        """Emit that a batch was computed; of a classifier with its probabilities (N, C), and what makes a class of
        each row of them."""
        fields: Mapping[str, Any] = EMPTY_MAPPING
        if self._classes is not None:
            fields = {"output": outputs["output"], "labels": self.card.labels, "classes": self._classes}
        self._emit(Event("batch", self.name, self.version, 0, num_rows, duration_s, 0.0, fields))

    def _emit_explained(self, num_rows: int, duration_s: float) -> None:
        self._emit(Event("explain", self.name, self.version, num_rows=num_rows, duration_s=duration_s))

    def _emit_coalesced(self, num_requests: int) -> None:
        self._emit(Event("coalesced", self.name, self.version, fields={"requests": num_requests}))


def _is_numeric(records: Sequence[Record] | Tensors) -> bool:
    """Whether rows are arrays of numbers already."""
    by_column = isinstance(records, ColumnarRows) and isinstance(records.values, np.ndarray)
    return by_column or isinstance(records, Tensors)


def record_job(request: Request, job: Job) -> None:
    """Copy what the event of a request says of its job: time in the queue, changed values."""
    request.queue_s = job.started_s - job.queued_s
    if job.prepared_s:
        request.marks = request.started_s, job.queued_s, job.prepared_s, job.started_s, job.finished_s
    _count_flags(request, job.flags)


def _count_flags(request: Request, flags: Sequence[Flag]) -> None:
    if flags:
        request.flags = Counter((flag.column, flag.what) for flag in flags)


def _set_result(future: asyncio.Future[JobOutputs], result: JobOutputs | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
