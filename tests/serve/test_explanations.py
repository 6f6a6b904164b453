"""Explanations of several rows: each row for its own class, in the order in which the rows came."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from deepseek.contracts import Attribution, Float32
from deepseek.errors import BusyError, DeadlineError, InputError
from deepseek.serve.explanations import Explained, Explaining, Explanations, explain_rows
from deepseek.serve.models import check_name


class Echo:
    """Attributes everything to the one feature, and remembers which rows came for which class."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, list[float]]] = []

    def explain(self, features: Float32, *, target: str | None = None) -> Attribution:
        values = features.astype(np.float64)
        self.asked.append((target, values[:, 0].tolist()))
        return Attribution(("x",), values, np.zeros(len(values)), values[:, 0], "log-odds", "echo", target)


FEATURES = np.array([[1], [2], [3], [4]], np.float32)


def test_rows_of_one_class_go_together_and_come_back_in_order() -> None:
    echo = Echo()
    found = explain_rows(echo, FEATURES, ["a", "b", "a", "c"])
    assert echo.asked == [("a", [1, 3]), ("b", [2]), ("c", [4])]
    assert [(attribution.target, attribution.values[at, 0]) for attribution, at in found] == [
        ("a", 1), ("b", 2), ("a", 3), ("c", 4),
    ]  # fmt: skip


def explanations(limit: int = 100) -> Explanations:
    return Explanations(None, Explaining(lambda _: Echo()), max_queued_rows=limit, emit=lambda *_: None)


def num_rows(found: Explained) -> int:
    return len(found)


def test_a_full_queue_refuses_and_a_past_deadline_is_not_explained() -> None:
    async def run() -> list[Any]:
        busy, far_s = explanations(limit=4), perf_counter() + 60
        targets = [None] * 4
        two = asyncio.gather(
            busy.make(far_s, FEATURES, targets, num_rows), busy.make(far_s, FEATURES, targets, num_rows),
            return_exceptions=True,
        )  # fmt: skip
        late = asyncio.gather(explanations().make(0.0, FEATURES, targets, num_rows), return_exceptions=True)
        return [*await two, *await late]

    first, refused, late = asyncio.run(run())
    assert first == 4
    assert isinstance(refused, BusyError)
    assert isinstance(late, DeadlineError)


@pytest.mark.parametrize("name", ["loans", "loans-2.1", "贷款", "my loans", "a{b}&c"])
def test_a_plain_name_can_stand_in_a_route(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "a/b", "a:predict", "a?b", " a", "a\n", "a%20", "../x", "..", ".a", "a" * 129])
def test_a_name_that_would_break_a_route_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        check_name(name)
