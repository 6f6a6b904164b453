"""Explanations begin at once while nobody predicts, and in groups with a share of the time while somebody does."""

from __future__ import annotations

import asyncio

import pytest

from deepseek.errors import DeadlineError
from deepseek.serve.models import explanation_throttle as turns_module
from deepseek.serve.models.explanation_throttle import ExplanationThrottle
from support.servers.virtual_clock import run_virtually


def now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture(autouse=True)
def virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "perf_counter", now_s)


def count_begun(*, predicting: bool, within_s: float = 0.5) -> int:
    """How many of 60 explanations begin in that time."""

    async def run() -> int:
        turns, stop_s, num_begun = ExplanationThrottle(), now_s() + within_s, 0

        async def one() -> None:
            nonlocal num_begun
            try:
                await turns.wait(200, stop_s)
                num_begun += 1
            except DeadlineError:
                assert now_s() >= stop_s

        tasks = [asyncio.create_task(one()) for _ in range(60)]
        while predicting and now_s() < stop_s:
            turns.record_prediction(now_s())
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        return num_begun

    return run_virtually(run())


def test_without_predictions_all_begin_at_once() -> None:
    assert count_begun(predicting=False, within_s=1e-6) == 60


def test_beside_predictions_they_keep_to_their_share_and_the_rest_is_told_that_it_is_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns_module, "QUIET_S", 1.0)  # a machine that is slow to say that it predicts changes nothing
    monkeypatch.setattr(turns_module, "FULL_GAP_S", 60.0)
    each_s = (turns_module.REQUEST_S + 200 * turns_module.BYTE_S) / turns_module.TIME_SHARE
    monkeypatch.setattr(turns_module, "TIME_SHARE", turns_module.TIME_SHARE * each_s / 0.05)  # one in 50 ms
    # The first, alone, as the others have not come yet; a group after 0.05 s, the next 0.4 s later.
    assert count_begun(predicting=True, within_s=0.25) == 1 + turns_module.GROUP_SIZE
    assert count_begun(predicting=True, within_s=0.65) == 1 + 2 * turns_module.GROUP_SIZE


def began(gap_s: float) -> list[float]:
    """When three explanations, one after the other, began beside predictions that come so often."""

    async def run() -> list[float]:
        turns, start_s, starts_s = ExplanationThrottle(), now_s(), []
        for number in range(2_000):
            turns.record_prediction(start_s - gap_s * (2_000 - number))
        for _ in range(3):
            await turns.wait(0, start_s + 60.0)
            starts_s.append(now_s() - start_s)
        return starts_s

    return run_virtually(run())


@pytest.mark.parametrize(("gap_s", "interval_s"), [(1e-5, 0.3), (1e-4, 0.3), (1e-3, 0.03)])
def test_what_comes_after_a_group_has_begun_waits_for_the_next_and_less_where_fewer_predict(
    monkeypatch: pytest.MonkeyPatch, gap_s: float, interval_s: float
) -> None:
    monkeypatch.setattr(turns_module, "QUIET_S", 60.0)
    monkeypatch.setattr(turns_module, "TIME_SHARE", turns_module.REQUEST_S / 0.3)  # one in 0.3 s at full load
    first_s, second_s, third_s = began(gap_s)
    assert first_s == 0.0
    assert second_s - first_s > 0.99 * interval_s
    assert third_s - second_s > 0.99 * interval_s
    assert third_s < 2.1 * interval_s + 2 * 0.005, "it looks again every 5 ms"
