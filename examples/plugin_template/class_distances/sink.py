"""A sink of the server's events: counts the requests that took longer than a second."""

from __future__ import annotations

from collections import Counter

from deepseek.contracts import Event


class SlowRequests:
    """What a sink must not do is block or raise: it is called beside every request."""

    def __init__(self, limit_s: float = 1.0) -> None:
        self.limit_s = limit_s
        self.num_slow: Counter[str] = Counter()  # by model

    def emit(self, event: Event) -> None:
        """Takes every kind of event: server, model, request, batch, explain."""
        if event.kind == "request" and event.duration_s > self.limit_s:
            self.num_slow[event.model_name] += 1
