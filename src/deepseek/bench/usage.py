"""CPU and memory of a server: its process and all that descend from it, front ends apart from engines.

/proc/PID/stat is sampled at ticks, which charges whole ticks to whoever runs at them; schedstat is exact. It has no sum
over threads, so each is read. A thread that ended in between is not counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

FRONT_ENDS, ENGINES = "front_ends", "engines"
_ENGINES = ("deepseek.engines.", "deepseek.explain.")  # in the command line of a process that computes
Used = dict[int, tuple[str, float]]  # process -> its part of the server, seconds of CPU


def available() -> bool:
    """Whether this system tells what its processes use."""
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/schedstat").exists()


def used(pid: int) -> Used:
    """What each process of a server has used until now."""
    return {each: (part_of(each), cpu_s(each)) for each in tree(pid)}


def between(before: Used, after: Used) -> dict[str, float]:
    """Seconds of CPU by part of the server. A process that was started in between counts with all that it used."""
    found = {FRONT_ENDS: 0.0, ENGINES: 0.0}
    for pid, (part, seconds) in after.items():
        found[part] += max(0.0, seconds - before.get(pid, (part, 0.0))[1])
    return found


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for task in _listed(Path(f"/proc/{pid}/task")):
        for child in _read(task / "children").split():
            yield from tree(int(child))


def cpu_s(pid: int) -> float:
    """Seconds of a process on a CPU, over its threads; 0 when it is gone."""
    fields = (_read(task / "schedstat").split() for task in _listed(Path(f"/proc/{pid}/task")))
    return sum(int(found[0]) for found in fields if found) / 1e9


def resident_bytes(pid: int) -> int:
    """Memory of a server in RAM. Pages that its processes share are counted in each of them."""
    sizes = (_read(Path(f"/proc/{each}/statm")).split() for each in tree(pid))
    return sum(int(found[1]) for found in sizes if found) * os.sysconf("SC_PAGE_SIZE")


def part_of(pid: int) -> str:
    """An engine process is known by the module that it runs."""
    command = _read(Path(f"/proc/{pid}/cmdline"))
    return ENGINES if any(module in command for module in _ENGINES) else FRONT_ENDS


def _read(file: Path) -> str:
    """A file of /proc; empty when its process is gone."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []
