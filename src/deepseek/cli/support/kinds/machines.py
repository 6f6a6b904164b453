"""Raw sensors for bundles of machines: their window rows for any verb, and what `predict` writes of them.

data = machine_rows(bundle, data)                   # a Table for a bundle with windows, else `data` as it is
is_done = predict_machines(MachineJob(runtime, data, out, ...))
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.cli.support import output

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject
    from deepseek.data import Table
    from deepseek.engines import MultimodalRuntime, Runtime
    from deepseek.features.machines.definition import WindowDefinition
    from deepseek.features.machines.tables import WindowRows
    from deepseek.features.machines.warning import Alarm
    from deepseek.recipes.maintenance.page import MachineCourse

MAX_NOTES = 10
COURSE_POINTS = 40  # of a machine's curve on the page


def machine_rows(bundle: Path, data: Path | str, *, labelled: bool = False) -> Any:
    """The rows that the model reads, of raw sensors in the file `data`; the path itself for a bundle without windows,
    and for what is no bundle. `labelled`: with the capped remaining life, from a column of that name, else by each
    machine's last row. InputError as make_rows() raises it."""
    from deepseek.bundle import open_bundle
    from deepseek.errors import DeepseekError
    from deepseek.features.machines.tables import make_rows, read_windows

    try:
        definition = read_windows(open_bundle(bundle))
    except DeepseekError:
        return data  # whoever opens the model says what it lacks
    if definition is None:
        return data
    from deepseek.data import read_table

    table = read_table(data)
    rows = make_rows(definition, table)
    note_all(rows.notes)
    window_rows = rows.table.drop([definition.unit, definition.time])
    return with_target(definition, table, window_rows) if labelled else window_rows


def with_target(definition: WindowDefinition, sensors: Table, rows: Table) -> Table:
    """The rows with their capped remaining life: those whose life is known."""
    from deepseek.data import Table
    from deepseek.features.machines.history import MachineColumns, read_histories
    from deepseek.features.machines.life import read_lives

    columns = MachineColumns(definition.unit, definition.time)
    histories = read_histories(sensors, columns, definition.sensor_names)
    column = definition.target if definition.target in sensors.columns else None
    target = np.full(sensors.num_rows, np.nan)
    for machine, life in zip(histories.machines, read_lives(sensors, histories, rul=column), strict=True):
        target[machine.rows] = np.minimum(life.remaining, definition.cap)
    if column is None:
        output.note(f"there is no column {definition.target!r}: each machine's last row counts as its failure")
    labelled = Table({**rows.columns, definition.target: target}, {**rows.types, definition.target: "number"})
    return labelled.take(np.flatnonzero(np.isfinite(target)))


@dataclass(frozen=True, slots=True)
class MachineJob:
    """What `predict` was asked of a bundle of machines."""

    runtime: Runtime | MultimodalRuntime
    data: Path
    out: Path | None
    html: Path | None
    all_rows: bool
    as_json: bool
    has_history: bool = False


def predict_machines(job: MachineJob) -> bool:
    """Write unit, time, rul, low and high, at the last time of each machine or at each, to `out` or as CSV on stdout;
    with --json one object, which has "predictions" where there is no `out`. False, and nothing is done, for a bundle
    that has no windows. InputError as make_rows() raises it, and for options of machines without any."""
    from deepseek.errors import InputError
    from deepseek.features.machines.tables import make_rows, read_windows

    definition = read_windows(job.runtime.bundle)
    if definition is None:
        if job.all_rows or job.html is not None:
            raise _no_machines_error(job)
        return False
    if job.has_history:
        raise InputError(
            f"{job.runtime.bundle.path} reads all rows of a machine from DATA itself", expected="no --history",
            fix="put the earlier rows of each machine into DATA",
        )  # fmt: skip
    from deepseek.data import read_table

    rows = make_rows(definition, read_table(job.data))
    note_all(rows.notes)
    _write_lives(job, definition, rows)
    return True


