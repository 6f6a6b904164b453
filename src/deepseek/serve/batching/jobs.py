"""What waits for an engine and what comes back: jobs, slices of them, parts of a batch's outputs."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from deepseek.contracts import Arrays, Flag, Prediction
from deepseek.engines.checks.finite import are_finite
from deepseek.errors import DeepseekError

JobCallback = Callable[["JobOutputs | Exception"], None]


class Job:
    """The rows of one request while they are computed."""

    __slots__ = (
        "callback", "cost", "counted_cost", "deadline_s", "finished_s", "flags", "is_finished", "next_row",
        "num_deaths", "num_left", "num_rows", "parts", "prepared_s", "priority", "queued_s", "records", "rows",
        "started_s",
    )  # fmt: skip

    def __init__(
        self, num_rows: int, deadline_s: float, callback: JobCallback, *, records: Any = None, priority: int = 1
    ) -> None:
        self.num_rows = num_rows
        self.deadline_s = deadline_s  # on the clock of perf_counter
        self.callback = callback
        self.records = records  # the rows before they are prepared
        self.priority = priority  # 0 (first) to 2
        self.rows: Any = ()  # prepared: an array (N, ...), or whatever else has a length and can be sliced
        self.flags: tuple[Flag, ...] = ()
        self.cost = num_rows  # in the units of the latency model: rows, or tokens
        self.queued_s = perf_counter()
        self.prepared_s = 0.0  # when its rows were prepared; 0 for one that another job is computed for
        self.started_s = 0.0  # when its first row was given to a worker
        self.finished_s = 0.0  # when it had its outputs, or an error
        self.next_row = 0  # the first that no worker has got
        self.num_left = num_rows  # rows without an answer
        self.parts: list[tuple[int, Arrays]] = []  # first row and outputs of each slice, once there are several
        self.num_deaths = 0
        #: Its cost as counted among the waiting jobs: 0 when another job is computed for it, None while it is not
        #: counted.
        self.counted_cost: int | None = None
        self.is_finished = False  # whether it has its result, or was cancelled

    def finish(self, result: JobOutputs | Exception) -> None:
        """Pass the outputs or the error to the callback."""
        self.is_finished = True
        self.finished_s = perf_counter()
        # Callback and job refer to each other: a cycle would wait for the garbage collector.
        callback, self.callback = self.callback, _ignore_result
        callback(result)


def _ignore_result(_: JobOutputs | Exception) -> None:
    """The callback of a job that is finished."""


class JobOutputs:
    """The outputs of one job: rows `start` to before `stop` of `batch`, which all jobs of the batch share.
    `prediction`: what was made of them, where it was made for this job alone."""

    __slots__ = ("batch", "job", "prediction", "start", "stop")

    def __init__(self, job: Job, batch: BatchOutputs, start: int, stop: int) -> None:
        self.job = job
        self.batch = batch
        self.start = start
        self.stop = stop
        self.prediction: Prediction | None = None

    @property
    def arrays(self) -> Arrays:
        """The outputs of this job alone, as views (N, ...)."""
        return {name: array[self.start : self.stop] for name, array in self.batch.outputs.items()}


class BatchOutputs:
    """The outputs of a batch. `prediction`, `rows`: made of them once for all jobs of the batch, and rendered."""

    __slots__ = ("_finite", "_slices", "compute_s", "outputs", "prediction", "rows", "worker_pid")

    def __init__(self, outputs: Arrays, slices: list[JobSlice], *, worker_pid: int = 0, compute_s: float = 0.0) -> None:
        """`worker_pid`: the engine process that computed it in `compute_s`; 0 is this process, or several."""
        self.outputs = outputs
        self.worker_pid = worker_pid
        self.compute_s = compute_s
        self.prediction: Prediction | None = None
        self.rows: Any = None
        self._slices = slices
        self._finite: bool | None = None  # None: not checked yet

    @property
    def is_finite(self) -> bool:
        """Whether all numbers of all rows are finite; checked once for all jobs of the batch."""
        if self._finite is None:
            self._finite = are_finite(self.outputs)
        return self._finite

    @property
    def inputs(self) -> list[Any]:
        """The prepared rows of all jobs, one by one."""
        return [row for job, start, stop in self._slices for row in job.rows[start:stop]]


JobSlice = tuple[Job, int, int]  # rows of a job that are computed together: from, to


def slice_cost(rows: JobSlice) -> int:
    """The cost of some rows of a job, in the units of the latency model."""
    job, start, stop = rows
    return job.cost if stop - start == job.num_rows else job.cost * (stop - start) // job.num_rows


def join_slices(job: Job, concat: Callable[[list[Arrays]], Arrays]) -> JobOutputs | DeepseekError:
    """The outputs of all slices of a job, in the order of its rows; or the error why they cannot be joined."""
    try:
        outputs = concat([part for _, part in sorted(job.parts, key=lambda part: part[0])])
    except DeepseekError as error:
        return error
    return JobOutputs(job, BatchOutputs(outputs, [(job, 0, job.num_rows)]), 0, job.num_rows)
