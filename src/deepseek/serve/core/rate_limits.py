"""What keeps a server alive under load: deadlines, and rates that a client may not exceed.

The bound on waiting rows stands in scheduler.py, that on bodies in reader.py, where they are read.
"""

from __future__ import annotations

from math import ceil
from time import perf_counter

from deepseek.errors import DeadlineError


def deadline_error() -> DeadlineError:
    """The error for a request whose deadline passed before it was computed."""
    return DeadlineError(
        "the deadline passed while the request waited",
        expected="an answer within x-timeout-ms, or within the server's own limit",
        fix="ask again later, with fewer rows or a longer x-timeout-ms",
    )


class TokenBucket:
    """A token bucket: `rate` tokens flow in each second, and it holds those of `burst_s` seconds, one at least.

    More tokens than it holds can be taken when it is full: it goes into debt, and nobody is refused for ever.

    >>> bucket = TokenBucket(rate=10, burst_s=1)
    >>> bucket.take(4, now_s=0), bucket.take(6, now_s=0), bucket.take(1, now_s=0), bucket.take(1, now_s=0.1)
    (0, 0, 1, 0)
    >>> bucket.take(1_000, now_s=9), bucket.take(1, now_s=9), bucket.take(1, now_s=109)
    (0, 100, 0)
    """

    __slots__ = ("_left", "_room", "_seen_s", "rate")

    def __init__(self, rate: float, burst_s: float = 1.0) -> None:
        self.rate = rate
        self._room = max(1.0, rate * burst_s)
        self._left = self._room
        self._seen_s = 0.0

    def take(self, number: int, now_s: float | None = None) -> int:
        """0 when `number` tokens were taken, else the whole seconds after which they can be, and nothing is taken."""
        now_s = perf_counter() if now_s is None else now_s
        num_left = min(self._room, self._left + max(0.0, now_s - self._seen_s) * self.rate)
        self._seen_s = now_s
        num_lacking = min(number, self._room) - num_left
        # Adding up parts of a second leaves a rest of rounding, which is not worth a refusal.
        if num_lacking > 1e-9 * self._room:
            self._left = num_left
            return max(1, ceil(num_lacking / self.rate - 1e-6))
        self._left = num_left - number
        return 0

    def owe(self, number: int, now_s: float | None = None) -> None:
        """Take `number` tokens that were used elsewhere, even if the bucket goes into debt.

        >>> bucket = TokenBucket(rate=10)
        >>> bucket.take(6, now_s=0), bucket.owe(6, now_s=0), bucket.take(1, now_s=0.2), bucket.take(1, now_s=0.3)
        (0, None, 1, 0)
        """
        now_s = perf_counter() if now_s is None else now_s
        self._left = min(self._room, self._left + max(0.0, now_s - self._seen_s) * self.rate) - number
        self._seen_s = now_s
