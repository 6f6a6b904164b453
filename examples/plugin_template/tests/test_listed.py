"""The package is installed and found by its names; the rest is asked by deepseek's own contract."""

from __future__ import annotations

from deepseek.contracts import Event
from deepseek.plugins import find


def test_the_candidate_is_found_by_its_name() -> None:
    assert find("candidates", "class_distances").name == "class_distances"


def test_the_sink_counts_what_was_slow() -> None:
    sink = find("sinks", "slow_requests")()
    sink.emit(Event("request", "loans", "1", 200, 1, 2.5))
    sink.emit(Event("request", "loans", "1", 200, 1, 0.01))
    assert sink.num_slow == {"loans": 1}
