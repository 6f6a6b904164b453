"""Buckets of tokens."""

from __future__ import annotations

from deepseek.serve.core.rate_limits import TokenBucket


def test_a_bucket_lets_its_rate_through_over_any_time() -> None:
    """Asked 100 times a second for 10 s: the 20 that it holds, and 20 for each second."""
    bucket = TokenBucket(rate=20)
    taken = [bucket.take(1, now_s=number / 100) == 0 for number in range(1_000)]
    assert 20 + 20 * 9.9 <= sum(taken) <= 20 + 20 * 10


def test_a_slow_rate_still_lets_one_through() -> None:
    bucket = TokenBucket(rate=1 / 60)
    assert [bucket.take(1, now_s=now_s) for now_s in (0, 1, 59, 60)] == [0, 59, 1, 0]


def test_what_is_refused_costs_nothing() -> None:
    bucket = TokenBucket(rate=10)
    assert bucket.take(10, now_s=0) == 0
    for _ in range(100):
        assert bucket.take(1, now_s=0.05) == 1
    assert bucket.take(1, now_s=0.1) == 0


def test_more_than_a_bucket_holds_is_taken_when_it_is_full_and_paid_off_later() -> None:
    bucket = TokenBucket(rate=10)
    assert bucket.take(1, now_s=0) == 0
    assert bucket.take(50, now_s=0) == 1
    assert bucket.take(50, now_s=0.1) == 0
    assert bucket.take(1, now_s=0.1) == 5  # 40 are owed, and one more
    assert bucket.take(1, now_s=4.2) == 0
