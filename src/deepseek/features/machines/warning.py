"""Early warning: a machine against its own best, with hysteresis, and alarms that latch with their reason.

    rule = fit_warning(definition, machines, lives)        # where alarms begin, by machines whose end is known
    alarm = find_alarm(definition, rule, machine)          # None, or since when and why

A machine's own baseline is the best level that its health index has had so far, by the running median of 31 rows: a
machine that runs in gets better first. The drop is that level less the running median of the last 9 rows. An alarm
begins when the drop was above `on` for `hold` rows in a row, and is quiet again when it was below `off` as long. It is
latched: that it was raised stays, until a person resets it. The drop is a weighted sum over sensors, so each sensor's
part in it is exact, to medians, and is the reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.contracts import Float64, JsonObject
from deepseek.errors import InputError, IntegrityError
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.history import History
from deepseek.features.machines.life import Life
from deepseek.features.machines.windows import carry_forward

if TYPE_CHECKING:
    from deepseek.bundle.read import Bundle

WARNING_FILE = "warning.json"  # in a bundle
WIDTH = 9  # rows of the running median: one wild value moves nothing
BEST_WIDTH = 31  # rows of the running median that a best level is taken of; before so many there is no alarm
#: Drops at which alarms may begin, in standard deviations of the index over the training rows.
LEVELS = tuple(0.25 * 2 ** (step / 4) for step in range(19))
HOLDS = (5, 15, 30)  # rows
OFF_SHARE = 0.5  # of `on`
EARLY_COST = 2.0  # machines found that one alarm in the first half of a life is worth
MAX_REASONS = 3


@dataclass(frozen=True, slots=True)
class WarningRule:
    """Where alarms begin and end, in units of the health index."""

    on: float
    off: float
    hold: int  # rows
    num_machines: int  # whose end was known, by which it was chosen
    num_found: int  # of them, with an alarm in the second half of their life
    num_early: int  # with one in the first half
    median_lead: float  # of those found, as a share of their life

    def to_dict(self) -> JsonObject:
        return asdict(self)

    def to_json(self) -> bytes:
        """The file in a bundle."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Reason:
    """One sensor of an alarm."""

    sensor: str
    change: float  # since the machine was at its best, in spreads of the training rows
    share: float  # of what pulled the index down, 0..1


@dataclass(frozen=True, slots=True)
class Alarm:
    """The first alarm of a machine, latched."""

    row: int  # of the machine, in which it was raised
    time: float
    reasons: tuple[Reason, ...]  # the drop deviation first
    is_active: bool  # at the machine's last row
    num_episodes: int  # how often it was raised, quiet in between

    def to_dict(self) -> JsonObject:
        return asdict(self)


def read_warning(bundle: Bundle) -> WarningRule | None:
    """The rule that a bundle holds; None where it holds none. IntegrityError for one that does not fit."""
    if not bundle.has(WARNING_FILE):
        return None
    try:
        rule: WarningRule = parse_value(
            WarningRule, parse_json_object(bundle.read(WARNING_FILE), WARNING_FILE), WARNING_FILE
        )
    except InputError as error:
        raise IntegrityError(
            f"{bundle.path}: {WARNING_FILE} is no rule of alarms: {error}",
            expected="the rule as its maker wrote it", fix="do not use this bundle",
        ) from error  # fmt: skip
    if not (0 < rule.off <= rule.on and rule.hold >= 1):
        raise IntegrityError(
            f"{bundle.path}: {WARNING_FILE} begins alarms at {rule.on} and ends them at {rule.off}",
            expected="an end at or below the beginning", fix="do not use this bundle",
        )  # fmt: skip
    return rule


def find_alarm(definition: WindowDefinition, rule: WarningRule, machine: History) -> Alarm | None:
    """The alarm that is latched at the machine's last row. Each moment sees itself and what was before."""
    course = _IndexCourse.of(definition, machine)
    raised, is_active = _episodes(course.drop, rule.on, rule.off, rule.hold)
    if not raised:
        return None
    row = raised[0]
    return Alarm(row, float(machine.time[row]), course.reasons(definition, row), is_active, len(raised))


def index_drop(definition: WindowDefinition, machine: History) -> Float64:
    """(n,) how far the health index is below the machine's own best so far; 0 while there is no best level."""
    return _IndexCourse.of(definition, machine).drop


