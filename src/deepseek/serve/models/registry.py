"""What is loaded, and how a request to it is computed: prepare, batch, decide.

    model.submit(call, records, done)                     # done(answered or error), once, later
    batch, prediction = await model.predict(call, records)    # the same for those who can wait

What arrives in one turn of the event loop is prepared together, a column at a time: that costs a third of what each row
costs by itself. While every worker is busy with a long batch, so is what arrives within a small part of that time: a
text that is tokenized alone, with caches that the engines have emptied, costs three times as much. When preparing does
not succeed, each request is prepared by itself, so that an error names its own.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import accumulate, chain, count
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import numpy as np

from deepseek.bundle.read import UNCHECKED_SIGNATURE
from deepseek.contracts import Arrays, Batch, Event, Flag, Prediction, Record, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.engines.checks.finite import are_finite, blame_inputs, check_answers
from deepseek.errors import DeepseekError, MissingError, NonFiniteError
from deepseek.http_errors import DisconnectedError
from deepseek.plugins import did_you_mean
from deepseek.serve.batching.coalesce import Coalescer
from deepseek.serve.batching.jobs import Job, JobOutputs
from deepseek.serve.batching.latency_model import LatencyModel
from deepseek.serve.batching.scheduler import Scheduler
from deepseek.serve.batching.workers import WorkerPool
from deepseek.serve.core.bodies.offload import INLINE_BYTES
from deepseek.serve.core.config import Settings
from deepseek.serve.core.request import Request
from deepseek.serve.models.adapter import ModelAdapter, PreparedRows, ServableModel, adapt_model
from deepseek.serve.models.explanations import ExplainerPool, ModelExplanations
from deepseek.serve.models.names import check_name
from deepseek.serve.models.routing import ModelVersions, TrafficSplit

Result = TypeVar("Result")
#: Cells (rows x columns) up to which decoding and preparing stay in the event loop: about 3 ms.
MAX_INLINE_CELLS = 2_000
COLUMN_CELL_DIVISOR = 16  # cells that come by column cost what one of a record does
MIN_GATHER_S = 0.001  # for less no timer is set


EmitEvent = Callable[[Event], None]
_model_counter = count(1)


class ServedModel:
    """One loaded model and how its requests are computed."""

    def __init__(
        self,
        name: str,
        face: ModelAdapter,
        settings: Settings,
        explainers: ExplainerPool,
        emit: EmitEvent,
        pool: WorkerPool,
        *,
        version: str = "",
    ) -> None:
        """`version`: what it is called by, where that is not what the face calls itself."""
        self.name = name
        self.quoted = quote(name)  # as it stands in a URL
        self.face = face
        self.card = face.card
        self.version = version or face.version
        self.key = (
            f"{name}@{self.version}#{next(_model_counter)}"  # what engines know it by: two of one version may be open
        )
        self.columns = tuple(item.name for item in face.card.inputs)
        self._emit = emit
        self._threads = ThreadPoolExecutor(2, f"{name}-large")
        self.scheduler = Scheduler(
            self.key, pool, batch_rows=settings.batch_size if face.joins else 1, limit_rows=settings.max_queued_rows,
            row_units=face.row_units, engine_timeout_s=settings.engine_timeout_s, emit=partial(self._computed, "batch"),
            join=face.join, concat=face.concat, fits=face.fits,
        )  # fmt: skip
        self._queue: Scheduler | Coalescer = self.scheduler
        if settings.coalesce and face.repeats:
            self._queue = Coalescer(self.scheduler, face.identity, self._coalesced)
        self.explanations = ModelExplanations(self.key, face, explainers, settings, partial(self._computed, "explain"))
        #: Why single rows of a batch have no answer, where a face knows of such.
        self.fault: Callable[[Arrays], DeepseekError | None] | None = getattr(face, "fault", None)
        self._arrived: list[Job] = []  # and not prepared yet
        self._tasks: set[asyncio.Task[None]] = set()  # a loop alone does not keep them

    def loaded(self) -> None:
        """Tell that the engines are there."""
        self._emit(Event("model", self.name, self.version, fields={"loaded": True, "digest": self.digest}))
        if getattr(self.face, "bundle_signature", "none") == "not checked":
            fields = {"state": "a signature was not checked", "warning": UNCHECKED_SIGNATURE}
            self._emit(Event("server", self.name, self.version, fields=fields))

    async def warm_up(self) -> None:
        """Answer the example alone and in full batches: no request pays for a first time, and the pace is known."""
        await self._warm(self.face.warm(1))
        self.scheduler.pace = LatencyModel()  # the first time is like no other
        for num_rows in (1, self.scheduler.batch_rows, self.scheduler.batch_rows, 1):
            await self._warm(self.face.warm(num_rows))

    @cached_property
    def digest(self) -> str:
        """It changes with what changes answers: the weights, the preprocessing, the threshold."""
        return self.card.digest

    @property
    def task(self) -> str:
        return self.card.task

    @cached_property
    def typical(self) -> Prediction:
        """One answer, without its engine: it shows what answers look like."""
        return self.face.typical

    def close(self) -> None:
        """Wait for the threads, then let go of what was opened, and tell."""
        self.let_go()
        self.unloaded()

    def let_go(self) -> None:
        self._threads.shutdown()
        self.face.close()

    def unloaded(self) -> None:
        """Tell that this model answers no more."""
        self._emit(Event("model", self.name, self.version, fields={"loaded": False, "digest": self.digest}))

    def submit(
        self, call: Request, records: Sequence[Record] | Tensors, done: Callable[[JobOutputs | Exception], None]
    ) -> Job:
        """Compute the answers for N records. `done` is called once, with what decided() and rows() take, or an error.

        BusyError at once when the queue is full.
        """
        num_rows = call.take_rows(len(records))
        done = partial(self._checked, call, done)
        job = Job(num_rows, call.deadline_s, done, records=records, priority=call.priority)
        self._queue.admit(job)
        if not call.explains:
            self.explanations.give_way(job.queued_s)
        call.model = self
        call.cancel = partial(self._abandon, job)
        num_cells = num_rows * self.face.row_cells
        is_large = len(call.body) > INLINE_BYTES and not _is_numeric(records)  # a text may be of any length
        if is_large or (num_cells if type(records) is list else num_cells // COLUMN_CELL_DIVISOR) > MAX_INLINE_CELLS:
            self._keep(asyncio.get_running_loop().create_task(self._prepare_large(job)))
            return job
        self._arrived.append(job)
        if len(self._arrived) == 1:
            loop, wait_s = asyncio.get_running_loop(), self.scheduler.spare_s
            if wait_s < MIN_GATHER_S:
                loop.call_soon(self._prepare_arrived)
            else:
                loop.call_later(wait_s, self._prepare_arrived)
        return job

    @property
    def retry_after_s(self) -> int:
        return self.scheduler.retry_after_s

    async def compute(self, call: Request, prepared: PreparedRows) -> tuple[PreparedRows, Prediction]:
        """Answers for rows that are prepared already."""
        num_rows = call.take_rows(len(prepared.features))
        told: asyncio.Future[JobOutputs] = asyncio.get_running_loop().create_future()
        done = partial(self._checked, call, partial(_set_result, told))
        job = Job(num_rows, call.deadline_s, done, priority=call.priority)
        job.rows, job.flags, job.cost = prepared.features, prepared.flags, self.face.cost(prepared.features)
        self._queue.admit(job)
        call.model, call.cancel = self, partial(self._abandon, job)
        self._queue.submit(job)
        part = await told
        record_job(call, job)
        return prepared, self.decided(part)

    async def predict(self, call: Request, records: Sequence[Record] | Tensors) -> tuple[PreparedRows, Prediction]:
        """Prepared rows and answers for N records. InputError for what does not fit the model's columns."""
        told: asyncio.Future[JobOutputs] = asyncio.get_running_loop().create_future()
        self.submit(call, records, partial(_set_result, told))
        part = await told
        record_job(call, part.job)
        return Batch(part.job.rows, part.job.flags), self.decided(part)

    async def prepare(self, call: Request, records: Sequence[Record]) -> PreparedRows:
        """Prepared rows of N records that need no answers. InputError as predict()."""
        num_cells = call.take_rows(len(records)) * self.face.row_cells
        is_large = len(call.body) > INLINE_BYTES
        batch = await self.offload(MAX_INLINE_CELLS + 1 if is_large else num_cells, self.face.prepare, records)
        call.model = self
        _count_flags(call, batch.flags)
        return batch

    def decided(self, part: JobOutputs) -> Prediction:
        """The answers of a part, as arrays."""
        outputs = {name: array[part.start : part.stop] for name, array in part.batch.outputs.items()}
        return self.face.decide(outputs, part.job.rows, part.job.flags)

    def rows(self, part: JobOutputs, render: Callable[[Prediction], list[Any]]) -> list[Any]:
        """What `render` makes of each row. It is called once for all requests of a batch."""
        batch = part.batch
        if batch.rows is None:
            batch.rows = render(self.face.decide(batch.outputs, batch.inputs, ()))
        rows: list[Any] = batch.rows[part.start : part.stop]
        for flag in part.job.flags:
            row = rows[flag.row]  # others may have the same, without the flag
            rows[flag.row] = row | {"flags": [*row.get("flags", ()), {"column": flag.column, "what": flag.what}]}
        return rows

    async def offload(self, num_cells: int, work: Callable[..., Result], *args: Any) -> Result:
        """work(*args), in a thread when it is large, so that small requests and health checks get their turn."""
        if num_cells <= MAX_INLINE_CELLS:
            return work(*args)
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args))

    def _checked(
        self, call: Request, done: Callable[[JobOutputs | Exception], None], found: JobOutputs | Exception
    ) -> None:
        """Tell of a request's own rows why they have no answer; who was computed with it is told its answers."""
        done(found if isinstance(found, Exception) else self._fault_of(found, call) or found)

    def _fault_of(self, part: JobOutputs, call: Request) -> Exception | None:
        """Why rows of a part have no answer; where it would hold NaN or an infinite number what blame_inputs() says."""
        if self.fault is None and part.batch.is_finite:
            return None
        outputs = {name: array[part.start : part.stop] for name, array in part.batch.outputs.items()}
        if self.fault is not None and (error := self.fault(outputs)) is not None:
            return error
        if part.batch.is_finite or are_finite(outputs):
            return None
        try:
            check_answers(self.decided(part), model=self.name, allow_infinite=call.allow_infinite)
        except NonFiniteError as error:
            rows = part.job.rows
            given = rows.arrays if isinstance(rows, Tensors) else {}
            return blame_inputs(error, {"a column": rows} if isinstance(rows, np.ndarray) else given)
        except Exception as error:  # noqa: BLE001  (deciding by NaN may raise what it likes; the request is told)
            return error
        return None

    def _abandon(self, job: Job) -> None:
        self._queue.cancel(job, DisconnectedError("the client went away"))

    def _prepare_arrived(self) -> None:
        """Prepare what arrived, together when that succeeds."""
        jobs, self._arrived = self._arrived, []
        together = [job for job in jobs if type(job.records) is list] if len(jobs) > 1 else []
        if len(together) > 1:
            try:
                batch = self.face.prepare(list(chain.from_iterable(job.records for job in together)))
            except DeepseekError:
                pass  # one of them is at fault: each by itself, to say which
            else:
                self._share(together, batch)
                jobs = [job for job in jobs if type(job.records) is not list]
        for job in jobs:
            self._prepare(job)

    def _share(self, jobs: Sequence[Job], batch: PreparedRows) -> None:
        """Give each job its rows of a batch that was prepared together."""
        starts = [0, *accumulate(job.num_rows for job in jobs)]
        for job, start in zip(jobs, starts, strict=False):
            job.rows = batch.features[start : start + job.num_rows]
            job.cost = self.face.cost(job.rows)
        for flag in batch.flags:
            at = bisect_right(starts, flag.row) - 1
            jobs[at].flags += (Flag(flag.row - starts[at], flag.column, flag.what),)
        self._queue.submit(*jobs)

    def _prepare(self, job: Job) -> None:
        try:
            batch = self.face.prepare(job.records)
        except Exception as error:  # noqa: BLE001  (a column's coder may raise what it likes; the request is told)
            self._queue.cancel(job, error)
            return
        job.rows, job.flags, job.cost = batch.features, batch.flags, self.face.cost(batch.features)
        self._queue.submit(job)

    async def _prepare_large(self, job: Job) -> None:
        try:
            loop = asyncio.get_running_loop()
            batch = await loop.run_in_executor(self._threads, self.face.prepare, job.records)
        except Exception as error:  # noqa: BLE001  (as above)
            self._queue.cancel(job, error)
            return
        job.rows, job.flags, job.cost = batch.features, batch.flags, self.face.cost(batch.features)
        self._queue.submit(job)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _warm(self, features: Any) -> None:
        told: asyncio.Future[JobOutputs] = asyncio.get_running_loop().create_future()
        job = Job(len(features), float("inf"), partial(_set_result, told))
        job.rows, job.cost = features, self.face.cost(features)
        self.scheduler.submit(job)
        await told

    def _computed(self, kind: Literal["batch", "explain"], num_rows: int, duration_s: float) -> None:
        self._emit(Event(kind, self.name, self.version, num_rows=num_rows, duration_s=duration_s))

    def _coalesced(self, num_requests: int) -> None:
        self._emit(Event("coalesced", self.name, self.version, fields={"requests": num_requests}))


