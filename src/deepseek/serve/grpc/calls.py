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
#: Metadata of a call that mean the same as headers.
_METADATA_HEADERS = frozenset(("authorization", "x-request-id", "traceparent", "x-timeout-ms", "x-priority"))


class HttpTarget(NamedTuple):
    """The HTTP request that a remote call stands for."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class RpcResult:
    """A message, or why there is none."""

    body: bytes
    status: int = 200  # of HTTP
    details: str = ""

    @property
    def code(self) -> grpc.StatusCode:
        return GRPC_CODES.get(self.status, grpc.StatusCode.INTERNAL)


async def handle_rpc(
    app: App, name: str, target: HttpTarget, context: RpcContext, body: bytes = b"", work: MessageHandler | None = None
) -> RpcResult:
    """What `work` makes of a call once it is admitted, or what the route itself answers. Leaves one event behind."""
    call = Request(target.method, target.path, read_metadata(context), app.settings, body=body)
    left_s = context.time_remaining()
    if left_s is not None:
        shorten_timeout(call, int(left_s * 1e3))
    app.admit(call)
    call.route = f"grpc/{name}"
    if work is not None and call.refused is None:
        call.handler = _as_handler(work)
    told: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    app.begin(call, partial(_set_response, told))
    try:
        answer = await told
    except asyncio.CancelledError:  # the client went away, or its deadline passed
        app.cancel(call)
        app.report(call, 499)
        raise
    app.report(call, answer.status)
    if answer.status == 200:
        return RpcResult(answer.body)
    return RpcResult(b"", answer.status, _error_sentence(answer.body))


def _set_response(told: asyncio.Future[Response], _: Request, answer: Response) -> None:
    if not told.done():  # its client may be gone
        told.set_result(answer)


def read_metadata(context: RpcContext) -> dict[bytes, bytes]:
    """The metadata that mean something here. What stands twice is joined, as by HTTP/2, so neither of both holds."""
    found: dict[bytes, bytes] = {}
    for key, value in context.invocation_metadata() or ():
        if key in _METADATA_HEADERS:
            name, text = key.encode(), value if isinstance(value, bytes) else value.encode("utf-8", "replace")
            found[name] = found[name] + b", " + text if name in found else text
    return found


def _as_handler(work: MessageHandler) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def handler(call: Request) -> Response:
        return Response(await work(call))

    return handler


def _error_sentence(body: bytes) -> str:
    """The sentence of an error body."""
    error = msgspec.json.decode(body)["error"]
    if isinstance(error, str):
        return error
    return str(DeepseekError(error["message"], expected=error["expected"], fix=error["fix"]))