@dataclass(frozen=True, slots=True, eq=False)
class _IndexCourse:
    """A machine's index over its n rows."""

    scaled: Float64  # (n, S) sensors in spreads; a silent one holds what it said last: no news is neither good nor bad
    best_row: NDArray[np.int64]  # (n,) the end of the window of the best level so far
    drop: Float64  # (n,)

    @classmethod
    def of(cls, definition: WindowDefinition, machine: History) -> _IndexCourse:
        signals = definition.scale(carry_forward(machine.values))
        index = signals[:, -1]
        num_rows = len(index)
        drop, best_row = np.zeros(num_rows), np.zeros(num_rows, np.int64)
        if num_rows > BEST_WIDTH:
            first = BEST_WIDTH - 1  # the first row with a whole window
            level = np.median(sliding_window_view(index, BEST_WIDTH), axis=-1)
            best = np.maximum.accumulate(level)
            best_row[first:] = first + np.maximum.accumulate(np.where(level >= best, np.arange(len(level)), 0))
            recent = np.median(sliding_window_view(index, WIDTH), axis=-1)[BEST_WIDTH - WIDTH :]
            drop[first:] = best - recent
        return cls(np.nan_to_num(signals[:, :-1]), best_row, drop)

    def reasons(self, definition: WindowDefinition, row: int) -> tuple[Reason, ...]:
        """The sensors that pulled the index down most at a row."""
        end = self.best_row[row] + 1
        best = np.median(self.scaled[max(end - BEST_WIDTH, 0) : end], axis=0)
        change = np.median(self.scaled[max(row + 1 - WIDTH, 0) : row + 1], axis=0) - best
        part = -change * np.array([sensor.health for sensor in definition.sensors])
        total = float(np.maximum(part, 0).sum()) or 1.0
        order = np.argsort(-part, kind="stable")[:MAX_REASONS]
        names = definition.sensor_names
        return tuple(Reason(names[at], float(change[at]), float(part[at] / total)) for at in order if part[at] > 0)


def fit_warning(definition: WindowDefinition, machines: Sequence[History], lives: Sequence[Life]) -> WarningRule | None:
    """The rule that finds most machines in the second half of their life, an alarm in the first half counting
    EARLY_COST against it, then the one of longest lead. None where no machine's end is known."""
    known = [
        (index_drop(definition, machine), machine.time - machine.time[0], life.remaining)
        for machine, life in zip(machines, lives, strict=True)
        if not life.is_censored and len(machine) > BEST_WIDTH
    ]
    rows = np.concatenate([definition.scale(machine.values)[:, -1] for machine in machines])
    spread = float(rows.std()) or 1.0
    best: WarningRule | None = None
    for on in (level * spread for level in LEVELS):
        for hold in HOLDS:
            leads = [_lead(drop, passed, left, on, hold) for drop, passed, left in known]
            early_leads = [lead for lead in leads if lead is not None and lead <= 0.5]
            num_early = sum(lead is not None and lead > 0.5 for lead in leads)
            median_lead = float(np.median(early_leads)) if early_leads else 0.0
            rule = WarningRule(on, OFF_SHARE * on, hold, len(known), len(early_leads), num_early, median_lead)
            if known and (best is None or _worth(rule) > _worth(best)):
                best = rule
    return best


def _worth(rule: WarningRule) -> tuple[float, float]:
    return rule.num_found - EARLY_COST * rule.num_early, rule.median_lead


def _lead(drop: Float64, passed: Float64, left: Float64, on: float, hold: int) -> float | None:
    """How much of its life the machine had left when its first alarm was raised, 0..1; None without an alarm."""
    raised, _ = _episodes(drop, on, OFF_SHARE * on, hold, first_only=True)
    if not raised:
        return None
    row = raised[0]
    return float(left[row] / max(passed[row] + left[row], 1e-12))


def _episodes(drop: Float64, on: float, off: float, hold: int, *, first_only: bool = False) -> tuple[list[int], bool]:
    """The rows in which an alarm was raised, and whether the last one is still on."""
    above, below = _run_lengths(drop > on), _run_lengths(drop < off)
    raised: list[int] = []
    row = 0
    while row < len(drop):
        starts = np.flatnonzero(above[row:] >= hold)
        if not len(starts):
            return raised, False
        row += int(starts[0])
        raised.append(row)
        if first_only:
            break
        ends = np.flatnonzero(below[row:] >= hold)
        if not len(ends):
            return raised, True
        row += int(ends[0])
    return raised, bool(raised) and first_only


def _run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) how many rows up to this one are true without a break."""
    place = np.arange(1, len(mask) + 1)
    return np.asarray(place - np.maximum.accumulate(np.where(mask, 0, place)))
