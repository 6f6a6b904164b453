"""The choice of a split: what it is chosen by, what lost and why, and what would fit when nothing does."""

from __future__ import annotations

import pytest

from deepseek.engines.parallel import Job, Split, choose_split, parse_fleet, read_shape
from deepseek.errors import CheckError, InputError


def test_a_hundred_billion_parameters_on_eight_h100() -> None:
    plan = choose_split(read_shape("100b"), parse_fleet("H100x8"), Job(8, 3840, 256, "fp8"))
    assert plan.best.split == Split(8, 1)
    assert plan.best.memory.weights == pytest.approx(99.6e9 / 8, rel=0.03)
    assert plan.best.token_s == min(cost.token_s for cost in [plan.best, *(other.cost for other in plan.others)])


def test_every_split_that_was_not_taken_says_why() -> None:
    plan = choose_split(read_shape("llama-3.1-405b"), parse_fleet("H100x16"), Job(8, 3840, 256, "bf16"))
    why = {str(other.cost.split): other.why for other in plan.others}
    assert why["TP 8 x PP 1 x 2 replicas"].startswith("does not fit: 3")
    assert "more for reading weights" in why["TP 8 x PP 2"]
    assert any("copies of the cache" in warning for warning in plan.warnings)


def test_the_goal_of_throughput_takes_replicas_where_the_link_is_slow() -> None:
    job = Job(256, 128, 32, "fp8")
    latency, throughput = (
        choose_split(read_shape("llama-2-7b"), parse_fleet("L40Sx4"), job, goal) for goal in ("latency", "throughput")
    )
    assert throughput.best.split == Split(1, 1, 4)
    assert throughput.best.tokens_per_s > latency.best.tokens_per_s
    assert throughput.best.token_s > latency.best.token_s


def test_what_does_not_fit_is_told_by_how_much_and_what_would() -> None:
    with pytest.raises(CheckError) as caught:
        choose_split(read_shape("llama-3.1-405b"), parse_fleet("H100x8"), Job(8, 3840, 256, "bf16"))
    assert caught.value.exit_code == 3
    assert "over" in caught.value.message
    assert "--gpus H100x16" in caught.value.fix
    assert "--dtype fp8" in caught.value.fix
    choose_split(read_shape("llama-3.1-405b"), parse_fleet("H100x16"), Job(8, 3840, 256, "bf16"))
    choose_split(read_shape("llama-3.1-405b"), parse_fleet("H100x8"), Job(8, 3840, 256, "fp8"))


def test_a_smaller_batch_that_fits_is_named() -> None:
    with pytest.raises(CheckError, match=r"--batch 64"):
        choose_split(read_shape("llama-2-7b"), parse_fleet("L4"), Job(512, 256, 256, "fp8"))
    choose_split(read_shape("llama-2-7b"), parse_fleet("L4"), Job(64, 256, 256, "fp8"))
    with pytest.raises(CheckError):
        choose_split(read_shape("llama-2-7b"), parse_fleet("L4"), Job(128, 256, 256, "fp8"))


@pytest.mark.parametrize(
    ("devices", "job", "said"),
    [
        ("A100x8", Job(8, 100, 20, "fp8"), "no units for fp8"),
        ("H100x8", Job(8, 100, 20, "fp6"), "no type 'fp6'"),
        ("H100x8", Job(0, 100, 20, "fp8"), "batch is 0"),
        ("H100x8", Job(8, 200_000, 20, "fp8"), "more than 100b was trained for"),
        ("H100x1009", Job(8, 100, 20, "fp8"), "cannot share out"),
    ],
)
def test_a_job_that_cannot_be_is_refused(devices: str, job: Job, said: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_split(read_shape("100b"), parse_fleet(devices), job)
    assert said in caught.value.message
    assert caught.value.fix
