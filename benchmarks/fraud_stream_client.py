"""Sends events over one HTTP connection, a line each, while it reads their answers; prints rates and latencies (JSON).

    python benchmarks/fraud_stream_client.py URL EVENTS --rows 200000 [--per-s 30000]

With `--per-s` each event has a moment at which it is due, whatever the server does, and its latency counts from then: a
server that falls behind cannot hide it. What is due is looked for each millisecond. Without it the client sends as fast
as the server reads, and latencies say nothing.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from array import array
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

TICK_S = 0.001
BLOCK = 512  # lines that are sent together without a rate


def send_lines(connection: socket.socket, lines: list[bytes], per_s: float | None, start_s: float) -> None:
    """Chunks of lines, each when they are due."""
    place = 0
    while place < len(lines):
        due = place + BLOCK
        if per_s is not None:
            due = int((time.perf_counter() - start_s) * per_s) + 1
            if due <= place:
                time.sleep(TICK_S)
                continue
        block = b"".join(lines[place:due])
        connection.sendall(b"%x\r\n%b\r\n" % (len(block), block))
        place += len(lines[place:due])
    connection.sendall(b"0\r\n\r\n")


def read_times(connection: socket.socket, num_lines: int) -> array[float]:
    """When each answer was there. RuntimeError where the server answers otherwise than with a line for each event."""
    times = array("d")
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65_536)
    head, _, data = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(received[:500])
    while True:
        if b'"bad_input"' in data or b'"stopped"' in data:
            raise RuntimeError(data[:500])
        now_s = time.perf_counter()
        times.extend([now_s] * data.count(b'{"id"'))
        if len(times) >= num_lines:
            return times
        rest = data[-4:]  # the mark of an answer may be cut in two
        rest = rest[rest.rfind(b"{") :] if b"{" in rest and b'{"id"' not in rest else b""
        more = connection.recv(65_536)
        if not more:
            raise RuntimeError(f"the server ended after {len(times)} answers")
        data = rest + more


def run(url: str, lines: list[bytes], per_s: float | None) -> dict[str, float]:
    """Rows a second, and latencies in ms."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(
        f"POST {address.path} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/x-ndjson\r\n"
        "transfer-encoding: chunked\r\n\r\n".encode()
    )
    start_s = time.perf_counter()
    sending = threading.Thread(target=send_lines, args=(connection, lines, per_s, start_s))
    sending.start()
    times = read_times(connection, len(lines))
    sending.join()
    result = {"rows_per_s": len(times) / (times[-1] - start_s), "num_rows": len(times)}
    if per_s is not None:
        latencies = sorted(1e3 * (there_s - start_s - row / per_s) for row, there_s in enumerate(times))
        result |= {f"p{share}_ms": latencies[int(len(latencies) * share / 100)] for share in (50, 99)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("events", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--per-s", type=float)
    options = parser.parse_args()
    with options.events.open("rb") as file:
        lines = list(islice(file, options.rows))
    print(json.dumps(run(options.url, lines, options.per_s)))


if __name__ == "__main__":
    main()
