"""Early warning: a machine against its own baseline, with hysteresis, and alarms that latch with their reason.

    rule = fit_warning(definition, histories, lives)       # where alarms begin, by machines whose end is known
    alarm = find_alarm(definition, rule, machine)          # None, or since when and why

A signal's deviation is the running median of its last rows less the machine's own baseline, in units of the machine's
own noise there. An alarm begins when the largest deviation of any signal was above `on` for `hold` rows in a row, and
is quiet again when it was below `off` as long. It is latched: that it was raised stays, until a person resets it.
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
BASELINE_ROWS = 30  # of a machine's own baseline, or a fifth of its rows where it has few
MIN_BASELINE_ROWS = 5
MAD_SIGMA = 1.4826  # median absolute deviations in a standard deviation of normal noise
NOISE_FLOOR = 0.1  # in spreads of the training rows: a signal that stands still has no noise to compare with
LEVELS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)
HOLDS = (5, 15)
OFF_SHARE = 0.5  # of `on`
EARLY_COST = 2.0  # machines found that one alarm in the first half of a life is worth
MAX_REASONS = 3


@dataclass(frozen=True, slots=True)
class WarningRule:
    """Where alarms begin and end, in units of a machine's own noise."""

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
    """One signal of an alarm."""

    signal: str
    deviation: float  # in units of the machine's own noise, signed


@dataclass(frozen=True, slots=True)
class Alarm:
    """The first alarm of a machine, latched."""

    row: int  # of the machine, in which it was raised
    time: float
    reasons: tuple[Reason, ...]  # the largest deviation first
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
    deviation = deviations(definition, machine)
    largest = np.abs(deviation).max(axis=1)
    raised, is_active = _episodes(largest, rule.on, rule.off, rule.hold)
    if not raised:
        return None
    at = deviation[raised[0]]
    order = np.argsort(-np.abs(at), kind="stable")[:MAX_REASONS]
    reasons = [Reason(definition.signals[place], float(at[place])) for place in order if abs(at[place]) > rule.off]
    return Alarm(raised[0], float(machine.time[raised[0]]), tuple(reasons), is_active, len(raised))


def deviations(definition: WindowDefinition, machine: History) -> Float64:
    """(n, S) of each signal, in units of the machine's own noise; 0 while its baseline is being taken, and where there
    is no value."""
    signals = definition.scale(machine.values)
    num_rows = min(BASELINE_ROWS, max(MIN_BASELINE_ROWS, len(signals) // 5))
    if len(signals) <= num_rows:
        return np.zeros_like(signals)
    first = signals[:num_rows]
    known = np.isfinite(first).any(axis=0)
    usual = np.zeros(signals.shape[1])
    usual[known] = np.nanmedian(first[:, known], axis=0)
    noise = np.full(signals.shape[1], NOISE_FLOOR)
    noise[known] = np.maximum(MAD_SIGMA * np.nanmedian(np.abs(first[:, known] - usual[known]), axis=0), NOISE_FLOOR)
    held = carry_forward(signals)  # a silent sensor says nothing new: neither an alarm nor that one is over
    deviation = (_running_median(np.where(np.isfinite(held), held, usual)) - usual) / noise
    deviation[:num_rows] = 0.0
    deviation[:, ~known] = 0.0
    return np.asarray(deviation)


def fit_warning(definition: WindowDefinition, machines: Sequence[History], lives: Sequence[Life]) -> WarningRule | None:
    """The rule that finds most machines in the second half of their life, an alarm in the first half counting
    EARLY_COST against it, then the one of longest lead. None where no machine's end is known."""
    known = [
        (np.abs(deviations(definition, machine)).max(axis=1), machine.time - machine.time[0], life.remaining)
        for machine, life in zip(machines, lives, strict=True)
        if not life.is_censored and len(machine) > MIN_BASELINE_ROWS
    ]
    best: WarningRule | None = None
    for on in LEVELS:
        for hold in HOLDS:
            leads = [_lead(largest, passed, left, on, hold) for largest, passed, left in known]
            found = [lead for lead in leads if lead is not None and lead <= 0.5]
            num_early = sum(lead is not None and lead > 0.5 for lead in leads)
            median_lead = float(np.median(found)) if found else 0.0
            rule = WarningRule(on, OFF_SHARE * on, hold, len(known), len(found), num_early, median_lead)
            if known and (best is None or _worth(rule) > _worth(best)):
                best = rule
    return best


def _worth(rule: WarningRule) -> tuple[float, float]:
    return rule.num_found - EARLY_COST * rule.num_early, rule.median_lead


def _lead(largest: Float64, passed: Float64, left: Float64, on: float, hold: int) -> float | None:
    """How much of its life the machine had left when its first alarm was raised, 0..1; None without an alarm."""
    raised, _ = _episodes(largest, on, OFF_SHARE * on, hold, first_only=True)
    if not raised:
        return None
    row = raised[0]
    return float(left[row] / max(passed[row] + left[row], 1e-12))


def _episodes(
    largest: Float64, on: float, off: float, hold: int, *, first_only: bool = False
) -> tuple[list[int], bool]:
    """The rows in which an alarm was raised, and whether the last one is still on."""
    above, below = _run_lengths(largest > on), _run_lengths(largest < off)
    raised: list[int] = []
    row = 0
    while row < len(largest):
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


def _running_median(values: Float64) -> Float64:
    """(n, S) over the last WIDTH rows, or over those there are, the first repeated."""
    padded = np.concatenate([np.repeat(values[:1], WIDTH - 1, axis=0), values])
    return np.asarray(np.median(sliding_window_view(padded, WIDTH, axis=0), axis=-1))
