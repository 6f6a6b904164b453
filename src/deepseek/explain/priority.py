"""The priority of work that others should not notice.

    lower_priority()        # this thread, and those that it starts from then on

A tenth of the weight of others, and on the core for a tenth of a millisecond at a time: Linux from 6.12 on lets what
has begun run for its slice (about 3 ms) before who wakes up gets the core, whatever their weights are. SCHED_IDLE and
nice 19 disturb as little, but beside eight busy processes nothing would be explained within its time.

Source: Linux, sched_setattr(2) and Documentation/scheduler/sched-eevdf.rst.
"""

from __future__ import annotations

import ctypes
import os
import platform

NICE_INCREMENT = 10
SLICE_NS = 100_000  # the least that the kernel takes
_SCHED_OTHER = 0
_SYSTEM_CALL_NUMBERS = {"x86_64": 314, "aarch64": 274}  # sched_setattr, which glibc has from 2.41 on
_INITIAL_NICE = os.getpriority(os.PRIO_PROCESS, 0)


class _SchedulingAttributes(ctypes.Structure):
    """struct sched_attr, version 0."""

    _fields_ = (
        ("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64), ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32), ("runtime", ctypes.c_uint64), ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )  # fmt: skip


def lower_priority() -> None:
    """Let others go first from now on. However often it is called, it is NICE_INCREMENT below where the process
    began."""
    nice = min(19, _INITIAL_NICE + NICE_INCREMENT)
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    number = _SYSTEM_CALL_NUMBERS.get(platform.machine())
    if number is not None and hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) == _SCHED_OTHER:
        # Kernels that know no slices do not look at it; one that refuses leaves the weight alone.
        wanted = _SchedulingAttributes(
            size=ctypes.sizeof(_SchedulingAttributes), policy=_SCHED_OTHER, nice=nice, runtime=SLICE_NS
        )
        ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0)
