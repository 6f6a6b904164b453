"""The folder of a state: one process has it, and snapshots in it are whole or not there. Never a pickle.

lock = lock_folder(folder)                                       # StorageError while another process has it
write_arrays(folder, arrays, digest, sequence)                   # beside the others, then renamed
snapshot = read_arrays(newest_snapshot(folder), digest)
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from deepseek.config import build_dataclass
from deepseek.errors import InputError, IntegrityError, StorageError
from deepseek.features.log import file_of, sync_folder

FORMAT = 1
ARRAYS, RECORD, LOCK = "arrays.safetensors", "snapshot.json", "lock"


@dataclasses.dataclass(frozen=True)
class SnapshotRecord:
    """snapshot.json"""

    format: int
    definition: str  # digest of what the state is of
    sequence: int  # the last record of the log that it holds
    sha256: str  # of the arrays' file


@dataclasses.dataclass(frozen=True)
class StoredArrays:
    """The arrays of a snapshot, and the record of the log behind which they stood."""

    arrays: Mapping[str, NDArray[Any]]
    sequence: int


@dataclasses.dataclass(frozen=True)
class SnapshotWork:
    """What is to be written of a state as it was behind one record of the log. Any thread may write it, once."""

    folder: Path
    arrays: Mapping[str, NDArray[Any]]
    digest: str  # of what the state is of
    sequence: int

    def write(self) -> Path:
        """Writes it, and drops what it makes needless: the log before it, older snapshots. StorageError when there is
        no room; all of that then stays."""
        path = write_arrays(self.folder, self.arrays, self.digest, self.sequence)
        for old in self.folder.glob("log-*.bin"):
            if old < file_of(self.folder, self.sequence + 1):
                old.unlink()
        for old in self.folder.glob("snapshot-*"):
            if old < path:
                shutil.rmtree(old)
        sync_folder(self.folder)
        return path


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]], digest: str, sequence: int) -> Path:
    """Writes the arrays of the state behind the record `sequence`. StorageError when the disk does not take it; what
    was there stays."""
    target = folder / f"snapshot-{sequence:020d}"
    draft = folder / f".{target.name}.part"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        safetensors.numpy.save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, draft / ARRAYS)
        record = SnapshotRecord(FORMAT, digest, sequence, _digest_file(draft / ARRAYS))
        (draft / RECORD).write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n", "utf-8")
        for name in (ARRAYS, RECORD):
            _sync_file(draft / name)
        sync_folder(draft)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        sync_folder(folder)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise StorageError(
            f"{target} cannot be written: {error}", expected="room on the disk", fix="make room; nothing was changed"
        ) from error
    return target


def newest_snapshot(folder: Path) -> Path | None:
    """The folder of the latest snapshot, None where there is none."""
    return max(folder.glob("snapshot-*"), default=None)


def read_arrays(path: Path, digest: str) -> StoredArrays:
    """The arrays of a snapshot. IntegrityError names a file that has changed; InputError says that the snapshot is of
    another definition, whose digest it is not."""
    try:
        record = build_dataclass(SnapshotRecord, json.loads((path / RECORD).read_text("utf-8")))
        data = (path / ARRAYS).read_bytes()
    except (OSError, ValueError, InputError) as error:
        raise IntegrityError(
            f"{path.name} cannot be read: {error}", expected="a whole snapshot", fix="bring it back from a copy"
        ) from error
    if record.definition != digest:
        raise InputError(
            f"{path.name} is of another definition of features, {record.definition[:12]}",
            expected=f"{digest[:12]}", fix="open it with its own, or begin a new folder",
        )  # fmt: skip
    if hashlib.sha256(data).hexdigest() != record.sha256 or record.format != FORMAT:
        raise IntegrityError(
            f"{path.name}/{ARRAYS} is not what was written", expected=f"SHA-256 {record.sha256[:12]}",
            fix="bring it back from a copy",
        )  # fmt: skip
    return StoredArrays(safetensors.numpy.load(data), record.sequence)


def lock_folder(folder: Path) -> int:
    """The descriptor that holds the folder, which is made where it is not there: closing it lets the folder go.
    StorageError while another process has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror}", expected="a folder of one's own", fix="check its rights"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StorageError(
            f"another process has {folder} open", expected="one process a folder", fix="end that one, or use a copy"
        ) from error
    return lock


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
