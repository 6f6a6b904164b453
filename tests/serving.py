"""An application that answers on a real socket, in the event loop of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deepseek.serve import App
from deepseek.serve.connection import Connection, Hub


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[str]:
    """The URL under which `app` answers."""
    await app.start()
    hub = Hub(app)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(hub), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        hub.abort()
