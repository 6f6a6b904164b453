"""A uvicorn server inside of an event loop that goes on beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from deepseek.errors import InputError


@asynccontextmanager
async def open_server(http: Any) -> AsyncIterator[None]:
    """A uvicorn server that is open, and closed afterwards. InputError where the port is taken."""
    running = asyncio.create_task(http.serve())
    while not http.started and not running.done():
        await asyncio.sleep(0.01)
    if running.done():
        with suppress(SystemExit):
            await running
        raise InputError(
            f"the address {http.config.host}:{http.config.port} cannot be opened",
            expected="an address of this machine, and a port that is free", fix="choose another --port",
        )  # fmt: skip
    try:
        yield
    finally:
        http.should_exit = True
        await running
