"""Reads a bundle's folder without ever following a link out of it.

    with Folder(path) as folder:
        sizes, folders, problems = folder.list_files()
        data = folder.read("weights/part-0.safetensors")

The folder is opened once and everything is reached from there, one part of the path after another, so that a folder
that is swapped meanwhile gives no mixture. The folder itself may be reached through a link (`current -> v7`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from types import TracebackType

from deepseek.bundle.paths import MAX_DEPTH, MAX_FILES
from deepseek.errors import InputError, IntegrityError, MissingError

UNFINISHED_SUFFIX = ".writing"  # ends the name of the folder that a writer fills before it is put in place
COPY_AGAIN_FIX = "copy the bundle again from where it was made, or make it again"
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a named pipe must not wait for its writer.
_OPEN_FILE_FLAGS = _OPEN_FLAGS | os.O_NONBLOCK


class Folder:
    """An open folder. Errors name the file inside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            unfinished = Path(os.path.realpath(path)).name.endswith(UNFINISHED_SUFFIX)
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingError(
                f"there is no bundle at {path}",
                expected="the folder of a bundle",
                fix="give the folder that deepseek ship made",
            ) from error
        except (OSError, ValueError) as error:
            raise InputError(
                f"{str(path)!r} cannot be opened: {error}",
                expected="the folder of a bundle",
                fix="check its name and its rights",
            ) from error
        if unfinished:
            os.close(self._fd)
            raise InputError(
                f"{path} was left by a writer that was stopped",
                expected="a finished bundle",
                fix="write the bundle again",
            )

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def in_place(self) -> bool:
        """Whether the path still leads to the folder that was opened."""
        try:
            return os.path.samestat(os.fstat(self._fd), self.path.stat())
        except OSError:
            return False

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[BufferedReader, int]]:
        """A plain file, open for reading, and its bytes. MissingError; IntegrityError for a link or a device."""
        try:
            fd = self._open_inside(name)
        except FileNotFoundError as error:
            raise MissingError(f"{name} is missing", expected=f"a file in {self.path}", fix=COPY_AGAIN_FIX) from error
        except OSError as error:
            raise IntegrityError(
                f"{name} cannot be read as a plain file: {error.strerror}",
                expected="plain files only",
                fix=COPY_AGAIN_FIX,
            ) from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise IntegrityError(
                f"{name} cannot be read as a plain file: it is none", expected="plain files only", fix=COPY_AGAIN_FIX
            )
        with os.fdopen(fd, "rb") as file:
            yield file, status.st_size

    def read(self, name: str, *, limit: int) -> bytes:
        """The whole file, or its first `limit` bytes."""
        with self.open(name) as (file, _):
            return file.read(limit)

    def list_files(self) -> tuple[dict[str, int], set[str], list[str]]:
        """Sizes of all plain files by path, all folders, and in words whatever is neither."""
        sizes: dict[str, int] = {}
        folders: set[str] = set()
        problems: list[str] = []
        try:
            self._list(self._fd, "", sizes, folders, problems)
        except OSError as error:
            problems.append(f"{str(error.filename)!r} cannot be listed: {error.strerror}")
        return sizes, folders, problems

    def _list(self, fd: int, prefix: str, sizes: dict[str, int], folders: set[str], problems: list[str]) -> None:
        with os.scandir(fd) as entries:
            for entry in entries:
                name = prefix + entry.name
                if len(sizes) + len(folders) + len(problems) > 2 * MAX_FILES or name.count("/") > MAX_DEPTH:
                    problems.append(f"{name!r} is one of too many files or folders")
                    return
                if entry.is_symlink():
                    problems.append(f"{name!r} is a link; a bundle holds plain files only")
                elif entry.is_file(follow_symlinks=False):
                    sizes[name] = entry.stat(follow_symlinks=False).st_size
                elif entry.is_dir(follow_symlinks=False):
                    folders.add(name)
                    inner = os.open(entry.name, _OPEN_FLAGS | os.O_DIRECTORY, dir_fd=fd)
                    try:
                        self._list(inner, f"{name}/", sizes, folders, problems)
                    finally:
                        os.close(inner)
                else:
                    problems.append(f"{name!r} is a device, pipe or socket; a bundle holds plain files only")

    def _open_inside(self, name: str) -> int:
        *parents, last = name.split("/")
        fd = os.dup(self._fd)
        try:
            for part in parents:
                inner = os.open(part, _OPEN_FLAGS | os.O_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = inner
            return os.open(last, _OPEN_FILE_FLAGS, dir_fd=fd)
        finally:
            os.close(fd)
