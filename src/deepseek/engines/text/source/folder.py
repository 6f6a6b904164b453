"""Reads the small files of a Hugging Face folder: plain files only, each with a limit, JSON objects only.

    config = read_object(folder, "config.json")                    # MissingError, IntegrityError
    config.field("hidden_size", int)                               # IntegrityError for another type

A link is followed, for Hugging Face's own cache is made of links; what it leads to must be a plain file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
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
    """The path of a folder. MissingError when it leads to no folder."""
    folder = Path(path)
    try:
        is_folder = folder.is_dir()
    except (OSError, ValueError):
        is_folder = False
    if not is_folder:
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
    """A plain file, open for reading, and its size in bytes. MissingError when it is not there; IntegrityError for a
    device, a pipe, a folder."""
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
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise IntegrityError(f"{name} in {folder} is no plain file", expected="plain files only", fix=_COPY_AGAIN)
        yield file, status.st_size


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
    """The value in a JSON file. IntegrityError when the file is no JSON."""
    try:
        return json.loads(read_file(folder, name, limit=limit).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name} in {folder} is no JSON: {str(error)[:100]}", expected="a JSON file in UTF-8", fix=_COPY_AGAIN
        ) from error


class JsonFields(dict[str, Any]):
    """The object in a JSON file. Its fields may hold anything, and field() checks what it returns."""

    def __init__(self, fields: Mapping[str, Any], where: str) -> None:
        """`where` names the file in messages."""
        super().__init__(fields)
        self.where = where

    def field(self, key: str, kind: type, default: Any = _REQUIRED, *, most: int = 2**31) -> Any:
        """The value of `key`, which must be of `kind`; a number must be from 0 to `most`. null counts as left out.
        IntegrityError for another value, and for none without a default.

        >>> JsonFields({"hidden_size": 384}, "config.json").field("hidden_size", int)
        384
        """
        value = self.get(key)
        if value is None and default is not _REQUIRED:
            return default
        is_good = isinstance(value, (int, float) if kind is float else kind)
        if kind in (int, float):
            is_good = is_good and not isinstance(value, bool) and 0 <= (value or 0) <= most
        if not is_good:
            words = {int: f"a whole number from 0 to {most}", str: "text", bool: "true or false", dict: "an object"}
            raise IntegrityError(
                f"{self.where}: {key} is {repr(value)[:60]}",
                expected=words.get(kind, "a list" if kind is list else "a number"),
                fix="give the config that was saved with these weights",
            )
        return value


def read_object(folder: Path, name: str, *, is_optional: bool = False) -> JsonFields:
    """The object in a JSON file; without fields when the file is optional and not there.

    MissingError, IntegrityError for what is no JSON object.
    """
    where = f"{name} in {folder}"
    if is_optional and not has_file(folder, name):
        return JsonFields({}, where)
    fields = read_json(folder, name)
    if not isinstance(fields, dict):
        raise IntegrityError(f"{where} holds no object", expected="{...}", fix=_COPY_AGAIN)
    return JsonFields(fields, where)


def files_digest(folder: Path, names: list[str]) -> str:
    """sha256 over the names and the bytes of these files. A file that has not changed since is not read again."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0{file_digest(folder, name)}\n".encode())
    return digest.hexdigest()


def file_digest(folder: Path, name: str) -> str:
    """sha256 of one file in hex, as files_digest() reads it."""
    try:
        status = (folder / name).stat()
    except OSError as error:
        raise MissingError(f"{name} is missing", expected=f"a file in {folder}", fix=_COPY_AGAIN) from error
    return _file_sha256(folder, name, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1_000)
def _file_sha256(folder: Path, name: str, *_state: int) -> str:
    """sha256 of a file. `_state` is part of the cache's key alone: it differs when the file was changed."""
    digest = hashlib.sha256()
    with open_plain(folder, name) as (file, _):
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
