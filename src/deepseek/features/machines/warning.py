"""Early warning: a machine against its own best, with hysteresis, and alarms that latch with their reason.

    rule = fit_warning(definition, machines, lives)        # where alarms begin, by machines whose end is known
    alarm = find_alarm(definition, rule, machine)          # None, or since when and why

A machine's own baseline is the best level that its health index has had so far, by the running median of 31 rows: a
machine that runs in gets better first. The drop is that level less the running median of the last 9 rows. An alarm
begins in three ways. What has gathered: the drop, and so much more as the machine has outlived others (in proportional
hazards, too, age and condition add up: Cox 1972, section 5), was above `on` for `hold` rows in a row. What cannot be
mistaken: the drop was above `sure` for SURE_HOLD rows, which is more than any machine of training had in the first half
of its life. What comes at once: the last SURE_HOLD rows all lay more than `jump` below the median of the 9 before them,
again more than any machine had in its first half; some machines are quiet until minutes before their end. It is quiet
again when the drop was below a half of all that for `hold` rows. It is latched: that it was raised stays, until a
person resets it. The drop is a weighted sum over sensors, so each sensor's part in it is exact, to
medians, and is the reason.
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
GOOD_LEAD = 0.2  # of a life: more is not worth more
LATE_WORTH = 0.3  # of a machine found without any lead: its end was seen, and little could be done
#: Of the logarithm of the age, in the same spreads a doubling of the typical life: so much less of a drop is needed.
#: 0: the age does not count.
AGE_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
SURE_HOLD = 3  # rows
SURE_SHARE = 1.25  # of the largest drop or jump in the first half of a life, from which on there is no doubt
JUMP_ROWS = WIDTH + SURE_HOLD  # that a jump is told by
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
    age_weight: float = 0.0  # of the logarithm of the age, in units of the index a doubling
    typical_rows: float = 1.0  # the median life of the machines whose end was known, in rows
    sure: float = 0.0  # the drop that raises an alarm whatever the age; 0: none does
    jump: float = 0.0  # the drop from one row to the next that does; 0: none does

    @classmethod
    def from_json(cls, data: bytes, file: str) -> WarningRule:
        """The inverse of to_json(). InputError for what is no rule of alarms."""
        rule: WarningRule = parse_value(cls, parse_json_object(data, file), file)
        if not (0 < rule.off <= rule.on and rule.hold >= 1 and rule.typical_rows > 0):
            raise InputError(
                f"{file} begins alarms at {rule.on} and ends them at {rule.off}",
                expected="an end at or below the beginning", fix="make the bundle again",
            )  # fmt: skip
        return rule

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
        return WarningRule.from_json(bundle.read(WARNING_FILE), WARNING_FILE)
    except InputError as error:
        raise IntegrityError(
            f"{bundle.path}: {WARNING_FILE} is no rule of alarms: {error}",
            expected="the rule as its maker wrote it", fix="do not use this bundle",
        ) from error  # fmt: skip


def find_alarm(definition: WindowDefinition, rule: WarningRule, machine: History) -> Alarm | None:
    """The alarm that is latched at the machine's last row. Each moment sees itself and what was before."""
    course = _IndexCourse.of(definition, machine)
    age = np.arange(1, len(course.drop) + 1)
    is_high, is_sure, is_jump, is_low = judge_rows(rule, course.drop, course.jump, age)
    is_raised = (_run_lengths(is_high) >= rule.hold) | (_run_lengths(is_sure) >= SURE_HOLD) | is_jump
    raised, is_active = _episodes(is_raised, _run_lengths(is_low) >= rule.hold)
    if not raised:
        return None
    row = raised[0]
    return Alarm(row, float(machine.time[row]), course.reasons(definition, row), is_active, len(raised))


def index_drop(definition: WindowDefinition, machine: History) -> Float64:
    """(n,) how far the health index is below the machine's own best so far; -inf while there is no best level."""
    return _IndexCourse.of(definition, machine).drop


