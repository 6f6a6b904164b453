"""The ends of a stream by their addresses.

open_source("nats://127.0.0.1:4222/payments", tell)     # a subject
open_source("redis://127.0.0.1:6379/payments", tell)    # a key
open_source("-", tell)                                  # lines of standard input
open_source("frames:-", tell)                           # messages of any bytes there, each behind its length
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from deepseek.errors import InputError
from deepseek.serve.streams.frames import FrameSource
from deepseek.serve.streams.jetstream import NatsSink, NatsSource
from deepseek.serve.streams.lines import LineSink, LineSource
from deepseek.serve.streams.messages import Sink, Source, without_password
from deepseek.serve.streams.redis_streams import RedisSink, RedisSource

STDIN, STDOUT = 0, 1
FRAMES = "frames:-"


def open_source(address: str, tell: Callable[[str], None], idle_s: float | None = None) -> Source:
    """The source at an address; `tell` gets sentences on a server that goes away. InputError for any other address.
    `idle_s`: it ends when nothing came for so long; None: never."""
    if address == "-":
        return LineSource(STDIN)
    if address == FRAMES:
        return FrameSource(STDIN)
    scheme, url, name = split_address(address)
    return (NatsSource if scheme == "nats" else RedisSource)(url, name, tell, idle_s)


def open_sink(address: str, tell: Callable[[str], None]) -> Sink:
    """The sink at an address. InputError for any other address."""
    if address == "-":
        return LineSink(STDOUT)
    scheme, url, name = split_address(address)
    return (NatsSink if scheme == "nats" else RedisSink)(url, name, tell)


def split_address(address: str) -> tuple[str, str, str]:
    """The kind of server, its URL, and the subject or key there.

    >>> split_address("redis://localhost:6379/payments")
    ('redis', 'redis://localhost:6379', 'payments')
    """
    parts = urlsplit(address)
    name = unquote(parts.path.strip("/"))
    if parts.scheme not in ("nats", "redis") or not parts.netloc or not name or "/" in name:
        raise InputError(
            f"{without_password(address)!r} is no end of a stream",
            expected="-, frames:- (to read from), nats://HOST:PORT/SUBJECT or redis://HOST:PORT/KEY",
            fix="name the subject or the key behind the address of the server",
        )
    return parts.scheme, f"{parts.scheme}://{parts.netloc}", name
