"""The state of a store as a folder: arrays as safetensors, and a record of what they are. Never a pickle.

write_snapshot(folder, used_arrays(state), definition, sequence)     # beside the others, then renamed: whole or not
snapshot = read_snapshot(newest_snapshot(folder), definition)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from deepseek.config import build_dataclass
from deepseek.errors import InputError, IntegrityError, StorageError
from deepseek.features.core import layout
from deepseek.features.core.layout import State
from deepseek.features.definition import FeatureDefinition
from deepseek.features.events import Values
from deepseek.features.log import file_of, sync_folder
from deepseek.features.plan import Plan
from deepseek.features.state import restore_state

FORMAT = 1
ARRAYS, RECORD = "arrays.safetensors", "snapshot.json"


@dataclasses.dataclass(frozen=True)
class SnapshotRecord:
    """snapshot.json"""

    format: int
    definition: str  # digest of the definition
    sequence: int  # the last record of the log that it holds
    sha256: str  # of the arrays' file


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A state as it was behind one record of the log."""

    state: State
    sequence: int


@dataclasses.dataclass(frozen=True)
class SnapshotWork:
    """What is to be written of a state as it was behind one record of the log. Any thread may write it, once."""

    folder: Path
    arrays: Mapping[str, Values]
    definition: FeatureDefinition
    sequence: int

    def write(self) -> Path:
        """Writes it, and drops what it makes needless: the log before it, older snapshots. StorageError when there is
        no room; all of that then stays."""
        path = write_snapshot(self.folder, self.arrays, self.definition, self.sequence)
        for old in self.folder.glob("log-*.bin"):
            if old < file_of(self.folder, self.sequence + 1):
                old.unlink()
        for old in self.folder.glob("snapshot-*"):
            if old < path:
                shutil.rmtree(old)
        sync_folder(self.folder)
        return path


def write_snapshot(folder: Path, arrays: Mapping[str, Values], definition: FeatureDefinition, sequence: int) -> Path:
    """Writes the arrays of the state behind the record `sequence`. StorageError when the disk does not take it; what
    was there stays."""
    target = folder / f"snapshot-{sequence:020d}"
    draft = folder / f".{target.name}.part"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        safetensors.numpy.save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, draft / ARRAYS)
        record = SnapshotRecord(FORMAT, definition.digest, sequence, _digest_file(draft / ARRAYS))
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


def read_snapshot(path: Path, definition: FeatureDefinition, plan: Plan) -> Snapshot:
    """A state of this definition. IntegrityError names a file that has changed; InputError says that the snapshot is of
    another definition."""
    try:
        record = build_dataclass(SnapshotRecord, json.loads((path / RECORD).read_text("utf-8")))
        data = (path / ARRAYS).read_bytes()
    except (OSError, ValueError, InputError) as error:
        raise IntegrityError(
            f"{path.name} cannot be read: {error}", expected="a whole snapshot", fix="bring it back from a copy"
        ) from error
    if record.definition != definition.digest:
        raise InputError(
            f"{path.name} is of another definition of features, {record.definition[:12]}",
            expected=f"{definition.digest[:12]}", fix="open it with its own definition.toml, or begin a new folder",
        )  # fmt: skip
    if hashlib.sha256(data).hexdigest() != record.sha256 or record.format != FORMAT:
        raise IntegrityError(
            f"{path.name}/{ARRAYS} is not what was written", expected=f"SHA-256 {record.sha256[:12]}",
            fix="bring it back from a copy",
        )  # fmt: skip
    state = restore_state(plan, safetensors.numpy.load(data))
    state.counters[layout.NEED] = layout.NOTHING
    return Snapshot(state, record.sequence)


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