def _is_numeric(records: Sequence[Record] | Tensors) -> bool:
    """Whether rows are arrays of numbers already."""
    return isinstance(records, Tensors) or (
        isinstance(records, ColumnarRows) and isinstance(records.values, np.ndarray)
    )


def record_job(call: Request, job: Job) -> None:
    """What the event of a call should say of its job, which is done."""
    call.queue_s = job.started_s - job.queued_s
    _count_flags(call, job.flags)


def _count_flags(call: Request, flags: Sequence[Flag]) -> None:
    if flags:
        call.flags = Counter((flag.column, flag.what) for flag in flags)


def _set_result(told: asyncio.Future[JobOutputs], found: JobOutputs | Exception) -> None:
    if told.done():
        return
    if isinstance(found, Exception):
        told.set_exception(found)
    else:
        told.set_result(found)


class ModelRegistry(Mapping[str, ServedModel]):
    """What is loaded, by name: for each model the version that stands for it. `slots` hold the others too."""

    def __init__(
        self,
        settings: Settings,
        explainers: ExplainerPool,
        emit: EmitEvent,
        pool: WorkerPool,
        splits: Mapping[str, TrafficSplit],
    ) -> None:
        self.slots: dict[str, ModelVersions[ServedModel]] = {}
        self._shared = settings, explainers, emit, pool
        self.splits = splits

    def make(self, name: str, model: ServableModel, version: str = "") -> ServedModel:
        """A model that is not loaded yet. InputError for a name that no route can hold."""
        check_name(name)
        return ServedModel(name, adapt_model(model), *self._shared, version=version)

    def put(self, model: ServedModel) -> ServedModel | None:
        """Load a model. Returns the one whose place it takes."""
        if model.name not in self.slots:
            self.slots[model.name] = ModelVersions(model.name, self.splits.get(model.name))
        return self.slots[model.name].put(model)

    def pick(self, name: str, call: Request, version: str = "") -> ServedModel:
        """Who answers a call to a model, or to one of its versions. MissingError."""
        slot = self.slots.get(name)
        model = None if slot is None else slot.versions.get(version) or slot.pick(call)
        if model is None:
            raise self.missing(name)
        return model

    def all(self) -> list[ServedModel]:
        """Every version of every model."""
        return [model for slot in self.slots.values() for model in slot.versions.values()]

    def __getitem__(self, name: str) -> ServedModel:
        model = self.slots[name].main
        if model is None:
            raise KeyError(name)
        return model

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, slot in self.slots.items() if slot.main is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def missing(self, name: str) -> MissingError:
        """The error for a name that is not loaded."""
        return MissingError(
            f"there is no model {name[:100]!r}.{did_you_mean(name[:100], self)}",
            expected=", ".join(self) or "no model is loaded",
            fix="GET /v1/models lists them",
        )

    def missing_version(self, name: str, version: str) -> MissingError:
        """The error for a version of a model that is not loaded."""
        return MissingError(
            f"the model {name!r} has no version {version[:40]!r}",
            expected=", ".join(self.slots[name].versions),
            fix="name one of these, or leave the version out for the one that is served",
        )
