"""Files of a request -> files below the folder of a project, each by the digest of its bytes.

A name that a client sent is never used. A project of files takes rows only with `files=plain`: texts can be masked, a
face in a picture or a voice cannot.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.automl.label.project.records import Definition
from deepseek.automl.label.project.schema import storage_error
from deepseek.automl.label.project.sources import hash_file
from deepseek.contracts import Record
from deepseek.data.media.magic_bytes import detect_media_format
from deepseek.data.media.source import Limits, Source, is_missing
from deepseek.data.samples.preparer import open_cell
from deepseek.files import atomic_file

FOLDER = "served"  # below the folder of the project's files
MAX_BYTES = 64 * 2**20  # of the files of one row; a larger one is not sent
DIGEST_LETTERS = 32
#: How files of a format end; the rest have the usual ending of their kind.
SUFFIXES = {
    "PNG": ".png", "JPEG": ".jpg", "WebP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "WAV": ".wav",
    "FLAC": ".flac", "OGG": ".ogg", "MP3": ".mp3", "MP4": ".mp4", "Matroska": ".mkv", "DICOM": ".dcm",
    "GZIP": ".nii.gz",
}  # fmt: skip
USUAL_SUFFIXES = {"image": ".png", "audio": ".wav", "video": ".mp4", "volume": ".nii", "series": ".csv"}
NUMPY_MARK = b"\x93NUMPY"


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """The files of one row, below the folder of the project."""

    paths: Mapping[str, str | None]  # by column; None: the row has no file there
    digests: tuple[str, ...]  # of those that are there, in the order of the columns
    size_bytes: int


def store_files(record: Record, definition: Definition, hide: tuple[str, ...]) -> StoredFiles:
    """Write the files of a row; one that is there already is not written again. InputError and TooLargeError for values
    that are no files, StorageError where the folder cannot be written."""
    root = Path(definition.root)
    limits = Limits(max_bytes=MAX_BYTES)
    paths: dict[str, str | None] = {}
    digests, size_bytes = [], 0
    for column in definition.media:
        value, kind = record.get(column), definition.kinds[column]
        paths[column] = None
        if column in hide or is_missing(value):
            continue
        source = open_cell(value, kind, root=None, row=0, column=column, limits=limits)
        try:
            paths[column] = _write_source(root, source, kind)
        except OSError as error:
            raise storage_error(f"{root / FOLDER} cannot be written: {error.strerror}") from error
        digest, size = hash_file(root / str(paths[column]))
        digests.append(digest)
        size_bytes += size
    return StoredFiles(paths, tuple(digests), size_bytes)


def count_bytes(record: Record, media: tuple[str, ...]) -> int:
    """About the bytes that the files of a row take in memory, without opening them."""
    return sum(_size_of(record.get(column)) for column in media)


def _size_of(value: Any) -> int:
    if isinstance(value, str | bytes | bytearray | memoryview):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_size_of, value.values()))
    if isinstance(value, list | tuple):
        return 8 * len(value) if value and isinstance(value[0], int | float) else sum(map(_size_of, value))
    return int(getattr(value, "nbytes", 0))


def _write_source(root: Path, source: Source, kind: str) -> str:
    """The path of the file, or of the folder of slices, below `root`."""
    sha = hashlib.sha256()
    for _, data in source.files:
        sha.update(len(data).to_bytes(8, "big") + data)
    name = sha.hexdigest()[:DIGEST_LETTERS]
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    if len(source.files) == 1:
        data = source.files[0][1]
        path = folder / f"{name}{_suffix_of(data, kind)}"
        if not path.exists():
            with atomic_file(path) as part:
                part.write_bytes(data)
        return path.relative_to(root).as_posix()
    path = folder / name
    if not path.exists():
        part = folder / f".{name}.{secrets.token_hex(4)}.part"
        try:
            part.mkdir()
            for number, (_, data) in enumerate(source.files):
                (part / f"{number:06}{_suffix_of(data, kind)}").write_bytes(data)
            part.rename(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return path.relative_to(root).as_posix()


def _suffix_of(data: bytes, kind: str) -> str:
    """
    >>> _suffix_of(b"RIFF\\x00\\x00\\x00\\x00WAVEfmt ", "audio"), _suffix_of(b"1,2,3", "series")
    ('.wav', '.csv')
    """
    if kind == "series":
        return ".npy" if data.startswith(NUMPY_MARK) else ".json" if data.lstrip()[:1] in (b"[", b"{") else ".csv"
    return SUFFIXES.get(detect_media_format(data), USUAL_SUFFIXES[kind])
