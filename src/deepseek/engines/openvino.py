"""OpenVINO's core, and what keeps signals alive beside it.

    with keep_signal_stack():
        pipeline = openvino_genai.ContinuousBatchingPipeline(...)

A CPU plugin gives the thread that loads it another stack for signal handlers, and when it goes, perhaps on another
thread or before an older one, that thread is left with a stack that is no longer mapped (OpenVINO 2026.2,
SigAltStackSetup). The next signal that Python handles there, such as SIGTERM, kills the process with SIGSEGV.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepseek.extras import need


class _SignalStack(ctypes.Structure):
    """stack_t of <signal.h> on Linux."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def keep_signal_stack() -> Iterator[None]:
    """Puts this thread's stack for signal handlers back at the end. Around all that may load a CPU plugin."""
    if sys.platform != "linux":
        yield
        return
    stack, sigaltstack = _SignalStack(), ctypes.CDLL(None).sigaltstack
    sigaltstack(None, ctypes.byref(stack))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(stack), None)


@functools.cache
def openvino_core(*, extra: str) -> Any:
    """The process's openvino.Core, its CPU plugin loaded. ExtraError that names `extra` without openvino."""
    with keep_signal_stack():
        core = need("openvino", extra=extra).Core()
        core.get_versions("CPU")  # loads the plugin
    return core


def has_bf16(*, extra: str) -> bool:
    """Whether the CPU computes in bfloat16; elsewhere OpenVINO would only pretend."""
    return "BF16" in openvino_core(extra=extra).get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def cpu_settings(num_threads: int, *, bf16: bool, extra: str = "text") -> dict[str, str | int | bool]:
    """How a model is compiled for one call at a time. In float32 unless `bf16` is wanted and there: left to itself
    OpenVINO lowers precision."""
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 and has_bf16(extra=extra) else "f32",
        "INFERENCE_NUM_THREADS": num_threads,
        "NUM_STREAMS": 1,
        # every process would pin itself to the same first core
        "ENABLE_CPU_PINNING": False,
        # kernels that are kept for sizes which were seen: as fast as with the usual 5,000, and memory stays flat
        "CPU_RUNTIME_CACHE_CAPACITY": 300,
    }
