"""API keys and their rates. Read from a file with one key a line, the hash alone or with more:

    HASH                                                      sha256 of the key in hex; # starts a comment
    HASH name=acme requests=100/s rows=5000/s
    HASH name=nightly rows=600000/m burst=30s
    HASH name=web may=chat                                    opens the routes of a chat alone: it stands in a web page

`name` is the client's name in logs and the audit; the key itself is never kept. A rate is N/s, N/m or N/h. Unused
requests and rows are saved up for `burst`, one second by default.

The front ends of a group count together. Each tells the others what it has let through, SHARE_INTERVAL_S after the
first that they do not know of, and they owe it as if they had done it. So no key waits for another process, and in a
time t a group of N lets through at most rate * t + burst, and besides what they had not reported to each other:
(N - 1) * (burst + rate * SHARE_INTERVAL_S), which is owed and therefore let through once and not again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from deepseek.errors import InputError
from deepseek.http_errors import KeyScopeError, RateLimitError, UnauthorizedError
from deepseek.plugins import did_you_mean
from deepseek.serve.core.rate_limits import TokenBucket

MAX_BURST_S = 3_600
KEY_ID_DIGITS = 24  # hexadecimal
SHARE_INTERVAL_S = 0.02  # between two reports of what was let through
UsageByKey = Mapping[str, tuple[int, int]]  # requests and rows by key
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3_600}
KEYS_FILE_FIX = (
    "printf %s KEY | sha256sum, one hash a line; after it name=NAME, requests=N/s, rows=N/s, burst=Ns, may=chat "
    "where wanted"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_RATE = re.compile(r"([1-9][0-9]{0,11})/([smh])")
_BURST = re.compile(r"([1-9][0-9]{0,3})s")
_MAY = re.compile("chat")
#: Word of a line -> its form, and that in words.
_FIELD_FORMATS = {
    "name": (_NAME, "1 to 64 letters, digits and . _ @ -"),
    "requests": (_RATE, "N/s, N/m or N/h"),
    "rows": (_RATE, "N/s, N/m or N/h"),
    "burst": (_BURST, f"1s to {MAX_BURST_S}s"),
    "may": (_MAY, "chat"),
}


class ApiClient:
    """The holder of an API key, with the requests and rows that its rates still allow."""

    def __init__(
        self,
        name: str,
        requests: TokenBucket | None = None,
        rows: TokenBucket | None = None,
        *,
        only_chats: bool = False,
        key_id: str = "",
    ) -> None:
        """`key_id`: by which the key is known again, in every front end and after a restart; it tells nothing of it."""
        self.name, self.only_chats, self.key_id = name, only_chats, key_id
        self.on_taken: Callable[[int, int], None] | None = (
            None  # called with the requests and rows that were let through
        )
        self._requests = requests
        self._rows = rows

    def take_request(self) -> None:
        """Count a request. RateLimitError when the key's rate does not allow it now."""
        if self._requests is not None:
            _take_tokens(self._requests, 1, "requests")
            if self.on_taken is not None:
                self.on_taken(1, 0)

    def take_rows(self, num_rows: int) -> None:
        """Count the rows of a request. RateLimitError when the key's rate does not allow them now."""
        if self._rows is not None:
            _take_tokens(self._rows, num_rows, "rows")
            if self.on_taken is not None:
                self.on_taken(0, num_rows)

    def owe(self, num_requests: int, num_rows: int) -> None:
        """Charge requests and rows that another front end has let through."""
        for bucket, number in ((self._requests, num_requests), (self._rows, num_rows)):
            if bucket is not None and number:
                bucket.owe(number)


def _take_tokens(bucket: TokenBucket, number: int, unit: str) -> None:
    wait_s = bucket.take(number)
    if wait_s:
        raise RateLimitError(
            f"this API key has used up its {unit}",
            expected=f"at most {bucket.rate:g} {unit} a second",
            retry_after_s=wait_s,
        )


