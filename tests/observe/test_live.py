"""Live statistics: rates and quantiles of the last minutes, by hand-checked numbers."""

from __future__ import annotations

import pytest

from deepseek.contracts import Event
from deepseek.observe.live import NUM_SLOTS, SLOT_S, LiveStats, bucket_indices, quantile


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def request(duration_s: float, status: int = 200) -> Event:
    return Event("request", "cancer", "1", status, num_rows=2, duration_s=duration_s, fields={"method": "POST"})


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_totals_rates_and_quantiles(clock: Clock) -> None:
    live = LiveStats(clock)
    for _ in range(98):
        live.emit(request(0.001))
    live.emit(request(0.1, status=500))
    live.emit(request(0.1))
    clock.now_s += 10
    (model,) = live.snapshot()["models"]
    assert (model["name"], model["num_requests"], model["num_rows"], model["num_errors"]) == ("cancer", 100, 200, 1)
    assert (model["requests_per_s"], model["rows_per_s"]) == (10, 20)
    assert model["latency_p50_s"] == pytest.approx(0.001, rel=0.05)
    assert model["latency_p99_s"] == pytest.approx(0.1, rel=0.05)


def test_changes_of_processes_are_counted_over_all_of_a_group(clock: Clock) -> None:
    one, other = LiveStats(clock), LiveStats(clock)
    for fields in ({"process": "engine", "change": "died"}, {"change": "out_of_files"}, {"state": "draining"}):
        one.emit(Event("server", fields=fields))
        other.emit(Event("server", fields=fields))
    other.emit(Event("server", fields={"process": "front_end", "change": "restarted"}))
    other.emit(request(0.001))
    snapshot = one.snapshot([other.state()])
    assert snapshot["processes"] == {
        "engine_died": 2, "engine_restarted": 0, "front_end_died": 0, "front_end_restarted": 1, "out_of_files": 2,
    }  # fmt: skip
    assert [model["num_requests"] for model in snapshot["models"]] == [1]


def test_what_is_older_than_the_window_leaves_rates_but_not_totals(clock: Clock) -> None:
    live = LiveStats(clock)
    live.emit(request(0.001))
    clock.now_s += SLOT_S * (NUM_SLOTS + 1)
    (model,) = live.snapshot()["models"]
    assert (model["num_requests"], model["requests_per_s"], model["latency_p99_s"]) == (1, 0, None)


def test_the_history_has_a_slot_for_every_moment_even_without_requests(clock: Clock) -> None:
    live = LiveStats(clock)
    live.emit(request(0.001))
    clock.now_s += 3 * SLOT_S
    live.emit(request(0.001))
    (model,) = live.snapshot()["models"]
    assert [slot["requests_per_s"] for slot in model["history"]] == [0.2, 0, 0, 0.2]


def test_probes_and_pages_do_not_count(clock: Clock) -> None:
    live = LiveStats(clock)
    live.emit(Event("request", "cancer", "1", 200, fields={"method": "GET"}))
    live.emit(Event("batch", "cancer", "1", num_rows=3))
    assert live.snapshot()["models"] == []


@pytest.mark.parametrize("duration_s", [1e-5, 3.3e-4, 0.0123, 1.7, 60.0])
def test_a_quantile_is_right_within_five_percent(duration_s: float) -> None:
    buckets = [0] * 170
    buckets[bucket_indices([duration_s])[0]] = 1
    assert quantile(buckets, 0.5) == pytest.approx(duration_s, rel=0.055)


def test_extreme_latencies_stay_in_range() -> None:
    assert bucket_indices([0.0, 1e9]).tolist() == [0, 169]


def test_one_slow_explanation_is_no_latency_of_predictions(clock: Clock) -> None:
    """An explainer that opens takes seconds: of few requests it would be the p99 of all."""
    live, other = LiveStats(clock), LiveStats(clock)
    for _ in range(4):
        live.emit(request(0.001))
    slow = request(3.0)
    other.emit(Event("request", "cancer", "1", 200, duration_s=3.0, fields={**slow.fields, "explains": "true"}))
    (model,) = live.snapshot([other.state()])["models"]
    predictions, explanations = model["latency"]["predict"], model["latency"]["explain"]
    assert model["latency_p99_s"] == pytest.approx(3.0, rel=0.05)
    assert (predictions["num_requests"], explanations["num_requests"]) == (4, 1)
    assert predictions["p50_s"] == predictions["p99_s"] == pytest.approx(0.001, rel=0.05)
    assert explanations["p99_s"] == pytest.approx(3.0, rel=0.05)
    assert [slot["p50_s"] for slot in explanations["history"]] == [explanations["p50_s"]]
