"""What the columns of a log mean, by the names that logs commonly have for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Meaning -> the names that columns with it have, the best first; all in lower case.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "time": ("time", "@timestamp", "timestamp", "ts", "datetime"),
    "request_id": ("request_id", "http.request.id", "trace.id", "requestid"),
    "status": ("status", "http.response.status_code", "status_code"),
    "duration_s": ("duration_s", "duration_seconds", "latency_s"),
    "duration_ns": ("event.duration",),
    "duration_ms": ("duration_ms", "latency_ms", "took_ms"),
    "host": ("host", "host.name", "host.hostname", "hostname"),
    "prediction": ("prediction",),
    "value": ("value",),
    "confidence": ("confidence",),
    "label": ("label",),
    "model": ("model", "deepseek.model.name", "model.name"),
    "version": ("version", "deepseek.model.version", "model.version"),
    "client": ("client", "user.name"),
    "route": ("route", "event.action", "url.path"),
    "flags": ("flags",),
    "row": ("row",),
}
#: What follows from an answer, and is no reason for it: never a cause. Ends of names, in lower case.
CONSEQUENCES = (
    "event.outcome", "log.level", "error.code", "error.stack_trace", "error.message", "error.type", "error",
    "queue.duration", "queue_s", "compute_s", "message", "trace.id", "span.id",
    "transaction.id", "previous.hash.sha256",
    "sample", "service.name", "event.created", "event.ingested", "log.offset",
)  # fmt: skip
CONSEQUENCE_PREFIXES = ("probability.",)


@dataclass(frozen=True, slots=True)
class Roles:
    """Meaning -> name of the column; a meaning that no column has is not in it."""

    columns: Mapping[str, str]

    @classmethod
    def of(cls, names: Iterable[str]) -> Roles:
        """
        >>> Roles.of(["@timestamp", "event.duration"]).get("duration_ns")
        'event.duration'
        """
        by_name = {name.lower(): name for name in names}
        return cls(
            {
                meaning: by_name[next(alias for alias in aliases if alias in by_name)]
                for meaning, aliases in ALIASES.items()
                if any(alias in by_name for alias in aliases)
            }
        )

    def get(self, meaning: str) -> str | None:
        return self.columns.get(meaning)


def is_consequence(name: str) -> bool:
    """Whether a column follows from the answer: its error, its probability, its time."""
    lower = name.lower()
    return lower.startswith(CONSEQUENCE_PREFIXES) or any(
        lower == end or lower.endswith(f".{end}") for end in CONSEQUENCES
    )