class ApiKeys:
    """The accepted API keys; only their sha256 is kept."""

    def __init__(self, clients: dict[bytes, ApiClient]) -> None:
        self._clients = clients

    @classmethod
    def read(cls, path: str | Path) -> ApiKeys:
        """The keys of a file. InputError when it cannot be read, holds no key, or has a line that is not understood."""
        try:
            lines = Path(path).read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise InputError(
                f"the file of API keys {path} cannot be read: {reason}",
                fix=KEYS_FILE_FIX,
                expected="a file with one sha256 in hex per line",
            ) from error
        clients: dict[bytes, ApiClient] = {}
        for number, line in enumerate(lines, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            where = f"line {number} of {path}"
            # The line itself is not shown: it may be a key in plain text.
            if not _SHA256.fullmatch(words[0].lower()):
                raise InputError(
                    f"{where} does not begin with a sha256", expected="64 hexadecimal digits", fix=KEYS_FILE_FIX
                )
            key = bytes.fromhex(words[0])
            if key in clients:
                raise InputError(
                    f"{where} has the hash of a line before it", expected="each key once", fix=KEYS_FILE_FIX
                )
            clients[key] = _parse_client(words, where)
        if not clients:
            raise InputError(
                f"{path} holds no API key", expected="a file with one sha256 in hex per line", fix=KEYS_FILE_FIX
            )
        return cls(clients)

    def share(self, tell: Callable[[UsageByKey], None]) -> None:
        """Report what is let through to the other front ends from now on, collected over SHARE_INTERVAL_S."""
        untold: dict[str, tuple[int, int]] = {}

        def flush() -> None:
            usage = untold.copy()
            untold.clear()
            tell(usage)

        def took(key: str, num_requests: int, num_rows: int) -> None:
            if not untold:
                asyncio.get_running_loop().call_later(SHARE_INTERVAL_S, flush)
            before = untold.get(key, (0, 0))
            untold[key] = before[0] + num_requests, before[1] + num_rows

        for key, client in self._clients.items():
            client.on_taken = partial(took, key.hex())

    def owe(self, usage: UsageByKey) -> None:
        """Charge what another front end has let through, by key."""
        for key, numbers in usage.items():
            client = self._clients.get(bytes.fromhex(key))
            if client is not None:  # the other one may have read the file anew, and this one not yet
                client.owe(*numbers)

    def check(self, authorization: bytes | None, *, is_chat: bool = False) -> ApiClient:
        """The holder of the key in the header. UnauthorizedError unless it is `Bearer KEY` with an accepted key,
        KeyScopeError for one that may only chat, unless the route `is_chat`."""
        if authorization is not None and authorization[:7].lower() == b"bearer ":
            # The lookup compares hashes, so its timing tells nothing about a key.
            client = self._clients.get(hashlib.sha256(authorization[7:].strip()).digest())
            if client is not None and client.only_chats and not is_chat:
                raise KeyScopeError
            if client is not None:
                return client
            raise UnauthorizedError(
                "the API key is not known", expected="a key of this server", fix="ask its operator for one"
            )
        raise UnauthorizedError(
            "an API key is needed",
            expected="the header Authorization: Bearer KEY",
            fix="curl -H 'authorization: Bearer KEY' ...; the server's operator gives keys out",
        )


def _parse_client(words: list[str], where: str) -> ApiClient:
    """The client that a line of the file describes. Without a name it is called by the beginning of its hash."""
    fields: dict[str, re.Match[str]] = {}
    for word in words[1:]:
        name, equals, text = word.partition("=")
        if not equals or name not in _FIELD_FORMATS:
            near = did_you_mean(name, _FIELD_FORMATS) if equals else ""
            raise InputError(
                f"{where} has a word after its hash that is not known.{near}",
                expected=", ".join(_FIELD_FORMATS),
                fix=KEYS_FILE_FIX,
            )
        form, expected = _FIELD_FORMATS[name]
        match = form.fullmatch(text)
        if match is None or name in fields or (name == "burst" and int(match[1]) > MAX_BURST_S):
            raise InputError(f"{where}: {name}= is not right", expected=f"once {name}={expected}", fix=KEYS_FILE_FIX)
        fields[name] = match
    burst_s = int(fields["burst"][1]) if "burst" in fields else 1
    buckets = {
        name: TokenBucket(int(fields[name][1]) / SECONDS_PER_UNIT[fields[name][2]], burst_s)
        for name in ("requests", "rows")
        if name in fields
    }
    name = fields["name"][0] if "name" in fields else f"key-{words[0][:8].lower()}"
    key_id = hashlib.sha256(f"key:{words[0].lower()}".encode()).hexdigest()[:KEY_ID_DIGITS]
    return ApiClient(name, **buckets, only_chats="may" in fields, key_id=key_id)
