"""Runs in the learner's process: feeds payments to the learner's stream, with restarts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def run(
    learner: Any, payments: Sequence[Any], window: int, lateness: int, restarts: Sequence[int]
) -> dict[str, object]:
    """All rows in the order in which they came, how many had come before the end, and the largest state as JSON."""
    stream, rows, largest = learner.Stream(window, lateness), [], 0
    for place, payment in enumerate(payments):
        if place in restarts:
            stream = learner.Stream.restore(json.loads(json.dumps(stream.state())))
        rows += stream.add(dict(payment))
        if place % 500 == 499:
            largest = max(largest, len(json.dumps(stream.state())))
    num_early = len(rows)
    return {"rows": rows + list(stream.finish()), "num_early": num_early, "largest": largest}
