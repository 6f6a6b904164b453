"""How many cores this process may use: those that it may run on, less where a container has a smaller share.

    num_cores()      # 4 in a container with `cpus: 4`, on a machine with 64

`docker run --cpus`, Compose and Kubernetes hide no core; they limit the time on all of them. With an engine process or
a thread for each core of the machine, a container would spend its share on switching and waiting: two OpenMP threads on
one core take several times the CPU seconds of one.
Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max) and scheduler/sched-bwc.html (cpu.cfs_quota_us).
"""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def num_cores(cgroup: Path = CGROUP) -> int:
    """The number of cores, at least 1. A fraction of a core is cut off. Where the system cannot bind a process to
    cores, as macOS cannot, all count."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = _cpu_quota(cgroup)
    return allowed if share is None else max(1, min(allowed, int(share)))


def _cpu_quota(cgroup: Path) -> float | None:
    """Cores' worth of time in each period. None: no limit, or none that can be read."""
    words = _read_words(cgroup / "cpu.max") or [
        *_read_words(cgroup / "cpu" / "cpu.cfs_quota_us"),
        *_read_words(cgroup / "cpu" / "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or not all(word.isdigit() and int(word) > 0 for word in words):
        return None  # "max" in the second version and -1 in the first mean no limit
    quota_us, period_us = map(int, words)
    return quota_us / period_us


def _read_words(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        return []
