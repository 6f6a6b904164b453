"""One request and one answer, as the handlers of a protocol see them.

    call.check_media_type()
    return Answer.json({"predictions": answer_to(call.body)})

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

from deepseek.errors import BusyError, DeepseekError, MalformedError
from deepseek.http_errors import MediaTypeError, MethodNotAllowedError
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
    """A request while it is answered. Much of it is filled on the way, for the event that it leaves behind."""

    __slots__ = (
        "allow_infinite", "answered", "body", "cancel", "client", "explains", "flags", "gone", "handler", "headers",
        "http10", "max_body_bytes", "method",
        "model", "num_rows", "path", "queue_s", "refused", "request_id", "route", "settings", "share", "started_s",
        "traceparent", "trouble",
    )  # fmt: skip

    answered: Callable[[Request, Response | StreamingResponse], None]  # who waits for the answer

    def __init__(
        self,
        method: str,
        path: str,
        headers: Mapping[bytes, bytes],
        settings: Settings,
        *,
        body: bytes = b"",
        refused: DeepseekError | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers  # names in lower case
        self.settings = settings
        self.body = body
        self.max_body_bytes = settings.max_body_bytes
        self.share: BodyReservation | None = None  # of the memory for bodies, where this one is large
        self.http10 = False  # such a client knows no chunks, and a connection lives on only where it is told so
        self.handler: Handler | None = None
        self.client: RequestClient | None = None  # who asks, where API keys are asked for
        self.refused = refused  # what is wrong with it, found before the handler sees it
        self.started_s = perf_counter()
        self.request_id = read_request_id(headers)
        self.traceparent = read_traceparent(headers)
        self.route = ""
        self.model: RequestModel | None = None
        self.num_rows = 0
        self.queue_s = 0.0
        self.flags: Mapping[tuple[str, str], int] = EMPTY_MAPPING  # (column, what) -> number of values
        self.trouble: Mapping[str, Any] = EMPTY_MAPPING  # what the log should know of an error
        self.cancel: Callable[[], None] | None = None  # what ends the work on it
        self.gone = False  # whether the client went away
        self.allow_infinite = False  # whether outputs of a bare graph may be infinite, as its client says
        self.explains = False  # whether it asks why, and so gives way to those that do not

    def tell(self, found: Response | StreamingResponse | Exception) -> None:
        """Answer, once: what a handler that returned None does later."""
        self.answered(self, error_response(found, self) if isinstance(found, Exception) else found)

    def take_rows(self, num_rows: int) -> int:
        """Count the rows of this request. RateLimitError when its client may not ask for so many now."""
        self.num_rows = num_rows
        if self.client is not None:
            self.client.take_rows(num_rows)
        return num_rows

    @property
    def deadline_s(self) -> float:
        """When this request is not worth computing any more, on the clock of perf_counter.

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
        """0 to 2, as the header x-priority says."""
        text = self.headers.get(b"x-priority")
        if text is None:
            return PRIORITIES[b"normal"]
        if text not in PRIORITIES:
            raise malformed_header_error("x-priority", text, "high, normal or low")
        return PRIORITIES[text]

    def check_media_type(self) -> None:
        """Raise MediaTypeError unless the body may be JSON_TYPE. A missing content-type counts as JSON_TYPE."""
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
    """Whoever asks, as far as a request counts against a rate of its own. Both raise RateLimitError."""

    @property
    def name(self) -> str: ...
    def take_request(self) -> None: ...
    def take_rows(self, num_rows: int) -> None: ...


class RequestModel(Protocol):
    """The model that a request is for, as far as its event and its refusal speak of it."""

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
    """Status, body and headers."""

    body: bytes
    status: int = 200
    media_type: bytes = JSON_TYPE
    headers: tuple[Header, ...] = ()

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        return cls(encode_json(value), status)


def error_response(error: Exception, call: Request) -> Response:
    """The answer to what went wrong; the event of the call learns what it was."""
    if not isinstance(error, DeepseekError) or error.code == DeepseekError.code:
        # The client is told nothing of the inside, the log everything.
        call.trouble = {"error": type(error).__name__, "traceback": "".join(traceback.format_exception(error))}
        error = internal_error(call.request_id)
    else:
        call.trouble = {"error": error.code}
    headers: tuple[Header, ...] = ()
    if isinstance(error, BusyError):
        seconds = error.retry_after_s or (1 if call.model is None else call.model.retry_after_s)
        headers = ((b"retry-after", str(seconds).encode()),)
    elif isinstance(error, MethodNotAllowedError):
        headers = ((b"allow", error.allowed.encode()),)
    elif error.status == 401:
        headers = ((b"www-authenticate", b"Bearer"),)
    return Response(route_error_body(error, call.path, call.headers), error.status, headers=headers)


@dataclass(slots=True)
class StreamingResponse:
    """An answer that is sent while it is made. Its chunks raise nothing; a client that goes away closes them."""

    chunks: AsyncGenerator[bytes, None]
    media_type: bytes
    status: int = 200


#: Answers at once, or with a coroutine, or with None and later by call.tell.
Handler = Callable[[Request], "Response | StreamingResponse | Awaitable[Response | StreamingResponse] | None"]


def read_request_id(headers: Mapping[bytes, bytes]) -> str:
    """The client's x-request-id when it is harmless in a log, else a new one.

    >>> read_request_id({b"x-request-id": b"order-17"})
    'order-17'
    >>> read_request_id({b"x-request-id": b'"}\\n'}).startswith('"')
    False
    """
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return f"{_process_prefix}{next(_request_counter):012x}"


def read_traceparent(headers: Mapping[bytes, bytes]) -> str:
    """The W3C traceparent, or "" when there is none or it is not valid."""
    given = headers.get(b"traceparent")
    return given.decode("ascii") if given is not None and _TRACEPARENT.fullmatch(given) else ""


def parse_header_integer(digits: bytes) -> int:
    """The number that stands in a header; of an endless one its beginning, which is above every limit.

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
