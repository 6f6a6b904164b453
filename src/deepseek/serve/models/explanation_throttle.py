"""Explanations give way to predictions in the process that takes requests, as theirs does on the machine's cores.

    turns.predicted(job.queued_s)                      # every prediction
    await turns.wait(len(call.body), call.deadline_s)  # before an explanation is begun

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

from deepseek.serve.core.limits import deadline_error

TIME_SHARE = 0.003
FULL_GAP_S = 1e-4
GROUP_SIZE = 8  # that begin together, of those that wait
#: What an explanation costs here, about: a small one, each byte of it, any at most.
REQUEST_S, BYTE_S, LONGEST_S = 2e-4, 5e-8, 1e-2
QUIET_S = 0.005  # after the last prediction, nobody is in the way
_GAP_WEIGHT = 0.01  # of the mean gap, from each


class ExplanationThrottle:
    """Of the explanations of one front end, in the order in which they came."""

    def __init__(self) -> None:
        self._predicted_s = -inf  # when the last prediction came
        self._gap_s = QUIET_S  # between predictions, in the mean
        self._free_s = -inf  # when the share of those before is used up
        self._num_waiting = 0
        self._num_let_in = 0  # of those that wait, with the one that went before
        self._one = asyncio.Lock()

    def predicted(self, came_s: float) -> None:
        """A prediction has come."""
        gap_s = came_s - self._predicted_s
        self._gap_s += _GAP_WEIGHT * ((gap_s if gap_s < QUIET_S else QUIET_S) - self._gap_s)
        self._predicted_s = came_s

    async def wait(self, num_bytes: int, deadline_s: float) -> None:
        """Until an explanation with a body of so many bytes may begin. DeadlineError."""
        self._num_waiting += 1
        try:
            async with asyncio.timeout(max(0.0, deadline_s - perf_counter())), self._one:
                await self._turn()
                cost_s = min(REQUEST_S + BYTE_S * num_bytes, LONGEST_S)
                self._free_s += cost_s / TIME_SHARE * min(1.0, FULL_GAP_S / self._gap_s)
        except TimeoutError:
            raise deadline_error() from None
        finally:
            self._num_waiting -= 1

    async def _turn(self) -> None:
        if self._num_let_in:
            self._num_let_in -= 1
            return
        while (left_s := self._free_s - (now_s := perf_counter())) > 0 and now_s - self._predicted_s < QUIET_S:
            await asyncio.sleep(min(left_s, QUIET_S))
        self._free_s = now_s
        self._num_let_in = min(self._num_waiting, GROUP_SIZE) - 1
