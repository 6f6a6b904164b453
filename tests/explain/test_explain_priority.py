"""An explaining process lets others go first."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from deepseek.explain.priority import NICE_INCREMENT, SLICE_NS

#: In a process of its own: a priority is never raised again.
ASK = """
import ctypes, os, sys
from deepseek.explain.priority import _SchedulingAttributes, lower_priority
started = os.getpriority(os.PRIO_PROCESS, 0)
lower_priority(), lower_priority()
attributes = _SchedulingAttributes()
size = ctypes.sizeof(attributes)
refused = ctypes.CDLL(None).syscall({number}, 0, ctypes.byref(attributes), size, 0) if {number} else 1
print(os.getpriority(os.PRIO_PROCESS, 0) - started, refused, attributes.nice - started, attributes.runtime)
"""
READS = {"x86_64": 315, "aarch64": 275}  # sched_getattr


def ask_cpus(number: int) -> list[int]:
    script = ASK.format(number=number)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return [int(word) for word in done.stdout.split()]


def test_its_weight_is_lowered_once() -> None:
    assert ask_cpus(0)[0] == NICE_INCREMENT


@pytest.mark.skipif(
    platform.machine() not in READS or tuple(map(int, platform.release().split(".")[:2])) < (6, 12),
    reason="slices of single threads are known to Linux from 6.12 on",
)
def test_it_runs_a_tenth_of_a_millisecond_at_a_time() -> None:
    assert ask_cpus(READS[platform.machine()]) == [NICE_INCREMENT, 0, NICE_INCREMENT, SLICE_NS]
