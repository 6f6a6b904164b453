"""Heads of requests that were parsed before. A client that keeps its connection sends the same one again and again.

    request = cache.find(data, settings)   # when data is one whole request with a cached head, else None
    cache.remember(data, request)          # after the parser has found that `data` was exactly one request

The parser calls back a dozen times for a request, which costs as much as computing its answer. What it has found for
some bytes holds for the same bytes again: nothing is parsed here. What a head says of one request alone (its id, a
trace) is no reason to remember it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepseek.serve.core.config import Settings
from deepseek.serve.core.request import Handler, Request, RequestClient

MAX_CACHED_HEADS = 512
MAX_CACHED_HEAD_BYTES = 4_096  # of a head that is remembered
_HEAD_END = b"\r\n\r\n"
#: Headers of one request alone, or that change how its body travels.
_UNCACHED_HEADERS = frozenset(
    [b"x-request-id", b"traceparent", b"transfer-encoding", b"expect", b"upgrade", b"content-encoding"]
)


@dataclass(slots=True)
class CachedHead:
    """What parsing and admission gave for one head, to be used again for the same bytes."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    route: str
    handler: Handler
    client: RequestClient | None
    num_bytes: int
    body_bytes: int


class HeadCache:
    """The heads of requests that were admitted. Cleared when routes or API keys change, which they were found by."""

    def __init__(self) -> None:
        self._known: dict[bytes, CachedHead] = {}

    def __len__(self) -> int:
        return len(self._known)

    def clear(self) -> None:
        self._known.clear()

    def find(self, data: bytes, settings: Settings) -> Request | None:
        """The request that `data` holds exactly."""
        head = self._known.get(data[: data.find(_HEAD_END) + 4])
        if head is None or len(data) != head.num_bytes + head.body_bytes:
            return None
        request = Request(head.method, head.path, head.headers, settings, body=data[head.num_bytes :])
        request.route, request.handler, request.client = head.route, head.handler, head.client
        return request

    def remember(self, data: bytes, request: Request) -> None:
        """Cache the head of `data`, which was exactly one admitted request on a connection that is kept alive."""
        num_bytes = data.find(_HEAD_END) + 4
        if (
            request.handler is None
            or request.is_http10
            or not 4 <= num_bytes <= MAX_CACHED_HEAD_BYTES
            or not _UNCACHED_HEADERS.isdisjoint(request.headers)
        ):
            return
        body_bytes = int(request.headers.get(b"content-length", 0))
        if len(data) != num_bytes + len(request.body) or body_bytes != len(request.body):
            return
        if len(self._known) >= MAX_CACHED_HEADS:
            self._known.clear()
        self._known[data[:num_bytes]] = CachedHead(
            request.method, request.path, request.headers, request.route, request.handler, request.client,
            num_bytes, body_bytes,
        )  # fmt: skip