@dataclass(frozen=True, slots=True, eq=False)
class _IndexCourse:
    """A machine's index over its n rows."""

    scaled: Float64  # (n, S) sensors in spreads; a silent one holds what it said last: no news is neither good nor bad
    best_row: NDArray[np.int64]  # (n,) the end of the window of the best level so far
    drop: Float64  # (n,)
    jump: Float64  # (n,) how far the last rows, all of them, are below those before them

    @classmethod
    def of(cls, definition: WindowDefinition, machine: History) -> _IndexCourse:
        signals = definition.scale(carry_forward(machine.values))
        index = signals[:, -1]
        num_rows = len(index)
        drop, jump, best_row = np.full(num_rows, -np.inf), np.full(num_rows, -np.inf), np.zeros(num_rows, np.int64)
        if num_rows >= BEST_WIDTH:
            first = BEST_WIDTH - 1  # the first row with a whole window
            level = middle_value(sliding_window_view(index, BEST_WIDTH), axis=-1)
            best = np.maximum.accumulate(level)
            best_row[first:] = first + np.maximum.accumulate(np.where(level >= best, np.arange(len(level)), 0))
            recent = middle_value(sliding_window_view(index, WIDTH), axis=-1)[BEST_WIDTH - WIDTH :]
            drop[first:] = best - recent
            jump[first:] = measure_jump(sliding_window_view(index, JUMP_ROWS)[first + 1 - JUMP_ROWS :])
        return cls(np.where(np.isnan(scaled := signals[:, :-1]), 0.0, scaled), best_row, drop, jump)

    def reasons(self, definition: WindowDefinition, row: int) -> tuple[Reason, ...]:
        """The sensors that pulled the index down most at a row."""
        end = self.best_row[row] + 1
        best = middle_value(self.scaled[end - BEST_WIDTH : end], axis=0)
        change = middle_value(self.scaled[row + 1 - WIDTH : row + 1], axis=0) - best
        names = definition.sensor_names
        return tuple(Reason(names[at], moved, share) for at, moved, share in share_reasons(definition, change))


def share_reasons(definition: WindowDefinition, change: Float64) -> list[tuple[int, float, float]]:
    """The sensors that pulled the index down most when all of them changed so (S,): place, change, share."""
    part = -change * np.array([sensor.health for sensor in definition.sensors])
    total = float(np.maximum(part, 0).sum()) or 1.0
    order = np.argsort(-part, kind="stable")[:MAX_REASONS]
    return [(int(at), float(change[at]), float(part[at] / total)) for at in order if part[at] > 0]


def middle_value(values: Float64, axis: int) -> Float64:
    """The median along an axis of an odd number of finite values, in a tenth of the time of numpy's."""
    half = values.shape[axis] // 2
    return np.asarray(np.take(np.partition(values, half, axis=axis), half, axis=axis))


def measure_jump(recent: Float64) -> Float64:
    """(n,): how far the last SURE_HOLD of JUMP_ROWS indices (n, JUMP_ROWS), all of them, lie below the median of those
    before them."""
    return np.asarray(middle_value(recent[:, :WIDTH], axis=1) - recent[:, WIDTH:].max(axis=1))


