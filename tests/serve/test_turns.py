"""Explanations begin at once while nobody predicts, and have a share of the time while somebody does."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from deepseek.errors import DeadlineError
from deepseek.serve import turns as turns_module
from deepseek.serve.turns import Turns


def begun(*, predicting: bool, within_s: float = 0.5) -> int:
    """How many of 60 explanations begin in that time."""

    async def run() -> int:
        turns, stop_s, found = Turns(), perf_counter() + within_s, 0

        async def one() -> None:
            nonlocal found
            try:
                await turns.wait(200, stop_s)
                found += 1
            except DeadlineError:
                assert perf_counter() >= stop_s

        asked = [asyncio.create_task(one()) for _ in range(60)]
        while predicting and perf_counter() < stop_s:
            turns.predicted_s = perf_counter()
            await asyncio.sleep(0.001)
        await asyncio.gather(*asked)
        return found

    return asyncio.run(run())


def test_without_predictions_all_begin_at_once() -> None:
    start_s = perf_counter()
    assert begun(predicting=False) == 60
    assert perf_counter() - start_s < 0.4


def test_beside_predictions_they_keep_to_their_share_and_the_rest_is_told_that_it_is_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns_module, "QUIET_S", 1.0)  # a machine that is slow to say that it predicts changes nothing
    each_s = (turns_module.REQUEST_S + 200 * turns_module.BYTE_S) / turns_module.SHARE
    monkeypatch.setattr(turns_module, "SHARE", turns_module.SHARE * each_s / 0.05)  # one in 50 ms
    assert 5 <= begun(predicting=True) <= 11
