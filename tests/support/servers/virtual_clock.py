"""An event loop whose clock jumps to what comes next: waits take no time, and a busy machine changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0 s and moves only where nothing is ready: to when the next timer is due."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._select_really = self._selector.select
        self._selector.select = self._select

    def time(self) -> float:
        return self._now_s

    def _select(self, timeout: float | None = None) -> Any:
        events = self._select_really(None if timeout is None else 0)
        if not events and timeout:
            self._now_s += timeout
        return events


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns, run on a clock of its own: `asyncio.get_running_loop().time()`."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(coroutine)
