"""What passes between a client's methods and its transport.

A method is a generator. It yields each Request that has to be sent, is sent the Response or has the transport's error
thrown into it, and returns its result. So methods, retries and time limits are written once, for http.client and for
asyncio.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. It changes nothing at the server, or nothing twice, so that it may be sent again."""

    method: str
    path: str  # below the server's address
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    any_status: bool = False  # whether a response of any status is an answer and no error
    delay_s: float = 0.0  # how long the transport waits before it sends
    due_s: float = inf  # when the response must be there, on the clock of perf_counter


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; `headers` by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


RequestFlow = Generator[Request, Response, Result]
