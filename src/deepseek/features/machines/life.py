"""How long each machine still had: by failures, by a column of remaining life, or its last row is its failure.

    lives = read_lives(table, histories, failure="broke")      # or rul="rul"; neither: each last row is a failure

A machine that did not fail while it was watched is censored: at each row it had at least the time to its last row. That
says enough where the bound is above the cap, and elsewhere keeps a guess from being too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float64
from deepseek.data.table.table import Table, unknown_column_error
from deepseek.errors import InputError
from deepseek.features.machines.history import Histories, History

CAP_SHARE = 0.625  # of the median life: before that, machines are as good as new and their end cannot be seen
TOLERANCE = 1e-6  # of a column of remaining life, relative, in which it may differ from the times


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """One machine's remaining life at each of its n rows, in units of time (hours where times are dates)."""

    remaining: Float64  # (n,) NaN where it is not known
    at_least: Float64  # (n,) it was at least so long

    @property
    def is_censored(self) -> bool:
        return bool(np.isnan(self.remaining).all())


def read_lives(table: Table, histories: Histories, *, failure: str | None = None, rul: str | None = None) -> list[Life]:
    """The life of each machine, in the order of `histories`. InputError for both columns at once, values that are none
    of theirs, and rows after a failure."""
    if failure is not None and rul is not None:
        raise InputError(
            f"both a failure ({failure!r}) and a remaining life ({rul!r}) are named", expected="one of them",
            fix="leave --failure or --rul out",
        )  # fmt: skip
    for name, expected in ((failure, "0 or 1"), (rul, "numbers")):
        if name is None:
            continue
        if name not in table.columns:
            raise unknown_column_error(name, table.names, where="the table of sensors")
        if table.types[name] not in ("number", "boolean"):
            raise InputError(f"the column {name!r} holds {table.types[name]}", expected=expected, fix="convert it")
    if failure is not None:
        flags = table.column(failure)
        if not np.isin(flags[np.isfinite(flags)], (0, 1)).all():
            raise InputError(
                f"the column {failure!r} holds other numbers than 0 and 1",
                expected="1 in the row of a failure, else 0",
                fix="name a column of remaining life with --rul, or convert it",
            )  # fmt: skip
        return [_life_by_failure(machine, flags[machine.rows], failure) for machine in histories.machines]
    if rul is not None:
        values = table.column(rul)
        return [_life_by_column(machine, values[machine.rows], rul) for machine in histories.machines]
    return [Life(left := _to_last(machine), left) for machine in histories.machines]


def default_cap(histories: Histories, lives: Sequence[Life]) -> float:
    """CAP_SHARE of the median life of the machines whose end is known, as a round number. InputError where none is."""
    spans = [
        float(machine.time[-1] - machine.time[0] + life.remaining[-1])
        for machine, life in zip(histories.machines, lives, strict=True)
        if not life.is_censored and np.isfinite(life.remaining[-1])
    ]
    wanted = CAP_SHARE * float(np.median(spans)) if spans else 0.0
    if wanted <= 0:
        raise InputError(
            "no machine's end is known", expected="machines that failed while they were watched",
            fix="bring such machines, or name the column that says when with --failure or --rul",
        )  # fmt: skip
    step = 5 * 10.0 ** (np.floor(np.log10(wanted)) - 2)
    return float(np.round(wanted / step) * step)


def _to_last(machine: History) -> Float64:
    return np.asarray(machine.time[-1] - machine.time)


def _life_by_failure(machine: History, flags: Float64, column: str) -> Life:
    failed = np.flatnonzero(flags == 1)
    if not len(failed):
        return Life(np.full(len(machine), np.nan), _to_last(machine))
    if failed[0] != len(machine) - 1:
        raise InputError(
            f"{machine.name!r} has rows after its failure, the first in row {int(machine.rows[failed[0] + 1])}",
            expected=f"{column!r} = 1 in the last row of a machine alone",
            fix="give a repaired machine a new name, or leave the rows after its failure out",
        )  # fmt: skip
    return Life(left := _to_last(machine), left)


def _life_by_column(machine: History, values: Float64, column: str) -> Life:
    """What the column says of one row says it of all rows of the machine."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return Life(np.full(len(machine), np.nan), _to_last(machine))
    if values[known].min() < 0:
        raise InputError(
            f"{column!r} of {machine.name!r} is {values[known].min():g}", expected="remaining life from 0 on",
            fix="mend the column",
        )  # fmt: skip
    ends = values[known] + machine.time[known]
    is_capped = (np.diff(values[known]) == 0).any() and len(known) > 1  # as many tables hold it: constant, then falling
    if not is_capped and np.ptp(ends) > TOLERANCE * max(1.0, float(np.abs(ends).max())) + 1e-6:
        raise InputError(
            f"{column!r} of {machine.name!r} does not fall by what passes in its time: its ends differ by "
            f"{np.ptp(ends):g}", expected="remaining life in the unit of the time column",
            fix="convert it, or leave --rul out where the last row is the failure",
        )  # fmt: skip
    remaining = ends[-1] - machine.time
    return Life(remaining, remaining)
