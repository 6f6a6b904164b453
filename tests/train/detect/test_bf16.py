"""Which number format a training takes, by a clock that the steps themselves move."""

from __future__ import annotations

import pytest

from deepseek.train.detect import bf16
from deepseek.train.detect.bf16 import is_bf16_faster


@pytest.mark.parametrize(("bf16_s", "float32_s", "expected"), [(0.5, 1.0, True), (0.95, 1.0, False), (4.0, 1.0, False)])
def test_bfloat16_is_taken_where_it_saves_a_tenth_and_the_first_step_does_not_count(
    bf16_s: float, float32_s: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seen = [0.0], []
    monkeypatch.setattr(bf16.time, "process_time", lambda: clock[0])

    def step(in_bf16: bool) -> None:
        first = in_bf16 not in seen
        seen.append(in_bf16)
        clock[0] += (bf16_s if in_bf16 else float32_s) + (100.0 if first else 0.0)

    assert is_bf16_faster(step) is expected
