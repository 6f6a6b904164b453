"""Ten minutes of requests, of models that come and go: memory stays what it was."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.servers.load import Load
from support.servers.serving import Server, started

MINUTES = 10
SETTLED = 0.25  # of the time, after which memory is compared
OTHER = "/v2/repository/models/other"


def resident(server: Server) -> dict[int, int]:
    """Bytes of the front end and of each process that it has started."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return {pid: resident_bytes(pid) for pid in (server.process.pid, *map(int, children))}


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.soak
def test_ten_minutes_of_load_and_of_models_that_come_and_go_leave_no_memory_behind(
    cancer_bundle: Path, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    for name in ("cancer", "other"):
        shutil.copytree(cancer_bundle, tmp_path / "models" / name / "1")
    with started("--repository", tmp_path / "models", "--workers", "2") as server:
        body: Any = httpx.get(f"{server.url}/v1/models/cancer/example").json()
        load = Load(server.url, 2, body)
        sizes: list[tuple[float, dict[int, int]]] = []
        begun_s = time.monotonic()
        num_cycles = 0
        while time.monotonic() - begun_s < 60 * MINUTES:
            for verb in ("unload", "load"):
                assert httpx.post(f"{server.url}{OTHER}/{verb}", timeout=60).status_code == 200
            num_cycles += 1
            answer = httpx.post(f"{server.url}/v1/models/other:explain", json=body, timeout=60)
            assert answer.status_code == 200
            httpx.get(f"{server.url}/metrics").raise_for_status()
            sizes.append((time.monotonic() - begun_s, resident(server)))
            time.sleep(0.5)
        load.end()
        settled = next(size for at_s, size in sizes if at_s > 60 * MINUTES * SETTLED)
        last = sizes[-1][1]
        record_property("seen", f"{num_cycles} cycles, {len(load.statuses)} requests; {settled}, then {last} bytes")
        assert load.broken == []
        assert set(load.statuses) == {200}
        assert num_cycles > 60
        assert settled.keys() == last.keys()
        assert sum(last.values()) < 1.02 * sum(settled.values())
        for pid, then in settled.items():
            assert last[pid] < 1.03 * then
