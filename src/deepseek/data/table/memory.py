"""How much memory is free, and the error where a table needs more.

with translate_memory_errors("loans.csv"):       # what fails for want of memory in there fails in words
    ...
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepseek.errors import TooLargeError

_CGROUP = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


def free_bytes(cgroup: Path = _CGROUP, proc: Path = _PROC) -> int | None:
    """What this process may still take: the least that the machine, its container and its own limits leave. None where
    the system does not say."""
    left = [_machine_free_bytes(proc), _container_free_bytes(cgroup), _rlimit_free_bytes(proc)]
    known = [num_bytes for num_bytes in left if num_bytes is not None]
    return max(0, min(known)) if known else None


def check_memory(needed_bytes: int, what: str, fix: str) -> None:
    """TooLargeError when `what` needs more than there is: better than to be killed in the middle of it."""
    num_free = free_bytes()
    if num_free is not None and needed_bytes > num_free:
        raise TooLargeError(
            f"{what} needs about {needed_bytes / 1e9:.1f} GB of memory",
            expected=f"at most the {num_free / 1e9:.1f} GB that are free", fix=fix,
        )  # fmt: skip


@contextmanager
def translate_memory_errors(what: str, fix: str) -> Iterator[None]:
    """A MemoryError, Arrow's included, as a TooLargeError."""
    try:
        yield
    except MemoryError as error:
        raise TooLargeError(f"{what} needs more memory than there is", expected="a table that fits", fix=fix) from error


def _machine_free_bytes(proc: Path) -> int | None:
    return _read_kilobytes(proc / "meminfo", "MemAvailable:")


def _container_free_bytes(cgroup: Path) -> int | None:
    """What the control group (version 2 or 1) leaves. Cached files can be reclaimed and do not count as used."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit_bytes, used_bytes = _read_number(cgroup / limit), _read_number(cgroup / used)
        if limit_bytes is not None and used_bytes is not None:
            return limit_bytes - used_bytes + (_read_field((cgroup / limit).with_name("memory.stat"), cache) or 0)
    return None


def _rlimit_free_bytes(proc: Path) -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    return limit - (_read_kilobytes(proc / "self" / "status", "VmSize:") or 0)


def _read_kilobytes(path: Path, name: str) -> int | None:
    kilobytes = _read_field(path, name)
    return None if kilobytes is None else 1024 * kilobytes


def _read_field(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), None)
    except (OSError, ValueError, IndexError):
        return None


def _read_number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max": no limit
