"""Whether bfloat16 pays on this machine: with units for it a step costs half, without them several times as much.

if is_bf16_faster(step): ...                  # step(True) computes in bfloat16, step(False) in float32
"""

from __future__ import annotations

import time
from collections.abc import Callable

NUM_TRIALS = 3  # of each; the first compiles its kernels and does not count
LEAST_GAIN = 0.1


def is_bf16_faster(step: Callable[[bool], object]) -> bool:
    """By the CPU time of NUM_TRIALS steps of each; it has to save LEAST_GAIN of it."""
    bf16_s, float32_s = (_least_cost(step, bf16) for bf16 in (True, False))
    return bf16_s < (1 - LEAST_GAIN) * float32_s


def _least_cost(step: Callable[[bool], object], bf16: bool) -> float:
    """CPU seconds of the cheapest step, without the first."""
    costs = []
    for _ in range(NUM_TRIALS):
        start = time.process_time()
        step(bf16)
        costs.append(time.process_time() - start)
    return min(costs[1:])
