"""How much the bodies of all connections fill together: of many large ones at a time some are told to come again.

budget = BodyBudget(96 << 20)
share = budget.share()
share.grow(len_so_far)           # False when it would be too much; give_back() when the request was answered
"""

from __future__ import annotations

#: Bodies of the largest size that a server holds at a time.
MAX_LARGE_BODIES = 3
RESERVATION_STEP_BYTES = 1 << 20  # that are asked for at a time


class BodyBudget:
    """Bytes of bodies that were received and not answered yet. Small bodies are not counted: connections are."""

    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes`, or as many steps where these are more: else no body above a small one would fit."""
        self.limit_bytes = max(limit_bytes, MAX_LARGE_BODIES * RESERVATION_STEP_BYTES)
        self.taken_bytes = 0

    def share(self) -> BodyReservation:
        return BodyReservation(self)


class BodyReservation:
    """What one body has of it.

    >>> budget = BodyBudget(1 << 20)  # three steps at the least
    >>> one, other = budget.share(), budget.share()
    >>> one.grow(100_000), one.grow(1_500_000), other.grow(1_500_000), other.grow(200_000)
    (True, True, False, True)
    >>> one.give_back(), other.grow(2_500_000)
    (None, True)
    """

    __slots__ = ("_budget", "_taken_bytes")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._taken_bytes = 0

    def grow(self, num_bytes: int) -> bool:
        """Take what a body of so many bytes needs besides what it has. False, and nothing is taken, when there is not
        so much."""
        more = -(-num_bytes // RESERVATION_STEP_BYTES) * RESERVATION_STEP_BYTES - self._taken_bytes
        if more > 0:
            if self._budget.taken_bytes + more > self._budget.limit_bytes:
                return False
            self._budget.taken_bytes += more
            self._taken_bytes += more
        return True

    def give_back(self) -> None:
        self._budget.taken_bytes -= self._taken_bytes
        self._taken_bytes = 0

    def __del__(self) -> None:  # of a request that is dropped before it is begun
        self.give_back()
