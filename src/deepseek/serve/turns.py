"""Explanations give way to predictions in the process that takes requests, as theirs does on the machine's cores.

    turns.predicted_s = job.queued_s                   # of every prediction
    await turns.wait(len(call.body), call.deadline_s)  # before an explanation is begun

Reading, preparing and writing an explanation costs a front end as much as several predictions. While predictions come,
explanations get about SHARE of its time, one after the other; otherwise they begin at once.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter

from deepseek.serve.limits import late

SHARE = 0.01
#: What an explanation costs here, about: a small one, each byte of it, any at most.
REQUEST_S, BYTE_S, LONGEST_S = 2e-4, 5e-8, 1e-2
QUIET_S = 0.005  # after the last prediction, nobody is in the way


class Turns:
    """Of the explanations of one front end, in the order in which they came."""

    def __init__(self) -> None:
        self.predicted_s = -inf  # when the last prediction came
        self._free_s = -inf  # when the share of those before is used up
        self._one = asyncio.Lock()

    async def wait(self, num_bytes: int, deadline_s: float) -> None:
        """Until an explanation with a body of so many bytes may begin. DeadlineError."""
        try:
            async with asyncio.timeout(max(0.0, deadline_s - perf_counter())), self._one:
                while (left_s := self._free_s - (now_s := perf_counter())) > 0 and now_s - self.predicted_s < QUIET_S:
                    await asyncio.sleep(min(left_s, QUIET_S))
                self._free_s = now_s + min(REQUEST_S + BYTE_S * num_bytes, LONGEST_S) / SHARE
        except TimeoutError:
            raise late() from None
