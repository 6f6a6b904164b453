"""What of this package runs on this machine for this user: a small file for each, which the console lists.

    with announce("label", "claims", "http://127.0.0.1:8050"):
        server.serve_forever()
    running()     # those whose process is there

The files lie in $XDG_RUNTIME_DIR/deepseek, else in ~/.local/state/deepseek/running ($XDG_STATE_HOME), readable by the
user alone. One whose process has ended is removed by the next who looks. Nothing depends on them: where none can be
written, nothing is announced.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deepseek.files import atomic_file

#: What may run: a server of models, pages of labels, of a process and of the learning path, a stream, a study's server.
KINDS = ("serve", "label", "process", "learn", "stream", "study")
MOST_FILES = 200
MOST_BYTES = 4_096
MOST_NAME = 120  # characters that are kept of a name
_URL = re.compile(r"https?://[\w.:\[\]-]+(?:/[\w./-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Running:
    """One process of the user."""

    kind: str  # of KINDS
    name: str  # of the models, the project, the study
    url: str  # of its page; empty where it has none
    pid: int
    started_s: float  # seconds since 1970
    ticks: int  # when the kernel started the process: another one of the same number has others; 0 where unknown


def folder() -> Path:
    """Where the files lie."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "deepseek"
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "deepseek" / "running"


@contextmanager
def announce(kind: str, name: str, url: str = "") -> Iterator[None]:
    """Says that this process serves `name` as long as the block runs. ValueError for a kind that is none."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    pid = os.getpid()
    entry = Running(kind, name[:MOST_NAME], url, pid, time.time(), _ticks(pid))
    file: Path | None = None
    with suppress(OSError, RuntimeError):  # a home that cannot be written, or that is not known
        place = folder()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_own(place):
            file = place / f"{pid}-{kind}.json"
            with atomic_file(file) as part:
                part.write_text(json.dumps(asdict(entry)), encoding="utf-8")
    try:
        yield
    finally:
        if file is not None:
            with suppress(OSError):
                file.unlink()


def running() -> tuple[Running, ...]:
    """What runs, the oldest first. Files that cannot be read or are none of ours are passed over."""
    entries: list[Running] = []
    with suppress(OSError, RuntimeError):
        place = folder()
        if not _is_own(place):
            return ()
        for file in sorted(place.glob("*.json"))[:MOST_FILES]:
            entry = _read(file)
            if entry is None:
                continue
            if is_alive(entry):
                entries.append(entry)
            else:
                with suppress(OSError):
                    file.unlink()
    return tuple(sorted(entries, key=lambda entry: (entry.started_s, entry.pid)))


def is_alive(entry: Running) -> bool:
    """Whether its process is there, and is that one and not another of the same number."""
    try:
        os.kill(entry.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's: ours has ended
        return False
    return not entry.ticks or _ticks(entry.pid) == entry.ticks


def _read(file: Path) -> Running | None:
    """An entry that another process of the user may have written; None for anything else."""
    try:
        with file.open("rb") as opened:
            document = json.loads(opened.read(MOST_BYTES + 1))
        entry = Running(**document)
        names = all(isinstance(value, str) for value in (entry.kind, entry.name, entry.url))
        numbers = all(type(value) is int for value in (entry.pid, entry.ticks)) and type(entry.started_s) is float
        is_whole = names and numbers and entry.pid > 0 and entry.kind in KINDS and len(entry.name) <= MOST_NAME
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return entry if is_whole and (not entry.url or _URL.fullmatch(entry.url)) else None


def _is_own(place: Path) -> bool:
    """Whether the folder is the user's and nobody else may write there: who could would put links onto the console."""
    info = place.stat()
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _ticks(pid: int) -> int:
    """When the kernel started a process, in its own ticks (proc_pid_stat(5), field 22); 0 where it does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0
