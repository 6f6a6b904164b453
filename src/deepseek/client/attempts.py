"""How often something is tried, and how long: the same for both clients.

tries = Attempts(timeout_s, max_retries)
while True:
    answer = send(request, tries.left_s())
    wait_s = tries.after(answer)          # None: it is the answer
"""

from __future__ import annotations

import ssl
from math import isfinite
from time import perf_counter
from urllib.parse import SplitResult, urlsplit

from deepseek.client.errors import UnreachableError, error_from_body
from deepseek.client.verbs import Request, Response
from deepseek.errors import DeadlineError, InputError

TIMEOUT_S = 30.0
MAX_RETRIES = 3  # of a request that the server was too busy for


class Attempts:
    """The attempts at one request."""

    def __init__(self, url: str, timeout_s: float, max_retries: int) -> None:
        if not isfinite(timeout_s):
            raise InputError(f"timeout_s is {timeout_s}", expected="seconds", fix="give a long time for no limit")
        self._url = url
        self._limit_s = timeout_s
        self.due_s = perf_counter() + timeout_s  # when the time of all attempts is up
        self._retries = max_retries
        self._lost = False

    def left_s(self) -> float:
        """Seconds until the time is up. DeadlineError when it is."""
        left = self.due_s - perf_counter()
        if left <= 0:
            raise self.late()
        return left

    def after(self, request: Request, response: Response) -> float | None:
        """None for an answer, or the seconds after which to ask again. Raises the server's error when that is all."""
        if response.status < 400 or request.any_status:
            return None
        error = error_from_body(response.status, response.body, self._url)
        wait = response.headers.get("retry-after", "1")
        wait_s = float(wait) if wait.isdigit() else 1.0
        if response.status != 429 or self._retries <= 0 or perf_counter() + wait_s >= self.due_s:
            raise error
        self._retries -= 1
        return wait_s

    def lost(self, error: Exception) -> None:
        """The connection broke, or there was none: once more, for nothing that is asked here does anything twice."""
        if self._lost:
            raise UnreachableError(
                f"no server answers at {self._url}: {str(error)[:200] or type(error).__name__}",
                expected="a running deepseek serve",
                fix="start it, or check the address and the port",
            ) from error
        self._lost = True

    def late(self) -> DeadlineError:
        return DeadlineError(
            f"no answer from {self._url} within {self._limit_s:g} s",
            expected="an answer in time",
            fix="give a longer timeout_s, or fewer rows",
        )


def split_url(url: str) -> SplitResult:
    """The parts of a server's address. InputError for what is none."""
    try:
        found = urlsplit(url)
        usable = found.scheme in ("http", "https") and found.hostname and not found.query and (found.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"{url!r} is no address of a server", expected="http://HOST:PORT", fix="http://127.0.0.1:8000")
    if found.username is not None:  # it may hold a password: not repeated
        raise InputError(
            "the address names a user, whom the server does not ask for",
            expected="http://HOST:PORT",
            fix="give api_key",
        )
    return found


def normalize_key(api_key: str | None) -> str | None:
    """The key without the white space around it. InputError for what could end its header; the key is not repeated."""
    found = (api_key or "").strip()
    if not (found.isascii() and found.isprintable()):
        raise InputError(
            "the API key holds what no header can hold",
            expected="printable ASCII in one line",
            fix="read it from a file that holds it alone",
        )
    return found or None


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trust in the system's certificates, or in those of a file. InputError for what holds none."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError is one
        reason = error.strerror if not isinstance(error, ssl.SSLError) else error.reason
        raise InputError(
            f"the certificates {ca_file} cannot be used: {reason}",
            expected="a file with -----BEGIN CERTIFICATE-----",
            fix="give the certificate of the server, or of who signed it",
        ) from error


def request_headers(request: Request, api_key: str | None, left_s: float) -> dict[str, str]:
    """The headers of a request, the time that is left among them."""
    found = {"accept": "application/json", "x-timeout-ms": str(max(1, int(left_s * 1e3))), **request.headers}
    if api_key:
        found["authorization"] = f"Bearer {api_key}"
    return found
