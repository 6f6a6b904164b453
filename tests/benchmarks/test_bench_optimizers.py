"""The bench of optimizers: what a missed target counts, when a bar holds, and that the bench must be there."""

from __future__ import annotations

from pathlib import Path

import pytest

import optimizers
from deepseek.errors import MissingError


def test_a_missed_target_counts_twice_the_budget_and_loses_the_bar() -> None:
    base = {("a", 0): {"hit": 100, "budget": 400}, ("b", 0): {"hit": 100, "budget": 400}}
    good = {("a", 0): {"hit": 50, "budget": 400}, ("b", 0): {"hit": 2, "budget": 400}}
    miss = good | {("a", 0): {"hit": None, "budget": 400}}
    assert optimizers.steps_ratios(miss, base) == pytest.approx({"a": 8.0, "b": 0.02})
    assert optimizers.steps_claim("c", good, base, [0], 0.5)["holds"]
    assert optimizers.steps_claim("c", miss, base, [0], 0.5)["ours"] == pytest.approx(0.4)
    assert not optimizers.steps_claim("c", miss, base, [0], 0.5)["holds"]


def test_a_bench_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_BENCH", str(tmp_path))
    with pytest.raises(MissingError, match="set DEEPSEEK_BENCH"):
        optimizers.bench_rows("adamw", (9,))
