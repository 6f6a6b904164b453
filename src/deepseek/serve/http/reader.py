"""From bytes to calls: what httptools (llhttp) finds in one connection, and the bounds on it.

The parser calls the methods on_...; each request, once it is whole or refused, is passed to _queue().

llhttp refuses what two readers could cut into requests differently (RFC 9112, section 11.2): both lengths, folded
lines, spaces before a colon, bare line feeds. What it lets through of that kind is refused here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from io import BytesIO

import httptools

from deepseek.errors import DeepseekError
from deepseek.http_errors import HeadersTooLargeError
from deepseek.serve.app import App
from deepseek.serve.core.bodies.offload import INLINE_BYTES
from deepseek.serve.core.bodies.stream import BodyStream, is_ndjson
from deepseek.serve.core.errors import ambiguous_head_error, body_memory_error, body_too_large_error
from deepseek.serve.core.head import decode_path
from deepseek.serve.core.request import Request

MAX_HEAD_BYTES = 64 * 1024  # of a request line and its headers
MAX_HEADERS = 256  # with different names
#: Chunks that a body may have however small they are; of more, the mean has SMALL_CHUNK_BYTES. Each costs 1 us.
MAX_SMALL_CHUNKS, SMALL_CHUNK_BYTES = 16_384, 64
STREAM_CHUNK_BYTES = 16  # the same of a stream: a verdict alone has some twenty
STREAM_IDLE_TIMEOUT_S = 3_600.0  # that a stream of events may be silent
#: Headers that may stand once only: a proxy before this server might read the other of two.
SINGLE_HEADERS = frozenset(
    [
        b"authorization", b"content-encoding", b"content-length", b"content-type", b"host", b"transfer-encoding",
        b"inference-header-content-length", b"x-priority", b"x-timeout-ms",
    ]
)  # fmt: skip


class RequestReader(ABC):
    """The parser callbacks of a connection and their state. A connection implements the abstract methods."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._settings = app.settings
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._reading = False  # from the first byte of a request to its last
        self._headers: dict[bytes, bytes] = {}
        self._url = b""
        self._head_bytes = 0  # of the request line and the headers that the parser has passed on
        self._held_bytes = 0  # that the parser has buffered, because their header has not ended
        self._partial_request: Request | None = None  # the request whose body is being read
        self._body = BytesIO()  # the body so far
        self._body_bytes = 0
        self._num_chunks = 0  # chunks of the body so far
        self._raw_bytes = 0  # left of a body behind an offered upgrade, which the parser does not read
        self._head_error: DeepseekError | None = None  # why a head that parses is refused
        self._body_stream: BodyStream | None = None  # of the request that is answered while its body comes
        self._stream_chunks: list[bytes] = []  # of its body, of this read
        self._request_bytes = b""  # bytes of a request that arrived in one read
        self._is_ignoring = False  # further bytes are dropped
        self._active_request: Request | None = None  # the request that is being answered

    @abstractmethod
    def _queue(self, request: Request) -> None: ...

    @abstractmethod
    def _refuse(self, request: Request, error: DeepseekError) -> None: ...

    @abstractmethod
    def _wait(self, patience_s: float) -> None: ...

    @abstractmethod
    def _write(self, data: bytes) -> None: ...

    @abstractmethod
    def _listen(self, is_wanted: bool) -> None: ...

    @property
    @abstractmethod
    def _is_idle(self) -> bool:
        """Whether no request is answered, and none waits."""

    def on_message_begin(self) -> None:
        self._reading = True
        self._head_bytes = self._held_bytes = 0
        self._url = b""
        self._headers = {}
        self._head_error = None
        self._wait(self._settings.body_timeout_s)

    def on_url(self, url: bytes) -> None:
        self._count_head_bytes(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head_bytes(len(name) + len(value) + len(": \r\n"))
        if len(self._headers) >= MAX_HEADERS:
            self._head_error = HeadersTooLargeError(
                "the request has too many headers",
                expected=f"at most {MAX_HEADERS}",
                fix="leave out what is not needed",
            )
            raise ValueError("the parser passes it on as an HttpParserError")
        name = name.lower()
        if name in self._headers and name in SINGLE_HEADERS:
            raise self._reject_head(f"the header {name.decode('latin-1')} stands twice", "it once")
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        if self._parser is None:
            return
        headers = self._headers
        version = self._parser.get_http_version()
        self._check_head(version, headers)
        request = Request(self._parser.get_method().decode("ascii"), decode_path(self._url), headers, self._settings)
        request.is_http10 = version == "1.0"
        self._partial_request, self._body, self._body_bytes, self._num_chunks = request, BytesIO(), 0, 0
        self._headers = {}  # trailers are not headers
        self._app.admit(request)
        length = int(headers.get(b"content-length", 0))
        if self._parser.should_upgrade():  # offered, as by Java's client; a server may stay with HTTP/1.1
            if b"transfer-encoding" in headers:
                raise ValueError("chunks behind an offered upgrade")
            self._raw_bytes = length
        if length > request.max_body_bytes:
            self._refuse(request, body_too_large_error(request.max_body_bytes))
        elif request.rejection is not None:
            self._queue(request)
        elif b"expect" in headers and headers[b"expect"].lower() == b"100-continue" and not self._active_request:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.rejection is None and self._is_stream(request):
            self._partial_request = None
            self._body_stream = request.body_stream = BodyStream(self._listen)
            self._queue(request)
            self._wait(STREAM_IDLE_TIMEOUT_S)

    def _is_stream(self, request: Request) -> bool:
        """Whether a request is answered while its body comes: lines in chunks, to a route that does so, alone on the
        connection."""
        route = self._app.router.routes.get(request.path)
        return (
            route is not None and route.streams_body
            and b"transfer-encoding" in request.headers and is_ndjson(request.headers.get(b"content-type", b""))
            and self._is_idle
        )  # fmt: skip

    def on_body(self, body: bytes) -> None:
        self._held_bytes = 0
        if self._body_stream is not None:
            self._stream_chunks.append(body)  # and no more for each: chunks may be bytes
            return
        request = self._partial_request
        if request is None or request.rejection is not None:
            return
        self._body_bytes += len(body)
        self._num_chunks += 1
        if self._body_bytes > request.max_body_bytes:
            self._refuse(request, body_too_large_error(request.max_body_bytes))
        elif self._num_chunks > MAX_SMALL_CHUNKS and self._body_bytes < self._num_chunks * SMALL_CHUNK_BYTES:
            raise self._reject_head(
                f"the body comes in chunks of {self._body_bytes / self._num_chunks:.0f} bytes", "larger ones"
            )
        elif self._body_bytes > INLINE_BYTES and not self._reserve_memory(request):
            self._refuse(request, body_memory_error(self._app.bodies.limit_bytes))
        else:
            self._body.write(body)  # BytesIO.getvalue() gives it to its last owner without a copy

    def on_message_complete(self) -> None:
        if self._raw_bytes:
            return
        if self._body_stream is not None:
            self._reading = False
            self._feed_stream()
            self._body_stream.end()
            return
        request, self._partial_request = self._partial_request, None
        self._reading = False
        self._held_bytes = 0
        if request is not None and request.rejection is None:
            request.body, self._body = self._body.getvalue(), BytesIO()
            self._queue(request)

    def _feed_stream(self) -> None:
        """Pass on the chunks of one read."""
        stream, chunks = self._body_stream, self._stream_chunks
        if stream is None or not chunks:
            return
        self._stream_chunks = []
        self._wait(STREAM_IDLE_TIMEOUT_S)
        data = b"".join(chunks)
        self._num_chunks += len(chunks)
        self._body_bytes += len(data)
        if self._num_chunks > MAX_SMALL_CHUNKS and self._body_bytes < self._num_chunks * STREAM_CHUNK_BYTES:
            size = f"{self._body_bytes / self._num_chunks:.0f}"
            stream.fail(ambiguous_head_error(f"the body comes in chunks of {size} bytes", "a line a chunk, or more"))
        else:
            stream.feed(data)

    def _reserve_memory(self, request: Request) -> bool:
        """Whether the budget has memory for the body so far."""
        if request.reservation is None:
            request.reservation = self._app.bodies.reserve()
        return request.reservation.grow(self._body_bytes)

    def _check_head(self, version: str, headers: dict[bytes, bytes]) -> None:
        """Raise ValueError for a head that other readers could understand otherwise."""
        if version not in ("1.1", "1.0"):
            raise self._reject_head(f"HTTP/{version} is not spoken here", "HTTP/1.1")
        if version == "1.1" and b"host" not in headers:
            raise self._reject_head("the header host is missing", "it once, as HTTP/1.1 has it")
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (coding.strip().lower() != b"chunked" or version != "1.1"):
            raise self._reject_head(
                "this transfer-encoding is not read here", "content-length, or chunked over HTTP/1.1"
            )

    def _reject_head(self, message: str, expected: str) -> ValueError:
        """Keep the error for the response, and return the exception that stops the parser."""
        self._head_error = ambiguous_head_error(message, expected)
        return ValueError(message)

    def _take_raw(self, data: bytes) -> bytes:
        """Add bytes to the body, and return those behind it."""
        body, rest = data[: self._raw_bytes], data[self._raw_bytes :]
        self._raw_bytes -= len(body)
        self.on_body(body)
        if not self._raw_bytes:
            self.on_message_complete()
        return rest

    def _count_head_bytes(self, num_bytes: int) -> None:
        self._held_bytes = 0
        self._head_bytes += num_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the parser passes it on as an HttpParserError")
