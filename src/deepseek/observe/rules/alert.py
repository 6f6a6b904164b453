"""One alert: its rule, what it means and what to do, and the series by which its rule is tested.

An alert is tested on made-up series: quiet ones, on which it must not fire; then bad ones, until it must have fired;
then quiet ones again, until it must have ended. A Signal says what a series does in both phases, by the thresholds, so
that the tests hold for a user's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from deepseek.observe.rules.thresholds import Thresholds

Severity = Literal["critical", "warning"]
Phase = Callable[[Thresholds], float]
EVALUATION_S = 60  # between two evaluations of the rules, and between two scrapes, at most


@dataclass(frozen=True, slots=True)
class Signal:
    """A series of the unit tests. A counter grows by so much a step, a gauge stands at it."""

    series: str  # name{labels}
    quiet: Phase
    bad: Phase
    is_counter: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule, its runbook and its test."""

    name: str
    expression: Callable[[Thresholds], str]
    for_s: int  # how long it must hold before the alert fires
    window_s: int  # of the longest range that the expression looks back over; 0 where it looks at the last value
    severity: Severity
    summary: str  # one line, with {{ $labels.x }}
    meaning: str  # what is wrong for whom
    checks: tuple[str, ...]  # what to look at, in order
    actions: tuple[str, ...]  # what to do
    signals: tuple[Signal, ...]
    thresholds: tuple[str, ...] = ()
    needs: str = ""  # what must be there for its metrics to have samples
    history_s: int = 0  # how far back an offset of the expression looks

    @property
    def fires_within_s(self) -> int:
        """At most so long after it began to hold: the window, the wait, a scrape and two evaluations."""
        return self.window_s + self.for_s + 3 * EVALUATION_S


def without_threshold(expression: str) -> Callable[[Thresholds], str]:
    """An expression that has no threshold."""
    return lambda _: expression


def gauge(series: str, quiet: Phase | float, bad: Phase | float) -> Signal:
    """A series that stands at a value."""
    return Signal(series, _phase(quiet), _phase(bad))


def counter(series: str, quiet: Phase | float, bad: Phase | float) -> Signal:
    """A series that grows by a value each step."""
    return Signal(series, _phase(quiet), _phase(bad), is_counter=True)


def _phase(value: Phase | float) -> Phase:
    return value if callable(value) else lambda _: value
