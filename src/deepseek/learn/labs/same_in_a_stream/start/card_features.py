"""Features of card payments, over a table and in a stream."""

from typing import Any, Self

Payment = dict[str, Any]


def offline(payments: list[Payment], window: int) -> list[dict[str, Any]]:
    """The features of each payment, in the order of time and id."""
    return []


class Stream:
    """The same features, of payments that come one by one."""

    def __init__(self, window: int, lateness: int) -> None:
        self.window, self.lateness = window, lateness

    def add(self, payment: Payment) -> list[dict[str, Any]]:
        return []

    def finish(self) -> list[dict[str, Any]]:
        return []

    def state(self) -> dict[str, Any]:
        return {}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        raise NotImplementedError
