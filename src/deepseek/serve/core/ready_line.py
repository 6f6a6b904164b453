"""The ready line: what a server prints first on stdout, as one JSON object."""

from __future__ import annotations

import msgspec


class ReadyLine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens once it accepts connections. Its fields are the keys of the JSON, in their order."""

    event: str = "ready"
    url: str
    models: list[str]
    pid: int
    grpc_port: int | msgspec.UnsetType = msgspec.UNSET
    front_ends: list[int] | msgspec.UnsetType = msgspec.UNSET  # pids of the processes of a group
