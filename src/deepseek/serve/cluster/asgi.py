"""An App behind ASGI: scopes to calls, answers to messages. What is checked, computed and said stays the App's.

    await app.start()
    door = AsgiApp(app)      # an ASGI 3 application; the end of its lifespan closes the App

Our own front end speaks HTTP itself, because an ASGI server costs more than the answer (docs/decisions/0005). Behind a
proxy that speaks ASGI anyway there is nothing to save, and nothing of what it costs is spent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httptools

from deepseek.errors import DeepseekError
from deepseek.http_errors import DisconnectedError
from deepseek.serve.app import App
from deepseek.serve.core.errors import ambiguous_head_error, body_too_large_error, slow_body_error
from deepseek.serve.core.head import SECURITY_HEADERS, decode_path, encode_version
from deepseek.serve.core.request import Header, Request, Response, StreamingResponse
from deepseek.serve.http.reader import SINGLE_HEADERS

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiApp:
    """One App for an ASGI server."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:  # there is nothing here for a web socket
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Close the App when the server stops. It was started before, by who can say what went wrong with it."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.app.drain()
        await self.app.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        call = self._call_of(scope)
        if call.refused is None:
            self.app.admit(call)
        if call.refused is None:
            await self._read_body(call, receive)
        told: asyncio.Future[Response | StreamingResponse] = asyncio.get_running_loop().create_future()

        def answered(_: Request, answer: Response | StreamingResponse) -> None:
            self.app.report(call, answer.status)
            if not told.done():
                told.set_result(answer)

        self.app.begin(call, answered)
        try:
            answer = await told
        except asyncio.CancelledError:  # how Ray Serve says that the client went away
            self.app.cancel(call)
            raise
        if isinstance(answer, StreamingResponse):
            raise TypeError("streams do not pass this door: models that write are not opened behind it")
        start = {"type": "http.response.start", "status": answer.status, "headers": response_headers(call, answer)}
        await send(start)
        await send({"type": "http.response.body", "body": b"" if call.method == "HEAD" else answer.body})

    def _call_of(self, scope: Message) -> Request:
        """The request without its body; refused when two readers could understand it differently."""
        headers: dict[bytes, bytes] = {}
        refused: DeepseekError | None = None
        for name, value in scope["headers"]:
            if name in headers and name in SINGLE_HEADERS:
                refused = ambiguous_head_error(f"the header {name.decode('latin-1')} stands twice", "it once")
            headers[name] = value
        path = ""
        try:
            # The decoded path of the scope does not tell a slash from an encoded one.
            path = decode_path(scope.get("raw_path") or scope["path"].encode())
        except (ValueError, httptools.HttpParserError):
            refused = ambiguous_head_error("the path of the request cannot be read", "a path such as /v1/models")
        return Request(scope["method"], path, headers, self.app.settings, refused=refused)

    async def _read_body(self, call: Request, receive: Receive) -> None:
        """The body, within the limits of the settings. What is over them stands in `call.refused`."""
        settings = self.app.settings
        limit = call.max_body_bytes
        length = call.headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > limit:
            call.refused = body_too_large_error(limit)
            return
        chunks: list[bytes] = []
        num_bytes = 0
        try:
            async with asyncio.timeout(settings.body_timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        call.refused = DisconnectedError("the client went away")
                        return
                    chunk = message.get("body", b"")
                    num_bytes += len(chunk)
                    if num_bytes > limit:
                        call.refused = body_too_large_error(limit)
                        return
                    chunks.append(chunk)
                    more = message.get("more_body", False)
        except TimeoutError:
            call.refused = slow_body_error(settings.body_timeout_s)
            return
        call.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)


def response_headers(call: Request, answer: Response) -> list[Header]:
    """What stands before an answer, as our own front end writes it, without what Ray Serve's proxy adds: the date, what
    becomes of the connection, and the x-request-id, which it has given us."""
    headers = [
        *SECURITY_HEADERS,
        (b"content-type", answer.media_type),
        (b"content-length", str(len(answer.body)).encode()),
        *answer.headers,
    ]
    if call.traceparent:
        headers.append((b"traceparent", call.traceparent.encode()))
    if call.model is not None:
        headers.append((b"x-model-version", encode_version(call.model.version)))
    return headers
