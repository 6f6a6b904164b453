"""Since when a column has drifted: by the windows of the log before the one that was measured, one after the other.

    find_starts(logs, "digest = '...'", drifted_references, end_s=..., since_s=86_400.0, prefix="input.")

A column has drifted since the start of the first of the windows that all show it. A window in which too few rows have
the column shows nothing, so what is said is never too early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepseek.observe.drift.columns import measure_columns
from deepseek.observe.drift.reference import ColumnReference
from deepseek.observe.reading.tables import Logs

MAX_WINDOWS = 30  # that are looked at, the measured one among them


@dataclass(frozen=True, slots=True)
class DriftStart:
    """When a drift began, seconds since 1970. `is_open`: the first rows that were looked at show it already, so it may
    have begun before."""

    start_s: float
    is_open: bool


def find_starts(
    logs: Logs, is_ours: str, drifted: Sequence[ColumnReference], *, end_s: float, since_s: float, prefix: str
) -> Mapping[str, DriftStart]:
    """The start of each of these columns, which have drifted in the window of `since_s` seconds up to `end_s`."""
    starts: dict[str, DriftStart] = {}
    going_on = list(drifted)
    for number in range(MAX_WINDOWS):
        high_s = end_s - number * since_s
        low_s = high_s - since_s
        where = f"({is_ours} AND time > {low_s!r} AND time <= {high_s!r})"
        first_s = logs.query(f"SELECT min(time) FROM rows WHERE {where}")[0][0] if going_on else None
        if first_s is None:
            break
        if number:
            shown = {each.name for each in measure_columns(logs, where, going_on, prefix) if each.is_drifted}
            calm = [each for each in going_on if each.name not in shown]
            starts |= {each.name: DriftStart(starts[each.name].start_s, is_open=False) for each in calm}
            going_on = [each for each in going_on if each.name in shown]
        starts |= {each.name: DriftStart(float(first_s), is_open=True) for each in going_on}
    return starts
