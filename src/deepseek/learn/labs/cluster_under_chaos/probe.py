"""Runs in the learner's process: the learner's cluster, and what it leaves behind."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

WORKERS = "workers.txt"  # a line for each worker that has ever started: its process and its port


def run(learner: Any, port: int, num_workers: int, stop_file: str) -> int:
    """How many workers still listen when the cluster has ended."""
    learner.run(port, num_workers, stop_file)
    started = Path(WORKERS).read_text().splitlines() if Path(WORKERS).exists() else []  # none: nobody was started
    return sum(is_open(int(line.split()[1])) for line in started)


def is_open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False
