"""A file written for the user: it appears under its name when all is written; a failure leaves what was there.

check_writable(Path("report.html"))            # before any work
with whole(Path("report.html")) as part:
    part.write_text("...")

And a file of the user's, read as far as it may be: read_bounded(path, 2**20, what="an ONNX file", smaller="...").
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.errors import InputError, MissingError, TooLargeError

if TYPE_CHECKING:
    import sqlite3


def cache_folder() -> Path:
    """Where what is made of a model is kept, to be made once for a machine: tuned graphs, converted files,
    measurements, bundles of estimators."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepseek"


def check_writable(out: Path) -> None:
    """InputError when no file can be written there. Tries it, and leaves nothing behind."""
    if not out.parent.is_dir():
        raise InputError(
            f"{out.parent}: there is no such folder", expected="a folder to write to", fix=f"mkdir -p {out.parent}"
        )
    if out.exists() and not out.is_file():
        raise InputError(
            f"{out} is a folder or a device", expected="the name of a file", fix="give the name of a file to write"
        )
    part = _temporary_path(out)
    try:
        part.touch(exist_ok=False)
        part.unlink()
    except OSError as error:
        raise InputError(
            f"{out} cannot be written: {error.strerror}",
            expected="a folder in which files may be made",
            fix="choose another place, or mend the rights of the folder",
        ) from error


@contextmanager
def atomic_file(out: Path) -> Iterator[Path]:
    """The path of a file to fill, which takes the place of `out` at the end, or is gone after an error."""
    part = _temporary_path(out)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(_resolve_links(out))
    finally:
        part.unlink(missing_ok=True)


def read_bounded(path: Path, most_bytes: int, *, what: str, smaller: str) -> bytes:
    """All of a file that should be `what`. MissingError when it cannot be read; TooLargeError above `most_bytes`, which
    says how to make it `smaller`."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error.strerror}", expected=what, fix="check the path") from error
    if len(data) > most_bytes:
        raise TooLargeError(f"{path} is too large", expected=f"at most {most_bytes} bytes", fix=smaller)
    return data


def _temporary_path(out: Path) -> Path:
    real = _resolve_links(out)
    return real.with_name(f".{real.name}.{secrets.token_hex(4)}.part")


def _resolve_links(out: Path) -> Path:
    """What a link leads to is replaced, and not the link."""
    return Path(os.path.realpath(out))


@contextmanager
def immediate_transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction of SQLite that holds the file from its beginning: all of it, or nothing. OperationalError of
    sqlite3 for a disk that does not take it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:  # an interrupt, too, leaves nothing half written
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
