"""Where traces go, and how many: the text of --otlp."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

TRACES_PATH = "/v1/traces"  # of OTLP over HTTP
KNOBS = ("sample", "timeout_s")


@dataclass(frozen=True, slots=True)
class OtlpConfig:
    """`endpoint` is the whole address of the receiver."""

    endpoint: str
    sample: float = 1.0  # share of requests that come without a trace; with one, its own flag says
    timeout_s: float = 5.0  # until a receiver has answered, retries included

    @classmethod
    def parse(cls, text: str) -> OtlpConfig:
        """Of URL[,sample=SHARE][,timeout_s=SECONDS]. InputError, which names what is wrong.

        >>> OtlpConfig.parse("http://collector:4318,sample=0.1")
        OtlpConfig(endpoint='http://collector:4318/v1/traces', sample=0.1, timeout_s=5.0)
        """
        url, *assignments = (part.strip() for part in text.split(","))
        values: dict[str, float] = {}
        for assignment in assignments:
            name, _, number = assignment.partition("=")
            if name not in KNOBS:
                raise InputError(
                    f"--otlp has no {name[:40]!r}.{did_you_mean(name, KNOBS)}", expected=", ".join(KNOBS),
                    fix="for example --otlp http://127.0.0.1:4318,sample=0.1",
                )  # fmt: skip
            values[name] = _parse_number(name, number, 1.0 if name == "sample" else 60.0)
        return cls(_endpoint(url), **values)


def _endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets or a port that are none
        has_host = False
    if not has_host or parts.scheme not in ("http", "https"):
        raise InputError(
            f"--otlp {url[:80]!r} is no address", expected="http://HOST:PORT of a receiver of OTLP over HTTP",
            fix="for example http://127.0.0.1:4318",
        )  # fmt: skip
    path = TRACES_PATH if parts.path in ("", "/") else parts.path
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _parse_number(name: str, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (0.0 <= value <= most and (value > 0 or name == "sample")):
        raise InputError(
            f"--otlp {name} is {text[:40]!r}",
            expected=f"a number up to {most:g}",
            fix=f"for example {name}={most / 2:g}",
        )
    return value
