"""One remote call through the application: the same admission, errors and events as a request over HTTP.

    answer = await through(app, "ModelInfer", HttpTarget("POST", "/v2/models/loans/infer"), context, work)
    answer.body, or `code` and `details` of what it was refused with

Whoever may do something over HTTP may do it here: a call is admitted by the route that stands for it there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import grpc
import msgspec

from deepseek.errors import DeepseekError
from deepseek.serve.app import App
from deepseek.serve.core.request import Request, Response
from deepseek.serve.protocols.oip import shorten_timeout

RpcContext = Any  # grpc.aio.ServicerContext
MessageHandler = Callable[[Request], Coroutine[Any, Any, bytes]]
#: HTTP status -> code of gRPC; INTERNAL for the rest.
GRPC_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
    **dict.fromkeys((400, 405, 408, 413, 415, 422, 431), grpc.StatusCode.INVALID_ARGUMENT),
}
#: Metadata keys that mean the same as HTTP headers.
_METADATA_HEADERS = frozenset(("authorization", "x-request-id", "traceparent", "x-timeout-ms", "x-priority"))


class HttpTarget(NamedTuple):
    """The HTTP request that corresponds to a remote call."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class RpcResult:
    """The message of a remote call, or the error in its place."""

    body: bytes
    status: int = 200  # HTTP status
    details: str = ""

    @property
    def code(self) -> grpc.StatusCode:
        return GRPC_CODES.get(self.status, grpc.StatusCode.INTERNAL)


async def handle_rpc(
    app: App, name: str, target: HttpTarget, context: RpcContext, body: bytes = b"", work: MessageHandler | None = None
) -> RpcResult:
    """The result of `work` for a call once it is admitted, or of the route itself. Emits one event."""
    request = Request(target.method, target.path, read_metadata(context), app.settings, body=body)
    left_s = context.time_remaining()
    if left_s is not None:
        shorten_timeout(request, int(left_s * 1e3))
    app.admit(request)
    request.route = f"grpc/{name}"
    if work is not None and request.rejection is None:
        request.handler = _as_handler(work)
    response_future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    app.handle(request, partial(_set_response, response_future))
    try:
        response = await response_future
    except asyncio.CancelledError:  # the client has disconnected, or its deadline has passed
        app.cancel(request)
        app.report(request, 499)
        raise
    app.report(request, response.status)
    if response.status == 200:
        return RpcResult(response.body)
    return RpcResult(b"", response.status, _error_sentence(response.body))


def _set_response(response_future: asyncio.Future[Response], _: Request, response: Response) -> None:
    if not response_future.done():  # its client may have disconnected
        response_future.set_result(response)


def read_metadata(context: RpcContext) -> dict[bytes, bytes]:
    """The metadata that are headers here. Values of one key are joined, as in HTTP/2, so that neither is valid."""
    headers: dict[bytes, bytes] = {}
    for key, value in context.invocation_metadata() or ():
        if key in _METADATA_HEADERS:
            name, text = key.encode(), value if isinstance(value, bytes) else value.encode("utf-8", "replace")
            headers[name] = headers[name] + b", " + text if name in headers else text
    return headers


def _as_handler(work: MessageHandler) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def handler(request: Request) -> Response:
        return Response(await work(request))

    return handler


def _error_sentence(body: bytes) -> str:
    """The error of a body as one sentence."""
    error = msgspec.json.decode(body)["error"]
    if isinstance(error, str):
        return error
    return str(DeepseekError(error["message"], expected=error["expected"], fix=error["fix"]))
