"""Errors that only HTTP has: raised by the server, and by its client from what the server answered."""

from __future__ import annotations

from deepseek.errors import BusyError, DeepseekError, InputError, TooLargeError


class MethodNotAllowedError(InputError):
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


class RateLimitError(BusyError):
    """A client has used up what its API key allows, although the server may have time."""

    code = "rate_limited"

    def __init__(self, message: str, *, expected: str, retry_after_s: int) -> None:
        super().__init__(
            message, expected=expected, fix=f"ask again in {retry_after_s} s, or ask the operator for more"
        )
        self.retry_after_s = retry_after_s


class MisdirectedHostError(InputError):
    """The request names a host that this server does not answer to."""

    status = 421
    code = "misdirected"

    def __init__(self, host: bytes) -> None:
        super().__init__(
            f"this server is not asked as {host[:100].decode('latin-1')!r}",
            expected="an address, localhost, or a name that it was started with",
            fix="ask at its address; whoever runs the server allows a name with --allowed-hosts NAME",
        )


class ForeignOriginError(InputError):
    """A web page of another origin asks."""

    status = 403
    code = "foreign_origin"

    def __init__(self, origin: bytes) -> None:
        super().__init__(
            f"a page of {origin[:100].decode('latin-1')!r} may not ask this server",
            expected="a page of this server, or a client that is no browser",
            fix="whoever runs the server allows the page's host with --allowed-hosts NAME",
        )


class KeyScopeError(InputError):
    """The API key may only chat."""

    status = 403
    code = "key_scope"

    def __init__(self) -> None:
        super().__init__(
            "this API key may only chat",
            expected="a key without may=chat",
            fix="take another key; whoever runs the server gives keys out",
        )


class KeyRequiredError(InputError):
    """The request would change what is served, and anybody could send it."""

    status = 403
    code = "key_needed"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"what is served is not changed without an API key while the server listens at {host}",
            expected="a server with API keys, or one that this machine alone reaches",
            fix="start it with --api-keys FILE, or at --host 127.0.0.1",
        )


class TooManyConnectionsError(BusyError):
    """There are as many connections as the server takes."""

    status = 503
    code = "too_many_connections"


class TooManyBodiesError(BusyError):
    """The bodies of other requests fill what there is for bodies."""

    status = 503
    code = "too_many_bodies"


class HeadersTooLargeError(TooLargeError):
    """The request line and the headers are longer than anything needs."""

    status = 431
    code = "headers_too_large"


class BodyTimeoutError(InputError):
    """The body did not arrive in time."""

    status = 408
    code = "body_timeout"


class DisconnectedError(DeepseekError):
    """The client went away before its body was complete; nobody reads the answer."""

    status = 499
    code = "disconnected"
