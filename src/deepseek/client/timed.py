"""Connections of http.client that end every wait at one time, which each call sets anew.

    connection = DeadlineConnection("127.0.0.1", 8000, tls=None)
    connection.due_s = perf_counter() + 30
    connection.request(...); connection.getresponse().read()      # TimeoutError when 30 s have passed

A socket's own timeout is that of a single read, so that a server which sends a byte now and then could hold a call for
hours. Here it is set before each read and write to what is left. Only the search for a host's address has no limit: the
system offers none.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPConnection, HTTPSConnection
from time import perf_counter
from typing import Any


class DeadlineConnection(HTTPConnection):
    """A connection to a host, encrypted where there is a `tls`. `due_s` is on the clock of perf_counter."""

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext | None) -> None:
        self.default_port = HTTPConnection.default_port if tls is None else HTTPSConnection.default_port
        super().__init__(host, port or self.default_port)
        self.due_s = 0.0
        self._tls = tls

    def left_s(self) -> float | None:
        """Seconds until the time is up, None where there is no limit. TimeoutError when it is."""
        left = self.due_s - perf_counter()
        if left <= 0:
            raise TimeoutError("the time is up")
        return left

    def connect(self) -> None:
        """Connect to the first address of the host that answers."""
        stream = self._open_socket()
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                stream.settimeout(self.left_s())  # of the whole handshake
                stream = self._tls.wrap_socket(stream, server_hostname=self.host)
        except BaseException:
            stream.close()
            raise
        self.sock = _DeadlineSocket(stream, self.left_s)

    def _open_socket(self) -> socket.socket:
        """A socket that is connected to the host. The last address's OSError where none answers."""
        last_error: OSError = OSError(f"{self.host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            stream = socket.socket(family, kind, protocol)
            try:
                stream.settimeout(self.left_s())
                stream.connect(address)
                return stream
            except OSError as error:
                stream.close()
                last_error = error
        raise last_error


class _DeadlineSocket:
    """A socket with the methods that http.client calls, each of which ends in time."""

    def __init__(self, inner: socket.socket, left_s: Callable[[], float | None]) -> None:
        self._inner = inner
        self._left_s = left_s

    def sendall(self, data: Any) -> None:
        rest = memoryview(data)
        while rest:
            self._inner.settimeout(self._left_s())
            rest = rest[self._inner.send(rest) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._inner, self._left_s))

    def stop_transfer(self) -> None:
        """Ends both directions, which wakes who waits in another thread."""
        self._inner.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._inner.close()


class _DeadlineReader(io.RawIOBase):
    """What a socket receives, read in time. The socket stays open while this is, also when its connection is closed."""

    def __init__(self, inner: socket.socket, left_s: Callable[[], float | None]) -> None:
        self._inner = inner
        self._file = inner.makefile("rb", buffering=0)
        self._left_s = left_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._inner.settimeout(self._left_s())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
