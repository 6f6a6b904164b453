"""Names what a learner's code does that no lab needs: writes outside, reads what is not its own, asks the network.

    guard = Guard(GuardRules(...), report=print)
    sys.addaudithook(guard.watch)          # cannot be taken away again

An audit hook (PEP 578) sees what Python opens before it is opened; the process ends there, so that no `except` hides
it. It is there to name accidents: native code passes it by, and landlock.py holds that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Events whose first argument is a path that is changed, and those whose second is one, too.
_CHANGES = frozenset(
    ("os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.truncate", "shutil.rmtree", "os.utime")
)
_MOVES = frozenset(("os.rename", "os.link", "os.symlink", "shutil.move", "shutil.copyfile"))
_OTHER_PROCESS = re.compile(r"/proc/\d+/(?:environ|mem|cmdline|maps|fd|root|cwd)")


@dataclass(frozen=True, slots=True)
class GuardRules:
    """What a process may do; every path is absolute and without links."""

    writable: tuple[str, ...]  # folders and files below which it may write
    private: tuple[str, ...]  # folders that it may not read...
    readable: tuple[str, ...]  # ...but for these, which may lie below them


@dataclass(slots=True)
class Guard:
    rules: GuardRules
    stop: Callable[[str, str], None]  # takes the code of the mistake and what was touched; does not return
    _is_inside: bool = field(default=False)

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook."""
        if self._is_inside:
            return
        self._is_inside = True
        try:
            self._look(event, arguments)
        finally:
            self._is_inside = False

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & _WRITE_FLAGS) if isinstance(flags, int) else bool(set(str(mode)) & set("wax+"))
            self._touch(path, writes=writes)
        elif event in _CHANGES:
            self._touch(arguments[0], writes=True)
        elif event in _MOVES:
            self._touch(arguments[0], writes=event in ("os.rename", "shutil.move"))
            self._touch(arguments[1], writes=True)
        elif event == "sqlite3.connect":
            if arguments[0] != ":memory:":
                self._touch(arguments[0], writes=True)
        elif event == "socket.connect":
            address = arguments[1]
            if isinstance(address, tuple) and not is_loopback(str(address[0])):
                self.stop("solution_network", f"{address[0]}:{address[1]}")

    def _touch(self, path: object, *, writes: bool) -> None:
        if isinstance(path, int) or path is None:
            return
        try:
            real = os.path.realpath(os.fsdecode(path))  # type: ignore[arg-type]  # TypeError for what is none
        except (TypeError, ValueError):
            return
        if writes:
            if not _is_below(real, self.rules.writable):
                self.stop("solution_writes", real)
        elif self._is_of_others(real) or (self._is_private(real) and not Path(real).is_dir()):
            self.stop("solution_reads", real)

    @staticmethod
    def _is_of_others(path: str) -> bool:
        return bool(_OTHER_PROCESS.match(path)) and not path.startswith(f"/proc/{os.getpid()}/")

    def _is_private(self, path: str) -> bool:
        return _is_below(path, self.rules.private) and not _is_below(path, self.rules.readable)


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("192.0.2.1")
    (True, True, False)
    """
    return host in ("localhost", "::1", "") or host.startswith("127.")


def _is_below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)
