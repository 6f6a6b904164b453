"""What keeps a server alive under load: a bound on waiting rows, and API keys.

The bound on bodies stands in call.py, where they are read.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from deepseek.errors import BusyError, DeadlineError, InputError
from deepseek.serve.protocols.errors import UnauthorizedError

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class Gate:
    """Counts rows that wait, and refuses what goes over the bound.

    A single request is never refused while nothing waits, however large: the row limit of a request is another one.

    >>> gate = Gate(limit_rows=4)
    >>> gate.enter(3)
    >>> gate.enter(3)
    Traceback (most recent call last):
        ...
    deepseek.errors.BusyError: 3 rows wait already. Expected: at most 4 waiting rows. To mend it: ask again in 1 s.
    >>> gate.leave(3)
    >>> gate.num_rows
    0
    """

    limit_rows: int
    num_rows: int = 0
    row_s: float = 0.0  # moving average of what a row costs

    def enter(self, num_rows: int) -> None:
        """Raise BusyError when the rows do not fit."""
        if self.num_rows and self.num_rows + num_rows > self.limit_rows:
            raise BusyError(
                f"{self.num_rows} rows wait already",
                expected=f"at most {self.limit_rows} waiting rows",
                fix=f"ask again in {self.retry_after_s} s",
            )
        self.num_rows += num_rows

    def leave(self, num_rows: int) -> None:
        """The rows wait no more: they were computed, or given up."""
        self.num_rows -= num_rows

    def learn(self, num_rows: int, duration_s: float) -> None:
        """Computing `num_rows` took `duration_s`."""
        seen_s = duration_s / num_rows
        self.row_s = seen_s if self.row_s == 0.0 else 0.9 * self.row_s + 0.1 * seen_s

    @property
    def retry_after_s(self) -> int:
        """Whole seconds after which the waiting rows should be done, at least 1."""
        return max(1, round(self.num_rows * self.row_s))


def late() -> DeadlineError:
    """The error for a request whose deadline passed before it was computed."""
    return DeadlineError(
        "the deadline passed while the request waited",
        expected="an answer within x-timeout-ms, or within the server's own limit",
        fix="ask again later, with fewer rows or a longer x-timeout-ms",
    )


class ApiKeys:
    """The accepted keys, as sha256 only. Made from a file with one hash in hex per line; # starts a comment."""

    def __init__(self, hashes: frozenset[bytes]) -> None:
        self._hashes = hashes

    @classmethod
    def read(cls, path: str | Path) -> ApiKeys:
        """Raise InputError for a file that cannot be read, holds no key or a line that is no sha256."""
        fix = "printf %s KEY | sha256sum, one hash a line"
        try:
            lines = Path(path).read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise InputError(
                f"the file of API keys {path} cannot be read: {reason}",
                fix=fix,
                expected="a file with one sha256 in hex per line",
            ) from error
        hashes = [line.split("#")[0].strip().lower() for line in lines]
        hashes = [line for line in hashes if line]
        for number, text in enumerate(hashes, 1):
            if not _SHA256.fullmatch(text):
                raise InputError(f"key {number} in {path} is not a sha256", expected="64 hexadecimal digits", fix=fix)
        if not hashes:
            raise InputError(f"{path} holds no API key", expected="a file with one sha256 in hex per line", fix=fix)
        return cls(frozenset(bytes.fromhex(text) for text in hashes))

    def check(self, authorization: bytes | None) -> None:
        """Raise UnauthorizedError unless the header is `Bearer KEY` with an accepted key."""
        if authorization is not None and authorization[:7].lower() == b"bearer ":
            # The lookup compares hashes, so its timing tells nothing about a key.
            if hashlib.sha256(authorization[7:].strip()).digest() in self._hashes:
                return
            raise UnauthorizedError(
                "the API key is not known", expected="a key of this server", fix="ask its operator for one"
            )
        raise UnauthorizedError(
            "an API key is needed",
            expected="the header Authorization: Bearer KEY",
            fix="curl -H 'authorization: Bearer KEY' ...; the server's operator gives keys out",
        )
