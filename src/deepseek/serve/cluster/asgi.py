"""An App behind ASGI: scopes to requests, responses to messages. Checks, computation and events stay the App's.

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
from deepseek.serve.core.request import Header, Request, Response
from deepseek.serve.http.reader import SINGLE_HEADERS

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiApp:
    """An App as an ASGI 3 application."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._respond(scope, receive, send)
        else:  # no web sockets here
            await send({"type": "websocket.close", "code": 1000})

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        """Close the App when the server stops. It was started before, where its errors can be reported."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.app.drain()
        await self.app.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _respond(self, scope: Message, receive: Receive, send: Send) -> None:
        request = self._read_request(scope)
        if request.rejection is None:
            self.app.admit(request)
        if request.rejection is None:
            await self._read_body(request, receive)
        response_future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def on_response(_: Request, response: Response) -> None:
            self.app.report(request, response.status)
            if not response_future.done():
                response_future.set_result(response)

        self.app.handle(request, on_response)
        try:
            response = await response_future
        except asyncio.CancelledError:  # how Ray Serve signals that the client has disconnected
            self.app.cancel(request)
            raise
        if response.chunks is not None:
            raise TypeError("streams do not pass this door: models that write are not opened behind it")
        start = {
            "type": "http.response.start",
            "status": response.status,
            "headers": response_headers(request, response),
        }
        await send(start)
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else response.body})

    def _read_request(self, scope: Message) -> Request:
        """The request without its body; with a rejection when two readers could understand it differently."""
        headers: dict[bytes, bytes] = {}
        rejection: DeepseekError | None = None
        for name, value in scope["headers"]:
            if name in headers and name in SINGLE_HEADERS:
                rejection = ambiguous_head_error(f"the header {name.decode('latin-1')} stands twice", "it once")
            headers[name] = value
        path = ""
        try:
            # The decoded path of the scope does not distinguish a slash from an encoded one.
            path = decode_path(scope.get("raw_path") or scope["path"].encode())
        except (ValueError, httptools.HttpParserError):
            rejection = ambiguous_head_error("the path of the request cannot be read", "a path such as /v1/models")
        return Request(scope["method"], path, headers, self.app.settings, rejection=rejection)

    async def _read_body(self, request: Request, receive: Receive) -> None:
        """Read the body, within the limits of the settings; beyond them `request.rejection` is set."""
        settings = self.app.settings
        limit = request.max_body_bytes
        length = request.headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > limit:
            request.rejection = body_too_large_error(limit)
            return
        chunks: list[bytes] = []
        num_bytes = 0
        try:
            async with asyncio.timeout(settings.body_timeout_s):
                has_more = True
                while has_more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        request.rejection = DisconnectedError("the client went away")
                        return
                    chunk = message.get("body", b"")
                    num_bytes += len(chunk)
                    if num_bytes > limit:
                        request.rejection = body_too_large_error(limit)
                        return
                    chunks.append(chunk)
                    has_more = message.get("more_body", False)
        except TimeoutError:
            request.rejection = slow_body_error(settings.body_timeout_s)
            return
        request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)


def response_headers(request: Request, response: Response) -> list[Header]:
    """The headers of a response, as our own front end writes them, without those of Ray Serve's proxy: the date, the
    state of the connection, and the x-request-id, which it has chosen."""
    headers = [
        *SECURITY_HEADERS,
        (b"content-type", response.media_type),
        (b"content-length", str(len(response.body)).encode()),
        *response.headers,
    ]
    if request.traceparent:
        headers.append((b"traceparent", request.traceparent.encode()))
    if request.model is not None:
        headers.append((b"x-model-version", encode_version(request.model.version)))
    return headers
