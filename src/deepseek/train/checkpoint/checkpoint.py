"""Checkpoints: written beside the training, whole or not at all, and refused when a byte has changed.

    checkpoints.save(step, shared, own)      copies the state, returns, writes in a thread
    newest = checkpoints.last_good()         the newest whose files are what checkpoint.json says
    contents = checkpoints.read(newest, like)

One folder a step: `step-00000120/` with one safetensors file a rank, written collectively by
torch.distributed.checkpoint (DCP; any number of ranks may read what any number wrote), and checkpoint.json with the
size and sha256 of each. It is filled under another name, flushed to the disk and then renamed, so a crash or a full
disk leaves the older ones as they were. Nothing in it is a pickle: what is no tensor is JSON (see state_tree.py).

`shared` is the same on all ranks (or sharded as DTensor); `own` is the rank's: its generators, its place in the data.
All ranks see the same folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save

from deepseek.bundle.place import sync_folder
from deepseek.errors import InputError, IntegrityError
from deepseek.train.checkpoint.state_tree import pack_state, unpack_state
from deepseek.train.distributed import ranks

FORMAT = 1
METADATA_FILE = "checkpoint.json"
_NO_DIST = "torch.distributed is disabled"  # DCP warns of it in one process, which is as meant


class OptimizerMetadata(TypedDict):
    """The optimizer as checkpoint.json describes it."""

    kind: str  # name of the class
    groups: list[dict[str, bool | int | float | str | None]]  # plain values of each parameter group


class RunMetadata(TypedDict):
    """What the loop adds to checkpoint.json."""

    epoch: int
    batch: int  # read in this epoch
    num_batches: int | None  # of an epoch, on this rank; None where the data does not say
    config: dict[str, Any]  # the fields of TrainConfig
    optimizer: OptimizerMetadata
    scheduler: str | None  # name of the class
    versions: dict[str, str]


class FileIdentity(TypedDict):
    """What a file of a checkpoint must be."""

    size: int  # bytes
    sha256: str


class CheckpointMetadata(RunMetadata):
    """checkpoint.json."""

    format: int
    step: int
    num_ranks: int  # that wrote it
    files: dict[str, FileIdentity]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are whole."""

    path: Path
    metadata: CheckpointMetadata


class CheckpointContents(NamedTuple):
    """What a rank reads of a checkpoint."""

    shared: Any  # the state that all ranks have
    own: Any  # the state of one rank
    is_own_rank: bool  # False for a rank that the writers did not have: `own` is then rank 0's


