"""A limit on the memory of all bodies together: of many large ones at a time some are asked to come again later.

budget = BodyBudget(96 << 20)
share = budget.reserve()
share.grow(len_so_far)           # False when it would be too much; give_back() when the request was answered
"""

from __future__ import annotations

#: Bodies of the largest size that a server holds at a time.
MAX_LARGE_BODIES = 3
RESERVATION_STEP_BYTES = 1 << 20  # of each extension of a reservation


class BodyBudget:
    """Bytes of bodies that were received and not answered yet. Small bodies are not counted: connections are."""

    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes`, or as many steps where these are more: else no body above a small one would fit."""
        self.limit_bytes = max(limit_bytes, MAX_LARGE_BODIES * RESERVATION_STEP_BYTES)
        self.taken_bytes = 0

    def reserve(self) -> BodyReservation:
        return BodyReservation(self)


class BodyReservation:
    """The bytes of the budget that one body has reserved.

    >>> budget = BodyBudget(1 << 20)  # three steps at the least
    >>> one, other = budget.reserve(), budget.reserve()
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
        """Extend the reservation to a body of `num_bytes`. False, with nothing taken, when the budget is used up."""
        more_bytes = -(-num_bytes // RESERVATION_STEP_BYTES) * RESERVATION_STEP_BYTES - self._taken_bytes
        if more_bytes > 0:
            if self._budget.taken_bytes + more_bytes > self._budget.limit_bytes:
                return False
            self._budget.taken_bytes += more_bytes
            self._taken_bytes += more_bytes
        return True

    def give_back(self) -> None:
        self._budget.taken_bytes -= self._taken_bytes
        self._taken_bytes = 0

    def __del__(self) -> None:  # of a request that is dropped before it is begun
        self.give_back()
