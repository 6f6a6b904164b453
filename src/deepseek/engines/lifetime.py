"""A process of ours that ends when the one that started it has ended, whatever it is computing.

    subprocess.Popen([sys.executable, "-m", MODULE, str(os.getpid())])     # the parent names itself
    end_with_parent(int(sys.argv[1]))                                      # the child, first of all

A closed socket is seen only by who reads it: an engine in an endless loop would outlive a server that was killed. On
Linux the kernel sends the signal (prctl(2), PR_SET_PDEATHSIG), when the thread that has started the process ends; a
parent that has ended before is seen by getppid(). Elsewhere, and for who is started by a thread that may end, a thread
looks for the parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from time import sleep

CHECK_INTERVAL_S = 0.5  # between two looks for the parent
_PR_SET_PDEATHSIG = 1  # PR_SET_PDEATHSIG


def end_with_parent(parent_pid: int, *, by_kernel: bool = True) -> None:
    """From now on, let this process end when its parent ends. `by_kernel`: the thread that starts this process lives as
    long as its process."""
    if not (by_kernel and _request_death_signal()):
        threading.Thread(target=_exit_with_parent, args=(parent_pid,), name="lifetime", daemon=True).start()
    if os.getppid() != parent_pid:  # it ended before this process could ask
        os._exit(1)


def _request_death_signal() -> bool:
    """Ask the kernel to kill this process with its parent; returns whether it will."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)


def _exit_with_parent(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        sleep(CHECK_INTERVAL_S)
    os._exit(1)
