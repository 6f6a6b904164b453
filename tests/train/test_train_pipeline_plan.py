"""Forecasts against the formulas of the papers, and the choice."""

from __future__ import annotations

import dataclasses
import math

import pytest

from deepseek.errors import InputError
from deepseek.train.pipeline.plan import (
    SCHEDULES,
    Link,
    StageCost,
    check_schedule,
    choose_schedule,
    forecast_step,
    operation_order,
    rank_stages,
    schedule_problem,
)

NO_LINK = Link()


def equal(stages: int, *, seconds: float = 1.0) -> list[StageCost]:
    return [StageCost(seconds, 2 * seconds, seconds, seconds, saved_bytes=10, output_bytes=1000)] * stages


@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
@pytest.mark.parametrize(("world", "micro_batches"), [(2, 4), (4, 12), (8, 32)])
def test_the_bubble_is_that_of_the_papers(schedule: str, world: int, micro_batches: int) -> None:
    """(P - 1) / (M + P - 1): GPipe, section 2.3."""
    step_forecast = forecast_step(schedule, equal(world), world=world, micro_batches=micro_batches, link=NO_LINK)
    assert step_forecast.bubble == pytest.approx((world - 1) / (micro_batches + world - 1))
    assert step_forecast.step_s == pytest.approx(3 * (micro_batches + world - 1))


def test_interleaving_shortens_the_bubble_by_the_stages_of_a_process() -> None:
    """(P - 1) / v of the ideal time instead of P - 1: arXiv 2104.04473, section 2.2."""
    step_forecast = forecast_step("interleaved", equal(8, seconds=0.5), world=4, micro_batches=12, link=NO_LINK)
    assert step_forecast.step_s == pytest.approx(3 * (12 + 3 / 2))


def test_the_zero_bubble_order_waits_a_third_as_long() -> None:
    """(P - 1) * (F + I - W) instead of (P - 1) * (F + I + W): arXiv 2401.10241, table 1, ZB-H1."""
    step_forecast = forecast_step("zero_bubble", equal(4), world=4, micro_batches=12, link=NO_LINK)
    assert step_forecast.step_s == pytest.approx(3 * 12 + 3)


def test_all_micro_batches_are_kept_by_gpipe_and_as_many_as_stages_by_1f1b() -> None:
    peaks = {
        name: forecast_step(name, equal(4), world=4, micro_batches=12, link=NO_LINK).peak_bytes
        for name in ("gpipe", "1f1b")
    }
    assert peaks == {"gpipe": 12 * 10, "1f1b": 4 * 10}


def test_a_link_adds_its_time_to_each_hop() -> None:
    """One micro-batch through two stages: F, hop, F, B, hop, B."""
    link = Link(latency_s=0.5, byte_s=0.001)
    step_forecast = forecast_step("gpipe", equal(2), world=2, micro_batches=1, link=link)
    assert step_forecast.step_s == pytest.approx(2 * 3 + 2 * (0.5 + 1.0))


def test_the_dearest_stage_sets_the_pace() -> None:
    costs = [StageCost(1, 2, 1, 1, 0, 0), StageCost(2, 4, 2, 2, 0, 0)]
    assert forecast_step("1f1b", costs, world=2, micro_batches=10, link=NO_LINK).step_s == pytest.approx(1 + 10 * 6 + 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_schedule_does_every_stage_of_every_micro_batch_once(schedule: str) -> None:
    stages = 4 if schedule in ("1f1b", "gpipe") else 8
    order = operation_order(schedule, world=4, stages=stages, micro_batches=8)
    done = [action for actions in order.values() for action in actions]
    assert len(done) == len(set(done))
    for kinds in ("F", "BI", "BW"):
        assert sorted((s, m) for s, kind, m in done if kind in kinds) == [
            (s, m) for s in range(stages) for m in range(8)
        ]
    for rank, actions in order.items():
        indices = rank_stages(rank, world=4, stages=stages, schedule=schedule)
        assert sorted({stage for stage, _, _ in actions}) == indices


def test_the_choice_is_the_fastest_and_of_equals_the_one_that_keeps_least() -> None:
    taken, why = choose_schedule("auto", equal(4), world=4, micro_batches=12, link=NO_LINK)
    assert taken.schedule == "zero_bubble"
    assert all(name in why for name in ("zero_bubble", "1f1b", "gpipe"))
    # Where both parts cost as much as the whole, as with functions of one's own, 1F1B is ahead, and keeps least.
    whole = [dataclasses.replace(cost, input_s=2.0, weight_s=2.0) for cost in equal(4)]
    assert choose_schedule("auto", whole, world=4, micro_batches=12, link=NO_LINK)[0].schedule == "1f1b"


def test_a_schedule_that_would_lose_gradients_is_not_chosen_and_refused_when_asked_for() -> None:
    lost = dataclasses.replace(equal(1)[0], input_s=math.inf, weight_s=math.inf)
    costs = [equal(1)[0], lost, *equal(2)]
    assert choose_schedule("auto", costs, world=4, micro_batches=12, link=NO_LINK)[0].schedule in (
        "1f1b",
        "gpipe",
        "interleaved",
    )
    with pytest.raises(InputError, match="lose gradients of stage 1"):
        choose_schedule("zero_bubble", costs, world=4, micro_batches=12, link=NO_LINK)


def test_something_can_run_whatever_divides() -> None:
    for world in range(1, 5):
        for stages in range(world, 4 * world + 1, world):
            for micro_batches in range(1, 10):
                sizes = {"world": world, "stages": stages, "micro_batches": micro_batches}
                able = [name for name in SCHEDULES if schedule_problem(name, **sizes) is None]
                assert able, sizes
                for name in able:
                    operation_order(name, **sizes)


def test_the_advice_of_a_refusal_can_be_followed() -> None:
    for name in SCHEDULES:
        for stages in (4, 8, 12):
            for micro_batches in (2, 5, 9):
                sizes = {"world": 4, "stages": stages, "micro_batches": micro_batches}
                for _ in range(3):
                    refused = schedule_problem(name, **sizes)
                    if refused is None:
                        break
                    key, value = refused[1].removeprefix("give ").split("=")
                    sizes[key] = int(value)
                check_schedule(name, **sizes)
