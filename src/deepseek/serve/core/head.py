"""Heads of HTTP/1.1 messages: the path of a request, and the lines before the body of a response."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from http import HTTPStatus
from urllib.parse import quote, unquote

import httptools

from deepseek.serve.core.request import Header, Request, Response

#: Headers of every response.
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


def render_response(request: Request, response: Response, date: bytes, keeps: bool) -> bytes:
    """Head and body of a response in one piece, so that they travel in one packet."""
    extra_lines = b"content-length: %d\r\n" % len(response.body)
    for name, value in response.headers:
        extra_lines += b"%b: %b\r\n" % (name, value)
    head = render_head(request, response, date, extra_lines, keeps)
    return head if request.method == "HEAD" else head + response.body


def render_head(request: Request, response: Response, date: bytes, extra_lines: bytes, keeps: bool) -> bytes:
    """The head of an answer, with the lines `more`. `keeps`: the connection lives on."""
    if request.traceparent:
        extra_lines += b"traceparent: %b\r\n" % request.traceparent.encode()
    if request.model is not None:
        extra_lines += _version_header_line(request.model.version)
    if not keeps:
        extra_lines += b"connection: close\r\n"
    elif request.is_http10:
        extra_lines += b"connection: keep-alive\r\n"
    return b"%bdate: %b\r\ncontent-type: %b\r\nx-request-id: %b\r\n%b\r\n" % (
        _status_lines(response.status), date, response.media_type, request.request_id.encode(), extra_lines,
    )  # fmt: skip


@lru_cache(1_024)
def _version_header_line(version: str) -> bytes:
    """The header line with the model's version, quoted as in a URL: it may be named in any script."""
    return b"x-model-version: %b\r\n" % encode_version(version)


def encode_version(version: str) -> bytes:
    """A version as ASCII for a header, quoted as in a URL."""
    return quote(version).encode()


@cache
def _status_lines(status: int) -> bytes:
    """The status line and the headers that every answer has."""
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return first + b"".join(b"%b: %b\r\n" % header for header in SECURITY_HEADERS)
