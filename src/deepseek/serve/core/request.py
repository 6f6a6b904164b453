"""One request and one response, as the handlers of a protocol see them.

    request.check_media_type()
    return Response.json({"predictions": predict(request.body)})

Nothing here knows a model or a protocol.
"""

from __future__ import annotations

import itertools
import os
import re
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType
from typing import Any, Protocol

from deepseek.contracts import AnsweredRows
from deepseek.errors import BusyError, DeepseekError, MalformedError
from deepseek.http_errors import MediaTypeError, MethodNotAllowedError
from deepseek.serve.core.bodies.stream import BodyStream
from deepseek.serve.core.config import Settings
from deepseek.serve.core.errors import internal_error, route_error_body
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.core.memory_budget import BodyReservation

Header = tuple[bytes, bytes]

PRIORITIES = {b"high": 0, b"normal": 1, b"low": 2}
JSON_TYPE = b"application/json"
HTML_TYPE = b"text/html; charset=utf-8"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
# W3C Trace Context 1.0, section 3.2: version, trace id, parent id, flags; all zeros are invalid.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
EMPTY_MAPPING: Mapping[Any, Any] = MappingProxyType({})
_process_prefix = os.urandom(6).hex()
_request_counter = itertools.count(1)


class Request:
    """A request, from its head to its response. Fields below `route` are filled on the way, for its event."""

    __slots__ = (
        "allow_infinite", "answered", "body", "body_stream", "client", "error_fields", "flags", "handler", "headers",
        "is_disconnected", "is_explanation", "is_http10", "marks", "max_body_bytes", "method", "model", "num_rows",
        "on_cancel", "on_response", "path", "queue_s", "rejection", "request_id", "reservation", "route", "settings",
        "started_s", "traceparent",
    )  # fmt: skip

    on_response: Callable[[Request, Response], None]  # called once with the response

    def __init__(
        self,
        method: str,
        path: str,
        headers: Mapping[bytes, bytes],
        settings: Settings,
        *,
        body: bytes = b"",
        rejection: DeepseekError | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers  # names in lower case
        self.settings = settings
        self.body = body
        self.body_stream: BodyStream | None = None  # of a body that is answered while it comes
        self.max_body_bytes = settings.max_body_bytes
        self.reservation: BodyReservation | None = None  # of the memory for bodies, where this one is large
        self.is_http10 = False  # no chunked bodies; the connection closes unless keep-alive is agreed
        self.handler: Handler | None = None
        self.client: RequestClient | None = None  # the holder of the API key, where keys are required
        self.rejection = rejection  # why it is refused before its handler is called
        self.started_s = perf_counter()
        self.request_id = read_request_id(headers)
        self.traceparent = read_traceparent(headers)
        self.route = ""
        self.model: RequestModel | None = None
        self.num_rows = 0
        self.queue_s = 0.0
        self.marks: tuple[float, ...] = ()  # of its event
        self.flags: Mapping[tuple[str, str], int] = EMPTY_MAPPING  # (column, what) -> number of values
        self.error_fields: Mapping[str, str] = EMPTY_MAPPING  # fields of the event that describe an error
        self.on_cancel: Callable[[], None] | None = None  # stops the work on it
        self.is_disconnected = False  # whether the client went away
        self.allow_infinite = False  # whether its client accepts infinite outputs of a bare graph
        self.answered: Callable[[], AnsweredRows] | None = None  # its rows, and the answers once computed
        self.is_explanation = False  # whether it asks for explanations, which give way to predictions

    def respond(self, result: Response | Exception) -> None:
        """Send the response or the error, once. A handler that returned None calls it later."""
        self.on_response(self, error_response(result, self) if isinstance(result, Exception) else result)

    def take_rows(self, num_rows: int) -> int:
        """Count the rows of this request. RateLimitError when its client may not ask for so many now."""
        self.num_rows = num_rows
        if self.client is not None:
            self.client.take_rows(num_rows)
        return num_rows

    @property
    def deadline_s(self) -> float:
        """When the request expires, in seconds on the clock of perf_counter.

        The header x-timeout-ms shortens the server's own limit.
        """
        text = self.headers.get(b"x-timeout-ms")
        limit_s = self.settings.timeout_s
        if text is not None:
            if not text.isdigit() or not text.strip(b"0"):
                raise malformed_header_error("x-timeout-ms", text, "whole milliseconds, above 0")
            limit_s = min(limit_s, parse_header_integer(text) / 1e3)
        return self.started_s + limit_s

    @property
    def priority(self) -> int:
        """0 (high) to 2 (low), from the header x-priority."""
        text = self.headers.get(b"x-priority")
        if text is None:
            return PRIORITIES[b"normal"]
        if text not in PRIORITIES:
            raise malformed_header_error("x-priority", text, "high, normal or low")
        return PRIORITIES[text]

    def check_media_type(self) -> None:
        """Raise MediaTypeError unless the body may be JSON. A missing content-type counts as JSON."""
        media = self.headers.get(b"content-type", JSON_TYPE)
        if media != JSON_TYPE and media.split(b";")[0].strip().lower() not in (JSON_TYPE, b""):
            raise MediaTypeError(
                f"content-type is {media[:80].decode('latin-1')!r}",
                expected="application/json",
                fix="curl -H 'content-type: application/json' ...",
            )
        self.check_encoding()

    def check_encoding(self) -> None:
        """Raise MediaTypeError for a compressed body."""
        coding = self.headers.get(b"content-encoding", b"identity")
        if coding.lower() not in (b"identity", b""):
            raise MediaTypeError(
                f"content-encoding is {coding[:40].decode('latin-1')!r}",
                expected="a body that is not compressed",
                fix="send the JSON as it is, without the header content-encoding",
            )


class RequestClient(Protocol):
    """The holder of an API key, as far as requests count against its rates. Both methods raise RateLimitError."""

    @property
    def name(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def only_chats(self) -> bool: ...
    def take_request(self) -> None: ...
    def take_rows(self, num_rows: int) -> None: ...


class RequestModel(Protocol):
    """The model that a request is for: what its event and an error response say of it."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def retry_after_s(self) -> int: ...


@dataclass(slots=True)  # not frozen, which costs 1 us an object
class Response:
    """What a handler returns. The body is `body`; or `chunks`, when it is sent while it is made; these raise nothing,
    and are closed when the client disconnects."""

    body: bytes
    status: int = 200
    media_type: bytes = JSON_TYPE
    headers: tuple[Header, ...] = ()
    chunks: AsyncGenerator[bytes, None] | None = None

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        return cls(encode_json(value), status)


def error_response(error: Exception, request: Request) -> Response:
    """The response to an error. The request keeps what happened for its event."""
    if not isinstance(error, DeepseekError) or error.code == DeepseekError.code:
        # The client sees nothing of the inside, the log everything.
        request.error_fields = {"error": type(error).__name__, "traceback": "".join(traceback.format_exception(error))}
        error = internal_error(request.request_id)
    else:
        request.error_fields = {"error": error.code}
    headers: tuple[Header, ...] = ()
    if isinstance(error, BusyError):
        seconds = error.retry_after_s or (1 if request.model is None else request.model.retry_after_s)
        headers = ((b"retry-after", str(seconds).encode()),)
    elif isinstance(error, MethodNotAllowedError):
        headers = ((b"allow", error.allowed.encode()),)
    elif error.status == 401:
        headers = ((b"www-authenticate", b"Bearer"),)
    return Response(route_error_body(error, request.path, request.headers), error.status, headers=headers)


#: Returns a response, or a coroutine of one, or None and calls request.respond() later.
Handler = Callable[[Request], "Response | Awaitable[Response] | None"]


def read_request_id(headers: Mapping[bytes, bytes]) -> str:
    """The client's x-request-id when it is harmless in a log, else a new one.

    >>> read_request_id({b"x-request-id": b"order-17"})
    'order-17'
    >>> read_request_id({b"x-request-id": b'"}\\n'}).startswith('"')
    False
    """
    sent_id = headers.get(b"x-request-id")
    if sent_id is not None and _REQUEST_ID.fullmatch(sent_id):
        return sent_id.decode("ascii")
    return f"{_process_prefix}{next(_request_counter):012x}"


def read_traceparent(headers: Mapping[bytes, bytes]) -> str:
    """The W3C traceparent, or "" when there is none or it is not valid."""
    sent_parent = headers.get(b"traceparent")
    return sent_parent.decode("ascii") if sent_parent is not None and _TRACEPARENT.fullmatch(sent_parent) else ""


def parse_header_integer(digits: bytes) -> int:
    """The number in a header; of a very long one its beginning, which is above every limit.

    >>> parse_header_integer(b"0000000000000000030"), parse_header_integer(b"000")
    (30, 0)
    """
    return int(digits.lstrip(b"0")[:12] or b"0")


def malformed_header_error(name: str, value: bytes, expected: str) -> MalformedError:
    """The error for a header that does not parse."""
    return MalformedError(
        f"the header {name} is {value[:40].decode('latin-1')!r}",
        expected=expected,
        fix=f"correct {name}, or leave it out where it is not needed",
    )
