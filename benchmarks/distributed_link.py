"""Two network namespaces joined by a veth pair whose rate `tc tbf` caps: a slow network on one machine. Needs root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PORT = 29_611
TIMEOUT_S = 1500


@dataclass(frozen=True)
class Link:
    """Where each rank runs. Without namespaces: on the loopback of this machine."""

    name: str
    mbit: int | None = None
    namespaces: tuple[str, ...] = ()

    def start(self, rank: int, size: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """One rank of torch.distributed as a process; what rank 0 prints is kept."""
        env = os.environ | {
            "RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_PORT": str(PORT), "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": "10.77.0.1" if self.namespaces else "127.0.0.1",
            "GLOO_SOCKET_IFNAME": f"dsv{rank}" if self.namespaces else "lo",
            # Gradients of each step lie where those of the last one lay; else their page faults are a third of the CPU.
            "MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**32),
        }  # fmt: skip
        prefix = ["ip", "netns", "exec", self.namespaces[rank]] if self.namespaces else []
        return subprocess.Popen([*prefix, *command], env=env, stdout=subprocess.PIPE if rank == 0 else None)

    def run(self, size: int, program: str, **options: Any) -> dict[str, Any]:
        """What rank 0 of `program` prints as its last line, a JSON object. All ranks have ended when this returns."""
        command = [sys.executable, str(HERE / program), json.dumps(options)]
        ranks = [self.start(rank, size, command) for rank in range(size)]
        try:
            said, _ = ranks[0].communicate(timeout=TIMEOUT_S)
            codes = [each.wait(60) for each in ranks]
        finally:
            for each in ranks:
                each.kill()
                each.wait()
        if any(codes):
            raise SystemExit(f"{program} {options} failed on rank {next(r for r, code in enumerate(codes) if code)}")
        figures: dict[str, Any] = json.loads(said.splitlines()[-1])
        return figures


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=not check)


@contextmanager
def capped(mbit: int | None) -> Iterator[Link]:
    """Two namespaces for two ranks, each direction of the link capped to `mbit` (None: as fast as veth is)."""
    tag = f"dsbench{os.getpid()}"
    spaces = (f"{tag}a", f"{tag}b")
    try:
        for space in spaces:
            _ip("netns", "add", space)
        _ip("link", "add", "dsv0", "netns", spaces[0], "type", "veth", "peer", "name", "dsv1", "netns", spaces[1])
        for rank, space in enumerate(spaces):
            _ip("-n", space, "addr", "add", f"10.77.0.{rank + 1}/24", "dev", f"dsv{rank}")
            _ip("-n", space, "link", "set", f"dsv{rank}", "up")
            _ip("-n", space, "link", "set", "lo", "up")
            if mbit is not None:
                shape = f"qdisc add dev dsv{rank} root tbf rate {mbit}mbit burst 256kb latency 100ms"
                subprocess.run(["tc", "-n", space, *shape.split()], check=True)
        yield Link(f"two namespaces, tbf {mbit} Mbit" if mbit else "two namespaces, no cap", mbit, spaces)
    finally:
        for space in spaces:
            _ip("netns", "del", space, check=False)


LOOPBACK = Link("loopback")
