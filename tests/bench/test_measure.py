"""What processes use, counted over their tree, and figures out of what a client saw."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time

import pytest

from deepseek.bench import ENGINES, FRONT_ENDS, LoadResult, usage

BURN = "import time; end = time.process_time() + 0.1\nwhile time.process_time() < end: pass"


@pytest.mark.skipif(not usage.can_measure_cpu(), reason="no schedstat here")
def test_cpu_is_that_of_a_process_and_of_those_that_it_started() -> None:
    code = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', '''{BURN}\ntime.sleep(60)''']); {BURN}"
    )
    with subprocess.Popen([sys.executable, "-c", f"{code}\ntime.sleep(60)"], start_new_session=True) as process:
        try:
            stop_s, by_process = time.monotonic() + 20, {}
            while (len(by_process) < 2 or min(by_process.values())[1] < 0.1) and time.monotonic() < stop_s:
                by_process = usage.cpu_by_process(process.pid)
            assert len(by_process) == 2
            assert min(seconds for _, seconds in by_process.values()) >= 0.1
            assert {part for part, _ in by_process.values()} == {FRONT_ENDS}
            assert usage.resident_bytes(process.pid) > 5_000_000
        finally:
            os.killpg(process.pid, 9)


def test_engines_are_counted_apart_and_processes_that_came_in_between_as_a_whole() -> None:
    before = {1: (FRONT_ENDS, 1.0), 2: (ENGINES, 5.0)}
    after = {1: (FRONT_ENDS, 1.5), 2: (ENGINES, 7.0), 3: (ENGINES, 0.25)}
    assert usage.cpu_by_part(before, after) == {FRONT_ENDS: 0.5, ENGINES: 2.25}


def test_a_process_that_is_gone_used_nothing() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert usage.cpu_by_process(done.pid) == {done.pid: (FRONT_ENDS, 0.0)}
    assert usage.resident_bytes(done.pid) == 0


def test_figures_are_those_of_the_right_answers_and_cpu_is_of_all() -> None:
    marks = tuple(at / 1_000 for at in range(1_000))
    result = LoadResult({"200": 80, "429": 20}, 2.0, 0.1, marks, 1.0, 1.0, {FRONT_ENDS: 0.3, ENGINES: 0.1})
    assert (result.num_right, result.num_failed, result.per_s) == (80, 20, 40.0)
    assert (result.quantile_s(0.5), result.quantile_s(0.99), result.quantile_s(1.0)) == (0.5, 0.99, 0.999)
    assert result.cpu_s() == pytest.approx(0.004)
    assert result.cpu_s(ENGINES) == pytest.approx(0.001)


def test_what_was_not_seen_is_not_a_number() -> None:
    result = LoadResult({"0": 3}, 1.0, 0.1, (), 0.0, 0.0, None)
    assert math.isnan(result.quantile_s(0.5))
    assert math.isnan(result.cpu_s())
