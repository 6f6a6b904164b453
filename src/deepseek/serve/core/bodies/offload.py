"""Work on a large body: in a thread, one body of this process at a time.

    rows = await offload(len(body), read, body)

Two at a time would hold up health checks no longer, each letting Python's lock go, but fill twice the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")
#: Up to which a body is read in the event loop: 3 ms where it is empty arrays.
INLINE_BYTES = 64 * 1024
_body_thread = ThreadPoolExecutor(1, "large-body")


async def offload(num_bytes: int, work: Callable[..., Result], *args: Any) -> Result:
    """work(*args) on a body of `num_bytes`: at once where that is small, else when it is its turn in the thread."""
    if num_bytes <= INLINE_BYTES:
        return work(*args)
    return await asyncio.get_running_loop().run_in_executor(_body_thread, partial(work, *args))
