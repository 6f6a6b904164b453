"""Measures a server under load: what it answers a second, how late, and what CPU that takes.

    with launch_server("loans") as server:                       # or server_at("http://127.0.0.1:8000")
        request = server.example_request(num_rows=1)
        result = measure(request, Load(num_connections=32, seconds=5), server.pid)
        result.per_s, result.quantile_s(0.99), result.cpu_s(ENGINES)

The client runs in a process of its own, and sends the next request of a connection when the last was answered. The
server's CPU is read from /proc (Linux); it is the sum over all threads of all of its processes.
"""

from __future__ import annotations

from deepseek.bench.measure import BenchRequest, Load, LoadResult, measure
from deepseek.bench.server import Server, launch_server, positional_body, refusal_reason, server_at
from deepseek.bench.usage import ENGINES, FRONT_ENDS, resident_bytes

__all__ = [
    "ENGINES", "FRONT_ENDS", "BenchRequest", "Load", "LoadResult", "Server", "launch_server", "measure",
    "positional_body", "refusal_reason", "resident_bytes", "server_at",
]  # fmt: skip
