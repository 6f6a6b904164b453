"""The head of an HTTP/1.1 message: the path that a request names, the lines that stand before an answer."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from http import HTTPStatus
from urllib.parse import quote, unquote

import httptools

from deepseek.serve.core.request import Header, Request, Response, StreamingResponse

#: What every answer carries.
SECURITY_HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_ENCODED_SLASH = re.compile("%2[fF]")


def decode_path(url: bytes) -> str:
    """The path of a request target, decoded. ValueError or HttpParserError for what is none.

    An encoded slash stays as it is: it divides nothing, so it stands for no part of a route.

    >>> decode_path(b"/v1/models/my%20loans?x=1"), decode_path(b"http://host:80/v1"), decode_path(b"/v1%2fmodels")
    ('/v1/models/my loans', '/v1', '/v1%2Fmodels')
    """
    if url[:1] == b"/" and b"%" not in url and b"?" not in url and b"#" not in url:
        return url.decode("ascii")
    return "%2F".join(map(unquote, _ENCODED_SLASH.split((httptools.parse_url(url).path or b"/").decode("ascii"))))


def render_response(call: Request, answer: Response, date: bytes, keeps: bool) -> bytes:
    """Head and body in one piece, so that they travel in one packet."""
    more = b"content-length: %d\r\n" % len(answer.body)
    for name, value in answer.headers:
        more += b"%b: %b\r\n" % (name, value)
    head = render_head(call, answer, date, more, keeps)
    return head if call.method == "HEAD" else head + answer.body


def render_head(call: Request, answer: Response | StreamingResponse, date: bytes, more: bytes, keeps: bool) -> bytes:
    """The head of an answer, with the lines `more`. `keeps`: the connection lives on."""
    if call.traceparent:
        more += b"traceparent: %b\r\n" % call.traceparent.encode()
    if call.model is not None:
        more += _version_header_line(call.model.version)
    if not keeps:
        more += b"connection: close\r\n"
    elif call.http10:
        more += b"connection: keep-alive\r\n"
    return b"%bdate: %b\r\ncontent-type: %b\r\nx-request-id: %b\r\n%b\r\n" % (
        _status_lines(answer.status), date, answer.media_type, call.request_id.encode(), more,
    )  # fmt: skip


@lru_cache(1_024)
def _version_header_line(version: str) -> bytes:
    """Who answered, as it stands in a URL: a version may be named in any script."""
    return b"x-model-version: %b\r\n" % encode_version(version)


def encode_version(version: str) -> bytes:
    """A version as it stands in a header."""
    return quote(version).encode()


@cache
def _status_lines(status: int) -> bytes:
    """The status line and the headers that every answer has."""
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return first + b"".join(b"%b: %b\r\n" % header for header in SECURITY_HEADERS)
