"""Errors that only HTTP has, and the one error body: {"error": {"code", "message", "expected", "fix"}}."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from deepseek.errors import DeepseekError, InputError, MalformedError, TooLargeError
from deepseek.http_errors import BodyTimeoutError, HeadersTooLargeError, TooManyBodiesError, TooManyConnectionsError

#: Routes whose clients read errors in OpenAI's shape.
OPENAI_ROUTES = frozenset(["/v1/completions", "/v1/chat/completions", "/v1/embeddings"])


def error_body(error: DeepseekError) -> bytes:
    """The body that every refused request gets."""
    return msgspec.json.encode({"error": error.to_dict()})


def oip_error_body(error: DeepseekError) -> bytes:
    """The error body of the Open Inference Protocol: "error" is a sentence, and the parts stand beside it.

    >>> oip_error_body(MalformedError("the body is empty"))
    b'{"error":"the body is empty.","code":"malformed","message":"the body is empty","expected":"","fix":""}'
    """
    return msgspec.json.encode({"error": str(error)} | error.to_dict())


def wants_oip_error(path: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the client is one of the protocol's own, which cannot show an error that is an object: it calls /v2
    without an Accept header, or sends raw tensors. Others get the same body as on every route.

    >>> wants_oip_error("/v2/models/loans", {}), wants_oip_error("/v2/models/loans", {b"accept": b"*/*"})
    (True, False)
    """
    return path.startswith("/v2") and (b"accept" not in headers or b"inference-header-content-length" in headers)


def openai_error_body(error: DeepseekError) -> bytes:
    """The error body in OpenAI's shape: code, message, type and param, with our expected and fix beside them.

    The official clients show the message alone, so it says what was expected and what to do as well.
    """
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    if error.status == 429:
        kind = "rate_limit_error"
    fields = {**error.to_dict(), "message": str(error), "type": kind, "param": getattr(error, "param", None)}
    return msgspec.json.encode({"error": fields})


def route_error_body(error: DeepseekError, path: str, headers: Mapping[bytes, bytes]) -> bytes:
    """The body of an error, in the form that clients of its route read."""
    if path in OPENAI_ROUTES:
        return openai_error_body(error)
    return oip_error_body(error) if wants_oip_error(path, headers) else error_body(error)


def internal_error(request_id: str) -> DeepseekError:
    """The error that a client gets for a bug of ours: nothing of the inside, and how to find it in the log."""
    return DeepseekError(
        "internal error: the server failed, not the request",
        expected="an answer",
        fix=f"tell the operator the request id {request_id}; the log has the cause",
    )


def malformed_head_error(num_bytes: int, limit: int) -> InputError:
    """The error for bytes that are no request: a head over the limit, or not HTTP at all."""
    if num_bytes > limit:
        return HeadersTooLargeError(
            "the request line and the headers are too long",
            expected=f"at most {limit // 1024} KiB together",
            fix="put the rows into the body, and leave out headers and cookies that this server does not need",
        )
    return MalformedError(
        "this is not an HTTP/1.1 request",
        expected="a valid request line and headers, not encrypted",
        fix="ask at http:// (not https://) with an HTTP client such as curl",
    )


def ambiguous_head_error(message: str, expected: str) -> MalformedError:
    """The error for a head that parses, but that two readers could take for different requests."""
    return MalformedError(message, expected=expected, fix="send the request with an HTTP/1.1 client such as curl")


def too_many_connections_error(limit: int) -> TooManyConnectionsError:
    """The error for a connection above the limit."""
    return TooManyConnectionsError(
        "the server has as many connections as it takes",
        expected=f"at most {limit} at a time",
        fix="connect again later, and keep connections for several requests",
    )


def body_memory_error(limit_bytes: int) -> TooManyBodiesError:
    """The error for a large body that comes while others fill the server's memory for bodies."""
    return TooManyBodiesError(
        "the server holds as many large bodies as it takes",
        expected=f"at most {limit_bytes / 2**20:g} MiB at a time, of all requests together",
        fix="send it again later, or the rows in several requests",
    )


def body_too_large_error(limit: int) -> TooLargeError:
    """The error for a body over the limit (bytes)."""
    return TooLargeError(
        "the body is too large",
        expected=f"at most {limit / 2**20:g} MiB" if limit >= 2**20 else f"at most {limit} bytes",
        fix="send the rows in several requests; whoever runs the server sets the limit with --max-body",
    )


def slow_body_error(limit_s: float) -> BodyTimeoutError:
    """The error for a body that took longer than the limit."""
    return BodyTimeoutError(
        "the body did not arrive in time",
        expected=f"all of it within {limit_s:g} s, as long as content-length says",
        fix="check content-length, or send the rows in several requests",
    )
