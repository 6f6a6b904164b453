"""Asks for health over and over, each time on a new connection, until a line comes; prints how many s the slowest took.

python benchmarks/hostile_probe.py HOST PORT         # prints "ready", then a number
"""

from __future__ import annotations

import select
import socket
import sys
import time

PAUSE_S = 0.005
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    print("ready", flush=True)
    slowest_s = 0.0
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        start_s = time.perf_counter()
        with socket.create_connection((host, port), timeout=60) as connection:
            connection.sendall(LIVE)
            while connection.recv(4_096):
                pass
        slowest_s = max(slowest_s, time.perf_counter() - start_s)
    print(slowest_s, flush=True)


if __name__ == "__main__":
    main()
