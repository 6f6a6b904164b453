"""What a measurement and its client tell each other: the plan goes in on stdin, the report comes back on stdout."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is sent, and for how long."""

    host: str
    port: int
    requests: tuple[bytes, ...]  # whole HTTP requests, taken in turn
    num_connections: int
    seconds: float
    warmup_s: float
    rate: float | None  # requests a second; None: a connection sends its next one when the last is answered

    def to_json(self) -> str:
        """An object of these fields; requests in base64."""
        return json.dumps(
            asdict(self) | {"requests": [base64.b64encode(request).decode() for request in self.requests]}
        )

    @classmethod
    def from_json(cls, text: str) -> LoadPlan:
        """The inverse of to_json()."""
        fields = json.loads(text)
        return cls(**fields | {"requests": tuple(map(base64.b64decode, fields["requests"]))})


@dataclass(frozen=True, slots=True)
class ClientReport:
    """What the client saw in the measured time."""

    statuses: Mapping[str, int]  # "200" -> responses; "0" -> connections that broke
    wall_s: float
    client_cpu_s: float
    latency_marks_s: tuple[float, ...]  # of the responses with 200: quantiles 0, 0.001, ..., 0.999
    longest_s: float  # from sending to the slowest 200
    max_s: float  # the same from when the request came

    def to_json(self) -> str:
        """An object of these fields."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ClientReport:
        """The inverse of to_json()."""
        fields = json.loads(text)
        return cls(**fields | {"latency_marks_s": tuple(fields["latency_marks_s"])})
