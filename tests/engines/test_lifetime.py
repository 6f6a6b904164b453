"""Engine processes end with the process that started them, also in the midst of a computation that never ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

CHILD = """
import sys, time
from deepseek.engines.lifetime import end_with_parent
end_with_parent(int(sys.argv[1]), by_kernel=sys.argv[2] == "kernel")
print("ready", flush=True)
while True:
    pass
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid()), sys.argv[2]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
WAIT_S = 60.0


def is_alive(pid: int) -> bool:
    """Whether it runs; a process that has ended and was not waited for does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")


def is_gone(pid: int) -> bool:
    started_s = monotonic()
    while is_alive(pid):
        if monotonic() - started_s > WAIT_S:
            os.kill(pid, signal.SIGKILL)
            return False
        sleep(0.05)
    return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("way", ["kernel", "thread"])
def test_a_child_that_computes_ends_with_its_parent(way: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, way], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert is_gone(child)


@pytest.mark.parametrize("way", ["kernel", "thread"])
def test_a_child_whose_parent_had_ended_before_does_not_begin(way: str) -> None:
    nobody = 2**22 + 1  # beyond the largest number of a process
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(nobody), way], capture_output=True, timeout=WAIT_S, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, b"")
