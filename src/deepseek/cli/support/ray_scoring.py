"""`deepseek predict --cluster`: parts of a file scored as tasks of Ray, written in the order of the file.

score_on_cluster(job, parts, writer, counts)

The file is read here, once and in parts, for a column has one type over the whole of it; a worker gets a part and gives
its columns back. Two parts for each worker are under way at a time, however long the file is. A part whose worker dies
is scored again; its rows are written once, when it is its turn.
"""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from click.core import ParameterSource

from deepseek.contracts import JsonObject
from deepseek.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from deepseek.automl.cluster.workers import Workers
    from deepseek.cli.support.writers import Columns, Writer
    from deepseek.data import Table
    from deepseek.engines import MultimodalRuntime, Runtime

PARTS_PER_WORKER = 2  # under way: one is scored, one waits beside it
#: Options that hold on a cluster. All others are refused there, those too that are added later.
CLUSTER_OPTIONS = frozenset(
    ["bundle", "data", "out", "flags", "history", "strict", "key", "open_timeout", "open_memory", "as_json", "cluster"]
)


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """What each worker opens, and how it answers."""

    workers: Workers
    bundle: Path
    digest: str
    key: Path | None
    with_flags: bool
    limits: dict[str, float]  # of the first run of a graph (FirstRunLimits)


def check_options(context: click.Context) -> None:
    """InputError for an option that does not hold on a cluster: nothing that was asked for is left out silently."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in CLUSTER_OPTIONS and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InputError(
                f"{parameter.opts[0]} does not go with --cluster", expected="rows of values that are all scored",
                fix=f"leave {parameter.opts[0]} out, or predict without --cluster",
            )  # fmt: skip


def check_model(runtime: Runtime | MultimodalRuntime) -> None:
    """InputError for a model that reads files or a course of machines: what lies beside a row is not on the workers."""
    from deepseek.engines import Runtime
    from deepseek.features.machines.tables import read_windows

    if not isinstance(runtime, Runtime) or read_windows(runtime.bundle) is not None:
        raise refused_model_error(runtime.bundle.path)


def refused_model_error(bundle: Path) -> InputError:
    """The error for a bundle that reads no rows of values."""
    return InputError(
        f"{bundle} does not score rows of values one by one, and nothing else is scored on a cluster",
        expected="a bundle of a table", fix="predict without --cluster",
    )  # fmt: skip


def score_on_cluster(job: ClusterJob, parts: Iterable[Table], writer: Writer, counts: Counter[tuple[str, str]]) -> None:
    """Answer every row and write it; `counts` gets how many flags there are of each column and reason. The error of
    the first part that cannot be scored; ClusterError where workers die again and again."""
    import ray

    from deepseek.automl.cluster.workers import MAX_RETRIES, get_results

    task: Any = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(answer_part)
    arguments = (str(job.bundle.absolute()), job.digest, job.key and str(job.key.absolute()), job.limits)
    running: deque[Any] = deque()

    def write_first() -> None:
        (answers,) = get_results([running.popleft()], "a part of the rows")
        writer.write(answers.columns)
        counts.update(answers.flags)

    start = 0
    for part in parts:
        if len(running) >= PARTS_PER_WORKER * job.workers.num_workers:
            write_first()
        running.append(task.remote(*arguments, part, start, job.with_flags))
        start += part.num_rows
    while running:
        write_first()


@dataclass(frozen=True, slots=True)
class PartAnswers:
    """What a worker gives back of a part."""

    columns: Columns
    flags: Counter[tuple[str, str]]


def answer_part(
    bundle: str, digest: str, key: str | None, limits: JsonObject, part: Table, start: int, with_flags: bool
) -> PartAnswers:
    """In a worker: the columns of the answers for a part that begins at row `start`."""
    from deepseek.cli.support.scoring import as_columns

    prediction = _open_once(bundle, digest, key, tuple(limits.items())).predict(part, first_row=start)
    columns = as_columns(np.arange(start, start + part.num_rows), prediction, with_flags=with_flags)
    return PartAnswers(columns, Counter((flag.column, flag.what) for flag in prediction.flags))


@functools.cache
def _open_once(bundle: str, digest: str, key: str | None, limits: tuple[tuple[str, float], ...]) -> Runtime:
    """The model, which a worker keeps open. IntegrityError where its machine has another one."""
    from deepseek.engines import Runtime, open_runtime
    from deepseek.engines.first_run import use_limits_of

    with use_limits_of(dict(limits)):
        runtime = open_runtime(bundle, key=None if key is None else Path(key))
    if not isinstance(runtime, Runtime) or runtime.bundle.digest != digest:
        raise IntegrityError(
            f"{bundle} holds another model on a machine of the cluster", expected=digest,
            fix="bring the same bundle to every machine",
        )  # fmt: skip
    return runtime
