"""A log that is larger than the memory it may take: the answer comes, and the memory does not grow with the log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("duckdb")
pytestmark = pytest.mark.slow
START_S, MIB = 1_767_225_600, 1 << 20
ADDRESS_SPACE_BYTES = 4_096 * MIB  # of which libraries and stacks of threads are half


def write_log(path: Path, num_lines: int) -> None:
    """Two hours of requests; in the last ten minutes every second one of tenant t4 fails."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for number in range(num_lines):
            time_s = START_S + 7_200 * number / num_lines
            tenant = f"t{number % 8}"
            fails = tenant == "t4" and time_s > START_S + 6_600 and number % 16 < 8
            line = {
                "time": round(time_s, 3), "request_id": f"r{number:09d}", "status": 503 if fails else 200,
                "client": tenant, "host": f"n{number % 3}", "duration_s": round(float(rng.lognormal(-5, 0.3)), 6),
                "route": "/v1/models/M:predict", "agent": "client-of-the-bank/1.2.3 (payments; production)",
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")


def explain(path: Path) -> tuple[dict[str, Any], int]:
    """What `observe why` prints, and the largest memory of its process (bytes)."""
    limited = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, ({ADDRESS_SPACE_BYTES},) * 2); "
        "sys.argv[0] = 'deepseek'; runpy.run_module('deepseek', run_name='__main__')"
    )
    words = [sys.executable, "-c", limited, "observe", "why", str(path), "--memory", "64", "--json"]
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        text, problems = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, problems
    return json.loads(text), usage.ru_maxrss * 1_024


def test_memory_is_bounded_however_long_the_log_is(tmp_path: Path) -> None:
    peaks_bytes, sizes_bytes = [], []
    for num_lines in (100_000, 600_000):
        path = tmp_path / "requests.ndjson"
        write_log(path, num_lines)
        report, peak_bytes = explain(path)
        assert report["causes"][0]["conditions"] == [{"field": "client", "kind": "is", "value": "t4"}]
        peaks_bytes.append(peak_bytes)
        sizes_bytes.append(path.stat().st_size)
    growth_bytes = peaks_bytes[1] - peaks_bytes[0]
    assert growth_bytes < (sizes_bytes[1] - sizes_bytes[0]) / 2, (peaks_bytes, sizes_bytes)
