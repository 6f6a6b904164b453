"""What a server is doing now, for who watches it: read when it is asked for, so that no request pays for it.

status = read_status(app)
status.models[0].queue_rows, status.num_workers
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from deepseek.serve.app import App
from deepseek.serve.models.served_model import ServedModel

ProcessKind = Literal["front_end", "engine", "explainer", "generator"]
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One loaded version of a model."""

    name: str
    version: str
    engines: str  # what computes it, as its bundle names it: "onnxruntime,trees"; "" where nothing says so
    signature: str  # of its bundle: "good", "none", "not checked"
    created_s: float | None  # when its bundle was made, seconds since 1970; None where nothing says so
    batch_limit_rows: int
    queue_rows: int  # that wait or are computed
    queue_limit_rows: int
    wait_s: float  # until a row that comes now would be computed
    explanation_rows: int  # that wait to be explained or are being explained


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process of the server. `index`: its place among those of its kind, which a successor takes over."""

    kind: ProcessKind
    index: int
    resident_bytes: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class GeneratorStatus:
    """One model that writes text, while its process lives. Tokens since that process began."""

    name: str
    version: str
    num_generating: int  # answers that are written, or wait for it
    prompt_tokens: int
    written_tokens: int
    max_running: int  # answers that are written at a time; further ones wait


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """A front end, with the processes that work for it."""

    is_ready: bool
    num_workers_expected: int
    num_workers: int  # engines that live
    num_workers_busy: int
    explanations_waiting: int  # for their share of time beside predictions
    body_bytes: int  # of large bodies that are held
    body_limit_bytes: int
    models: tuple[ModelStatus, ...]
    generators: tuple[GeneratorStatus, ...]
    processes: tuple[ProcessStatus, ...]


def read_status(app: App) -> ServerStatus:
    """The status of a front end, in its event loop."""
    pool = app.pool
    expected = (app.settings.workers or 1) if app.models else 0
    return ServerStatus(
        is_ready=app.not_ready is None, num_workers_expected=expected, num_workers=pool.num_workers,
        num_workers_busy=pool.num_workers - pool.num_free, explanations_waiting=app.explainers.throttle.num_waiting,
        body_bytes=app.bodies.taken_bytes, body_limit_bytes=app.bodies.limit_bytes,
        models=tuple(_model_status(model) for model in app.models.all()),
        generators=tuple(_generator_statuses(app)), processes=tuple(_process_statuses(app)),
    )  # fmt: skip


def _model_status(model: ServedModel) -> ModelStatus:
    scheduler = model.scheduler
    return ModelStatus(
        model.name, model.version,
        engines=",".join(entry.kind for entry in getattr(model.card, "engines", ())),
        signature=str(getattr(model.adapter, "bundle_signature", "none")),
        created_s=_read_time(model.card.created), batch_limit_rows=scheduler.batch_rows,
        queue_rows=scheduler.num_rows, queue_limit_rows=scheduler.limit_rows, wait_s=scheduler.wait_s(0),
        explanation_rows=model.explanations.num_rows,
    )  # fmt: skip


def _generator_statuses(app: App) -> Iterator[GeneratorStatus]:
    for name, generator in app.generators.items():
        if (process := generator.process) is not None:
            yield GeneratorStatus(
                name, generator.version, process.load(), process.num_prompt_tokens, process.num_written_tokens,
                process.limits.max_running,
            )  # fmt: skip


def _read_time(text: str) -> float | None:
    """A time in ISO as seconds since 1970; None for what is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _process_statuses(app: App) -> Iterator[ProcessStatus]:
    """Of the processes that live now. One that ends while it is read is left out."""
    pids: dict[ProcessKind, list[int]] = {
        "front_end": [os.getpid()],
        "engine": [] if app.processes is None else app.processes.pids,
        "explainer": app.explainers.pids,
        "generator": [generator.process.pid for generator in app.generators.values() if generator.process is not None],
    }
    for kind, group in pids.items():
        for index, pid in enumerate(group):
            figures = read_process(pid)
            if figures is not None:
                yield ProcessStatus(kind, index, *figures)


def read_process(pid: int) -> tuple[int, float] | None:
    """Resident bytes and CPU seconds of a process; None where there is none, or no /proc.

    >>> read_process(0) is None
    True
    """
    folder = Path(f"/proc/{pid}")
    try:
        after_name = (folder / "stat").read_text().rpartition(")")[2].split()
        resident = int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None
    return resident, (int(after_name[11]) + int(after_name[12])) * _TICK_S
