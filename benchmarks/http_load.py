"""A small keep-alive HTTP client that measures a server from another process, and what that server's process used.

    python benchmarks/http_load.py URL BODY_FILE --requests 2000 --connections 1 --pid PID      # prints JSON

CPU time is the server's own (user and system, from /proc), so a busy machine or a slow client does not show in it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system seconds of a process and all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def post(connections: list[socket.socket], request: bytes) -> float:
    """Send the request on every connection, read every answer. Seconds; an answer other than 200 is an error."""
    started_s = time.perf_counter()
    for connection in connections:
        connection.sendall(request)
    for connection in connections:
        read_answer(connection)
    return time.perf_counter() - started_s


def read_answer(connection: socket.socket) -> bytes:
    """The body of a 200 answer with a content-length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not answered with 200: {received[:500]!r}")
    size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < size:
        body += _more(connection)
    return body


def load(url: str, body: bytes, *, num_requests: int, num_connections: int, pid: int) -> dict[str, float]:
    """CPU and wall seconds per request, and the median latency of a round."""
    parts = urlsplit(url)
    request = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    connections = [socket.create_connection((parts.hostname, parts.port)) for _ in range(num_connections)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    num_rounds = max(1, num_requests // num_connections)
    for _ in range(max(10, num_rounds // 10)):
        post(connections, request)
    before_s, started_s = cpu_s(pid), time.perf_counter()
    rounds_s = sorted(post(connections, request) for _ in range(num_rounds))
    wall_s, used_s = time.perf_counter() - started_s, cpu_s(pid) - before_s
    for connection in connections:
        connection.close()
    num_done = num_rounds * num_connections
    return {"cpu_s": used_s / num_done, "wall_s": wall_s / num_done, "median_s": rounds_s[len(rounds_s) // 2]}


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(1 << 16)
    if not received:
        raise RuntimeError("the server closed the connection")
    return received


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("url")
    parser.add_argument("body_file", type=Path)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--pid", type=int, required=True)
    args = parser.parse_args()
    body = args.body_file.read_bytes()
    print(json.dumps(load(args.url, body, num_requests=args.requests, num_connections=args.connections, pid=args.pid)))


if __name__ == "__main__":
    main()
