"""`deepseek serve` on a tree bundle: from the start of the process to its first answer, and the memory it then holds.

    python benchmarks/cold_start.py [--quick] [--only CLAIM]

The clock runs from fork to the first byte of a 200 from :predict; memory is what the process has in RAM after it. No
library for training may be in the process. Bars: 1.5 s and 150 MB. There is no rival: the bars are absolute.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from http_load import cpu_s, resident_bytes
from result import claim, finish, options
from tree_bundle import make

#: Claim -> (unit, bar); each must stay at or below its bar.
CLAIMS = {
    "first_answer": ("s", 1.5),
    "memory": ("MB", 150.0),
    "training_libraries": ("libraries mapped into the process", 0.0),
}
FORBIDDEN = ("torch", "sklearn", "pandas")


def run_once(bundle: Path, body: bytes) -> dict[str, float]:
    """One cold start, answered once and stopped."""
    command = [sys.executable, "-m", "deepseek", "serve", str(bundle), "--port", "0"]
    started_s = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    url = f"{ready['url']}/v1/models/{ready['models'][0]}:predict"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read(1)
        took_s = time.perf_counter() - started_s
    times_s = {
        "first_answer": took_s,
        "cpu_s": cpu_s(process.pid),
        "memory": resident_bytes(process.pid) / 1e6,
        "training_libraries": float(len(mapped(process.pid))),
    }
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    return times_s


def mapped(pid: int) -> set[str]:
    """Which of FORBIDDEN have a compiled library in the process: each of them has several."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in FORBIDDEN if f"/site-packages/{name}/" in maps}


def summary(name: str, runs: list[dict[str, float]]) -> dict[str, Any]:
    """The median over the runs as results/*.json states it."""
    unit, bar = CLAIMS[name]
    cpu = median(run["cpu_s"] for run in runs)
    return claim(
        name, ours=median(run[name] for run in runs), unit=unit, op="<=", bar=bar, num_seeds=len(runs),
        note=f"{cpu:.2f} s of CPU until then",
    )  # fmt: skip


def main() -> int:
    args = options(__doc__, CLAIMS, quick="3 starts instead of 9, the same bars.").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = make(Path(folder))
        body = json.dumps({"instances": [bundle.record]}).encode()
        runs = [run_once(bundle.bundle, body) for _ in range(3 if args.quick else 9)]
    claims = [summary(name, runs) for name in ([args.only] if args.only else CLAIMS)]
    left_out = [name for name in CLAIMS if args.only not in (None, name)]
    return finish("cold_start", claims, not_run=left_out)


if __name__ == "__main__":
    sys.exit(main())
