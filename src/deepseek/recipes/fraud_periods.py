"""Which transactions teach, which set the threshold, and which judge: by time, with the delay of verdicts between.

    periods = cut_periods(time, definition)
    |-- windows fill --|---- train ----|- delay -|-- held --|- delay -|-- test --|

On the day a model is made for, the verdicts of the last days are not out: no period may learn from rows that are nearer
to what it is judged on than that delay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.table.values import DAY_MS
from deepseek.errors import InputError
from deepseek.features.definition import FeatureDefinition, duration_s

JUDGE_SHARE = 0.2  # of the usable time, for each of the two periods that judge
MAX_WARM_UP_SHARE = 1 / 3  # of all time: a short table learns from windows that are not yet full
MIN_USABLE_DAYS = 5
#: The latest so many rows teach. Fraud changes its ways, and a forest on a million rows would take hours. On July weeks
#: of the handbook's data twice the 150,000 rows of before found a tenth more frauds at the same bound.
MAX_TRAIN_ROWS = 300_000


@dataclass(frozen=True, slots=True, eq=False)
class Period:
    """Rows (N,) from start to before end, in milliseconds since 1970."""

    start_ms: int
    end_ms: int
    rows: NDArray[np.int64]

    @property
    def rows_per_day(self) -> float:
        """All rows of the period, with a verdict or without."""
        return len(self.rows) * DAY_MS / (self.end_ms - self.start_ms)


@dataclass(frozen=True, slots=True, eq=False)
class Periods:
    """The three periods, each the delay of verdicts after the one before."""

    train: Period
    held: Period  # chooses the model and sets the threshold
    test: Period

    def by_name(self) -> Iterator[tuple[str, Period]]:
        """Each with its name, in order."""
        yield from (("train", self.train), ("held", self.held), ("test", self.test))


def cut_periods(time: NDArray[Any], definition: FeatureDefinition) -> Periods:
    """The periods of rows with these moments (N,) datetime64[ms]. InputError for too short a time."""
    moment = time.astype("datetime64[ms]").astype(np.int64)
    first, last = int(moment.min()), int(moment.max()) + 1
    delay_ms = duration_s(definition.label_delay) * 1_000
    windows_ms = max(duration_s(key.windows[-1]) for key in definition.keys.values()) * 1_000
    warm_up_ms = min(windows_ms + delay_ms, int((last - first) * MAX_WARM_UP_SHARE))
    usable_ms = last - first - warm_up_ms - 2 * delay_ms
    if usable_ms < MIN_USABLE_DAYS * DAY_MS:
        needed_ms = (2 * delay_ms + MIN_USABLE_DAYS * DAY_MS) / (1 - MAX_WARM_UP_SHARE)
        raise InputError(
            f"the transactions cover {(last - first) / DAY_MS:.1f} days",
            expected=f"at least {int(np.ceil(needed_ms / DAY_MS))} days with a label delay of {definition.label_delay}",
            fix="bring older transactions, too, or state a shorter delay if verdicts come sooner",
        )
    judge_ms = int(usable_ms * JUDGE_SHARE)
    test_start = last - judge_ms
    held_start = test_start - delay_ms - judge_ms
    order = np.argsort(moment, kind="stable")
    ordered = moment[order]

    def period(start: int, end: int) -> Period:
        low, high = np.searchsorted(ordered, (start, end))
        return Period(start, end, order[low:high])

    train = period(first + warm_up_ms, held_start - delay_ms)
    if len(train.rows) > MAX_TRAIN_ROWS:
        kept = train.rows[-MAX_TRAIN_ROWS:]
        train = Period(int(moment[kept[0]]), train.end_ms, kept)
    return Periods(train, period(held_start, held_start + judge_ms), period(test_start, last))