def judge_rows(
    rule: WarningRule, drop: Float64, jump: Float64, age: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) each, of drops and jumps at an age in rows: whether a row is above `on`, above `sure`, above `jump`, and
    quiet."""
    score = drop + rule.age_weight * np.log2(age / rule.typical_rows)
    is_sure, is_jump = (drop > rule.sure) & (rule.sure > 0), (jump > rule.jump) & (rule.jump > 0)
    is_quiet = (score < rule.off) & ~is_jump  # of which the drop, a median, knows nothing yet
    for level in (rule.sure, rule.jump):
        is_quiet &= (drop < OFF_SHARE * level) | (level <= 0)
    return score > rule.on, is_sure, is_jump, is_quiet


@dataclass(frozen=True, slots=True, eq=False)
class _KnownLife:
    """A machine whose end is known, over its n rows."""

    drop: Float64  # (n,)
    jump: Float64  # (n,)
    doublings: Float64  # (n,) of the typical age
    lead: Float64  # (n,) share of its life that was left

    def leads(self, on: float, age_weight: float, sure: float, jump: float) -> list[float | None]:
        """How much of its life was left at its first alarm, for each of HOLDS; None without an alarm."""
        above = _run_lengths(self.drop + age_weight * self.doublings > on)
        is_sure = (_run_lengths(self.drop > sure) >= SURE_HOLD) | (self.jump > jump)
        raised = [(above >= hold) | is_sure for hold in HOLDS]
        return [float(self.lead[np.argmax(rows)]) if rows.any() else None for rows in raised]

    @property
    def largest_early(self) -> tuple[float, float]:
        """In the first half of its life: the largest drop of SURE_HOLD rows in a row, and the largest jump."""
        is_early = self.lead > 0.5
        early = self.drop[is_early]
        if len(early) < SURE_HOLD:
            return 0.0, 0.0
        drop = float(sliding_window_view(early, SURE_HOLD).min(axis=-1).max())
        return max(drop, 0.0), max(float(self.jump[is_early].max()), 0.0)


def fit_warning(definition: WindowDefinition, machines: Sequence[History], lives: Sequence[Life]) -> WarningRule | None:
    """The rule whose alarms are worth most: one machine for each that is found in the second half of its life with a
    good lead, less for a short one, and EARLY_COST against it for one in the first half. A level counts by what it and
    its neighbors do: the best of many by a hair would not be the best for another machine. None where no machine's end
    is known."""
    known = [
        (machine, life) for machine, life in zip(machines, lives, strict=True)
        if not life.is_censored and len(machine) >= BEST_WIDTH
    ]  # fmt: skip
    if not known:
        return None
    spread = float(np.concatenate([definition.scale(machine.values)[:, -1] for machine in machines]).std()) or 1.0
    typical_rows = float(np.median([_life_rows(machine, life) for machine, life in known]))
    courses = [_known_life(definition, machine, life, typical_rows) for machine, life in known]
    sure, jump = SURE_SHARE * np.max([course.largest_early for course in courses], axis=0)
    best: tuple[float, WarningRule] | None = None
    for weight in AGE_WEIGHTS:
        counts = [_count_leads(courses, level * spread, weight * spread, sure, jump) for level in LEVELS]
        for place, hold in enumerate(HOLDS):
            for at in range(1, len(LEVELS) - 1):
                _, num_found, num_early, lead = counts[at][place]
                worth = float(np.mean([counts[near][place][0] for near in (at - 1, at, at + 1)]))
                if best is None or worth > best[0]:
                    on = LEVELS[at] * spread
                    rule = WarningRule(
                        on, OFF_SHARE * on, hold, len(known), num_found, num_early, lead,
                        weight * spread, typical_rows, float(sure), float(jump),
                    )  # fmt: skip
                    best = worth, rule
    return None if best is None else best[1]


def _life_rows(machine: History, life: Life) -> float:
    """A whole life in rows, of a machine that may have been cut."""
    passed = float(machine.time[-1] - machine.time[0])
    return len(machine) * (1 + float(life.remaining[-1]) / passed) if passed > 0 else float(len(machine))


def _known_life(definition: WindowDefinition, machine: History, life: Life, typical_rows: float) -> _KnownLife:
    passed = machine.time - machine.time[0]
    share = life.remaining / np.maximum(passed + life.remaining, 1e-12)
    doublings = np.log2(np.arange(1, len(machine) + 1) / typical_rows)
    course = _IndexCourse.of(definition, machine)
    return _KnownLife(course.drop, course.jump, doublings, share)


def _count_leads(
    courses: Sequence[_KnownLife], on: float, age_weight: float, sure: float, jump: float
) -> list[tuple[float, int, int, float]]:
    """For each of HOLDS: what its alarms are worth, machines found, alarms in the first half, the median lead of those
    found."""
    counts = []
    for leads in zip(*(course.leads(on, age_weight, sure, jump) for course in courses), strict=True):
        early = [lead for lead in leads if lead is not None and lead > 0.5]
        late = [lead for lead in leads if lead is not None and lead <= 0.5]
        worth = sum(LATE_WORTH + (1 - LATE_WORTH) * min(lead / GOOD_LEAD, 1.0) for lead in late)
        counts.append((worth - EARLY_COST * len(early), len(late), len(early), float(np.median(late)) if late else 0.0))
    return counts


def _episodes(is_raised: NDArray[np.bool_], is_ended: NDArray[np.bool_]) -> tuple[list[int], bool]:
    """The rows in which an alarm was raised, and whether the last one is still on."""
    raised: list[int] = []
    row = 0
    while row < len(is_raised):
        starts = np.flatnonzero(is_raised[row:])
        if not len(starts):
            return raised, False
        row += int(starts[0])
        raised.append(row)
        ends = np.flatnonzero(is_ended[row:])
        if not len(ends):
            return raised, True
        row += int(ends[0]) + 1
    return raised, False


def _run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) how many rows up to this one are true without a break."""
    place = np.arange(1, len(mask) + 1)
    return np.asarray(place - np.maximum.accumulate(np.where(mask, 0, place)))
