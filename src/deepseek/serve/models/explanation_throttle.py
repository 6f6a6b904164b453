"""A throttle by which explanations give way to predictions in a front end.

    throttle.record_prediction(job.queued_s)                    # at every prediction
    await throttle.wait(len(request.body), request.deadline_s)  # before an explanation begins

Reading, preparing and writing an explanation costs a front end as much as several predictions. Where predictions come
as fast as FULL_GAP_S, explanations get about TIME_SHARE of its time; where they come ten times slower ten times as
much, and
where none come they begin at once. Those that wait begin in groups: together they cost half of what each costs alone,
and stand before fewer predictions.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter

from deepseek.serve.core.rate_limits import deadline_error

TIME_SHARE = 0.003
FULL_GAP_S = 1e-4
GROUP_SIZE = 8  # waiting explanations that begin together
#: What an explanation costs a front end, about: a small one, each byte of its body, any at most.
REQUEST_S, BYTE_S, LONGEST_S = 2e-4, 5e-8, 1e-2
QUIET_S = 0.005  # after the last prediction explanations begin at once
_GAP_WEIGHT = 0.01  # of the newest gap in the mean gap


class ExplanationThrottle:
    """Delays the explanations of one front end, in the order in which they came."""

    def __init__(self) -> None:
        self._last_prediction_s = -inf  # when the last prediction came, on the clock of perf_counter
        self._gap_s = QUIET_S  # the mean gap between predictions
        self._free_s = -inf  # when the time share of the explanations before is paid for
        self._num_waiting = 0
        self._num_let_in = 0  # of those that wait, how many may still begin with the one before
        self._one = asyncio.Lock()

    @property
    def num_waiting(self) -> int:
        """Explanations that wait for their share of time."""
        return self._num_waiting

    def record_prediction(self, came_s: float) -> None:
        """Update the mean gap with a prediction that came at `came_s` (perf_counter)."""
        gap_s = came_s - self._last_prediction_s
        self._gap_s += _GAP_WEIGHT * ((gap_s if gap_s < QUIET_S else QUIET_S) - self._gap_s)
        self._last_prediction_s = came_s

    async def wait(self, num_bytes: int, deadline_s: float) -> None:
        """Wait until an explanation with a body of `num_bytes` may begin. DeadlineError."""
        self._num_waiting += 1
        try:
            async with asyncio.timeout(max(0.0, deadline_s - perf_counter())), self._one:
                await self._wait_for_share()
                cost_s = min(REQUEST_S + BYTE_S * num_bytes, LONGEST_S)
                self._free_s += cost_s / TIME_SHARE * min(1.0, FULL_GAP_S / self._gap_s)
        except TimeoutError:
            raise deadline_error() from None
        finally:
            self._num_waiting -= 1

    async def _wait_for_share(self) -> None:
        if self._num_let_in:
            self._num_let_in -= 1
            return
        while (left_s := self._free_s - (now_s := perf_counter())) > 0 and now_s - self._last_prediction_s < QUIET_S:
            await asyncio.sleep(min(left_s, QUIET_S))
        self._free_s = now_s
        self._num_let_in = min(self._num_waiting, GROUP_SIZE) - 1
