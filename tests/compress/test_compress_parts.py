"""Limits, the judge, timing and the guard: each by hand."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from deepseek.compress.guard import VariantMeasurement, choose_best, refusal_reason
from deepseek.compress.limits import Limits, check_methods
from deepseek.compress.targets.evaluator import Evaluator, split_rows
from deepseek.compress.timing import Timing, compare_speed
from deepseek.contracts import Figure
from deepseek.errors import InputError


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"keep": 99.0}, "for 99 % write 0.99"),
        ({"keep": 0.0}, "a share above 0"),
        ({"keep": float("nan")}, "a share above 0"),
        ({"max_mb": -1.0}, "a number above 0"),
        ({"min_speedup": 0.5}, "1 or more"),
        ({"min_speedup": True}, "1 or more"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(limits: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Limits(**limits)


def test_limits_that_no_method_can_reach_are_refused_before_any_work() -> None:
    with pytest.raises(InputError, match=r"int8 and fp8 can make no less than 25\.0 MB of 100\.0 MB"):
        Limits(max_mb=20).check(100_000_000, ("int8", "fp8"))
    Limits(max_mb=20).check(100_000_000, ("int8", "prune"))  # nobody knows how small pruning gets
    Limits(max_mb=120).check(100_000_000, ())


def test_a_method_that_is_not_known_names_the_near_one() -> None:
    with pytest.raises(InputError, match="Did you mean 'prune'"):
        check_methods(["prun"], ("int8", "prune"), "net")


def test_the_judge_measures_what_it_says() -> None:
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    labels = Evaluator.labels(np.array([0, 1, 1, 1]))
    assert labels.score(outputs).value == 0.75
    assert Evaluator.fidelity(outputs, are_classes=True).score(1 - outputs).value == 0.0
    assert Evaluator.fidelity(outputs, are_classes=False).score(3 * outputs).value == pytest.approx(1.0)
    values = Evaluator.values(np.array([1.0, 2.0]))
    assert values.score(np.array([[1.0], [4.0]])).value == pytest.approx(2**0.5)
    worse, better = np.array([[1.0], [4.0]]), np.array([[1.0], [3.0]])
    assert values.share_of_score(better, worse).value == pytest.approx(0.5)  # twice the error: half is left


def test_intervals_are_paired() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400)
    outputs = np.eye(2)[np.where(rng.random(400) < 0.8, truth, 1 - truth)]
    judge = Evaluator.labels(truth)
    kept = judge.share_of_score(outputs, outputs.copy())
    assert (kept.low, kept.value, kept.high) == (1.0, 1.0, 1.0)  # the same model on the same resamples
    alone = judge.score(outputs)
    assert alone.high - alone.low > 0.05


def test_rows_that_calibrate_never_judge() -> None:
    calibrating, judged = split_rows(100, 3)
    assert len(calibrating) == 25
    assert sorted([*calibrating, *judged]) == list(range(100))
    with pytest.raises(InputError, match="at least 16"):
        split_rows(15, 0)


def _busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_model_that_takes_half_the_time_is_twice_as_fast() -> None:
    runs = {"given": lambda _: _busy(0.008), "small": lambda _: _busy(0.004)}
    speed = compare_speed(runs, lambda number, batch: (number, batch), batch=1, budget_s=0.3)
    assert speed["given"].speedup.value == 1.0
    assert speed["small"].speedup.value == pytest.approx(2.0, rel=0.25)
    assert speed["small"].p50_ms >= 4.0


def test_each_call_gets_other_rows() -> None:
    seen: list[tuple[int, int]] = []
    compare_speed(
        {"given": lambda rows: seen.append(rows) or _busy(0.005)}, lambda *rows: rows, batch=16, budget_s=0.01
    )
    assert len({number for number, _ in seen[2:]}) == len(seen) - 2
    assert {batch for _, batch in seen} == {16}


TIMING = Timing(1.0, 1.0, 1.0, Figure(2.0, 1.9, 2.1), 7)
GOOD = VariantMeasurement(
    "int8", "x", 10_000_000, Figure(0.9, 0.8, 1.0), Figure(0.995, 0.98, 1.0), {1: TIMING, 16: TIMING}
)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"size_bytes": 41_000_000}, "larger than the 40.0 MB"),
        ({"kept": Figure(0.97, 0.9, 1.0)}, "97.00% of the score is left, 2.00% below the limit of 99.00%"),
        ({"kept": Figure(float("inf"), 1, 1)}, ""),
        ({"failed": "it does not run"}, "it does not run"),
        ({"timings": {1: replace(TIMING, speedup=Figure(0.8, 0.7, 0.9)), 16: TIMING}}, "slower at batch 1 (0.80x)"),
        ({"timings": {1: replace(TIMING, speedup=Figure(0.99, 0.9, 1.1)), 16: TIMING}}, ""),
    ],
)
def test_the_guard_says_what_is_wrong(changed: dict[str, object], said: str) -> None:
    reason = refusal_reason(replace(GOOD, **changed), Limits(), original_bytes=40_000_000)
    assert reason == said if not said else said in reason


def test_the_guard_says_by_how_much_each_limit_is_missed() -> None:
    limits = Limits(keep=1.0, max_mb=5, min_speedup=3)
    assert refusal_reason(GOOD, limits, original_bytes=40_000_000) == (
        "10.0 MB, 5.0 MB over the limit of 5 MB; 99.50% of the score is left, 0.50% below the limit of 100.00%; "
        "2.00x as fast, 1.00x below the limit of 3x"
    )


def test_nan_answers_are_never_accepted() -> None:
    nan = Figure(float("nan"), float("nan"), float("nan"))
    assert refusal_reason(replace(GOOD, kept=nan), Limits(keep=0.01), original_bytes=40_000_000)


def test_of_equally_fast_ones_the_smallest_is_chosen() -> None:
    smaller = replace(GOOD, variant="small", size_bytes=5_000_000)
    slow = replace(GOOD, variant="slow", size_bytes=1, timings={1: replace(TIMING, speedup=Figure(1.2, 1, 1.4))})
    assert choose_best([GOOD, smaller, slow]).variant == "small"


def test_measurements_survive_json() -> None:
    import json

    assert VariantMeasurement.from_dict(json.loads(json.dumps(GOOD.to_dict()))) == GOOD
    part = VariantMeasurement("int8", "x", 3, failed="no")
    assert VariantMeasurement.from_dict(json.loads(json.dumps(part.to_dict()))) == part