@dataclass
class CheckpointManager:
    """The checkpoints of one run in `folder`, of which the last `keep` stay."""

    folder: Path
    keep: int
    group: Any = None  # ranks.cpu_group(), for these alone: the thread's messages must not meet the loop's
    refused: dict[str, str] = field(default_factory=dict)  # name to what is wrong with it
    _writing: Future[None] | None = None
    _thread: ThreadPoolExecutor | None = None

    def begin(self) -> None:
        """Make the folder, and remove what a crash left half written."""
        if ranks.rank() == 0:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                for half in self.folder.glob(".step-*.part"):
                    shutil.rmtree(half)
            except OSError as error:
                raise write_error(self.folder, error) from error
        ranks.broadcast_object(None, self.group)

    def names(self) -> list[str]:
        """Every finished checkpoint, the oldest first, good or not."""
        return sorted(path.name for path in self.folder.glob("step-*") if path.is_dir())

    def save(self, step: int, run: RunMetadata, shared: Any, own: Any) -> None:
        """Copy the state and write it in a thread. Waits for the one before; raises what went wrong with that."""
        self.wait()
        tensors: dict[str, Tensor] = {}
        mine = f"rank{ranks.rank()}"
        skeleton = {"shared": pack_state(shared, "state", tensors), "own": pack_state(own, mine, tensors)}
        tensors[f"{mine}.json"] = torch.frombuffer(bytearray(json.dumps(skeleton).encode()), dtype=torch.uint8)
        part = self.folder / f".step-{step:08d}.part"
        writer = HuggingFaceStorageWriter(str(part), save_distributed=True)
        staged = writer.stage(tensors)
        metadata = {"format": FORMAT, "step": step, "num_ranks": ranks.num_ranks(), **run}
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing = self._thread.submit(self._write, part, writer, staged, metadata)

    def wait(self) -> None:
        """Return when the last checkpoint is on the disk. Raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except CheckpointException as error:
            causes = [cause for cause, _ in error.failures.values()]
            cause = next((failure for failure in causes if isinstance(failure, OSError)), causes[0])
            if not isinstance(cause, OSError) and "I/O error" not in str(cause):
                raise
            raise write_error(self.folder, cause) from error
        except OSError as error:
            raise write_error(self.folder, error) from error

    def close(self) -> None:
        """Let the thread end. `wait` first: what goes wrong now is not said."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def _write(self, part: Path, writer: Any, staged: dict[str, Tensor], metadata: dict[str, object]) -> None:
        warnings.filterwarnings("ignore", message=_NO_DIST)
        try:
            dcp_save(staged, storage_writer=writer, process_group=self.group)
            if ranks.rank() == 0:
                self._commit(part, metadata)
        except BaseException:
            if ranks.rank() == 0:
                shutil.rmtree(part, ignore_errors=True)
            raise

    def _commit(self, part: Path, metadata: dict[str, object]) -> None:
        files = {path.name: _file_identity(path) for path in sorted(part.iterdir())}
        with (part / METADATA_FILE).open("w", encoding="utf-8") as file:
            json.dump({**metadata, "files": files}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(part)
        target = self.folder / part.name.removeprefix(".").removesuffix(".part")
        if target.exists():  # one that was refused, or that a run from an older checkpoint writes again
            shutil.rmtree(target)
        part.rename(target)
        sync_folder(self.folder)
        self.refused.pop(target.name, None)
        good = [name for name in self.names() if name not in self.refused]
        for name in good[: -self.keep]:
            shutil.rmtree(self.folder / name)

    def last_good(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None when there is none at all. IntegrityError when all are broken.
        `refused` then says what is wrong with those that were passed over."""
        newest: Checkpoint | None = self._find_newest() if ranks.rank() == 0 else None
        newest, self.refused = ranks.broadcast_object((newest, self.refused), self.group)
        if newest is None and self.refused:
            raise IntegrityError(
                f"no checkpoint in {self.folder} is whole: {'; '.join(self.refused.values())}",
                expected="one whose files are as checkpoint.json says",
                fix=f"bring back one from a copy, or begin anew: rm -r {self.folder}",
            )
        return newest

    def _find_newest(self) -> Checkpoint | None:
        for name in reversed(self.names()):
            try:
                return Checkpoint(self.folder / name, verify_checkpoint(self.folder / name))
            except IntegrityError as error:
                self.refused[name] = error.message
        return None

    def read(self, checkpoint: Checkpoint, like: Callable[[str], Tensor | None]) -> CheckpointContents:
        """What this rank reads of a checkpoint. `like` gives for a tensor's name one that is sharded as it should come
        back, or None for a plain one."""
        warnings.filterwarnings("ignore", message=_NO_DIST)
        path = str(checkpoint.path)
        known = HuggingFaceStorageReader(path).read_metadata().state_dict_metadata
        is_own_rank = f"rank{ranks.rank()}.json" in known
        prefix = f"rank{ranks.rank() if is_own_rank else 0}"

        def load(names: list[str]) -> dict[str, Tensor]:
            wanted = {name: _empty_like(known[name], like(name)) for name in names}
            dcp_load(wanted, storage_reader=HuggingFaceStorageReader(path), no_dist=True)
            return wanted

        text = load([f"{prefix}.json"])[f"{prefix}.json"].numpy().tobytes()
        skeleton = json.loads(text)
        tensors = load([name for name in known if name.startswith(("state/", f"{prefix}/"))])
        shared, own = (unpack_state(skeleton[name], tensors) for name in ("shared", "own"))
        return CheckpointContents(shared, own, is_own_rank)


def verify_checkpoint(path: Path) -> CheckpointMetadata:
    """checkpoint.json of a folder whose files are what it says. IntegrityError names the file that is not."""
    try:
        metadata: CheckpointMetadata = json.loads((path / METADATA_FILE).read_text(encoding="utf-8"))
        files, version = (
            {name: (file["size"], file["sha256"]) for name, file in metadata["files"].items()},
            metadata["format"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken_file_error(path / METADATA_FILE, f"cannot be read ({error})") from error
    if version != FORMAT:
        raise _broken_file_error(path / METADATA_FILE, f"has the format {version}, and this release reads {FORMAT}")
    for name, (size, sha256) in files.items():
        file = path / name
        if not file.is_file():
            raise _broken_file_error(file, "is missing")
        if file.stat().st_size != size:
            raise _broken_file_error(file, f"has {file.stat().st_size:,} bytes instead of {size:,}")
        try:
            digest = _file_identity(file)["sha256"]
        except OSError as error:  # a disk that is dying, or no leave to read
            raise _broken_file_error(file, f"cannot be read ({error})") from error
        if digest != sha256:
            raise _broken_file_error(file, "was changed: its sha256 is another")
    return metadata


def _broken_file_error(file: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"{file} {what}", expected="the file as it was written", fix="bring it back from a copy, or use an older one"
    )


def write_error(folder: Path, error: BaseException) -> InputError:
    """The error for a full disk, or a folder that may not be written."""
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(
        f"no checkpoint can be written to {folder}: {reason}. Those that are there stay as they were",
        expected="a folder with leave to write and room for one checkpoint more than are kept",
        fix="make room or give another folder, then resume",
    )


def _empty_like(known: Any, like: Tensor | None) -> Tensor:
    if like is not None and like.shape == known.size and hasattr(like, "placements"):
        return torch.empty_like(like, dtype=known.properties.dtype)
    return torch.empty(known.size, dtype=known.properties.dtype)


def _file_identity(path: Path) -> FileIdentity:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}
