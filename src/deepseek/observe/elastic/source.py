"""Where log lines are asked for, and how many of them: checked before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from deepseek.errors import InputError

DEFAULT_INDEX = "logs-deepseek.*"
#: Where Filebeat puts what machines say, and the field that a request has and they have not.
SYSTEM_INDEX, REQUEST_FIELD, MESSAGE_FIELD = (
    "logs-deepseek.journal-*,logs-deepseek.syslog-*", "http.response.status_code", "message"
)  # fmt: skip
MAX_KEY_BYTES = 4_096
#: What an index may be called, with patterns and several between commas.
_INDEX = re.compile(r"[a-z0-9.*][a-z0-9._*:,@-]{0,254}")


@dataclass(frozen=True, slots=True)
class ElasticSource:
    """An Elasticsearch and the indices in it. InputError for an address or an index that is none."""

    url: str
    index: str = DEFAULT_INDEX
    api_key: str = ""  # "": none, or a user in the address
    ca_file: str = ""  # certificates that are trusted; "": those of this machine
    max_rows: int = 1_000_000  # of more a share is asked for
    page_rows: int = 1_000
    max_bytes: int = 2 << 30  # of lines
    timeout_s: float = 30.0  # of one page

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:  # brackets or a port that are none
            is_address = False
        if not is_address:
            raise InputError(
                f"--elastic {self.shown_url!r} is no address", expected="http://HOST:PORT or https://HOST:PORT",
                fix="for example --elastic http://127.0.0.1:9200",
            )  # fmt: skip
        if not _INDEX.fullmatch(self.index):
            raise InputError(
                f"--elastic-index {self.index[:80]!r} is no name of an index",
                expected="small letters, digits, . _ - * ,", fix=f"for example {DEFAULT_INDEX}",
            )  # fmt: skip

    @property
    def shown_url(self) -> str:
        """The address without a password, for messages."""
        return re.sub(r"//[^/@]*@", "//", self.url)[:120]


def read_api_key(path: Path) -> str:
    """The key in a file. InputError for one that holds none."""
    try:
        key = path.read_bytes()[: MAX_KEY_BYTES + 1].decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        key = ""
    if not key or len(key) > MAX_KEY_BYTES or any(not each.isprintable() or each == " " for each in key):
        raise InputError(
            f"{path} holds no API key",
            expected="one line, as Elasticsearch shows an encoded key",
            fix="name another file",
        )
    return key


def parse_utc(text: str) -> float:
    """Seconds since 1970 of a moment in ISO form; UTC where it names no zone.

    >>> parse_utc("1970-01-01T00:01:00")
    60.0
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{text[:60]!r} is no moment", expected="a date and time", fix="for example 2026-05-01T14:00:00Z"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
