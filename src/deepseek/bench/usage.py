"""CPU and memory of a server: its process and all that descend from it, front ends apart from engines.

/proc/PID/stat is sampled at ticks, which charges whole ticks to whoever runs at them; schedstat is exact. It has no sum
over threads, so each is read. A thread that ended in between is not counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: Processes of a server that take requests, as a part of what LoadResult.cpu_s() counts.
FRONT_ENDS = "front_ends"
#: Processes of a server that compute, as a part of what LoadResult.cpu_s() counts.
ENGINES = "engines"
_ENGINE_MODULES = ("deepseek.engines.", "deepseek.explain.")  # in the command line of a process that computes
CpuByProcess = dict[int, tuple[str, float]]  # process -> its part of the server, seconds of CPU


def can_measure_cpu() -> bool:
    """Whether this system tells what its processes use."""
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/schedstat").exists()


def cpu_by_process(pid: int) -> CpuByProcess:
    """The CPU that each process of a server has used until now."""
    return {process: (server_part(process), cpu_s(process)) for process in process_tree(pid)}


def cpu_by_part(before: CpuByProcess, after: CpuByProcess) -> dict[str, float]:
    """Seconds of CPU by part of the server. A process that was started in between counts with all that it used."""
    cpu_by_part_s = {FRONT_ENDS: 0.0, ENGINES: 0.0}
    for pid, (part, seconds) in after.items():
        cpu_by_part_s[part] += max(0.0, seconds - before.get(pid, (part, 0.0))[1])
    return cpu_by_part_s


def process_tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for task in _list_folder(Path(f"/proc/{pid}/task")):
        for child in _read_proc(task / "children").split():
            yield from process_tree(int(child))


def cpu_s(pid: int) -> float:
    """Seconds of a process on a CPU, over its threads; 0 when it is gone."""
    fields = (_read_proc(task / "schedstat").split() for task in _list_folder(Path(f"/proc/{pid}/task")))
    return sum(int(times_ns[0]) for times_ns in fields if times_ns) / 1e9


def resident_bytes(pid: int) -> int:
    """Memory of a server in RAM. Pages that its processes share are counted in each of them."""
    fields = (_read_proc(Path(f"/proc/{process}/statm")).split() for process in process_tree(pid))
    return sum(int(sizes[1]) for sizes in fields if sizes) * os.sysconf("SC_PAGE_SIZE")


def server_part(pid: int) -> str:
    """ENGINES for a process whose command line names the module of an engine, else FRONT_ENDS."""
    command = _read_proc(Path(f"/proc/{pid}/cmdline"))
    return ENGINES if any(module in command for module in _ENGINE_MODULES) else FRONT_ENDS


def _read_proc(file: Path) -> str:
    """A file of /proc; empty when its process is gone."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _list_folder(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []
