"""Reads the small files of a Hugging Face folder: plain files only, each with a limit, JSON objects only.

    config = read_object(folder, "config.json")                    # MissingError, IntegrityError
    pooling = read_object(folder, "1_Pooling/config.json", None)   # None when it is not there

A link is followed, for Hugging Face's own cache is made of links; what it leads to must be a plain file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Any

from deepseek.errors import IntegrityError, MissingError

MAX_JSON_BYTES = 4 * 2**20
_COPY_AGAIN = "copy the folder again from where it was made"
_CHUNK_BYTES = 1 << 20
_REQUIRED = "needed"


def check_folder(path: str | Path) -> Path:
    """The folder itself; MissingError when it is none."""
    folder = Path(path)
    try:
        found = folder.is_dir()
    except (OSError, ValueError):
        found = False
    if not found:
        raise MissingError(
            f"there is no folder {str(path)[:200]!r}",
            expected="a folder with config.json, model.safetensors and tokenizer.json",
            fix="give the folder of the model itself",
        )
    return folder


def has_file(folder: Path, name: str) -> bool:
    """Whether there is a plain file of that name."""
    try:
        return (folder / name).is_file()
    except OSError:
        return False


@contextmanager
def open_plain(folder: Path, name: str) -> Iterator[tuple[BufferedReader, int]]:
    """A plain file, open for reading, and its bytes. MissingError; IntegrityError for a device, a pipe, a folder."""
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its writer
        fd = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MissingError(f"{name} is missing", expected=f"a file in {folder}", fix=_COPY_AGAIN) from error
    except OSError as error:
        raise IntegrityError(
            f"{name} cannot be read: {error.strerror}", expected="a plain file", fix=_COPY_AGAIN
        ) from error
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise IntegrityError(f"{name} in {folder} is no plain file", expected="plain files only", fix=_COPY_AGAIN)
        yield file, found.st_size


def read_file(folder: Path, name: str, *, limit: int) -> bytes:
    """All bytes of a file that has at most `limit` of them."""
    with open_plain(folder, name) as (file, size_bytes):
        data = file.read(limit + 1) if size_bytes <= limit else b""
    if size_bytes > limit or len(data) > limit:
        raise IntegrityError(
            f"{name} in {folder} has {size_bytes} bytes", expected=f"at most {limit}", fix="give the model's own file"
        )
    return data


def read_json(folder: Path, name: str, *, limit: int = MAX_JSON_BYTES) -> Any:
    """What a JSON file holds; IntegrityError when it is none."""
    try:
        return json.loads(read_file(folder, name, limit=limit).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name} in {folder} is no JSON: {str(error)[:100]}", expected="a JSON file in UTF-8", fix=_COPY_AGAIN
        ) from error


def read_object(folder: Path, name: str, default: Any = _REQUIRED) -> Any:
    """The object in a JSON file; `default`, where one is given, when there is no such file."""
    if default is not _REQUIRED and not has_file(folder, name):
        return default
    found = read_json(folder, name)
    if not isinstance(found, dict):
        raise IntegrityError(f"{name} in {folder} holds no object", expected="{...}", fix=_COPY_AGAIN)
    return found


def read_field(
    given: dict[str, Any], key: str, kind: type, where: str, default: Any = _REQUIRED, *, most: int = 2**31
) -> Any:
    """given[key], which must be of `kind`; a whole number must be from 0 to `most`. null counts as left out.

    >>> read_field({"hidden_size": 384}, "hidden_size", int, "config.json")
    384
    """
    value = given.get(key)
    if value is None and default is not _REQUIRED:
        return default
    good = isinstance(value, (int, float) if kind is float else kind)
    if kind in (int, float):
        good = good and not isinstance(value, bool) and 0 <= (value or 0) <= most
    if not good:
        words = {int: f"a whole number from 0 to {most}", str: "text", bool: "true or false", dict: "an object"}
        raise IntegrityError(
            f"{where}: {key} is {repr(value)[:60]}",
            expected=words.get(kind, "a list" if kind is list else "a number"),
            fix="give the config that was saved with these weights",
        )
    return value


def files_digest(folder: Path, names: list[str]) -> str:
    """sha256 over the names and the bytes of these files. A file that has not changed since is not read again."""
    whole = hashlib.sha256()
    for name in sorted(names):
        whole.update(f"{name}\0{file_digest(folder, name)}\n".encode())
    return whole.hexdigest()


def file_digest(folder: Path, name: str) -> str:
    """sha256 of one file in hex, as files_digest() reads it."""
    try:
        found = (folder / name).stat()
    except OSError as error:
        raise MissingError(f"{name} is missing", expected=f"a file in {folder}", fix=_COPY_AGAIN) from error
    return _file_sha256(folder, name, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1_000)
def _file_sha256(folder: Path, name: str, *_state: int) -> str:
    """`_state` is what tells that a file was changed: a part of the cache's key."""
    found = hashlib.sha256()
    with open_plain(folder, name) as (file, _):
        while chunk := file.read(_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()
