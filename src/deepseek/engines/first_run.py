"""The first run of a graph that somebody else may have written: a Loop in it may never end, or fill the memory.

    with use_limits(FirstRunLimits(seconds=10.0)):
        session = LimitedSession(onnxruntime.InferenceSession(path), "model.onnx", onnxruntime.RunOptions)
    session.run(names, inputs)           # CheckError when the first one takes longer; later ones are not watched

onnxruntime looks at RunOptions.terminate before each node, also of each turn of a Loop (seen with 1.32).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from deepseek.contracts import Arrays
from deepseek.errors import CheckError, InputError

CHECK_INTERVAL_S = 0.05  # between two looks at time and memory
_MEMORY_FILE = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class FirstRunLimits:
    """What the first run of a graph may take: time, and memory beyond that before it, where /proc tells."""

    seconds: float = 60.0
    memory_bytes: int = 8 << 30

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 86_400 or self.memory_bytes < 1 << 20:
            raise InputError(
                f"the first run may take {self.seconds:g} s and {self.memory_bytes:,} bytes",
                expected="above 0 and at most 86400 s, and 1 MiB or more",
                fix="give values in that range, or leave them out",
            )

    def to_dict(self) -> dict[str, float]:
        """Plain values for another process, which calls FirstRunLimits(**values)."""
        return asdict(self)


_LIMITS: ContextVar[FirstRunLimits | None] = ContextVar("first_run_limits", default=None)


def current_limits() -> FirstRunLimits:
    """The limits for graphs that are opened now."""
    return _LIMITS.get() or FirstRunLimits()


@contextmanager
def use_limits(limits: FirstRunLimits) -> Iterator[None]:
    """Within this context, graphs that are opened have these limits."""
    token = _LIMITS.set(limits)
    try:
        yield
    finally:
        _LIMITS.reset(token)


@contextmanager
def use_limits_of(limits: Mapping[str, float] | None) -> Iterator[None]:
    """use_limits() with what another process sent (FirstRunLimits.to_dict()); None: it sent none."""
    with use_limits(current_limits() if limits is None else FirstRunLimits(**limits)):  # type: ignore[arg-type]
        yield


class LimitedSession:
    """An InferenceSession whose first run is ended when it takes too much."""

    def __init__(self, session: Any, name: str, new_options: Any) -> None:
        """`new_options`: makes RunOptions of onnxruntime."""
        self._session, self._name, self._new_options = session, name, new_options
        self._limits = current_limits()
        self.run: Callable[..., Any] = self._run_limited

    def __getattr__(self, name: str) -> Any:
        """Everything else is the session's own."""
        return getattr(self._session, name)

    def _run_limited(self, names: Sequence[str] | None, arrays: Arrays, options: Any = None) -> Any:
        options = self._new_options() if options is None else options
        done, reached = threading.Event(), list[str]()
        watcher = threading.Thread(
            target=_terminate_over_limits, args=(options, self._limits, done, reached), name="first run", daemon=True
        )
        watcher.start()
        try:
            outputs = self._session.run(names, arrays, options)
        except Exception as error:
            if reached:
                raise CheckError(
                    f"{self._name} was ended in its first run: it took {reached[0]}",
                    expected=f"an answer within {self._limits.seconds:g} s and {self._limits.memory_bytes >> 20:,} MiB",
                    fix="take a graph whose loops end; for a large one raise --open-timeout or --open-memory",
                ) from error
            raise
        finally:
            done.set()
            watcher.join()
            options.terminate = False
        self.run = self._session.run
        return outputs


def _terminate_over_limits(options: Any, limits: FirstRunLimits, done: threading.Event, reached: list[str]) -> None:
    """Watch a run from a thread of its own, and end it when it has taken too much."""
    started_s, before_bytes = perf_counter(), _resident_bytes()
    while not done.wait(min(CHECK_INTERVAL_S, limits.seconds)):
        taken_bytes = _resident_bytes() - before_bytes
        if perf_counter() - started_s > limits.seconds:
            reached.append(f"more than {limits.seconds:g} s")
        elif taken_bytes > limits.memory_bytes:
            reached.append(f"{taken_bytes >> 20:,} MiB more")
        if reached:
            options.terminate = True
            return


def _resident_bytes() -> int:
    """Memory of this process in bytes; 0 where the system does not tell."""
    try:
        return int(_MEMORY_FILE.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
