"""How often a request is tried, and how long: the same for both clients.

attempts = Attempts(url, api_key, timeout_s, max_retries)
response = yield from attempts.send(Request("GET", "/v1/models"))       # in a method; see messages.py
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from http.client import HTTPException
from math import isfinite
from time import perf_counter
from urllib.parse import SplitResult, urlsplit

from deepseek.client.errors import UnreachableError, error_from_body
from deepseek.client.messages import Request, RequestFlow, Response
from deepseek.client.trace_context import trace_headers
from deepseek.errors import DeadlineError, InputError

TIMEOUT_S = 30.0
MAX_RETRIES = 3  # of a request that the server was too busy for
#: What a transport raises for a connection that broke, that could not be made, or that brought no HTTP. TimeoutError,
#: which is an OSError, says that the time is up.
TRANSPORT_ERRORS = (OSError, EOFError, HTTPException)


class Attempts:
    """The attempts at the requests of one call, which share its time limit and its retries."""

    def __init__(self, url: str, api_key: str | None, timeout_s: float, max_retries: int) -> None:
        if not isfinite(timeout_s):
            raise InputError(f"timeout_s is {timeout_s}", expected="seconds", fix="give a long time for no limit")
        self._url = url
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._due_s = perf_counter() + timeout_s  # when the time of all attempts is up
        self._num_retries_left = max_retries
        self._broke = False  # whether a connection broke before

    def send(self, request: Request) -> RequestFlow[Response]:
        """The response to a request, after as many attempts as it takes.

        Raises the error that the server answered with, DeadlineError when the time is up, and UnreachableError when the
        connection broke twice.
        """
        delay_s = 0.0
        while True:
            left_s = self._due_s - perf_counter() - delay_s
            if left_s <= 0:
                raise self._deadline_error()
            headers = self._headers(request, left_s)
            try:
                response = yield replace(request, headers=headers, delay_s=delay_s, due_s=self._due_s)
            except TimeoutError as error:
                raise self._deadline_error() from error
            except TRANSPORT_ERRORS as error:
                self._count_break(error)
                delay_s = 0.0
                continue
            if response.status < 400 or request.any_status:
                return response
            delay_s = self._retry_delay_s(response)

    def _headers(self, request: Request, left_s: float) -> dict[str, str]:
        """The headers of a request, among them the time that is left, the caller's trace and the key."""
        headers = {"accept": "application/json", "x-timeout-ms": str(max(1, int(left_s * 1e3)))}
        headers |= {**trace_headers(), **request.headers}
        return headers | ({"authorization": f"Bearer {self._api_key}"} if self._api_key else {})

    def _retry_delay_s(self, response: Response) -> float:
        """Seconds after which to ask a busy server again. Raises the server's error where it is not."""
        retry_after = response.headers.get("retry-after", "1")
        delay_s = float(retry_after) if retry_after.isdigit() else 1.0
        if response.status != 429 or self._num_retries_left <= 0 or perf_counter() + delay_s >= self._due_s:
            raise error_from_body(response.status, response.body, self._url)
        self._num_retries_left -= 1
        return delay_s

    def _count_break(self, error: Exception) -> None:
        """Allow one connection that broke or could not be made: no request of a client changes anything at the
        server."""
        if self._broke:
            raise UnreachableError(
                f"no server answers at {self._url}: {str(error)[:200] or type(error).__name__}",
                expected="a running deepseek serve",
                fix="start it, or check the address and the port",
            ) from error
        self._broke = True

    def _deadline_error(self) -> DeadlineError:
        return DeadlineError(
            f"no answer from {self._url} within {self._timeout_s:g} s",
            expected="an answer in time",
            fix="give a longer timeout_s, or fewer rows",
        )


def split_url(url: str) -> SplitResult:
    """The parts of a server's address. InputError for what is no address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and not parts.query and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"{url!r} is no address of a server", expected="http://HOST:PORT", fix="http://127.0.0.1:8000")
    if parts.username is not None:  # it may hold a password: not repeated
        raise InputError(
            "the address names a user, whom the server does not ask for",
            expected="http://HOST:PORT",
            fix="give api_key",
        )
    return parts


def normalize_key(api_key: str | None) -> str | None:
    """The key without the white space around it. InputError for what could end its header; the key is not repeated."""
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError(
            "the API key holds what no header can hold",
            expected="printable ASCII in one line",
            fix="read it from a file that holds it alone",
        )
    return key or None


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trust in the system's certificates, or in those of a file. InputError for a file without certificates."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError is one
        reason = error.strerror if not isinstance(error, ssl.SSLError) else error.reason
        raise InputError(
            f"the certificates {ca_file} cannot be used: {reason}",
            expected="a file with -----BEGIN CERTIFICATE-----",
            fix="give the certificate of the server, or of who signed it",
        ) from error
