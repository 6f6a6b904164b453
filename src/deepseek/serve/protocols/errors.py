"""Errors that only HTTP has, and the one error body: {"error": {"code", "message", "expected", "fix"}}."""

from __future__ import annotations

import msgspec

from deepseek.errors import DeepseekError, InputError, TooLargeError


class MethodError(InputError):
    """The route exists, the method does not."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method} is not possible here", expected=allowed, fix=f"send {allowed}")
        self.allowed = allowed


class MediaTypeError(InputError):
    """The body is not in a form that is read here."""

    status = 415
    code = "media_type"


class UnauthorizedError(InputError):
    """No accepted API key came with the request."""

    status = 401
    code = "unauthorized"


class LongHeadError(TooLargeError):
    """The request line and the headers are longer than anything needs."""

    status = 431
    code = "headers_too_large"


class SlowBodyError(InputError):
    """The body did not arrive in time."""

    status = 408
    code = "body_timeout"


def error_body(error: DeepseekError) -> bytes:
    """The body that every refused request gets."""
    return msgspec.json.encode({"error": error.to_dict()})


def internal_error(request_id: str) -> DeepseekError:
    """What a client is told about a bug of ours: nothing of the inside, and how to find it in the log."""
    return DeepseekError(
        "internal error: the server failed, not the request",
        expected="an answer",
        fix=f"tell the operator the request id {request_id}; the log has the cause",
    )
