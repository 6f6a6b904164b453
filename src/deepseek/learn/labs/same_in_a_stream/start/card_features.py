"""Features of card payments, over a table and in a stream."""

from typing import Self

Payment = dict[str, object]


def offline(payments: list[Payment], window: int) -> list[dict[str, object]]:
    """The features of each payment, in the order of time and id."""
    return []


class Stream:
    """The same features, of payments that come one by one."""

    def __init__(self, window: int, lateness: int) -> None:
        self.window, self.lateness = window, lateness

    def add(self, payment: Payment) -> list[dict[str, object]]:
        return []

    def finish(self) -> list[dict[str, object]]:
        return []

    def state(self) -> dict[str, object]:
        return {}

    @classmethod
    def restore(cls, state: dict[str, object]) -> Self:
        raise NotImplementedError