def _write_lives(job: MachineJob, definition: WindowDefinition, rows: WindowRows) -> None:
    from deepseek.cli.support.writers import RecordsWriter, open_writer
    from deepseek.look.summary import count_by_reason

    chosen = np.arange(rows.table.num_rows) if job.all_rows else rows.last_rows
    table = rows.table.take(chosen)
    prediction = job.runtime.predict(table.drop([definition.unit, definition.time]))
    unit, time = (_as_written(table, name) for name in (definition.unit, definition.time))
    values, interval = np.asarray(prediction.values), np.asarray(prediction.intervals)
    columns = {"unit": unit, "time": time, "rul": values, "low": interval[:, 0], "high": interval[:, 1]}
    records = RecordsWriter()
    if job.out is None and job.as_json:
        records.write(columns)
    else:
        with open_writer(job.out) as writer:
            writer.write(columns)
    alarms = _alarms(job, definition, rows)
    if job.html is not None:
        _write_page(job, job.html, definition, rows, alarms)
    counts: Counter[tuple[str, str]] = Counter((flag.column, flag.what) for flag in prediction.flags)
    document: JsonObject = {
        "bundle": str(job.runtime.bundle.path), "digest": job.runtime.bundle.digest, "num_rows": len(chosen),
        "num_machines": len(rows.histories.machines), "flags": count_by_reason(counts), "notes": list(rows.notes),
        "alarms": [{"unit": name, **alarm.to_dict()} for name, alarm in alarms.items()],
        **({"predictions": records.rows} if job.out is None else {"out": str(job.out)}),
    }  # fmt: skip
    if job.as_json:
        output.emit(document, job.as_json)
    elif job.out is not None:
        output.note(f"{len(chosen)} rows of {len(rows.histories.machines)} machines scored into {job.out}; "
                    f"{len(alarms)} machines have an alarm")  # fmt: skip


def _no_machines_error(job: MachineJob) -> Exception:
    from deepseek.errors import InputError

    return InputError(
        f"{job.runtime.bundle.path} knows no machines: --all and --html are of their remaining life",
        expected="a bundle of deepseek recipe maintenance", fix=f"leave {'--all' if job.all_rows else '--html'} out",
    )  # fmt: skip


def _alarms(job: MachineJob, definition: WindowDefinition, rows: WindowRows) -> dict[str, Alarm]:
    """The latched alarm of each machine that has one, by its name."""
    from deepseek.features.machines.warning import find_alarm, read_warning

    rule = read_warning(job.runtime.bundle)
    if rule is None:
        return {}
    alarms = ((machine.name, find_alarm(definition, rule, machine)) for machine in rows.histories.machines)
    return {name: alarm for name, alarm in alarms if alarm is not None}


def _write_page(
    job: MachineJob, html: Path, definition: WindowDefinition, rows: WindowRows, alarms: dict[str, Alarm]
) -> None:
    """The fleet, the most urgent first, each machine with its course."""
    from deepseek.files import atomic_file
    from deepseek.recipes.maintenance.page import MachineCourse, render_page

    courses = []
    for machine in rows.histories.machines:
        steps = np.unique(np.linspace(0, len(machine) - 1, min(COURSE_POINTS, len(machine))).round().astype(int))
        part = rows.table.take(machine.rows[steps]).drop([definition.unit, definition.time])
        prediction = job.runtime.predict(part)
        values, interval = np.asarray(prediction.values), np.asarray(prediction.intervals)
        courses.append(MachineCourse(machine.name, machine.time[steps], values, interval, alarms.get(machine.name)))
    courses = _with_reasons(job, definition, rows, courses)
    page = render_page(courses, definition, data=job.data.name, digest=job.runtime.bundle.digest)
    with atomic_file(html) as part_file:
        part_file.write_text(page, encoding="utf-8")
    output.note(f"the page is in {html}")


def _with_reasons(
    job: MachineJob, definition: WindowDefinition, rows: WindowRows, courses: list[MachineCourse]
) -> list[MachineCourse]:
    """The courses, those that stand open on the page with the reasons of their last answer."""
    from deepseek.engines import Runtime
    from deepseek.recipes.maintenance.page import MOST_OPEN
    from deepseek.recipes.maintenance.reasons import explain_machines

    if not isinstance(job.runtime, Runtime):
        return courses
    urgent = np.argsort([course.left for course in courses], kind="stable")[:MOST_OPEN]
    table = rows.table.take(rows.last_rows[urgent]).drop([definition.unit, definition.time])
    features = job.runtime.prepare_table(table).features
    owners = job.runtime.preprocessor.owners()
    reasons = explain_machines(job.runtime.model, owners, definition, features, score=job.runtime.score)
    of_course = dict(zip(urgent.tolist(), reasons, strict=True))
    return [replace(course, reasons=of_course.get(place)) for place, course in enumerate(courses)]


def note_all(notes: tuple[str, ...]) -> None:
    """The first of them, and how many more there are."""
    for note in notes[:MAX_NOTES]:
        output.note(output.escape_text(note))
    if len(notes) > MAX_NOTES:
        output.note(f"and {len(notes) - MAX_NOTES} more such notes: --json has them all")


def _as_written(table: Table, name: str) -> Any:
    """A column as it is written: whole numbers without a point."""
    values = table.column(name)
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        return values.astype(np.int64)
    return values if values.dtype.kind != "O" else values.astype(str)
