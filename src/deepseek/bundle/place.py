"""Puts a finished folder in the place of another in one step, one writer at a time.

    with alone(target), unfinished(target) as temporary:
        ...fill temporary...
        replace_folder(temporary, target)

Beside TARGET stand, while it is written and after a crash: `.TARGET.lock`, which the kernel frees when its holder dies;
`.TARGET.writing`, which no reader opens; and, only where the file system cannot exchange two folders in one step,
`.TARGET.old`. The next writer of the same target cleans them up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepseek.bundle.folder import UNFINISHED_SUFFIX
from deepseek.errors import BusyError

LOCK_WAIT_S = 60.0
_POLL_S = 0.02
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


@contextmanager
def exclusive_writer(target: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the lock of `target`. BusyError when another writer still holds it after `wait_s` seconds."""
    lock = _sibling_path(target, ".lock")
    end_s = time.monotonic() + wait_s
    while (fd := _try_lock(lock)) is None:
        if time.monotonic() > end_s:
            raise BusyError(
                f"another process has been writing {target} for {wait_s:.0f} s",
                expected="one writer at a time",
                fix="wait for it to end",
            )
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(fd)


def _try_lock(lock: Path) -> int | None:
    """The open, locked file; None when another holds it, or has just deleted the one that was locked."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    is_locked = False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_locked = os.path.samestat(os.fstat(fd), lock.lstat())
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not is_locked:
            os.close(fd)
    return fd if is_locked else None


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, gone afterwards whatever happens. Cleans up after a writer that was killed. The
    caller holds the lock."""
    temporary, old = _sibling_path(target, UNFINISHED_SUFFIX), _sibling_path(target, ".old")
    _remove_path(temporary)
    if is_vacant(target) and old.exists():
        old.rename(target)
    _remove_path(old)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        _remove_path(temporary)


def replace_folder(temporary: Path, target: Path) -> None:
    """Make `temporary` the folder `target` so that at every moment a whole one, old or new, is on the disk. What was
    there before ends under the name of `temporary`, or is gone."""
    if is_vacant(target):
        temporary.rename(target)
    elif not _swap_folders(temporary, target):
        old = _sibling_path(target, ".old")
        target.rename(old)
        temporary.rename(target)
        _remove_path(old)
    sync_folder(target.parent)


def is_vacant(target: Path) -> bool:
    """Whether nothing is there but, at most, an empty folder."""
    return not target.exists() or (target.is_dir() and not any(target.iterdir()))


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _swap_folders(one: Path, other: Path) -> bool:
    """Swap two folders in one step (Linux renameat2). False where that cannot be done."""
    import ctypes

    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _remove_path(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _sibling_path(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}{ending}")
